"""The options that let lutgen choose the folds, and the table that explains the choice."""

import argparse
import re
import time
from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, Any

from lutgen.cli import common
from lutgen.errors import LutgenError

if TYPE_CHECKING:
    from lutgen.cost.area import Area
    from lutgen.cost.solve import Solution
    from lutgen.model import Model

__all__ = ["add_solver", "explain", "print_solution", "solution_of"]

PATIENCE = 3.0  # seconds
UNITS = {"": 1.0, "hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9}


def frequency(text: str) -> float:
    """An argparse type: hertz, or with a unit."""
    number = text.lower().rstrip("ghkmz")
    try:
        value = float(number) * UNITS[text.lower()[len(number) :]]
    except (ValueError, KeyError):
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a frequency such as 25MHz, not {text!r}")
    if value < 1000 and number == text:
        raise argparse.ArgumentTypeError(f"{text} was read as Hz; write {text}MHz")
    return value


def number(low: float, high: float, what: str) -> Callable[[str], float]:
    """An argparse type: a number above ``low`` and below ``high``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = low
        if not low < value < high:
            raise argparse.ArgumentTypeError(f"must be {what}, not {text!r}")
        return value

    return parse


def add_solver(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    group = parser.add_argument_group("folds by a solver: what is folded by hand stays")
    group.add_argument(
        "--interval",
        type=common.integer(1),
        metavar="N",
        help="at most N cycles between results, at the least cost",
    )
    group.add_argument(
        "--throughput",
        type=number(0, float("inf"), "a positive number"),
        metavar="X",
        help="at least X samples a second at the clock of --clock",
    )
    group.add_argument("--clock", type=frequency, metavar="F", help="such as 25MHz")
    group.add_argument(
        "--device",
        metavar="NAME",
        help="up5k, hx8k, 25k, 85k, xc7a35t ...: the fastest that fits, by estimate",
    )
    group.add_argument(
        "--margin",
        type=number(-1e-9, 1, "a fraction below 1"),
        metavar="P",
        help="fraction of the device to leave free (default 0.2)",
    )
    group.add_argument(
        "--target",
        metavar="NAME",
        help="ice40, ecp5, xilinx, or a device: memories say what they are to be made of",
    )


def target_name(args: argparse.Namespace) -> str | None:
    """The family or device that memories are made for."""
    from lutgen.spec.target import DEVICES, target_of

    if args.target is not None:
        try:
            target_of(args.target)
        except ValueError as error:
            text = str(error).removeprefix("Target ")
            raise LutgenError(f"argument --target: {text}") from error
    if args.device is not None and args.device not in DEVICES:
        raise LutgenError(
            f"argument --device: must be one of {', '.join(DEVICES)}, not {args.device!r}"
        )
    if args.target is not None and args.device is not None:
        raise LutgenError("argument --target: the device says it already; leave one of them out")
    if args.margin is not None and args.device is None:
        raise LutgenError("argument --margin: goes with --device")
    name = args.device if args.target is None else args.target
    return name if name is None else str(name)


def interval_of(args: argparse.Namespace) -> int | None:
    """Cycles between results that were asked for."""
    if args.throughput is None and args.clock is None:
        return None if args.interval is None else int(args.interval)
    if args.throughput is None and args.command == "synth":
        return None if args.interval is None else int(args.interval)
    if args.throughput is None or args.clock is None:
        raise LutgenError("argument --throughput: goes with --clock, and --clock with it")
    if args.interval is not None:
        raise LutgenError("argument --interval: --throughput says it already; leave one out")
    cycles = int(args.clock / args.throughput)
    if cycles < 1:
        raise LutgenError(
            f"argument --throughput: {args.throughput:g} samples a second are more than one a "
            f"cycle at {args.clock / 1e6:g} MHz; ask for at most {args.clock:g}"
        )
    return cycles


def solution_of(
    args: argparse.Namespace,
    model: "Model",
    folds: dict[str, Any],
    layers: dict[str, Any],
    reserve: "Area | None" = None,
    offer: Collection[str] | None = None,
) -> "Solution | None":
    """The solver's choice; None where it was not asked. ``reserve`` is what stands beside the core
    on the device, ``offer`` the devices that may be proposed.
    """
    interval, target = interval_of(args), target_name(args)
    if interval is None and args.device is None:
        return None
    from lutgen.cost.solve import solve
    from lutgen.model.fold import FOLD_FIELDS, Fold
    from lutgen.spec.target import target_of

    wish = Fold(**{key: value for key, value in folds.items() if key in FOLD_FIELDS})
    found = partial(
        solve,
        model,
        interval=interval,
        device=args.device,
        target=None if target is None else target_of(target).name,
        margin=0.2 if args.margin is None else max(0.0, args.margin),
        name=folds.get("name"),
        input_lanes=folds.get("input_lanes"),
        fold=wish,
        layers={key: Fold(**value) for key, value in layers.items()},
        loadable=args.loadable,
        reserve=reserve,
        offer=offer,
        say=Progress(),
    )
    try:
        return found()
    except LutgenError as error:
        if args.throughput is None:
            raise
        raise LutgenError(in_throughput(str(error), args.clock)) from error


def in_throughput(text: str, clock: float) -> str:
    """A refusal with throughputs in the place of the intervals that it proposes."""

    def slower(found: re.Match[str]) -> str:
        # Rounded down, so that the cycles of the interval are there.
        return f"--throughput {int(clock / int(found.group(1)) * 1000) / 1000:.10g}"

    return re.sub(r"--interval (\d+)", slower, text)


class Progress:
    """Says what takes long, on standard error: nothing at first, then a line every few seconds."""

    def __init__(self) -> None:
        self.next = time.monotonic() + PATIENCE

    def __call__(self, text: str) -> None:
        if time.monotonic() >= self.next:
            common.say(text)
            self.next = time.monotonic() + PATIENCE


def explain(solution: "Solution") -> dict[str, Any]:
    """The choice as JSON data."""
    from dataclasses import asdict

    from lutgen.cost.area import area_table

    spec, device = solution.spec, solution.device
    folds = {
        name: {key: value for key, value in asdict(fold).items() if value is not None}
        for name, fold in solution.folds.items()
    }
    used = solution.area.total
    return {
        "interval": spec.timing.interval,
        "bottleneck": spec.bottleneck,
        "why": solution.why,
        "target": solution.target.name,
        "device": None
        if device is None
        else {
            "name": device.name,
            "part": device.part,
            "luts": device.luts,
            "ffs": device.ffs,
            "blocks": device.blocks,
        },
        "cost": round(solution.cost),
        "block_luts": solution.target.block_luts,
        "single_luts": solution.target.single_luts,
        "input_lanes": spec.input.lanes,
        "folds": folds,
        "estimate": {"total": used.data(), "stages": area_table(solution.area)},
    }


def print_solution(data: dict[str, Any]) -> None:
    """A table of what every stage takes, and why it is not faster."""
    rows: list[list[object]] = []
    for name, area in data["estimate"]["stages"].items():
        rows.append([name, *(area[key] for key in ("luts", "ffs", "blocks", "bits"))])
    total = data["estimate"]["total"]
    rows.append(["total", *(total[key] for key in ("luts", "ffs", "blocks", "bits"))])
    device = data["device"]
    if device is not None:
        rows.append([device["part"], device["luts"], device["ffs"], device["blocks"], None])
    print()
    common.print_table(["estimate", "LUTs", "flip-flops", "blocks", "memory bits"], rows)
    made = f"for {data['target']}" if device is None else f"for {device['name']}"
    print(f"folds     chosen {made}; the bottleneck is {data['bottleneck']}")
    print(f"          not faster: {data['why']}")
    worth = f"a block as {data['block_luts']:,}"
    if total["single"]:
        worth += f" and each of {total['single']} large RAMs as {data['single_luts']:,}"
    print(f"cost      {data['cost']:,} LUTs, with {worth}, before queues")
