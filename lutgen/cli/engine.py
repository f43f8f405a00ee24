"""``lutgen build`` without a model: the LUT-stationary engine."""

import argparse
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutgen.cli import common
from lutgen.errors import LutgenError
from lutgen.files import check_writable
from lutgen.words import counted

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
# What is to be done about a parameter that does not suit the others.
MENDS = {
    "codebooks": "give fewer --codebooks or --table-bits",
    "fan_in": "give a smaller --fan-in or more --codebooks",
    "encoders": "give a --fan-in that is a multiple of --encoders",
    "encoder_centroids": "give at most as many as there are --centroids",
    "encoder_dims": "give at most as many as --subvec",
    "index_rows": "it holds a block's indices, --rows times --codebooks over --fan-in, unless "
    "--index-rows says otherwise",
    "has_map": "give fewer --output-bits, or leave out --map",
}
LARGE = 512  # elements that encoders compare in a cycle: more take long to build
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
    from lutgen.spec.engine import EngineSpec, ParameterError, preset

    chosen = {
        field.name: getattr(args, field.name)
        for field in fields(EngineSpec)
        if getattr(args, field.name, None) is not None
    }
    missing = [f"--{key}" for key in ("codebooks", "subvec") if key not in chosen]
    if missing and args.preset is None:
        raise LutgenError(
            f"a MODEL.lut is needed; or {' and '.join(missing)}, or --preset, for the engine"
        )
    try:
        return EngineSpec(**chosen) if args.preset is None else preset(args.preset, **chosen)
    except ParameterError as error:
        mend = f"; {MENDS[error.field]}" if error.field in MENDS else ""
        raise LutgenError(f"argument {option_of(error.field)}: {error}{mend}") from None


def option_of(field: str) -> str:
    """The option that sets a parameter of an engine."""
    return OPTIONS.get(field, f"--{field.replace('_', '-')}")


def options_of(spec: "EngineSpec") -> str:
    """The options of `lutgen build` that give an engine."""
    return " ".join(
        option_of(field) if isinstance(value, bool) else f"{option_of(field)} {value}"
        for field, value in spec.stated.items()
    )


def run(args: argparse.Namespace) -> int:
    """Builds, writes, prints what the engine can do."""
    from lutgen.host.build import NAME, build_engine
    from lutgen.spec.names import check_name

    target: Path = args.output
    for suffix in (".json", ".h", ".md"):
        if target.suffix == suffix:
            raise LutgenError(f"{target}: another file goes there; name the Verilog file *.v")
        check_writable(target.with_suffix(suffix), inputs=[])
    check_writable(target, inputs=[])
    spec, name = spec_of(args), NAME if args.name is None else args.name
    try:
        check_name(name, "an engine")
    except ValueError as error:
        raise LutgenError(f"argument --name: {error}") from None
    for note in notes_on(spec):
        common.say(f"lutgen: note: {note}")
    start = time.perf_counter()
    built = build_engine(spec, name=name)
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


def notes_on(spec: "EngineSpec") -> list[str]:
    """What makes an engine slow to build, and large."""
    notes = []
    each = spec.encoder.parallel_centroids
    size = spec.encoders * each * spec.encoder.parallel_dims
    if size > LARGE:
        dims = max(1, LARGE // 2 // (spec.encoders * each))
        mend = f"--encoder-dims {dims}"
        if spec.encoder.parallel_dims <= dims:
            mend = f"--encoder-centroids {max(1, each // 4)}"
        notes.append(
            f"encoders that compare {size:,} elements in a cycle take a minute or more to build, "
            f"and are large; {mend} makes them smaller, and slower"
        )
    if spec.outputs > 256:
        notes.append(f"{counted(spec.outputs, 'output')} a tile: this may take a minute")
    return notes


def show_contract(path: Path, args: argparse.Namespace) -> int:
    """``lutgen info`` of an engine."""
    from lutgen.host.contract import read_engine

    if args.svg is not None:
        raise LutgenError(f"argument --svg: {path} is an engine; pictures are of cores of models")
    spec, contract = read_engine(path)
    if args.json:
        common.print_json(contract)
    else:
        show(spec, contract["name"])
    return 0


def show(spec: "EngineSpec", name: str) -> None:
    """What an engine is, on the terminal."""
    print(
        f"engine    {name}: {spec.matchers} x {counted(spec.lanes, 'output')}, {spec.fan_in} "
        f"of up to {counted(spec.codebooks, 'codebook')} a cycle, {counted(spec.rows, 'row')}"
    )
    print(
        f"lookups   {counted(spec.operations, 'operation', ',')} of a matrix product a cycle, "
        f"accumulators of {spec.acc.bits} bits"
    )
    print(
        f"encoders  {spec.encoders} of {spec.metric}, v = {spec.subvec}, c = {spec.centroids}; "
        f"a row's group in {counted(spec.encode_interval, 'cycle')}"
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
