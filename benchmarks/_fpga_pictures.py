"""The pictures of ``fpga.py``: how fast the cores are, and what they take of their parts.

Drawn from measured rows alone. matplotlib comes with ``lutgen[plot]``; without it there are none.
"""

import io
import sys
from pathlib import Path
from typing import Any

from _common import Row

from lutgen.files import write_bytes
from lutgen.flows.fpga.parts import device_part

try:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, NullFormatter
except ImportError:
    matplotlib = None

# Nothing of the user's own settings and no random names: the same rows, the same file.
STYLE = {
    "svg.hashsalt": "lutgen",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}
LARGE = "85k"  # the device with a network of CIFAR-10
# Told apart by people who see few colours too.
COLOURS = {
    "up5k": "#cc6677",
    "hx8k": "#997700",
    "25k": "#4477aa",
    "xc7a35t": "#228833",
    LARGE: "#663399",
}
RESOURCES = {  # colour, and what the rows call it
    "LUTs": ("#4477aa", "luts"),
    "flip-flops": ("#88bbdd", "ffs"),
    "block RAMs": ("#ee8866", "blocks"),
    "large RAMs": ("#bb4433", "single"),
}
CORE = {"marker": "o", "markersize": 7}
RIVAL = {"marker": "s", "markersize": 6.5, "fillstyle": "none"}
SPEED, AREA = "fpga_speed.svg", "fpga_area.svg"


def draw(rows: list[Row], folder: Path) -> tuple[list[str], list[str]]:
    """Draws both pictures.

    Parameters
    ----------
    rows : list of Row
        Of cores and rivals, as ``fpga.py`` measures them.
    folder : Path

    Returns
    -------
    speed, area : list of str
        Lines of Markdown that show them; none without matplotlib, which is said on standard error.
    """
    if matplotlib is None:
        missing = "matplotlib is not installed; run `pip install 'lutgen[plot]'`"
        print(f"{folder}: no pictures: {missing}", file=sys.stderr)
        return [], []
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        for name, fill in ((SPEED, fill_speed), (AREA, fill_area)):
            figure = Figure(layout="constrained")
            fill(figure, sorted(rows, key=size))
            picture = io.BytesIO()
            figure.savefig(picture, format="svg", metadata={"Date": None})
            write_bytes(folder / name, picture.getvalue())
    return (
        [f"![images/s against accuracy, and the frequency of every placement]({SPEED})", ""],
        [f"![what each core takes of its part, in percent]({AREA})", ""],
    )


def size(row: Row) -> tuple[int, str]:
    """Small parts first, a core before its rival."""
    return device_part(row["device"]).device.luts, row["what"]


def rate(row: Row) -> float:
    """Images a second at the median frequency."""
    return float(1e6 * row["fmax_mhz"]["median"] / row["interval"])


def name(row: Row) -> str:
    """The part."""
    return device_part(row["device"]).device.part


def fill_speed(figure: Any, rows: list[Row]) -> None:
    """Images/s against accuracy on the left, frequencies on the right; of what was routed."""
    routed = [r for r in rows if r.get("placements")]
    figure.set_size_inches(9, 3.6)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    fill_rates(left, [r for r in routed if r["device"] != LARGE])  # of another data set
    fill_frequencies(right, routed)


def fill_rates(axes: Any, routed: list[Row]) -> None:
    """A mark for each core and rival; a line joins those of one part."""
    cores = {r["device"]: r for r in routed if r["what"] == "core"}
    for r in routed:
        colour, kind = COLOURS[r["device"]], CORE if r["what"] == "core" else RIVAL
        at = 100 * r["accuracy"], rate(r)
        axes.plot(*at, color=colour, ls="", **kind)
        if r["what"] == "core":
            axes.annotate(
                name(r), at, (0, 8), textcoords="offset points", ha="center", color=colour
            )
        elif r["device"] in cores:
            core = cores[r["device"]]
            end = 100 * core["accuracy"], rate(core)
            axes.plot(*zip(at, end, strict=True), color=colour, lw=1, ls=":", zorder=1)
            middle = (at[0] + end[0]) / 2, (at[1] * end[1]) ** 0.5
            axes.annotate(
                f"{end[1] / at[1]:.2f} times",
                middle,
                (-6, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                color=colour,
            )
    axes.set_yscale("log")
    axes.margins(0.15, 0.15)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("accuracy on MNIST, %")
    axes.set_ylabel("images/s, at the median Fmax")
    kinds = {"lookup core": CORE, "rival of multipliers": RIVAL}
    handles = [Line2D([], [], color="k", ls="", label=k, **v) for k, v in kinds.items()]
    axes.legend(
        handles=handles, loc="lower left", frameon=True, facecolor="w", edgecolor="none"
    ).get_frame().set_alpha(1)


def fill_frequencies(axes: Any, routed: list[Row]) -> None:
    """A row for each core and rival: a dot a placement, a bar at the median."""
    for at, r in enumerate(routed):
        speeds = [one["fmax_mhz"] for one in r["placements"]]
        kind = CORE if r["what"] == "core" else RIVAL
        own = {**kind, "markersize": 5, "color": COLOURS[r["device"]], "alpha": 0.7}
        axes.plot(speeds, [at] * len(speeds), ls="", **own)
        axes.plot(r["fmax_mhz"]["median"], at, "|", color="k", markersize=16)
    labels = [name(r) if r["what"] == "core" else f"{name(r)}, rival" for r in routed]
    axes.set_yticks(range(len(routed)), labels)
    axes.set_ylim(len(routed) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("Fmax of each placement, MHz; bar: median")


def fill_area(figure: Any, rows: list[Row]) -> None:
    """A group of bars for each core: what it takes, in percent of what its part has."""
    cores = [r for r in rows if r["what"] == "core"]
    figure.set_size_inches(9, 0.8 + 0.85 * len(cores))
    axes = figure.subplots()
    middles = []
    at = 0.0
    for r in cores:
        device = device_part(r["device"]).device
        has = {**r["available"], "single": device.target.single_count}
        first = at
        for colour, key in RESOURCES.values():
            if not has[key]:
                continue
            share = 100 * r["core"][key] / has[key]
            axes.barh(at, share, 0.9, color=colour)
            axes.text(share + 0.8, at, f"{r['core'][key]:,} of {has[key]:,}", va="center", size=8)
            at += 1
        middles.append((first + at - 1) / 2)
        at += 0.8
    axes.set_yticks(middles, [name(r) for r in cores])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(at - 0.8, -0.8)
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("taken of the part, %")
    bars = [Line2D([], [], color=c, lw=6, label=k) for k, (c, _) in RESOURCES.items()]
    figure.legend(handles=bars, loc="outside upper center", ncols=len(bars))
