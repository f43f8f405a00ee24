"""``lutgen demo``: from a data set to a simulated core in one go."""

import argparse
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from lutgen.cli import common
from lutgen.cli.train_report import Reporter
from lutgen.errors import LutgenError
from lutgen.files import reason

__all__ = ["add", "run"]

LAYERS = (256, 128)


def add(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "demo",
        help="train, build and simulate a small network",
        description="Trains a network on the bundled digits, writes digits.lut, digits.v and "
        "digits.json, and simulates all test samples with random stalls.",
        allow_abbrev=False,
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("build/demo"), metavar="DIR")
    common.add_simulation(parser)
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Trains, builds, simulates, prints."""
    folder: Path = args.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LutgenError(f"{folder}: can't be made: {reason(error)}; choose another") from error
    from lutgen.flows import simulate
    from lutgen.gateware.build import build
    from lutgen.model import save
    from lutgen.train import train
    from lutgen.train.data import load_data

    clock = [time.perf_counter()]
    data = load_data("digits")
    common.say(f"training on {len(data.x_train)} digits ...")
    result = train(data, arch=LAYERS, seed=args.seed, progress=Reporter().report)
    save(result.model, folder / "digits.lut")
    clock.append(time.perf_counter())
    common.say("generating Verilog ...")
    core = build(result.model)
    core.write(folder / "digits.v")
    clock.append(time.perf_counter())
    common.say(
        f"simulating {len(data.x_test)} test samples; the first build takes half a minute ..."
    )
    q = result.model.quantise(data.x_test)
    report = simulate(
        core.verilog,
        core.contract,
        q.reshape(len(q), -1),
        result.model.run(q)[result.model.nodes[-1].name],
        simulator=args.simulator,
        gaps=args.gaps,
        seed=args.seed,
        faults=True,
    )
    clock.append(time.perf_counter())
    seconds = [round(b - a, 2) for a, b in pairwise(clock)]
    files = [str(folder / f"digits.{suffix}") for suffix in ("lut", "v", "json")]
    if args.json:
        common.print_json(
            {
                "files": files,
                "accuracy": {"float": result.float_accuracy, "model": result.model_accuracy},
                "seconds": dict(zip(("train", "build", "simulate"), seconds, strict=True)),
                "samples": len(q),
                "simulation": report.data(),
            }
        )
        return 0 if report.passed else 1
    common.print_core(core.contract)
    print(f"accuracy  float network {100 * result.float_accuracy:.2f} %")
    print(f"          LUT model     {100 * result.model_accuracy:.2f} %, {len(q)} test samples")
    if report.passed:
        print(f"RTL       == golden: {report.describe()};")
        print("          latency and interval as promised")
    else:
        print(f"RTL       != golden: {report.describe()}")
    print(f"time      train {seconds[0]} s, build {seconds[1]} s, simulate {seconds[2]} s")
    print(f"wrote     {', '.join(files)}")
    return 0 if report.passed else 1
