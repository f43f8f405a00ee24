"""``lutgen sim``: a core against golden inference, in a Verilog simulator."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutgen.cli import common, engine_sim
from lutgen.cli.cases import Case, check_built, file_of, loadable_case, model_case
from lutgen.errors import LutgenError
from lutgen.files import check_writable
from lutgen.words import counted

if TYPE_CHECKING:
    from lutgen.flows import LayerReport, SimReport
    from lutgen.gateware.build import Core
    from lutgen.model import Model

__all__ = ["add", "run"]


# What cocotb plays on a small core, cycles in a second; when it would take longer than so many
# seconds, the compiled driver is worth its build.
COCOTB_SPEED = 15_000
PATIENCE = 120.0


def add(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "sim",
        help="simulate a core against golden inference",
        description="Generates the core of a model (or takes one that is built), simulates it "
        "with random stalls, compares every output word with golden inference, and measures "
        "latency and interval. A loadable core without a model is filled with random tables. "
        "An engine (--core of its .json) gets random matrix products, or a JOB of `lutgen "
        "compile` in the model's place. Status 1 if anything differs.",
        allow_abbrev=False,
    )
    parser.add_argument("model", nargs="?", metavar="MODEL.lut | JOB")
    common.add_model(parser)
    parser.add_argument(
        "--data", metavar="D.npz", help="samples: x_test of a file, or digits (default: random)"
    )
    parser.add_argument(
        "--samples", type=common.integer(1), metavar="N", help="at most so many (default 50)"
    )
    parser.add_argument(
        "--core",
        type=Path,
        metavar="OUT.json",
        help="a built core or engine; OUT.v stands beside it",
    )
    parser.add_argument("--faults", action="store_true", help="also send frames of a wrong length")
    parser.add_argument(
        "--timing-samples",
        type=common.integer(0),
        metavar="N",
        help="samples of the pass without stalls (default: 8 and 4 a stage; 0 leaves it out)",
    )
    group = parser.add_argument_group("what plays the streams")
    group.add_argument(
        "--driver",
        choices=("cocotb", "compiled"),
        help="cocotb, or C++ for Verilator, which is far faster (default: cocotb, unless it would "
        "take minutes)",
    )
    group.add_argument(
        "--layers",
        action="store_true",
        help="compare what every layer gives, and name the first that differs (compiled driver)",
    )
    group.add_argument(
        "--vcd", type=Path, metavar="FILE", help="write the waves of the run (compiled driver)"
    )
    group.add_argument("--fst", type=Path, metavar="FILE", help="the same, in a smaller format")
    group.add_argument(
        "--saif", type=Path, metavar="FILE", help="toggles of every signal, for power tools"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep plan, vectors, log and result there"
    )
    common.add_simulation(parser)
    common.add_folds(parser)
    common.add_layers(parser)
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Simulates and prints."""
    args.model = common.model_of(args)
    if engine_sim.is_engine(args.core):
        return engine_sim.run(args)
    waves = wave_file(args)
    check_driver(args, waves)
    case = prepare(args)
    report = simulate(case, args, waves)
    if args.json:
        common.print_json(
            {
                "name": case.contract["name"],
                "samples": len(case.inputs),
                **case.said,
                **report.data(),
            }
        )
    else:
        show(case, report, args)
    return 0 if report.passed else 1


def prepare(args: argparse.Namespace) -> Case:
    """Finds the core, the samples and the expected outputs."""
    if args.core is not None:
        given = [*common.fold_kwargs(args), *(["layer"] if args.layer else [])]
        given += ["loadable"] if args.loadable else []
        for key in given:
            raise LutgenError(
                f"argument --{key.replace('_', '-')}: goes with a core to be built; "
                f"{args.core} is built already"
            )
    elif args.model is None:
        raise LutgenError("a MODEL.lut is needed, or --core OUT.json of a built core")
    if args.model is None:
        if args.data is not None:
            raise LutgenError("argument --data: goes with a MODEL.lut; random tables need none")
        if args.layers:
            raise LutgenError("argument --layers: goes with a MODEL.lut, which has them")
        return loadable_case(*built_core(args.core), args.core, args.samples or 50, args.seed)
    from lutgen.model import load

    if str(args.model).endswith(".json"):
        raise LutgenError(f"{args.model}: is no model; for a built core say --core {args.model}")
    model = load(args.model)
    file = file_of(model, args.data)
    if args.core is None:
        from lutgen.gateware.build import build

        layers = common.layer_folds(args.layer)
        options = common.fold_kwargs(args)
        if args.layers:
            options["taps"] = True
        with common.as_errors():
            core = build(model, **options, layers=layers, loadable=args.loadable)
        common.changed_folds(model, core, layers)
        common.changed_name(model, core, args.name)
    else:
        core = core_of(model, args.model, *built_core(args.core), args.core)
        if args.layers and not core.contract.get("taps"):
            raise LutgenError(
                f"{args.core}, field 'taps': is missing: the core shows no inner streams; leave "
                "--core out, and lutgen builds one that does"
            )
    return model_case(model, core, file, args.samples, args.seed)


def wave_file(args: argparse.Namespace) -> Path | None:
    """Where waves go, once it is sure that they can."""
    given = [form for form in ("vcd", "fst", "saif") if getattr(args, form) is not None]
    if len(given) > 1:
        raise LutgenError(f"argument --{given[1]}: not allowed with --{given[0]}; one format a run")
    for form in given:
        path: Path | None = getattr(args, form)
        if path is not None:
            if path.suffix != f".{form}":
                raise LutgenError(f"argument --{form}: the name must end in .{form}, not {path}")
            check_writable(path, inputs=[p for p in (args.model, args.core) if p is not None])
            return path
    return None


