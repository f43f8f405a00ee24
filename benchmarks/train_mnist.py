"""Accuracy and time of `lutgen.train` on digits and MNIST: perceptrons and LeNet-5.

    python benchmarks/train_mnist.py                   all rows; rows already measured are kept
    python benchmarks/train_mnist.py --only lenet5     some of them
    python benchmarks/train_mnist.py --again           measures every row anew

Writes ``benchmarks/results/train_mnist.json`` and, from it, ``docs/results/train_mnist.md`` after
every row. MNIST comes from ``../shared/data/mnist.npz`` beside the repository, or from ``--mnist``;
its rows are left out where that is absent.
"""

from pathlib import Path
from statistics import median

import numpy as np
from _common import Row, play
from _train import THREADS, described, environment

from lutgen.train import load_data, train
from lutgen.train.recipes import recipe

METRICS = ("l1", "l2", "chebyshev")
SEEDS = (0, 1, 2)
GOALS = {  # points that may be lost
    ("mnist", "256-128", 4, "l1"): 0.3,
    ("mnist", "256-128", 8, "l1"): 0.8,
    **{("mnist", "lenet5", 4, metric): 0.3 for metric in METRICS},
}


def rows(mnist: Path) -> list[Row]:
    """What is measured: c = 16, 8-bit tables and activations, defaults otherwise."""
    found: list[Row] = [
        {"data": "digits", "arch": "256-128", "subvec": 4, "metric": metric, "seed": seed}
        for seed in SEEDS
        for metric in METRICS
    ]
    if mnist.is_file():
        found += [
            {"data": "mnist", "arch": arch, "subvec": subvec, "metric": metric, "seed": seed}
            for seed in SEEDS
            for _, arch, subvec, metric in GOALS
        ]
    return found


def measure(row: Row, mnist: Path) -> Row:
    """Trains, and runs the model's golden inference on the test samples."""
    seed = row["seed"]
    data = load_data("digits", seed=seed) if row["data"] == "digits" else load_data(mnist)
    arch = row["arch"] if row["arch"] == "lenet5" else tuple(map(int, row["arch"].split("-")))
    result = train(
        data, arch=arch, subvec=row["subvec"], metric=row["metric"], seed=seed, threads=THREADS
    )
    predicted = result.model.predict(data.x_test)
    trained = result.network.outputs(result.model.quantise(data.x_test))
    return {
        **row,
        **{stage: value for stage, value in result.accuracy.items() if stage != "model"},
        "golden": float(np.mean(predicted.classes == data.y_test)),
        "rounding": "feedback",
        "epochs": len(result.curves["joint"]),
        "soft": recipe(data.shape, row["arch"] == "lenet5", len(data.x_train), False).joint.soft,
        "differ": int((predicted.outputs != trained).any(axis=1).sum()),
        "test_samples": len(data.x_test),
        "table_bytes": sum(layer.table_bytes for layer in result.layers),
        "seconds": round(result.seconds, 1),
        "threads": THREADS,
        **environment(),
    }


def table(results: list[Row]) -> str:
    """The page: the medians, a row for each measurement, and the conditions."""
    lines = [
        "# Training on digits and MNIST",
        "",
        "Written by `python benchmarks/train_mnist.py`. c = 16, 8-bit tables and activations,",
        "defaults otherwise; LeNet-5 with the encoding `pixel`. *Float* is the network that",
        "training starts from, *replace* and *refit* the lookup network after these stages,",
        "*golden* the exported integer model after joint training; all in % of the test",
        "samples. Those choose no epoch, but the defaults of training were settled while",
        "looking at some of them: take the numbers as slightly optimistic. *Differ* counts",
        "test samples of which any output of the exported model is not what training",
        "computed. *Rounding* is how the refit rounds tables: with *feedback* of its errors, or",
        "each entry to the *nearest*, as it was done before; *soft* is how much of a gradient",
        "goes through a soft choice of centroids, none where that did not exist yet. *Epochs*",
        "are those of joint training; where none stand, the row is of earlier settings.",
        "",
        "Medians over the seeds, of what is lost too (of its differences), and what may be:",
        "",
        "| data | network | v | metric | seeds | float | golden | lost, points | goal |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    keys = dict.fromkeys((r["data"], r["arch"], r["subvec"], r["metric"]) for r in results)
    for key in keys:
        mine = [r for r in results if (r["data"], r["arch"], r["subvec"], r["metric"]) == key]
        first, last, lost = (
            100 * median(values)
            for values in (
                [r["float"] for r in mine],
                [r["golden"] for r in mine],
                [r["float"] - r["golden"] for r in mine],
            )
        )
        goal = f"{GOALS[key]:.1f}" if key in GOALS else ""
        lines.append(
            f"| {key[0]} | {key[1]} | {key[2]} | {key[3]} | {len(mine)} | {first:.2f} | "
            f"{last:.2f} | {lost:.2f} | {goal} |"
        )
    lines += [
        "",
        "Every run:",
        "",
        "| data | network | v | metric | seed | float | replace | refit | golden | differ "
        "| rounding | soft | epochs | table KB | seconds | threads | peak MB |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: | ---: "
        "| ---: | ---: | ---: | ---: |",
    ]
    for r in results:
        steps = " | ".join(f"{100 * r[key]:.2f}" for key in ("float", "replace", "refit", "golden"))
        lines.append(
            f"| {r['data']} | {r['arch']} | {r['subvec']} | {r['metric']} | {r['seed']} | {steps} "
            f"| {r['differ']} | {r.get('rounding', 'nearest')} | {r.get('soft', 0):g} "
            f"| {r.get('epochs', '')} | {r['table_bytes'] / 1024:.0f} "
            f"| {r['seconds']:.0f} | {r.get('threads', 2)} | {r['peak_mb']} |"
        )
    return "\n".join(lines + described(results))


if __name__ == "__main__":
    play("train_mnist", "accuracy and time of lutgen.train on MNIST", rows, measure, table)
