"""Simulates generated cores against expected outputs: plan, run, parsed report."""

import json
import shutil
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lutgen import resources
from lutgen.errors import LutgenError
from lutgen.files import reason
from lutgen.flows import simbuild

__all__ = ["CoreReport", "Job", "SimReport", "side_by_side", "simulate", "simulate_batch"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One core of a simulation and what it must answer.

    Parameters
    ----------
    contract : mapping
        The core's contract (docs/core-contract.md).
    inputs : int array ``[sample, element]``
        Input integers.
    expected : int array ``[sample, element]``
        Output integers.
    load_words : uint32 array or None
        Load image of a loadable core.
    prefix : str
        Before the names of the core's ports in the top module; clock and reset are shared.
    """

    contract: Mapping[str, Any]
    inputs: ArrayLike
    expected: ArrayLike
    load_words: ArrayLike | None = None
    prefix: str = ""


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

    @property
    def passed(self) -> bool:
        """Whether every word was right and no rule was broken."""
        return not self.mismatches and not self.errors

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
        if self.first_mismatch is not None:
            at = self.first_mismatch
            return (
                f"{name}{self.mismatches} of {self.words} output words differ; the first: sample "
                f"{at['sample']}, element {at['element']}: got {at['got']}, "
                f"expected {at['expected']} (pass {at['pass']!r}, result {at['result']})"
            )
        if self.errors:
            return f"{name}{self.errors[0]}"
        if not self.timing_ok:
            return (
                f"{name}latency {self.latency} and interval {self.interval} cycles measured, "
                f"{self.expected_latency} and {self.expected_interval} promised"
                + ("" if self.steady else "; the interval is not steady")
            )
        return f"{name}{self.samples} results, {self.words} output words, all as expected"


@dataclass(frozen=True)
class SimReport:
    """What a simulation of one or more cores said, and what it cost.

    Attributes
    ----------
    cores : tuple of CoreReport
        In the order of the jobs.
    simulator : str
    cached : bool
        Whether the build was there already.
    build_seconds, run_seconds : float
    """

    cores: tuple[CoreReport, ...]
    simulator: str
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
            "build_cached": self.cached,
            "build_seconds": round(self.build_seconds, 3),
            "run_seconds": round(self.run_seconds, 3),
            "cores": [
                {"passed": core.passed, "timing_ok": core.timing_ok, **vars(core)}
                for core in self.cores
            ],
        }


def simulate(
    verilog: str,
    contract: Mapping[str, Any],
    inputs: ArrayLike,
    expected: ArrayLike,
    *,
    simulator: str = "verilator",
    gaps: float = 0.5,
    seed: int = 0,
    load_words: ArrayLike | None = None,
    faults: bool = False,
    timing_samples: int | None = None,
    keep: Path | None = None,
) -> SimReport:
    """Simulates one core: all samples with random gaps, then some without, to measure latency and
    interval.

    Parameters
    ----------
    verilog : str
        Text with the module that the contract names.
    contract, inputs, expected, load_words
        See `Job`.
    simulator : str
        ``verilator`` or ``icarus``.
    gaps : float
        Fraction of cycles in which source and sink stall, 0 up to 0.95.
    seed : int
        Of the gaps.
    faults : bool
        Also send frames with an early and a late ``tlast``, and images where the core is loadable.
    timing_samples : int or None
        Samples of the pass without gaps; None for enough to fill the pipeline, 0 to leave it out.
    keep : Path or None
        Folder for plan, vectors, log and result; without it they are deleted.

    Raises
    ------
    LutgenError
        If the simulation can't be built or run; never because the core is wrong.
    """
    job = Job(contract=contract, inputs=inputs, expected=expected, load_words=load_words)
    return simulate_batch(
        verilog,
        str(contract["name"]),
        [job],
        simulator=simulator,
        gaps=gaps,
        seed=seed,
        faults=faults,
        timing_samples=timing_samples,
        keep=keep,
    )


def simulate_batch(
    verilog: str,
    top: str,
    jobs: Sequence[Job],
    *,
    simulator: str = "verilator",
    gaps: float = 0.5,
    seed: int = 0,
    faults: bool = False,
    timing_samples: int | None = None,
    keep: Path | None = None,
) -> SimReport:
    """Simulates the cores of one top module at the same time; parameters as for `simulate`.

    Parameters
    ----------
    verilog : str
        Text with the module ``top``, whose ports are ``clk``, ``rst`` and each core's, behind its
        prefix.
    top : str
    jobs : sequence of Job
        One for each core.
    """
    if not 0 <= gaps <= 0.95:
        raise LutgenError(f"gaps must be between 0 and 0.95, not {gaps}")
    start = time.perf_counter()
    built, cached = simbuild.build(verilog, top, simulator)
    middle = time.perf_counter()
    if keep is None:
        folder = Path(tempfile.mkdtemp(prefix="lutgen-sim-"))
    else:
        folder = keep.resolve()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LutgenError(f"{keep}: can't be made: {reason(error)}; name a folder") from error
    # Kept where nothing can be said of the core: the log is then all there is.
    result = _run(
        built, folder, top, jobs, simulator, _plan(jobs, gaps, seed, faults, timing_samples)
    )
    if keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    cores = tuple(_report(core, job) for core, job in zip(result["cores"], jobs, strict=True))
    return SimReport(cores, simulator, cached, middle - start, time.perf_counter() - middle)


def side_by_side(top: str, cores: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """One Verilog text with a module ``top`` that holds all ``cores``: one build for all of them.

    Parameters
    ----------
    top : str
        Name of the module that is added.
    cores : sequence of (str, mapping)
        Text and contract of each; no two may have the same name. The ports of a core get its name
        and an underscore in front (the ``prefix`` of its `Job`), except clock and reset.
    """
    names = [str(contract["name"]) for _, contract in cores]
    if len({*names, top}) != len(names) + 1:
        raise ValueError(f"Cores side by side must have names of their own, not {', '.join(names)}")
    shared = [cores[0][1]["clock"], cores[0][1]["reset"]]
    ports = [f"input {name}" for name in shared]
    body = []
    for name, (_, contract) in zip(names, cores, strict=True):
        pins = [f".{pin}({pin})" for pin in shared]
        for port in contract["ports"]:
            if port["name"] not in shared:
                outer = f"{name}_{port['name']}"
                ports.append(f"{port['direction']} [{port['width'] - 1}:0] {outer}")
                pins.append(f".{port['name']}({outer})")
        body.append(f"  {name} {name}_core (" + ", ".join(pins) + ");\n")
    text = f"module {top} (\n  " + ",\n  ".join(ports) + "\n);\n" + "".join(body) + "endmodule\n"
    return "\n".join([*(verilog for verilog, _ in cores), text])


def _plan(
    jobs: Sequence[Job], gaps: float, seed: int, faults: bool, timing_samples: int | None
) -> dict[str, Any]:
    if timing_samples is None:
        # Every stage may hold a few samples before the slowest one sets the pace.
        timing_samples = 8 + 4 * max(len(job.contract["stages"]) for job in jobs)
    passes: list[dict[str, Any]] = []
    if gaps or not timing_samples:
        passes.append({"name": "gaps", "gaps": gaps})
    else:
        passes.append({"name": "all", "gaps": 0})
    if timing_samples:
        passes.append({"name": "timing", "gaps": 0, "samples": timing_samples})
    return {
        "format": "lutgen-bench",
        "version": 1,
        "clock": jobs[0].contract["clock"],
        "reset": jobs[0].contract["reset"],
        "seed": seed,
        "passes": passes,
        "faults": faults,
        "result": "result.json",
        "cores": [
            {
                "prefix": job.prefix,
                "contract": dict(job.contract),
                "vectors": f"vectors{number}.npz",
            }
            for number, job in enumerate(jobs)
        ],
    }


def _run(
    built: Path,
    folder: Path,
    top: str,
    jobs: Sequence[Job],
    simulator: str,
    plan: dict[str, Any],
) -> dict[str, Any]:
    for number, job in enumerate(jobs):
        np.savez(folder / f"vectors{number}.npz", **_vectors(job))
    (folder / "plan.json").write_text(json.dumps(plan, indent=1), encoding="utf-8")
    for name in ("result.json", "results.xml"):
        (folder / name).unlink(missing_ok=True)
    status, log = simbuild.play(
        {
            "simulator": simulator,
            "top": top,
            "module": "bench_core",
            "module_path": str(resources.sim()),
            "build_dir": str(built),
            "test_dir": str(folder),
            "seed": plan["seed"],
            "env": {"LUTGEN_BENCH_PLAN": str(folder / "plan.json")},
        },
        folder,
    )
    try:
        result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        cases = list(ET.parse(folder / "results.xml").getroot().iter("testcase"))
    except (OSError, ValueError, ET.ParseError):
        raise LutgenError(
            f"the simulation ended without a result (status {status}); see {log}"
        ) from None
    failed = any(
        case.find("failure") is not None or case.find("error") is not None for case in cases
    )
    if len(cases) != 1 or failed != any(not core["passed"] for core in result["cores"]):
        raise LutgenError(f"the simulation's two verdicts differ; see {log}")
    return result


def _vectors(job: Job) -> dict[str, Any]:
    inputs, expected = np.asarray(job.inputs), np.asarray(job.expected)
    for array, what, key in ((inputs, "Inputs", "input"), (expected, "Expected outputs", "output")):
        elements = job.contract[key]["elements"]
        if array.ndim != 2 or array.shape[1] != elements or not len(array):
            raise ValueError(f"{what} must have the shape (samples, {elements}), not {array.shape}")
    if len(inputs) != len(expected):
        raise ValueError(
            f"There must be as many inputs as outputs, not {len(inputs)}, {len(expected)}"
        )
    vectors = {"inputs": inputs.astype(np.int64), "expected": expected.astype(np.int64)}
    if job.load_words is not None:
        vectors["load"] = np.asarray(job.load_words, dtype=np.uint32)
    return vectors


def _report(core: dict[str, Any], job: Job) -> CoreReport:
    tail = core["intervals"][len(core["intervals"]) // 2 :]
    return CoreReport(
        prefix=core["prefix"],
        samples=core["samples"],
        words=core["words"],
        mismatches=core["mismatches"],
        first_mismatch=core["first_mismatch"],
        latency=core["latency"],
        interval=core["interval"],
        expected_latency=job.contract["latency"],
        expected_interval=job.contract["interval"],
        steady=len(set(tail)) <= 1,
        cycles=core["cycles"],
        errors=tuple(core["errors"]),
    )
