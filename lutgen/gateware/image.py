"""What is in a core's memories: ROM contents, and the load image of cores with RAMs."""

import zlib
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.errors import LutgenError
from lutgen.gateware.linear import Memories
from lutgen.gateware.load import LOAD_WORD_BITS
from lutgen.gateware.tree import pack_rows
from lutgen.model import LutLayer, Map, Model
from lutgen.model.plan import FOLD_FIELDS
from lutgen.numeric import ceil_div
from lutgen.spec.conv import Conv2dSpec, pixel_acc_format
from lutgen.spec.linear import LinearSpec, acc_format
from lutgen.spec.network import NetworkSpec, Stage
from lutgen.spec.pointwise import MapSpec

__all__ = ["contents_of", "layer_words", "model_image"]

FREE = ("acc", "memory", "line_rows", *FOLD_FIELDS)  # what a core's model may have otherwise


def contents_of(spec: NetworkSpec, model: Model) -> dict[str, Memories | list[int]]:
    """Contents of every stage that has tables, by its name."""
    nodes = {node.name: node for node in model.nodes}
    contents: dict[str, Memories | list[int]] = {}
    for stage in spec.stages:
        node = nodes.get(stage.name)
        if isinstance(node, LutLayer):
            contents[stage.name] = Memories.pack(
                stage.row, node.codebooks, node.table, node.bias
            )
        elif isinstance(node, Map):
            contents[stage.name] = pack_rows(np.asarray(node.map)[:, None], node.output.bits)
    return contents


def check_array(what: str, array: ArrayLike, shape: tuple[int, ...], low: int, high: int) -> None:
    """Complains of another shape, or of values outside ``low..high``."""
    values = np.asarray(array)
    if values.shape != shape:
        raise ValueError(f"{what} must have the shape {shape}, not {values.shape}")
    if values.min() < low or values.max() > high:
        raise ValueError(f"{what} must hold values of {low}..{high}")


def as_words(rows: list[int], width: int) -> list[int]:
    """Memory rows as words of the load stream, lowest bits first."""
    per_row = ceil_div(width, LOAD_WORD_BITS)
    return [(row >> (LOAD_WORD_BITS * k)) & 0xFFFFFFFF for row in rows for k in range(per_row)]


def layer_words(
    spec: LinearSpec, codebooks: ArrayLike | None, table: ArrayLike, bias: ArrayLike
) -> NDArray[np.uint32]:
    """A lookup layer's part of the load image: words of 32 bits.

    Parameters
    ----------
    spec : LinearSpec
    codebooks : int array ``[g, c, v]``, None for digit layers
    table : array of codes ``[g, c, n]``, with several taps ``[taps, g, c, n]``
    bias : int array ``[n]``

    Raises
    ------
    ValueError
        If an array has a wrong shape or values without a code, or if an accumulator could
        overflow the core's.
    """
    g, c, n = spec.codebooks, spec.centroids, spec.out_features
    shape = (g, c, n) if spec.taps == 1 else (spec.taps, g, c, n)
    check_array("Table", table, shape, 0, spec.grid.codes - 1)
    if spec.metric != "digit":
        books = (g, c, spec.subvec)
        check_array("Codebooks", codebooks, books, spec.element.low, spec.element.high)
    if spec.taps == 1:  # taps outside an image add nothing: `model_image` checks those
        need = acc_format(spec.grid.decode(table), bias)
        _check_acc(spec, need.bits)
    memories = Memories.pack(spec, codebooks, table, bias)
    widths = [spec.encoder.row_bits for _ in memories.codebooks]
    widths += [spec.bank.row_bits] * len(memories.banks) + [spec.lanes * spec.acc.bits]
    contents = [*memories.codebooks, *memories.banks, memories.bias]
    words: list[int] = []
    for rows, width in zip(contents, widths, strict=True):
        words += as_words(rows, width)
    return np.array(words, dtype=np.uint32)


def _check_acc(spec: LinearSpec, bits: int) -> None:
    if bits > spec.acc.bits:
        raise ValueError(
            f"Accumulators of these tables need {bits} bits, but the core has "
            f"{spec.acc.bits}; use smaller biases"
        )


def model_image(spec: NetworkSpec, model: Model) -> NDArray[np.uint32]:
    """The whole load image of a loadable core, its check word included.

    Raises
    ------
    LutgenError
        If the model's layers are not those that the core was built for; only the contents of
        tables, codebooks and biases may differ.
    """
    nodes = {node.name: node for node in model.nodes if isinstance(node, LutLayer | Map)}
    stages = {s.name: s for s in spec.stages if s.row is not None or isinstance(s.spec, MapSpec)}
    if list(nodes) != list(stages):
        raise LutgenError(
            f"model {model.name!r}, field 'nodes': must have the core's lookup layers, "
            f"{', '.join(stages)}, not {', '.join(nodes)}"
        )
    parts = [_node_words(model, nodes[name], stage) for name, stage in stages.items()]
    words = np.concatenate(parts)
    check = zlib.crc32(words.astype("<u4").tobytes())
    return np.append(words, np.uint32(check))


def _node_words(model: Model, node: Any, stage: Stage) -> NDArray[np.uint32]:
    wire = model.wires()[node.inputs[0]]
    built = stage.spec
    if isinstance(built, MapSpec):
        _check_same(node, built, node.spec(wire))
        rows = pack_rows(np.asarray(node.map)[:, None], built.output.bits)
        return np.array(as_words(rows, built.output.bits), dtype=np.uint32)
    row = stage.row
    assert row is not None
    wanted = node.spec(wire if isinstance(built, Conv2dSpec) else node.activation(wire).format)
    _check_same(node, built, wanted)
    table = node.table
    if isinstance(built, Conv2dSpec) and built.encode == "pixel":
        need = pixel_acc_format(built.window, row.grid.decode(table), node.bias)
        _check_acc(row, need.bits)
    g, c, n = table.shape[-3:]
    table = table.reshape((g, c, n) if row.taps == 1 else (row.taps, g, c, n))
    return layer_words(row, node.codebooks, table, node.bias)


def _check_same(node: Any, built: Any, wanted: Any) -> None:
    for field in fields(built):
        if field.name in FREE:
            continue
        have, need = getattr(built, field.name), getattr(wanted, field.name)
        if have != need:
            text = f"must be {have}, as the core was built, not {need}"
            raise node.fail(f"field {field.name!r}", text)
