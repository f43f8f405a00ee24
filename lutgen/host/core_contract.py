"""Reads the contract of a core (docs/core-contract.md): the JSON file beside its Verilog.

Files come from anywhere, and what a contract says reaches C++, Verilog and scripts of tools: so
every field is checked here, and every reader goes through `read_core`.
"""

import os
from math import prod
from pathlib import Path
from typing import Any

from lutgen.errors import LutgenError
from lutgen.host.contract import read_json
from lutgen.model.fold import FOLD_FIELDS
from lutgen.model.schema import (
    Check,
    choice,
    flag,
    listing,
    maybe,
    number,
    record,
    same,
    wanted,
    whole,
    word,
)
from lutgen.numeric import ceil_div
from lutgen.spec.distance import METRICS
from lutgen.spec.memory import KINDS
from lutgen.spec.names import check_name, check_port
from lutgen.spec.target import DEVICES, FORMS, TARGETS

__all__ = ["FORMAT", "VERSION", "check_core", "read_core"]

FORMAT = "lutgen-core"
VERSION = 1
MEND = "build the core again"

# Far above what any core comes to, and low enough that nothing grows out of hand.
SIZE = whole(0, 1 << 24)
COUNT = whole(1, 1 << 24)
CYCLES = whole(1, 1 << 32)
BITS = whole(0, 1 << 36)
WIDTH = whole(1, 1 << 20)
MANY = 1 << 16  # entries of a list
FEW = 1 << 12

NAME = word(r"[A-Za-z][A-Za-z0-9_]*", "letters, digits and underscores")
VERSIONS = word(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,59}", "a version")
SCALE = number(1e-300, 1e300)
PAIR = listing(whole(0, 1 << 16), 4, 2)

HELPERS = ("regroup", "encode", "windows")  # stages before a node
OPS = ("lut_linear", "lut_conv2d", "max_pool2d", "avg_pool2d", "add", "map", "argmax", *HELPERS)

PORT: dict[str, Check] = {
    "elements": COUNT,
    "bits": whole(1, 64),
    "signed": flag,
    "lanes": whole(1, 1 << 17),
    "lane_bits": choice(*range(8, 65, 8)),
    "beats": COUNT,
}
RESOURCES = record(
    {},
    dict.fromkeys(("table", "codebook", "bias", "index_buffer", "line_buffer", "map"), BITS)
    | {"queue": BITS},
)
STAGE = record(
    {"name": NAME, "op": choice(*OPS), "interval": CYCLES, "resources": RESOURCES},
    {
        "inputs": listing(NAME, FEW, 1),
        **dict.fromkeys(("i_lanes", "lanes", "elements", "in_features", "out_features"), COUNT),
        "subvec": whole(1, 1 << 16),
        "centroids": whole(1, 1 << 16),
        "codebooks": whole(1, 1 << 20),
        "metric": choice(*METRICS, "digit", "index"),
        "table_bits": whole(1, 16),
        "shift": whole(0, 31),
        "acc_bits": whole(1, 64),
        "memory": choice("rom", "ram"),
        "fold": record({}, dict.fromkeys(FOLD_FIELDS, whole(0, 1 << 20))),
        "encode": choice("pixel", "window"),
        "order": choice("hwc", "chw"),
        **dict.fromkeys(("kernel", "stride", "pad"), PAIR),
        "line_rows": SIZE,
        "cycles": record({}, dict.fromkeys(("input", "encode", "lookup", "read"), CYCLES)),
    },
)
SEGMENT = record(
    {"name": NAME, "rows": COUNT, "row_bits": WIDTH, "words_per_row": whole(1, 1 << 15)}
)
MEMORY = record(
    {"stage": NAME, "name": NAME, "kind": choice(*KINDS)}
    | dict.fromkeys(("depth", "width", "count"), COUNT),
    {
        "form": choice(*FORMS),
        "cells": SIZE,
        "luts": BITS,
        "fill": maybe(number(0, 1)),
    },
)
LINK = record(
    {
        "module": NAME,
        "protocol": whole(0, 255),
        "fingerprint": word(r"[0-9a-f]{16}", "16 hexadecimal digits"),
        "clock_hz": whole(1, 1 << 32),
        "baud": whole(1, 1 << 30),
    },
    {key: choice(*(1 << k for k in range(6, 17))) for key in ("buffer", "results")},
)
CORE = record(
    {
        "format": choice(FORMAT),
        "version": choice(VERSION),
        "name": NAME,
        "clock": NAME,
        "reset": NAME,
        "latency": CYCLES,
        "interval": CYCLES,
        "model": maybe(
            record({"name": NAME, "sha256": word(r"[0-9a-f]{64}", "64 hexadecimal digits")})
        ),
        "ports": listing(
            record({"name": NAME, "direction": choice("input", "output"), "width": WIDTH}), MANY, 2
        ),
        "input": record(
            {"port": choice("s_axis"), "shape": listing(COUNT, 3, 1), **PORT}, {"scale": SCALE}
        ),
        "output": record(
            {
                "port": choice("m_axis"),
                "kind": choice("accumulators", "activations", "classes"),
                **PORT,
            },
            {"scale": maybe(SCALE)},
        ),
        "load": maybe(
            record(
                {"port": choice("l_axis"), "words": COUNT},
                {
                    "word_bits": choice(32),
                    "check": choice("crc32"),
                    "read_back": whole(1, 1 << 25),
                    "segments": listing(SEGMENT, MANY, 1),
                },
            )
        ),
        "stages": listing(STAGE, FEW, 1),
        "resources": RESOURCES,
        "tools": record({}, dict.fromkeys(("lutgen", "amaranth", "yosys"), VERSIONS)),
    },
    {
        "taps": listing(record({"name": NAME, "port": NAME, **PORT}), FEW),
        "bottleneck": NAME,
        "queues": listing(
            record(
                {"source": NAME, "target": NAME, "depth": COUNT, "width": WIDTH}, {"memory": flag}
            ),
            MANY,
        ),
        "target": maybe(choice(*TARGETS, *DEVICES)),
        "memories": listing(MEMORY, MANY),
        "link": LINK,
        "board": word(r"[A-Za-z0-9_]{1,60}", "letters, digits and underscores"),
    },
)


