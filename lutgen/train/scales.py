"""Scales and shifts: what a table entry of 1 stands for in every layer.

All scales are chosen on samples, layer by layer in order, so that what a layer gives comes nearest
to what it should. Where results are added up, their scales must differ by powers of two: such wires
form a class, and the first of a class to be chosen sets the base of the others.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import Format
from lutgen.train.lookups import Integers, Lookup
from lutgen.train.lutnet import (
    Average,
    Flat,
    Join,
    LookupNet,
    LookupOp,
    Maximum,
    Op,
    Pointwise,
    Wire,
    clamped,
)
from lutgen.train.optim import Float32Array

__all__ = ["SCALED", "Bases", "Round", "fit_all", "fit_op"]

Round = Callable[[], None]  # brings a layer's tables and bias to where its scale rounds them best

SCALED = 1 << 16  # pixels that scales are chosen on
LEAST = 1e-30  # of the scale of a table: float32 holds its products with other scales
LEFT = 15  # the most that an input of a join is shifted
RIGHT = 31  # the most that a result is
PLACED = 1 << 26  # values of placed inputs that a layer's scale is chosen on
BIAS = 1 << 23  # the most that a bias is worth, in table entries of 1


class Bases:
    """The classes of wires whose scales differ by powers of two, and their bases.

    Parameters
    ----------
    net : LookupNet
    """

    def __init__(self, net: LookupNet):
        self._parent = {name: name for name in ("input", *(op.name for op in net.ops))}
        for op in net.ops:
            if isinstance(op, Join | Maximum | Flat | Pointwise):
                for name in op.inputs:
                    self._parent[self._root(name)] = self._root(op.name)
        self._base: dict[str, float] = {}
        self._reach: dict[str, tuple[float, float]] = {}  # finest and coarsest scale
        self.note("input", net.source.scale)

    def _root(self, name: str) -> str:
        while self._parent[name] != name:
            name = self._parent[name]
        return name

    def of(self, name: str) -> float | None:
        """The base that the wire's scale must be a power of two of; None where it is free."""
        return self._base.get(self._root(name))

    def limits(self, name: str) -> tuple[float, float]:
        """Between which scales the wire's must lie, so that a join can shift its inputs alike."""
        finest, coarsest = self._reach.get(self._root(name), (float("inf"), 0.0))
        return coarsest * 2.0**-LEFT, finest * 2.0**LEFT

    def note(self, name: str, scale: float) -> None:
        """The wire has this scale: the base of its class unless that is set."""
        root = self._root(name)
        self._base.setdefault(root, scale)
        finest, coarsest = self._reach.get(root, (scale, scale))
        self._reach[root] = min(finest, scale), max(coarsest, scale)


def octaves(scale: float, limits: tuple[float, float]) -> tuple[float, float]:
    """By how many powers of two a scale must, and may, be made coarser."""
    low, high = limits
    with np.errstate(divide="ignore"):  # nothing is known of the class yet
        least, most = np.log2(low / scale), np.log2(high / scale)
    return float(np.ceil(least - 0.01)), float(np.floor(most + 0.01))


def peak(acc: NDArray[np.floating], output: Format) -> float:
    """The greatest result that ``output`` is to hold."""
    return max(0.0, float(np.abs(acc).max() if output.signed else acc.max()))


def shifts(reach: float, output: Format, within: tuple[float, float]) -> range:
    """Shifts to try where results reach so far: from one that clips nothing down to finer ones."""
    most = max(0, int(reach).bit_length() - (output.bits - output.signed)) + 1
    low, high = max(0.0, within[0]), min(RIGHT, within[1])
    return range(int(np.clip(most - 4, low, high)), int(np.clip(most, low, high)) + 1)


def error(real: NDArray[np.floating], wanted: Float32Array) -> float:
    """Mean squared difference."""
    return float(np.mean((real - wanted) ** 2))


