"""What several subcommands share: options, tables on the terminal, contracts."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from lutgen.cli.faults import printable
from lutgen.errors import LutgenError
from lutgen.files import reason
from lutgen.reading import read_json, read_plain
from lutgen.words import counted

if TYPE_CHECKING:
    from lutgen.gateware.build import Core
    from lutgen.model import Model

__all__ = [
    "add_folds",
    "add_json",
    "add_model",
    "add_simulation",
    "as_errors",
    "assignments",
    "changed_folds",
    "changed_name",
    "fold_kwargs",
    "format_of",
    "integer",
    "model_of",
    "print_json",
    "print_table",
    "say",
    "stage_table",
    "verilog_beside",
]

VERILOG_BYTES = 1 << 28
FOLDS = ("lanes", "fan_in", "encoder_centroids", "encoder_dims", "window_channels", "slide")
BITS = {
    "table": "table",
    "codebook": "codebook",
    "bias": "bias",
    "map": "map",
    "index_buffer": "indices",
    "line_buffer": "lines",
    "queue": "queue",
}


def integer(low: int) -> Callable[[str], int]:
    """An argparse type: an integer of at least ``low``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"must be an integer of at least {low}, not {text!r}")
        return value

    return parse


def fraction(text: str) -> float:
    """An argparse type: the density of gaps."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 0.95:
        raise argparse.ArgumentTypeError(f"must be a number between 0 and 0.95, not {text!r}")
    return value


def add_model(parser: argparse.ArgumentParser) -> None:
    """The option ``--model``, beside an argument ``model``."""
    parser.add_argument("--model", dest="model_option", metavar="MODEL.lut", help="the same")


def model_of(args: argparse.Namespace) -> str | None:
    """The model that was named, as an argument or by ``--model``."""
    if args.model is not None and args.model_option is not None:
        raise LutgenError("argument --model: the model is named twice")
    named: str | None = args.model or args.model_option
    return named


def add_json(parser: argparse._ActionsContainer) -> None:
    """The option ``--json``."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object and nothing else"
    )


def add_folds(parser: argparse.ArgumentParser) -> None:
    """The options that trade area for cycles."""
    group = parser.add_argument_group("folding: area for cycles")
    one = integer(1)
    group.add_argument("--lanes", type=one, metavar="N", help="outputs computed in one cycle")
    group.add_argument("--fan-in", type=one, metavar="N", help="codebooks looked up in one cycle")
    group.add_argument(
        "--encoder-centroids", type=one, metavar="N", help="centroids compared in one cycle"
    )
    group.add_argument(
        "--encoder-dims", type=one, metavar="N", help="dimensions compared in one cycle"
    )
    group.add_argument(
        "--window-channels",
        type=one,
        metavar="N",
        help="channels of a pixel that are read from a line buffer in one cycle",
    )
    group.add_argument(
        "--slide",
        type=int,
        choices=(0, 1),
        help="1: whole windows of convolutions in registers, for more than a tap a cycle",
    )
    group.add_argument("--input-lanes", type=one, metavar="N", help="elements of an input beat")
    group.add_argument(
        "--name",
        help="the Verilog module (default: the model's name; of an engine lutgen_engine, and all "
        "names in its C header begin with it)",
    )


def add_layers(parser: argparse.ArgumentParser) -> None:
    """The options that only a core of a model has."""
    parser.add_argument(
        "--layer",
        action="append",
        default=[],
        metavar="NODE.FOLD=N",
        help="a fold of one layer, such as fc1.lanes=8; may be repeated",
    )
    parser.add_argument(
        "--loadable", action="store_true", help="tables in RAM, filled through l_axis"
    )


def add_simulation(parser: argparse.ArgumentParser) -> None:
    """The options of a simulation."""
    parser.add_argument("--simulator", choices=("verilator", "icarus"), default="verilator")
    parser.add_argument(
        "--gaps",
        type=fraction,
        default=0.5,
        metavar="P",
        help="fraction of cycles in which source and sink stall (default 0.5)",
    )
    parser.add_argument("--seed", type=integer(0), default=0, metavar="N")


