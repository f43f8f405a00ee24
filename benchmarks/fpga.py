"""Cores in FPGAs: area, frequency and images a second after routing, beside a rival of multipliers.

    python benchmarks/fpga.py                 all rows; rows already measured are kept
    python benchmarks/fpga.py --only up5k     some of them
    python benchmarks/fpga.py --again         measures every row anew

Takes the networks of ``examples/models``, does what `lutgen synth` does with them, and simulates
every netlist on 20 test images, from which comes the estimate of energy. The rival
(benchmarks/rival) is a network of the same shape in 8-bit integers on the part's multiplier blocks,
placed by the same tools with the same seeds. Writes ``benchmarks/results/fpga.json`` and from it
``docs/results/fpga.md`` with its pictures after every row. MNIST and CIFAR-10 come from
``../shared`` beside the repository; where MNIST is absent, nothing is measured and the page is
written anew.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import fpga_models
import numpy as np
from _common import ROOT, Row, cifar10, conditions, cpu, play
from _fpga_pictures import LARGE, draw, rate
from rival.build import build
from rival.quantise import quantise
from rival.synth import place

import lutgen
from lutgen.cost.energy import PARTS, Activity, Energy, estimate
from lutgen.cost.solve import solve
from lutgen.flows.fpga.netlist import Checked, check_netlist
from lutgen.flows.fpga.parts import device_part
from lutgen.flows.fpga.synth import Synthesised, place_pins, synthesise
from lutgen.train import Dataset, FloatNet, load_data, train

MODELS = ROOT / "examples" / "models"
SEEDS = (1, 2, 3, 4, 5)
SAMPLES = 20
LARGE_SEEDS = (1, 2)  # of CIFAR-10, where a placement takes half an hour
# What the core has to reach: accuracy in %, images/s, times the rival.
GOALS: dict[str, tuple[float, float | None, float | None]] = {
    "up5k": (97.5, 10_000, 4),
    "hx8k": (97.0, 20_000, None),
    "25k": (98.0, 500_000, 5),
    "xc7a35t": (97.7, None, None),
    LARGE: (84.94, 1_500, None),  # the float network has 86.94 %
}
OF_LARGE = (
    "On the ECP5-85F the network is MLPerf Tiny's pretrained ResNet-8, on the 5,000 test images of",
    f"CIFAR-10 (86.94 % in floats), with {len(LARGE_SEEDS)} placements.",
)
RIVALS = {"up5k": "up5k", "25k": "ecp5-25f"}


def network(device: str) -> Path:
    """The model for a device."""
    return MODELS / (f"cifar10_{device}.lut" if device == LARGE else f"mnist_{device}.lut")


def images(device: str, mnist: Path) -> Dataset:
    """What it is tested on."""
    return load_data(str(cifar10() if device == LARGE else mnist))


def rows(mnist: Path) -> list[Row]:
    """Two rows for each device, the core and its activity, and one for the rival on two of them."""
    if not mnist.is_file():
        return []
    found: list[Row] = []
    for device in GOALS:
        if not network(device).is_file():
            continue
        model = lutgen.load(network(device))
        asked = fpga_models.LARGE_ASKED if device == LARGE else fpga_models.WISHES[device][1]
        seeds = list(LARGE_SEEDS if device == LARGE else SEEDS)
        seeds = seeds if device_part(device).router else []
        sha = lutgen.model.digest(model)
        found.append(
            {"what": "core", "device": device, "asked": asked, "model": sha, "seeds": seeds}
        )
        found.append({"what": "activity", "device": device, "asked": asked, "model": sha})
        if device in RIVALS:
            found.append({"what": "rival", "device": device, "model": sha, "seeds": seeds})
    return found


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def measure(row: Row, mnist: Path) -> Row:
    """One core, or one rival."""
    start = time.monotonic()
    kinds = {"core": measure_core, "activity": measure_activity, "rival": measure_rival}
    found = kinds[row["what"]](row, mnist)
    found.pop("seconds", None)
    return {**row, **found, "seconds": round(time.monotonic() - start, 1), "cpu": cpu()}


def map_row(row: Row, mnist: Path) -> tuple[Synthesised, float, Checked]:
    """Solves, synthesises, simulates the netlist; and the model's accuracy."""
    device = row["device"]
    data = images(device, mnist)
    model = lutgen.load(network(device))
    accuracy = float(np.mean(model.predict(data.x_test).classes == data.y_test))
    loadable = device == "up5k"
    margin = fpga_models.LARGE_MARGIN if device == LARGE else fpga_models.MARGIN
    solution = solve(
        model, device=device, interval=row["asked"], margin=margin, loadable=loadable, say=say
    )
    core = lutgen.build(
        model, spec=solution.spec, forms=solution.forms, target=device, loadable=loadable
    )
    part = device_part(device)
    mapped = synthesise(core, part, solution.area.total, say)
    q = model.quantise(data.x_test[:SAMPLES])
    golden = model.run(q)[model.nodes[-1].name]
    words = core.load_image(model) if loadable else None
    return mapped, accuracy, check_netlist(mapped, q.reshape(SAMPLES, -1), golden, load_words=words)