def fit_lookup(
    lookup: Lookup,
    q: Float32Array,
    target: Float32Array,
    output: Format | None,
    bases: Bases,
    name: str,
    rounding: Round | None = None,
) -> None:
    """Chooses table scale and shift: results on ``q`` nearest to ``target``.

    Clipped large entries and rounded small ones are weighed against each other by what comes out of
    the layer. The output's scale is the table's times a power of two, so both are chosen together.

    Parameters
    ----------
    target : float32 array ``[n, ...]``
        What the layer should give, before it is clamped to ``output``.
    bases, name
        What is known of the scale of the result, and what that is called.
    rounding : callable or None
        Rounds the tables to the scale; None where they are rounded to the nearest.
    """
    base, limits = bases.of(name), bases.limits(name)
    finest = (lookup.largest() or 1.0) / lookup.table.high
    finest = max(finest, float(np.abs(lookup.bias).max()) / BIAS, LEAST)
    if base is None:
        tried = [finest * 2.0 ** (-quarter / 4) for quarter in range(13)]
    else:
        top = int(min(np.ceil(np.log2(finest / base)), octaves(base, limits)[1]))
        tried = [base * 2.0 ** (top - octave) for octave in range(5)]
    wanted = target
    if output is not None and not output.signed:
        wanted = np.maximum(target, 0)
    lookup.table_scale = tried[0]
    placed = lookup.place(q, lookup.integers())
    found: list[tuple[float, float, int]] = []
    for scale in tried:
        lookup.table_scale = scale
        if rounding is not None:
            rounding()
        acc = lookup.forward(q, lookup.integers(), placed).acc
        if output is None:
            found.append((error(acc * scale, wanted), scale, 0))
            continue
        for shift in shifts(peak(acc, output), output, octaves(scale, limits)):
            y = clamped(acc, shift, output)[0]
            y *= np.float32(scale * 2.0**shift)
            found.append((error(y, wanted), scale, shift))
    _, lookup.table_scale, lookup.shift = min(found)
    if rounding is not None:
        rounding()


def fit_op(
    op: Op,
    xs: list[Float32Array],
    wires: list[Wire],
    target: Float32Array | None,
    bases: Bases,
    rounding: Round | None = None,
) -> None:
    """Chooses the scale of one operation behind inputs ``xs``, integers with the batch inside.

    Parameters
    ----------
    target : float32 array or None
        Real results to come near to; None for what the operation would give without rounding.
    rounding : callable or None
        See `fit_lookup`.
    """
    op.form(wires)
    if isinstance(op, LookupOp):
        pixels = int(np.prod(xs[0].shape[2:], dtype=int))
        few = max(1, PLACED // (op.lookup.width * pixels))
        x = xs[0][:, :few]
        wanted = op.lookup.ideal(x) if target is None else target[:, :few]
        fit_lookup(op.lookup, x, wanted, op.output, bases, op.name, rounding)
    elif isinstance(op, Join):
        real = [x * np.float32(wire.scale) for x, wire in zip(xs, wires, strict=True)]
        wanted = np.sum(real, axis=0) if target is None else target
        if not op.output.signed:
            wanted = np.maximum(wanted, 0)
        finest = min(wire.scale for wire in wires)
        total = op.total(xs)
        reach = peak(total, op.output)
        fits: list[tuple[float, int]] = []
        for shift in shifts(reach, op.output, octaves(finest, bases.limits(op.name))):
            y = clamped(total, shift, op.output)[0]
            fits.append((error(y * np.float32(finest * 2.0**shift), wanted), shift))
        op.shift = min(fits)[1]
    elif isinstance(op, Average):
        most = float(np.abs(op.pool.sums(xs[0])).max()) / float(np.prod(op.pool.window.kernel))
        room = (op.output.high + 0.5) / max(most, 1e-9)
        op.finer = float(np.clip(np.floor(np.log2(room)), -16, 15))
        base = bases.of(op.name)
        if base is not None:
            octave = float(np.log2(wires[0].scale / base))
            least, highest = octaves(base, bases.limits(op.name))
            op.finer = octave - float(np.clip(np.ceil(octave - op.finer), least, highest))
    op.form(wires)
    bases.note(op.name, op.wire.scale)


def forward_by_parts(
    op: Op, xs: list[Float32Array], ints: Integers | None, size: int
) -> Float32Array:
    """`Op.forward` of so many samples at once, put together."""
    batch = xs[0].shape[1]
    parts = [op.forward([x[:, s : s + size] for x in xs], ints)[0] for s in range(0, batch, size)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def fit_all(
    net: LookupNet, q: Float32Array, targets: Mapping[str, Float32Array] | None = None
) -> None:
    """Chooses all scales anew for the present parameters, on inputs with the batch inside.

    Weights grow in training; tables that clip would hold them back.
    """
    bases = Bases(net)
    values, wires = {"input": q}, {"input": net.source}
    for op in net.ops:
        xs = [values[name] for name in op.inputs]
        target = None if targets is None else targets.get(op.name)
        fit_op(op, xs, [wires[name] for name in op.inputs], target, bases)
        wires[op.name] = op.wire
        ints = op.lookup.integers() if isinstance(op, LookupOp) else None
        values[op.name] = forward_by_parts(op, xs, ints, net.part)