def read_core(path: str | os.PathLike[str], kinds: str = "a core") -> dict[str, Any]:
    """A core's contract.

    Parameters
    ----------
    path : path
    kinds : str
        What contracts would do, for the complaint.

    Raises
    ------
    LutgenError
        One line that names the file, the field and a mend: if the file is missing, is no contract
        that this version reads, or says what no core can be.
    """
    try:
        data = read_json(Path(path))
    except LutgenError as error:
        raise LutgenError(f"{path}: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise LutgenError(
            f"{path}: is not the contract of {kinds}; name the .json that `lutgen build` wrote"
        )
    version = data.get("version")
    if type(version) is not int or version != VERSION:
        raise LutgenError(
            f"{path}, field 'version': is {version!r:.40}, not {VERSION}; "
            f"upgrade lutgen to read it, or {MEND}"
        )
    check_core(data, str(path))
    return data


def check_core(data: dict[str, Any], where: str) -> None:
    """Complains of the first field of a contract that no core can have.

    Parameters
    ----------
    data : dict
        JSON data.
    where : str
        How errors speak of it: the file.

    Raises
    ------
    LutgenError
    """
    CORE(data, where, MEND)
    for key, check in (("name", check_name), ("clock", check_port), ("reset", check_port)):
        try:
            check(data[key], "a core" if key == "name" else f"its {key}")
        except ValueError as error:
            mend = f"{MEND} with --name" if key == "name" else MEND
            raise LutgenError(f"{where}, field {key!r}: {error}; {mend}") from None
    source, sink, load = data["input"], data["output"], data["load"]
    for key, port in (("input", source), ("output", sink)):
        same(port, _stream(port), f"{where}, field {key!r}", MEND)
    same(source, {"elements": prod(source["shape"])}, f"{where}, field 'input'", MEND)
    _check_stages(data, where)
    for number_, tap in enumerate(data.get("taps", ())):
        spot = f"{where}, field 'taps', entry {number_}"
        same(tap, {**_stream(tap), "port": f"tap_{tap['name']}"}, spot, MEND)
    if load is not None:
        _check_load(load, f"{where}, field 'load'")
    _check_ports(data, where)
    if "link" in data:
        same(data["link"], {"module": f"{data['name']}_board"}, f"{where}, field 'link'", MEND)


def _stream(port: dict[str, Any]) -> dict[str, int]:
    """What follows from the elements, bits and lanes of a stream."""
    return {
        "beats": ceil_div(port["elements"], port["lanes"]),
        "lane_bits": 8 * ceil_div(port["bits"], 8),
    }


