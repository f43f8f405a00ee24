"""``lutgen synth``: a core in an FPGA, or on a board: area, frequency, bitstream."""

import argparse
import json
import math
import shlex
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutgen.cli import common, solving, synth_energy
from lutgen.cli.synth_report import FORMAT, VERSION
from lutgen.errors import LutgenError
from lutgen.files import check_writable, reason, write_bytes, write_text
from lutgen.words import counted

if TYPE_CHECKING:
    from lutgen.cli.cases import Case
    from lutgen.cli.samples import File
    from lutgen.cost.area import Area
    from lutgen.flows.fpga.boards import Board
    from lutgen.flows.fpga.netlist import Checked
    from lutgen.flows.fpga.onboard import OnBoard
    from lutgen.flows.fpga.parts import Part
    from lutgen.flows.fpga.synth import Placed, Synthesised
    from lutgen.gateware.build import Core
    from lutgen.model import Model

__all__ = ["add", "run", "show"]

FILES = ("core.v", "core.json", "report.json")


class List(argparse.Action):
    """Prints the names that ``--device`` and ``--board`` take, and ends."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: Any = None
    ) -> None:
        """Prints."""
        from lutgen.flows.fpga.boards import known_boards
        from lutgen.flows.fpga.parts import PARTS

        for option, names in (("--device", sorted(PARTS)), ("--board", known_boards())):
            print(
                textwrap.fill(
                    ", ".join(names),
                    100,
                    initial_indent=f"{option:<9} ",
                    subsequent_indent=" " * 10,
                    break_on_hyphens=False,
                )
            )
        parser.exit()


def add(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "synth",
        help="put a core in an FPGA: area, frequency, bitstream",
        description="Finds the fastest core of a model that fits a device, synthesises, places and "
        "routes it with open tools, simulates the netlist, and reports area and frequency beside "
        "the estimates, and what energy an inference takes by an estimate from the netlist's "
        "activity. With --board it makes a bitstream and the command that talks to it. Artix-7 and "
        "Gowin devices are synthesised only. Every step is kept: the same again takes seconds. "
        "Status 1 if a check fails.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL.lut")
    parser.add_argument(
        "--list",
        action=List,
        nargs=0,
        default=argparse.SUPPRESS,
        help="name all devices and boards, and exit",
    )
    parser.add_argument(
        "--board", metavar="NAME", help="icebreaker, hx8k, ulx3s-85f, orangecrab ..."
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="default: MODEL_TARGET beside the model"
    )
    parser.add_argument(
        "--seeds", type=common.integer(1), default=3, metavar="N", help="placements (default 3)"
    )
    parser.add_argument(
        "--netlist-samples",
        type=common.integer(0),
        default=20,
        metavar="N",
        help="samples through the netlist in simulation (default 20; 0: none, and no energy)",
    )
    parser.add_argument(
        "--data",
        metavar="D.npz",
        help="those samples: x_test of a file, or digits (default: random)",
    )
    parser.add_argument(
        "--baud", type=common.integer(1200), metavar="N", help="of the board's link (1000000)"
    )
    common.add_folds(parser)
    common.add_layers(parser)
    solving.add_solver(parser)
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Synthesises and prints."""
    start = time.monotonic()
    part, board = where(args)
    folder = args.output or Path(args.model).with_suffix("").with_name(
        f"{Path(args.model).stem}_{args.board or args.device}"
    )
    check_place(folder)
    check_tools(args, part, board)
    from lutgen.cli.cases import file_of
    from lutgen.flows.fpga.models import check_top
    from lutgen.flows.fpga.synth import check_fit, synthesise
    from lutgen.model import load
    from lutgen.spec.names import free_name

    model = load(args.model)
    check_top(args.name or free_name(model.name), part.family)
    file = file_of(model, args.data)
    core, estimate = make(args, model, board)
    case = netlist_case(args, model, file, core, part)

    mapped = synthesise(core, part, estimate, common.say)
    check_fit(mapped.mapped, part, "the core")
    placed: Placed | None = None
    onboard: OnBoard | None = None
    seeds = range(1, args.seeds + 1)
    if board is not None:
        from lutgen.flows.fpga.onboard import BAUD, place_board

        baud = args.baud or BAUD
        with common.as_errors():
            onboard = place_board(
                mapped, board, clock=args.clock, baud=baud, seeds=seeds, say=common.say
            )
        placed = onboard.placed
    elif part.router is not None:
        from lutgen.flows.fpga.synth import place_pins

        placed = place_pins(mapped, clock=args.clock, seeds=seeds, say=common.say)
    netlist = None if case is None else check_netlist(case, mapped)
    report = data(args, mapped, placed, onboard, netlist, time.monotonic() - start)
    if case is not None:
        report["netlist"] |= case.said
    write(folder, core, report, onboard, args.model)
    keep(report)
    if args.json:
        common.print_json(report)
    else:
        show(report, folder)
    return 1 if report["failed"] else 0


