"""What a simulation says: of a core, of its inner streams, and what it cost."""

from dataclasses import dataclass
from typing import Any

from lutgen.words import counted

__all__ = ["CoreReport", "LayerReport", "SimReport"]


@dataclass(frozen=True)
class LayerReport:
    """What the stream behind one node of the network was against golden inference.

    Attributes
    ----------
    name : str
        The node.
    words, mismatches : int
        Elements compared, and those that differ.
    first_mismatch : dict or None
        ``pass``, ``sample``, ``element``, ``got``, ``expected``.
    """

    name: str
    words: int
    mismatches: int
    first_mismatch: dict[str, Any] | None

    def describe(self) -> str:
        """One line on the first element that differs."""
        at = self.first_mismatch
        if at is None:
            return f"{self.name}: {counted(self.words, 'word')}, all equal to golden"
        return (
            f"{self.name}, sample {at['sample']}, element {at['element']}: got {at['got']}, "
            f"expected {at['expected']} (pass {at['pass']!r})"
        )


@dataclass(frozen=True)
class CoreReport:
    """What the simulation said of one core.

    Attributes
    ----------
    prefix : str
    samples, words : int
        Results and output words compared.
    mismatches : int
        Words that differ.
    first_mismatch : dict or None
        ``pass``, ``result``, ``sample``, ``element``, ``got``, ``expected``.
    latency, interval : int or None
        Measured cycles.
    expected_latency, expected_interval : int
        What the contract promises.
    steady : bool
        Whether the second half of the measured intervals are all the same.
    cycles : int
        Cycles simulated.
    errors : tuple of str
        Broken rules of the streams, missing results, wrong flags.
    layers : tuple of LayerReport
        In the order of the network; empty if the inner streams were not compared.
    window : (int, int) or None
        Cycles that were recorded, and input beats that the core took in them.
    """

    prefix: str
    samples: int
    words: int
    mismatches: int
    first_mismatch: dict[str, Any] | None
    latency: int | None
    interval: int | None
    expected_latency: int
    expected_interval: int
    steady: bool
    cycles: int
    errors: tuple[str, ...]
    layers: tuple[LayerReport, ...] = ()
    window: tuple[int, int] | None = None

    @property
    def passed(self) -> bool:
        """Whether every word was right, those of inner streams included, and no rule was broken."""
        return not self.mismatches and not self.errors and self.culprit is None

    @property
    def culprit(self) -> LayerReport | None:
        """The first layer whose stream differs: those behind it may only be its victims."""
        return next((layer for layer in self.layers if layer.mismatches), None)

    @property
    def timing_ok(self) -> bool:
        """Whether latency and interval are those of the contract; what was not measured is not
        judged.
        """
        return self.latency in (None, self.expected_latency) and (
            self.interval is None or (self.steady and self.interval == self.expected_interval)
        )

    def describe(self) -> str:
        """One line on the first thing that is wrong, or on what was checked."""
        name = f"{self.prefix.rstrip('_')}: " if self.prefix else ""
        if self.culprit is not None:
            return f"{name}the first layer that differs: {self.culprit.describe()}"
        if self.first_mismatch is not None:
            at = self.first_mismatch
            return (
                f"{name}{self.mismatches} of {counted(self.words, 'output word')} differ; the "
                f"first: sample {at['sample']}, element {at['element']}: got {at['got']}, "
                f"expected {at['expected']} (pass {at['pass']!r}, result {at['result']})"
            )
        if self.errors:
            return f"{name}{self.errors[0]}"
        if not self.timing_ok:
            return (
                f"{name}latency {self.latency} and interval {counted(self.interval, 'cycle')} "
                f"measured, {self.expected_latency} and {self.expected_interval} promised"
                + ("" if self.steady else "; the interval is not steady")
            )
        words = counted(self.words, "output word")
        return f"{name}{counted(self.samples, 'result')}, {words}, all as expected"


@dataclass(frozen=True)
class SimReport:
    """What a simulation of one or more cores said, and what it cost.

    Attributes
    ----------
    cores : tuple of CoreReport
        In the order of the jobs.
    simulator : str
    driver : str
        ``cocotb`` or ``compiled``.
    cached : bool
        Whether the build was there already.
    build_seconds, run_seconds : float
    """

    cores: tuple[CoreReport, ...]
    simulator: str
    driver: str
    cached: bool
    build_seconds: float
    run_seconds: float

    @property
    def passed(self) -> bool:
        """Whether all cores passed, their timing included."""
        return all(core.passed and core.timing_ok for core in self.cores)

    @property
    def mismatches(self) -> int:
        """Output words that differ, over all cores."""
        return sum(core.mismatches for core in self.cores)

    @property
    def samples(self) -> int:
        """Results compared, over all cores."""
        return sum(core.samples for core in self.cores)

    @property
    def cycles(self) -> int:
        """Cycles simulated: of the core that took longest."""
        return max(core.cycles for core in self.cores)

    @property
    def latency(self) -> int | None:
        """Measured latency of the first core."""
        return self.cores[0].latency

    @property
    def interval(self) -> int | None:
        """Measured interval of the first core."""
        return self.cores[0].interval

    @property
    def cycles_per_second(self) -> float:
        """Cycles simulated in a second of the run."""
        return self.cycles / max(self.run_seconds, 1e-9)

    @property
    def samples_per_second(self) -> float:
        """Results compared in a second of the run."""
        return self.samples / max(self.run_seconds, 1e-9)

    @property
    def seconds(self) -> float:
        """Build and run."""
        return self.build_seconds + self.run_seconds

    def describe(self) -> str:
        """One line on the first core that is wrong, or on the first core."""
        bad = [core for core in self.cores if not (core.passed and core.timing_ok)]
        return (bad or list(self.cores))[0].describe()

    def data(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "passed": self.passed,
            "simulator": self.simulator,
            "driver": self.driver,
            "build_cached": self.cached,
            "build_seconds": round(self.build_seconds, 3),
            "run_seconds": round(self.run_seconds, 3),
            "cycles_per_second": round(self.cycles_per_second),
            "samples_per_second": round(self.samples_per_second, 3),
            "cores": [
                {
                    "passed": core.passed,
                    "timing_ok": core.timing_ok,
                    **vars(core),
                    "layers": [vars(layer) for layer in core.layers],
                }
                for core in self.cores
            ],
        }
