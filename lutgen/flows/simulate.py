"""Simulates generated cores against expected outputs: plan, run, parsed report."""

import json
import shutil
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lutgen import resources
from lutgen.errors import LutgenError
from lutgen.files import write_with
from lutgen.flows import compiled, contents, harness, simbuild
from lutgen.flows.board import scoreboard
from lutgen.flows.layers import Layers
from lutgen.flows.report import CoreReport, SimReport
from lutgen.numeric import Format, check_ints
from lutgen.spec.names import check_name, check_port

__all__ = ["DRIVERS", "Job", "side_by_side", "simulate", "simulate_batch"]

DRIVERS = ("cocotb", "compiled")


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
    golden : mapping of str to int array ``[sample, element]``, or None
        Every node's result (`lutgen.Model.run`): the streams inside a core with taps are compared
        with it. Only with the compiled driver.
    """

    contract: Mapping[str, Any]
    inputs: ArrayLike
    expected: ArrayLike
    load_words: ArrayLike | None = None
    prefix: str = ""
    golden: Mapping[str, ArrayLike] | None = None


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
    driver: str = "cocotb",
    golden: Mapping[str, ArrayLike] | None = None,
    waves: Path | None = None,
    record: tuple[int, int] | None = None,
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
    driver : str
        ``cocotb``, or ``compiled``: the same passes played from C++, hundreds of times as fast,
        only with Verilator.
    golden : mapping of str to int array ``[sample, element]``, or None
        See `Job`.
    waves : Path or None
        A file with the suffix ``.vcd`` or ``.fst`` for the waves of the whole run, or ``.saif`` for
        the toggles of every signal. Only with the compiled driver.
    record : (int, int) or None
        Samples of one more pass without gaps: those that fill the pipeline, and those behind them
        of which the file of ``waves`` tells, of these alone and of the top module's signals alone.

    Raises
    ------
    LutgenError
        If the simulation can't be built or run; never because the core is wrong.
    """
    job = Job(
        contract=contract, inputs=inputs, expected=expected, load_words=load_words, golden=golden
    )
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
        driver=driver,
        waves=waves,
        record=record,
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
    driver: str = "cocotb",
    waves: Path | None = None,
    record: tuple[int, int] | None = None,
) -> SimReport:
    """Simulates the cores of one top module; parameters as for `simulate`.

    With cocotb all at the same time, with the compiled driver one after the other.

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
    _check_driver(driver, simulator, jobs, waves)
    start = time.perf_counter()
    files: dict[str, str] = {}
    if driver == "compiled":
        text, files = contents.split(verilog)
        cores = [(job.prefix, job.contract) for job in jobs]
        form = None if waves is None else waves.suffix[1:]
        built, cached = harness.build(text, top, cores, form, depth=None if record is None else 1)
    else:
        built, cached = simbuild.build(verilog, top, simulator)
    middle = time.perf_counter()
    plan = _plan(jobs, gaps, seed, faults, timing_samples, record)
    with simbuild.run_folder(keep) as folder:
        if driver == "compiled":
            contents.write(files, folder)
            reports = _play(built, folder, jobs, plan, waves)
        else:
            result = _run(built, folder, top, jobs, simulator, plan)
            reports = [_report(core, job) for core, job in zip(result["cores"], jobs, strict=True)]
    spent = time.perf_counter() - middle
    return SimReport(tuple(reports), simulator, driver, cached, middle - start, spent)


def _check_driver(driver: str, simulator: str, jobs: Sequence[Job], waves: Path | None) -> None:
    if driver not in DRIVERS:
        raise LutgenError(f"driver must be one of {', '.join(DRIVERS)}, not {driver!r}")
    if driver == "compiled":
        if simulator != "verilator":
            raise LutgenError(
                f"the compiled driver needs the simulator verilator, not {simulator!r}"
            )
        if waves is not None and waves.suffix[1:] not in harness.WAVES:
            raise LutgenError(f"{waves}: wave files are named *.vcd, *.fst or *.saif")
        if waves is not None and len(jobs) > 1:
            raise LutgenError(f"{waves}: waves are those of one core, not of {len(jobs)}")
    elif waves is not None or any(job.golden is not None for job in jobs):
        raise LutgenError("waves and inner streams need the driver 'compiled', not 'cocotb'")


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
    names = [check_name(contract["name"], "a core") for _, contract in cores]
    if len({*names, top}) != len(names) + 1:
        raise ValueError(f"Cores side by side must have names of their own, not {', '.join(names)}")
    shared = [cores[0][1]["clock"], cores[0][1]["reset"]]
    ports = [f"input wire {check_port(name, 'clock and reset')}" for name in shared]
    body = []
    for name, (_, contract) in zip(names, cores, strict=True):
        pins = [f".{pin}({pin})" for pin in shared]
        for port in contract["ports"]:
            if port["name"] not in shared:
                outer = f"{name}_{check_port(port['name'], 'a port')}"
                way = "input" if port["direction"] == "input" else "output"
                ports.append(f"{way} wire [{int(port['width']) - 1}:0] {outer}")
                pins.append(f".{port['name']}({outer})")
        body.append(f"  {name} {name}_core (" + ", ".join(pins) + ");\n")
    text = f"module {top} (\n  " + ",\n  ".join(ports) + "\n);\n" + "".join(body) + "endmodule\n"
    return "\n".join([*(verilog for verilog, _ in cores), text])


def default_timing_samples(contracts: Sequence[Mapping[str, Any]]) -> int:
    """Samples of the pass without stalls: every stage may hold a few of them before the slowest one
    sets the pace.
    """
    return 8 + 4 * max(len(contract["stages"]) for contract in contracts)


def _plan(
    jobs: Sequence[Job],
    gaps: float,
    seed: int,
    faults: bool,
    timing_samples: int | None,
    record: tuple[int, int] | None,
) -> dict[str, Any]:
    count = default_timing_samples([job.contract for job in jobs])
    count = count if timing_samples is None else timing_samples
    passes: list[dict[str, Any]] = []
    if gaps or not count:
        passes.append({"name": "gaps", "gaps": gaps})
    else:
        passes.append({"name": "all", "gaps": 0})
    if count:
        passes.append({"name": "timing", "gaps": 0, "samples": count})
    if record is not None:
        fill, count = record
        # As many behind them keep the source busy to the end.
        entry = {"name": "record", "gaps": 0, "samples": count + 2 * fill, "record": [fill, count]}
        passes.append(entry)
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
            f"the simulation ended without a result (status {status}){simbuild.last_error(log)}; "
            f"see {log}"
        ) from None
    failed = any(
        case.find("failure") is not None or case.find("error") is not None for case in cases
    )
    if len(cases) != 1 or failed != any(not core["passed"] for core in result["cores"]):
        raise LutgenError(f"the simulation's two verdicts differ; see {log}")
    for instances, text in simbuild.broken_rules(log):
        for core, job in zip(result["cores"], jobs, strict=True):
            name = job.contract["name"]  # the top module, or an instance of `side_by_side`
            if name in instances[:2] or f"{name}_core" in instances[:3]:
                core["errors"].append(text)
    return result


def _play(
    program: Path,
    folder: Path,
    jobs: Sequence[Job],
    plan: dict[str, Any],
    waves: Path | None,
) -> list[CoreReport]:
    """Runs the compiled driver, one core after the other."""
    reports = []
    for number, job in enumerate(jobs):
        place = folder / f"core{number}"
        layers = None if job.golden is None else Layers(job.contract, job.golden, place)
        play = compiled.Play(job.contract, _vectors(job), plan, job.prefix, layers)
        part = None if waves is None else place / f"waves{waves.suffix}"
        result = compiled.run(program, place, number, play, seed=plan["seed"], waves=part)
        report = _report(result, job)
        reports.append(replace(report, layers=layers.reports) if layers else report)
        if waves is not None and part is not None:
            with part.open("rb") as file:
                write_with(waves, lambda target: shutil.copyfileobj(file, target))
            part.unlink()
    return reports


def _vectors(job: Job) -> dict[str, Any]:
    check = scoreboard().check
    inputs = check(job.inputs, job.contract["input"], "Inputs")
    expected = check(job.expected, job.contract["output"], "Expected outputs")
    if len(inputs) != len(expected):
        raise ValueError(
            f"There must be as many inputs as outputs, not {len(inputs)}, {len(expected)}"
        )
    vectors = {"inputs": inputs, "expected": expected}
    if job.load_words is not None:
        words = check_ints(job.load_words, "Words of a load image", Format(32, False))
        vectors["load"] = words.astype(np.uint32)
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
        window=core.get("window"),
    )
