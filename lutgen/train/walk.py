"""A network walked through from the input on, each operation brought to what it should give."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lutgen.train.floatnet import FloatNet
from lutgen.train.lutnet import Join, LookupNet, LookupOp, Op, Wire
from lutgen.train.optim import Float32Array
from lutgen.train.scales import SCALED, Bases, Round, fit_op, forward_by_parts

__all__ = ["Floats", "Itself", "Teacher", "walk"]


class Teacher(Protocol):
    """Says what the operations of a network should give for some samples."""

    def wanted(self, op: Op) -> Float32Array:
        """Real results before any clamp; asked of one operation after the other, in order."""
        ...

    def input(self, join: Op, name: str) -> Float32Array:
        """What should arrive at a join from the operation of that name, once that was asked."""
        ...


class Floats:
    """The float network as a teacher.

    Parameters
    ----------
    net : LookupNet
    origin : FloatNet
        What it was converted from.
    q : float32 array
        Input integers with the batch inside.
    """

    def __init__(self, net: LookupNet, origin: FloatNet, q: Float32Array):
        self.size = max(1, net.part)
        self.layers = {layer.name: layer for layer in origin.layers}
        self.real = {"input": q * np.float32(net.source.scale)}
        self.left = {name: len(users) for name, users in origin.users.items()}
        self.ahead: Iterator[str] = iter(self.layers)

    def wanted(self, op: Op) -> Float32Array:
        for name in self.ahead:
            layer = self.layers[name]
            inputs = [self.real[before] for before in layer.inputs]
            parts = [
                layer.forward([x[:, s : s + self.size] for x in inputs], False)[0]
                for s in range(0, inputs[0].shape[1], self.size)
            ]
            self.real[name] = np.concatenate(parts, axis=1)
            for before in layer.inputs:
                self.left[before] -= 1
                if not self.left[before]:
                    del self.real[before]
            if name == op.name:
                return self.real[name]
        raise ValueError(f"Operation {op.name!r} must be of a layer that was not asked for yet")

    def input(self, join: Op, name: str) -> Float32Array:
        return self.real[self.layers[join.name].inputs[join.inputs.index(name)]]


class Itself:
    """The network as it stands is its own teacher: every operation is run before it is changed."""

    def __init__(self, net: LookupNet, q: Float32Array):
        self.size = max(1, net.part)
        self.values = {"input": q}
        self.scales = {"input": net.source.scale}
        self.left = dict(net.uses)

    def wanted(self, op: Op) -> Float32Array:
        xs = [self.values[name] for name in op.inputs]
        ints = op.lookup.integers() if isinstance(op, LookupOp) else None
        parts = [
            op.forward([x[:, s : s + self.size] for x in xs], ints)
            for s in range(0, xs[0].shape[1], self.size)
        ]
        y = np.concatenate([given for given, _ in parts], axis=1)
        result = y * np.float32(op.wire.scale)
        if isinstance(op, LookupOp):
            # Before the clamp, but with tables rounded and clipped: training has reckoned with it.
            sums = np.concatenate([kept.acc for _, (kept, _) in parts], axis=1)
            result = (sums * np.float32(op.lookup.table_scale)).astype(np.float32)
        self.values[op.name], self.scales[op.name] = y, op.wire.scale
        for name in op.inputs:
            self.left[name] -= 1
            if not self.left[name]:
                del self.values[name]
        return result

    def input(self, join: Op, name: str) -> Float32Array:
        return self.values[name] * np.float32(self.scales[name])


def walk(
    net: LookupNet,
    teacher: Teacher,
    q: Float32Array,
    each: Callable[[LookupOp, Float32Array, Float32Array], Round | None],
    progress: Callable[[int], object] | None = None,
) -> None:
    """Calls ``each`` with every lookup operation, what now arrives there and what it should give.

    Scales follow, and what ``each`` gives rounds the tables. Behind a residual join, the last layer
    to arrive is asked for what the others lack too, so that errors of the skip path are made good.
    """
    size = max(1, net.part)
    bases = Bases(net)
    wires = {"input": net.source}
    values = {"input": q}
    left = dict(net.uses)
    done = 0
    for op in net.ops:
        xs = [values[name] for name in op.inputs]
        target, rounding = teacher.wanted(op), None
        if isinstance(op, LookupOp):
            target = target + _owed(net, teacher, op, values, wires)
            op.form([wires[name] for name in op.inputs])
            rounding = each(op, xs[0], target)
        few = max(size, min(len(q[0]), SCALED // int(np.prod(xs[0].shape[2:], dtype=int))))
        fit_op(
            op,
            [x[:, :few] for x in xs],
            [wires[name] for name in op.inputs],
            target[:, :few],
            bases,
            rounding,
        )
        wires[op.name] = op.wire
        ints = op.lookup.integers() if isinstance(op, LookupOp) else None
        values[op.name] = forward_by_parts(op, xs, ints, size)
        for name in op.inputs:
            left[name] -= 1
            if not left[name]:
                del values[name]
        if isinstance(op, LookupOp):
            done += 1
            if progress is not None:
                progress(done)


def _owed(
    net: LookupNet,
    teacher: Teacher,
    op: Op,
    values: dict[str, Float32Array],
    wires: dict[str, Wire],
) -> NDArray[Any] | float:
    """What the other inputs of a join that only ``op`` is missing from lack."""
    users = [user for user in net.ops if op.name in user.inputs]
    if len(users) != 1 or not isinstance(users[0], Join):
        return 0.0
    total: NDArray[Any] | float = 0.0
    for name in users[0].inputs:
        if name == op.name:
            continue
        if name not in values:
            return 0.0
        total = total + (
            teacher.input(users[0], name) - values[name] * np.float32(wires[name].scale)
        )
    return total
