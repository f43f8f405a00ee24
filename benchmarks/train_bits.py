"""Accuracy against bits an activation: a pretrained ResNet-8 on CIFAR-10, refitted in many ways.

    python benchmarks/train_bits.py            all rows; rows already measured are kept
    python benchmarks/train_bits.py --again    measures every row anew

No gradients: every row is the refit alone, which takes a minute or two and tells settings apart.
Writes ``benchmarks/results/train_bits.json`` and, from it, ``docs/results/train_bits.md`` and
``docs/results/train_bits.svg`` after every row; rows of ``train_resnet8.py`` with joint training
join the picture where they are measured. The network and the images come from ``../shared`` beside
the repository.
"""

import json
import math
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from _common import ROOT, Row, cifar10, play
from _train import convert_resnet8, described, environment, needed

from lutgen.train import load_data
from lutgen.train.recipes import recipe

Setting = tuple[str, int, int, str]

PICTURE = ROOT / "docs" / "results" / "train_bits.svg"
SETTINGS = (  # encode, v, c, metric
    ("pixel", 2, 16, "l2"),
    ("pixel", 4, 16, "l2"),
    ("window chw", 3, 16, "l2"),
    ("window chw", 9, 16, "l2"),
    ("window chw", 4, 16, "l2"),
    ("window hwc", 4, 16, "l2"),
    ("pixel", 8, 16, "l2"),
    ("pixel", 4, 64, "l2"),
    ("pixel", 2, 8, "l2"),
    ("pixel", 2, 16, "l1"),
    ("pixel", 2, 16, "chebyshev"),
    ("pixel", 4, 16, "l1"),
    ("pixel", 4, 16, "chebyshev"),
    ("window chw", 9, 64, "l2"),
    ("window hwc", 8, 16, "l2"),
    ("window chw", 2, 16, "l2"),
    ("window chw", 2, 16, "l1"),
    ("window chw", 2, 16, "chebyshev"),
)


def rows(_: Path) -> list[Row]:
    """What is measured: 8-bit tables and activations, first and last layer exact."""
    needed()
    return [
        {"encode": encode, "subvec": v, "centroids": c, "metric": metric, "seed": 0}
        for encode, v, c, metric in SETTINGS
    ]


def measure(row: Row, _: Path) -> Row:
    """Refits, and runs the lookup network on the test images."""
    data = load_data(cifar10())
    result = convert_resnet8(row, data, centroids=row["centroids"], stages=("refit",))
    return {
        **row,
        "samples": recipe(data.shape, True, len(data.x_train), True).samples,
        "float": result.accuracy["float"],
        "refit": result.accuracy["refit"],
        "table_bytes": sum(layer.table_bytes for layer in result.layers),
        "encoded": sum(layer.encoded for layer in result.layers),
        # Differences that the encoders form for one image.
        "work": sum(k.encoded * k.subvec * k.centroids for k in result.layers),
        "seconds": round(result.seconds, 1),
        **environment(),
    }


def bits(row: Row) -> float:
    """What an activation's index costs."""
    return math.log2(row["centroids"]) / row["subvec"]


def joint() -> dict[Setting, float]:
    """Accuracy behind joint training, where that was measured; the latest of every setting."""
    path = ROOT / "benchmarks" / "results" / "train_resnet8.json"
    if not path.is_file():
        return {}
    return {
        setting({**r, "centroids": 16}): r["golden"]
        for r in json.loads(path.read_text("utf-8"))
        if r["stage"] == "joint" and r["table_bits"] == 8
    }


def setting(row: Row) -> Setting:
    """What tells rows apart."""
    return row["encode"], row["subvec"], row["centroids"], row["metric"]


def draw(results: list[Row]) -> None:
    """The picture: accuracy against bits, table bytes and encoder work."""
    matplotlib.rcParams["svg.hashsalt"] = "lutgen"
    figure, axes = plt.subplots(1, 3, figsize=(12, 4), sharey=True)
    marks = {"pixel": "o", "window chw": "s", "window hwc": "^"}
    colours = {"l2": "C0", "l1": "C1", "chebyshev": "C2"}
    amounts = {
        "bits an activation, log2 c / v": bits,
        "table KB": lambda r: r["table_bytes"] / 1024,
        "differences an image, millions": lambda r: r["work"] / 1e6,
    }
    trained = joint()
    for axis, (label, amount) in zip(axes, amounts.items(), strict=True):
        for r in results:
            axis.plot(
                amount(r),
                100 * r["refit"],
                marks[r["encode"]],
                color=colours[r["metric"]],
                fillstyle="none",
            )
            if setting(r) in trained:
                axis.plot(
                    amount(r),
                    100 * trained[setting(r)],
                    marks[r["encode"]],
                    color=colours[r["metric"]],
                )
        axis.axhline(100 * results[0]["float"], color="grey", linewidth=0.8)
        axis.set_xlabel(label)
        axis.set_xscale("log")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy, %")
    handles = [plt.Line2D([], [], marker=m, color="k", ls="", label=k) for k, m in marks.items()]
    handles += [plt.Line2D([], [], color=c, label=k) for k, c in colours.items()]
    handles.append(plt.Line2D([], [], color="grey", linewidth=0.8, label="float"))
    axes[-1].legend(handles=handles, fontsize=8, title="open: refit, full: joint", title_fontsize=8)
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})
    plt.close(figure)


def table(results: list[Row]) -> str:
    """The page: the picture, a row for each measurement, and the conditions."""
    draw(results)
    after = joint()
    lines = [
        "# Accuracy against bits: which v, c and encoding to choose",
        "",
        "Written by `python benchmarks/train_bits.py`. MLPerf Tiny's ResNet-8 on CIFAR-10,",
        "first and last layer exact, 8-bit tables and activations. *Refit* is the lookup",
        "network without any gradient step, *joint* after joint training (from",
        "[train_resnet8](train_resnet8.md), where it was measured); % of the 5,000 test",
        "images. *Bits* are what an activation's index costs, log2 c / v; *indices* how many",
        "an image needs, and *differences* how many the encoders form for it: with `window`",
        "every pixel is encoded again for each tap of the kernel, with `pixel` once. *Images*",
        "are how many the refit looked at.",
        "",
        "![accuracy against bits, table bytes and encoder work](train_bits.svg)",
        "",
        "| encode | v | c | bits | metric | refit | joint | table KB | indices an image "
        "| differences, millions | images | seconds |",
        "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in sorted(results, key=lambda r: (r["metric"] != "l2", r["metric"], -bits(r))):
        found = after.get(setting(r))
        lines.append(
            f"| {r['encode']} | {r['subvec']} | {r['centroids']} | {bits(r):.2f} | {r['metric']} | "
            f"{100 * r['refit']:.2f} | {'' if found is None else f'{100 * found:.2f}'} | "
            f"{r['table_bytes'] / 1024:.0f} | {r['encoded']} | {r['work'] / 1e6:.2f} | "
            f"{r.get('samples', 1000)} | {r['seconds']:.0f} |"
        )
    lines += ["", f"The float network reaches {100 * results[0]['float']:.2f} %."]
    return "\n".join(lines + described(results))


if __name__ == "__main__":
    play("train_bits", "accuracy of a refitted ResNet-8", rows, measure, table)
