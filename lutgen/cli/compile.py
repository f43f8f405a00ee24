"""`lutgen compile`: a model as the list of transfers that an engine plays."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutgen.cli import common
from lutgen.cli.engine import options_of
from lutgen.errors import LutgenError
from lutgen.files import check_folder
from lutgen.words import counted

if TYPE_CHECKING:
    from lutgen.host.fit import MisfitError

__all__ = ["add", "run", "show"]


def add(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "compile",
        help="compile a model for an engine",
        description="Turns a model into the steps that a LUT-stationary engine plays, and those "
        "that are left to the host.",
        allow_abbrev=False,
    )
    parser.add_argument("model", type=Path, metavar="MODEL.lut")
    parser.add_argument(
        "--engine",
        type=Path,
        required=True,
        metavar="ENGINE.json",
        help="the contract that `lutgen build` wrote beside the engine's Verilog",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="JOB")
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NODE",
        help="leave a node to the host, whether it fits the engine or not; may be repeated",
    )
    parser.add_argument(
        "--batch",
        type=common.integer(1),
        metavar="N",
        help="samples of a batch in what is printed (default: as the player takes)",
    )
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Compiles, writes and prints."""
    from lutgen.host import jobfile
    from lutgen.host.compiler import compile_model
    from lutgen.host.contract import engine_of
    from lutgen.host.fit import MisfitError
    from lutgen.host.listing import describe
    from lutgen.model import load

    check_folder(args.output, jobfile.FILES, "a job")
    engine = engine_of(args.engine)
    model = load(args.model)
    try:
        job = compile_model(model, engine, host=args.host)
    except MisfitError as error:
        raise LutgenError(f"{args.model}: {misfit_text(error, args.engine)}") from None
    except LutgenError as error:
        text = str(error)
        raise LutgenError(
            text if text.startswith("argument") else f"{args.model}: {text}"
        ) from None
    try:
        data = describe(job, args.batch or job.batch)
    except ValueError as error:
        raise LutgenError(f"argument --batch: {error}") from None
    jobfile.save(job, args.output)
    if args.json:
        common.print_json({"job": str(args.output), "engine": str(args.engine), **data})
    else:
        show(data)
        print(f"wrote     {args.output}")
    return 0


def misfit_text(error: "MisfitError", engine: Path) -> str:
    """What is said of a model that does not fit: one thing in words, more of them as a table on
    standard error first.
    """
    if len(error.misfits) == 1:
        return str(error)
    rows = [
        [each.layer, each.parameter.replace("_", "-"), each.needs, each.has]
        for each in error.misfits
    ]
    common.print_table(["layer", "parameter", "needs", "has"], rows, file=sys.stderr)
    hosts = " ".join(f"--host {layer}" for layer in error.layers)
    count = f"{len(error.layers)} layer{'s do' if len(error.layers) > 1 else ' does'}"
    mend = "no engine takes the whole model"
    if error.engine is not None:
        mend = (
            f"one that takes the whole model: `lutgen build {options_of(error.engine)} -o ENGINE.v`"
        )
    return f"{count} not fit {engine}; {mend}; or leave to the host what does not fit: {hosts}"


def show(data: dict[str, Any]) -> None:
    """The steps, a line each, and what the host has to do."""
    columns = ("rows", "codebooks", "outputs", "passes")
    streams = tuple(data["total"]["bytes"])
    rows = [
        [
            ", ".join(step["nodes"]),
            step["on"],
            step["does"],
            *(step.get(key) for key in columns),
            *(step.get("bytes", {}).get(name) or None for name in streams),
        ]
        for step in data["steps"]
    ]
    total = data["total"]
    rows.append(
        ["total", "", "", None, None, None, total["passes"], *(total["bytes"][s] for s in streams)]
    )
    common.print_table(["node", "on", "does", *columns, *streams], rows)
    print(f"batch     {counted(data['batch'], 'sample')}; passes and bytes are those of a batch")
    for step in data["steps"]:
        if step["on"] == "host":
            print(f"host      {step['gives']}: {step['why']}")
