"""Verilog text to a program that plays scripts on it: Verilator's model and the harness in sim/."""

import hashlib
import platform
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lutgen import resources, scratch
from lutgen.errors import LutgenError
from lutgen.flows import cache, simbuild, tools
from lutgen.spec.names import check_name, check_port

__all__ = ["FLAGS", "WAVES", "build", "pins"]

# Single bits that a script may look at, in the order in which it names them.
FLAGS = ("frame_error", "loaded", "load_error", "s_axis_tready")
WAVES = ("vcd", "fst", "saif")
PROGRAM = "harness"

# Registers and memories without a value start at random: a core that relied on what they hold after
# reset would differ from golden. It costs nothing while the simulation runs.
VERILATE = ["--cc", "--exe", "-O3", "--x-assign", "fast", "--x-initial", "unique", "-Wno-fatal"]
VERILATE += ["--threads", "1", "--prefix", "Vcore", simbuild.CHECKS]

# One C++ file, lightly optimised. On a network of three layers -O1 runs at five times the speed of
# -O0 and costs three seconds; -O2 costs more and runs no faster.
MAKE = ["VM_PARALLEL_BUILDS=0", "OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1"]
# The code to write these waves is most of the program, and the file most of the run.
LARGE = ("vcd", "fst")
MAKE_WAVES = ["VM_PARALLEL_BUILDS=0", "OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1"]


def build(
    verilog: str,
    top: str,
    cores: Sequence[tuple[str, Mapping[str, Any]]],
    waves: str | None = None,
    *,
    depth: int | None = None,
) -> tuple[Path, bool]:
    """The program for module ``top``, and whether it was in the cache.

    Parameters
    ----------
    verilog : str
    top : str
    cores : sequence of (str, mapping)
        Prefix and contract of each core in ``top``.
    waves : str or None
        A format of `WAVES` that the program can write.
    depth : int or None
        Levels of the hierarchy that waves show; None for all.

    Raises
    ------
    LutgenError
        If Verilator or what it needs is missing, or if it does not take the text.
    """
    check_name(top, "a top module")
    program, version = tools.find_verilator()
    if waves == "fst":
        _check_libraries()
    simbuild.check_cache()
    compiler = tools.program_version("c++", "--version")
    identity = [program, version, compiler, sys.prefix, platform.machine()]
    pins_text = pins(top, cores, waves)
    sources = {path.name: path.read_bytes() for path in sorted(resources.sim().glob("harness.*"))}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sources.items()}
    options = [*VERILATE, *(_trace_options(waves, depth) if waves else [])]
    variables = MAKE_WAVES if waves in LARGE else MAKE
    key = cache.digest("harness", 1, verilog, pins_text, digests, top, options, variables, identity)

    def make(folder: Path) -> None:
        log = folder / "build.log"
        # A folder whose name is always the same: objects of the harness are cached by it.
        (folder / "design.v").write_text(verilog, encoding="utf-8")
        (folder / "core.cpp").write_text(pins_text, encoding="utf-8")
        command = [program, *options, "--top-module", top, "--Mdir", "build", "-o", PROGRAM]
        command += ["-CFLAGS", f"-I{resources.sim()}", "design.v", "core.cpp"]
        command += [str(resources.sim() / "harness.cpp"), "--build"]
        status = simbuild.run_logged(command, folder, log, simbuild.make_environment(variables))
        built = folder / "build" / PROGRAM
        if status or not built.is_file():
            raise simbuild.failure("verilator", top, log)
        built.rename(folder / PROGRAM)
        shutil.rmtree(folder / "build")

    place, cached = cache.cached("harness", key, make)
    return place / PROGRAM, cached


def pins(top: str, cores: Sequence[tuple[str, Mapping[str, Any]]], waves: str | None = None) -> str:
    """The part of the program that knows the ports: C++ text."""
    first = cores[0][1]
    inputs = {check_port(first[key], f"the {key}"): 1 for key in ("clock", "reset")}
    for prefix, contract in cores:
        for port in contract["ports"]:
            if port["direction"] == "input" and port["name"] not in inputs:
                inputs[prefix + port["name"]] = port["width"]
    return resources.render(
        "core.cpp.j2",
        top=top,
        waves=waves,
        clock=_member(first["clock"]),
        reset=_member(first["reset"]),
        inputs=[(_member(name), width) for name, width in inputs.items()],
        cores=[_core(prefix, contract) for prefix, contract in cores],
    )


def _core(prefix: str, contract: Mapping[str, Any]) -> dict[str, Any]:
    widths = {port["name"]: port["width"] for port in contract["ports"]}
    names = {"source": "s_axis", "sink": "m_axis", "loader": "l_axis"}
    streams = {}
    for member, bus in names.items():
        if f"{bus}_tdata" in widths:
            parts = ("tdata", "tvalid", "tready", "tlast")
            pins = {part: _member(f"{prefix}{bus}_{part}") for part in parts}
            streams[member] = pins | {"bytes": widths[f"{bus}_tdata"] // 8}
    return {
        "streams": streams,
        "flags": [_member(prefix + name) if name in widths else None for name in FLAGS],
        "taps": [
            {
                "tdata": _member(f"{prefix}{tap['port']}_tdata"),
                "tvalid": _member(f"{prefix}{tap['port']}_tvalid"),
                "bytes": tap["lanes"] * tap["lane_bits"] // 8,
            }
            for tap in contract.get("taps") or []
        ],
    }


def _member(name: str) -> str:
    """What Verilator calls a port in C++, where two underscores in a row are its own."""
    return re.sub("__", "___05F", name)


def _trace_options(waves: str, depth: int | None) -> list[str]:
    options = [f"--trace-{waves}", "--no-trace-top"]
    if waves == "saif":  # counts toggles of everything, and yosys' nets begin with underscores
        options.append("--trace-underscore")
    return options if depth is None else [*options, "--trace-depth", str(depth)]


def _check_libraries() -> None:
    """Complains where the compiler lacks what Verilator's writer of FST files takes."""
    with scratch.folder() as folder:
        for header, library, package in (
            ("zlib.h", "z", "zlib1g-dev"),
            ("lz4.h", "lz4", "liblz4-dev"),
        ):
            text = f"#include <{header}>\nint main() {{ return 0; }}\n"
            (folder / "try.cpp").write_text(text, encoding="ascii")
            command = ["c++", "try.cpp", f"-l{library}", "-o", "try"]
            if simbuild.run_logged(command, folder, folder / "log"):
                raise LutgenError(
                    f"{header}, which wave files in FST take, is not installed; "
                    f"run: apt-get install {package}, or write a VCD"
                )
