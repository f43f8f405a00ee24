"""``lutgen build`` without a model: the LUT-stationary engine."""

import argparse
import json
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutgen.cli import common
from lutgen.errors import LutgenError
from lutgen.files import check_writable

if TYPE_CHECKING:
    from lutgen.spec.engine import EngineSpec

__all__ = ["OPTIONS", "add", "given", "run", "show_contract"]

# Parameters of `EngineSpec` that have options of their own here; the rest are those of cores too.
NUMBERS = {
    "codebooks": "the most sub-vectors of an input row",
    "subvec": "inputs that share one index",
    "centroids": "entries of a codebook (16)",
    "table_bits": "bits of a table entry (8)",
    "activation_bits": "bits of activations and centroids (8)",
    "output_bits": "bits of a requantised result (8)",
    "rows": "rows of the scratchpad (256)",
    "matchers": "matchers, of --lanes each (1)",
    "encoders": "encoders, a divisor of the fan-in (1)",
    "index_rows": "rows of the index buffer (default: a block's)",
    "result_rows": "rows of results that wait (default: --rows)",
    "activation_beat": "bytes of a beat of activations",
    "centroid_beat": "bytes of a beat of centroids (4)",
    "table_beat": "bytes of a beat of tables",
    "result_beat": "bytes of a beat of results",
}
SWITCHES = {
    "two_clocks": ("--two-clocks", True, "encoders have a clock of their own"),
    "has_map": ("--map", True, "results may go through a table"),
    "ping_pong": ("--no-ping-pong", False, "tables do not load while others are in use"),
}
SHARED = ("lanes", "fan_in", "encoder_centroids", "encoder_dims")
OPTIONS = {
    **{key: f"--{key.replace('_', '-')}" for key in NUMBERS},
    **{key: option for key, (option, _, _) in SWITCHES.items()},
    "metric": "--metric",
    "preset": "--preset",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of an engine."""
    from lutgen.spec.engine import PRESETS

    group = parser.add_argument_group("the engine, without a model")
    group.add_argument("--preset", choices=sorted(PRESETS), help="one of the paper's designs")
    one = common.integer(1)
    for key, text in NUMBERS.items():
        group.add_argument(OPTIONS[key], type=one, metavar="N", help=text)
    group.add_argument("--metric", help="l1 (default), l2, chebyshev")
    for key, (option, value, text) in SWITCHES.items():
        group.add_argument(option, dest=key, action="store_const", const=value, help=text)


def given(args: argparse.Namespace) -> list[str]:
    """Options of the engine that were given."""
    return [option for key, option in OPTIONS.items() if getattr(args, key) is not None]


def spec_of(args: argparse.Namespace) -> "EngineSpec":
    """The engine that the options describe."""
    from lutgen.spec.engine import EngineSpec, preset

    chosen = {
        field.name: getattr(args, field.name)
        for field in fields(EngineSpec)
        if getattr(args, field.name, None) is not None
    }
    with common.as_errors():
        if args.preset is not None:
            return preset(args.preset, **chosen)
        missing = [f"--{key}" for key in ("codebooks", "subvec") if key not in chosen]
        if missing:
            raise LutgenError(
                f"a MODEL.lut is needed; or {' and '.join(missing)}, or --preset, for the engine"
            )
        return EngineSpec(**chosen)


def run(args: argparse.Namespace) -> int:
    """Builds, writes, prints what the engine can do."""
    from lutgen.host.build import NAME, build_engine

    target: Path = args.output
    for suffix in (".json", ".h", ".md"):
        if target.suffix == suffix:
            raise LutgenError(f"{target}: another file goes there; name the Verilog file *.v")
        check_writable(target.with_suffix(suffix), inputs=[])
    check_writable(target, inputs=[])
    spec = spec_of(args)
    start = time.perf_counter()
    if spec.outputs > 256:
        print(f"{spec.outputs} outputs a tile: this may take a minute", file=sys.stderr)
    with common.as_errors():
        built = build_engine(spec, name=args.name or NAME)
    paths = built.write(target)
    seconds = time.perf_counter() - start
    if args.json:
        keys = ("verilog", "contract", "header", "page")
        common.print_json(
            {
                **dict(zip(keys, map(str, paths), strict=True)),
                "seconds": round(seconds, 3),
                **{key: value for key, value in built.contract.items() if key != "ports"},
            }
        )
        return 0
    show(spec, built.contract["name"])
    print(f"wrote     {', '.join(map(str, paths))} in {seconds:.1f} s")
    return 0


def show_contract(path: Path, args: argparse.Namespace) -> int:
    """``lutgen info`` of an engine."""
    from lutgen.host.contract import engine_of

    if args.svg is not None:
        raise LutgenError(f"argument --svg: {path} is an engine; pictures are of cores of models")
    spec, contract = engine_of(path), json.loads(path.read_text(encoding="utf-8"))
    if args.json:
        common.print_json(contract)
    else:
        show(spec, contract["name"])
    return 0


def show(spec: "EngineSpec", name: str) -> None:
    """What an engine is, on the terminal."""
    print(
        f"engine    {name}: {spec.matchers} x {spec.lanes} outputs, "
        f"{spec.fan_in} of up to {spec.codebooks} codebooks a cycle, {spec.rows} rows"
    )
    print(
        f"lookups   {spec.operations:,} operations of a matrix product a cycle, "
        f"accumulators of {spec.acc.bits} bits"
    )
    print(
        f"encoders  {spec.encoders} of {spec.metric}, v = {spec.subvec}, c = {spec.centroids}; "
        f"a row's group in {spec.encode_interval} cycles"
        f"{', on enc_clk' if spec.two_clocks else ''}"
    )
    streams: list[tuple[str, Any]] = [
        ("a_axis", spec.activation),
        ("c_axis", spec.centroid),
        ("t_axis", spec.table),
        ("m_axis", spec.result),
    ]
    print("streams   " + ", ".join(f"{name} {channel.bits} bits" for name, channel in streams))
    bits = ", ".join(f"{name} {count:,}" for name, count in spec.bits.items() if count)
    print(f"memory    {sum(spec.bits.values()):,} bits: {bits}")
