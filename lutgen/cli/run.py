"""``lutgen run``: samples through a board, or through a simulated one, against golden inference."""

import argparse
import re
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lutgen.cli import common
from lutgen.errors import LutgenError
from lutgen.words import counted

if TYPE_CHECKING:
    from lutgen.cli.samples import File
    from lutgen.gateware.build import Core
    from lutgen.gateware.link import BoardCore
    from lutgen.host.link import Board
    from lutgen.model import Model

__all__ = ["add", "run"]

CLOCK_HZ = 12_000_000  # of a simulated board
EVERY = 1.0  # seconds between two words on how far it is
# A simulated board is slower than the time that it keeps.
PATIENCE = {"board": (5.0, 0.25), "simulated": (120.0, 2.0)}


def add(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "run",
        help="run samples on a board",
        description="Sends samples to a board with a core of `lutgen synth`, takes the results, "
        "and compares them with golden inference if there is a model. --simulate needs no board: "
        "it runs the same core and link in Verilator, at the end of a pseudo-terminal. Status 1 if "
        "a result differs.",
        allow_abbrev=False,
    )
    parser.add_argument("model", nargs="?", metavar="MODEL.lut", help="what to compare with")
    common.add_model(parser)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--port", metavar="TTY", help="the board's serial port")
    place.add_argument("--simulate", action="store_true", help="simulate a board")
    parser.add_argument(
        "--data", required=True, metavar="D.npz", help="samples: x_test of a file, or digits"
    )
    parser.add_argument(
        "--contract",
        type=Path,
        metavar="OUT.json",
        help="of the core on the board; with --simulate OUT.v stands beside it (default there: "
        "the model's core is built)",
    )
    parser.add_argument(
        "--samples", type=common.integer(1), metavar="N", help="at most so many (default: all)"
    )
    parser.add_argument(
        "--baud",
        type=common.integer(1),
        metavar="N",
        help="of the port (default: the contract's; simulated: a quarter of the clock)",
    )
    common.add_json(parser)


@dataclass(frozen=True)
class Case:
    """What is sent, and what must come back.

    Attributes
    ----------
    inputs : int64 array ``[sample, element]``
    labels : int64 array ``[sample]`` or None
    expected : int64 array ``[sample, output]`` or None
    image : uint32 array or None
    said : dict
        What became of the samples; JSON data.
    """

    inputs: NDArray[np.int64]
    labels: NDArray[np.int64] | None
    expected: NDArray[np.int64] | None
    image: NDArray[np.uint32] | None
    said: dict[str, Any]


def run(args: argparse.Namespace) -> int:
    """Runs and prints."""
    model, core, file = prepare(args, common.model_of(args))
    case = make_case(args, model, core, file)
    with ExitStack() as stack:
        board = open_board(args, core, stack)
        if case.image is not None:
            common.say(f"loading {4 * len(case.image)} bytes of tables ...")
            board.load(case.image)
        outputs, seconds = stream(board, core.contract, case, quiet=args.json)
        counters = board.counters()
        report = results(args, board, core.contract, case, outputs, seconds, counters)
    if args.json:
        common.print_json(report)
    else:
        show(report)
    return 1 if report["mismatches"] else 0


def prepare(args: argparse.Namespace, path: str | None) -> "tuple[Model | None, Core, File]":
    """The model, if there is one, the core that the board holds, without Verilog where that is not
    needed, and the samples.
    """
    from lutgen.cli.cases import file_of
    from lutgen.cli.samples import read
    from lutgen.model import load

    if path is not None and path.endswith(".json"):
        raise LutgenError(f"{path}: is no model; for a core's contract say --contract {path}")
    model = None if path is None else load(path)
    if args.contract is not None:
        from lutgen.host.core_contract import read_core

        contract = read_core(args.contract)
        verilog = common.verilog_beside(args.contract) if args.simulate else ""
        core = core_of(args, model, path, verilog, contract)
        if model is not None:
            return model, core, file_of(model, args.data)
        port, sink = contract["input"], contract["output"]
        classes = 1 << sink["bits"] if sink["kind"] == "classes" else sink["elements"]
        return None, core, read(args.data, tuple(port["shape"]), classes)
    if not args.simulate:
        raise LutgenError(
            "argument --contract: is needed with --port: it says which core the board must hold"
        )
    if model is None:
        raise LutgenError("a MODEL.lut is needed, or --contract OUT.json of a built core")
    from lutgen.gateware.build import build

    file = file_of(model, args.data)
    with common.as_errors():
        core = build(model)
    common.changed_name(model, core)
    return model, core, file


