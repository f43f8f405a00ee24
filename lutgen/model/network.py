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
from lutgen.model.samples import take_samples
from lutgen.numeric import Int64Array

__all__ = ["Model", "Prediction", "Wire"]


MOST_NODES = 1 << 12  # what is built of a network has a part for each
MOST = 1 << 26  # elements of one sample and of all its results: 512 MiB in int64


@dataclass(frozen=True)
class Prediction:
    """What a model says of a batch.

    Attributes
    ----------
    outputs : int64 ``[sample, output]``
        The last node before any ``argmax``.
    classes : int64 ``[sample]``
        The argmax of ``outputs``, ties to the lowest.
    clamped : int
        How many elements of the samples lay outside the input's format, and became its end.
    """

    outputs: Int64Array
    classes: Int64Array
    clamped: int = 0


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
        if len(self.nodes) > MOST_NODES:
            raise LutgenError(
                f"field 'nodes': must hold at most {MOST_NODES:,} nodes, not {len(self.nodes):,}; "
                "train a smaller network"
            )
        wires = {"input": Wire(self.shape, self.input)}
        total = wires["input"].size
        if total > MOST:
            raise LutgenError(
                f"manifest, field 'input', field 'shape': is {total:,} elements, more than "
                f"{MOST:,}; train on smaller samples"
            )
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
            wire = wires[node.name] = node.infer([wires[source] for source in node.inputs])
            total += wire.size
            if total > MOST:
                raise LutgenError(
                    f"{node.where}: gives {wire.size:,} elements a sample, {total:,} with those "
                    f"before it, more than {MOST:,}; train on smaller samples"
                )
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
        """Samples in the data set's units to input integers ``[batch, *shape]``; what lies outside
        the input's format is clamped.

        Raises
        ------
        TypeError, ValueError
            If they are no samples of the input; see `lutgen.model.samples.take_samples`, which also
            counts what is clamped.
        """
        return take_samples(x, self.shape, self.input).q

    def run(self, q: NDArray[np.integer]) -> dict[str, Int64Array]:
        """Every node's result on input integers, by node name; flat, ``[batch, elements]``.

        Parameters
        ----------
        q : int array ``[batch, *shape]`` or ``[batch, elements]``
            Elements in the order of rows, columns, channels.

        Raises
        ------
        TypeError
            If they are no integers.
        ValueError
            If they have another shape, or the input's format does not hold one.
        """
        return golden.run(self, q)

    def predict(self, x: ArrayLike, *, batch: int = 1024) -> Prediction:
        """Golden inference: the bit-exact reference of everything that is built from this model.

        Parameters
        ----------
        x : array ``[sample, ...]``
            In the data set's own units, of the input's shape; axes of length 1 may be left out, and
            a grey image may be a row of pixels.
        batch : int
            The most samples computed at once, fewer where images are large; bounds the memory,
            changes nothing else. At least 1.

        Raises
        ------
        TypeError, ValueError
            If they are no samples of the input; see `lutgen.model.samples.take_samples`. If
            ``batch`` is no positive integer.
        """
        return golden.predict(self, x, batch=batch)
