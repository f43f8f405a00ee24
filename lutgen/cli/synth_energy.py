"""The energy of an inference in the report of ``lutgen synth``."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lutgen.flows.fpga.netlist import Checked
    from lutgen.flows.fpga.onboard import OnBoard
    from lutgen.flows.fpga.synth import Placed, Synthesised

__all__ = ["describe", "energy"]


# What people call the parts of an estimate.
ENERGY_PARTS = {
    "static": "static",
    "clock": "clock",
    "logic": "logic and wires",
    "flipflop": "flip-flops",
    "ram": "RAM",
}


def energy(
    args: argparse.Namespace,
    mapped: "Synthesised",
    placed: "Placed | None",
    onboard: "OnBoard | None",
    netlist: "Checked | None",
) -> dict[str, Any] | None:
    """The estimate of energy at the clock of the speed: JSON data; None where there is none."""
    from lutgen.cost.energy import estimate

    if netlist is None or netlist.activity is None:
        return None
    clock = args.clock
    if onboard is not None:
        clock = onboard.clock
    elif placed is not None:
        clock = placed.fmax["median"] * 1e6
    found = estimate(netlist.activity, mapped.part.device, clock)
    if found is None:
        return None
    return {
        **found.data(),
        "samples": netlist.activity.results,
        "cycles": netlist.activity.cycles,
        "steady": netlist.steady,
        "activity": netlist.activity.data(),
    }


def describe(found: dict[str, Any]) -> list[str]:
    """Two lines on an estimate of energy: how much, and of what."""
    whole = found["nj"]
    unit, scale = ("nJ", 1.0) if whole["high"] < 1000 else ("uJ", 1e-3)
    low, middle, high = (f"{whole[end] * scale:.3g}" for end in ("low", "middle", "high"))
    text = f"about {middle} {unit} an inference ({low} to {high})"
    if found["power_mw"] is not None:
        text += f", {found['power_mw']['middle']:.3g} mW at {found['clock_hz'] / 1e6:.4g} MHz"
    if not found["static_known"]:
        why = "is not known of this device" if found["clock_hz"] else "takes a --clock"
        text += f", without static energy, which {why}"
    shares = ", ".join(
        f"{ENERGY_PARTS[name]} {100 * part['middle'] / whole['middle']:.0f} %"
        for name, part in found["parts_nj"].items()
    )
    return [f"{text}; an estimate, see docs/design/0006-fpga.md", shares]
