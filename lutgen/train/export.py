"""From a trained lookup network to the integer model."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen import model as md
from lutgen.model import Activation, Model
from lutgen.numeric import Format, Grid
from lutgen.spec.encoder import narrowest
from lutgen.train.conv import Dense, Taps
from lutgen.train.lookups import Digits, Lookup, Vectors
from lutgen.train.lutnet import Average, Flat, Join, LookupNet, LookupOp, Maximum, Op, Pointwise

__all__ = ["export"]


def export(
    net: LookupNet,
    name: str,
    source: Activation,
    provenance: dict[str, Any],
    *,
    argmax: bool = False,
) -> Model:
    """The model: a node for every operation, and ``argmax`` at the end if asked for.

    Parameters
    ----------
    name : str
        A Verilog identifier.
    source : Activation
        Format of the input, its scale in the data set's units.
    """
    nodes = [_node(op) for op in net.ops]
    if argmax:
        nodes.append(md.Argmax(name="argmax", inputs=(net.last.name,)))
    return Model(name, net.shape, source, tuple(nodes), provenance)


def _node(op: Op) -> md.Node:
    common: dict[str, Any] = {"name": op.name, "inputs": op.inputs}
    if isinstance(op, LookupOp):
        return _lookup(op, common)
    if isinstance(op, Flat):
        return md.Flatten(**common)
    if isinstance(op, Maximum):
        return md.MaxPool2d(**common, kernel=op.pool.window.kernel, stride=op.pool.window.stride)
    if isinstance(op, Average):
        return md.AvgPool2d(
            **common,
            kernel=op.pool.window.kernel,
            stride=op.pool.window.stride,
            multiplier=op.multiplier,
            shift=op.shift,
            output=activation(op.output, op.wire.scale),
        )
    if isinstance(op, Join):
        return md.Add(
            **common,
            left_shifts=op.left_shifts,
            shift=op.shift,
            output=activation(op.output, op.wire.scale),
        )
    assert isinstance(op, Pointwise)
    codes = np.arange(len(op.table)) + op.offset
    by_code = np.zeros(len(op.table), dtype=np.int32)
    by_code[codes & (len(codes) - 1)] = op.table.astype(np.int32)
    return md.Map(**common, map=by_code, output=activation(op.output, op.wire.scale))


def activation(fmt: Format, scale: float) -> Activation:
    """A format with its scale."""
    return Activation(fmt.bits, fmt.signed, float(scale))


def table_values(lookup: Lookup) -> NDArray[np.int64]:
    """Decoded tables ``[taps, g, c, n]``."""
    if isinstance(lookup, Digits):
        return lookup.tables()
    assert isinstance(lookup, Vectors)
    matrix = lookup.integers().matrix.astype(np.int64)
    return matrix.reshape(len(matrix), lookup.groups, lookup.centroids, -1)


def _lookup(op: LookupOp, common: dict[str, Any]) -> md.Node:
    lookup, rows = op.lookup, op.lookup.rows
    assert isinstance(lookup, Digits | Vectors)
    ints = lookup.integers()
    grid = Grid("int", lookup.table.bits)
    codes = grid.encode(table_values(lookup)).astype(np.uint8 if grid.bits <= 8 else np.uint16)
    books: NDArray[Any] | None = None
    if ints.codebooks is not None:
        books = ints.codebooks.astype(narrowest(lookup.element.low, lookup.element.high))
    common |= {
        "subvec": lookup.subvec,
        "centroids": lookup.centroids,
        "metric": lookup.metric,
        "grid": grid,
        "shift": lookup.shift,
        "output": None if op.output is None else activation(op.output, op.wire.scale),
        "bias": ints.bias.astype(np.int32),
        "codebooks": books,
    }
    window = rows.window
    if window is None:
        return md.LutLinear(
            **common, in_features=rows.features, out_features=lookup.outputs, table=codes[0]
        )
    pixel = isinstance(rows, Taps)
    taps = int(np.prod(window.kernel))
    return md.LutConv2d(
        **common,
        in_channels=rows.features if pixel else rows.features // taps,
        out_channels=lookup.outputs,
        kernel=window.kernel,
        stride=window.stride,
        pad=window.pad,
        encode="pixel" if pixel else "window",
        order=rows.order if isinstance(rows, Dense) else "hwc",
        table=codes.reshape(*window.kernel, *codes.shape[1:]) if pixel else codes[0],
    )
