"""Accuracy and time of `lutgen.train` on digits and MNIST.

    python benchmarks/train_mlp.py            all rows; rows already measured are kept
    python benchmarks/train_mlp.py --again    measures every row anew

Writes ``benchmarks/results/train_mlp.json`` and, from it, ``docs/results/train_mlp.md`` after every
row. MNIST comes from ``../shared/data/mnist.npz`` beside the repository, or from ``--mnist``; its
rows are left out where that is absent.
"""

import os
import platform
from pathlib import Path

import numpy as np
from _common import Row, conditions, cpu, play

import lutgen
from lutgen.train import load_data, train

METRICS = ("l1", "l2", "chebyshev")
SEEDS = (0, 1, 2)


def rows(mnist: Path) -> list[Row]:
    """What is measured: v = 4, c = 16, 8-bit tables and activations."""
    found: list[Row] = [
        {"data": "digits", "arch": [256, 128], "metric": metric, "seed": seed}
        for metric in METRICS
        for seed in SEEDS
    ]
    if mnist.is_file():
        found += [
            {"data": "mnist", "arch": [128, 64], "metric": metric, "seed": 0} for metric in METRICS
        ]
    return found


def measure(row: Row, mnist: Path) -> Row:
    """Trains, and runs the model's golden inference on the test samples."""
    seed = row["seed"]
    data = load_data("digits", seed=seed) if row["data"] == "digits" else load_data(mnist)
    result = train(data, arch=row["arch"], metric=row["metric"], seed=seed)
    golden = float(np.mean(result.model.predict(data.x_test).classes == data.y_test))
    return {
        **row,
        "float": result.float_accuracy,
        "replaced": result.replaced_accuracy,
        "model": result.model_accuracy,
        "golden": golden,
        "test_samples": len(data.x_test),
        "seconds": round(result.seconds, 1),
        "lutgen": lutgen.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "blas_threads": os.environ.get("OPENBLAS_NUM_THREADS", "default"),
    }


def table(results: list[Row]) -> str:
    """The page: a row for each measurement, and the conditions."""
    lines = [
        "# Training: accuracy and time",
        "",
        "Written by `python benchmarks/train_mlp.py`. v = 4, c = 16, 8-bit tables and activations,",
        "defaults otherwise; the seed also splits digits. *Float* is the network that training",
        "starts from, *replaced* the lookup network before joint training, *golden* the exported",
        "integer model; all on test samples. Those choose no epoch, but the defaults of training",
        "(noise, rates, weights of the loss) were settled while looking at them: take the numbers",
        "as slightly optimistic. digits has 359 test samples, so a point is 4 of them.",
        "",
        "| data | layers | metric | seed | float % | replaced % | golden % | seconds |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in results:
        accuracies = " | ".join(f"{100 * r[key]:.2f}" for key in ("float", "replaced", "golden"))
        layers = "-".join(map(str, r["arch"]))
        lines.append(
            f"| {r['data']} | {layers} | {r['metric']} | {r['seed']} | {accuracies} | "
            f"{r['seconds']:.0f} |"
        )
    return "\n".join(
        lines
        + conditions(
            f"lutgen {r['lutgen']}, Python {r['python']}, numpy {r['numpy']}, {r['cores']} cores "
            f"({r['cpu']}), OPENBLAS_NUM_THREADS {r['blas_threads']}"
            for r in results
        )
    )


if __name__ == "__main__":
    play("train_mlp", "accuracy and time of lutgen.train", rows, measure, table)
