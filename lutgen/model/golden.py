"""Golden inference: composes the blocks' integer references into a network (design section 3)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.model.nodes import Activation, Argmax, Flatten, LutLinear, Node
from lutgen.numeric import Int64Array

if TYPE_CHECKING:
    from lutgen.model.network import Model, Prediction

__all__ = ["predict", "run"]


def _linear(node: LutLinear, x: Int64Array, wire: Activation | None) -> Int64Array:
    assert wire is not None  # the model's checks have seen to it
    return node.spec(wire.format).compute(x, node.codebooks, node.table, node.bias)


def _flatten(node: Flatten, x: Int64Array, wire: Activation | None) -> Int64Array:
    return x


def _argmax(node: Argmax, x: Int64Array, wire: Activation | None) -> Int64Array:
    return np.asarray(x.argmax(axis=1)[:, None], dtype=np.int64)


COMPUTE: dict[type[Node], Callable[[Any, Int64Array, Activation | None], Int64Array]] = {
    LutLinear: _linear,
    Flatten: _flatten,
    Argmax: _argmax,
}


def run(model: "Model", q: NDArray[np.integer]) -> dict[str, Int64Array]:
    """Every node's result, flat ``[batch, elements]``, on input integers ``[batch, *shape]``."""
    wires = model.wires()
    results = {"input": np.asarray(q, dtype=np.int64).reshape(len(q), -1)}
    for node in model.nodes:
        (source,) = node.inputs
        results[node.name] = COMPUTE[type(node)](node, results[source], wires[source].activation)
    return results


def predict(model: "Model", x: ArrayLike, *, batch: int = 1024) -> "Prediction":
    """See `lutgen.model.network.Model.predict`."""
    from lutgen.model.network import Prediction

    samples = np.asarray(x)
    name = model.outputs_node.name
    parts = [
        run(model, model.quantise(samples[start : start + batch]))[name]
        for start in range(0, len(samples), batch)
    ]
    outputs = np.concatenate(parts) if parts else np.empty((0, model.classes), dtype=np.int64)
    return Prediction(outputs, outputs.argmax(axis=1).astype(np.int64))
