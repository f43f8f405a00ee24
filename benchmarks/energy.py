"""The coefficients of the energy estimate, from currents measured on an iCE40UP5K.

    python benchmarks/energy.py            writes the page, and says how far energy.json is off
    python benchmarks/energy.py --write    puts the fitted coefficients into lutgen/cost/energy.json

Two of the circuits of that measurement are built anew (benchmarks/energy_circuits), mapped as cores
are, and simulated as netlists; their activity and the measured currents give what a toggle takes.
Writes ``docs/results/energy.md``.
"""

import argparse
import json
import math
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from _common import ROOT
from numpy.typing import NDArray

from lutgen.cost.energy import Activity
from lutgen.files import write_text
from lutgen.flows import harness, simbuild
from lutgen.flows.fpga import activity, plan, steps
from lutgen.flows.fpga.models import cell_models
from lutgen.flows.fpga.parts import device_part

CIRCUITS = ROOT / "benchmarks" / "energy_circuits"
STORE = ROOT / "lutgen" / "cost" / "energy.json"
CYCLES = 20_000

# What was measured: github.com/tinyvision-ai-inc/ice40_power, README.md. Current of the core in uA,
# of designs by yosys and nextpnr.
VOLTS = 1.219
BLANK = 85.6
HALTED = 92.1
COUNTERS = {1: 613.5, 2: 616.65, 4: 624.2, 8: 641.3}  # of 28 bits, at 12 MHz
OSCILLATOR = {6: 388.4, 12: 645.0, 24: 1162.0, 48: 2184.0}  # MHz, with one counter of 24 bits
MULTIPLIER = 996.0  # with the multiplier, at 12 MHz
MHZ = 12.0

# pJ an access of SRAM macros of 45 nm at 1.1 V, by rows and bits: the macro views of OpenROAD's
# nangate45 platform, of those with 16 bits or more and 64 rows or more.
MACROS = {
    (64, 32): 0.796,
    (64, 64): 2.498,
    (64, 96): 2.986,
    (128, 32): 1.738,
    (128, 64): 2.762,
    (256, 16): 1.359,
    (256, 32): 1.874,
    (256, 48): 3.14,
    (256, 96): 5.757,
    (512, 64): 5.3,
    (1024, 32): 3.566,
    (2048, 39): 6.855,
}
SHAPES = {"block_4k": (256, 16), "block_18k": (1024, 18), "single_256k": (16384, 16)}

# Time from a cell's input to the next one's, in steps: a lookup table with the wire behind it takes
# about eight times as long as a carry.
DELAY = {"SB_LUT4": 8, "SB_CARRY": 1}


def picojoules(microamperes: float) -> float:
    """A cycle's energy of a current at 12 MHz."""
    return microamperes * VOLTS / MHZ


def slope(points: dict[int, float]) -> float:
    """By least squares."""
    return float(np.polyfit(list(points), list(points.values()), 1)[0])


def contract(name: str) -> dict[str, Any]:
    """What the harness has to know of a circuit: its pins."""
    ports = [("clk", "input", 1), ("rst", "input", 1), ("m_axis_tready", "input", 1)]
    ports += [("m_axis_tdata", "output", 8), ("m_axis_tvalid", "output", 1)]
    ports += [("m_axis_tlast", "output", 1)]
    return {
        "name": name,
        "clock": "clk",
        "reset": "rst",
        "ports": [{"name": n, "direction": d, "width": w} for n, d, w in ports],
    }


def netlist(name: str) -> str:
    """A circuit in the cells of the part, with short names."""
    text = (CIRCUITS / f"{name}.v").read_text(encoding="utf-8")
    done = steps.play(plan.map_core(text, name, device_part("up5k")), print)
    return activity.short_names(done.text("mapped.v"))


