"""``lutgen sim`` of an engine: random matrix products, or a compiled job on a data set."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lutgen.cli import common
from lutgen.cli.samples import NOTHING, clamping, read
from lutgen.errors import LutgenError

if TYPE_CHECKING:
    from lutgen.flows.engine import Outcome, Whole
    from lutgen.spec.engine import EngineSpec

__all__ = ["is_engine", "run"]


def is_engine(path: Path | None) -> bool:
    """Whether a file is the contract of an engine."""
    return path is not None and common.format_of(path) == "lutgen-engine"


def run(args: argparse.Namespace) -> int:
    """Simulates and prints."""
    from lutgen.flows.engine import simulate_engine
    from lutgen.flows.products import random_job
    from lutgen.host.contract import read_engine

    for key in ("faults", "layers", "vcd", "fst", "timing_samples", "driver", "layer"):
        if getattr(args, key):
            option = key.replace("_", "-")
            raise LutgenError(f"argument --{option}: goes with the core of a model, not an engine")
    path: Path = args.core
    spec, contract = read_engine(path)
    text = common.verilog_beside(path)
    said = NOTHING
    name: str = contract["name"]
    if args.model is None:
        if args.data is not None:
            raise LutgenError("argument --data: goes with a JOB folder of `lutgen compile`")
        rng = np.random.default_rng(args.seed)
        count = args.samples or 20
        jobs = [random_job(rng, spec, most=2) for _ in range(count)]
        entries: list[Any] = [job.product(name=f"product {k}") for k, job in enumerate(jobs)]
    else:
        entry, said = whole(args, spec)
        entries = [entry]
    try:
        report = simulate_engine(
            spec,
            text,
            entries,
            name=name,
            gaps=args.gaps,
            seed=args.seed,
            periods=(10_000, 7_300 if spec.two_clocks else 10_000),
            simulator=args.simulator,
            keep=args.keep,
        )
    except LutgenError as error:
        if not str(error).startswith(("register", "port")):
            raise
        raise LutgenError(
            f"{path.with_suffix('.v')}: is not the engine of {path}: {error}; build both again "
            "with `lutgen build`"
        ) from None
    if args.json:
        outcomes = [{**vars(o), "wrong": list(o.wrong)} for o in report.outcomes]
        common.print_json(
            {
                "name": name,
                "passed": report.passed,
                **said,
                "build_seconds": round(report.build_seconds, 3),
                "run_seconds": round(report.run_seconds, 3),
                "outcomes": outcomes,
            }
        )
    else:
        show(report.outcomes, len(entries) if args.model is None else None)
        print(f"built in {report.build_seconds:.1f} s, ran {report.run_seconds:.1f} s")
    return 0 if report.passed else 1


def whole(args: argparse.Namespace, spec: "EngineSpec") -> "tuple[Whole, dict[str, Any]]":
    """A compiled job, its samples, and what the reference model of the engine makes of them; and
    what became of those samples, as JSON data.
    """
    from lutgen.flows.engine import Whole
    from lutgen.host import jobfile
    from lutgen.host.model_transport import ModelTransport
    from lutgen.host.player import play
    from lutgen.host.transport import run as drive

    if not (Path(args.model) / "job.json").is_file():
        raise LutgenError(
            f"{args.model}: is no job, which is what an engine plays; make one with "
            f"`lutgen compile MODEL.lut --engine {args.core} -o JOB`"
        )
    job = jobfile.load(args.model)
    if job.engine != spec:
        raise LutgenError(
            f"{args.model}: was compiled for another engine than {args.core}; compile it again"
        )
    if args.data is None:
        raise LutgenError("argument --data: is needed with a JOB folder")
    file = read(args.data, job.shape, job.wires()[job.output].size)
    x = file.x[: args.samples or 4]
    found = drive(play(job, ModelTransport(spec), x))
    said = clamping(file, found.clamped, x.size, job.input, {})
    return Whole(job.name, Path(args.model), x, found.outputs), said


def show(outcomes: "tuple[Outcome, ...]", products: int | None) -> None:
    """What came of them, on the terminal."""
    if products is not None:
        wrong = [outcome for outcome in outcomes if outcome.wrong]
        print(f"products  {products - len(wrong)} of {products} as expected")
    for outcome in outcomes:
        for text in outcome.wrong:
            print(f"WRONG     {outcome.name}: {text}")
        if outcome.steps:
            headers = ["step", "does", "jobs", "rows", "cycles", "lookups", "waited for table"]
            headers += ["index", "result"]
            rows = [
                [s["gives"], s["does"], s["jobs"], s["rows"]]
                + [s["counters"][k] for k in ("cycles", "lookups", "stall_table", "stall_index")]
                + [s["counters"]["stall_result"]]
                for s in outcome.steps
            ]
            common.print_table(headers, rows)
            if not outcome.wrong:
                print("every output is what the reference model says")
