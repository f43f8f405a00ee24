"""Imports go one way, heavy packages stay where they belong, and only the command line prints."""

import ast
from pathlib import Path

import pytest

import lutgen

PACKAGE = Path(lutgen.__file__).parent

# Each part may import from itself and from the parts of the rows before its own.
ROWS = (
    {"errors"},
    {"scratch"},
    {"numeric", "files", "resources", "reading", "words"},
    {"archive", "store"},
    {"spec"},
    {"model"},
    {"train", "gateware", "cost"},
    {"formal"},
    {"host"},
    {"flows", "explore"},
    {"cli"},
)
RANK = {part: rank for rank, row in enumerate(ROWS) for part in row}
AMARANTH = {"gateware", "formal", "flows", "host"}
# These run as programs of their own, and speak to whoever runs them.
SCRIPTS = {"flows/objcache.py", "flows/cocotb_job.py", "gateware/yosys_job.py"}

FILES = sorted(p for p in PACKAGE.rglob("*.py") if "_shipped" not in p.parts)


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(tree: ast.Module):
    """Every imported module's full name, wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide the layer"
            if node.module == "lutgen":
                yield from ((node.lineno, f"lutgen.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module or ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports(path):
    here = part_of(path)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wrong = []
    for line, name in imports(tree):
        top, *rest = name.split(".")
        if top == "amaranth" and here not in AMARANTH:
            wrong.append(f"line {line}: {here} must not import amaranth")
        if top != "lutgen" or here in ("__init__", "__main__"):
            continue
        there = rest[0] if rest else "__init__"
        if there not in RANK:  # the package itself: its version and its error
            continue
        allowed = there == here or RANK[there] < RANK[here]
        if not allowed:
            wrong.append(f"line {line}: {here} must not import {there}")
    assert not wrong


def test_every_part_has_a_row():
    parts = {part_of(path) for path in FILES} - {"__init__", "__main__"}
    assert parts <= set(RANK)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path):
    if part_of(path) == "cli" or path.relative_to(PACKAGE).as_posix() in SCRIPTS:
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    lines = [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
    assert not lines


def test_the_command_line_is_light():
    """`lutgen --help` must not wait for packages that only some commands need."""
    import subprocess
    import sys

    code = (
        "import sys, lutgen.cli.main\n"
        "heavy = {'amaranth', 'cocotb', 'cocotb_tools', 'sklearn', 'scipy', 'jinja2'}\n"
        "heavy |= {'matplotlib', 'onnx'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