def measure_activity(row: Row, mnist: Path) -> Row:
    """What the nets do in an inference."""
    mapped, _, netlist = map_row(row, mnist)
    if netlist.activity is None:
        raise SystemExit(f"{row['device']}: no activity: {netlist.said}")
    return {
        "luts": mapped.mapped.luts,
        "steady": netlist.steady,
        "activity": netlist.activity.data(),
    }


def measure_core(row: Row, mnist: Path) -> Row:
    """Solves, synthesises, simulates the netlist, places."""
    mapped, accuracy, netlist = map_row(row, mnist)
    core, part = mapped.core, mapped.part
    found: Row = {
        "accuracy": accuracy,
        "interval": core.contract["interval"],
        "latency": core.contract["latency"],
        "input_lanes": core.contract["input"]["lanes"],
        "stage_routed": part.router is not None,
        **mapped.data(),
        "netlist": {
            "passed": netlist.passed,
            "results": netlist.samples,
            "mismatches": netlist.mismatches,
        },
    }
    if part.router is None:
        return found
    placed = place_pins(mapped, clock=None, seeds=row["seeds"], say=say)
    return {**found, **placed.data()}


def measure_rival(row: Row, mnist: Path) -> Row:
    """Trains a float network of the shape, quantises, builds, places."""
    data = images(row["device"], mnist)
    rival = quantise(float_network(row["device"], data), data.x_train[:2000])
    accuracy = float(np.mean(rival.classes(data.x_test) == data.y_test))
    core = build(rival, target=RIVALS[row["device"]])
    with tempfile.TemporaryDirectory() as folder:
        placed = []
        for seed in row["seeds"]:
            say(f"the rival on {row['device']}, seed {seed} ...")
            placed.append(place(core, Path(folder), seed=seed))
    speeds = [one["fmax_mhz"] for one in placed]
    return {
        "network": "-".join(map(str, shape(row["device"]))),
        "accuracy": accuracy,
        "interval": core.spec.interval,
        "cells": placed[0]["cells"],
        "fmax_mhz": {"median": statistics.median(speeds), "best": max(speeds)},
        "placements": placed,
    }


def shape(device: str) -> list[int]:
    """Inputs and outputs of the layers of a perceptron."""
    model = lutgen.load(network(device))
    layers = [node for node in model.nodes if hasattr(node, "in_features")]
    return [layers[0].in_features, *(node.out_features for node in layers)]


def float_network(device: str, data: Dataset) -> FloatNet:
    """A float perceptron of the same shape, trained alike."""
    inputs, *hidden, _ = shape(device)
    if inputs != 784:
        raise SystemExit(f"{device}: the rival takes whole images, not {inputs} inputs")
    return train(data, arch=tuple(hidden), stages=("replace",), seed=0).origin


