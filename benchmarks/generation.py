"""Time and memory of `lutgen build` against the size of the tables.

    python benchmarks/generation.py            all rows; rows already measured are kept
    python benchmarks/generation.py --again    measures every row anew

Builds one-layer cores with random tables of ten thousand to ten million entries, each three times
in a process of its own. Writes ``benchmarks/results/generation.json`` after every row, and
``docs/results/generation.md`` from it.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from _common import Row, conditions, cpu, play

OUTPUTS, CENTROIDS, SUBVEC = 64, 16, 4

BUILD = """
import json, sys, tempfile, time
from pathlib import Path
import amaranth
import numpy as np
import lutgen
from lutgen.model import Activation, LutLinear, Model
from lutgen.numeric import Grid

codebooks, outputs, centroids, subvec = map(int, sys.argv[1:])
rng = np.random.default_rng(0)
layer = LutLinear(
    name="fc", inputs=("input",), in_features=codebooks * subvec, out_features=outputs,
    subvec=subvec, centroids=centroids, metric="l1", grid=Grid("int", 8), shift=0, output=None,
    table=rng.integers(0, 256, (codebooks, centroids, outputs), dtype=np.uint8),
    bias=np.zeros(outputs, dtype=np.int32),
    codebooks=rng.integers(0, 256, (codebooks, centroids, subvec)),
)
model = Model("layer", (codebooks * subvec,), Activation(8, False, 1.0), (layer,))

def megabytes(field):
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status[field].split()[0]) / 1024

before = megabytes("VmHWM")
start = time.perf_counter()
with tempfile.TemporaryDirectory() as folder:
    target = Path(folder) / "layer.v"
    lutgen.build(model).write(target)
    spent = time.perf_counter() - start
    size = target.stat().st_size
print(json.dumps({"seconds": spent, "megabytes": megabytes("VmHWM"), "model_megabytes": before,
                  "bytes": size, "amaranth": amaranth.__version__}))
"""


def rows(_: Path) -> list[Row]:
    """Tables of so many entries."""
    return [{"entries": entries} for entries in (10_000, 100_000, 1_000_000, 10_000_000)]


def measure(row: Row, _: Path) -> Row:
    """The median of three builds."""
    codebooks = round(row["entries"] / (OUTPUTS * CENTROIDS))
    command = [sys.executable, "-c", BUILD, *map(str, (codebooks, OUTPUTS, CENTROIDS, SUBVEC))]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    return {
        **row,
        "codebooks": codebooks,
        "seconds": round(statistics.median(r["seconds"] for r in runs), 2),
        "megabytes": round(max(r["megabytes"] for r in runs)),
        "model_megabytes": round(max(r["model_megabytes"] for r in runs)),
        "verilog_bytes": runs[0]["bytes"],
        "amaranth": runs[0]["amaranth"],
        "cpu": cpu(),
        "cores": os.cpu_count(),
    }


def table(rows: list[Row]) -> str:
    """The page."""
    lines = [
        "# Generation against the size of tables",
        "",
        "Written by `python benchmarks/generation.py`. One lookup layer of 64 outputs, v = 4,",
        "c = 16, l1, 8-bit tables with random contents, default fold; `lutgen.build` and `write`,",
        "the median of three runs, each in a process of its own. *Before* is the memory that the",
        "process had taken for the model itself.",
        "",
        "| table entries | codebooks | seconds | peak MB | before, MB | us an entry "
        "| Verilog, bytes an entry |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in rows:
        lines.append(
            f"| {r['entries']:,} | {r['codebooks']} | {r['seconds']:.2f} | {r['megabytes']} | "
            f"{r['model_megabytes']} | {1e6 * r['seconds'] / r['entries']:.2f} | "
            f"{r['verilog_bytes'] / r['entries']:.1f} |"
        )
    return "\n".join(
        lines
        + conditions(f"Amaranth {r['amaranth']}, {r['cores']} cores ({r['cpu']})" for r in rows)
    )


if __name__ == "__main__":
    play("generation", "time and memory of lutgen build", rows, measure, table)
