"""MNIST networks for small FPGAs: trains each from scratch, keeps it, and says what it takes.

    python benchmarks/fpga_models.py               all devices; rows already measured are kept
    python benchmarks/fpga_models.py --only up5k   one of them

Writes ``examples/models/mnist_<device>.lut``, ``benchmarks/results/fpga_models.json`` and, from it,
``docs/results/fpga_models.md`` after every row, and ``examples/models/README.md`` at the end. MNIST
comes from ``../shared/data/mnist.npz`` beside the repository, or from ``--mnist``.
"""

from pathlib import Path
from typing import Any

import numpy as np
from _common import ROOT, Row, play
from _train import described, environment

import lutgen
from lutgen.cost.solve import Solution, solve
from lutgen.files import write_text
from lutgen.model import Model
from lutgen.train import (
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Flatten,
    FloatNet,
    MaxPool2d,
    ReLU,
    he,
    load_data,
    train,
)
from lutgen.train.floatnet import FloatLayer

MODELS = ROOT / "examples" / "models"
MARGIN = 0.1
# Of CIFAR-10 on the ECP5-85F: cycles an image, and what is left free.
LARGE_ASKED, LARGE_MARGIN = 36_864, 0.01
GOALS = {  # accuracy in %; what the core is to reach
    "up5k": (97.5, "40,000 images/s at 35 MHz"),
    "hx8k": (97.0, "20,000 images/s at 50 MHz"),
    "25k": (98.0, "500,000 images/s at 100 MHz"),
    "xc7a35t": (97.7, "few LUTs"),
}


def convolved(rng: np.random.Generator, channels: int) -> FloatNet:
    """A convolution on means of 2x2 pixels, and a last layer that is one window of all of them: as
    `Conv2d` its pixels share codebooks, which would otherwise take as many blocks as the tables.
    """
    one = np.ones(channels, np.float32)
    layers: list[FloatLayer] = [
        AvgPool2d("shrink", ["input"], (2, 2), (2, 2)),
        Conv2d("conv1", ["shrink"], he(rng, (3, 3, 1, channels)), pad=(1, 1, 1, 1)),
        BatchNorm("norm1", ["conv1"], one, 0 * one, 0 * one, one),
        ReLU("relu1", ["norm1"]),
        MaxPool2d("pool1", ["relu1"], (2, 2), (2, 2)),
        Conv2d("fc1", ["pool1"], he(rng, (7, 7, channels, 10))),
        Flatten("flatten", ["fc1"]),
    ]
    return FloatNet((28, 28, 1), layers)


def options(device: str) -> dict[str, Any]:
    """What `lutgen.train.train` is given: the network, and how its layers become lookups.

    Pixels are cut to 4 bits: encoders are half as large, and accuracy hardly changes.

    The UP5K's single-port RAMs give 16 entries of 4 bits a cycle, each worth as many products as a
    sub-vector has inputs: so these are long. Block RAM is what is short then: pixels of 3 bits make
    codebooks smaller, and hidden activations of 2 bits are indices themselves. Codebooks for these
    take more and lose more, if there are not 16 centroids for every 2 of them.
    """
    rng = np.random.default_rng(0)
    if device == "up5k":
        return {
            "arch": (96,),
            "activation_bits": 3,
            "layers": {
                "fc1": {"subvec": 6, "table_bits": 4, "activation_bits": 2},
                "fc2": {"metric": "digit", "centroids": 4, "table_bits": 6},
            },
        }
    if device == "hx8k":
        return {
            "net": convolved(rng, 12),
            "float_epochs": 12,
            "layers": {
                "conv1": {"encode": "window", "subvec": 3},
                "fc1": {"subvec": 1, "centroids": 4, "table_bits": 4},
            },
        }
    if device == "25k":
        return {
            "arch": (96,),
            "layers": {
                "fc1": {"subvec": 2, "centroids": 4, "table_bits": 4},
                "fc2": {"metric": "digit", "table_bits": 8},
            },
        }
    if device == "xc7a35t":
        return {
            "arch": (96,),
            "layers": {
                "fc1": {"table_bits": 4},
                "fc2": {"metric": "digit", "table_bits": 8},
            },
        }
    raise ValueError(f"No network for {device!r}")


