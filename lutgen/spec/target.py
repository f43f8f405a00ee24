"""What FPGAs offer, as data, and the form that a memory takes on them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from math import ceil
from typing import Any

from lutgen.numeric import ceil_div, clog2
from lutgen.spec.memory import MemorySpec

__all__ = [
    "DEVICES",
    "FORMS",
    "TARGETS",
    "Device",
    "Form",
    "Target",
    "choose_forms",
    "form_of",
    "memory_table",
    "named_form",
    "spend_forms",
    "squeeze_forms",
    "target_of",
]

# What synthesis is told, by form; yosys reads `ram_style` and `rom_style`.
FORMS = {
    "logic": "logic",
    "distributed": "distributed",
    "block": "block",
    "single": "huge",
}

Shape = tuple[int, int]  # rows, bits


@dataclass(frozen=True)
class Target:
    """A family of FPGAs.

    Parameters
    ----------
    name : str
    lut : int
        Inputs of a lookup table.
    wide : int
        Inputs of the widest function that takes no more tables than its halves do: there are
        dedicated multiplexers.
    block_bits : int
        Bits of a block RAM.
    blocks : tuple of (rows, bits)
        Its shapes, with one port to read and one to write.
    block_luts : int
        Lookup tables that a block is worth: about as many as there are for each block.
    distributed : tuple of (rows, bits, tables)
        RAMs made of lookup tables; empty where there are none.
    single : (rows, bits) or None
        A large RAM that is read or written in a cycle, without contents at power-up.
    single_luts : int
        What that is worth.
    single_count : int
        How many a device has.
    bare : float
        The part of all flip-flops that takes a logic cell of its own, where a cell is a lookup
        table with a flip-flop behind it: shift registers, copies, outputs of memories. 0 where
        flip-flops have inputs of their own. Measured after packing: 0.47 of an iCE40 core's.
    """

    name: str
    lut: int
    wide: int
    block_bits: int
    blocks: tuple[Shape, ...]
    block_luts: int
    distributed: tuple[tuple[int, int, int], ...] = ()
    single: Shape | None = None
    single_luts: int = 0
    single_count: int = 0
    bare: float = 0.0

    def rom_luts(self, depth: int, width: int) -> int:
        """Lookup tables of a ROM without structure.

        A column of few rows is one of few functions, and columns that are the same share a table.
        Up to what dedicated multiplexers join, a column takes a table for every ``2 ** lut`` rows
        of the whole address; beyond, what synthesis was measured to take.
        """
        address = clog2(depth)
        if depth <= 1 << self.lut:
            functions = float(1 << min(depth, 32))
            # Constants and the address itself take nothing.
            useful = functions - 2 - address
            return ceil(useful * (1 - (1 - 1 / functions) ** width))
        if depth <= 1 << self.wide:
            return width << (address - self.lut)
        return ceil(width * self._deep_rom(depth))

    def _deep_rom(self, depth: int) -> float:
        """Lookup tables of a bit of a deep ROM: straight lines between measured depths."""
        points = [(1 << self.wide, float(1 << (self.wide - self.lut))), *rom_points(self.name)]
        after = next((k for k, (rows, _) in enumerate(points) if rows >= depth), len(points) - 1)
        (low, least), (high, most) = points[after - 1], points[after]
        return least + (most - least) * (depth - low) / (high - low)

    def mux_luts(self, inputs: int) -> int:
        """Lookup tables of a multiplexer of one bit."""
        if inputs < 2:
            return 0
        # A table of 4 inputs chooses one of 2, one of 6 inputs one of 4.
        spared = {4: 1, 6: 3}[self.lut]
        return ceil_div(inputs - 1, spared)


@cache
def rom_points(family: str) -> tuple[tuple[int, float], ...]:
    """Depths of ROMs made of logic, and the lookup tables of a bit that synthesis took, measured by
    benchmarks/estimates.py.

    Raises
    ------
    ValueError
        If the family was not measured.
    """
    text = files("lutgen.spec").joinpath("roms.json").read_text(encoding="utf-8")
    known = json.loads(text)
    if family not in known:
        raise ValueError(f"Family must be one of {', '.join(known)}, not {family!r}")
    return tuple((rows, luts) for rows, luts in known[family])


@dataclass(frozen=True)
class Device:
    """An FPGA.

    Parameters
    ----------
    name : str
    part : str
        What the vendor calls it.
    target : Target
    luts : int
        Lookup tables.
    ffs : int
        Flip-flops.
    blocks : int
        Block RAMs.
    """

    name: str
    part: str
    target: Target
    luts: int
    ffs: int
    blocks: int

    @property
    def block_bits(self) -> int:
        """Bits of all block RAMs."""
        return self.blocks * self.target.block_bits


ICE40 = Target(
    name="ice40",
    lut=4,
    wide=4,
    block_bits=4096,
    blocks=((256, 16), (512, 8), (1024, 4), (2048, 2)),
    block_luts=200,
    bare=0.45,
)
ECP5 = Target(
    name="ecp5",
    lut=4,
    wide=7,
    block_bits=18432,
    blocks=((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
    block_luts=430,
    distributed=((16, 4, 6),),
)
XILINX = Target(
    name="xilinx",
    lut=6,
    wide=8,
    block_bits=18432,
    blocks=((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
    block_luts=208,
    distributed=((32, 6, 4), (64, 3, 4)),
)
GOWIN = Target(
    name="gowin",
    lut=4,
    wide=8,
    block_bits=18432,
    blocks=((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
    block_luts=400,
    distributed=((16, 4, 6),),
)
UP5K = replace(ICE40, single=(16384, 16), single_luts=1320, single_count=4)

TARGETS = {target.name: target for target in (ICE40, ECP5, XILINX, GOWIN)}
DEVICES = {
    device.name: device
    for device in (
        Device("hx1k", "iCE40HX1K", ICE40, 1280, 1280, 16),
        Device("hx4k", "iCE40HX4K", ICE40, 3520, 3520, 20),
        Device("lp8k", "iCE40LP8K", ICE40, 7680, 7680, 32),
        Device("up5k", "iCE40UP5K", UP5K, 5280, 5280, 30),
        Device("hx8k", "iCE40HX8K", ICE40, 7680, 7680, 32),
        Device("12k", "LFE5U-12F", ECP5, 24288, 24288, 56),
        Device("25k", "LFE5U-25F", ECP5, 24288, 24288, 56),
        Device("45k", "LFE5U-45F", ECP5, 43848, 43848, 108),
        Device("85k", "LFE5U-85F", ECP5, 83640, 83640, 208),
        Device("xc7a35t", "XC7A35T", XILINX, 20800, 41600, 100),
        Device("gw1n9", "GW1N-9", GOWIN, 8640, 6480, 26),
        Device("gw2a18", "GW2A-18", GOWIN, 20736, 15552, 46),
    )
}


@dataclass(frozen=True)
class Form:
    """What a memory is made of, each of ``count``.

    Attributes
    ----------
    name : str
        ``logic``, ``distributed``, ``block`` or ``single``.
    luts, ffs, cells : int
        Lookup tables, flip-flops, and blocks or distributed cells or single-port RAMs.
    capacity : int
        Bits of these cells.
    cost : float
        All in lookup tables.
    """

    name: str
    luts: int
    ffs: int
    cells: int
    capacity: int
    cost: float = field(compare=False)

    @property
    def blocks(self) -> int:
        """Block RAMs."""
        return self.cells if self.name == "block" else 0


def _forms(memory: MemorySpec, target: Target) -> Iterable[Form]:
    depth, width = memory.depth, memory.width
    if memory.kind == "rom":
        luts = target.rom_luts(depth, width)
        yield Form("logic", luts, width, 0, 0, luts)
    else:
        # A flip-flop and what holds its value stand beside each other; then the reading.
        luts = depth * width + ceil_div(2 * (depth - 1) * width, 3)
        if depth <= 16:
            yield Form("logic", luts, (depth + 1) * width, 0, 0, luts)
    for rows, bits, tables in target.distributed if memory.kind != "rom" else ():
        high = ceil_div(depth, rows)
        cells = high * ceil_div(width, bits)
        luts = width * target.mux_luts(high) + (high if high > 1 else 0)
        cost = cells * tables + luts
        yield Form("distributed", cost, width, cells, cells * rows * bits, cost)
    for rows, bits in target.blocks:
        high = ceil_div(depth, rows)
        cells = high * ceil_div(width, bits)
        luts = width * target.mux_luts(high) + 2 * clog2(high) if high > 1 else 0
        yield Form(
            "block",
            luts,
            clog2(high),
            cells,
            cells * target.block_bits,
            cells * target.block_luts + luts,
        )
    if target.single is not None and memory.kind == "ram":
        rows, bits = target.single
        high = ceil_div(depth, rows)
        cells = high * ceil_div(width, bits)
        luts = width * target.mux_luts(high)
        yield Form("single", luts, 0, cells, cells * rows * bits, cells * target.single_luts + luts)


def form_of(memory: MemorySpec, target: Target, *, single: bool = False) -> Form:
    """The cheapest form of one memory: blocks wherever they are full enough to be worth it.

    Parameters
    ----------
    memory : MemorySpec
    target : Target
    single : bool
        Whether single-port RAMs are left.
    """
    forms = [f for f in _forms(memory, target) if single or f.name != "single"]
    return min(forms, key=lambda f: (f.cost, f.cells, f.capacity))


def named_form(memory: MemorySpec, target: Target, name: str) -> Form:
    """The cheapest form of that name.

    Raises
    ------
    ValueError
        If the memory can't be made of it.
    """
    forms = [form for form in _forms(memory, target) if form.name == name]
    if not forms:
        raise ValueError(f"Form of a {memory.kind} on {target.name} must not be {name!r}")
    return min(forms, key=lambda f: (f.cost, f.cells, f.capacity))


def choose_forms(
    memories: Iterable[MemorySpec], target: Target
) -> dict[tuple[str, int, int], Form]:
    """The form of each shape of memory, by `MemorySpec.key`; the few single-port RAMs go where they
    save most.
    """
    counts: dict[tuple[str, int, int], int] = {}
    specs: dict[tuple[str, int, int], MemorySpec] = {}
    for memory in memories:
        counts[memory.key] = counts.get(memory.key, 0) + memory.count
        specs[memory.key] = memory
    forms = {key: form_of(memory, target) for key, memory in specs.items()}
    if target.single_count:
        left = target.single_count
        other = {key: form_of(memory, target, single=True) for key, memory in specs.items()}
        gains = {key: counts[key] * (forms[key].cost - other[key].cost) for key in specs}
        for key in sorted(gains, key=lambda key: -gains[key]):
            need = counts[key] * other[key].cells
            if other[key].name == "single" and need <= left and gains[key] > 0:
                forms[key] = other[key]
                left -= need
    return forms


def squeeze_forms(
    memories: Iterable[MemorySpec],
    target: Target,
    forms: Mapping[tuple[str, int, int], Form],
    blocks: int,
) -> dict[tuple[str, int, int], Form]:
    """Other forms, where ``forms`` take more than so many block RAMs: those that spare a block for
    the fewest lookup tables. What is left may still be too much.
    """
    counts: dict[tuple[str, int, int], int] = {}
    others: dict[tuple[str, int, int], list[Form]] = {}
    for memory in memories:
        counts[memory.key] = counts.get(memory.key, 0) + memory.count
        others[memory.key] = [f for f in _forms(memory, target) if f.name != "single"]
    found = dict(forms)
    over = sum(counts[key] * found[key].blocks for key in counts) - blocks
    moved: list[tuple[int, tuple[str, int, int], Form]] = []
    while over > 0:
        steps = []
        for key, some in others.items():
            now, count = found[key], counts[key]
            for form in some:
                if form.blocks < now.blocks:
                    more = count * (form.luts - now.luts)
                    spared = count * (now.blocks - form.blocks)
                    # Only blocks that are too many count: sparing more is no better.
                    steps.append((more / min(spared, over), more, spared, key, form))
        if not steps:
            break
        _, luts, spared, key, form = min(steps, key=lambda step: step[:2])
        moved.append((luts, key, found[key]))
        found[key] = form
        over -= spared
    for _, key, before in sorted(moved, key=lambda move: -move[0]):  # what later ones made needless
        spared = counts[key] * (before.blocks - found[key].blocks)
        if 0 < spared <= -over:
            found[key] = before
            over += spared
    return found


def spend_forms(
    memories: Iterable[MemorySpec],
    target: Target,
    forms: Mapping[tuple[str, int, int], Form],
    blocks: int,
) -> dict[tuple[str, int, int], Form]:
    """Other forms, where ``forms`` take fewer than so many block RAMs: memories made of logic move
    to those that are left, first the ones that save most a block. None moves for less than a block
    is worth to ``target``.
    """
    counts: dict[tuple[str, int, int], int] = {}
    specs: dict[tuple[str, int, int], MemorySpec] = {}
    for memory in memories:
        counts[memory.key] = counts.get(memory.key, 0) + memory.count
        specs[memory.key] = memory
    found = dict(forms)
    left = blocks - sum(counts[key] * found[key].blocks for key in counts)

    def logic(form: Form) -> float:
        return form.luts + target.bare * form.ffs

    moves: list[tuple[float, tuple[str, int, int], Form]] = []
    for key, memory in specs.items():
        if found[key].name == "logic":
            others = [form for form in _forms(memory, target) if form.name == "block"]
            form = min(others, key=lambda form: (form.cells, logic(form)))
            moves.append(((logic(found[key]) - logic(form)) / form.cells, key, form))
    for gain, key, form in sorted(moves, key=lambda move: -move[0]):
        need = counts[key] * form.blocks
        if gain > target.block_luts and need <= left:
            found[key] = form
            left -= need
    return found


def target_of(name: str) -> Target:
    """A family by its name, or that of a device.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name in DEVICES:
        return DEVICES[name].target
    if name not in TARGETS:
        known = ", ".join((*TARGETS, *DEVICES))
        raise ValueError(f"Target must be one of {known}, not {name!r}")
    return TARGETS[name]


def memory_table(
    memories: Iterable[tuple[str, MemorySpec]],
    forms: Mapping[tuple[str, int, int], Form] | None,
) -> list[dict[str, Any]]:
    """Memories with their stages as JSON data; ``form`` and what follows only with ``forms``."""
    rows: list[dict[str, Any]] = []
    for stage, memory in memories:
        entry: dict[str, Any] = {
            "stage": stage,
            "name": memory.name,
            "kind": memory.kind,
            "depth": memory.depth,
            "width": memory.width,
            "count": memory.count,
        }
        if forms is not None:
            form = forms[memory.key]
            entry |= {
                "form": form.name,
                "cells": memory.count * form.cells,
                "luts": memory.count * form.luts,
                "fill": round(memory.depth * memory.width / form.capacity, 3)
                if form.capacity
                else None,
            }
        rows.append(entry)
    return rows
