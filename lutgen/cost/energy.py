"""Energy of a core in an FPGA, from the measured activity of its netlist.

An estimate: energy.json says what a toggle, a clock cycle and an access cost, each with its source,
and benchmarks/energy.py how the first of them follow from currents that were measured on a chip.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from lutgen.spec.target import Device

__all__ = ["PARTS", "Activity", "Energy", "coefficients", "estimate"]

# What an estimate is made of.
PARTS = ("static", "clock", "logic", "flipflop", "ram")


@dataclass(frozen=True)
class Activity:
    """What the nets of a core did in a time in which results came steadily.

    Attributes
    ----------
    cycles : int
    results : int
        Inferences in these.
    toggles : dict of str to int
        Toggles by places that their nets lead to: inputs of lookup tables and carry chains
        (``logic``), of flip-flops (``flipflop``), of RAMs (``ram``).
    clocked : int
        Clock inputs.
    accesses : dict of str to float
        Of block RAMs, by kind.
    """

    cycles: int
    results: int
    toggles: Mapping[str, int]
    clocked: int
    accesses: Mapping[str, float]

    def data(self) -> dict[str, Any]:
        """JSON data; `Activity` takes it again."""
        return {**vars(self), "toggles": dict(self.toggles), "accesses": dict(self.accesses)}


@dataclass(frozen=True)
class Energy:
    """What an inference takes.

    Attributes
    ----------
    parts : dict of str to (float, float)
        Of `PARTS`, low and high, in pJ. Without ``static`` where that is not known.
    clock : float or None
        Hz; None where the core was not placed.
    interval : float
        Cycles an inference.
    """

    parts: Mapping[str, tuple[float, float]]
    clock: float | None
    interval: float

    @property
    def low(self) -> float:
        """In pJ."""
        return sum(low for low, _ in self.parts.values())

    @property
    def high(self) -> float:
        """In pJ."""
        return sum(high for _, high in self.parts.values())

    @property
    def middle(self) -> float:
        """In pJ: of every part the geometric mean."""
        return sum(self.middles.values())

    @property
    def middles(self) -> dict[str, float]:
        """By part, in pJ."""
        return {name: math.sqrt(low * high) for name, (low, high) in self.parts.items()}

    def data(self) -> dict[str, Any]:
        """JSON data: energies in nJ, power in mW."""

        def trio(low: float, middle: float, high: float, scale: float) -> dict[str, float]:
            values = {"low": low, "middle": middle, "high": high}
            return {name: float(f"{value * scale:.4g}") for name, value in values.items()}

        whole = (self.low, self.middle, self.high)
        data: dict[str, Any] = {
            "nj": trio(*whole, 1e-3),
            "parts_nj": {
                name: trio(low, self.middles[name], high, 1e-3)
                for name, (low, high) in self.parts.items()
            },
            "static_known": "static" in self.parts,
            "clock_hz": self.clock,
            "power_mw": None,
        }
        if self.clock is not None:
            data["power_mw"] = trio(*whole, 1e-9 * self.clock / self.interval)
        return data


@cache
def coefficients() -> dict[str, Any]:
    """What energy.json holds."""
    text = files("lutgen.cost").joinpath("energy.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def estimate(activity: Activity, device: Device, clock: float | None) -> Energy | None:
    """The energy of an inference.

    Parameters
    ----------
    activity : Activity
    device : Device
    clock : float or None
        Hz. Without it there is no static energy, which is power by time.

    Returns
    -------
    Energy or None
        None where nothing is known of the family.
    """
    known = coefficients()
    if device.target.name not in known["families"]:
        return None
    family = known["families"][device.target.name]
    anchor = known["anchor"]
    # The same wires at another voltage, and shorter ones in a finer process.
    scale = family["capacitance"] * (family["volts"] / anchor["volts"]) ** 2
    macros = family["capacitance"] * (family["volts"] / known["access"]["volts"]) ** 2
    interval = activity.cycles / activity.results

    def each(low: float, high: float) -> tuple[float, float]:
        return low / activity.results, high / activity.results

    toggle = [scale * known["toggle_pj"][end] for end in ("low", "high")]
    edge = scale * known["clocked_pj"]["value"] * activity.cycles * activity.clocked
    tree = scale * known["clock_pj"]["value"] * activity.cycles
    size = device.luts / anchor["luts"]
    reach = sorted((math.sqrt(size), size))
    access = sum(
        macros * number * known["access"]["pj"][kind] for kind, number in activity.accesses.items()
    )
    counts = activity.toggles
    parts = {
        "clock": each(tree * reach[0] + edge, tree * reach[1] + edge),
        "logic": each(*(pj * counts["logic"] for pj in toggle)),
        "flipflop": each(*(pj * counts["flipflop"] for pj in toggle)),
        "ram": each(
            toggle[0] * counts["ram"] + access,
            toggle[1] * counts["ram"] + access * known["access"]["high"],
        ),
    }
    power = known["static_mw"].get(device.name)
    if clock is not None and power is not None:
        seconds = interval / clock
        parts = {"static": (power["low"] * 1e9 * seconds, power["high"] * 1e9 * seconds), **parts}
    return Energy(parts, clock, interval)