def where(args: argparse.Namespace) -> "tuple[Part, Board | None]":
    """The part, and the board that it is on."""
    if args.board is None and args.device is None:
        raise LutgenError("argument --board: one of --board and --device is needed")
    if args.board is not None and args.device is not None:
        raise LutgenError("argument --board: the board says the device; give only one of them")
    if args.target is not None:
        raise LutgenError(
            "argument --target: the board or the device says it already; leave it out"
        )
    if args.board is not None:
        from lutgen.flows.fpga.boards import find_board

        board = find_board(args.board)
        return board.part, board
    if args.baud is not None:
        raise LutgenError("argument --baud: goes with --board")
    from lutgen.flows.fpga.parts import device_part

    return device_part(args.device), None


def check_place(folder: Path) -> None:
    """Complains, before long work, of a folder that can't be made or written."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise LutgenError(f"{there}: is no folder; name another with -o")
    try:
        for name in FILES if folder.exists() else (f".{folder.name}",):
            check_writable(there / name)
    except LutgenError as error:
        raise LutgenError(f"{error}; name another folder with -o") from error


def check_tools(args: argparse.Namespace, part: "Part", board: "Board | None") -> None:
    """Complains, before long work, of a program that is missing, and of a link that can't be."""
    from lutgen.flows.fpga import netlist, steps

    needed = ["yosys"]
    if part.router is not None:
        needed.append(part.tools.place)
    if board is not None:
        from lutgen.flows.fpga.onboard import BAUD, check_link

        needed.append(part.tools.pack)
        hz = check_link(board, args.clock, args.baud or BAUD)
        if args.clock is not None and f"{hz:.4g}" != f"{args.clock:.4g}":
            common.say(
                f"note: the board makes no clock of {args.clock / 1e6:.4g} MHz; it gets the next "
                f"slower one, {hz / 1e6:.4g} MHz"
            )
    for program in needed:
        steps.find(program)
    if args.netlist_samples and part.family in netlist.SIMULATED:
        from lutgen.flows import tools

        tools.find_verilator()


def make(args: argparse.Namespace, model: "Model", board: "Board | None") -> "tuple[Core, Area]":
    """The core, and what it is estimated to take."""
    from lutgen.flows.fpga.onboard import link_area
    from lutgen.gateware.build import build as build_core
    from lutgen.model.plan import default_input_lanes
    from lutgen.spec.network import PortSpec
    from lutgen.spec.target import target_of

    folds, layers = common.fold_kwargs(args), common.layer_folds(args.layer)
    reserve = offer = None
    if board is not None:
        from lutgen.flows.fpga.parts import PARTS

        offer = [name for name, part in PARTS.items() if part.router is not None]
        args.device = board.part.device.name
        elements, element = math.prod(model.shape), model.input.format
        lanes = args.input_lanes or default_input_lanes(elements, element)
        reserve = link_area(PortSpec(elements, element, lanes), board)
    device = str(args.device)
    with common.as_errors():
        try:
            solution = solving.solution_of(args, model, folds, layers, reserve, offer)
        except LutgenError:
            if args.loadable or target_of(device).single is None:
                raise
            # Tables that start empty may use the large RAMs.
            args.loadable = True
            common.say("the tables don't fit block RAM: a loadable core, with the large RAMs")
            solution = solving.solution_of(args, model, folds, layers, reserve, offer)
        assert solution is not None
        core = build_core(
            model,
            spec=solution.spec,
            forms=solution.forms,
            loadable=args.loadable,
            target=device,
        )
    common.changed_name(model, core, args.name)
    return core, solution.area.total