def fold_kwargs(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `lutgen.gateware.build.build` and ``build_loadable`` from the options of
    `add_folds`.
    """
    keys = (*FOLDS, "input_lanes", "name")
    return {key: getattr(args, key) for key in keys if getattr(args, key) is not None}


def layer_folds(options: Sequence[str]) -> dict[str, dict[str, int]]:
    """``--layer`` options by node and fold."""
    layers: dict[str, dict[str, int]] = {}
    for option in options:
        node, key, number = split_option(option) or ("", "", "")
        if key not in FOLDS or not number.isdecimal():
            names = ", ".join(name.replace("_", "-") for name in FOLDS)
            raise LutgenError(
                f"argument --layer: must be NODE.FOLD=N with a fold of {names}, not {option!r}"
            )
        value = int(number)
        if (key == "slide" and value > 1) or (key != "slide" and value < 1):
            what = "0 or 1" if key == "slide" else "a positive integer"
            place = option.partition("=")[0]
            raise LutgenError(f"argument --layer: {place} must be {what}, not {value}")
        layers.setdefault(node, {})[key] = value
    return layers


def changed_folds(model: "Model", core: "Core", layers: dict[str, dict[str, int]]) -> list[str]:
    """A line for every ``--layer`` that could not be had; also said."""
    from lutgen.model import check
    from lutgen.model.fold import Fold

    wishes = {name: Fold(**wish) for name, wish in layers.items()}
    notes = check.changed_folds(model, core.spec, wishes)
    for note in notes:
        say(f"lutgen: note: {note}")
    return notes


def changed_name(model: "Model", core: "Core", wish: str | None = None) -> list[str]:
    """A line if a core is not called what its model is, nor what was wished; also said."""
    name = core.contract["name"]
    if name == (model.name if wish is None else wish):
        return []
    note = (
        f"the core is called {name}: tools can't have a module {model.name:.40}; --name of `lutgen "
        "build` gives it another"
    )
    say(f"lutgen: note: {note}")
    return [note]


def assignments(options: Sequence[str], flag: str, form: str) -> dict[str, dict[str, Any]]:
    """What repeated options such as ``--layer NAME.KEY=VALUE`` say: values by name and key."""
    result: dict[str, dict[str, Any]] = {}
    for option in options:
        parts = split_option(option)
        if parts is None:
            raise LutgenError(f"{flag}: must be {form}, not {option!r}")
        name, key, text = parts
        result.setdefault(name, {})[key] = plain(text)
    return result


def split_option(option: str) -> tuple[str, str, str] | None:
    """``a.b-c=d`` as ``a``, ``b_c``, ``d``; None if it is not of that form."""
    place, equals, value = option.partition("=")
    name, dot, key = place.rpartition(".")
    return (name, key.replace("-", "_"), value) if equals and dot and name and key else None


def plain(text: str) -> int | float | str:
    """A number if the text is one."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


@contextmanager
def as_errors() -> Iterator[None]:
    """Turns what the library says of wrong arguments into what the user can mend."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise LutgenError(str(error)) from error


def say(text: str) -> None:
    """Progress and messages: standard error."""
    print(printable(text), file=sys.stderr, flush=True)


def print_json(data: Any) -> None:
    """One JSON object on standard output; numbers that JSON does not have are null."""
    try:
        text = json.dumps(data, indent=1, allow_nan=False)
    except ValueError:
        text = json.dumps(_without_nan(data), indent=1, allow_nan=False)
    print(text)


def _without_nan(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_nan(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def print_table(
    headers: Sequence[str], rows: Sequence[Sequence[object]], *, file: TextIO | None = None
) -> None:
    """Aligned columns, numbers to the right; None is a dash."""
    cells = [["-" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    right = [
        bool(rows) and all(isinstance(row[i], int | float | None) for row in rows)
        for i in range(len(headers))
    ]
    for line in (list(headers), ["-" * width for width in widths], *cells):
        parts = [
            cell.rjust(width) if numeric else cell.ljust(width)
            for cell, width, numeric in zip(line, widths, right, strict=True)
        ]
        print("  ".join(parts).rstrip(), file=file)


def verilog_beside(path: Path) -> str:
    """The Verilog that goes with a contract."""
    verilog = path.with_suffix(".v")
    try:
        return read_plain(verilog, VERILOG_BYTES).decode("utf-8")
    except OSError as error:
        raise LutgenError(
            f"{verilog}: can't be read: {reason(error)}; it goes with {path}"
        ) from error
    except UnicodeDecodeError:
        raise LutgenError(
            f"{verilog}: is no Verilog, or is damaged; build it again with `lutgen build`"
        ) from None


def format_of(path: Path) -> str | None:
    """What a JSON file says that it is; None of others, of which whoever reads them next says what
    is wrong.
    """
    try:
        data = read_json(path)
    except (OSError, ValueError, LutgenError):
        return None
    return data.get("format") if isinstance(data, dict) else None


STREAM = ("port", "elements", "bits", "lanes", "lane_bits", "beats", "signed")


def check_ports(contract: dict[str, Any], built: dict[str, Any], path: Path) -> None:
    """Complains if a core's streams are not those that its model or its options give."""
    for name in ("input", "output"):
        for key in STREAM:
            have, want = contract[name][key], built[name][key]
            if have != want:
                raise LutgenError(
                    f"{path}, field {name!r}, field {key!r}: must be {want}, not {have}; "
                    "build the core again"
                )


def memory_kinds(contract: dict[str, Any], stage: str) -> str | None:
    """What a stage's memories are made of: the number of cells of each form."""
    cells: dict[str, int] = {}
    for memory in contract.get("memories", ()):
        if memory["stage"] == stage and memory.get("form") is not None:
            count = memory["cells"] if memory["cells"] else memory["count"]
            cells[memory["form"]] = cells.get(memory["form"], 0) + count
    names = {"logic": "logic", "distributed": "dist", "block": "block", "single": "single"}
    return " ".join(f"{cells[form]} {names[form]}" for form in names if form in cells) or None


def stage_table(contract: dict[str, Any]) -> tuple[list[str], list[list[object]]]:
    """Headers, and a row for each stage of a core and the sums; only columns that hold something.

    The bottleneck has a star.
    """
    rows: list[dict[str, object]] = []
    for stage in contract["stages"]:
        fold, cycles = stage.get("fold", {}), stage.get("cycles", {})
        encoder = None
        if {"encoder_centroids", "encoder_dims"} <= {*fold} and stage.get("metric") != "digit":
            encoder = f"{fold['encoder_centroids']}x{fold['encoder_dims']}"
        mark = "*" if stage["name"] == contract.get("bottleneck") else ""
        rows.append(
            {
                "stage": stage["name"] + mark,
                "op": stage["op"],
                "encode": stage.get("encode"),
                "lanes": fold.get("lanes", stage.get("lanes")),
                "fan-in": fold.get("fan_in"),
                "encoder": encoder,
                "channels": fold.get("window_channels"),
                **{key: cycles.get(key) for key in ("input", "encode cycles", "lookup", "read")},
                "encode cycles": cycles.get("encode"),
                "interval": stage["interval"],
                **{f"{word} bits": stage["resources"].get(key, 0) for key, word in BITS.items()},
                "memories": memory_kinds(contract, stage["name"]),
            }
        )
    total: dict[str, object] = {"stage": "total", "op": "", "interval": contract["interval"]}
    total |= {f"{word} bits": contract["resources"].get(key, 0) for key, word in BITS.items()}
    rows.append(total)
    # Zeros say nothing where the whole column is zero.
    headers = [key for key in rows[0] if any(row.get(key) not in (None, 0) for row in rows)]
    return headers, [[row.get(key) for key in headers] for row in rows]


def print_core(contract: dict[str, Any]) -> None:
    """The stages of a core and its timing."""
    print_table(*stage_table(contract))
    source, sink = contract["input"], contract["output"]
    print(f"input     {port_text(source)}")
    print(f"output    {port_text(sink)}, {sink['kind']}")
    if contract["load"]:
        print(f"load      {counted(contract['load']['words'], 'word')} of 32 bits")
    print(f"latency   {counted(contract['latency'], 'cycle')}")
    print(f"interval  {counted(contract['interval'], 'cycle')}")
    if contract.get("bottleneck"):
        print(f"slowest   {contract['bottleneck']} (*)")


def port_text(port: dict[str, Any]) -> str:
    """A stream in words."""
    kind = f"{'int' if port['signed'] else 'uint'}{port['bits']}"
    beats = counted(port["beats"], "beat")
    return f"{port['elements']} x {kind}, {beats} of {port['lanes']}"
