"""What is in a core's memories: ROM contents, and the load image of cores with RAMs."""

import zlib
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.errors import LutgenError
from lutgen.gateware.linear import Memories
from lutgen.gateware.load import LOAD_WORD_BITS
from lutgen.gateware.tree import pack_rows
from lutgen.model import LutConv2d, LutLayer, Map, Model
from lutgen.model.plan import FOLD_FIELDS
from lutgen.numeric import ceil_div
from lutgen.spec.conv import pixel_acc_format
from lutgen.spec.encoder import IndexSpec
from lutgen.spec.linear import LinearSpec, acc_format
from lutgen.spec.network import NetworkSpec, Stage
from lutgen.spec.pointwise import MapSpec
from lutgen.spec.slide import EncodeSpec

__all__ = ["checked", "contents_of", "layer_words", "model_image"]

# What a core's model may have otherwise.
FREE = ("acc", "memory", "line_rows", "feed_interval", "feed_latency", *FOLD_FIELDS)


def contents_of(spec: NetworkSpec, model: Model) -> dict[str, Memories | list[int]]:
    """Contents of every stage that has tables, by its name."""
    nodes = {node.name: node for node in model.nodes}
    contents: dict[str, Memories | list[int]] = {}
    for stage in spec.stages:
        node, part = nodes.get(_node_name(stage)), stage.spec
        if isinstance(part, EncodeSpec):
            contents[stage.name] = Memories.pack(part.row, node.codebooks, None, None)
        elif stage.row is not None:
            books = node.codebooks if stage.row.has_encoders else None
            contents[stage.name] = Memories.pack(stage.row, books, node.table, node.bias)
        elif isinstance(node, Map):
            contents[stage.name] = pack_rows(np.asarray(node.map)[:, None], node.output.bits)
    return contents


def _node_name(stage: Stage) -> str:
    """The node that a stage is of."""
    return stage.name.rpartition("__")[0] if stage.op == "encode" else stage.name


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
    spec: LinearSpec,
    codebooks: ArrayLike | None,
    table: ArrayLike | None,
    bias: ArrayLike | None,
    *,
    exact: bool = True,
) -> NDArray[np.uint32]:
    """A lookup layer's part of the load image: words of 32 bits.

    Parameters
    ----------
    spec : LinearSpec
    codebooks : int array ``[g, c, v]``, None for layers without
    table : array of codes ``[g, c, n]``, with several taps ``[taps, g, c, n]``
        None, as the bias, for codebooks alone.
    bias : int array ``[n]``
    exact : bool
        Whether all lookups of a result add up, so that the tables tell how far accumulators reach;
        taps outside an image add nothing.

    Raises
    ------
    ValueError
        If an array has a wrong shape or values without a code, or if an accumulator could
        overflow the core's.
    """
    g, c, n = spec.codebooks, spec.centroids, spec.out_features
    if spec.has_encoders:
        books = (g, c, spec.subvec)
        check_array("Codebooks", codebooks, books, spec.element.low, spec.element.high)
    if table is not None and bias is not None:
        shape = (g, c, n) if spec.taps == 1 else (spec.taps, g, c, n)
        check_array("Table", table, shape, 0, spec.grid.codes - 1)
        if exact and spec.taps == 1:
            _check_acc(spec, acc_format(spec.grid.decode(table), bias).bits)
    memories = Memories.pack(spec, codebooks, table, bias)
    widths = [getattr(spec.encoder, "row_bits", 0)] * len(memories.codebooks)
    widths += [spec.bank.row_bits] * len(memories.banks)
    contents = [*memories.codebooks, *memories.banks]
    if memories.bias:
        contents.append(memories.bias)
        widths.append(spec.lanes * spec.acc.bits)
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
    stages = [
        s for s in spec.stages if s.row is not None or isinstance(s.spec, MapSpec | EncodeSpec)
    ]
    names = list(dict.fromkeys(_node_name(stage) for stage in stages))
    if list(nodes) != names:
        raise LutgenError(
            f"model {model.name!r}, field 'nodes': must have the core's lookup layers, "
            f"{', '.join(names)}, not {', '.join(nodes)}"
        )
    parts = [_stage_words(model, nodes[_node_name(stage)], stage) for stage in stages]
    return checked(np.concatenate(parts))


def checked(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The words of all layers as a load image: with the CRC-32 of their bytes behind them."""
    return np.append(words, np.uint32(zlib.crc32(words.astype("<u4").tobytes())))


def _stage_words(model: Model, node: Any, stage: Stage) -> NDArray[np.uint32]:
    wire = model.wires()[node.inputs[0]]
    built = stage.spec
    if isinstance(built, MapSpec):
        _check_same(node, built, node.spec(wire))
        rows = pack_rows(np.asarray(node.map)[:, None], built.output.bits)
        return np.array(as_words(rows, built.output.bits), dtype=np.uint32)
    conv = isinstance(node, LutConv2d)
    wanted = node.spec(wire if conv else node.activation(wire).format)
    if isinstance(built, EncodeSpec):
        _check_same(node, built.row, replace(wanted.row, taps=1))
        return layer_words(built.row, node.codebooks, None, None)
    row = stage.row
    assert row is not None
    slid = conv and isinstance(built, LinearSpec)  # the same layer, on whole windows
    _check_same(node, built, _as_slid(built, wanted.row) if slid else wanted)
    if conv and wanted.encode == "pixel":
        need = pixel_acc_format(wanted.window, row.grid.decode(node.table), node.bias)
        _check_acc(row, need.bits)
    g, c, n = row.codebooks, row.centroids, row.out_features
    try:
        table = node.table.reshape((g, c, n) if row.taps == 1 else (row.taps, g, c, n))
    except ValueError:
        raise node.fail(
            "array 'table'", "must have the shape that the core was built for"
        ) from None
    books = node.codebooks if row.has_encoders else None
    return layer_words(row, books, table, node.bias, exact=not (conv and wanted.encode == "pixel"))


def _as_slid(built: LinearSpec, wanted: LinearSpec) -> LinearSpec:
    """A convolution's layer on a pixel or window, in the terms of its layer on whole windows."""
    if built.metric != "index":
        return wanted
    features = wanted.taps * wanted.codebooks
    element = IndexSpec.marked(wanted.centroids)
    return replace(wanted, in_features=features, element=element, subvec=1, metric="index", taps=1)


def _check_same(node: Any, built: Any, wanted: Any) -> None:
    for field in fields(built):
        if field.name in FREE:
            continue
        have, need = getattr(built, field.name), getattr(wanted, field.name)
        if have != need:
            text = f"must be {have}, as the core was built, not {need}"
            raise node.fail(f"field {field.name!r}", text)
