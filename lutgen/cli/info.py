"""``lutgen info``: what is in a model or a core."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutgen.cli import common
from lutgen.errors import LutgenError
from lutgen.files import reason

if TYPE_CHECKING:
    from lutgen.model import Model

__all__ = ["add", "run"]


def add(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "info",
        help="show what is in a model or a core",
        description="Shows the nodes of a .lut model, or the stages of a core's .json.",
        allow_abbrev=False,
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Reads and prints."""
    path: Path = args.file
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError as error:
        raise LutgenError(f"{path}: can't be read: {reason(error)}") from error
    if start != b"PK":  # a .lut is a zip archive
        contract = contract_of(path)
        if args.json:
            common.print_json(contract)
        else:
            print(f"core      {contract['name']}")
            if contract["model"]:
                print(f"model     {contract['model']['name']}, {contract['model']['sha256']}")
            common.print_core(contract)
        return 0
    from lutgen.model import load

    model = load(path)
    data = describe(model)
    if args.json:
        common.print_json(data)
    else:
        show(data)
    return 0


def contract_of(path: Path) -> dict[str, Any]:
    """A core's contract; what is neither that nor a model gets an error that speaks of both."""
    try:
        return common.read_contract(path)
    except LutgenError as error:
        if "is not the contract" in str(error):
            raise LutgenError(f"{path}: is neither a .lut model nor the .json of a core") from None
        raise


def describe(model: "Model") -> dict[str, Any]:
    """A model as JSON data."""
    from lutgen.model import LutLinear, digest

    wires = model.wires()
    nodes = []
    for node in model.nodes:
        entry = {**node.to_manifest(), "shape": list(wires[node.name].shape)}
        if isinstance(node, LutLinear):
            books = node.codebooks
            entry["codebooks"] = node.table.shape[0]
            entry["table_memory_bits"] = node.table.size * node.grid.bits
            wire = wires[node.inputs[0]].activation
            width = wire.bits if wire else 0
            entry["codebook_memory_bits"] = 0 if books is None else books.size * width
        nodes.append(entry)
    return {
        "name": model.name,
        "sha256": digest(model),
        "input": {"shape": list(model.shape), **model.input.to_manifest()},
        "nodes": nodes,
        "provenance": model.provenance,
    }


def show(data: dict[str, Any]) -> None:
    """A model as a table."""
    source = data["input"]
    kind = f"{'int' if source['signed'] else 'uint'}{source['bits']}"
    print(f"model     {data['name']}, {data['sha256']}")
    print(f"input     {'x'.join(map(str, source['shape']))} {kind}, scale {source['scale']:g}")
    rows: list[list[object]] = []
    for node in data["nodes"]:
        output = node.get("output")
        form = f"{'int' if output['signed'] else 'uint'}{output['bits']}" if output else None
        grid = node.get("grid")
        rows.append(
            [
                *(node["name"], node["op"], "x".join(map(str, node["shape"])), form),
                *(node.get(key) for key in ("codebooks", "subvec", "centroids", "metric")),
                f"{grid['kind']}{grid['bits']}" if grid else None,
                *(node.get(key) for key in ("shift", "table_memory_bits", "codebook_memory_bits")),
            ]
        )
    common.print_table(
        (
            *("node", "op", "shape", "output", "codebooks", "subvec", "centroids", "metric"),
            *("table", "shift", "table bits", "codebook bits"),
        ),
        rows,
    )
    accuracy = data["provenance"].get("accuracy")
    for name, value in accuracy.items() if isinstance(accuracy, dict) else ():
        if isinstance(value, int | float):
            print(f"accuracy  {name} {100 * value:.2f} %")
