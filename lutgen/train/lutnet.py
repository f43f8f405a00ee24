"""The lookup network: a graph of lookup layers and integer operations, forward and backward.

Every operation computes what its node of the model computes, on integers held in float arrays.
Gradients are by real values and go straight through rounding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import Format
from lutgen.train import floatnet
from lutgen.train.floatnet import columns, cross_entropy, flat, unflat
from lutgen.train.lookups import Integers, Lookup
from lutgen.train.nearest import EXACT
from lutgen.train.optim import Float32Array

__all__ = ["Average", "Flat", "Join", "LookupNet", "LookupOp", "Maximum", "Op", "Pointwise", "Wire"]


CACHED = 1 << 17  # values of a layer's results that are worked on at once
VECTORS, IMAGES = 128, 32  # samples at most, so that a batch has parts for some threads


@dataclass(frozen=True)
class Wire:
    """What stands between operations: an integer format (None for accumulators), and the real
    value of 1.
    """

    format: Format | None
    scale: float


def clamped(total: NDArray[Any], shift: int, fmt: Format) -> tuple[Float32Array, NDArray[np.bool_]]:
    """``clamp((total + half) >> shift)`` of integers in a float array, and where it did not
    clamp.
    """
    open_ = total > fmt.low * 2.0**shift
    open_ &= total < fmt.high * 2.0**shift
    y = total + (2.0 ** (shift - 1) if shift else 0.0)
    y *= 2.0**-shift
    np.floor(y, out=y)
    np.clip(y, fmt.low, fmt.high, out=y)
    return y.astype(np.float32, copy=False), open_


class Op:
    """One operation.

    Parameters
    ----------
    name : str
    inputs : sequence of str
        Operations, or ``input``.

    Attributes
    ----------
    wire : Wire
        What it gives; set by `form`.
    """

    wire: Wire

    def __init__(self, name: str, inputs: Sequence[str]):
        self.name, self.inputs = name, tuple(inputs)

    def form(self, wires: list[Wire]) -> None:
        """Takes note of what arrives; sets `wire`."""
        self.wire = wires[0]

    def forward(self, xs: list[Float32Array], ints: Integers | None) -> tuple[Float32Array, Any]:
        """The result, and what `backward` needs."""
        raise NotImplementedError

    def backward(self, memory: Any, gradient: Float32Array) -> list[Float32Array]:
        """Gradients by the inputs."""
        raise NotImplementedError


class LookupOp(Op):
    """A lookup layer and its requantiser.

    Parameters
    ----------
    lookup : Lookup
    output : Format or None
        Of the result; None where the accumulators are it.
    """

    def __init__(self, name: str, inputs: Sequence[str], lookup: Lookup, output: Format | None):
        super().__init__(name, inputs)
        self.lookup, self.output = lookup, output

    def form(self, wires: list[Wire]) -> None:
        if wires[0].scale != self.lookup.in_scale:
            self.lookup.rescale(wires[0].scale)
        self.lookup.output = self.output
        self.wire = Wire(self.output, self.lookup.out_scale)

    def forward(self, xs: list[Float32Array], ints: Integers | None) -> tuple[Float32Array, Any]:
        assert ints is not None
        kept = self.lookup.forward(xs[0], ints)
        if self.output is None:
            return kept.acc, (kept, None)
        y, open_ = clamped(kept.acc, self.lookup.shift, self.output)
        return y, (kept, open_)


class Maximum(Op):
    """Max pooling."""

    def __init__(self, name: str, inputs: Sequence[str], pool: floatnet.MaxPool2d):
        super().__init__(name, inputs)
        self.pool = pool

    def forward(self, xs: list[Float32Array], ints: Integers | None) -> tuple[Float32Array, Any]:
        return self.pool.forward(xs, False)

    def backward(self, memory: Any, gradient: Float32Array) -> list[Float32Array]:
        return self.pool.backward(memory, gradient)[0]


class Flat(Op):
    """Flatten."""

    def __init__(self, name: str, inputs: Sequence[str], flatten: floatnet.Flatten):
        super().__init__(name, inputs)
        self.flatten = flatten

    def forward(self, xs: list[Float32Array], ints: Integers | None) -> tuple[Float32Array, Any]:
        return self.flatten.forward(xs, False)

    def backward(self, memory: Any, gradient: Float32Array) -> list[Float32Array]:
        return self.flatten.backward(memory, gradient)[0]


class Average(Op):
    """Average pooling: ``clamp((sum * multiplier + half) >> shift)``.

    Attributes
    ----------
    finer : float
        The output's scale is ``2**-finer`` of the input's, as near as the multiplier allows; whole
        where no join fixes the scale.
    """

    def __init__(self, name: str, inputs: Sequence[str], pool: floatnet.AvgPool2d, output: Format):
        super().__init__(name, inputs)
        self.pool, self.output = pool, output
        self.finer, self.multiplier, self.shift = 0.0, 1, 0

    def form(self, wires: list[Wire]) -> None:
        area = int(np.prod(self.pool.window.kernel))
        # A free scale takes in what the multiplier is off: few bits do. A fixed one needs them all.
        shift = 15 + max(0, -int(self.finer)) if self.finer % 1 == 0 else 31
        while shift > 0 and round(2.0 ** (shift + self.finer) / area) >= 1 << 16:
            shift -= 1
        multiplier = max(1, round(2.0 ** (shift + self.finer) / area))
        while shift > 0 and multiplier % 2 == 0:
            shift, multiplier = shift - 1, multiplier // 2
        self.multiplier, self.shift = multiplier, shift
        scale = wires[0].scale * 2.0**shift / (area * multiplier)
        self.wire = Wire(self.output, scale)

    def forward(self, xs: list[Float32Array], ints: Integers | None) -> tuple[Float32Array, Any]:
        total = self.pool.sums(xs[0].astype(np.float64)) * self.multiplier
        y, open_ = clamped(total, self.shift, self.output)
        return y, (xs[0].shape, open_)

    def backward(self, memory: Any, gradient: Float32Array) -> list[Float32Array]:
        shape, open_ = memory
        return self.pool.backward(shape, gradient * open_)[0]


class Join(Op):
    """A residual join: ``clamp((sum_i (x_i << left_shift_i) + half) >> shift)``."""

    def __init__(self, name: str, inputs: Sequence[str], output: Format):
        super().__init__(name, inputs)
        self.output, self.shift = output, 0
        self.left_shifts: tuple[int, ...] = (0,) * len(self.inputs)

    def form(self, wires: list[Wire]) -> None:
        finest = min(wire.scale for wire in wires)
        self.left_shifts = tuple(round(float(np.log2(wire.scale / finest))) for wire in wires)
        self.wire = Wire(self.output, finest * 2.0**self.shift)
        reach = sum(
            (1 << wire.format.bits) << left
            for wire, left in zip(wires, self.left_shifts, strict=True)
            if wire.format is not None
        )
        self.kind: type[np.floating[Any]] = np.float32 if 2 * reach < EXACT else np.float64

    def total(self, xs: list[Float32Array]) -> NDArray[np.floating]:
        """The sum before it is shifted."""
        total: NDArray[np.floating] = xs[0] * self.kind(1 << self.left_shifts[0])
        for x, left in zip(xs[1:], self.left_shifts[1:], strict=True):
            total += x * self.kind(1 << left)
        return total

    def forward(self, xs: list[Float32Array], ints: Integers | None) -> tuple[Float32Array, Any]:
        return clamped(self.total(xs), self.shift, self.output)

    def backward(self, memory: Any, gradient: Float32Array) -> list[Float32Array]:
        return [gradient * memory] * len(self.inputs)


class Pointwise(Op):
    """A table over the whole input format that clips.

    Attributes
    ----------
    table : float32 array
        The result for every input integer, from the lowest up.
    """

    table: Float32Array

    def __init__(self, name: str, inputs: Sequence[str], low: float, high: float, output: Format):
        super().__init__(name, inputs)
        self.low, self.high, self.output = low, high, output

    def form(self, wires: list[Wire]) -> None:
        before = wires[0].format
        assert before is not None
        self.offset = before.low
        codes = np.arange(before.low, before.high + 1)
        # Bounds that the output has no integers for become its own.
        low, high = (
            min(max(np.floor(bound / wires[0].scale + 0.5), self.output.low), self.output.high)
            for bound in (self.low, self.high)
        )
        self.table = np.clip(codes, low, high).astype(np.float32)
        self.wire = Wire(self.output, wires[0].scale)

    def forward(self, xs: list[Float32Array], ints: Integers | None) -> tuple[Float32Array, Any]:
        y = self.table[xs[0].astype(np.int32) - self.offset]
        return y, y == xs[0]

    def backward(self, memory: Any, gradient: Float32Array) -> list[Float32Array]:
        return [gradient * memory]


class LookupNet:
    """Operations in topological order; the last gives the result.

    Parameters
    ----------
    shape : tuple of int
        Of one sample: ``(H, W, C)`` or ``(K,)``.
    source : Wire
        Of the input.
    ops : sequence of Op
        Their scales set, or to be set by `lutgen.train.scales` before anything is computed.
    """

    def __init__(self, shape: tuple[int, ...], source: Wire, ops: Sequence[Op]):
        self.shape, self.source, self.ops = tuple(shape), source, list(ops)
        self.inside = self.shape if len(self.shape) == 1 else (self.shape[2], *self.shape[:2])
        self.uses: dict[str, int] = {"input": 0}
        for op in self.ops:
            for name in op.inputs:
                self.uses[name] += 1
            self.uses[op.name] = 0
        self._learning: set[str] = set()  # what hangs on a parameter
        for op in self.ops:
            if isinstance(op, LookupOp) or self._learning.intersection(op.inputs):
                self._learning.add(op.name)

    @property
    def lookups(self) -> dict[str, Lookup]:
        """The lookup layers by name, in order."""
        return {op.name: op.lookup for op in self.ops if isinstance(op, LookupOp)}

    @property
    def last(self) -> Op:
        """What gives the result."""
        return self.ops[-1]

    def form(self) -> None:
        """Brings every operation in line with the scales before it."""
        wires = {"input": self.source}
        for op in self.ops:
            op.form([wires[name] for name in op.inputs])
            wires[op.name] = op.wire

    def integers(self) -> dict[str, Integers]:
        """The arrays of every lookup node."""
        return {name: lookup.integers() for name, lookup in self.lookups.items()}

    def run(
        self,
        q: Float32Array,
        ints: dict[str, Integers] | None = None,
        visit: Callable[[Op, Float32Array], object] | None = None,
    ) -> Float32Array:
        """Results ``[outputs, batch]``, integers, of input integers with the batch inside.

        Parameters
        ----------
        ints : dict or None
            What `integers` gave.
        visit : callable or None
            Called with every operation and its result.
        """
        arrays = self.integers() if ints is None else ints
        values = {"input": q}
        left = dict(self.uses)
        y = q
        for op in self.ops:
            y = op.forward([values[n] for n in op.inputs], arrays.get(op.name))[0]
            values[op.name] = y
            if visit is not None:
                visit(op, y)
            for name in op.inputs:
                left[name] -= 1
                if not left[name]:
                    del values[name]
        return flat(y)

    def loss(
        self,
        q: Float32Array,
        y: NDArray[np.integer],
        ints: dict[str, Integers],
        beta: float = 0.0,
        soft: Float32Array | None = None,
        mix: float = 0.0,
        hints: Mapping[str, Float32Array] | None = None,
        hint: float = 0.0,
        number: int = 0,
    ) -> tuple[float, float, dict[str, dict[str, Float32Array]]]:
        """The loss of a batch and its raw gradients, layer by layer (see `Lookup.finish`).

        Cross-entropy of the results; `beta` times the layers' reconstruction terms; and, ``mix`` of
        1 instead of the classes, cross-entropy towards the probabilities ``soft``; and ``hint``
        times the mean squared differences of operations' real results to ``hints``, over the
        variances of those. ``number`` is which part of a batch this
        is.

        Returns
        -------
        loss : float
        right : float
            Samples whose greatest result is their class.
        raw : dict of dict of arrays
        """
        values = {"input": q}
        memories: list[Any] = []
        for op in self.ops:
            value, memory = op.forward([values[n] for n in op.inputs], ints.get(op.name))
            values[op.name] = value
            memories.append(memory)
        result = values[self.last.name]
        logits = (flat(result) * self.last.wire.scale).astype(np.float32)
        right = float((logits.argmax(axis=0) == y).sum())
        loss, gradient = cross_entropy(logits, y)
        if soft is not None and mix:
            other, towards = cross_entropy(logits, y, soft)
            loss += mix * (other - loss)
            gradient += np.float32(mix) * (towards - gradient)
        by: dict[str, Float32Array] = {self.last.name: unflat(gradient, result.shape)}
        raw: dict[str, dict[str, Float32Array]] = {}
        for op, memory in zip(reversed(self.ops), reversed(memories), strict=True):
            if op.name not in self._learning:
                continue
            mine = by.pop(op.name)
            if hints is not None and op.name in hints:
                wanted = hints[op.name]
                error = values[op.name] * np.float32(op.wire.scale) - wanted
                share = hint / (float(wanted.var()) + 1e-9)
                loss += share * float(np.mean(error * error))
                mine = mine + error * np.float32(2 * share / error.size)
            if isinstance(op, LookupOp):
                kept, open_ = memory
                below = op.inputs[0] in self._learning
                more, raw[op.name], back = op.lookup.backward(
                    kept, mine if open_ is None else mine * open_, beta, below, number
                )
                loss += more
                backs = [back]
            else:
                backs = list(op.backward(memory, mine))
            for name, part in zip(op.inputs, backs, strict=True):
                if part is not None and name in self._learning:
                    by[name] = by[name] + part if name in by else part
        return loss, right, raw

    def outputs(
        self, q: NDArray[Any], ints: dict[str, Integers] | None = None, *, batch: int = 0
    ) -> NDArray[np.int64]:
        """Results ``[sample, outputs]`` of input integers ``[sample, ...]``."""
        arrays = self.integers() if ints is None else ints
        size = batch or self.part
        parts = [
            self.run(columns(q[s : s + size], self.inside).astype(np.float32), arrays).T
            for s in range(0, len(q), size)
        ]
        return np.concatenate(parts).astype(np.int64)

    @property
    def part(self) -> int:
        """Samples that are worked on at once: as many as stay in cache, by the input's size or that
        of what the first layer makes of it. Fewer would cost more calls than work.
        """
        size = int(np.prod(self.inside, dtype=int))
        first = next(iter(self.lookups.values()), None)
        if first is not None:
            # Of an image that a convolution reads every pixel gives so many.
            pixels = 1 if first.rows.window is None else size // self.inside[0]
            size = max(size, first.outputs * pixels)
        convolves = any(k.rows.window is not None for k in self.lookups.values())
        most = IMAGES if convolves else VECTORS
        return min(most, 1 << max(0, (CACHED // size).bit_length() - 1))