def measure(name: str, text: str) -> Activity:
    """What its nets do in a cycle, at no delay."""
    design = f"{cell_models('ice40')}\n{text}"
    program, _ = harness.build(design, name, [("", contract(name))], "saif", depth=1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        script = f"record 0\nreset\nrecord 1\nrun {CYCLES}\nrecord 0\n"
        (folder / "script.txt").write_text(script, encoding="ascii")
        for stream in ("s_axis", "l_axis"):
            (folder / f"{stream}.bin").touch()
        waves, log = folder / "waves.saif", folder / "log"
        command = [str(program), "0", f"{folder}/", "1", str(waves)]
        if simbuild.run_logged(command, folder, log):
            raise SystemExit(log.read_text())
        saif = activity.parse_saif(waves.read_text(encoding="ascii"), str(waves))
    return activity.count(text, saif, "ice40", cycles=CYCLES, results=CYCLES)


def glitches(text: str, cycles: int = 4096) -> float:
    """How many times as often nets change when cells take time, over the inputs of lookup tables.

    The registers count on as the circuit's do; all cycles are played side by side.
    """
    cells = activity.parse_cells(text)
    logic = [cell for cell in cells if cell.kind in DELAY]
    assert {cell.kind for cell in cells} == {*DELAY, "SB_DFF"}
    registers = [(cell.pins["Q"][0], cell.pins["D"][0]) for cell in cells if cell.kind == "SB_DFF"]
    states = _states(logic, registers, cycles + 1)
    before = {net: states[net][:-1] for net in states}
    after = {net: states[net][1:] for net in states}
    # Cells of no delay count what they must, and no more.
    least = sum(_sinks(logic, net) * int((before[net] != after[net]).sum()) for net in states)
    history = [before]
    now = {**before, **{net: after[net] for net, _ in registers}}
    total = sum(_sinks(logic, net) * int((before[net] != after[net]).sum()) for net, _ in registers)
    history.append(now)
    quiet = 0
    while quiet <= max(DELAY.values()):
        new = dict(now)
        for cell in logic:
            old = history[max(0, len(history) - DELAY[cell.kind])]
            for pin, value in _evaluate(cell, old).items():
                new[cell.pins[pin][0]] = value
        changes = sum(_sinks(logic, net) * int((new[net] != now[net]).sum()) for net in states)
        total += changes
        quiet = 0 if changes else quiet + 1
        history.append(new)
        now = new
    assert all((now[net] == after[net]).all() for net in states)
    return total / least


Nets = dict[activity.Bit, NDArray[np.bool_]]


def _value(bit: Any, nets: Nets) -> Any:
    return nets[bit] if isinstance(bit, tuple) else bool(bit)


def _evaluate(cell: activity.Cell, nets: Nets) -> dict[str, NDArray[np.bool_]]:
    if cell.kind == "SB_CARRY":
        a, b, c = (_value(cell.pins[pin][0], nets) for pin in ("I0", "I1", "CI"))
        return {"CO": (a & b) | (a & c) | (b & c)}
    table = int(cell.parameters["LUT_INIT"].partition("'h")[2], 16)
    rows = np.array([bool(table >> row & 1) for row in range(16)])
    pins = [np.asarray(_value(cell.pins[f"I{k}"][0], nets), dtype=np.int64) for k in range(4)]
    return {"O": rows[sum(pin << k for k, pin in enumerate(pins))]}


def _states(logic: list[activity.Cell], registers: list[Any], cycles: int) -> Nets:
    """The settled value of every net in every cycle, from registers that start at 0."""
    order: list[activity.Cell] = []
    known = {net for net, _ in registers}
    left = list(logic)
    while left:
        for cell in [c for c in left if all(b in known for b in _inputs(c))]:
            order.append(cell)
            known |= {cell.pins["O" if cell.kind == "SB_LUT4" else "CO"][0]}
            left.remove(cell)
    nets: Nets = {net: np.zeros(1, dtype=bool) for net, _ in registers}
    rows: dict[activity.Bit, list[Any]] = {net: [] for net in known}
    for _ in range(cycles):
        for cell in order:
            for pin, value in _evaluate(cell, nets).items():
                nets[cell.pins[pin][0]] = np.broadcast_to(value, (1,))
        for net in known:
            rows[net].append(nets[net])
        nets = {q: np.broadcast_to(_value(d, nets), (1,)) for q, d in registers}
    return {net: np.concatenate(values) for net, values in rows.items()}


def _inputs(cell: activity.Cell) -> list[activity.Bit]:
    pins = ("I0", "I1", "CI") if cell.kind == "SB_CARRY" else ("I0", "I1", "I2", "I3")
    return [bit for pin in pins for bit in cell.pins[pin] if isinstance(bit, tuple)]


SINKS: dict[int, dict[activity.Bit, int]] = {}


def _sinks(logic: list[activity.Cell], net: activity.Bit) -> int:
    """Places that a net leads to, counted as `lutgen.flows.fpga.activity.count` does."""
    if id(logic) not in SINKS:
        counts = SINKS[id(logic)] = {}
        for cell in logic:
            for pin, bits in cell.pins.items():
                if pin not in ("O", "CO") and not (cell.kind == "SB_CARRY" and pin != "CI"):
                    for bit in bits:
                        counts[bit] = counts.get(bit, 0) + 1
    return SINKS[id(logic)].get(net, 0)


def access(depth: int, width: int) -> float:
    """pJ an access of a macro: known, or by a power law of depth and width through the known."""
    return MACROS.get((depth, width)) or power_law(depth, width)


def power_law(depth: int, width: int) -> float:
    """By least squares of the logarithms."""
    shapes = np.log(list(MACROS))
    columns = np.column_stack([np.ones(len(shapes)), shapes])
    found, *_ = np.linalg.lstsq(columns, np.log(list(MACROS.values())), rcond=None)
    return float(np.exp(found @ [1.0, math.log(depth), math.log(width)]))


def macro_error() -> float:
    """The mean error of that law, as a fraction."""
    errors = [abs(power_law(*shape) / known - 1) for shape, known in MACROS.items()]
    return float(np.mean(errors))


def fit(counter: Activity, multiplier: Activity) -> dict[str, float]:
    """What follows from the currents, in pJ."""
    more = picojoules(slope(COUNTERS))
    sinks = [sum(a.toggles.values()) / a.cycles for a in (counter, multiplier)]
    # One figure for two unknowns: half of it to the clock inputs, half to the toggles.
    clocked = more / 2 / counter.clocked
    product = picojoules(MULTIPLIER - OSCILLATOR[12])
    return {
        "clocked": clocked,
        "low": more / 2 / sinks[0],
        "high": (product - clocked * multiplier.clocked) / sinks[1],
        "clock": picojoules(COUNTERS[1] - HALTED) - more,
    }


def rounded(value: float) -> float:
    """To three digits."""
    return float(f"{value:.3g}")


def stored(found: dict[str, float]) -> dict[str, Any]:
    """energy.json, with the fitted coefficients."""
    known: dict[str, Any] = json.loads(STORE.read_text(encoding="utf-8"))
    known["toggle_pj"] |= {key: rounded(found[key]) for key in ("low", "high")}
    known["clocked_pj"]["value"] = rounded(found["clocked"])
    known["clock_pj"]["value"] = rounded(found["clock"])
    known["static_mw"]["up5k"] |= {
        "low": rounded(BLANK * VOLTS / 1000),
        "high": rounded(HALTED * VOLTS / 1000),
    }
    known["access"]["pj"] = {kind: rounded(access(*shape)) for kind, shape in SHAPES.items()}
    return known


HEAD = """\
# The energy estimate's coefficients

Written by `python benchmarks/energy.py`. What is estimated with them, and how:
[design note 6](../design/0006-fpga.md#energy).

The currents are those that tinyVision.ai measured on a real iCE40UP5K, core rail at {volts} V,
with a Joulescope JS110 ([ice40_power](https://github.com/tinyvision-ai-inc/ice40_power)). Two
of its circuits are built anew, mapped by `lutgen synth`'s step, and their netlists simulated
for {cycles:,} cycles without delays. *Toggles* are those of all inputs of cells, a cycle; *with
delays* is how many times as many the lookup tables and carries see if a table with its wire
takes eight times as long as a carry, and every glitch passes.

| circuit | measured | pJ a cycle | tables | flip-flops | toggles | with delays |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
{circuits}

| coefficient | | from |
| --- | ---: | --- |
| a toggle at one input, low | {low:.0f} fJ | the counter, half: its nets lead to neighbours |
| a toggle at one input, high | {high:.0f} fJ | the multiplier: routed nets, glitches included |
| a clock input, a cycle | {clocked:.1f} fJ | the counter, the other half |
| the clock network, a cycle | {clock:.1f} pJ | outside clock running less halted, less a counter |
| static, UP5K | {blank:.0f} to {halted:.0f} uW | a blank design; a counter with a halted clock |

How well these explain the measurement, the circuits that they come from included:

| circuit | measured pJ a cycle | low | high |
| --- | ---: | ---: | ---: |
{residuals}

The ends lie {apart:.1f} times apart for logic: a counter of neighbours on the one, a multiplier on
the other. That half of the counter's energy goes to the clock inputs is 2 times of it, glitches
are {late:.1f} times by the delays above; the rest would be longer wires, which nobody measured.

Accesses of block RAMs have no such anchor. They are those of SRAM macros of 45 nm at 1.1 V (the
macro views of OpenROAD's nangate45 platform): of the same shape, or by a power law of depth and
width through {macros} of them (mean error {error:.0f} %). The large RAM lies outside of what that
was fitted to. The high end is twice as much, for what makes a block's shape programmable: an
assumption, as is that a block RAM that is not enabled takes nothing.

| RAM | shape | pJ an access, macro at 1.1 V |
| --- | --- | ---: |
{rams}
"""
RAMS = {
    "block_4k": "iCE40 block",
    "block_18k": "ECP5 and Artix-7 block of 18 kbit",
    "single_256k": "UP5K large RAM, extrapolated",
}


def page(
    counts: dict[str, Activity], cells: dict[str, dict[str, int]], late: dict[str, float]
) -> str:
    """The results."""
    found = fit(counts["counter"], counts["multiplier"])
    more, product = picojoules(slope(COUNTERS)), picojoules(MULTIPLIER - OSCILLATOR[12])
    measured = {
        "counter": (f"{slope(COUNTERS):.2f} uA for each of 1 to 8, 28 bits", more),
        "multiplier": (f"{MULTIPLIER - OSCILLATOR[12]:.0f} uA with it (180 cells)", product),
    }
    ends = {
        name: [of(count, found, end) for end in ("low", "high")] for name, count in counts.items()
    }
    residuals = [
        (f"outside clock, {n} counter{'s' * (n > 1)}", picojoules(current - HALTED), n, 0)
        for n, current in COUNTERS.items()
    ]
    rate = slope(OSCILLATOR) * VOLTS
    residuals.append(("inner oscillator, 24 bits, slope of 6 to 48 MHz", rate, 24 / 28, 0))
    residuals.append(("the multiplier's part", product, 0, 1))
    rows = []
    for text, value, counters, multipliers in residuals:
        low, high = (
            (0 if multipliers else found["clock"])
            + counters * ends["counter"][end]
            + multipliers * ends["multiplier"][end]
            for end in (0, 1)
        )
        rows.append(f"| {text} | {value:.2f} | {low:.2f} | {high:.2f} |")
    return HEAD.format(
        volts=VOLTS,
        cycles=CYCLES,
        circuits="\n".join(
            f"| {name} | {measured[name][0]} | {measured[name][1]:.3g} "
            f"| {cells[name]['SB_LUT4']} | {cells[name]['SB_DFF']} "
            f"| {sum(count.toggles.values()) / count.cycles:.1f} | {late[name]:.2f} times |"
            for name, count in counts.items()
        ),
        low=1000 * found["low"],
        high=1000 * found["high"],
        clocked=1000 * found["clocked"],
        clock=found["clock"],
        blank=BLANK * VOLTS,
        halted=HALTED * VOLTS,
        residuals="\n".join(rows),
        apart=found["high"] / found["low"],
        late=late["multiplier"],
        macros=len(MACROS),
        error=100 * macro_error(),
        rams="\n".join(
            f"| {RAMS[kind]} | {depth} x {width} | {access(depth, width):.2f} |"
            for kind, (depth, width) in SHAPES.items()
        ),
    )


def of(count: Activity, found: dict[str, float], end: str) -> float:
    """pJ a cycle of a circuit, without the clock network."""
    toggles = sum(count.toggles.values()) / count.cycles
    return found[end] * toggles + found["clocked"] * count.clocked


def main() -> None:
    """Measures, fits, writes."""
    parser = argparse.ArgumentParser(description="coefficients of the energy estimate")
    parser.add_argument("--write", action="store_true", help="into lutgen/cost/energy.json")
    args = parser.parse_args()
    counts, cells, late = {}, {}, {}
    for name in ("counter", "multiplier"):
        text = netlist(name)
        counts[name], late[name] = measure(name, text), glitches(text)
        cells[name] = Counter(cell.kind for cell in activity.parse_cells(text))
    new = stored(fit(counts["counter"], counts["multiplier"]))
    if args.write:
        write_text(STORE, json.dumps(new, indent=1) + "\n")
    elif new != json.loads(STORE.read_text(encoding="utf-8")):
        print("energy.json holds other coefficients; write them with --write")
    write_text(ROOT / "docs" / "results" / "energy.md", page(counts, cells, late))


if __name__ == "__main__":
    main()