def core_of(
    args: argparse.Namespace,
    model: "Model | None",
    path: str | None,
    verilog: str,
    contract: dict[str, Any],
) -> "Core":
    """The core of a contract, once it is sure that it goes with the model."""
    from lutgen.cli.sim import core_of as checked
    from lutgen.gateware.build import Core

    if model is None:
        if contract["load"] is not None:
            raise LutgenError(f"{args.contract}: the core is loadable: name a MODEL.lut to load")
        # A core without its plan: nothing here asks for that.
        return Core(None, verilog, contract)  # type: ignore[arg-type]
    from lutgen.model import digest

    made_for = contract["model"] or {}
    if contract["load"] is not None and made_for.get("sha256") != digest(model):
        return refilled(model, str(path), verilog, contract, args.contract)
    return checked(model, str(path), verilog, contract, args.contract)


def without_timing(value: Any) -> Any:
    """A field of a contract, if it is that of the load image without the time that a core takes to
    read it back: older cores don't.
    """
    if not isinstance(value, dict):
        return value
    return {key: each for key, each in value.items() if key != "read_back"}


def refilled(
    model: "Model", path: str, verilog: str, contract: dict[str, Any], place: Path
) -> "Core":
    """A loadable core, for another model than the one that it was built for: of the same layers."""
    from lutgen.gateware.build import Core, build
    from lutgen.model.plan import Fold, plan

    folds = {stage["name"]: stage["fold"] for stage in contract["stages"] if "fold" in stage}
    lanes = contract["input"]["lanes"]
    try:
        layers = {name: Fold(**fold) for name, fold in folds.items()}
        spec = plan(model, name=contract["name"], input_lanes=lanes, layers=layers, loadable=True)
    except (LutgenError, TypeError, ValueError) as error:
        raise LutgenError(f"{place}: can't hold {path}: {error}") from None
    core = build(model, spec=spec, loadable=True)
    for field in ("input", "output", "load", "stages"):
        if without_timing(core.contract[field]) != without_timing(contract[field]):
            raise LutgenError(
                f"{place}, field {field!r}: is not that of a core for {path}, whose tables it "
                "can't hold; build the core again"
            )
    return Core(core.spec, verilog, contract)


def make_case(args: argparse.Namespace, model: "Model | None", core: "Core", file: "File") -> Case:
    """Samples, and what the model makes of them."""
    from lutgen.cli.samples import taken
    from lutgen.model import Activation

    port = core.contract["input"]
    activation = Activation(port["bits"], port["signed"], port.get("scale", 1.0))
    provenance: dict[str, Any] = {}
    if model is not None:
        activation, provenance = model.input, model.provenance
    q, said = taken(file, activation, provenance, args.samples)
    labels = None if file.labels is None else file.labels[: args.samples]
    inputs = q.reshape(len(q), -1)
    if model is None:
        return Case(inputs, labels, None, None, said)
    image = core.load_image(model) if core.contract["load"] else None
    return Case(inputs, labels, model.run(q)[model.nodes[-1].name], image, said)


def open_board(args: argparse.Namespace, core: "Core", stack: ExitStack) -> "Board":
    """The board, once it is sure that it holds the core."""
    from lutgen.host.link import Board
    from lutgen.spec.link_frames import PROTOCOL

    contract = core.contract
    link = contract.get("link") or {}
    if link.get("protocol", PROTOCOL) != PROTOCOL:
        raise LutgenError(
            f"{args.contract}, field 'link.protocol': is {link['protocol']}, and this lutgen "
            f"speaks {PROTOCOL}; make the board's files again with `lutgen synth --board`"
        )
    if args.simulate:
        from lutgen.flows.boardsim import SimulatedBoard
        from lutgen.host.terminal import Terminal

        common.say("building the simulated board; a large core takes a minute or two ...")
        simulated = stack.enter_context(SimulatedBoard(simulated_core(args, core)))
        transport: Any = Terminal(simulated.path)
        where = f"simulated board ({simulated.path})"
        patience, retry = PATIENCE["simulated"]
        baud = None
    else:
        from lutgen.host.serial_port import SerialPort

        baud = args.baud or link.get("baud")
        if baud is None:
            raise LutgenError(
                f"argument --contract: {args.contract} is of a core without a link; name the "
                "core.json that was written with the board's bitstream, or say --baud"
            )
        transport = SerialPort(args.port, baud)
        where = args.port
        patience, retry = PATIENCE["board"]
    return stack.enter_context(
        Board(transport, contract, where=where, patience=patience, retry=retry, baud=baud)
    )


