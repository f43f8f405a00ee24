"""A whole network core: its stages in order, the queues between them, its two streams, its latency
and interval.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from lutgen.numeric import Format, as_int, ceil_div
from lutgen.spec.argmax import ArgmaxSpec
from lutgen.spec.conv import Conv2dSpec
from lutgen.spec.fifo import FifoSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.pointwise import AddSpec, MapSpec
from lutgen.spec.pool import PoolSpec
from lutgen.spec.slide import EncodeSpec, SlideSpec
from lutgen.spec.stream import RegrouperSpec

__all__ = ["Edge", "LookupSpec", "NetworkSpec", "PortSpec", "Stage", "StageSpec"]

LookupSpec = LinearSpec | Conv2dSpec
StageSpec = (
    LookupSpec | EncodeSpec | SlideSpec | PoolSpec | AddSpec | MapSpec | ArgmaxSpec | RegrouperSpec
)


@dataclass(frozen=True)
class PortSpec:
    """A stream of samples.

    Parameters
    ----------
    elements : int
        Elements of a sample.
    element : Format
        Format of each.
    lanes : int
        Elements of a beat.
    """

    elements: int
    element: Format
    lanes: int

    @property
    def lane_bits(self) -> int:
        """Width of a lane at the core's ports: whole bytes."""
        return 8 * ceil_div(self.element.bits, 8)

    @property
    def width(self) -> int:
        """Width of ``tdata``."""
        return self.lanes * self.lane_bits

    @property
    def bits(self) -> int:
        """Width of a beat between stages."""
        return self.lanes * self.element.bits

    @property
    def beats(self) -> int:
        """Beats of a sample."""
        return ceil_div(self.elements, self.lanes)


@dataclass(frozen=True)
class Stage:
    """A named stage.

    Parameters
    ----------
    name : str
    op : str
        A model's operation, or ``regroup``, ``encode``, ``windows`` for what stands before one.
    inputs : tuple of str
        Stages that feed it, or ``input``.
    spec : StageSpec
    i_lanes : int
        Elements of a beat of every input.
    o : PortSpec
        What comes out.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    spec: StageSpec
    i_lanes: int
    o: PortSpec

    @property
    def regrouper(self) -> RegrouperSpec | None:
        """What stands at its input, where beats are regrouped."""
        spec = self.spec
        if isinstance(spec, LookupSpec | EncodeSpec | SlideSpec | PoolSpec):
            return spec.regrouper(self.i_lanes)
        return spec if isinstance(spec, RegrouperSpec) else None

    @property
    def row(self) -> LinearSpec | None:
        """The lookup layer on one row, of lookup stages."""
        if isinstance(self.spec, Conv2dSpec):
            return self.spec.row
        return self.spec if isinstance(self.spec, LinearSpec) else None

    @property
    def rows(self) -> int:
        """Times that the regrouper's items make a sample."""
        spec = self.spec
        if isinstance(spec, Conv2dSpec) and spec.encode == "pixel":
            return spec.window.height * spec.window.width
        if isinstance(spec, LinearSpec):
            return self.o.elements // spec.out_features
        return spec.pixels if isinstance(spec, EncodeSpec) else 1

    @property
    def cycles(self) -> dict[str, int]:
        """Cycles of a sample that its parts are busy, each by itself."""
        spec, regrouper = self.spec, self.regrouper
        cycles: dict[str, int] = {}
        if regrouper is not None:
            cycles["input"] = regrouper.parts * self.rows
        if isinstance(spec, LookupSpec):
            rows = self.rows if isinstance(spec, LinearSpec) else 1
            cycles["encode"] = spec.encode_interval * rows
            cycles["lookup"] = spec.lookups * rows
        elif isinstance(spec, EncodeSpec):
            cycles["encode"] = spec.interval
        elif isinstance(spec, PoolSpec | SlideSpec):
            cycles["read"] = spec.interval
        elif isinstance(spec, ArgmaxSpec):
            cycles["input"] = spec.beats
        elif not isinstance(spec, RegrouperSpec):
            cycles["input"] = self.o.beats
        return cycles

    @property
    def interval(self) -> int:
        """Cycles between two samples that this stage alone allows."""
        return max(self.cycles.values())

    @property
    def latency(self) -> int:
        """Cycles from where a result is promised to where it is pushed."""
        spec, row = self.spec, self.row
        if isinstance(spec, RegrouperSpec):
            return 0
        if row is None:
            assert not isinstance(spec, LookupSpec)
            return spec.latency
        if isinstance(spec, Conv2dSpec) and spec.encode == "pixel":
            return 1 + row.matcher_latency
        if row.buffered:
            return 1 + row.matcher_latency
        if isinstance(spec, Conv2dSpec):
            return spec.feeder.latency + row.encoder.latency + row.matcher_latency
        return row.encoder.interval - 1 + row.encoder.latency + row.matcher_latency

    @property
    def beat_interval(self) -> int:
        """The least cycles between two of its beats."""
        spec, row = self.spec, self.row
        if isinstance(spec, PoolSpec):
            return spec.walk.turn
        if isinstance(spec, SlideSpec):
            return spec.reads
        if isinstance(spec, EncodeSpec):
            return spec.row.encoder.interval
        if row is None:
            return 1
        if isinstance(spec, Conv2dSpec) and spec.encode == "window" and not row.buffered:
            return spec.feeder.interval
        if row.buffered or isinstance(spec, Conv2dSpec):
            return row.turn
        return row.groups * row.encoder.interval

    @property
    def least_depth(self) -> int:
        """Entries of a queue behind it that let it go on without a pause."""
        return max(2, ceil_div(self.latency + 2, self.beat_interval))


