"""Scales and shifts: what a table entry of 1 stands for in every layer.

All scales are chosen on samples, layer by layer in order, so that what a layer gives comes nearest
to what it should. Where results are added up, their scales must differ by powers of two: such wires
form a class, and the first of a class to be chosen sets the base of the others.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import Format
from lutgen.train.lookups import Lookup
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

__all__ = ["Bases", "fit_all", "fit_op"]


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
        self._base = {self._root("input"): net.source.scale}

    def _root(self, name: str) -> str:
        while self._parent[name] != name:
            name = self._parent[name]
        return name

    def of(self, name: str) -> float | None:
        """The base that the wire's scale must be a power of two of; None where it is free."""
        return self._base.get(self._root(name))

    def note(self, name: str, scale: float) -> None:
        """The wire has this scale: the base of its class unless that is set."""
        self._base.setdefault(self._root(name), scale)


def error(real: NDArray[np.floating], wanted: Float32Array) -> float:
    """Mean squared difference."""
    return float(np.mean((real - wanted) ** 2))


def fit_lookup(
    lookup: Lookup,
    q: Float32Array,
    target: Float32Array,
    output: Format | None,
    base: float | None,
) -> None:
    """Chooses table scale and shift: results on ``q`` nearest to ``target``.

    Clipped large entries and rounded small ones are weighed against each other by what comes out of
    the layer. The output's scale is the table's times a power of two, so both are chosen together.

    Parameters
    ----------
    target : float32 array ``[n, ...]``
        What the layer should give, before it is clamped to ``output``.
    base : float or None
        What the scale must be a power of two of.
    """
    finest = (lookup.largest() or 1.0) / lookup.table.high
    if base is None:
        tried = [finest * 2.0 ** (-quarter / 4) for quarter in range(13)]
    else:
        top = int(np.ceil(np.log2(finest / base)))
        tried = [base * 2.0 ** (top - octave) for octave in range(5)]
    wanted = target
    if output is not None and not output.signed:
        wanted = np.maximum(target, 0)
    lookup.table_scale = tried[0]
    placed = lookup.place(q, lookup.integers())
    found: list[tuple[float, float, int]] = []
    for scale in tried:
        lookup.table_scale = scale
        acc = lookup.forward(q, lookup.integers(), placed).acc
        if output is None:
            found.append((error(acc * scale, wanted), scale, 0))
            continue
        reach = max(1, int(np.abs(acc).max() if output.signed else acc.max()))
        most = max(0, reach.bit_length() - (output.bits - output.signed)) + 1
        for shift in range(max(0, most - 4), most + 1):
            y = clamped(acc, shift, output)[0]
            y *= np.float32(scale * 2.0**shift)
            found.append((error(y, wanted), scale, shift))
    _, lookup.table_scale, lookup.shift = min(found)


def fit_op(
    op: Op, xs: list[Float32Array], wires: list[Wire], target: Float32Array | None, bases: Bases
) -> None:
    """Chooses the scale of one operation behind inputs ``xs``, integers with the batch inside.

    Parameters
    ----------
    target : float32 array or None
        Real results to come near to; None for what the operation would give without rounding.
    """
    op.form(wires)
    if isinstance(op, LookupOp):
        wanted = op.lookup.ideal(xs[0]) if target is None else target
        fit_lookup(op.lookup, xs[0], wanted, op.output, bases.of(op.name))
    elif isinstance(op, Join):
        real = [x * np.float32(wire.scale) for x, wire in zip(xs, wires, strict=True)]
        wanted = np.sum(real, axis=0) if target is None else target
        if not op.output.signed:
            wanted = np.maximum(wanted, 0)
        found = []
        for op.shift in range(12):
            op.form(wires)
            y = op.forward(xs, None)[0]
            found.append((error(y * np.float32(op.wire.scale), wanted), op.shift))
        op.shift = min(found)[1]
    elif isinstance(op, Average):
        most = float(np.abs(op.pool.sums(xs[0])).max()) / float(np.prod(op.pool.window.kernel))
        room = (op.output.high + 0.5) / max(most, 1e-9)
        op.finer = int(np.clip(np.floor(np.log2(room)), -8, 8))
    op.form(wires)
    bases.note(op.name, op.wire.scale)


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
        values[op.name] = op.forward(xs, ints)[0]
