"""Reads and writes job folders (format version 1): ``job.json``, and ``arrays.npz`` of integers."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lutgen.archive import ArchiveError, Members, check_room, open_archive, write_packed
from lutgen.errors import LutgenError
from lutgen.files import write_folder
from lutgen.host.contract import parameters_of, read_json
from lutgen.host.cut import Cut
from lutgen.host.job import EngineStep, HostStep, Job, follow
from lutgen.model.base import Arrays, Fields, Wire
from lutgen.model.file import EACH, PACKED, ROOM, node_from
from lutgen.spec.encoder import narrowest
from lutgen.spec.engine_registers import fingerprint
from lutgen.spec.job import RESULTS

__all__ = ["ARRAYS", "FILES", "FORMAT", "MANIFEST", "VERSION", "load", "save"]

FORMAT = "lutgen-job"
VERSION = 1
MANIFEST, ARRAYS = FILES = ("job.json", "arrays.npz")
MEND = "compile the model again"
RANKS = {"books": 3, "table": 3, "bias": 1, "map": 1}  # arrays of an engine step


# To files.


def save(job: Job, path: str | os.PathLike[str]) -> None:
    """Writes a job; the folder appears whole, and takes the place of another job.

    Raises
    ------
    LutgenError
        If it can't be written, or there is a folder that is no job.
    """
    arrays: Arrays = {}
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "name": job.name,
        "sha256": job.sha256,
        "engine": {
            "fingerprint": fingerprint(job.engine),
            "parameters": asdict(job.engine.resolved),
        },
        "input": {"shape": list(job.shape), **job.input.to_manifest()},
        "output": job.output,
        "steps": [_entry(step, arrays) for step in job.steps],
    }
    text = json.dumps(manifest, indent=1).encode()
    contents: dict[str, Any] = {**arrays}
    write_folder(
        path,
        {
            MANIFEST: lambda file: file.write(text),
            ARRAYS: lambda file: write_packed(file, contents, PACKED),
        },
        "a job",
    )


def _entry(step: HostStep | EngineStep, arrays: Arrays) -> dict[str, Any]:
    """A step's entry; its arrays go into ``arrays``."""
    if isinstance(step, HostStep):
        found = {f"{step.name}.{key}": array for key, array in step.node.arrays().items()}
        arrays.update(found)
        return {"on": "host", "why": step.why, "node": step.node.to_manifest()}
    parts = {key: getattr(step, key) for key in RANKS if getattr(step, key) is not None}
    arrays.update({f"{step.gives}.{key}": _small(array) for key, array in parts.items()})
    activation = step.wire.activation
    return {
        "on": "engine",
        "name": step.name,
        "gives": step.gives,
        "source": step.source,
        "cut": step.cut.to_manifest(),
        "shape": list(step.wire.shape),
        "format": None if activation is None else activation.to_manifest(),
        "results": step.results,
        "subvec": step.subvec,
        "signed": step.signed,
        "shift": step.shift,
        "low": step.low,
        "high": step.high,
        "arrays": list(parts),
    }


def _small(array: NDArray[Any]) -> NDArray[Any]:
    """The same integers in the narrowest type."""
    if not array.size:
        return array
    return array.astype(narrowest(int(array.min()), int(array.max())))


# From files.


def load(path: str | os.PathLike[str]) -> Job:
    """Reads and checks a job; never runs code from its files.

    Raises
    ------
    LutgenError
        One line that names the file, and the step and field that is wrong.
    """
    folder = Path(path)
    manifest = folder / MANIFEST
    try:
        data = read_json(manifest)
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise LutgenError("is not a job; `lutgen compile` makes one")
    except LutgenError as error:
        raise LutgenError(f"{manifest}: {error}") from error
    with open_archive(folder / ARRAYS, "the archive of a job", MEND) as archive:
        arrays = archive.members()
        check_room(arrays.values(), archive, packed=PACKED, each=EACH, what=ROOM)
        try:
            return _parse(Fields(data, "job"), arrays)
        except ArchiveError:
            raise
        except LutgenError as error:
            raise LutgenError(f"{manifest}: {error}") from error


def _parse(top: Fields, arrays: Members) -> Job:
    top.take("format")
    version = top.take("version")
    if version != VERSION:
        raise top.fail(
            "version",
            f"is {version!r:.40}, not {VERSION}; upgrade lutgen to read it, or compile the model "
            "again",
        )
    inner = top.inner("engine")
    engine = parameters_of(inner.inner("parameters"), "compile the model again")
    inner.take("fingerprint")  # for people and other programs: it follows from the parameters
    inner.done()
    source = top.inner("input")
    shape, activation = source.shape("shape"), source.activation()
    source.done()
    entries = top.take("steps")
    if not isinstance(entries, list):
        raise top.fail("steps", f"must be a list, not {entries!r:.40}")
    wires = {"input": Wire(shape, activation)}
    steps = []
    for number, entry in enumerate(entries):
        step = _step(entry, number, wires, arrays)
        wires[step.gives] = follow(step, wires, engine)
        steps.append(step)
    name, sha256, output = top.text("name"), top.text("sha256"), top.text("output")
    top.done()
    for key in arrays:
        raise LutgenError(f"array {key!r}: belongs to no step")
    return Job(name, sha256, engine, shape, activation, tuple(steps), output)


def _step(
    entry: object, number: int, wires: Mapping[str, Wire], arrays: Members
) -> HostStep | EngineStep:
    """A step behind those that gave the wires; takes its arrays out of ``arrays``."""
    fields = Fields(entry, f"step number {number}")
    if fields.choice("on", ("host", "engine")) == "host":
        why = fields.text("why")
        node = node_from(fields.take("node"), f"{fields.where}, field 'node'", arrays)
        fields.done()
        return HostStep(node, why)
    gives = fields.text("gives")
    fields = Fields(entry, f"step {gives!r}")
    for key in ("on", "gives"):
        fields.take(key)
    source = fields.text("source")
    if source not in wires:
        raise fields.fail("source", f"names {source!r:.40}, which no earlier step gives")
    cut = Cut.from_manifest(fields.inner("cut"), wires[source].shape)
    shape, activation = fields.shape("shape"), None
    if fields.take("format") is not None:
        inner = fields.inner("format")
        activation = inner.activation()
        inner.done()
    least, most = -(1 << 15), (1 << 16) - 1
    step = EngineStep(
        name=fields.text("name"),
        gives=gives,
        source=source,
        cut=cut,
        wire=Wire(shape, activation),
        results=fields.choice("results", RESULTS),
        subvec=fields.integer("subvec", 1, 1 << 16),
        signed=fields.flag("signed"),
        shift=fields.integer("shift", 0, 31),
        low=fields.integer("low", least, most),
        high=fields.integer("high", least, most),
        **_parts(fields, gives, arrays),
    )
    fields.done()
    return step


def _parts(fields: Fields, gives: str, arrays: Members) -> dict[str, NDArray[Any]]:
    """A step's own arrays."""
    names = fields.take("arrays")
    if not isinstance(names, list) or any(name not in [*RANKS] for name in names):
        raise fields.fail("arrays", f"must be some of {', '.join(RANKS)}, not {names!r:.40}")
    parts = {}
    for key in names:
        if f"{gives}.{key}" not in arrays:
            raise LutgenError(f"{fields.where}, array {key!r}: is missing")
        array = arrays.pop(f"{gives}.{key}")
        if array.dtype.kind not in "iu" or len(array.shape) != RANKS[key]:
            raise LutgenError(
                f"{fields.where}, array {key!r}: must hold integers in {RANKS[key]} dimensions"
            )
        parts[key] = array.load()
    return parts
