"""The engine's compiler: each node of a model becomes steps of the engine, or of the host."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.host.cut import Cut
from lutgen.host.fit import check_fit
from lutgen.host.job import EngineStep, HostStep, Job
from lutgen.model.base import Node, Wire
from lutgen.model.file import digest
from lutgen.model.lookup import LutConv2d, LutLayer, windows_on
from lutgen.model.network import Model
from lutgen.model.nodes import Add, Argmax, AvgPool2d, Flatten, Map, MaxPool2d
from lutgen.numeric import Format, Int64Array
from lutgen.spec.encoder import DigitSpec
from lutgen.spec.engine import EngineSpec
from lutgen.spec.job import NOTHING

__all__ = ["compile_model"]

WHY: dict[type[Node], str] = {
    Add: "the engine adds nothing but table rows",
    MaxPool2d: "the engine compares nothing but distances",
    AvgPool2d: "the engine adds nothing but table rows",
    Flatten: "moves nothing",
    Argmax: "the engine compares nothing but distances",
}


def compile_model(model: Model, engine: EngineSpec, *, host: Collection[str] = ()) -> Job:
    """The steps that compute a model on an engine, the same on every call.

    Parameters
    ----------
    model : Model
    engine : EngineSpec
    host : collection of str
        Nodes that the host is to compute, whether they fit the engine or not.

    Raises
    ------
    MisfitError
        If lookup layers do not fit the engine and are not among ``host``.
    LutgenError
        If the model has no node of such a name.
    """
    names = [node.name for node in model.nodes]
    for name in host:
        if name not in names:
            raise LutgenError(
                f"argument --host: the model has no node {name!r}; it has {', '.join(names)}"
            )
    wires = model.wires()
    layers = [n for n in model.nodes if isinstance(n, LutLayer) and n.name not in host]
    check_fit([(layer, wires[layer.inputs[0]]) for layer in layers], engine)
    steps: list[HostStep | EngineStep] = []
    fused: set[str] = set()
    for node in model.nodes:
        if node.name in fused:
            continue
        if node.name in host and isinstance(node, LutLayer | Map):
            steps.append(HostStep(node, "as asked"))
        elif isinstance(node, LutLayer):
            behind = _map_behind(model, node)
            if behind is not None and (behind.name in host or _no_map(behind, wires, engine)):
                behind = None
            if behind is not None:
                fused.add(behind.name)
            steps += _lookup(node, behind, wires, engine)
        elif isinstance(node, Map):
            steps.append(HostStep(node, _why_map(model, node, host, engine)))
        else:
            steps.append(HostStep(node, WHY[type(node)]))
    return Job(
        name=model.name,
        sha256=digest(model),
        engine=engine.resolved,
        shape=model.shape,
        input=model.input,
        steps=tuple(steps),
        output=model.outputs_node.name,
    )


# Maps behind lookup layers.


def _map_behind(model: Model, node: Node) -> Map | None:
    """The map that alone uses a node's result."""
    users = [user for user in model.nodes if node.name in user.inputs]
    return users[0] if len(users) == 1 and isinstance(users[0], Map) else None


def _no_map(node: Map, wires: dict[str, Wire], engine: EngineSpec) -> str:
    """Why the engine can't apply a map to its own results; empty if it can."""
    if not engine.has_map:
        return "the engine was built without a map"
    if node.output.bits > engine.output_bits:
        return (
            f"gives {node.output.bits} bits, more than the engine's output bits, "
            f"{engine.output_bits}"
        )
    return ""


def _why_map(model: Model, node: Map, host: Collection[str], engine: EngineSpec) -> str:
    source = next((each for each in model.nodes if each.name == node.inputs[0]), None)
    if not isinstance(source, LutLayer) or source.name in host:
        return "is not behind a lookup on the engine"
    if _map_behind(model, source) is None:
        return f"others use {source.name!r} too"
    return _no_map(node, model.wires(), engine)


def _entries(node: Map, source: Format, engine: EngineSpec) -> Int64Array:
    """A map behind results of format ``source`` for every code of the engine's results."""
    codes = np.arange(1 << engine.output_bits, dtype=np.int64)
    # Codes that no result has get what their lowest bits stand for: it does not matter.
    entries = node.map.astype(np.int64)
    return np.asarray(entries[codes & ((1 << source.bits) - 1)], dtype=np.int64)


# Lookup layers.


def _lookup(
    node: LutLayer, behind: Map | None, wires: dict[str, Wire], engine: EngineSpec
) -> list[HostStep | EngineStep]:
    """The steps of a lookup layer, and of the map behind it."""
    source = node.inputs[0]
    wire = wires[source]
    result: dict[str, Any] = {"results": "accumulators"}
    if node.output is not None:
        fmt = node.output.format
        result = {"results": "outputs", "shift": node.shift, "low": fmt.low, "high": fmt.high}
        if behind is not None:
            result["map"] = _entries(behind, fmt, engine)
    gives = node.name if behind is None else behind.name
    end: dict[str, Any] = {
        "name": node.name,
        "gives": gives,
        "wire": wires[gives],
        "table": _tables(node, engine),
        "bias": np.asarray(node.bias, dtype=np.int64),
        **result,
    }
    element = node.activation(wire).format
    books = None if node.codebooks is None else _books(node.codebooks, engine)
    digits = DigitSpec(element, node.centroids) if books is None else None
    start: dict[str, Any] = {}
    if books is not None:
        start = {"subvec": node.subvec, "signed": element.signed, "books": books}
    if not isinstance(node, LutConv2d):
        cut = Cut(wire.shape, digits=digits)
        return [EngineStep(source=source, cut=cut, **start, **end)]
    window = windows_on(node, wire, node.kernel, node.stride, node.pad)
    if node.encode == "window":
        cut = Cut(wire.shape, window=window, order=node.order, digits=digits)
        return [EngineStep(source=source, cut=cut, **start, **end)]
    if books is None:  # digits of each pixel
        cut = Cut(wire.shape, window=window, outside=NOTHING, digits=digits)
        return [EngineStep(source=source, cut=cut, **end)]
    # Every pixel is encoded once, and windows are made of indices.
    height, width, _ = wire.shape
    encode = EngineStep(
        name=node.name,
        gives=f"{node.name}.indices",
        source=source,
        cut=Cut(wire.shape, positions=height * width),
        wire=Wire((height, width, len(books)), None),
        results="indices",
        **start,
    )
    cut = Cut(encode.wire.shape, window=window, outside=NOTHING)
    return [encode, EngineStep(source=encode.gives, cut=cut, **end)]


def _tables(node: LutLayer, engine: EngineSpec) -> NDArray[Any]:
    """Table values ``[codebooks, c, n]`` with the engine's c; taps before groups."""
    values = node.grid.decode(node.table)
    values = values.reshape(-1, *values.shape[-2:])
    missing = engine.centroids - node.centroids
    return np.pad(values, ((0, 0), (0, missing), (0, 0)))


def _books(codebooks: NDArray[Any], engine: EngineSpec) -> NDArray[Any]:
    """Codebooks with the engine's c and v. The last centroid's copies have higher numbers and never
    win; what is beyond a sub-vector is 0 on both sides.
    """
    books = np.asarray(codebooks, dtype=np.int64)
    missing = engine.centroids - books.shape[1]
    books = np.concatenate([books, np.repeat(books[:, -1:], missing, axis=1)], axis=1)
    return np.pad(books, ((0, 0), (0, 0), (0, engine.subvec - books.shape[2])))
