"""From a trained lookup network to the integer model."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.model import Activation, Argmax, LutLinear, Model, Node
from lutgen.numeric import Grid
from lutgen.spec.encoder import narrowest
from lutgen.train.layers import DigitLayer, Layer, VectorLayer
from lutgen.train.lookup import LookupNet

__all__ = ["export"]


def export(
    net: LookupNet,
    name: str,
    shape: tuple[int, ...],
    source: Activation,
    provenance: dict[str, Any],
    *,
    argmax: bool = False,
) -> Model:
    """The model: nodes ``fc1``, ``fc2``, ..., and ``argmax`` at the end if asked for.

    Parameters
    ----------
    name : str
        A Verilog identifier.
    shape : tuple of int
        Of one sample.
    source : Activation
        Format of the input, its scale in the data set's units.
    """
    nodes: list[Node] = []
    before = "input"
    for number, layer in enumerate(net.layers, 1):
        nodes.append(_node(layer, f"fc{number}", before))
        before = nodes[-1].name
    if argmax:
        nodes.append(Argmax(name="argmax", inputs=(before,)))
    return Model(name, shape, source, tuple(nodes), provenance)


def _node(layer: Layer, name: str, before: str) -> LutLinear:
    ints = layer.integers()
    grid = Grid("int", layer.table.bits)
    books: NDArray[Any] | None = None
    if isinstance(layer, VectorLayer):
        assert ints.codebooks is not None
        books = ints.codebooks.astype(narrowest(layer.element.low, layer.element.high))
        features, subvec, centroids = layer.in_features, layer.subvec, layer.centroids
    else:
        assert isinstance(layer, DigitLayer)
        features, subvec, centroids = len(layer.weight), 1, layer.digit.centroids
    output = layer.output
    return LutLinear(
        name=name,
        inputs=(before,),
        in_features=features,
        out_features=len(ints.bias),
        subvec=subvec,
        centroids=centroids,
        metric=layer.metric,
        grid=grid,
        shift=layer.shift,
        output=None
        if output is None
        else Activation(output.bits, output.signed, float(layer.out_scale)),
        table=grid.encode(ints.values).astype(np.uint8 if grid.bits <= 8 else np.uint16),
        bias=ints.bias.astype(np.int32),
        codebooks=books,
    )
