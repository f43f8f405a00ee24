"""``lutgen info``: what is in a model, a core, an engine or a job."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutgen.cli import common, engine, engine_sim, picture, synth
from lutgen.cli import compile as compile_
from lutgen.cli.synth_report import read_report
from lutgen.errors import LutgenError
from lutgen.files import check_writable, reason, write_text
from lutgen.numeric import ceil_div
from lutgen.reading import open_plain

if TYPE_CHECKING:
    from lutgen.model import Model

__all__ = ["add", "run"]


def add(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "info",
        help="show what is in a model, a core, an engine or a job",
        description="Shows the nodes of a .lut model, the stages of a core's .json, what an "
        "engine's .json says, the steps of a JOB of `lutgen compile`, or a report of `lutgen "
        "synth`.",
        allow_abbrev=False,
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--svg", type=Path, metavar="OUT.svg", help="a picture of the core, from its .json"
    )
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Reads and prints."""
    path: Path = args.file
    if (folder := job_folder(path)) is not None:
        return show_job(folder, args)
    try:
        with open_plain(path) as file:
            start = file.read(2)
    except OSError as error:
        raise LutgenError(f"{path}: can't be read: {reason(error)}") from error
    if args.svg is not None:
        if start == b"PK":
            raise LutgenError(
                f"argument --svg: {path} is a model; give the .json that `lutgen build` wrote"
            )
        check_writable(args.svg, inputs=[path])
    if start != b"PK":  # a .lut is a zip archive
        if engine_sim.is_engine(path):
            return engine.show_contract(path, args)
        if (report := read_report(path)) is not None:
            if args.svg is not None:
                raise LutgenError(f"argument --svg: {path} is a report; give a core's .json")
            if args.json:
                common.print_json(report)
            else:
                synth.show(report, path.parent)
            return 0
        contract = contract_of(path)
        if args.svg is not None:
            write_text(args.svg, picture_of(contract, path))
        if args.json:
            common.print_json(contract)
        else:
            print(f"core      {contract['name']}")
            if contract["model"]:
                print(f"model     {contract['model']['name']}, {contract['model']['sha256']}")
            common.print_core(contract)
            if args.svg is not None:
                print(f"wrote     {args.svg}")
        return 0
    from lutgen.model import load

    model = load(path)
    data = describe(model)
    if args.json:
        common.print_json(data)
    else:
        show(data)
    return 0


def job_folder(path: Path) -> Path | None:
    """The folder of a job, if the path is one, or a file of one.

    Raises
    ------
    LutgenError
        If it is another folder.
    """
    from lutgen.host import jobfile

    folder = path if path.is_dir() else path.parent
    if path.is_dir() or path.name in jobfile.FILES:
        if (folder / jobfile.MANIFEST).is_file():
            return folder
        if path.is_dir():
            raise LutgenError(
                f"{path}: is a folder, but not a job; give a .lut model, the .json of a core or an "
                "engine, or a JOB of `lutgen compile`"
            )
    return None


def show_job(folder: Path, args: argparse.Namespace) -> int:
    """``lutgen info`` of a job of `lutgen compile`."""
    from lutgen.host import jobfile
    from lutgen.host.listing import describe as describe_job

    if args.svg is not None:
        raise LutgenError(f"argument --svg: {folder} is a job; pictures are of cores of models")
    job = jobfile.load(folder)
    data = describe_job(job, job.batch)
    if args.json:
        common.print_json({"job": str(folder), **data})
    else:
        print(f"job       {job.name}, {job.sha256}")
        print(f"engine    {engine.options_of(job.engine)}")
        compile_.show(data)
    return 0


def picture_of(contract: dict[str, Any], path: Path) -> str:
    """The picture, if the contract says enough for one."""
    where = [(contract, "", "queues")]
    where += [
        (s, f"field 'stages', entry {k}, ", "lanes") for k, s in enumerate(contract["stages"])
    ]
    for data, spot, key in where:
        if key not in data:
            raise LutgenError(f"{path}, {spot}field {key!r}: is missing; build the core again")
    return picture.draw(contract)