def simulated_core(args: argparse.Namespace, core: "Core") -> "BoardCore":
    """The core behind a link as its contract says, else a fast one. Verilog that has its link
    already is taken as it is.
    """
    from lutgen.gateware.link import BoardCore, board_core
    from lutgen.spec.link import link_spec

    link = core.contract.get("link") or {}
    clock_hz = link.get("clock_hz", CLOCK_HZ)
    options = {key: link[key] for key in ("buffer", "results") if key in link}
    with common.as_errors():
        module = link.get("module")
        if module is not None and re.search(rf"^module {module}\b", core.verilog, re.MULTILINE):
            if args.baud not in (None, link["baud"]):
                raise LutgenError(f"argument --baud: is {link['baud']} in {args.contract}")
            spec = link_spec(core.contract, clock_hz=clock_hz, baud=link["baud"], **options)
            return BoardCore(spec, module, core.verilog, core.contract)
        return board_core(
            core.verilog,
            core.contract,
            clock_hz=clock_hz,
            baud=args.baud or clock_hz // 4,
            **options,
        )


def stream(
    board: "Board", contract: dict[str, Any], case: Case, *, quiet: bool
) -> tuple[NDArray[np.int64], float]:
    """Outputs ``[sample, output]``, and how long they took."""
    from lutgen.host.link_job import pack, unpack

    total, start = len(case.inputs), time.monotonic()
    said = start

    def progress(done: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= EVERY and not quiet:
            said = now
            rate = done / (now - start)
            common.say(f"{done} of {counted(total, 'sample')}, {rate:,.0f} a second")

    got = board.run(pack(case.inputs, contract["input"]), progress)
    return unpack(got, contract["output"]), time.monotonic() - start


def results(
    args: argparse.Namespace,
    board: "Board",
    contract: dict[str, Any],
    case: Case,
    outputs: NDArray[np.int64],
    seconds: float,
    counters: dict[str, int],
) -> dict[str, Any]:
    """The report: JSON data."""
    classes = outputs[:, 0] if contract["output"]["kind"] == "classes" else outputs.argmax(axis=1)
    wrong = None
    if case.expected is not None:
        wrong = np.flatnonzero((outputs != case.expected).any(axis=1))
    clock_hz = board.info.clock_hz
    busy = counters["busy"] / max(1, counters["results"])
    waits = counters["waits"] / max(1, counters["results"])
    return {
        "name": contract["name"],
        "port": None if args.simulate else args.port,
        "simulated": bool(args.simulate),
        "fingerprint": board.info.fingerprint,
        "samples": len(outputs),
        "accuracy": None if case.labels is None else float(np.mean(classes == case.labels)),
        **case.said,
        "mismatches": None if wrong is None else len(wrong),
        "first_mismatch": int(wrong[0]) if wrong is not None and len(wrong) else None,
        "seconds": round(seconds, 4),
        "samples_per_second": round(len(outputs) / seconds, 1),
        "clock_hz": clock_hz,
        "cycles_per_sample": round(busy, 1),
        "waits_per_sample": round(waits, 1),
        # Not less than this: the link feeds the core more slowly than it could be fed.
        "core_samples_per_second": round(clock_hz / busy, 1) if busy else None,
        "promised_samples_per_second": round(clock_hz / contract["interval"], 1),
        "counters": counters,
        "resent_bytes": board.resent,
        "repeated_samples": board.repeated,
    }


def show(report: dict[str, Any]) -> None:
    """The report for people."""
    place = "simulated board" if report["simulated"] else report["port"]
    print(f"board     {report['name']} ({report['fingerprint']}), {place}")
    if report["accuracy"] is not None:
        print(f"accuracy  {100 * report['accuracy']:.2f} %, {counted(report['samples'], 'sample')}")
    if report["mismatches"] is None:
        print(f"results   {report['samples']}, compared with nothing: no MODEL.lut")
    elif report["mismatches"]:
        print(
            f"FAILED    {report['mismatches']} of {counted(report['samples'], 'result')} differ "
            f"from golden, the first that of sample {report['first_mismatch']}"
        )
    else:
        print(f"results   {report['samples']}, all equal to golden")
    time_of = " (of the simulation)" if report["simulated"] else ""
    print(f"link      {report['samples_per_second']:,.1f} samples a second{time_of}")
    print(
        f"core      {report['cycles_per_sample']:,.1f} cycles a sample, of which it waited "
        f"{report['waits_per_sample']:,.1f} for the link"
    )
    if report["core_samples_per_second"] is not None:
        print(
            f"          so at least {report['core_samples_per_second']:,.0f} samples a second at "
            f"{report['clock_hz'] / 1e6:g} MHz; promised: "
            f"{report['promised_samples_per_second']:,.0f}"
        )
    errors = report["counters"]["link_errors"]
    if errors or report["resent_bytes"] or report["repeated_samples"]:
        print(
            f"line      {counted(errors, 'broken frame')}, "
            f"{counted(report['resent_bytes'], 'byte')} and "
            f"{counted(report['repeated_samples'], 'sample')} sent again"
        )
