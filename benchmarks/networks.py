"""Whole networks as cores: convolutional, residual, and one folded out whole; against golden.

    python benchmarks/networks.py                  all rows; rows already measured are kept
    python benchmarks/networks.py --only lenet5    some of them
    python benchmarks/networks.py --again          measures every row anew

Trains the models (or takes them from ``build/benchmarks``), builds cores at several folds, and
simulates test samples in Verilator by the compiled driver, under random stalls on both streams and
with broken frames between, then without, for latency and interval. Writes
``benchmarks/results/networks.json`` after every row, and ``docs/results/networks.md`` from it.
MNIST, CIFAR-10 and the pretrained ResNet-8 come from ``../shared`` beside the repository.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from _common import ROOT, Row, cifar10, conditions, cpu, play
from _train import NETWORK, convert_resnet8

import lutgen
from lutgen.flows import simulate, tools
from lutgen.train import Dataset, load_data, train

MODELS = ROOT / "build" / "benchmarks"

# Fold by name; "layers" are single stages.
FOLDS: dict[str, dict[str, dict[str, Any]]] = {
    "mlp": {
        "whole": {
            **dict.fromkeys(("lanes", "fan_in", "encoder_centroids", "encoder_dims"), 999),
            "input_lanes": 64,
        }
    },
    "lenet5": {
        "default": {},
        "windows": {
            "layers": {
                "conv1": {"fan_in": 25},
                "conv2": {"fan_in": 10},
                "fc1": {"lanes": 20, "fan_in": 10},
                "fc2": {"lanes": 14, "fan_in": 5},
            }
        },
    },
    "resnet8": {
        "default": {},
        "fan-in 4": {"fan_in": 4, "layers": {"conv2d": {"fan_in": 6}}},
    },
}
SAMPLES = {"mlp": 359, "lenet5": 500, "resnet8": 20}

# Time and peak memory of a process of its own.
BUILD = """
import json, sys, time
import lutgen
model, fold = lutgen.load(sys.argv[1]), json.loads(sys.argv[3])
start = time.perf_counter()
lutgen.build(model, **fold).write(sys.argv[2])
spent = time.perf_counter() - start
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({"seconds": spent, "megabytes": int(status["VmHWM"].split()[0]) / 1024}))
"""


def model_of(row: Row, mnist: Path) -> tuple[lutgen.Model, Dataset]:
    """The trained network, from an earlier run where there is one, and its data."""
    name, encode = row["network"], row["encode"]
    if name == "mlp":
        data = load_data("digits")
    else:
        data = load_data(mnist if name == "lenet5" else cifar10())
    path = MODELS / f"{name}_{encode.replace(' ', '_')}.lut"
    if path.is_file():
        return lutgen.load(path), data
    if name == "mlp":
        result = train(data, arch=(32,), metric="l1", seed=0)
    elif name == "lenet5":
        result = train(data, arch="lenet5", metric="l1", seed=0, float_epochs=3, epochs=1)
    else:
        sought = {"subvec": 4, "metric": "l1", "encode": encode, "seed": 0}
        result = convert_resnet8(sought, data, stages=("replace", "refit"))
    MODELS.mkdir(parents=True, exist_ok=True)
    lutgen.save(result.model, path)
    return result.model, data


def rows(mnist: Path) -> list[Row]:
    """Every network that there is data for."""
    found: list[Row] = [{"network": "mlp", "encode": "linear", "fold": "whole"}]
    if mnist.is_file():
        found += [{"network": "lenet5", "encode": "pixel", "fold": f} for f in FOLDS["lenet5"]]
    if NETWORK.is_file():
        found += [
            {"network": "resnet8", "encode": encode, "fold": fold}
            for fold in FOLDS["resnet8"]
            for encode in ("pixel", "window chw")
        ]
    return found


def measure(row: Row, mnist: Path) -> Row:
    """Builds, simulates, compares."""
    name = row["network"]
    model, data = model_of(row, mnist)
    fold = FOLDS[name][row["fold"]]
    stem = f"{name}_{row['encode'].replace(' ', '_')}"
    target = MODELS / f"{stem}_{row['fold'].replace(' ', '_')}.v"
    command = [sys.executable, "-c", BUILD, str(MODELS / f"{stem}.lut"), str(target)]
    runs = 3 if name != "resnet8" else 1
    builds = [
        json.loads(
            subprocess.run([*command, json.dumps(fold)], capture_output=True, check=True).stdout
        )
        for _ in range(runs)
    ]
    contract = json.loads(target.with_suffix(".json").read_text("utf-8"))
    samples = min(SAMPLES[name], len(data.x_test))
    q = model.quantise(data.x_test[:samples]).reshape(samples, -1)
    expected = model.run(q)[model.nodes[-1].name]
    report = simulate(
        target.read_text("utf-8"),
        contract,
        q,
        expected,
        driver="compiled",
        gaps=0.5,
        seed=0,
        faults=True,
    )
    busiest = max(contract["stages"], key=lambda stage: stage["interval"])
    layers = [stage for stage in contract["stages"] if "lookup" in stage["cycles"]]
    return {
        **row,
        "accuracy": float((model.predict(data.x_test).classes == data.y_test).mean()),
        "samples": samples,
        "words": report.cores[0].words,
        "mismatches": report.mismatches,
        "passed": report.passed,
        "latency": [contract["latency"], report.latency],
        "interval": [contract["interval"], report.interval],
        "bottleneck": busiest["name"],
        # Lookup cycles of the stage with most of them, over the measured interval.
        "utilisation": max(s["cycles"]["lookup"] for s in layers) / (report.interval or 1),
        "busy": busiest["interval"] / (report.interval or 1),
        "lookups": sum(s["cycles"]["lookup"] * s["fold"]["fan_in"] for s in layers),
        "encode_cycles": max(stage["cycles"].get("encode", 0) for stage in contract["stages"]),
        "resources": contract["resources"],
        "deepest_queue": max(queue["depth"] for queue in contract["queues"]),
        "cycles_per_second": report.data()["cycles_per_second"],
        "images_per_second": report.data()["samples_per_second"],
        "sim_build_seconds": None if report.cached else round(report.build_seconds, 1),
        "build_seconds": round(statistics.median(b["seconds"] for b in builds), 1),
        "build_megabytes": round(max(b["megabytes"] for b in builds)),
        "verilog_bytes": target.stat().st_size,
        "verilator": tools.package_version("verilator"),
        "tools": contract["tools"],
        "cpu": cpu(),
        "cores": os.cpu_count(),
    }


def table(rows: list[Row]) -> str:
    """The page."""
    lines = [
        "# Whole networks as cores",
        "",
        "Written by `python benchmarks/networks.py`. l1, v = 4, c = 16, 8-bit tables and",
        "activations, seed 0. *mlp* is digits 64-32-10 folded out whole; *lenet5* runs on MNIST;",
        "*resnet8* is MLPerf Tiny's, converted without gradients, on CIFAR-10. Every output word",
        "is compared with golden, in Verilator by the compiled driver, under random stalls on both",
        "streams (half of all cycles) and with broken frames between. *Latency* and *interval* are",
        "cycles, contract / measured. *Busy* is the part of the interval in which the bottleneck",
        "works; *lookups* the part in which the matcher with most lookups looks up. *Images/s* is",
        "simulation, all passes together. *Build* is `lutgen build` in a process of its own.",
        "",
        "| network | encode | fold | accuracy % | samples | words that differ | latency | interval "
        "| bottleneck | busy % | lookups % | images/s | cycles/s | build s | build MB |",
        "| --- | --- | --- |" + " ---: |" * 5 + " --- |" + " ---: |" * 6,
    ]
    for r in rows:
        cells = [
            r["network"],
            r["encode"],
            r["fold"],
            f"{100 * r['accuracy']:.2f}",
            f"{r['samples']}",
            f"{r['mismatches']} of {r['words']}",
            f"{r['latency'][0]} / {r['latency'][1]}",
            f"{r['interval'][0]} / {r['interval'][1]}",
            r["bottleneck"],
            f"{100 * r['busy']:.1f}",
            f"{100 * r['utilisation']:.1f}",
            f"{r['images_per_second']:,.1f}",
            f"{r['cycles_per_second']:,}",
            f"{r['build_seconds']:.1f}",
            f"{r['build_megabytes']}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "What the cores hold, in bits, and what an image costs:",
        "",
        "| network | encode | fold | tables | codebooks | biases | index buffers | line buffers "
        "| queues | deepest queue | most encoder cycles | table rows looked up |",
        "| --- | --- | --- |" + " ---: |" * 9,
    ]
    for r in rows:
        bits = r["resources"]
        cells = [r["network"], r["encode"], r["fold"]]
        kinds = ("table", "codebook", "bias", "index_buffer", "line_buffer", "queue")
        cells += [f"{bits[kind]:,}" for kind in kinds]
        cells += [f"{r['deepest_queue']}", f"{r['encode_cycles']:,}", f"{r['lookups']:,}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        lines
        + conditions(
            f"lutgen {r['tools']['lutgen']}, Amaranth {r['tools']['amaranth']}, its yosys "
            f"{r['tools']['yosys']}, Verilator {r['verilator']}, {r['cores']} cores ({r['cpu']})"
            for r in rows
        )
    )


if __name__ == "__main__":
    measured = play("networks", "whole networks as cores", rows, measure, table)
    sys.exit(0 if all(r["passed"] for r in measured) else 1)