def _check_stages(data: dict[str, Any], where: str) -> None:
    """Stages stand behind those that feed them; whatever names one names one that is there."""
    before = {"input"}
    edges = []
    for entry, stage in enumerate(data["stages"]):
        spot = f"{where}, field 'stages', entry {entry}"
        name = stage["name"]
        if name in before:
            raise LutgenError(f"{spot}, field 'name': {name!r:.40} is there twice; {MEND}")
        for source in stage.get("inputs", ()):
            if source not in before:
                raise wanted(f"{spot}, field 'inputs'", "stages that stand before", source, MEND)
            edges.append((source, name))
        before.add(name)
    edges.append((data["stages"][-1]["name"], "output"))
    if data.get("bottleneck", "input") not in before:
        raise wanted(f"{where}, field 'bottleneck'", "a stage", data["bottleneck"], MEND)
    for kind, key in (("memories", "stage"), ("taps", "name")):
        for entry, each in enumerate(data.get(kind, ())):
            if each[key] not in before | {"output"}:
                spot = f"{where}, field {kind!r}, entry {entry}, field {key!r}"
                raise wanted(spot, "a stage", each[key], MEND)
    if "queues" in data:
        found = [(queue["source"], queue["target"]) for queue in data["queues"]]
        if found != edges:
            raise LutgenError(
                f"{where}, field 'queues': must join the stages as their inputs say; {MEND}"
            )


def _check_load(load: dict[str, Any], where: str) -> None:
    if "read_back" in load:
        same(load, {"read_back": load["words"] + 3}, where, MEND)
    segments = load.get("segments")
    if segments is None:
        return
    for entry, segment in enumerate(segments):
        words = {"words_per_row": ceil_div(segment["row_bits"], 32)}
        same(segment, words, f"{where}, field 'segments', entry {entry}", MEND)
    total = sum(segment["rows"] * segment["words_per_row"] for segment in segments)
    same(load, {"words": total + ("check" in load)}, where, MEND)


def _check_ports(data: dict[str, Any], where: str) -> None:
    """The ports are those of the streams, once each."""
    wanted_ports: dict[str, tuple[str, int]] = {}
    for port, into in ((data["input"], True), (data["output"], False)):
        wanted_ports |= _bus(port["port"], port["lanes"] * port["lane_bits"], into=into)
    wanted_ports["frame_error"] = ("output", 1)
    if data["load"] is not None:
        wanted_ports |= _bus(data["load"]["port"], 32, into=True)
        wanted_ports |= dict.fromkeys(("loaded", "load_error"), ("output", 1))
    for tap in data.get("taps", ()):
        wanted_ports[f"{tap['port']}_tdata"] = ("output", tap["lanes"] * tap["lane_bits"])
        wanted_ports[f"{tap['port']}_tvalid"] = ("output", 1)
    for key in ("clock", "reset"):
        if data[key] in wanted_ports:
            raise wanted(f"{where}, field {key!r}", "a port of its own", data[key], MEND)
        wanted_ports[data[key]] = ("input", 1)
    # Of stages that stand before a node, cores with taps have outputs that no field tells of.
    widths = {port["name"]: port["width"] for port in data["ports"]}
    for stage in data["stages"] if data.get("taps") else ():
        name = f"tap_{stage['name']}"
        if stage["op"] in HELPERS and f"{name}_tdata" in widths:
            unit = 8 * stage.get("lanes", 1)
            wanted_ports[f"{name}_tdata"] = (
                "output",
                unit * ceil_div(widths[f"{name}_tdata"], unit),
            )
            wanted_ports[f"{name}_tvalid"] = ("output", 1)
    for entry, port in enumerate(data["ports"]):
        spot = f"{where}, field 'ports', entry {entry}"
        if port["name"] not in wanted_ports:
            raise LutgenError(
                f"{spot}, field 'name': {port['name']!r:.40} is no port of such a core, or is "
                f"there twice; {MEND}"
            )
        direction, width = wanted_ports.pop(port["name"])
        same(port, {"direction": direction, "width": width}, spot, MEND)
    if wanted_ports:
        raise LutgenError(
            f"{where}, field 'ports': {next(iter(wanted_ports))!r} is missing; {MEND}"
        )


def _bus(name: str, width: int, *, into: bool) -> dict[str, tuple[str, int]]:
    """The ports of a stream."""
    there, back = ("input", "output") if into else ("output", "input")
    return {
        f"{name}_tdata": (there, width),
        f"{name}_tvalid": (there, 1),
        f"{name}_tready": (back, 1),
        f"{name}_tlast": (there, 1),
    }
