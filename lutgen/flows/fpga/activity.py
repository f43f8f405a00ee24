"""How often the nets of a netlist change, by the kind of the cells that they lead to.

A simulation writes the toggles of every net as SAIF, the format in which power tools exchange them;
the netlist says where each net leads. What a toggle costs is `lutgen.cost.energy`'s.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lutgen.cost.energy import Activity
from lutgen.errors import LutgenError

__all__ = ["Cell", "Saif", "count", "parse_cells", "parse_saif", "short_names"]

Bit = tuple[str, int]


@dataclass(frozen=True)
class Kind:
    """What is known of a cell type.

    Parameters
    ----------
    part : str
        Where its energy is counted: ``logic``, ``flipflop`` or ``ram``.
    outputs : str
        Pattern of the pins that are no inputs.
    clocks : tuple of str
    access : str
        The RAM that its ports reach; empty where it is none, or one made of lookup tables.
    ports : tuple of tuple of str
        For each port of a RAM, its clock and the pins that all must be 1 for an access.
    accesses : int
        Of that RAM, by one of this cell.
    """

    part: str
    outputs: str
    clocks: tuple[str, ...] = ()
    access: str = ""
    ports: tuple[tuple[str, ...], ...] = ()
    accesses: int = 1


LUT_RAM = Kind("ram", r"DO\w?|O\d?|[SD]PO|Q\d*", ("WCLK", "WCK", "CLK"))
RAMB = Kind(
    "ram",
    r"DO\w*|CASCADEOUT\w|\w*ECC\w*|DBITERR|SBITERR",
    ("CLKARDCLK", "CLKBWRCLK"),
    "block_18k",
    (("CLKARDCLK", "ENARDEN"), ("CLKBWRCLK", "ENBWREN")),
)
# By family: pattern of the type, and what it is. A carry cell of an iCE40 shares two inputs with
# the lookup table beside it: they stand among its outputs, so that they count once.
KINDS: dict[str, tuple[tuple[str, Kind], ...]] = {
    "ice40": (
        ("SB_LUT4", Kind("logic", "O")),
        ("SB_CARRY", Kind("logic", "CO|I0|I1")),
        (r"SB_DFF\w*", Kind("flipflop", "Q", ("C",))),
        (
            r"SB_RAM40_4K\w*",
            Kind(
                "ram",
                "RDATA",
                ("RCLK", "WCLK", "RCLKN", "WCLKN"),
                "block_4k",
                (("RCLK", "RE", "RCLKE"), ("WCLK", "WE", "WCLKE")),
            ),
        ),
        (
            "SB_SPRAM256KA",
            Kind("ram", "DATAOUT", ("CLOCK",), "single_256k", (("CLOCK", "CHIPSELECT"),)),
        ),
    ),
    "ecp5": (
        ("LUT4|PFUMX|L6MUX21", Kind("logic", "Z")),
        ("CCU2C", Kind("logic", r"S0|S1|COUT")),
        ("TRELLIS_FF", Kind("flipflop", "Q", ("CLK",))),
        ("TRELLIS_DPR16X4", LUT_RAM),
        (
            "DP16KD",
            Kind(
                "ram",
                r"DO[AB]\d+",
                ("CLKA", "CLKB"),
                "block_18k",
                (("CLKA", "CEA"), ("CLKB", "CEB")),
            ),
        ),
        (
            "PDPW16KD",
            Kind(
                "ram", r"DO\d+", ("CLKR", "CLKW"), "block_18k", (("CLKR", "CER"), ("CLKW", "CEW"))
            ),
        ),
    ),
    "xilinx": (
        (r"LUT[1-6]|INV|MUXF[78]", Kind("logic", "O")),
        ("CARRY4", Kind("logic", "O|CO")),
        (r"FD[RSCP]E\w*", Kind("flipflop", "Q", ("C",))),
        (r"RAM\d+[A-Z]\w*|SRL16E|SRLC32E", LUT_RAM),
        ("RAMB18E1", RAMB),
        # Two of them side by side.
        (
            "RAMB36E1",
            Kind(RAMB.part, RAMB.outputs, RAMB.clocks, RAMB.access, RAMB.ports, accesses=2),
        ),
    ),
}


@dataclass(frozen=True)
class Cell:
    """A cell of a netlist.

    Attributes
    ----------
    kind : str
        Its type.
    pins : dict of str to list of (str, int), bool or None
        What each pin is connected to, lowest bit first: a bit of a wire, a constant, or nothing
        that is known.
    parameters : dict of str to str
        As they are written.
    """

    kind: str
    pins: dict[str, list[Bit | bool | None]]
    parameters: dict[str, str]


@dataclass(frozen=True)
class Saif:
    """What a SAIF file holds.

    Attributes
    ----------
    duration : int
        In units of the file's time scale.
    toggles : dict of (str, int) to int
        How often each bit changed, by name and position from the lowest.
    high : dict of (str, int) to int
        How long it was 1.
    """

    duration: int
    toggles: dict[Bit, int] = field(repr=False)
    high: dict[Bit, int] = field(repr=False)


NAME = r"(?:\\\S+(?:\s|$)|[A-Za-z_][\w$]*)"
WIRE = re.compile(rf"^\s*(?:input|output|inout)?\s*wire\s+(?:\[(\d+):(\d+)\]\s*)?({NAME})\s*;")
PORT = re.compile(rf"^\s*(?:input|output|inout)\s+(?:\[(\d+):(\d+)\]\s*)?({NAME})\s*;")
CELL = re.compile(r"^\s*([A-Z][A-Z0-9_]*)\s+(?:#\(|\\\S+\s+\(|[A-Za-z_][\w$]*\s+\()")
PIN = re.compile(r"^\s*\.(\w+)\((.*)\),?$")
TERM = re.compile(rf"\s*(?:(\d+)'([bhd])([0-9a-fA-FxzXZ_?]+)|({NAME})\s*(?:\[(\d+)(?::(\d+))?\])?)")


LONG = re.compile(r"\\(\S+)(?=\s)|(?<!['\w$])([A-Za-z_][\w$]{40,})")


def short_names(netlist: str) -> str:
    """The same netlist with short names for what has a long or an escaped one.

    yosys makes names of hundreds of characters. Verilator puts a hash in the place of such a name,
    and can't trace some of them. Ports of cores have short names, and keep them.
    """
    names: dict[str, str] = {}

    def short(match: re.Match[str]) -> str:
        return names.setdefault(match.group(1) or match.group(2), f"net{len(names)}_")

    return LONG.sub(short, netlist)


def parse_cells(netlist: str) -> list[Cell]:
    """The cells of a flat netlist as yosys writes it.

    Raises
    ------
    LutgenError
        If a connection is none that yosys writes.
    """
    wires: dict[str, tuple[int, int]] = {}
    cells: list[Cell] = []
    pins: dict[str, list[Bit | bool | None]] | None = None
    parameters = False
    for line in netlist.splitlines():
        if pins is None:
            if found := WIRE.match(line) or PORT.match(line):
                high, low, name = found.groups()
                wires[_name(name)] = (int(high or 0), int(low or 0))
            elif found := CELL.match(line):
                pins = {}
                parameters = "#(" in line
                cells.append(Cell(found.group(1), pins, {}))
        elif line.lstrip().startswith(")"):
            # Parameters end in a line that begins the connections.
            if not parameters:
                pins = None
            parameters = False
        elif found := PIN.match(line):
            if parameters:
                cells[-1].parameters[found.group(1)] = found.group(2)
            else:
                pins[found.group(1)] = _bits(found.group(2), wires)
    return cells


def _name(text: str) -> str:
    return text.strip().removeprefix("\\")


def _bits(text: str, wires: Mapping[str, tuple[int, int]]) -> list[Bit | bool | None]:
    """The bits of a connection, lowest first."""
    text = text.strip()
    bits: list[Bit | bool | None] = []
    parts = list(_terms(text[1:-1] if text.startswith("{") else text))
    for width, base, digits, name, first, last in reversed(parts):
        if width is not None:
            bits += _constant(int(width), base, digits)
            continue
        high, low = wires.get(_name(name), (0, 0))
        top = high if first is None else int(first)
        bottom = low if first is None else int(last or first)
        bits += [(_name(name), index - low) for index in range(bottom, top + 1)]
    return bits


def _terms(text: str) -> Iterator[tuple[Any, ...]]:
    place = 0
    while place < len(text) and not text[place:].isspace():
        found = TERM.match(text, place)
        if found is None:
            raise LutgenError(f"netlist: can't read the connection {text:.80}; map the core again")
        yield found.groups()
        place = found.end()
        while place < len(text) and text[place] in " ,":
            place += 1


def _constant(width: int, base: str, digits: str) -> list[Bit | bool | None]:
    digits = digits.replace("_", "").lower()
    if set(digits) & set("xz?"):
        return [None] * width
    value = int(digits, {"b": 2, "h": 16, "d": 10}[base])
    return [bool(value >> bit & 1) for bit in range(width)]


ENTRY = re.compile(r"\(((?:\\.|[^\s()\\])+)((?:\s*\((?:T0|T1|TZ|TX|TB|TC|IG|IK)\s+\d+\s*\))+)\s*\)")
ATTRIBUTE = re.compile(r"\((T1|TC)\s+(\d+)\s*\)")


def parse_saif(text: str, source: str = "SAIF") -> Saif:
    """Reads the toggles of the nets of a file of one flat module.

    Parameters
    ----------
    text : str
    source : str
        For messages.

    Raises
    ------
    LutgenError
        If it is no SAIF file, or holds no nets.
    """
    found = re.search(r"\(DURATION\s+(\d+)\s*\)", text)
    if not text.lstrip().startswith(("(SAIFILE", "//")) or found is None:
        raise LutgenError(f"{source}, field 'DURATION': missing; this is no whole SAIF file")
    toggles: dict[Bit, int] = {}
    high: dict[Bit, int] = {}
    for entry in ENTRY.finditer(text):
        name, index = _saif_name(entry.group(1))
        values = dict(ATTRIBUTE.findall(entry.group(2)))
        if "TC" not in values:
            raise LutgenError(f"{source}, net {name!r}, field 'TC': missing; simulate it again")
        toggles[name, index] = int(values["TC"])
        high[name, index] = int(values.get("T1", 0))
    if not toggles:
        raise LutgenError(f"{source}: holds no nets; simulate with all signals of the top module")
    return Saif(int(found.group(1)), toggles, high)


def _saif_name(text: str) -> Bit:
    plain = re.sub(r"\\(.)", r"\1", text)
    if found := re.fullmatch(r"(.*)\[(\d+)\]", plain):
        return found.group(1), int(found.group(2))
    return plain, 0


def count(netlist: str, saif: Saif, family: str, *, cycles: int, results: int) -> Activity:
    """The activity of a netlist.

    Every input pin of every cell counts the toggles of its net, so that a net counts once for each
    place that it leads to. Clocks are counted by the pins that they reach.

    Parameters
    ----------
    netlist : str
        With the names of ``saif``.
    saif : Saif
    family : str
        A key of `KINDS`.
    cycles, results : int
        Of the recorded time.

    Raises
    ------
    LutgenError
        If a cell is not known, or a net is not in the file.
    """
    kinds: dict[str, Kind] = {}
    toggles = dict.fromkeys(("logic", "flipflop", "ram"), 0)
    clocked = 0
    accesses: dict[str, float] = {}
    for cell in parse_cells(netlist):
        if cell.kind not in kinds:
            kinds[cell.kind] = _kind(cell.kind, family)
        kind = kinds[cell.kind]
        for pin, bits in cell.pins.items():
            if pin in kind.clocks:
                clocked += sum(isinstance(bit, tuple) for bit in bits)
            elif not re.fullmatch(kind.outputs, pin):
                toggles[kind.part] += sum(_toggles(saif, bit) for bit in bits)
        for clock, *enables in kind.ports:
            if any(isinstance(bit, tuple) for bit in cell.pins.get(clock, [])):
                duty = min((_duty(saif, cell.pins.get(pin, [])) for pin in enables), default=1.0)
                number = kind.accesses * cycles * duty
                accesses[kind.access] = accesses.get(kind.access, 0.0) + number
    return Activity(
        cycles=cycles, results=results, toggles=toggles, clocked=clocked, accesses=accesses
    )


def _kind(cell: str, family: str) -> Kind:
    for pattern, kind in KINDS.get(family, ()):
        if re.fullmatch(pattern, cell):
            return kind
    raise LutgenError(f"netlist: nothing is known of the energy of {family}'s cell {cell}")


def _toggles(saif: Saif, bit: Bit | bool | None) -> int:
    if not isinstance(bit, tuple):
        return 0
    if bit not in saif.toggles:
        raise LutgenError(f"SAIF, net {bit[0]!r}, bit {bit[1]}: missing; it is not of this netlist")
    return saif.toggles[bit]


def _duty(saif: Saif, bits: list[Bit | bool | None]) -> float:
    """The part of the time in which a pin is 1; where nothing is connected, it is."""
    if not bits or bits[0] is None:
        return 1.0
    bit = bits[0]
    if isinstance(bit, tuple):
        _toggles(saif, bit)
        return saif.high[bit] / max(saif.duration, 1)
    return float(bit)