def netlist_case(
    args: argparse.Namespace, model: "Model", file: "File | None", core: "Core", part: "Part"
) -> "Case | None":
    """What the netlist is simulated with; None where it is not."""
    from lutgen.flows.fpga import netlist

    if not args.netlist_samples:
        return None
    if part.family not in netlist.SIMULATED:
        common.say(
            f"netlist: not simulated: there are no models of {part.family}'s RAMs; so there "
            "is no estimate of energy either"
        )
        return None
    from lutgen.cli.cases import model_case

    return model_case(model, core, file, args.netlist_samples, 0, "--netlist-samples")


def check_netlist(case: "Case", mapped: "Synthesised") -> "Checked":
    """The netlist in simulation."""
    from lutgen.flows.fpga import netlist

    return netlist.check_netlist(
        mapped, case.inputs, case.expected, load_words=case.load_words, say=common.say
    )


def data(
    args: argparse.Namespace,
    mapped: "Synthesised",
    placed: "Placed | None",
    onboard: "OnBoard | None",
    netlist: "Checked | None",
    seconds: float,
) -> dict[str, Any]:
    """The report: JSON data."""
    from lutgen.flows.fpga.clock import SPARE
    from lutgen.flows.fpga.report import poor

    contract = mapped.core.contract
    failed = []
    if mapped.estimate is not None and (lost := poor(mapped.estimate, mapped.mapped)):
        failed.append(f"the netlist is far below its estimate: {'; '.join(lost)}")
    if netlist is not None and not netlist.passed:
        failed.append(f"the netlist differs from golden: {netlist.said}")
    report: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "name": contract["name"],
        "model": contract["model"],
        "stage": "synthesised" if placed is None else "routed",
        "interval": contract["interval"],
        "latency": contract["latency"],
        "loadable": contract["load"] is not None,
        **mapped.data(),
    }
    if placed is not None:
        report |= {**placed.data(), "tools": sorted({*report["tools"], *placed.data()["tools"]})}
        fmax = placed.fmax
        report["samples_per_second"] = {
            key: round(mhz * 1e6 / contract["interval"], 1) for key, mhz in fmax.items()
        }
    if onboard is not None:
        report["board"] = onboard.board.name
        report["clock_hz"] = onboard.clock
        report["clock_spare"] = round(onboard.spare, 3)
        report["baud"] = onboard.baud
        report["samples_per_second"]["clock"] = round(onboard.clock / contract["interval"], 1)
        if not onboard.met:
            failed.append(
                f"the best placement reaches {onboard.fmax / 1e6:.4g} MHz, and misses the clock "
                f"of {onboard.clock / 1e6:.4g} MHz by {missed(onboard.clock, onboard.fmax)}; "
                "leave --clock out, or give a slower one"
            )
        elif onboard.spare < SPARE - 1e-6:
            common.say(f"note: the clock leaves only {100 * onboard.spare:.3g} % to spare")
    report["netlist"] = (
        None
        if netlist is None
        else {
            "samples": netlist.samples,
            "mismatches": netlist.mismatches,
            "passed": netlist.passed,
            "seconds": round(netlist.seconds, 1),
        }
    )
    report["energy"] = synth_energy.energy(args, mapped, placed, onboard, netlist)
    report["failed"] = failed
    steps = [mapped.done] if placed is None else list(placed.steps)
    steps += [] if onboard is None else [onboard.bitstream]
    report["seconds"]["steps"] = round(sum(step.seconds for step in steps), 1)
    report["seconds"]["all"] = round(seconds, 1)
    return report