def verdict(value: float, goal: float | None, form: str) -> str:
    """A goal, and whether it was reached."""
    if goal is None:
        return ""
    return f"{form.format(goal)} ({'reached' if value >= goal else 'missed'})"


def table(results: list[Row]) -> str:
    """The page."""
    cores = [r for r in results if r["what"] == "core"]
    rivals = {r["device"]: r for r in results if r["what"] == "rival"}
    routed = [r for r in cores if r["stage_routed"]]
    speeds, areas = draw(results, ROOT / "docs" / "results")
    lines = [
        "# Cores in FPGAs",
        "",
        "Written by `python benchmarks/fpga.py`: the networks of",
        "[examples/models](../../examples/models/README.md), through the steps of `lutgen synth`.",
        f"Frequencies are the median (and the best) of {len(SEEDS)} placements after routing,",
        "images a second the median by the interval. The core is out of context: registers at all",
        "its ports, and no pins. *Error* is the estimate over what synthesis took. Accuracy is",
        "golden inference on the 10,000 test images.",
        *(OF_LARGE if any(r["device"] == LARGE for r in cores) else ()),
        "",
        *speeds,
        "| part | accuracy % | goal | cycles an image | Fmax MHz | images/s | goal "
        "| times the rival | goal |",
        "| --- | ---: | --- | ---: | ---: | ---: | --- | ---: | --- |",
    ]
    for r in routed:
        accuracy, enough, times = GOALS[r["device"]]
        speed = rate(r)
        right = rate(rivals[r["device"]]) if r["device"] in rivals else None
        ratio = None if right is None else speed / right
        lines.append(
            f"| {r['part']} ({r['package']}{' ' + r['speed_grade'] if r['speed_grade'] else ''}) "
            f"| {100 * r['accuracy']:.2f} | {verdict(100 * r['accuracy'], accuracy, '{:g}')} "
            f"| {r['interval']:,} | {r['fmax_mhz']['median']:.1f} ({r['fmax_mhz']['best']:.1f}) "
            f"| {speed:,.0f} | {verdict(speed, enough, '{:,.0f}')} "
            f"| {'' if ratio is None else f'{ratio:.2f}'} "
            f"| {'' if ratio is None else verdict(ratio, times, '{:g}')} |"
        )
    lines += [
        "",
        "What they take, the core alone, and what the solver had estimated. Netlists are simulated",
        "in the parts' own cells with random stalls: results that differ from golden.",
        "",
        *areas,
        "| part | stage | LUTs | error % | flip-flops | error % | block RAMs | large RAMs "
        "| netlist: results | differ |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in cores:
        guess = r["estimate"]
        lines.append(
            f"| {r['part']} | {'routed' if r['stage_routed'] else 'synthesised'} "
            f"| {r['core']['luts']:,} | {100 * guess['luts']['error']:+.0f} "
            f"| {r['core']['ffs']:,} | {100 * guess['ffs']['error']:+.0f} "
            f"| {r['core']['blocks']} | {r['core']['single']} "
            f"| {r['netlist']['results']} | {r['netlist']['mismatches']} |"
        )
    lines += [
        "",
        "The rival: the same shape of network in 8-bit integers on the part's multiplier blocks,",
        "with what is [fair about it, and what is not](../../benchmarks/rival/README.md).",
        "",
        "| part | network | accuracy % | cycles an image | Fmax MHz | images/s | cells |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for device, r in rivals.items():
        cells = ", ".join(f"{kind} {count:,}" for kind, count in r["cells"].items())
        lines.append(
            f"| {device} | {r['network']} | {100 * r['accuracy']:.2f} | {r['interval']:,} "
            f"| {r['fmax_mhz']['median']:.1f} ({r['fmax_mhz']['best']:.1f}) | {rate(r):,.0f} "
            f"| {cells} |"
        )
    small = next((r for r in cores if r["device"] == "xc7a35t"), None)
    if small is not None:
        luts, model = small["core"]["luts"], 100 * small["accuracy"]
        lines += [
            "",
            "On Artix-7 (xc7a35t, synthesis by yosys, the encoders counted): "
            f"{luts:,} LUTs and {small['core']['blocks']} block RAMs of 18 kbit at {model:.2f} %, "
            f"{small['interval']:,} cycles an image. These are cells before placement. "
            f"{small['core']['carry_luts']:,} of the LUTs are carry inputs: input S of a carry bit "
            "comes only from the table beside it, so that one whose signal comes from elsewhere "
            "takes a table of its own ([the rule](../design/0006-fpga.md)). Numbers that others "
            "publish are Vivado's after routing, so none stands beside it. LUTs of the other parts "
            "are cells of the netlist too; the cells that carries of iCE40 and ECP5 need besides "
            "come in when nextpnr packs, and the frequencies are of designs that hold them.",
        ]
    lines += energies(cores, [r for r in results if r["what"] == "activity"])
    tools = {tool for r in cores for tool in r["tools"]}
    return "\n".join(lines + conditions([f"{', '.join(sorted(tools))}; {cpu()}"]))


def energies(cores: list[Row], activities: list[Row]) -> list[str]:
    """The table of energy."""
    rows: list[tuple[Row, Energy]] = []
    for r in cores:
        for found in activities:
            if (found["device"], found["model"]) == (r["device"], r["model"]):
                clock = 1e6 * r["fmax_mhz"]["median"] if r["stage_routed"] else None
                activity = Activity(**found["activity"])
                energy = estimate(activity, device_part(r["device"]).device, clock)
                assert energy is not None
                rows.append((r, energy))
    if not rows:
        return []
    lines = [
        "",
        "Energy of an inference: an estimate from the netlists' toggles on test images, at the",
        "median frequency ([how](../design/0006-fpga.md#energy), [from what](energy.md)): of the",
        "core's part of the chip and the chip's static power, without pins, oscillator or board.",
        "In brackets what the estimate can't tell apart; then what the middle consists of. Static",
        "power is measured for the UP5K, and the data sheet's typical figure for the others.",
        "",
        "| part | network | accuracy % | images/s | uJ an image | static | clock "
        "| logic, wires | flip-flops | RAM | mW |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r, energy in rows:
        middles = energy.middles
        shares = [
            f"{100 * middles[name] / energy.middle:.0f} %" if name in middles else "not known"
            for name in PARTS
        ]
        low, middle, high = (value * 1e-6 for value in (energy.low, energy.middle, energy.high))
        speed, power = "", ""
        if energy.clock is not None:
            speed = f"{energy.clock / energy.interval:,.0f}"
            power = f"{energy.data()['power_mw']['middle']:.3g}"
        data = "CIFAR-10" if r["device"] == LARGE else "MNIST"
        lines.append(
            f"| {r['part']} | {data} | {100 * r['accuracy']:.2f} | {speed} "
            f"| {middle:.3f} ({low:.3f} to {high:.3f}) | {' | '.join(shares)} | {power} |"
        )
    return [
        *lines,
        "",
        "Without a placement there is no clock, and no static energy: XC7A35T is what switches.",
        "",
        "Beside it, MLPerf Tiny's rows of FPGAs (arXiv 2206.11791), which are of another kind:",
        "whole boards, measured, on CIFAR-10. They say where boards stand, not how these compare:",
        "",
        "| | network | accuracy % | images/s | uJ an image |",
        "| --- | --- | ---: | ---: | ---: |",
        "| FINN CNV-W1A1 on a PYNQ-Z2 | CIFAR-10 | 84.5 | 661 | 2,530 |",
        "| hls4ml RN07 | CIFAR-10 | 83.5 | 36.6 | 44,000 |",
    ]


if __name__ == "__main__":
    play("fpga", "cores in FPGAs, after routing", rows, measure, table)