def contract_of(path: Path) -> dict[str, Any]:
    """A core's contract; what is neither that nor a model gets an error that speaks of both."""
    from lutgen.host.core_contract import read_core

    try:
        return read_core(path)
    except LutgenError as error:
        if "is not the contract" in str(error):
            raise LutgenError(
                f"{path}: is neither a .lut model, nor the .json of a core or an engine, nor a "
                "JOB of `lutgen compile`"
            ) from None
        raise


def describe(model: "Model") -> dict[str, Any]:
    """A model as JSON data."""
    from lutgen.model import LutLayer, Map, digest

    wires = model.wires()
    nodes = []
    for node in model.nodes:
        entry = {**node.to_manifest(), "shape": list(wires[node.name].shape)}
        source = wires[node.inputs[0]].activation
        if isinstance(node, LutLayer) and source is not None:
            books = node.codebooks
            entry["codebooks"] = node.table.shape[-3]
            entry["table_memory_bits"] = node.table.size * node.grid.bits
            entry["codebook_memory_bits"] = 0 if books is None else books.size * source.bits
        elif isinstance(node, Map):
            entry["table_memory_bits"] = node.map.size * node.output.bits
        nodes.append(entry)
    return {
        "name": model.name,
        "sha256": digest(model),
        "input": {"shape": list(model.shape), **model.input.to_manifest()},
        "nodes": nodes,
        "provenance": model.provenance,
    }


def kind_of(activation: dict[str, Any]) -> str:
    """An integer format in a word."""
    return f"{'int' if activation['signed'] else 'uint'}{activation['bits']}"


def columns_of(node: dict[str, Any], before: str) -> dict[str, object]:
    """A node's row of the table; ``before`` is the name of the node before it."""
    output, grid = node.get("output"), node.get("grid")
    kernel = None
    if "kernel" in node:
        kernel = "{}x{}/{}x{}".format(*node["kernel"], *node["stride"])
    sizes = {}
    for what in ("table", "codebook"):
        bits = node.get(f"{what}_memory_bits")
        sizes[f"{what} bytes"] = None if bits is None else ceil_div(bits, 8)
    return {
        "node": node["name"],
        "op": node["op"],
        "inputs": None if node["inputs"] == [before] else " ".join(node["inputs"]),
        "shape": "x".join(map(str, node["shape"])),
        "output": kind_of(output) if output else None,
        "kernel": kernel,
        **{key: node.get(key) for key in ("encode", "codebooks", "subvec", "centroids", "metric")},
        "table": f"{grid['kind']}{grid['bits']}" if grid else None,
        "shift": node.get("shift"),
        **sizes,
    }


def show(data: dict[str, Any]) -> None:
    """A model as a table, without the columns that no node fills."""
    source = data["input"]
    print(f"model     {data['name']}, {data['sha256']}")
    shape = "x".join(map(str, source["shape"]))
    print(f"input     {shape} {kind_of(source)}, scale {source['scale']:g}")
    names = ["input", *(node["name"] for node in data["nodes"])]
    rows = [columns_of(*pair) for pair in zip(data["nodes"], names, strict=False)]
    headers = [key for key in rows[0] if any(row[key] is not None for row in rows)]
    common.print_table(headers, [[row[key] for key in headers] for row in rows])
    accuracy = data["provenance"].get("accuracy")
    for name, value in accuracy.items() if isinstance(accuracy, dict) else ():
        if isinstance(value, int | float):
            print(f"accuracy  {name} {100 * value:.2f} %")
    for line in kept_lines(data["provenance"]):
        print(line)


def kept_lines(provenance: dict[str, Any]) -> list[str]:
    """What became of the stages that trained with gradients."""
    from lutgen.train.kept import BOTH, HELD, Kept

    found = provenance.get("kept")
    lines = []
    for stage, entry in found.items() if isinstance(found, dict) else ():
        if stage not in ("calibrate", "joint") or not isinstance(entry, dict):
            continue
        numbers = {key: value for key, value in entry.items() if key != "samples"}
        good = {*entry} == {*Kept.__dataclass_fields__} and entry["samples"] in (BOTH, HELD)
        if good and all(type(value) in (int, float) for value in numbers.values()):
            lines.append(f"stage     {stage}: {Kept(**entry).text()}")
    return lines
