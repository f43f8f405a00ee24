"""``lutgen build``: Verilog and contract of a core."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutgen.cli import common, solving
from lutgen.errors import LutgenError
from lutgen.files import check_writable, write_text

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
    group = parser.add_argument_group("a test bench beside the core, for any simulator")
    group.add_argument(
        "--testbench",
        type=common.integer(1),
        metavar="N",
        help="write OUT_tb.v, plain Verilog that checks the core on N samples",
    )
    group.add_argument(
        "--data", metavar="D.npz", help="its samples: x_test of a file, or digits (default: random)"
    )
    group.add_argument(
        "--seed", type=common.integer(0), metavar="N", help="of random samples and stalls (0)"
    )
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
    bench = target.with_name(f"{target.stem}_tb.v")
    check_bench(args, bench, inputs)
    start = time.perf_counter()
    core, chosen, notes = make(args)
    text = bench_text(core, args, bench) if args.testbench else None
    paths: tuple[Path, ...] = core.write(target)
    if text is not None:
        write_text(bench, text)
        paths = (*paths, bench)
    seconds = time.perf_counter() - start
    if args.json:
        common.print_json(
            {
                "verilog": str(paths[0]),
                "contract": str(paths[1]),
                **({"testbench": str(bench)} if text is not None else {}),
                "seconds": round(seconds, 3),
                **{key: core.contract[key] for key in ("name", "model", "latency", "interval")},
                **{key: core.contract[key] for key in ("stages", "resources", "memories")},
                "solver": chosen,
                "notes": notes,
            }
        )
        return 0
    common.print_core(core.contract)
    if chosen is not None:
        solving.print_solution(chosen)
    print(f"wrote     {', '.join(map(str, paths))} in {seconds:.1f} s")
    return 0


def check_bench(args: argparse.Namespace, bench: Path, inputs: list[str]) -> None:
    """Complains of options for a test bench that is not to be written, or can't be."""
    if args.testbench is not None:
        if args.model is None and args.data is not None:
            raise LutgenError("argument --data: goes with a MODEL.lut; random tables need none")
        check_writable(bench, inputs=inputs)
        return
    for option, value in (("--data", args.data), ("--seed", args.seed)):
        if value is not None:
            raise LutgenError(f"argument {option}: goes with --testbench N")


def bench_text(core: "Core", args: argparse.Namespace, bench: Path) -> str:
    """The test bench of a core, with samples as `lutgen sim` takes them."""
    from lutgen.cli.cases import loadable_case, model_case
    from lutgen.flows.testbench import render
    from lutgen.model import load

    seed = args.seed or 0
    if args.model is not None:
        case = model_case(load(args.model), core, args.data, args.testbench, seed)
    else:
        path = args.output.with_suffix(".json")
        case = loadable_case(core.verilog, core.contract, path, args.testbench, seed)
    return render(
        core.contract,
        case.inputs,
        case.expected,
        load_words=case.load_words,
        seed=seed,
        core_file=args.output.name,
        bench_file=bench.name,
    )


def make(args: argparse.Namespace) -> "tuple[Core, dict[str, Any] | None, list[str]]":
    """The core that the options describe, how its folds were chosen, if they were, and what became
    of folds that were asked for and could not be had.
    """
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
                forms = None if solution.device is None else solution.forms
                folds, given = {"spec": solution.spec, "forms": forms}, {}
            else:
                given = layers
            core = build(model, **folds, layers=given, loadable=args.loadable, target=target)
        notes = common.changed_folds(model, core, layers)
        return core, None if solution is None else solving.explain(solution), notes
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
    for option in ("interval", "throughput", "clock", "device", "margin"):
        if getattr(args, option) is not None:
            raise LutgenError(f"argument --{option}: goes with a model; fold this core by hand")
    for key in ("window_channels", "slide"):
        folds.pop(key, None)
    with common.as_errors():
        return build_loadable(**layer, **folds, target=solving.target_name(args)), None, []
