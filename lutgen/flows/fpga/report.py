"""What synthesis, placement and routing say, read as data."""

import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lutgen.cost.area import Area
from lutgen.flows.fpga.parts import Part
from lutgen.flows.fpga.steps import Done
from lutgen.flows.mapping import Mapped

__all__ = ["Route", "compare", "fmax", "misfits", "parse_route", "poor"]

# What synthesis calls a resource, and what nextpnr does.
RESOURCES = {
    "ICESTORM_LC": "logic cells",
    "ICESTORM_RAM": "block RAMs",
    "ICESTORM_SPRAM": "single-port RAMs",
    "ICESTORM_DSP": "multiplier blocks",
    "TRELLIS_COMB": "LUTs",
    "TRELLIS_FF": "flip-flops",
    "TRELLIS_RAMW": "distributed RAM writers",
    "DP16KD": "block RAMs",
    "MULT18X18D": "multiplier blocks",
}

# A netlist that holds less of its estimate than this has lost something: a table that is constant,
# a stage that nothing reads.
LEAST = 0.4
SMALL = 300  # lookup tables below which ratios say little


@dataclass(frozen=True)
class Route:
    """A placed and routed design.

    Attributes
    ----------
    seed : int
    mhz : float
        The greatest frequency of the slowest clock.
    used : dict of str to (int, int)
        What is used and there, by the tool's names.
    path : tuple of (str, str, float)
        The critical path: what, where (a cell or a net), ns.
    seconds : float
    cached : bool
    """

    seed: int
    mhz: float
    used: dict[str, tuple[int, int]]
    path: tuple[tuple[str, str, float], ...]
    seconds: float
    cached: bool

    def data(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "seed": self.seed,
            "fmax_mhz": round(self.mhz, 2),
            "used": {name: list(pair) for name, pair in self.used.items() if pair[0]},
            "critical_path": {
                "from": ends(self.path)[0],
                "to": ends(self.path)[1],
                "ns": round(sum(ns for _, _, ns in self.path), 3),
                "logic_levels": sum(kind == "logic" for kind, _, _ in self.path),
            },
            "seconds": self.seconds,
        }


def parse_route(done: Done, seed: int) -> Route:
    """Reads nextpnr's report."""
    report: dict[str, Any] = json.loads(done.text("report.json"))
    clocks = [clock["achieved"] for clock in report["fmax"].values()]
    inner = [
        path
        for path in report["critical_paths"]
        if path["from"] == path["to"] and not path["from"].startswith("<")
    ]
    longest = max(inner, key=lambda path: sum(part["delay"] for part in path["path"]), default=None)
    steps = [] if longest is None else longest["path"]
    return Route(
        seed=seed,
        mhz=min(clocks, default=float("inf")),
        used={
            name: (entry["used"], entry["available"])
            for name, entry in report["utilization"].items()
        },
        path=tuple(
            (part["type"], part.get("net") or part["to"]["cell"], part["delay"]) for part in steps
        ),
        seconds=done.seconds,
        cached=done.cached,
    )


def ends(path: Sequence[tuple[str, str, float]]) -> tuple[str, str]:
    """The registers at both ends of a path, by the names of their signals as far as known."""
    nets = [where for kind, where, _ in path if kind == "routing"]
    first = nets[0] if nets else ""
    last = path[-1][1] if path else ""
    return _plain(first), _plain(last)


def _plain(name: str) -> str:
    """Without what synthesis appended to the name of a signal."""
    return re.split(r"_SB_|_TRELLIS_|_LUT4|_CCU2C|\$|\[", name)[0]


def fmax(routes: Sequence[Route]) -> dict[str, float]:
    """Median and best of several placements, in MHz."""
    values = [route.mhz for route in routes]
    return {"median": round(statistics.median(values), 2), "best": round(max(values), 2)}


def compare(estimate: Area, mapped: Mapped) -> dict[str, dict[str, float]]:
    """Estimate, synthesis, and the estimate's error over it, by resource."""
    found = {}
    for name in ("luts", "ffs", "blocks", "single"):
        guess, real = getattr(estimate, name), getattr(mapped, name)
        if guess or real:
            entry: dict[str, float] = {"estimate": round(guess), "synthesis": real}
            if real:
                entry["error"] = round(guess / real - 1, 3)
            found[name] = entry
    return found


def poor(estimate: Area, mapped: Mapped) -> list[str]:
    """What a netlist has far less of than was estimated."""
    return [
        f"{real:,} {what} where {guess:,.0f} were estimated"
        for what, guess, real, small in (
            ("LUTs", estimate.luts, mapped.luts, SMALL),
            ("flip-flops", estimate.ffs, mapped.ffs, SMALL),
            ("block RAMs", estimate.blocks, mapped.blocks, 3),
            ("single-port RAMs", estimate.single, mapped.single, 0),
        )
        if guess > small and real < LEAST * guess
    ]


def misfits(mapped: Mapped, part: Part) -> list[str]:
    """What a design needs more of than there is."""
    device = part.device
    luts = "LUTs"
    if mapped.carry_luts:
        luts += f" ({mapped.carry_luts:,} of them only bring a signal to a carry chain)"
    return [
        f"{need:,} {what} of {most:,}, {need - most:,} too many"
        for what, need, most in (
            (luts, mapped.luts, device.luts),
            ("flip-flops", mapped.ffs, device.ffs),
            ("block RAMs", mapped.blocks, device.blocks),
            ("single-port RAMs", mapped.single, device.target.single_count),
        )
        if need > most
    ]


def unplaced(said: Sequence[str]) -> str | None:
    """What nextpnr found no room for, if that is why it ended; None for any other reason."""
    for line in said:
        if found := re.search(r"no (?:more )?Bels remaining of type (\w+)", line, re.IGNORECASE):
            return RESOURCES.get(found.group(1), found.group(1))
        if found := re.search(r"Failed to expand region .* of (\d+) (\w+)s?$", line):
            kind = found.group(2).removesuffix("s")
            return f"{int(found.group(1)):,} {RESOURCES.get(kind, kind)}"
        if "Unable to find a placement location" in line or "Unable to place" in line:
            return line.removeprefix("ERROR: ")
    return None
