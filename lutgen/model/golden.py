"""Golden inference: composes the blocks' integer references into a network (design section 3)."""

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.model.base import Node, Wire
from lutgen.model.lookup import LutConv2d, LutLinear
from lutgen.model.nodes import Add, Argmax, AvgPool2d, Flatten, Map, MaxPool2d
from lutgen.model.samples import as_samples, take_samples
from lutgen.numeric import Int64Array, as_int, check_ints, unmasked

if TYPE_CHECKING:
    from lutgen.model.network import Model, Prediction

__all__ = ["compute", "predict", "run"]

CHUNK = 1 << 23  # elements of all nodes' results that are computed at once, 8 bytes each

# What computes a node: arrays ``[batch, *shape]`` and the wires that they come on, one for each of
# its inputs, to an array of as many samples.


def _linear(node: LutLinear, xs: Sequence[Int64Array], wires: Sequence[Wire]) -> Int64Array:
    (x,), (wire,) = xs, wires
    spec = node.spec(node.activation(wire).format)
    return spec.compute(x.reshape(len(x), -1), node.codebooks, node.table, node.bias)


def _conv(node: LutConv2d, xs: Sequence[Int64Array], wires: Sequence[Wire]) -> Int64Array:
    return node.spec(wires[0]).compute(xs[0], node.codebooks, node.table, node.bias)


def _pool(
    node: MaxPool2d | AvgPool2d, xs: Sequence[Int64Array], wires: Sequence[Wire]
) -> Int64Array:
    return node.spec(wires[0]).compute(xs[0])


def _add(node: Add, xs: Sequence[Int64Array], wires: Sequence[Wire]) -> Int64Array:
    return node.spec(wires).compute(xs)


def _map(node: Map, xs: Sequence[Int64Array], wires: Sequence[Wire]) -> Int64Array:
    return node.spec(wires[0]).compute(xs[0], node.map)


def _flatten(node: Flatten, xs: Sequence[Int64Array], wires: Sequence[Wire]) -> Int64Array:
    return xs[0]


def _argmax(node: Argmax, xs: Sequence[Int64Array], wires: Sequence[Wire]) -> Int64Array:
    flat = xs[0].reshape(len(xs[0]), -1)
    return np.asarray(flat.argmax(axis=1)[:, None], dtype=np.int64)


COMPUTE: dict[type[Node], Callable[[Any, Sequence[Int64Array], Sequence[Wire]], Int64Array]] = {
    LutLinear: _linear,
    LutConv2d: _conv,
    MaxPool2d: _pool,
    AvgPool2d: _pool,
    Add: _add,
    Map: _map,
    Flatten: _flatten,
    Argmax: _argmax,
}


def compute(node: Node, xs: Sequence[Int64Array], wires: Sequence[Wire]) -> Int64Array:
    """One node's result, flat ``[batch, elements]``, on what its inputs bring, which come on these
    wires; an input's elements may be in any shape.
    """
    shaped = [x.reshape(len(x), *wire.shape) for x, wire in zip(xs, wires, strict=True)]
    return COMPUTE[type(node)](node, shaped, wires).reshape(len(xs[0]), -1)


def _chunks(model: "Model", samples: int, most: int) -> Iterator[slice]:
    """Parts of so many samples that the results of all nodes together stay small."""
    wires = model.wires().values()
    step = max(1, min(most, CHUNK // sum(wire.size for wire in wires)))
    return (slice(start, start + step) for start in range(0, samples, step))


def _run(model: "Model", q: Int64Array) -> dict[str, Int64Array]:
    """`run` on all samples at once."""
    wires = model.wires()
    results = {"input": q.reshape(len(q), -1)}
    for node in model.nodes:
        sources = [wires[name] for name in node.inputs]
        results[node.name] = compute(node, [results[name] for name in node.inputs], sources)
    return results


def run(model: "Model", q: NDArray[np.integer]) -> dict[str, Int64Array]:
    """See `lutgen.model.network.Model.run`."""
    array = unmasked(q, "Input integers")
    if array.ndim != 2 or array.shape[1] != prod(model.shape):
        array = as_samples(array, model.shape)
    data = check_ints(array, "Input integers", model.input.format)
    wires = model.wires()
    results = {name: np.empty((len(data), wire.size), np.int64) for name, wire in wires.items()}
    for part in _chunks(model, len(data), len(data)):
        for name, result in _run(model, data[part].astype(np.int64)).items():
            results[name][part] = result
    return results


def predict(model: "Model", x: ArrayLike, *, batch: int = 1024) -> "Prediction":
    """See `lutgen.model.network.Model.predict`."""
    from lutgen.model.network import Prediction

    batch = as_int(batch, "Batch", low=1)
    samples = as_samples(x, model.shape)
    name = model.outputs_node.name
    outputs = np.empty((len(samples), model.classes), dtype=np.int64)
    clamped = 0
    for part in _chunks(model, len(samples), batch):
        taken = take_samples(samples[part], model.shape, model.input)
        outputs[part] = _run(model, taken.q)[name]
        clamped += taken.clamped
    return Prediction(outputs, outputs.argmax(axis=1).astype(np.int64), clamped)
