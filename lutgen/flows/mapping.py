"""A core in the cells of an FPGA, by yosys: what estimates are measured against."""

import json
import re
from dataclasses import dataclass

from lutgen.cost.area import coefficients
from lutgen.errors import LutgenError
from lutgen.flows.carries import carry_luts
from lutgen.flows.check import run_yosys
from lutgen.flows.fpga.parts import synthesis_command

__all__ = ["BY_NETLIST", "Mapped", "count_cells", "map_core", "roms_apart"]

# Cells by what they take, in each family: how many of it each is.
LUTS = {
    "ice40": {"SB_LUT4": 1},
    "ecp5": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
    "xilinx": {
        **{f"LUT{k}": 1 for k in range(1, 7)},
        **{"SRL16E": 1, "SRLC32E": 1, "INV": 1},
        **{"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM32M": 4, "RAM64M": 4},
    },
    "gowin": {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "ALU": 1, "INV": 1, "RAM16SDP4": 6},
}
BLOCKS = {
    "ice40": {"SB_RAM40_4K": 1},
    "ecp5": {"DP16KD": 1, "PDPW16KD": 1},
    "xilinx": {"RAMB18E1": 1, "RAMB36E1": 2},
    "gowin": dict.fromkeys(("SP", "SPX9", "SDPB", "SDPX9B", "DPB", "DPX9B", "pROM", "pROMX9"), 1),
}
DISTRIBUTED = {
    "ice40": {},
    "ecp5": {"TRELLIS_DPR16X4": 1},
    "xilinx": {"RAM32M": 1, "RAM64M": 1, "RAM32X1D": 1, "RAM64X1D": 1, "RAM128X1D": 1},
    "gowin": {"RAM16SDP4": 1},
}
SINGLE = {"ice40": {"SB_SPRAM256KA": 1}, "ecp5": {}, "xilinx": {}, "gowin": {}}
FFS = {"ice40": "SB_DFF", "ecp5": "TRELLIS_FF", "xilinx": "FD", "gowin": "DFF"}
# Families whose carry inputs need tables that no cell of the netlist stands for. An ECP5's CCU2C
# and a Gowin's ALU are tables with a carry; what a carry of an iCE40 needs besides, placement says.
BY_NETLIST = ("xilinx",)
# As rtl_templates/rom.v.j2 writes it.
ROM = re.compile(r"^\(\* lutgen_rows = (\d+) \*\)\nmodule (\w+)", re.MULTILINE)
MULTIPLIERS = ("SB_MAC16", "MULT18X18D", "DSP48E1", "MULT")


@dataclass(frozen=True)
class Mapped:
    """What synthesis made of a core.

    Attributes
    ----------
    luts, ffs : int
        Lookup tables, those of RAMs and carry chains included, and flip-flops.
    carry_luts : int or None
        Of the lookup tables, those that only bring a signal to a carry chain
        (`lutgen.flows.carries`); None in families other than Xilinx, where these are not counted.
    blocks, distributed, single : int
        Block RAMs (of 18 kbit, on Xilinx), distributed RAM cells, single-port RAMs.
    multipliers : int
        Multiplier blocks.
    cells : dict
        All cells by type.
    """

    luts: int
    ffs: int
    blocks: int
    distributed: int
    single: int
    multipliers: int
    cells: dict[str, int]
    carry_luts: int | None = None

    def data(self) -> dict[str, int | None]:
        """The counts as JSON data, without the cells."""
        return {key: value for key, value in vars(self).items() if key != "cells"}


def map_core(verilog: str, top: str, target: str) -> Mapped:
    """Synthesises for a family of `lutgen.spec.target`.

    Raises
    ------
    ValueError
        If the family is not known.
    LutgenError
        If there is no yosys, or it does not take the text.
    """
    command = synthesis_command(target)
    results = ["stat.json", "net.json"] if target in BY_NETLIST else ["stat.json"]
    roms = roms_apart(verilog, target)
    files, said = run_yosys("map.ys.j2", verilog, results, top, command, roms)
    if not files:
        raise LutgenError(f"yosys can't synthesise {top}: {said[-1]}")
    return count_cells(files[0], target, *files[1:])


def roms_apart(verilog: str, target: str) -> list[str]:
    """The modules of a core that are mapped apart: its deep ROMs that are made of logic.

    Where multiplexers choose the address of such a ROM, yosys makes parts of it once behind each of
    their inputs: two of 4096 x 64 and two of 512 x 32 took 102,974 tables of an ECP5 in 50 minutes,
    and take 53,517 in four when they are mapped by themselves.

    Parameters
    ----------
    verilog : str
    target : str
        The family; `Coefficients.apart` says from which depth on.
    """
    least = coefficients(target).apart
    return [name for rows, name in ROM.findall(verilog) if int(rows) >= least]


def count_cells(statistics: str, target: str, netlist: str | None = None) -> Mapped:
    """Counts a mapped design of a family.

    Parameters
    ----------
    statistics : str
        What ``stat -json`` says.
    target : str
        The family.
    netlist : str or None
        What ``write_json`` writes; needed for the families of `BY_NETLIST`.

    Raises
    ------
    ValueError
        If the family is not known, or the netlist is missing.
    """
    if target not in LUTS:
        raise ValueError(f"Family must be one of {', '.join(LUTS)}, not {target!r}")
    if netlist is None and target in BY_NETLIST:
        raise ValueError(f"Netlist must be given for {target}, whose carry inputs it tells")
    cells: dict[str, int] = json.loads(statistics)["design"]["num_cells_by_type"]
    cells = {kind: number for kind, number in cells.items() if not kind.startswith("$")}

    def count(kinds: dict[str, int]) -> int:
        return sum(number * cells.get(kind, 0) for kind, number in kinds.items())

    carry = None if netlist is None or target not in BY_NETLIST else carry_luts(netlist)
    return Mapped(
        luts=count(LUTS[target]) + (carry or 0),
        ffs=sum(n for kind, n in cells.items() if kind.startswith(FFS[target])),
        blocks=count(BLOCKS[target]),
        distributed=count(DISTRIBUTED[target]),
        single=count(SINGLE[target]),
        multipliers=sum(n for kind, n in cells.items() if kind.startswith(MULTIPLIERS)),
        cells=cells,
        carry_luts=carry,
    )