@dataclass(frozen=True)
class Edge:
    """A queue between two stages.

    Parameters
    ----------
    source : str
        A stage, or ``input``.
    target : str
        A stage, or ``output``.
    index : int
        Which of the target's inputs.
    fifo : FifoSpec
    """

    source: str
    target: str
    index: int
    fifo: FifoSpec


@dataclass(frozen=True)
class NetworkSpec:
    """A network core.

    Parameters
    ----------
    name : str
        The Verilog module.
    input : PortSpec
        The stream of samples.
    stages : tuple of Stage
        In topological order, at least one; the last one's result is the core's.
    depths : tuple of int
        Entries of each queue, in the order of `edges`; empty for what `lutgen.spec.schedule` finds
        to be needed.
    """

    name: str
    input: PortSpec
    stages: tuple[Stage, ...]
    depths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        as_int(self.input.lanes, "Input lanes", low=1, high=self.input.elements)
        if not self.stages:
            raise ValueError("A network core must have at least one stage")

    @property
    def output(self) -> PortSpec:
        """The stream of results."""
        return self.stages[-1].o

    def source(self, name: str) -> PortSpec:
        """What a stage, or ``input``, gives."""
        if name == "input":
            return self.input
        return next(stage.o for stage in self.stages if stage.name == name)

    def wires(self) -> Iterator[tuple[str, str, int]]:
        """Source, target and input of every queue."""
        for stage in self.stages:
            for index, name in enumerate(stage.inputs):
                yield name, stage.name, index
        yield self.stages[-1].name, "output", 0

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """The queues."""
        depths = self.depths or self.schedule.depths
        return tuple(
            Edge(source, target, index, FifoSpec(self.source(source).bits, depth))
            for (source, target, index), depth in zip(self.wires(), depths, strict=True)
        )

    @cached_property
    def schedule(self) -> "Schedule":
        """When things happen: see `lutgen.spec.schedule`."""
        from lutgen.spec.schedule import measure

        return measure(self)

    @property
    def timing(self) -> "Timing":
        """Latency and interval of the core, exact."""
        return self.schedule.timing

    @property
    def bottleneck(self) -> str:
        """The stage that allows the fewest samples, or ``input``."""
        slowest = max(self.stages, key=lambda stage: stage.interval)
        return slowest.name if slowest.interval >= self.input.beats else "input"


from lutgen.spec.schedule import Schedule, Timing  # noqa: E402  (they need the classes above)
