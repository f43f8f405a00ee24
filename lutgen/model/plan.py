"""From a model to the network core that computes it: stages, their folds, and how they are joined."""

from collections.abc import Mapping
from dataclasses import replace
from math import gcd, prod

from lutgen.errors import LutgenError
from lutgen.model.base import Node, Wire
from lutgen.model.fold import (
    FOLD_FIELDS,
    Fold,
    default_fold,
    divisor,
    fold_row,
    window_channels,
)
from lutgen.model.lookup import LutConv2d, LutLinear
from lutgen.model.network import Model
from lutgen.model.nodes import Add, Argmax, AvgPool2d, Flatten, Map, MaxPool2d
from lutgen.numeric import Format, ceil_div
from lutgen.spec.argmax import ArgmaxSpec
from lutgen.spec.conv import Conv2dSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.network import NetworkSpec, PortSpec, Stage, StageSpec
from lutgen.spec.stream import RegrouperSpec

__all__ = [
    "FOLD_FIELDS",
    "Fold",
    "Planner",
    "check_layers",
    "default_fold",
    "default_input_lanes",
    "plan",
]


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
        If ``layers`` names none of the model's nodes that have a fold, or nothing is computed.
    ValueError
        If an option is out of range.
    """
    folds = dict(layers or {})
    check_layers(model, folds)
    elements = prod(model.shape)
    if input_lanes is None:
        input_lanes = default_input_lanes(elements, model.input.format)
    planner = Planner(model, PortSpec(elements, model.input.format, input_lanes), loadable)
    for node in model.nodes:
        planner.add(node, folds.get(node.name, Fold()).over(fold or Fold()))
    if not planner.stages:
        raise LutgenError(
            "field 'nodes': must hold a node that computes something, not only flatten"
        )
    return NetworkSpec(name or model.name, planner.port, tuple(planner.stages))


def check_layers(model: Model, layers: Mapping[str, Fold]) -> None:
    """Complains of names that no node with a fold has."""
    foldable = [n.name for n in model.nodes if not isinstance(n, Flatten | Argmax)]
    for key in layers:
        if key not in foldable:
            raise LutgenError(
                f"layer {key!r}: is no layer with a fold; there are {', '.join(foldable)}"
            )


class Planner:
    """Stages in the making.

    Parameters
    ----------
    model : Model
    port : PortSpec
        The input.
    loadable : bool
    """

    def __init__(self, model: Model, port: PortSpec, loadable: bool) -> None:
        self.wires = model.wires()
        self.port = port
        self.memory = "ram" if loadable else "rom"
        self.stages: list[Stage] = []
        self._at = {"input": "input"}  # the stage that gives what a node gives
        self._gives = {"input": port}

    def add(self, node: Node, wish: Fold) -> None:
        """The stage of a node, and what has to stand before it."""
        sources = [self._at[name] for name in node.inputs]
        if isinstance(node, Flatten):
            self._at[node.name] = sources[0]
            return
        try:
            wish.check()
            lanes, spec, o = self.stage(node, [self._gives[s] for s in sources], wish)
        except ValueError as error:
            raise ValueError(f"Layer {node.name!r}: {error}") from None
        for number, source in enumerate(sources):
            if self._gives[source].lanes != lanes:
                sources[number] = self.regroup(node.name, number, source, lanes)
        self._put(Stage(node.name, node.op, tuple(sources), spec, lanes, o))

    def _put(self, stage: Stage) -> None:
        self.stages.append(stage)
        self._gives[stage.name] = stage.o
        self._at[stage.name] = stage.name

    def regroup(self, name: str, number: int, source: str, lanes: int) -> str:
        """A stage that gives beats of other lanes."""
        gives = self._gives[source]
        spec = RegrouperSpec(gives.elements, gives.lanes, lanes)
        o = replace(gives, lanes=lanes)
        # Two underscores: the names of nodes are free to be anything else that is likely.
        self._put(Stage(f"{name}__{number}", "regroup", (source,), spec, gives.lanes, o))
        return self.stages[-1].name

    def stage(
        self, node: Node, gives: list[PortSpec], wish: Fold
    ) -> tuple[int, StageSpec, PortSpec]:
        """Lanes of the stage's inputs, its spec, and what it gives."""
        wires = [self.wires[name] for name in node.inputs]
        size = self.wires[node.name].size
        lanes = gives[0].lanes
        if isinstance(node, LutLinear):
            row = self._linear(node, gives[0].element, wish)
            return lanes, row, PortSpec(size, row.result, row.lanes)
        if isinstance(node, LutConv2d):
            conv = self._conv(node, wires[0], wish)
            if conv.encode == "pixel":  # its pixels are apart
                lanes = gcd(lanes, conv.in_channels)
            return lanes, conv, PortSpec(size, conv.result, conv.lanes)
        if isinstance(node, MaxPool2d | AvgPool2d):
            at_once = divisor(wires[0].shape[2], wish.lanes or lanes)
            pool = node.spec(wires[0], lanes=at_once)
            return lanes, pool, PortSpec(size, pool.result, at_once)
        if isinstance(node, Add):
            lanes = min(wish.lanes or size, *(g.lanes for g in gives))
            if len(wires[0].shape) == 3:
                lanes = divisor(wires[0].shape[2], lanes)
            add = node.spec(wires)
            return lanes, add, PortSpec(size, add.result, lanes)
        if isinstance(node, Map):
            if wish.lanes is not None:
                lanes = min(wish.lanes, lanes)
            mapped = node.spec(wires[0])
            return lanes, mapped, PortSpec(size, mapped.result, lanes)
        if isinstance(node, Argmax):
            best = ArgmaxSpec(wires[0].size, gives[0].element, lanes)
            return lanes, best, PortSpec(1, best.result, 1)
        raise node.fail("field 'op'", f"{node.op} can't be built into a network core")

    def _linear(self, node: LutLinear, element: Format, wish: Fold) -> LinearSpec:
        fold = default_fold(
            outputs=node.out_features,
            subvec=node.subvec,
            centroids=node.centroids,
            metric=node.metric,
            codebooks=node.table.shape[0],
            wish=wish,
        )
        return node.spec(element, **fold, memory=self.memory)

    def _conv(self, node: LutConv2d, wire: Wire, wish: Fold) -> Conv2dSpec:
        plain = node.spec(wire, memory=self.memory)
        window = plain.window
        pixels = window.height * window.width if node.encode == "pixel" else window.count
        fold = fold_row(plain.row, wish, visits=window.count, pixels=pixels)
        channels = 0
        if node.encode == "window":
            channels, fold["fan_in"] = window_channels(
                replace(plain.row, **fold),
                area=window.area,
                channels=node.in_channels,
                order=node.order,
                wish=wish.window_channels,
            )
        return replace(plain, **fold, window_channels=channels)
