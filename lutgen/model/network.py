"""A whole LUT network: its input, its nodes in topological order, and the checks between them."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.errors import LutgenError
from lutgen.model import golden
from lutgen.model.base import NAME, Activation, Node, Shape, Wire
from lutgen.model.nodes import OPS, Argmax
from lutgen.numeric import Int64Array, quantise

__all__ = ["Model", "Prediction", "Wire", "quantise_samples"]


@dataclass(frozen=True)
class Prediction:
    """What a model says of a batch.

    Attributes
    ----------
    outputs : int64 ``[sample, output]``
        The last node before any ``argmax``.
    classes : int64 ``[sample]``
        The argmax of ``outputs``, ties to the lowest.
    """

    outputs: Int64Array
    classes: Int64Array


@dataclass(frozen=True)
class Model:
    """A LUT network of integers.

    Parameters
    ----------
    name : str
        A Verilog identifier.
    shape : tuple of int
        Shape of one input sample.
    input : Activation
        Format of the input.
    nodes : tuple of Node
        In topological order; the last is the result.
    provenance : dict
        Free-form JSON about where the model comes from.

    Raises
    ------
    LutgenError
        Where the nodes do not make a network; the text names the node and the field.
    """

    name: str
    shape: Shape
    input: Activation
    nodes: tuple[Node, ...]
    provenance: dict[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        self.wires()

    def wires(self) -> dict[str, Wire]:
        """What every node, and ``input``, gives."""
        return self._wires

    @cached_property
    def _wires(self) -> dict[str, Wire]:
        """See `wires`; checks the whole network, contents of arrays included, on the way."""
        if not NAME.match(self.name):
            raise LutgenError(
                f"field 'name': must be letters, digits and underscores, not {self.name!r}"
            )
        if not self.nodes:
            raise LutgenError("field 'nodes': must hold at least one node")
        wires = {"input": Wire(self.shape, self.input)}
        used: set[str] = set()
        for node in self.nodes:
            if type(node) not in OPS.values():
                raise node.fail("field 'op'", f"must be one of {', '.join(OPS)}")
            if not NAME.match(node.name):
                raise node.fail("field 'name'", "must be letters, digits and underscores")
            if node.name in wires:
                raise node.fail("field 'name'", "is used twice")
            node.check_inputs()
            for source in node.inputs:
                if source not in wires:
                    raise node.fail(
                        "field 'inputs'", f"names {source!r}, which no earlier node has"
                    )
            used.update(node.inputs)
            wires[node.name] = node.infer([wires[source] for source in node.inputs])
        for unused in [n for n in wires if n not in used][:-1]:
            raise LutgenError(f"node {unused!r}, field 'name': no later node uses its result")
        return wires

    @property
    def outputs_node(self) -> Node:
        """The last node before any ``argmax``."""
        nodes = [node for node in self.nodes if not isinstance(node, Argmax)]
        if not nodes:
            raise LutgenError("field 'nodes': must hold more than argmax")
        return nodes[-1]

    @property
    def classes(self) -> int:
        """How many outputs, and so classes, there are."""
        return self.wires()[self.outputs_node.name].size

    def quantise(self, x: ArrayLike) -> Int64Array:
        """Samples in the data set's units to input integers ``[batch, *shape]``.

        Raises
        ------
        ValueError
            If one sample has another number of elements than the input.
        """
        return quantise_samples(x, self.shape, self.input)

    def run(self, q: NDArray[np.integer]) -> dict[str, Int64Array]:
        """Every node's result on input integers ``[batch, *shape]``, by node name; flat, ``[batch,
        elements]``.
        """
        return golden.run(self, q)

    def predict(self, x: ArrayLike, *, batch: int = 1024) -> Prediction:
        """Golden inference: the bit-exact reference of everything that is built from this model.

        Parameters
        ----------
        x : array ``[sample, ...]``
            In the data set's own units; one sample has as many elements as the input.
        batch : int
            The most samples computed at once, fewer where images are large; bounds the memory,
            changes nothing else.
        """
        return golden.predict(self, x, batch=batch)


def quantise_samples(x: ArrayLike, shape: Shape, activation: Activation) -> Int64Array:
    """Samples in the data set's units to integers ``[batch, *shape]`` of an input of that format.

    Raises
    ------
    ValueError
        If one sample has another number of elements than the shape.
    """
    data = np.asarray(x)
    size = int(np.prod(shape))
    if data.ndim < 1 or data[:1].size != (size if len(data) else 0):
        raise ValueError(
            f"Samples must have {size} elements, as the model's input, "
            f"not {'x'.join(map(str, data.shape[1:]))}"
        )
    return quantise(data.reshape(len(data), *shape), activation.scale, activation.format)
