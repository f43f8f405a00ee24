"""What becomes of a pretrained ResNet-8 on CIFAR-10: accuracy, time and memory of `lutgen.train`.

    python benchmarks/train_resnet8.py                    all rows; rows already measured are kept
    python benchmarks/train_resnet8.py --only '"joint"'   some of them
    python benchmarks/train_resnet8.py --again            measures every row anew

Writes ``benchmarks/results/train_resnet8.json`` and, from it, ``docs/results/train_resnet8.md``
after every row. The network and the images come from ``../shared`` beside the repository; a row
that is killed goes on from its checkpoint in ``build/``.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from _common import ROOT, Row, cifar10, play
from _train import THREADS, convert_resnet8, described, environment, needed

from lutgen.model import save
from lutgen.train import Dataset, TrainResult, load_data
from lutgen.train.recipes import recipe

KEPT = ROOT / "examples" / "models" / "cifar10_85k.lut"
LARGE = "66666546"  # table bits of the layers in between: what fits an ECP5-85F
# What a step does to entries of 6 bits is like what it does to those of 8. Entries of 4 bits stand
# in the middle of what rounds to them: only where gradients agree should they get to another. At
# half the rate an epoch brought 0.6 points; five at this one brought 2.3.
GENTLE = {"learning_rate": 1e-3, "follow": 0.02, "batch": 16}
STRICT = {
    "learning_rate": 1e-3,
    "follow": 0.0,
    "beta": 0.0,
    "train": ["residual", "bias"],
    "batch": 16,
}


def row(
    stage: str,
    encode: str,
    order: str,
    v: int,
    metric: str,
    bits: int,
    goal: str,
    epochs: int = 1,
    ridge: float | None = None,
) -> Row:
    """One measurement."""
    steps = {"batch": 16} if stage == "joint" else {}
    return {
        "stage": stage,
        "encode": encode if encode == "pixel" else f"{encode} {order}",
        "subvec": v,
        "metric": metric,
        "table_bits": bits,
        "goal": goal,
        "epochs": epochs if stage == "joint" else 0,
        "ridge": ridge,
        "seed": 0,
        **steps,
    }


def narrowed(bits: str, goal: str, epochs: int, ridge: float | None, joint: Row) -> Row:
    """The l1 network of `fine` with tables of fewer bits, each layer's a digit of ``bits``, and
    some epochs more.
    """
    return {
        "stage": "narrow",
        "encode": "window chw",
        "subvec": 2,
        "metric": "l1",
        "table_bits": bits,
        "goal": goal,
        "epochs": epochs,
        "ridge": ridge,
        "seed": 0,
        "joint": joint,
    }


def fine() -> Row:
    """The network that `narrowed` ones start from."""
    return row("joint", "window", "chw", 2, "l1", 8, "drop <= 1.5", epochs=3)


def rows(_: Path) -> list[Row]:
    """What is measured: c = 16, 8-bit activations, first and last layer exact."""
    needed()
    return [
        row("refit", "pixel", "", 4, "l2", 8, ">= 73 %"),
        row("refit", "pixel", "", 2, "l2", 8, ">= 83 %"),
        row("refit", "window", "chw", 2, "l1", 8, ""),
        row("refit", "window", "chw", 2, "l1", 4, ""),
        row("refit", "window", "chw", 2, "l1", 3, ""),
        row("joint", "window", "chw", 4, "l2", 8, ">= 79 %", epochs=4),
        row("joint", "window", "chw", 2, "l2", 8, "drop <= 1.0", epochs=4),
        fine(),
        narrowed("4" * 8, "drop <= 2.0", 5, None, STRICT),
        narrowed(LARGE, "drop <= 2.0", 2, 100.0, GENTLE),
        row("joint", "window", "chw", 2, "chebyshev", 8, "drop <= 2.0", epochs=3),
    ]


def checkpoint(row: Row) -> Path:
    """Where a row's run stands."""
    key = zlib.crc32(json.dumps(row, sort_keys=True).encode())
    return ROOT / "build" / f"resnet8_{key:08x}.ckpt"


