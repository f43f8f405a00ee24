"""The steps from Verilog to a bitstream."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lutgen.flows.fpga.parts import Part
from lutgen.flows.fpga.steps import Done, Step
from lutgen.flows.mapping import BY_NETLIST, roms_apart
from lutgen.resources import Text, render

__all__ = ["map_core", "map_top", "pack", "pins", "place"]

MAPPED = ("stat.json", "mapped.il", "mapped.v")
TOP = "lutgen_pins"


def map_core(verilog: str, name: str, part: Part, stages: Sequence[str] = ()) -> Step:
    """Synthesises the module ``name``: gives its statistics, and the netlist in two formats, or
    three where cells are counted in it.

    Parameters
    ----------
    verilog, name : str
    part : Part
    stages : sequence of str
        Modules inside that are mapped one by one, and joined then. That takes less time, and less
        of the 4 GB that yosys has as WebAssembly; nothing is optimised across their borders.
    """
    results = (*MAPPED, "net.json") if part.family in BY_NETLIST else MAPPED
    script = render(
        "synth.ys.j2",
        sources=["core.v"],
        inner="",
        counted="net.json" in results,
        command=Text(part.synthesis),
        top=name,
        stages=stages,
        roms=roms_apart(verilog, part.family),
    )
    files = {"core.v": verilog, "synth.ys": script}
    return Step("synthesis", "yosys", ("-q", "synth.ys"), files, results)


def map_top(
    core: Done, contract: Mapping[str, Any], top: str, source: Mapping[str, str | Path], part: Part
) -> Step:
    """Synthesises what stands around a mapped core, and joins both: a netlist to be placed.

    The core is not touched, so that its netlist is the one that was counted and simulated, and a
    change around it, such as another clock, costs seconds.

    Parameters
    ----------
    core : Done
        Of `map_core`.
    contract : mapping
        The core's.
    top : str
        The outer module.
    source : mapping of str to str or Path
        Its text, ``*.v`` or ``*.il``.
    part : Part
    """
    ports = ", ".join(
        f"{port['direction']} [{port['width'] - 1}:0] {port['name']}" for port in contract["ports"]
    )
    files: dict[str, str | Path] = {
        **source,
        "box.v": f"module {contract['name']} ({ports});\nendmodule\n",
        "mapped.il": core.folder / "mapped.il",
    }
    files["synth.ys"] = render(
        "synth.ys.j2",
        sources=list(source),
        inner="box.v",
        counted=False,  # the netlist is written anyhow
        command=Text(part.synthesis),
        top=top,
        stages=(),
        roms=(),
    )
    results = ("stat.json", "net.json")
    return Step("synthesis around the core", "yosys", ("-q", "synth.ys"), files, results)


def pins(contract: Mapping[str, Any]) -> tuple[str, str]:
    """Name and Verilog of a top with registers at every port of a core, behind three pins."""
    ports = [port for port in contract["ports"] if port["name"] != contract["clock"]]
    text = render(
        "pins.v.j2",
        top=TOP,
        name=contract["name"],
        clock=contract["clock"],
        inputs=[port for port in ports if port["direction"] == "input"],
        outputs=[port for port in ports if port["direction"] == "output"],
    )
    return TOP, text


def place(top: Done, part: Part, clock: float, seed: int, constraints: str | None) -> Step:
    """Places and routes; gives the report, and the configuration of every cell.

    Parameters
    ----------
    top : Done
        Of `map_top`.
    part : Part
    clock : float
        Hz to aim at. A design that is slower is placed all the same.
    seed : int
    constraints : str or None
        Where the pins are; None for any.
    """
    router = part.tools
    files: dict[str, str | Path] = {"net.json": top.folder / "net.json"}
    args = [*part.args, "--json", "net.json", "--report", "report.json"]
    args += ["--freq", f"{clock / 1e6:.6g}", "--seed", str(seed), "--timing-allow-fail", "--quiet"]
    if constraints is not None:
        name = f"pins{router.pins_suffix}"
        files[name] = constraints
        args += [router.pins_option, name]
    else:
        args += [router.unpinned]
    args += [router.config_option, "config"]
    step = f"place and route, seed {seed}"
    return Step(step, router.place, tuple(args), files, ("report.json", "config"))


def pack(placed: Done, part: Part) -> Step:
    """The bitstream."""
    files = {"config": placed.folder / "config"}
    router = part.tools
    return Step("bitstream", router.pack, router.pack_args, files, (router.bitstream,))
