"""``lutgen sim``: a core against golden inference, in a Verilog simulator."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lutgen.cli import common
from lutgen.errors import LutgenError
from lutgen.files import reason
from lutgen.numeric import Format

if TYPE_CHECKING:
    from lutgen.flows import SimReport
    from lutgen.gateware.build import Core
    from lutgen.model import Model
    from lutgen.spec.network import NetworkSpec

__all__ = ["add", "run"]


@dataclass(frozen=True)
class Case:
    """A core and what it must answer."""

    verilog: str
    contract: dict[str, Any]
    inputs: NDArray[np.int64]
    expected: NDArray[np.int64]
    load_words: NDArray[np.uint32] | None
    source: str


def add(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "sim",
        help="simulate a core against golden inference",
        description="Generates the core of a model (or takes one that is built), simulates it "
        "with random stalls, compares every output word with golden inference, and measures "
        "latency and interval. A loadable core without a model is filled with random tables. "
        "Status 1 if anything differs.",
        allow_abbrev=False,
    )
    parser.add_argument("model", nargs="?", metavar="MODEL.lut")
    parser.add_argument(
        "--data", metavar="D.npz", help="samples: x_test of a file, or digits (default: random)"
    )
    parser.add_argument(
        "--samples", type=common.integer(1), metavar="N", help="at most so many (default 50)"
    )
    parser.add_argument(
        "--core", type=Path, metavar="OUT.json", help="a built core; OUT.v stands beside it"
    )
    parser.add_argument("--faults", action="store_true", help="also send frames of a wrong length")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep plan, vectors, log and result there"
    )
    common.add_simulation(parser)
    common.add_folds(parser)
    common.add_layers(parser)
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Simulates and prints."""
    case = prepare(args)
    report = simulate(case, args)
    if args.json:
        common.print_json(
            {"name": case.contract["name"], "samples": len(case.inputs), **report.data()}
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
        return loadable_case(*built_core(args.core), args.core, args.samples or 50, args.seed)
    from lutgen.model import load

    if str(args.model).endswith(".json"):
        raise LutgenError(f"{args.model}: is no model; for a built core say --core {args.model}")
    model = load(args.model)
    if args.core is None:
        from lutgen.gateware.build import build

        layers = common.layer_folds(args.layer)
        folds = common.fold_kwargs(args)
        with common.as_errors():
            core = build(model, **folds, layers=layers, loadable=args.loadable)
    else:
        core = core_of(model, args.model, *built_core(args.core), args.core)
    return model_case(model, core, args.data, args.samples, args.seed)


def built_core(path: Path) -> tuple[str, dict[str, Any]]:
    """Text and contract of a built core."""
    contract = common.read_contract(path)
    verilog = path.with_suffix(".v")
    try:
        return verilog.read_text(encoding="utf-8"), contract
    except OSError as error:
        raise LutgenError(
            f"{verilog}: can't be read: {reason(error)}; it goes with {path}"
        ) from error


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


def check_built(contract: dict[str, Any], spec: "NetworkSpec", path: Path) -> None:
    """Complains if the streams of a built core are not those of ``spec``."""
    from lutgen.gateware.build import port_fields

    ports = {"input": (spec.input, "s_axis"), "output": (spec.output, "m_axis")}
    wanted = {key: {**port_fields(port), "port": name} for key, (port, name) in ports.items()}
    common.check_ports(contract, wanted, path)


def model_case(
    model: "Model", core: "Core", data: str | None, samples: int | None, seed: int
) -> Case:
    """Samples of a data set, or random ones, and what the model says of them."""
    fmt = model.input.format
    if data is None:
        source = f"{samples or 50} random samples"
        shape = (samples or 50, *model.shape)
        q = np.random.default_rng(seed).integers(fmt.low, fmt.high + 1, shape)
    else:
        from lutgen.train.data import load_samples

        x = load_samples(data).x[: samples or 50]
        source = f"{len(x)} samples of {data}"
        try:
            q = model.quantise(x)
        except ValueError as error:
            raise LutgenError(f"{data}, array 'x_test': {error}") from error
    expected = model.run(q)[model.nodes[-1].name]
    words = core.load_image(model) if core.contract["load"] else None
    return Case(core.verilog, core.contract, q.reshape(len(q), -1), expected, words, source)


def loadable_case(
    verilog: str, contract: dict[str, Any], path: Path, samples: int, seed: int
) -> Case:
    """Random centroids, tables and samples for a core that came without a model."""
    if contract["load"] is None or contract["model"] or len(contract["stages"]) != 1:
        raise LutgenError("a MODEL.lut is needed: only a loadable core of one layer works without")
    from lutgen.gateware.build import build_loadable
    from lutgen.spec import LinearSpec

    stage, source, sink = contract["stages"][0], contract["input"], contract["output"]
    try:
        core = build_loadable(
            **{key: stage[key] for key in ("codebooks", "subvec", "centroids", "metric", "shift")},
            table_bits=stage["table_bits"],
            activation_bits=source["bits"],
            signed=source["signed"],
            outputs=stage["out_features"],
            output_bits=sink["bits"] if sink["kind"] == "activations" else None,
            input_lanes=source["lanes"],
            name=contract["name"],
            **stage["fold"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LutgenError(f"{path}, field 'stages': {error}; build the core again") from None
    check_built(contract, core.spec, path)
    spec = core.spec.stages[0].spec
    assert isinstance(spec, LinearSpec)
    rng = np.random.default_rng(seed)
    books = random_of(rng, spec.element, (spec.codebooks, spec.centroids, spec.subvec))
    table = rng.integers(0, spec.grid.codes, (spec.codebooks, spec.centroids, spec.out_features))
    # One bit less than the accumulator: the sum of the tables has room beside any such bias.
    bias = random_of(rng, Format(spec.acc.bits - 1, True), (spec.out_features,))
    inputs = random_of(rng, spec.element, (samples, spec.in_features))
    codebooks = None if spec.metric == "digit" else books
    return Case(
        verilog,
        contract,
        inputs,
        spec.compute(inputs, codebooks, table, bias),
        core.load_words(codebooks, table, bias),
        f"{samples} random samples, random tables",
    )


def random_of(rng: np.random.Generator, fmt: Format, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Integers over a whole format."""
    return rng.integers(fmt.low, fmt.high + 1, shape)


def simulate(case: Case, args: argparse.Namespace) -> "SimReport":
    """Runs the case with the options' simulator, gaps and seed."""
    from lutgen.flows import simulate as run_simulation

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
        keep=args.keep,
    )


def show(case: Case, report: "SimReport", args: argparse.Namespace) -> None:
    """The report for people."""
    core = report.cores[0]
    built = "from the cache" if report.cached else "built"
    print(f"core      {case.contract['name']}: {case.source}, gaps {args.gaps:g}, seed {args.seed}")
    print(
        f"ran       {core.cycles} cycles in {report.run_seconds:.1f} s; {report.simulator}, "
        f"{built} in {report.build_seconds:.1f} s"
    )
    if not core.passed:
        print(f"FAILED    {core.describe()}")
        for text in core.errors[:5]:
            if text not in core.describe():
                print(f"          {text}")
        return
    print(
        f"outputs   {core.samples} results (stalled, then at full speed), {core.words} words, "
        "all equal to golden"
    )
    for name, got, want in (
        ("latency", core.latency, core.expected_latency),
        ("interval", core.interval, core.expected_interval),
    ):
        verdict = "as the contract says" if got == want else f"FAILED: the contract says {want}"
        print(f"{name:<9} {got} cycles, {verdict}")
    if not core.steady:
        print("FAILED    the interval is not steady")