def run(row: Row, data: Dataset) -> TrainResult:
    """What a row asks for, from where it was left."""
    options: dict[str, Any] = {
        "table_bits": row["table_bits"],
        "stages": ("replace", "refit") if row["stage"] == "refit" else ("refit", "joint"),
        "epochs": row["epochs"],
        "settings": {
            "refit": {} if row["ridge"] is None else {"ridge": row["ridge"]},
            "joint": {"batch": row["batch"]} if "batch" in row else {},
        },
    }
    if row["stage"] == "narrow":
        run(fine(), data)
        options |= {
            "table_bits": [int(digit) for digit in row["table_bits"]],
            "stages": ("narrow", "joint"),
            "start": checkpoint(fine()),
            "settings": {
                "narrow": {} if row["ridge"] is None else {"ridge": row["ridge"]},
                "joint": row["joint"],
            },
        }
    return convert_resnet8(
        row,
        data,
        **options,
        checkpoint=checkpoint(row),
        threads=THREADS,
        progress=lambda step: print(row["subvec"], row["metric"], step, flush=True),
    )


def measure(row: Row, _: Path) -> Row:
    """Trains, and runs the model's golden inference on the test images."""
    data = load_data(cifar10())
    result = run(row, data)
    save(result.model, checkpoint(row).with_suffix(".lut"))
    if row["table_bits"] == LARGE:
        save(result.model, KEPT)
    usual = recipe(data.shape, True, len(data.x_train), True)
    predicted = result.model.predict(data.x_test)
    trained = result.network.outputs(result.model.quantise(data.x_test))
    return {
        **row,
        "accuracy": result.accuracy,
        "golden": float(np.mean(predicted.classes == data.y_test)),
        "rounding": "feedback",
        "samples": usual.samples,
        **(
            {"rate": row.get("joint", {}).get("learning_rate", usual.joint.learning_rate)}
            if row["epochs"]
            else {}
        ),
        "differ": int((predicted.outputs != trained).any(axis=1).sum()),
        "curves": {
            stage: [[e.loss, e.held_accuracy] for e in epochs]
            for stage, epochs in result.curves.items()
        },
        "table_bytes": sum(layer.table_bytes for layer in result.layers),
        "encoded": sum(layer.encoded for layer in result.layers),
        "layers": [layer.to_manifest() for layer in result.layers],
        "test_samples": len(data.x_test),
        "seconds": round(result.seconds, 1),
        "threads": THREADS,
        **environment(),
    }


def table(results: list[Row]) -> str:
    """The page: a row for each measurement, and the conditions."""
    lines = [
        "# A pretrained ResNet-8 on CIFAR-10",
        "",
        "Written by `python benchmarks/train_resnet8.py`. MLPerf Tiny's ResNet-8, converted with",
        "c = 16 and 8-bit activations; its first and last layer stay exact (`digit`). *Float* is",
        "the network as it came, *refit* the lookup network after the refit, *golden* the exported",
        "integer model at the end; all in % of the 5,000 test images, which choose nothing. *Bits*",
        "are what an activation's index costs, log2 c / v. *Differ* counts test images of which",
        "any output of the exported model is not what training computed. Behind *joint* stand",
        "its epochs, how many images a step took, and the rate. *Narrow* starts from the row of",
        "l1 and three epochs; eight digits are those of the eight layers between. *Ridge* is the",
        "refit's; where none stands, every layer chose its own. *Images* are what the refit looked",
        "at. *Rounding* is how it rounds tables: with *feedback* of its errors, or each entry to",
        "the *nearest*, as it was done before.",
        "",
        "| stages | encode | v | bits | metric | table bits | table KB | indices an image | float "
        "| refit | golden | lost | goal | differ | ridge | images | rounding | minutes | threads "
        "| peak MB |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | "
        "---: | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for r in results:
        first = r["accuracy"]["float"]
        more = r.get("joint", r)
        stages = "alone"
        if r["epochs"]:
            stages = f"joint ({r['epochs']} of {more.get('batch', 128)}, {r['rate']:g})"
        stages = f"narrow {stages}" if r["stage"] == "narrow" else f"refit {stages}"
        stages = stages.replace(" joint", ", joint")
        lines.append(
            f"| {stages} | {r['encode']} | {r['subvec']} | {4 / r['subvec']:.2f} | {r['metric']} | "
            f"{r['table_bits']} | {r['table_bytes'] / 1024:.0f} | {r['encoded']} | "
            f"{100 * first:.2f} | {100 * r['accuracy']['refit']:.2f} | {100 * r['golden']:.2f} | "
            f"{100 * (first - r['golden']):.2f} | {r['goal']} | {r['differ']} | "
            f"{r['ridge'] or ''} | {r.get('samples', 1000)} | "
            f"{r.get('rounding', 'nearest')} | {r['seconds'] / 60:.1f} | "
            f"{r['threads']} | {r['peak_mb']} |"
        )
    return "\n".join(lines + described(results))


if __name__ == "__main__":
    play("train_resnet8", "a pretrained ResNet-8 as lookups", rows, measure, table)
