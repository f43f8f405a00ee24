"""Takes the contents of memories out of Verilog text, for simulators that compile it.

Verilator turns an ``initial`` block into a C++ statement for every row, and compiling those takes
most of the time of a build. With the rows in files a core builds in a fraction of the time, and
one build serves all contents.
"""

import re
from pathlib import Path

__all__ = ["split", "write"]

ROW = r"\[(\d+)\] = \d+'h([0-9a-fA-F_]+);"
# Blocks that follow each other and do nothing but set rows of one memory.
BLOCKS = re.compile(
    rf"^[ \t]*initial begin\s+(\w+){ROW}\s+(?:\1{ROW}\s+)*end\n"
    rf"(?:[ \t]*initial begin\s+(?:\1{ROW}\s+)+end\n)*",
    re.MULTILINE,
)
ROWS = re.compile(ROW)


def split(verilog: str) -> tuple[str, dict[str, str]]:
    """Text that reads the contents of its memories from files, and those files.

    Whatever does not have exactly the form that generated memories have stays as it is.

    Returns
    -------
    tuple of str and dict of str to str
        The files by name, for the folder in which the simulation is run.
    """
    files: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        name = f"memory{len(files)}.hex"
        rows = ROWS.findall(match.group(0))
        if [int(number) for number, _ in rows] == list(range(len(rows))):
            files[name] = "\n".join(row for _, row in rows) + "\n"
        else:
            files[name] = "".join(f"@{int(number):x} {row}\n" for number, row in rows)
        return f'    initial $readmemh("{name}", {match.group(1)});\n'

    return BLOCKS.sub(replace, verilog), files


def write(files: dict[str, str], folder: Path) -> None:
    """Writes the files of `split` into the folder of a run."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="ascii")
