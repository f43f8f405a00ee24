"""A core in an FPGA: synthesis, several placements, and what they say of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lutgen.cost.area import Area
from lutgen.errors import LutgenError
from lutgen.flows.fpga import plan, report
from lutgen.flows.fpga.parts import Part
from lutgen.flows.fpga.report import Route
from lutgen.flows.fpga.steps import Done, ToolError, play
from lutgen.flows.mapping import BY_NETLIST, Mapped, count_cells
from lutgen.gateware.build import Core

__all__ = ["Placed", "Synthesised", "place", "synthesise"]

# Lookup tables, estimated, from which on a core is mapped stage by stage.
LARGE = 30_000

Say = Callable[[str], None]


@dataclass(frozen=True)
class Synthesised:
    """A core in the cells of a part.

    Attributes
    ----------
    core : Core
    part : Part
    done : Done
        The step, with the netlist.
    mapped : Mapped
        What it takes, the core alone.
    estimate : Area or None
        What was thought before.
    """

    core: Core
    part: Part
    done: Done
    mapped: Mapped
    estimate: Area | None

    @property
    def netlist(self) -> str:
        """The core as Verilog of the family's cells, with the same ports."""
        return self.done.text("mapped.v")

    def data(self) -> dict[str, Any]:
        """JSON data."""
        device = self.part.device
        return {
            "part": device.part,
            "device": device.name,
            "package": self.part.package,
            "speed_grade": self.part.speed,
            "core": self.mapped.data(),
            "available": {"luts": device.luts, "ffs": device.ffs, "blocks": device.blocks},
            "estimate": None
            if self.estimate is None
            else report.compare(self.estimate, self.mapped),
            "cells": self.mapped.cells,
            "tools": [self.done.tool],
            "seconds": {"synthesis": self.done.seconds},
        }


@dataclass(frozen=True)
class Placed:
    """A design that was placed and routed with several seeds.

    Attributes
    ----------
    mapped : Mapped
        What it takes with what stands around the core.
    routes : tuple of Route
    best : Done
        The placement with the greatest frequency.
    steps : tuple of Done
        All that were played.
    """

    mapped: Mapped
    routes: tuple[Route, ...]
    best: Done
    steps: tuple[Done, ...] = field(repr=False)

    @property
    def fmax(self) -> dict[str, float]:
        """Median and best, in MHz."""
        return report.fmax(self.routes)

    def data(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "whole": self.mapped.data(),
            "fmax_mhz": self.fmax,
            "placements": [route.data() for route in self.routes],
            "tools": sorted({step.tool for step in self.steps}),
        }


def synthesise(core: Core, part: Part, estimate: Area | None, say: Say) -> Synthesised:
    """The core in the cells of a part.

    Raises
    ------
    LutgenError
        If a tool is missing or fails.
    """
    large = estimate is not None and estimate.luts > LARGE
    stages = [stage["name"] for stage in core.contract["stages"]] if large else []
    step = plan.map_core(core.verilog, core.contract["name"], part, stages)
    done = play(step, say, f"synthesis for {part.device.part}", ", minutes for a large core")
    mapped = _count(done, part)
    return Synthesised(core, part, done, mapped, estimate)


def _count(done: Done, part: Part) -> Mapped:
    """What a step of synthesis left."""
    netlist = done.text("net.json") if part.family in BY_NETLIST else None
    return count_cells(done.text("stat.json"), part.family, netlist)


def check_fit(found: Mapped, part: Part, around: str) -> None:
    """Complains of what there is too little of on the part.

    Raises
    ------
    LutgenError
        Naming the resources, by how much, and what would do.
    """
    if missing := report.misfits(found, part):
        raise LutgenError(_too_much(part, "; ".join(missing), around))


def _too_much(part: Part, what: str, around: str) -> str:
    return (
        f"device {part.device.name}: {around} does not fit: {what}; fold it more (--interval, or a "
        "greater --margin, which leaves more to what estimates don't know) or take a larger device"
    )


def place(
    core: Synthesised,
    top: str,
    source: Mapping[str, str | Path],
    *,
    clock: float,
    seeds: Sequence[int],
    constraints: str | None,
    say: Say,
) -> Placed:
    """Places and routes a top around a core, with every seed.

    Parameters
    ----------
    core : Synthesised
    top : str
        The outer module.
    source : mapping of str to str or Path
        Its text.
    clock : float
        Hz to aim at.
    seeds : sequence of int
    constraints : str or None
        Where the pins are; None for any.
    say : callable
        Takes lines of progress.

    Raises
    ------
    LutgenError
        If it does not fit: what is too much, and what would do; or if a tool fails.
    """
    part = core.part
    outer = play(plan.map_top(core.done, core.core.contract, top, source, part), say)
    mapped = _count(outer, part)
    check_fit(mapped, part, "the design")
    routes: list[Route] = []
    steps: list[Done] = []
    for number, seed in enumerate(seeds, 1):
        left = "" if not steps else f", about {steps[0].seconds:.0f} s each"
        what = f"place and route {number} of {len(seeds)}"
        try:
            done = play(plan.place(outer, part, clock, seed, constraints), say, what, left)
        except ToolError as error:
            if lack := report.unplaced(error.said):
                raise LutgenError(_too_much(part, f"no room for {lack}", "the design")) from error
            raise
        steps.append(done)
        routes.append(report.parse_route(done, seed))
    best = max(zip(routes, steps, strict=True), key=lambda pair: pair[0].mhz)[1]
    return Placed(mapped, tuple(routes), best, (core.done, outer, *steps))


def place_pins(core: Synthesised, *, clock: float | None, seeds: Sequence[int], say: Say) -> Placed:
    """The core out of context: registers at its ports, which are not counted with it."""
    top, text = plan.pins(core.core.contract)
    return place(
        core,
        top,
        {"top.v": text},
        clock=clock or core.part.clock,
        seeds=seeds,
        constraints=None,
        say=say,
    )