def write(
    folder: Path, core: "Core", report: dict[str, Any], onboard: "OnBoard | None", model: str
) -> None:
    """Core, contract, report, and the bitstream."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LutgenError(
            f"{folder}: can't be made: {error.strerror}; name another with -o"
        ) from error
    contract = core.contract if onboard is None else onboard.contract
    write_text(
        folder / "core.v", core.verilog if onboard is None else f"{onboard.link}\n{core.verilog}"
    )
    write_text(folder / "core.json", json.dumps(contract, indent=1) + "\n")
    if onboard is not None:
        name = f"{core.contract['name']}{Path(onboard.suffix).suffix}"
        write_bytes(folder / name, onboard.bits)
        report["bitstream"] = str(folder / name)
    # Nobody is to be led to run what failed.
    if onboard is not None and not report["failed"]:
        report["program"] = onboard.board.program(report["bitstream"])
        run = ["lutgen", "run", model, "--port", "TTY", "--contract", str(folder / "core.json")]
        report["run"] = shlex.join([*run, "--data", "D.npz"])
    write_text(folder / "report.json", json.dumps(report, indent=1) + "\n")


def keep(report: dict[str, Any]) -> None:
    """Adds estimate and truth to those of earlier runs."""
    if report["estimate"] is None:
        return
    from lutgen.flows.cache import root

    keys = ("name", "model", "device", "interval", "estimate", "tools")
    place = root() / "fpga" / "estimates.jsonl"
    line = json.dumps({key: report[key] for key in keys}) + "\n"
    try:
        place.parent.mkdir(exist_ok=True)
        with place.open("a", encoding="utf-8") as file:
            file.write(line)
    except OSError as error:  # the core is synthesised all the same
        common.say(f"lutgen: warning: {place}: can't be added to: {reason(error)}")


def show(report: dict[str, Any], folder: Path) -> None:
    """The report for people."""
    grade = " ".join(text for text in (report["package"], report["speed_grade"]) if text)
    print(
        f"part      {report['part']}{f' ({grade})' if grade else ''}; {', '.join(report['tools'])}"
    )
    rows: list[list[object]] = []
    names = {"luts": "LUTs", "ffs": "flip-flops", "blocks": "block RAMs", "single": "large RAMs"}
    for key, entry in (report["estimate"] or {}).items():
        error = entry.get("error")
        whole = report.get("whole", {}).get(key)
        rows.append(
            [
                names[key],
                entry["estimate"],
                entry["synthesis"],
                "-" if error is None else f"{100 * error:+.0f} %",
                whole,
                report["available"].get(key),
            ]
        )
    around = "with link" if "board" in report else "with pins"
    common.print_table(["resource", "estimate", "core", "error", around, "there are"], rows)
    # Reports of earlier versions don't say.
    if carries := report.get("core", {}).get("carry_luts"):
        print(f"carries   {carries:,} of the core's LUTs only bring a signal to a carry chain")
    if "placements" in report:
        used = ", ".join(
            f"{name} {pair[0]:,} of {pair[1]:,}"
            for name, pair in report["placements"][0]["used"].items()
        )
        print(f"placed    {used}")
        fmax, path = report["fmax_mhz"], report["placements"][0]["critical_path"]
        print(
            f"Fmax      median {fmax['median']:.1f} MHz, best {fmax['best']:.1f} MHz of "
            f"{counted(len(report['placements']), 'seed')}"
        )
        print(
            f"slowest   from {path['from']} to {path['to']}: "
            f"{counted(path['logic_levels'], 'level')}"
        )
        rate = report["samples_per_second"]
        print(
            f"speed     {rate['median']:,.0f} samples/s at the median, {rate['best']:,.0f} at the "
            f"best: {counted(report['interval'], 'cycle', ',')} each"
        )
    if "board" in report:
        hz, best = report["clock_hz"], report["fmax_mhz"]["best"] * 1e6
        if hz > best:
            print(f"clock     {hz / 1e6:.4g} MHz, missed by {missed(hz, best)}")
        else:
            print(
                f"clock     {hz / 1e6:.4g} MHz, {100 * (1 - hz / best):.3g} % to spare: "
                f"{report['samples_per_second']['clock']:,.0f} samples/s"
            )
    if report["netlist"] is not None and report["netlist"]["passed"]:
        print(f"netlist   {counted(report['netlist']['samples'], 'result')}, all equal to golden")
    if report.get("energy"):
        much, shares = synth_energy.describe(report["energy"])
        print(f"energy    {much}\n          {shares}")
    for text in report["failed"]:
        print(f"FAILED    {text}")
    times = report["seconds"]
    # More than all of it: some came from the cache. Reports of earlier versions have no steps.
    before = times.get("steps", 0)
    earlier = "" if before <= times["all"] else f"; its steps took {before:.0f} s when they ran"
    print(f"wrote     {folder}/ in {times['all']:.0f} s{earlier}")
    if "bitstream" in report:
        if report["failed"]:
            print(f"bitstream {report['bitstream']}, not to be used: see FAILED")
            return
        print(f"bitstream {report['bitstream']}")
        # Reports of earlier versions have neither.
        if "program" in report:
            print(f"program   {report['program'] or 'with the tool of the board'}")
        if "run" in report:
            print(f"then      {report['run']}")


def missed(clock: float, fmax: float) -> str:
    """By how much of a clock a placement misses it."""
    return f"{100 * (1 - fmax / clock):.2g} %"