# The network in words, and what the solver is asked for: cycles an image at most.
WISHES: dict[str, tuple[str, int]] = {
    "up5k": ("784-96-10, v = 6", 800),
    "hx8k": ("mean of 2x2 pixels, conv 3x3 of 12 channels, max pool, 10", 2500),
    "25k": ("784-96-10, v = 2, c = 4", 200),
    "xc7a35t": ("784-96-10, v = 4", 800),
}


def rows(mnist: Path) -> list[Row]:
    """A row for each device."""
    if not mnist.is_file():
        return []
    return [
        {"device": device, "network": network, "asked": asked, "seed": 0}
        for device, (network, asked) in WISHES.items()
    ]


def estimate(model: Model, device: str, interval: int) -> Solution:
    """The core by estimate; tables of the UP5K go to RAMs that start empty, so it is loadable."""
    loadable = device == "up5k"
    return solve(model, device=device, interval=interval, margin=MARGIN, loadable=loadable)


def measure(row: Row, mnist: Path) -> Row:
    """Trains, saves, runs golden inference on the test samples, and asks the solver."""
    data, device = load_data(mnist), row["device"]
    chosen = {"activation_bits": 4} | options(device)
    result = train(data, seed=row["seed"], name=f"mnist_{device}", **chosen)
    MODELS.mkdir(parents=True, exist_ok=True)
    path = MODELS / f"mnist_{device}.lut"
    lutgen.save(result.model, path)
    model = lutgen.load(path)
    found = estimate(model, device, row["asked"])
    area = found.area.total.data()
    if result.diverged:
        raise SystemExit(f"{device}: {result.diverged}")
    return {
        **row,
        "float": result.accuracy["float"],
        "refit": result.accuracy["refit"],
        "held": result.held_accuracy,
        "golden": float(np.mean(model.predict(data.x_test).classes == data.y_test)),
        "test_samples": len(data.x_test),
        "table_bits": 8 * sum(layer.table_bytes for layer in result.layers),
        "file_bytes": path.stat().st_size,
        "sha256": model.provenance["sha256"],
        "interval": found.spec.timing.interval,
        "latency": found.spec.timing.latency,
        **{key: area[key] for key in ("luts", "ffs", "blocks", "single")},
        "folds": {
            name: {key: value for key, value in vars(fold).items() if value is not None}
            for name, fold in found.folds.items()
        },
        "seconds": round(result.seconds, 1),
        **environment(),
    }


def ordered(results: list[Row]) -> list[Row]:
    """As `WISHES`, whatever was measured first."""
    return sorted(results, key=lambda row: list(WISHES).index(row["device"]))


