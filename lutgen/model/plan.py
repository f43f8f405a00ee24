"""From a model to the network core that computes it: stages, their folds, how they are joined."""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import replace
from itertools import chain, count
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
from lutgen.numeric import Format, ceil_div, clog2
from lutgen.spec.argmax import ArgmaxSpec
from lutgen.spec.conv import Conv2dSpec
from lutgen.spec.encoder import IndexSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.names import free_name
from lutgen.spec.network import NetworkSpec, PortSpec, Stage, StageSpec
from lutgen.spec.slide import EncodeSpec, SlideSpec
from lutgen.spec.stream import RegrouperSpec

__all__ = [
    "FOLD_FIELDS",
    "Fold",
    "Planner",
    "check_layers",
    "default_fold",
    "default_input_lanes",
    "plan",
    "has_fold",
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
        The Verilog module; by default the model's name, with ``_core`` behind it where that is
        reserved (`lutgen.spec.names`).
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
    return NetworkSpec(
        free_name(model.name) if name is None else name, planner.port, tuple(planner.stages)
    )


def has_fold(node: Node) -> bool:
    """Whether a node's stage folds."""
    return not isinstance(node, Flatten | Argmax)


def check_layers(model: Model, layers: Mapping[str, Fold]) -> None:
    """Complains of names that no node with a fold has."""
    foldable = [n.name for n in model.nodes if has_fold(n)]
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
        self.taken = set(self.wires)  # names of nodes, and of stages
        self.port = port
        self.memory = "ram" if loadable else "rom"
        self.stages: list[Stage] = []
        self._at = {"input": "input"}  # the stage that gives what a node gives
        self._gives = {"input": port}
        self._plain: dict[str, Conv2dSpec] = {}
        self._encoders: dict[tuple[str, int | None, int | None], list[EncodeSpec]] = {}

    def add(self, node: Node, wish: Fold) -> None:
        """The stage of a node, and what has to stand before it."""
        sources = [self._at[name] for name in node.inputs]
        if isinstance(node, Flatten):
            self._at[node.name] = sources[0]
            return
        try:
            wish.check()
            if isinstance(node, LutConv2d) and self._slides(node, wish):
                self._slide(node, sources[0], wish)
                return
            lanes, spec, o = self.stage(node, [self._gives[s] for s in sources], wish)
        except ValueError as error:
            raise ValueError(f"Layer {node.name!r}: {error}") from None
        for number, source in enumerate(sources):
            if self._gives[source].lanes != lanes:
                sources[number] = self.regroup(node.name, number, source, lanes)
        self._put(Stage(node.name, node.op, tuple(sources), spec, lanes, o))

    def _put(self, stage: Stage) -> None:
        self.taken.add(stage.name)
        self.stages.append(stage)
        self._gives[stage.name] = stage.o
        self._at[stage.name] = stage.name

    def _name(self, node: str, what: str) -> str:
        """A free name for a stage before a node's: what comes before the last two underscores is
        the node's name.
        """
        names = chain([f"{node}__{what}"], (f"{node}__{what}_{k}" for k in count(2)))
        return next(name for name in names if name not in self.taken)

    def regroup(self, name: str, number: int, source: str, lanes: int) -> str:
        """A stage that gives beats of other lanes."""
        gives = self._gives[source]
        spec = RegrouperSpec(gives.elements, gives.lanes, lanes)
        o = replace(gives, lanes=lanes)
        stage = self._name(name, str(number))
        self._put(Stage(stage, "regroup", (source,), spec, gives.lanes, o))
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

    def _slides(self, node: LutConv2d, wish: Fold) -> bool:
        """Whether whole windows are kept in registers: where that is wished, or no fold without
        gives the fan-in that is.
        """
        if wish.slide is None:
            return node.encode == "pixel" and (wish.fan_in or 1) > node.table.shape[-3]
        return bool(wish.slide)

    def slid(self, node: LutConv2d, give: PortSpec, wish: Fold) -> list[Stage]:
        """The stages of a convolution on whole windows, behind one that gives ``give``."""
        other = copy(self)
        other.stages, other.taken, other._gives = [], set(self.taken), {"before": give}
        other._at = {**self._at, node.inputs[0]: "before"}
        other._slide(node, "before", wish)
        return other.stages

    def _slide(self, node: LutConv2d, source: str, wish: Fold) -> None:
        """A convolution as windows and a linear layer on each of them; with encode ``pixel`` these
        are windows of indices.
        """
        if node.name not in self._plain:  # the tables are looked through for every spec
            self._plain[node.name] = node.spec(self.wires[node.inputs[0]], memory=self.memory)
        conv = self._plain[node.name]
        row, window = conv.row, conv.window
        order = conv.order
        if conv.encode == "pixel":
            row = replace(
                row,
                in_features=window.area * row.codebooks,
                element=IndexSpec.marked(row.centroids),
                subvec=1,
                metric="index",
                taps=1,
            )
        else:
            row = replace(row, feed_interval=0, feed_latency=0)
        row = replace(row, **fold_row(row, wish))
        if conv.encode == "pixel":
            source = self._codes(node.name, source, conv, row.lookups * window.count, wish)
        gives = self._gives[source]
        marked = conv.encode == "pixel"
        channels = conv.row.codebooks if marked else conv.in_channels
        slide = SlideSpec(window, channels, gives.element, order, marked)
        o = PortSpec(window.count * slide.elements, slide.result, slide.elements)
        name = self._name(node.name, "windows")
        self._put(Stage(name, "windows", (source,), slide, gives.lanes, o))
        o = PortSpec(self.wires[node.name].size, row.result, row.lanes)
        self._put(Stage(node.name, node.op, (name,), row, slide.elements, o))

    def _codes(self, name: str, source: str, conv: Conv2dSpec, busy: int, wish: Fold) -> str:
        """The encoders of a convolution by pixel: as few as keep up with ``busy`` cycles."""
        gives = self._gives[source]
        lanes = gcd(gives.lanes, conv.in_channels)
        if lanes != gives.lanes:
            source = self.regroup(name, 0, source, lanes)
        pixels = conv.window.height * conv.window.width
        plain = replace(conv.row, lanes=1, taps=1)
        key = (name, wish.encoder_centroids, wish.encoder_dims)
        if key not in self._encoders:
            self._encoders[key] = sorted(_encode_folds(plain, pixels, wish), key=_comparisons)
        some = self._encoders[key]
        spec = next((spec for spec in some if spec.interval <= busy), some[-1])
        o = PortSpec(pixels * plain.codebooks, spec.result, spec.row.fan_in)
        self._put(Stage(self._name(name, "codes"), "encode", (source,), spec, lanes, o))
        return self.stages[-1].name

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
        row = replace(plain.row, feed_interval=0, feed_latency=0)
        pixels = window.height * window.width if node.encode == "pixel" else window.count
        fold = fold_row(row, wish, visits=window.count, pixels=pixels)
        channels = 0
        if node.encode == "window":
            channels, fold["fan_in"] = window_channels(
                replace(row, **fold),
                window,
                channels=node.in_channels,
                order=node.order,
                wish=wish.window_channels,
            )
        return replace(plain, **fold, window_channels=channels)


def _encode_folds(row: LinearSpec, pixels: int, wish: Fold) -> Iterator[EncodeSpec]:
    """The folds of encoders as a stage of their own."""
    dims = min(wish.encoder_dims or row.subvec, row.subvec)
    wished = wish.encoder_centroids
    widths = [1 << k for k in range(clog2(row.centroids))] + [row.centroids]
    for fan_in in range(1, row.codebooks + 1):
        if row.codebooks % fan_in:
            continue
        if not row.has_encoders:
            yield EncodeSpec(replace(row, fan_in=fan_in), pixels)
            continue
        for width in widths if wished is None else [min(wished, row.centroids)]:
            narrow = replace(row, fan_in=fan_in, encoder_centroids=width, encoder_dims=dims)
            yield EncodeSpec(narrow, pixels)


def _comparisons(spec: EncodeSpec) -> int:
    """Elements that are compared in a cycle, the area of encoders."""
    return spec.row.fan_in * spec.row.encoder_centroids * spec.row.encoder_dims
