"""``lutgen build``: Verilog and contract of a core."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutgen.cli import common, solving
from lutgen.errors import LutgenError
from lutgen.files import check_writable

if TYPE_CHECKING:
    from lutgen.gateware.build import Core

__all__ = ["add", "run"]

LAYER_OPTIONS = {
    "codebooks": "--codebooks",
    "subvec": "--subvec",
    "centroids": "--centroids",
    "metric": "--metric",
    "table_bits": "--table-bits",
    "activation_bits": "--activation-bits",
    "outputs": "--outputs",
    "shift": "--shift",
    "output_bits": "--output-bits",
    "signed": "--signed",
}


def add(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "build",
        help="generate the Verilog of a core",
        description="Generates the core of a model; or, without a model, a core of one lookup "
        "layer whose tables are loaded by stream. Writes OUT.v and, beside it, OUT.json.",
        allow_abbrev=False,
    )
    parser.add_argument("model", nargs="?", metavar="MODEL.lut")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="OUT.v")
    common.add_folds(parser)
    common.add_layers(parser)
    solving.add_solver(parser)
    group = parser.add_argument_group("a core without a model")
    one = common.integer(1)
    group.add_argument("--codebooks", type=one, metavar="N", help="sub-vectors of an input row")
    group.add_argument("--subvec", type=one, metavar="N", help="inputs that share one index")
    group.add_argument("--centroids", type=one, metavar="N", help="entries of a codebook (16)")
    group.add_argument("--metric", help="l1 (default), l2, chebyshev, digit")
    group.add_argument("--table-bits", type=one, metavar="N", help="bits of a table entry (8)")
    group.add_argument("--activation-bits", type=one, metavar="N", help="bits of an input (8)")
    group.add_argument("--signed", action="store_const", const=True, help="inputs are signed")
    group.add_argument("--outputs", type=one, metavar="N", help="outputs of the layer (16)")
    group.add_argument("--shift", type=common.integer(0), metavar="N", help="right shift (0)")
    group.add_argument(
        "--output-bits", type=one, metavar="N", help="bits of an output (default: accumulators)"
    )
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Builds, writes, prints a table of the stages."""
    target: Path = args.output
    if target.suffix == ".json":
        raise LutgenError(f"{target}: the contract goes there; name the Verilog file *.v")
    inputs = [] if args.model is None else [args.model]
    check_writable(target, inputs=inputs)
    check_writable(target.with_suffix(".json"), inputs=inputs)
    start = time.perf_counter()
    core, chosen = make(args)
    paths = core.write(target)
    seconds = time.perf_counter() - start
    if args.json:
        common.print_json(
            {
                "verilog": str(paths[0]),
                "contract": str(paths[1]),
                "seconds": round(seconds, 3),
                **{key: core.contract[key] for key in ("name", "model", "latency", "interval")},
                **{key: core.contract[key] for key in ("stages", "resources", "memories")},
                "solver": chosen,
            }
        )
        return 0
    common.print_core(core.contract)
    if chosen is not None:
        solving.print_solution(chosen)
    print(f"wrote     {paths[0]}, {paths[1]} in {seconds:.1f} s")
    return 0


def make(args: argparse.Namespace) -> "tuple[Core, dict[str, Any] | None]":
    """The core that the options describe, and how its folds were chosen, if they were."""
    from lutgen.gateware.build import build, build_loadable
    from lutgen.model import load

    layer = {key: getattr(args, key) for key in LAYER_OPTIONS if getattr(args, key) is not None}
    folds = common.fold_kwargs(args)
    if args.model is not None:
        for key in layer:
            raise LutgenError(
                f"argument {LAYER_OPTIONS[key]}: goes with a core without a model; "
                f"{args.model} has its own"
            )
        layers = common.layer_folds(args.layer)
        model = load(args.model)
        target = solving.target_name(args)
        with common.as_errors():
            solution = solving.solution_of(args, model, folds, layers)
            if solution is not None:
                core = build(model, spec=solution.spec, loadable=args.loadable, target=target)
                return core, solving.explain(solution)
            return build(model, **folds, layers=layers, loadable=args.loadable, target=target), None
    for option, given in (("--layer", args.layer), ("--loadable", args.loadable)):
        if given:
            raise LutgenError(
                f"argument {option}: goes with a model; a core without one is loadable as it is"
            )
    for key in ("codebooks", "subvec"):
        if key not in layer:
            raise LutgenError(
                "a MODEL.lut is needed, or --codebooks and --subvec for a core without a model"
            )
    for option in ("interval", "throughput", "clock", "device"):
        if getattr(args, option) is not None:
            raise LutgenError(f"argument --{option}: goes with a model; fold this core by hand")
    folds.pop("window_channels", None)
    with common.as_errors():
        return build_loadable(**layer, **folds, target=solving.target_name(args)), None