def check_driver(args: argparse.Namespace, waves: Path | None) -> None:
    """Complains of options that go with the compiled driver only."""
    for option, given in (("--layers", args.layers), ("waves", waves is not None)):
        name = f"--{waves.suffix[1:]}" if option == "waves" and waves else option
        if given and args.driver == "cocotb":
            raise LutgenError(f"argument {name}: needs the compiled driver, not --driver cocotb")
        if given and args.simulator != "verilator":
            raise LutgenError(f"argument {name}: needs the simulator verilator")
    if args.driver == "compiled" and args.simulator != "verilator":
        raise LutgenError("argument --driver: compiled needs the simulator verilator")


def choose_driver(case: Case, args: argparse.Namespace, waves: Path | None) -> str:
    """The driver that was asked for, or the one that suits the length of the run."""
    if args.driver is not None:
        return str(args.driver)
    if args.layers or waves is not None:
        return "compiled"
    from lutgen.flows.simulate import default_timing_samples

    timing = args.timing_samples
    samples = len(case.inputs)
    samples += default_timing_samples([case.contract]) if timing is None else timing
    seconds = samples * case.contract["interval"] / COCOTB_SPEED
    if args.simulator != "verilator" or seconds <= PATIENCE:
        return "cocotb"
    common.say(
        f"cocotb would take about {seconds / 60:.0f} minutes: taking the compiled driver; "
        "--driver cocotb insists"
    )
    return "compiled"


def built_core(path: Path) -> tuple[str, dict[str, Any]]:
    """Text and contract of a built core."""
    from lutgen.host.core_contract import read_core

    contract = read_core(path, "a core or an engine")
    return common.verilog_beside(path), contract


def core_of(
    model: "Model", model_path: str, verilog: str, contract: dict[str, Any], path: Path
) -> "Core":
    """A built core, once it is sure that it was built for ``model``."""
    from lutgen.gateware.build import Core
    from lutgen.model import digest
    from lutgen.model.plan import Fold, plan

    made_for = contract["model"] or {}
    if made_for.get("sha256") != digest(model):
        raise LutgenError(
            f"{path}, field 'model': is not {model_path}; build the core again from it"
        )
    try:
        spec = plan(
            model,
            name=contract["name"],
            input_lanes=contract["input"]["lanes"],
            layers={s["name"]: Fold(**s["fold"]) for s in contract["stages"] if "fold" in s},
            loadable=contract["load"] is not None,
        )
    except (TypeError, ValueError) as error:
        raise LutgenError(f"{path}, field 'stages': {error}; build the core again") from None
    check_built(contract, spec, path)
    return Core(spec, verilog, contract)


def simulate(case: Case, args: argparse.Namespace, waves: Path | None) -> "SimReport":
    """Runs the case with the options' simulator, driver, gaps and seed."""
    from lutgen.flows import simulate as run_simulation

    driver = choose_driver(case, args, waves)
    if not args.json:
        common.say("building and running the simulation; a large core takes a minute or two ...")
    return run_simulation(
        case.verilog,
        case.contract,
        case.inputs,
        case.expected,
        simulator=args.simulator,
        gaps=args.gaps,
        seed=args.seed,
        load_words=case.load_words,
        faults=args.faults,
        timing_samples=args.timing_samples,
        keep=args.keep,
        driver=driver,
        golden=case.golden if args.layers else None,
        waves=waves,
    )


def show(case: Case, report: "SimReport", args: argparse.Namespace) -> None:
    """The report for people."""
    core = report.cores[0]
    built = "from the cache" if report.cached else "built"
    print(f"core      {case.contract['name']}: {case.source}, gaps {args.gaps:g}, seed {args.seed}")
    print(
        f"ran       {counted(core.cycles, 'cycle')} in {report.run_seconds:.1f} s; "
        f"{report.simulator}, {report.driver} driver, {built} in {report.build_seconds:.1f} s"
    )
    print(
        f"speed     {report.cycles_per_second:,.0f} cycles and {report.samples_per_second:,.1f} "
        "samples a second"
    )
    if core.layers:
        common.print_table(
            ("layer", "words", "mismatches", "first at sample", "element"),
            [layer_row(layer) for layer in core.layers],
        )
    if not core.passed:
        print(f"FAILED    {core.describe()}")
        for text in core.errors[:5]:
            if text not in core.describe():
                print(f"          {text}")
        return
    print(
        f"outputs   {counted(core.samples, 'result')} (stalled, then at full speed), "
        f"{counted(core.words, 'word')}, all equal to golden"
    )
    if core.latency is None:
        return
    for name, got, want in (
        ("latency", core.latency, core.expected_latency),
        ("interval", core.interval, core.expected_interval),
    ):
        verdict = "as the contract says" if got == want else f"FAILED: the contract says {want}"
        print(f"{name:<9} {counted(got, 'cycle')}, {verdict}")
    if not core.steady:
        print("FAILED    the interval is not steady")


def layer_row(layer: "LayerReport") -> list[object]:
    """A row of the table of layers."""
    first = layer.first_mismatch or {}
    return [layer.name, layer.words, layer.mismatches, first.get("sample"), first.get("element")]
