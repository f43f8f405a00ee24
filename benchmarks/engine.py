"""The LUT-stationary engine in simulation: random products, clocks, networks, utilisation.

    python benchmarks/engine.py                      all rows; rows already measured are kept
    python benchmarks/engine.py --only products      some of them
    python benchmarks/engine.py --again              measures every row anew

Builds engines, plays jobs on them in Verilator through cocotb, and compares every byte of the
results with the integer semantics of lookups, and networks' outputs with golden. Writes
``benchmarks/results/engine.json`` after every row, and ``docs/results/engine.md`` from it. MNIST
comes from ``../shared`` beside the repository.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import cores
import networks
import numpy as np
from _common import ROOT, Row, conditions, cpu, play

import lutgen
from lutgen.flows import tools
from lutgen.flows.engine import EngineReport, Product, Whole, product, simulate_engine
from lutgen.flows.products import random_job
from lutgen.host import jobfile
from lutgen.host.build import build_engine
from lutgen.host.compiler import compile_model
from lutgen.spec.engine import EngineSpec, preset
from lutgen.spec.job import JobSpec
from lutgen.spec.pace import Pace, predicted

sys.path.insert(0, str(ROOT / "tests"))
from engines import TWO_CLOCKS, random_engine

ENGINES, SHAPES = 12, 5
GAPS = 0.3
# Periods of clk and enc_clk in ps: whole ratios, and pairs that share no divisor to speak of.
PERIODS = (
    *((10_000, 40_000), (10_000, 30_000), (10_000, 20_000), (10_000, 10_000)),
    *((20_000, 10_000), (30_000, 10_000), (40_000, 10_000), (20_000, 30_000), (30_000, 20_000)),
    *((10_000, 9_998), (10_000, 10_002), (10_000, 7_302), (7_302, 10_000), (10_006, 30_014)),
    *((30_014, 10_006), (10_000, 17_318), (17_318, 10_000), (10_000, 26_458), (26_458, 10_000)),
    (10_000, 14_142),
)
# All lookup layers of the networks run on it.
NETWORKS = EngineSpec(196, 4, fan_in=4, lanes=16, matchers=2, encoders=4)
SAMPLES = {"mnist": 100, "lenet5": 10}
TITLES = {"mnist": "MNIST MLP", "lenet5": "LeNet-5"}
LARGE, SMALL, WIDE = (512, 768, 768), (256, 768, 256), (128, 192, 768)
UTILISATION: tuple[Row, ...] = (
    {"shape": LARGE, "table_beat": 16, "reuse": True, "ping_pong": True},
    {"shape": LARGE, "table_beat": 16, "reuse": False, "ping_pong": True},
    {"shape": SMALL, "table_beat": 16, "reuse": True, "ping_pong": True},
    {"shape": SMALL, "table_beat": 8, "reuse": True, "ping_pong": True},
    {"shape": SMALL, "table_beat": 4, "reuse": True, "ping_pong": True},
    {"shape": SMALL, "table_beat": 2, "reuse": True, "ping_pong": True},
    {"shape": SMALL, "table_beat": 16, "reuse": True, "ping_pong": False},
    *(
        {"shape": WIDE, "table_beat": 16, "reuse": reuse, "ping_pong": True, "encode_interval": 4}
        for reuse in (True, False)
    ),
)
BEATS = (32, 16, 8, 4, 2, 1)  # bytes of the table stream that the curve is predicted for


def rows(mnist: Path) -> list[Row]:
    """Every part that there is data for."""
    found: list[Row] = [{"part": "products", "seed": seed} for seed in range(ENGINES)]
    found += [
        {"part": "clocks", "seed": seed, "periods_ps": list(pair)}
        for seed, pair in enumerate(PERIODS)
    ]
    if mnist.is_file():
        found += [{"part": "networks", "network": name} for name in SAMPLES]
    found += [{"part": "utilisation", **row, "shape": list(row["shape"])} for row in UTILISATION]
    return found


def measure(row: Row, mnist: Path) -> Row:
    """Builds, simulates, compares."""
    found = MEASURES[row["part"]](row, mnist)
    return {
        **row,
        **found,
        "lutgen": lutgen.__version__,
        "verilator": tools.package_version("verilator"),
        "cpu": cpu(),
    }


def simulated(spec: EngineSpec, entries: list[Any], **options: Any) -> tuple[EngineReport, Row]:
    """What came of entries, and what all parts say of it."""
    report = simulate_engine(spec, build_engine(spec).verilog, entries, **options)
    return report, {
        "passed": report.passed,
        "wrong": [[outcome.name, *outcome.wrong] for outcome in report.outcomes if outcome.wrong],
        "run_seconds": round(report.run_seconds, 1),
    }


def compared(products: list[Product]) -> int:
    """Bytes of results whose values are laid down."""
    return sum(int((each.expected >= 0).sum()) for each in products)


def random_products(row: Row, _: Path) -> Row:
    """A random engine, and shapes on it."""
    rng = np.random.default_rng(row["seed"])
    kinds = {"two_clocks": row["seed"] % 3 == 2, "ping_pong": row["seed"] % 4 != 3}
    spec = random_engine(rng, **kinds)
    products = [random_job(rng, spec).product() for _ in range(SHAPES)]
    options = {"gaps": GAPS, "seed": row["seed"], "periods": (10_000, 13_002)}
    report, found = simulated(spec, products, **options)
    keys = ("subvec", "centroids", "metric", "rows", "lanes", "fan_in", "encoders", "matchers")
    return {
        "engine": {key: getattr(spec, key) for key in (*keys, *kinds)},
        "products": [each.name for each in products],
        "bytes": compared(products),
        "cycles": sum(outcome.counters["CYCLES"] for outcome in report.outcomes),
        **found,
    }


def clocks(row: Row, _: Path) -> Row:
    """The engine with two clocks, at a pair of periods."""
    rng = np.random.default_rng(row["seed"])
    products = [random_job(rng, TWO_CLOCKS).product() for _ in range(SHAPES)]
    options = {"gaps": GAPS, "seed": row["seed"], "periods": tuple(row["periods_ps"])}
    report, found = simulated(TWO_CLOCKS, products, **options)
    cycles = sum(outcome.counters["CYCLES"] for outcome in report.outcomes)
    return {"products": len(products), "bytes": compared(products), "cycles": cycles, **found}


def network(row: Row, mnist: Path) -> Row:
    """A network by compiler and player, against golden."""
    name = row["network"]
    if name == "mnist":
        model, data = cores.model_of("mnist", "l1", mnist)
    else:
        model, data = networks.model_of({"network": name, "encode": "pixel"}, mnist)
    x = data.x_test[: SAMPLES[name]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job"
        jobfile.save(compile_model(model, NETWORKS), path)
        entry = Whole(name, path, x, model.predict(x).outputs)
        report, found = simulated(NETWORKS, [entry], gaps=0.0)
    outcome = report.outcomes[0]
    return {
        "samples": len(x),
        "words": int(entry.expected.size),
        "steps": [
            {key: step[key] for key in ("gives", "does", "jobs", "rows", "counters")}
            for step in outcome.steps
        ],
        **found,
    }


def engine_of(row: Row) -> EngineSpec:
    """The preset, changed as a row of ``utilisation`` says."""
    slow = row.get("encode_interval", 1)
    return preset(
        "lut-dla-1",
        table_beat=row["table_beat"],
        ping_pong=row["ping_pong"],
        encoder_centroids=16 // slow,
    )


def utilisation(row: Row, _: Path) -> Row:
    """One product on the first design of the paper, without stalls from outside."""
    rng = np.random.default_rng(0)
    m, k, n = row["shape"]
    spec = engine_of(row)
    limits = {"shift": 8, "low": 0, "high": 255}
    job = JobSpec(spec, rows=m, codebooks=-(-k // 3), outputs=n, reuse=row["reuse"], **limits)
    x = rng.integers(0, 256, (m, job.codebooks * 3))
    books = rng.integers(0, 256, (job.codebooks, 16, 3))
    table = rng.integers(-128, 128, (job.codebooks, 16, n))
    bias = rng.integers(-(1 << 12), 1 << 12, n)
    entry = product(job, x=x, codebooks=books, table=table, bias=bias)
    report, found = simulated(spec, [entry], gaps=0.0)
    counters = report.outcomes[0].counters
    return {
        "bytes": compared([entry]),
        "counters": counters,
        "utilisation": counters["LOOKUPS"] / counters["CYCLES"],
        "megabytes": {name: size / 1e6 for name, size in job.packet_bytes.items()},
        **found,
    }


MEASURES = {
    "products": random_products,
    "clocks": clocks,
    "networks": network,
    "utilisation": utilisation,
}


def foretold(row: Row) -> Pace:
    """What the model of the engine's pace says of a row of ``utilisation``."""
    m, k, n = row["shape"]
    spec, reuse = engine_of(row), row["reuse"]
    return predicted(JobSpec(spec, rows=m, codebooks=-(-k // 3), outputs=n, reuse=reuse, high=255))


def table(rows: list[Row]) -> str:
    """The page."""
    parts: dict[str, list[Row]] = {part: [] for part in MEASURES}
    for row in rows:
        parts[row["part"]].append(row)
    lines = [
        "# The engine in simulation",
        "",
        "Written by `python benchmarks/engine.py`. LUT-stationary engines, as emitted Verilog, in",
        "Verilator through cocotb; [the design note](../design/0005-engine.md) says how they work.",
        *_products(parts["products"]),
        *_clocks(sorted(parts["clocks"], key=lambda row: int(row["seed"]))),
        *_networks(parts["networks"]),
        *_utilisation(parts["utilisation"]),
    ]
    return "\n".join(
        lines
        + conditions(f"lutgen {r['lutgen']}, Verilator {r['verilator']} ({r['cpu']})" for r in rows)
    )


def _head(names: str) -> list[str]:
    """A table's head; names of columns of numbers begin with a ``>``."""
    columns = [name.strip() for name in names.split("|")]
    rule = ["---:" if name.startswith(">") else "---" for name in columns]
    return [line([name.lstrip(">") for name in columns]), line(rule)]


def line(cells: list[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def _products(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    count = sum(len(row["products"]) for row in rows)
    bad = sum(len(row["wrong"]) for row in rows)
    total = sum(row["bytes"] for row in rows)
    text = [
        "",
        "## Random products",
        "",
        f"{count} products of random shapes and modes on {len(rows)} random engines, each channel",
        f"stalled in {GAPS:.0%} of all cycles at random: {total:,} bytes of results compared,",
        f"{bad} products not as expected. An engine is not reset between its products.",
        "",
        *_head(
            "v | c | metric | rows | lanes x matchers | fan-in / encoders | clocks | halves "
            "| rows x codebooks x outputs, mode | >bytes | >products that differ"
        ),
    ]
    for row in rows:
        engine = row["engine"]
        cells = [f"{engine[key]}" for key in ("subvec", "centroids", "metric", "rows")]
        cells += [f"{engine['lanes']} x {engine['matchers']}"]
        cells += [f"{engine['fan_in']} / {engine['encoders']}"]
        cells += ["2" if engine["two_clocks"] else "1", "2" if engine["ping_pong"] else "1"]
        cells += ["; ".join(row["products"]), f"{row['bytes']:,}", f"{len(row['wrong'])}"]
        text.append(line(cells))
    return text


def _clocks(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    bad = sum(len(row["wrong"]) for row in rows)
    text = [
        "",
        "## Two clocks",
        "",
        f"One engine with two clocks (v = {TWO_CLOCKS.subvec}, c = {TWO_CLOCKS.centroids}, "
        f"{TWO_CLOCKS.metric}, fan-in {TWO_CLOCKS.fan_in},",
        f"{TWO_CLOCKS.encoders} encoders, {TWO_CLOCKS.matchers} x {TWO_CLOCKS.lanes} lanes), "
        f"{SHAPES} random products a seed, stalls as above:",
        f"{sum(row['bytes'] for row in rows):,} bytes compared, {bad} products not as expected.",
        "",
        *_head(
            ">seed | >clk, ns | >encoders' clock, ns | >cycles | >bytes | >products that differ"
        ),
    ]
    for row in rows:
        near, far = row["periods_ps"]
        cells = [f"{row['seed']}", f"{near / 1000:.3f}", f"{far / 1000:.3f}", f"{row['cycles']:,}"]
        text.append(line([*cells, f"{row['bytes']:,}", f"{len(row['wrong'])}"]))
    return text


STALLS = ("table", "index", "result", "pass")


def _networks(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    text = [
        "",
        "## Networks",
        "",
        f"By compiler and player, on one engine (v = {NETWORKS.subvec}, c = {NETWORKS.centroids}, "
        f"{NETWORKS.metric}, fan-in {NETWORKS.fan_in}, {NETWORKS.matchers} x {NETWORKS.lanes}",
        f"lanes, {NETWORKS.rows} rows), test samples of MNIST as one batch each, no stalls from",
        "outside; outputs against golden. Stalls are cycles in which the matchers waited. Layers",
        "of few rows a batch are bound by the tables that they bring.",
        "",
        *_head(
            "network | samples | layer | does | >rows | >cycles | >lookups | >lookups, % of cycles "
            "| >stall table | >stall index | >stall result | >stall pass"
        ),
    ]
    for row in rows:
        for step in row["steps"]:
            count = step["counters"]
            cells = [TITLES[row["network"]], f"{row['samples']}", step["gives"], step["does"]]
            cells += [f"{step['rows']:,}", f"{count['cycles']:,}", f"{count['lookups']:,}"]
            cells += [f"{100 * count['lookups'] / count['cycles']:.1f}"]
            text.append(line(cells + [f"{count[f'stall_{each}']:,}" for each in STALLS]))
    text.append("")
    for row in rows:
        verdict = "all equal" if row["passed"] else f"not as expected: {row['wrong']}"
        cycles = sum(step["counters"]["cycles"] for step in row["steps"]) / row["samples"]
        text.append(
            f"- {TITLES[row['network']]}: {row['words']:,} output words, {verdict}; {cycles:,.0f} "
            "cycles a sample."
        )
    return text


def _utilisation(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    text = [
        "",
        "## Utilisation",
        "",
        "Products M x K x N on the preset `lut-dla-1` (v = 3, c = 16, 2 x 128 lanes, 256 rows),",
        "one clock, no stalls from outside, requantised results, every byte compared.",
        "*Utilisation* is lookups over cycles. A table beat of 16 bytes is the least that hides",
        "the loading of tables behind a full pass. Rows that take long are of the smaller product,",
        "which one block and one tile hold: nothing hides its results, which leave by 4 bytes.",
        "",
        *_head(
            "M x K x N | >table beat, bytes | >encoder, cycles | indices | halves of tables "
            "| >cycles | >predicted "
            "| >lookups | >utilisation, % | >stall table | >stall index | >stall result "
            "| >MB in | differs"
        ),
    ]
    for row in rows:
        count = row["counters"]
        cells = [" x ".join(map(str, row["shape"])), f"{row['table_beat']}"]
        cells += [
            f"{row.get('encode_interval', 1)}",
            "reused" if row["reuse"] else "found for every tile",
        ]
        cells += ["2" if row["ping_pong"] else "1"]
        cells += [f"{count['CYCLES']:,}", f"{foretold(row).cycles:,}", f"{count['LOOKUPS']:,}"]
        cells += [f"{100 * row['utilisation']:.1f}"]
        cells += [f"{count[f'STALL_{each.upper()}']:,}" for each in STALLS[:3]]
        given = sum(size for name, size in row["megabytes"].items() if name != "results")
        text.append(line([*cells, f"{given:.1f}", "no" if row["passed"] else "yes"]))
    text += [
        "",
        "The same by prediction, for 512 x 768 x 768 and all widths of the table stream; with one",
        "half of tables beside it.",
        "",
        *_head(">table beat, bytes | >cycles | >utilisation, % | >one half: cycles | >%"),
    ]
    for beat in BEATS:
        cells = [f"{beat}"]
        for ping_pong in (True, False):
            row = {"shape": LARGE, "table_beat": beat, "reuse": True, "ping_pong": ping_pong}
            pace = foretold(row)
            cells += [f"{pace.cycles:,}", f"{100 * pace.utilisation:.1f}"]
        text.append(line(cells))
    return text


if __name__ == "__main__":
    measured = play("engine", "the engine in simulation", rows, measure, table)
    sys.exit(0 if all(r["passed"] for r in measured) else 1)
