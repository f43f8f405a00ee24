"""Lookup tables, flip-flops and memory blocks of a core, before synthesis.

`lutgen.cost.counts` says what the logic consists of; what a bit of it takes on a family of FPGAs
is fitted to synthesis runs by benchmarks/estimates.py, which also states the errors.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files

from lutgen.cost.counts import Counts, fifo_counts, port_counts, stage_counts
from lutgen.numeric import ceil_div, clog2
from lutgen.spec.link_frames import LOAD_WORD_BYTES
from lutgen.spec.memory import MemorySpec, network_memories, queue_memory, stage_memories
from lutgen.spec.network import NetworkSpec
from lutgen.spec.target import Form, Target, choose_forms

__all__ = [
    "Area",
    "Coefficients",
    "CoreArea",
    "area_table",
    "coefficients",
    "core_area",
    "core_memories",
    "loader_counts",
    "logic_area",
    "memory_area",
]


@dataclass(frozen=True)
class Coefficients:
    """What a bit of each kind of logic takes on a family.

    Attributes
    ----------
    adds, terms, muxes, control : float
        Lookup tables; see `Counts`.
    held : float
        Lookup tables before a register.
    rom : float
        Lookup tables of a ROM made of logic in a core, over those of one alone, whose address comes
        from registers: synthesis puts parts of it once behind each input of the multiplexers that
        choose the address.
    alone : int
        Rows up to which it takes no more than alone.
    apart : int
        Rows from which on it is mapped apart from what is around it, and takes no more either.
    ffs : float
        Flip-flops of a register that was counted.
    """

    adds: float
    terms: float
    muxes: float
    control: float
    held: float
    rom: float
    alone: int
    apart: int
    ffs: float


@cache
def coefficients(target: str) -> Coefficients:
    """Of a family by name."""
    text = files("lutgen.cost").joinpath("coefficients.json").read_text(encoding="utf-8")
    return Coefficients(**json.loads(text)[target])


@dataclass(frozen=True)
class Area:
    """What something takes.

    Attributes
    ----------
    luts, ffs : float
    blocks, single : int
        Block RAMs and single-port RAMs.
    bits : int
        Bits in all memories.
    """

    luts: float = 0
    ffs: float = 0
    blocks: int = 0
    single: int = 0
    bits: int = 0

    def __add__(self, other: "Area") -> "Area":
        return Area(
            self.luts + other.luts,
            self.ffs + other.ffs,
            self.blocks + other.blocks,
            self.single + other.single,
            self.bits + other.bits,
        )

    def data(self) -> dict[str, int]:
        """As JSON data, rounded."""
        return {key: round(value) for key, value in asdict(self).items()}


def logic_area(counts: Counts, fit: Coefficients) -> Area:
    """What counted logic takes."""
    luts = (
        fit.adds * counts.adds
        + fit.terms * counts.terms
        + fit.muxes * counts.muxes
        + fit.control * counts.control
        + fit.held * counts.ffs
    )
    return Area(luts=luts, ffs=fit.ffs * counts.ffs)


def memory_area(memory: MemorySpec, form: Form, fit: Coefficients) -> Area:
    """What memories of one form take in a core."""
    logic = memory.kind == "rom" and form.name == "logic"
    deep = logic and fit.alone < memory.depth < fit.apart
    return Area(
        luts=memory.count * form.luts * (fit.rom if deep else 1.0),
        ffs=memory.count * form.ffs,
        blocks=memory.count * form.blocks,
        single=memory.count * form.cells if form.name == "single" else 0,
        bits=memory.bits,
    )


@dataclass(frozen=True)
class CoreArea:
    """What a core takes, by stage.

    Attributes
    ----------
    stages : dict of str to Area
        Each with the queues that it reads.
    ports : Area
        Both ports, the last queue, and the loader.
    """

    stages: dict[str, Area]
    ports: Area

    @property
    def total(self) -> Area:
        """All of it."""
        return sum(self.stages.values(), self.ports)


def core_memories(spec: NetworkSpec) -> list[MemorySpec]:
    """All memories of a core, its maps loadable where anything is."""
    rams = any(memory.kind == "ram" for _, memory in network_memories(spec))
    return [memory for _, memory in network_memories(spec, loadable_maps=rams)]


def core_area(
    spec: NetworkSpec,
    target: Target,
    found: Coefficients | None = None,
    forms: Mapping[tuple[str, int, int], Form] | None = None,
) -> CoreArea:
    """The estimate of a core; ``found`` in the place of the fitted coefficients, ``forms`` in that
    of the cheapest.
    """
    fit = found or coefficients(target.name)
    rams = [m for _, m in network_memories(spec) if m.kind == "ram"]
    chosen = choose_forms(core_memories(spec), target) if forms is None else forms

    def held(some: Iterable[MemorySpec]) -> Area:
        loaded = [
            MemorySpec("map", m.depth, m.width, "ram", m.count) if m.name == "map" and rams else m
            for m in some
        ]
        return sum((memory_area(m, chosen[m.key], fit) for m in loaded), Area())

    areas = {
        stage.name: logic_area(stage_counts(stage), fit) + held(stage_memories(stage))
        for stage in spec.stages
    }
    ports = logic_area(port_counts(spec), fit) + logic_area(loader_counts(rams), fit)
    for edge in spec.edges:
        area = logic_area(fifo_counts(edge.fifo), fit) + held(queue_memory(edge))
        if edge.target in areas:
            areas[edge.target] += area
        else:
            ports += area
    return CoreArea(areas, ports)


def loader_counts(rams: Sequence[MemorySpec]) -> Counts:
    """What fills RAMs and reads them back: one register as wide as the widest row and one for a
    word, each with a way to or from all RAMs, counters, and a CRC, whose gates are counted as
    partial products. Fitted to loaders alone, on three families.
    """
    if not rams:
        return Counts()
    widest = max(memory.width for memory in rams)
    bits = sum(memory.count * memory.width for memory in rams)
    words = [ceil_div(memory.width, 8 * LOAD_WORD_BYTES) for memory in rams]
    flags = sum(memory.count * each for memory, each in zip(rams, words, strict=True))
    place = clog2(sum(memory.count for memory in rams) + 1) + clog2(max(words))
    place += clog2(max(memory.depth for memory in rams))
    return Counts(
        ffs=max(widest, 8 * LOAD_WORD_BYTES) + flags + 2 * place + 73,
        adds=40,
        terms=115,
        muxes=90 + 0.8 * bits,
        control=12 * len(rams),
    )


def area_table(area: CoreArea) -> dict[str, dict[str, int]]:
    """As JSON data."""
    return {name: part.data() for name, part in area.stages.items()} | {"ports": area.ports.data()}
