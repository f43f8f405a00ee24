"""A whole network core: its stages in order, its two streams, its latency and interval."""

from dataclasses import dataclass
from functools import cached_property

from lutgen.numeric import Format, as_int, ceil_div
from lutgen.spec.argmax import ArgmaxSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.schedule import Timing, measure
from lutgen.spec.stream import RegrouperSpec

__all__ = ["NetworkSpec", "PortSpec", "Stage"]


@dataclass(frozen=True)
class PortSpec:
    """An AXI4-Stream of samples.

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
        """Width of a lane: whole bytes."""
        return 8 * ceil_div(self.element.bits, 8)

    @property
    def width(self) -> int:
        """Width of ``tdata``."""
        return self.lanes * self.lane_bits

    @property
    def beats(self) -> int:
        """Beats of a sample."""
        return ceil_div(self.elements, self.lanes)


@dataclass(frozen=True)
class Stage:
    """A named stage: ``op`` and ``spec`` say what it does."""

    name: str
    op: str
    spec: LinearSpec | ArgmaxSpec

    @property
    def o_elements(self) -> int:
        """Elements of a sample that come out."""
        return self.spec.out_features if isinstance(self.spec, LinearSpec) else 1

    @property
    def o_lanes(self) -> int:
        """Elements of an output beat."""
        return self.spec.lanes if isinstance(self.spec, LinearSpec) else 1


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
        At least one.
    """

    name: str
    input: PortSpec
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        as_int(self.input.lanes, "Input lanes", low=1, high=self.input.elements)
        if not self.stages:
            raise ValueError("A network core must have at least one stage")

    @property
    def output(self) -> PortSpec:
        """The stream of results."""
        last = self.stages[-1]
        return PortSpec(last.o_elements, last.spec.result, last.o_lanes)

    def i_lanes(self, number: int) -> int:
        """Elements of a beat that arrives at stage ``number``."""
        return self.stages[number - 1].o_lanes if number else self.input.lanes

    def regrouper(self, number: int) -> RegrouperSpec:
        """What stands between the stream into linear stage ``number`` and its encoders."""
        spec = self.stages[number].spec
        assert isinstance(spec, LinearSpec)
        return spec.regrouper(self.i_lanes(number))

    def stage_interval(self, number: int) -> int:
        """Cycles between two samples that stage ``number`` allows behind the one that feeds it."""
        spec = self.stages[number].spec
        if isinstance(spec, ArgmaxSpec):
            return spec.interval
        return max(spec.interval, self.regrouper(number).parts)

    @cached_property
    def timing(self) -> Timing:
        """Latency and interval of the core, exact: see `lutgen.spec.schedule`."""
        return measure(
            [(s.spec, self.i_lanes(i)) for i, s in enumerate(self.stages)], self.input.beats
        )
