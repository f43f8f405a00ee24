"""``lutgen build``: Verilog and contract of a core."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutgen.cli import common, engine, solving
from lutgen.errors import LutgenError
from lutgen.files import check_writable, write_text

if TYPE_CHECKING:
    from lutgen.cli.samples import File
    from lutgen.gateware.build import Core
    from lutgen.model import Model

__all__ = ["add", "run"]


def add(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "build",
        help="generate the Verilog of a core",
        description="Generates the core of a model; or, without a model, the LUT-stationary "
        "engine, for networks of any size. Writes OUT.v and, beside it, OUT.json; of an engine "
        "OUT.h and OUT.md with its registers too.",
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
    engine.add(parser)
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Builds, writes, prints a table of the stages."""
    if args.model is None:
        refuse(args)
        return engine.run(args)
    from lutgen.cli.cases import file_of
    from lutgen.model import load

    check_model(args.model)
    target: Path = args.output
    if target.suffix == ".json":
        raise LutgenError(f"{target}: the contract goes there; name the Verilog file *.v")
    inputs = [args.model]
    check_writable(target, inputs=inputs)
    check_writable(target.with_suffix(".json"), inputs=inputs)
    bench = target.with_name(f"{target.stem}_tb.v")
    check_bench(args, bench, inputs)
    for option in engine.given(args):
        raise LutgenError(
            f"argument {option}: is for an engine, which is built without a model; leave it out, "
            f"or leave out {args.model}"
        )
    start = time.perf_counter()
    layers = common.layer_folds(args.layer)
    model = load(args.model)
    file = file_of(model, args.data)
    core, chosen, notes = make(args, model, layers)
    text, said = bench_text(core, model, file, args, bench) if args.testbench else (None, {})
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
                **({"testbench": str(bench), **said} if text is not None else {}),
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


def check_model(path: str) -> None:
    """Complains of a contract in a model's place."""
    kind = common.format_of(Path(path))
    if kind == "lutgen-engine":
        raise LutgenError(
            f"{path}: is the contract of an engine, not a model; an engine is built from options "
            f"alone, and its models are compiled: `lutgen compile MODEL.lut --engine {path} -o JOB`"
        )
    if kind == "lutgen-core":
        raise LutgenError(
            f"{path}: is the contract of a core, not a model; give the MODEL.lut that it was built "
            "from"
        )


def check_bench(args: argparse.Namespace, bench: Path, inputs: list[str]) -> None:
    """Complains of options for a test bench that is not to be written, or can't be."""
    if args.testbench is not None:
        check_writable(bench, inputs=inputs)
        return
    for option, value in (("--data", args.data), ("--seed", args.seed)):
        if value is not None:
            raise LutgenError(f"argument {option}: goes with --testbench N")


def bench_text(
    core: "Core", model: "Model", file: "File | None", args: argparse.Namespace, bench: Path
) -> tuple[str, dict[str, Any]]:
    """The test bench of a core, with samples as `lutgen sim` takes them, and what became of those
    of a file: JSON data.
    """
    from lutgen.cli.cases import model_case
    from lutgen.flows.testbench import render

    seed = args.seed or 0
    case = model_case(model, core, file, args.testbench, seed, "--testbench")
    text = render(
        core.contract,
        case.inputs,
        case.expected,
        load_words=case.load_words,
        seed=seed,
        core_file=args.output.name,
        bench_file=bench.name,
    )
    return text, case.said


def make(
    args: argparse.Namespace, model: "Model", layers: dict[str, dict[str, int]]
) -> "tuple[Core, dict[str, Any] | None, list[str]]":
    """The core that the options describe, how its folds were chosen, if they were, and what became
    of folds that were asked for and could not be had.
    """
    from lutgen.gateware.build import build

    folds = common.fold_kwargs(args)
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
    notes += common.changed_name(model, core, args.name)
    return core, None if solution is None else solving.explain(solution), notes


def refuse(args: argparse.Namespace) -> None:
    """Complains of options that go with a model, where there is none."""
    solver = ("interval", "throughput", "clock", "device", "margin", "target")
    others = ("layer", "loadable", "testbench", "data", "seed")
    for key in (*solver, *others, "window_channels", "slide", "input_lanes"):
        if getattr(args, key, None) not in (None, False, []):
            option = key.replace("_", "-")
            raise LutgenError(f"argument --{option}: goes with a MODEL.lut, not with the engine")