def table(results: list[Row]) -> str:
    """The page."""
    results = ordered(results)
    lines = [
        "# MNIST networks for small FPGAs",
        "",
        "Written by `python benchmarks/fpga_models.py`, which trains each network from scratch",
        "with a fixed seed and saves it as `examples/models/mnist_<device>.lut`. *Float* is the",
        "network that training starts from, on the 10,000 test images; *held-out* and *golden* are",
        "golden inference of the exported integer model, on the 5,000 training images that choose",
        "the epoch and on the test images; in %. No test image chooses an epoch or a parameter,",
        "but a handful of networks were tried for each device with both numbers in view: take them",
        "as slightly optimistic.",
        "",
        "| device | network | float | held-out | golden | goal | table kbit | file KB | seconds |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in results:
        right = " | ".join(f"{100 * r[key]:.2f}" for key in ("float", "held", "golden"))
        lines.append(
            f"| {r['device']} | {r['network']} | {right} | {GOALS[r['device']][0]:.1f} "
            f"| {r['table_bits'] / 1000:,.0f} | {r['file_bytes'] / 1024:.0f} | {r['seconds']:.0f} |"
        )
    lines += [
        "",
        "What their cores take by the solver's estimate, with a tenth of the device left free;",
        "*asked* is the interval that it was given. UP5K cores are loadable. Blocks are of 4 kbit",
        "(iCE40) and 18 kbit; *single* are the UP5K's single-port RAMs of 256 kbit. How far",
        "estimates are from synthesis: [estimates](estimates.md).",
        "",
        "| device | asked | interval | latency | LUTs | flip-flops | blocks | single | to reach |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for r in results:
        lines.append(
            f"| {r['device']} | {r['asked']:,} | {r['interval']:,} | {r['latency']:,} "
            f"| {r['luts']:,} | {r['ffs']:,} | {r['blocks']} | {r['single']} "
            f"| {GOALS[r['device']][1]} |"
        )
    return "\n".join(lines + described(results))


def command(row: Row) -> str:
    """What builds the core of a row."""
    device = row["device"]
    loadable = " --loadable" if device == "up5k" else ""
    return (
        f"lutgen build mnist_{device}.lut --device {device} --interval {row['asked']} "
        f"--margin {MARGIN}{loadable} -o {device}.v"
    )


def readme(results: list[Row]) -> str:
    """The page beside the models."""
    results = ordered(results)
    lines = [
        "# Networks to try the flow with",
        "",
        "MNIST networks for small FPGAs, trained from scratch by",
        "`python benchmarks/fpga_models.py --again`, which also writes this page; what their cores",
        "take: [results](../../docs/results/fpga_models.md). Inputs are the data set's own pixels,",
        "28 x 28 of 0 to 255, rows first; a model rounds them to 4 bits, or to 3 (UP5K).",
        "Accuracy is golden inference on the 10,000 test images, in %. The SHA-256 is of what a",
        "model computes; it and how each was trained stand in its provenance",
        "(`lutgen info --json`). `lutgen synth` takes the options of the commands below, without",
        "`-o`, and goes on to area, frequency and bitstream: see",
        "[cores in FPGAs](../../docs/results/fpga.md).",
        "",
        "| file | network | accuracy | SHA-256 |",
        "| --- | --- | ---: | --- |",
    ]
    lines += [
        f"| [mnist_{r['device']}.lut](mnist_{r['device']}.lut) | {r['network']} "
        f"| {100 * r['golden']:.2f} | `{r['sha256']}` |"
        for r in results
    ]
    lines += ["", "```"]
    lines += [command(row) for row in results]
    lines += ["```", *onboard(), *large()]
    return "\n".join([*lines, ""])


def onboard() -> list[str]:
    """What is said of the network on a board: with the link, it takes more than `command` leaves
    free.
    """
    return [
        "",
        "On an iCEBreaker, where the link takes room beside the core, the first takes",
        "([boards](../../docs/guide/boards.md)):",
        "",
        "```",
        "lutgen synth mnist_up5k.lut --board icebreaker --interval 800 --margin 0 --loadable",
        "```",
    ]


def large() -> list[str]:
    """What is said of the network of `train_resnet8`, once that has left it here."""
    path = MODELS / "cifar10_85k.lut"
    if not path.is_file():
        return []
    model = lutgen.load(path)
    return [
        "",
        f"[{path.name}]({path.name}) is MLPerf Tiny's pretrained ResNet-8 for the ECP5-85F, its",
        "tables narrowed to 6, 5 and 4 bits by `python benchmarks/train_resnet8.py`",
        "([results](../../docs/results/train_resnet8.md)). Inputs are CIFAR-10's pixels,",
        f"32 x 32 x 3 of 0 to 255; {100 * model.provenance['accuracy']['model']:.2f} % of 5,000",
        f"test images. SHA-256: `{model.provenance['sha256']}`.",
        "",
        "```",
        f"lutgen build {path.name} --device 85k --interval {LARGE_ASKED} "
        f"--margin {LARGE_MARGIN} -o 85k.v",
        "```",
    ]


if __name__ == "__main__":
    found = play("fpga_models", "MNIST networks for small FPGAs", rows, measure, table)
    write_text(MODELS / "README.md", readme(found))
