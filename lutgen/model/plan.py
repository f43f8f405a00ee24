"""From a model to the network core that computes it: stages and their folds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutgen.errors import LutgenError
from lutgen.model.network import Model
from lutgen.model.nodes import Argmax, Flatten, LutLinear
from lutgen.numeric import Format, ceil_div
from lutgen.spec.argmax import ArgmaxSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.network import NetworkSpec, PortSpec, Stage

__all__ = ["FOLD_FIELDS", "Fold", "default_fold", "default_input_lanes", "plan"]

FOLD_FIELDS = ("lanes", "fan_in", "encoder_centroids", "encoder_dims")


@dataclass(frozen=True)
class Fold:
    """How a stage trades area for cycles; None leaves the choice to `default_fold`."""

    lanes: int | None = None
    fan_in: int | None = None
    encoder_centroids: int | None = None
    encoder_dims: int | None = None

    def over(self, base: "Fold") -> "Fold":
        """This fold, with ``base`` where it says nothing."""
        mine = {k: getattr(self, k) for k in FOLD_FIELDS}
        return Fold(**{k: getattr(base, k) if v is None else v for k, v in mine.items()})


def default_fold(
    *, outputs: int, subvec: int, centroids: int, metric: str, codebooks: int, wish: Fold
) -> dict[str, int]:
    """The fold of one stage: what was wished, and for the rest 16 lanes, fan-in 1, and an encoder
    just wide enough not to be slower than the matcher.

    Raises
    ------
    ValueError
        If a wish is below 1; wishes above a layer's size are cut to it, so that one option serves
        all layers.
    """
    for key in FOLD_FIELDS:
        value = getattr(wish, key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise TypeError(f"{key.replace('_', '-')} must be an integer, not {value!r}")
        if value is not None and value < 1:
            raise ValueError(f"{key.replace('_', '-')} must be a positive integer, not {value}")
    lanes = min(16 if wish.lanes is None else wish.lanes, outputs)
    fan_in = min(1 if wish.fan_in is None else wish.fan_in, codebooks)
    if metric == "digit":
        return {"lanes": lanes, "fan_in": fan_in, "encoder_centroids": 1, "encoder_dims": 1}
    dims = min(subvec if wish.encoder_dims is None else wish.encoder_dims, subvec)
    tiles = ceil_div(outputs, lanes)
    at_once = wish.encoder_centroids
    if at_once is None:  # a power of two divides most codebooks evenly
        at_once = 1
        while at_once < centroids and ceil_div(centroids, at_once) * ceil_div(subvec, dims) > tiles:
            at_once *= 2
    return {
        "lanes": lanes,
        "fan_in": fan_in,
        "encoder_centroids": min(at_once, centroids),
        "encoder_dims": dims,
    }


def default_input_lanes(elements: int, element: Format) -> int:
    """Elements of an input beat where nobody asked for a number: up to 4 bytes of them."""
    return min(elements, 4 // ceil_div(element.bits, 8))


def plan(
    model: Model,
    *,
    name: str | None = None,
    input_lanes: int | None = None,
    fold: Fold | None = None,
    layers: Mapping[str, Fold] | None = None,
    loadable: bool = False,
) -> NetworkSpec:
    """The network core of a model.

    Parameters
    ----------
    model : Model
    name : str or None
        The Verilog module; by default the model's name.
    input_lanes : int or None
        Elements of an input beat; by default up to 4 bytes of them.
    fold : Fold or None
        For all stages.
    layers : mapping of node name to Fold or None
        For single stages; goes before ``fold``.
    loadable : bool
        Tables, centroids and biases in RAM.

    Raises
    ------
    LutgenError
        If a node can't be built, or ``layers`` names none of the model's lookup layers.
    ValueError
        If an option is out of range.
    """
    wires = model.wires()
    layers = dict(layers or {})
    lut_nodes = [n.name for n in model.nodes if isinstance(n, LutLinear)]
    for key in layers:
        if key not in lut_nodes:
            raise LutgenError(
                f"layer {key!r}: is no lookup layer; there are {', '.join(lut_nodes)}"
            )
    elements = int(np.prod(model.shape))
    element = model.input.format
    if input_lanes is None:
        input_lanes = default_input_lanes(elements, element)
    port = PortSpec(elements, element, input_lanes)
    lanes = input_lanes
    stages: list[Stage] = []
    for node in model.nodes:
        if isinstance(node, Flatten):
            continue
        if isinstance(node, LutLinear):
            spec: LinearSpec | ArgmaxSpec = _linear(
                node,
                wires[node.inputs[0]].activation,
                layers.get(node.name, Fold()).over(fold or Fold()),
                loadable,
            )
            lanes = spec.lanes
        elif isinstance(node, Argmax):
            count = int(np.prod(wires[node.inputs[0]].shape))
            spec = ArgmaxSpec(count, stages[-1].spec.result if stages else element, lanes)
            lanes = 1
        else:  # joins among them: without them every network is a chain
            raise node.fail("field 'op'", f"{node.op} can't be built into a network core")
        stages.append(Stage(node.name, node.op, spec))
    if not stages:
        raise LutgenError(
            "field 'nodes': must hold a node that computes something, not only flatten"
        )
    return NetworkSpec(name or model.name, port, tuple(stages))


def _linear(node: LutLinear, wire: Any, wish: Fold, loadable: bool) -> LinearSpec:
    try:
        fold = default_fold(
            outputs=node.out_features,
            subvec=node.subvec,
            centroids=node.centroids,
            metric=node.metric,
            codebooks=node.table.shape[0],
            wish=wish,
        )
    except ValueError as error:
        raise ValueError(f"Layer {node.name!r}: {error}") from None
    return node.spec(wire.format, **fold, memory="ram" if loadable else "rom")
