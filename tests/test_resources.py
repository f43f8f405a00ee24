import ast
from pathlib import Path

import jinja2
import pytest

import lutgen
from lutgen import LutgenError, resources


def test_folders():
    assert (resources.sim() / "bench_core.py").is_file()
    assert resources.rtl_templates().is_dir()
    with pytest.raises(LutgenError, match=r"the folder 'nothing' is missing; install lutgen again"):
        resources.folder("nothing")


def test_render():
    text = resources.render("netlist.ys.j2", verilog="a.v", top="a", netlist="b.v")
    assert "\nread_verilog a.v\n" in text
    assert text.endswith("\nwrite_verilog -noattr b.v")


@pytest.mark.parametrize("name", ["rtl_templates/pins.v.j2", "sim/core.cpp.j2"])
def test_render_keeps_the_last_newline(name):
    """The text of a synthesis is part of its key in the cache: a newline less is a new run."""
    folder, file = name.split("/")
    ports = [{"name": "a", "width": 2}]
    values = {"top": "t", "name": "n", "clock": "clk", "inputs": ports, "outputs": ports}
    values |= {"reset": "rst", "cores": [], "waves": None}
    if folder == "sim":
        values["inputs"] = [("a", 2)]
    assert resources.render(file, **values).endswith(("endmodule\n", "}\n"))


def test_render_complains():
    with pytest.raises(jinja2.UndefinedError, match="'top' is undefined"):
        resources.render("netlist.ys.j2", verilog="a.v", netlist="b.v")
    with pytest.raises(jinja2.TemplateNotFound, match=r"no\.j2"):
        resources.render("no.j2")


def test_names_of_templates_differ():
    """`render` looks in both folders: the second of two with one name would never be found."""
    found = [p.name for at in (resources.rtl_templates(), resources.sim()) for p in at.glob("*.j2")]
    assert len(found) == len(set(found)) > 1


def test_templates_are_set_up_once():
    """Two set-ups would differ sooner or later, as in the last newline."""
    root = Path(lutgen.__file__).parent
    using = set()
    for path in root.rglob("*.py"):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        froms = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        if "jinja2" in froms:
            using.add(path.relative_to(root).as_posix())
    assert using == {"resources.py"}
