"""Reads and writes `.lut` files (format version 1): a NumPy `.npz` of a JSON manifest and integer
arrays.
"""

import hashlib
import json
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.archive import ArchiveError, Members, check_room, open_archive, write_packed
from lutgen.errors import LutgenError
from lutgen.files import write_with
from lutgen.model.base import NAME, Arrays, Fields, Node
from lutgen.model.network import Model
from lutgen.model.nodes import OPS
from lutgen.reading import parse_json

__all__ = ["CHECKPOINT", "FORMAT", "VERSION", "digest", "load", "node_from", "save"]

FORMAT = "lutgen-model"
CHECKPOINT = "lutgen-checkpoint"  # what training writes beside a model, and people name for one
VERSION = 1
MEND = "copy or train it again"
PACKED = 24  # bytes of arrays for each byte of a file; measured models have 4 at most
EACH = 24  # bytes that an element takes in use: int64, and copies of it
ROOM = "use a machine with more, or train a smaller network"
BLOCK = 1 << 20  # elements whose digest is taken at once


def to_parts(model: Model) -> tuple[dict[str, Any], Arrays]:
    """The manifest, as JSON data, and the arrays by their names in the file."""
    manifest = {
        "format": FORMAT,
        "version": VERSION,
        "name": model.name,
        "input": {"shape": list(model.shape), **model.input.to_manifest()},
        "nodes": [node.to_manifest() for node in model.nodes],
        "provenance": {k: v for k, v in model.provenance.items() if k != "sha256"},
    }
    arrays = {
        f"{node.name}.{key}": array for node in model.nodes for key, array in node.arrays().items()
    }
    return manifest, arrays


def digest(model: Model) -> str:
    """SHA-256 of what the model computes: everything but its provenance and the arrays' dtypes."""
    manifest, arrays = to_parts(model)
    del manifest["provenance"]
    total = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode())
    for key in sorted(arrays):
        total.update(f"{key}{arrays[key].shape}".encode())
        flat = np.ascontiguousarray(arrays[key]).reshape(-1)
        for start in range(0, len(flat), BLOCK):
            total.update(flat[start : start + BLOCK].astype("<i8").tobytes())
    return total.hexdigest()


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Writes a model; the file appears whole.

    Raises
    ------
    LutgenError
        If the file can't be written.
    """
    manifest, arrays = to_parts(model)
    manifest["provenance"]["sha256"] = digest(model)
    text: NDArray[Any] = np.array(json.dumps(manifest, indent=1))
    contents: dict[str, Any] = {"manifest": text, **arrays}
    write_with(path, lambda file: write_packed(file, contents, PACKED))


def load(path: str | os.PathLike[str]) -> Model:
    """Reads and checks a model; never runs code from the file.

    Raises
    ------
    LutgenError
        One line that names the file, and the node and field that is wrong.
    """
    foreign = None if os.fspath(path).endswith(".lut") else "name a .lut file"
    with open_archive(path, "a lutgen model", MEND, foreign) as archive:
        if "manifest" not in archive.keys:
            raise LutgenError(
                f"{path}: is not a lutgen model: it has no manifest; `lutgen train` makes one"
            )
        try:
            manifest = _manifest(archive.text("manifest"))
            arrays = archive.members()
            del arrays["manifest"]
            check_room(arrays.values(), archive, packed=PACKED, each=EACH, what=ROOM)
            return _parse(manifest, arrays)
        except ArchiveError:
            raise
        except LutgenError as error:
            raise LutgenError(f"{path}: {error}") from error


def _manifest(text: str) -> object:
    try:
        return parse_json(text)
    except ValueError as error:
        raise LutgenError(f"manifest: is not JSON ({error!s:.60}); {MEND}") from None
    except LutgenError as error:
        raise LutgenError(f"manifest: {error}") from None


def _parse(manifest: object, arrays: Members) -> Model:
    top = Fields(manifest, "manifest")
    if isinstance(manifest, dict) and manifest.get("format") == CHECKPOINT:
        raise LutgenError(
            "is a checkpoint of training, not a model; name the .lut that the training wrote, or "
            "go on from here with `lutgen train --start`"
        )
    if top.take("format", None) != FORMAT:
        raise top.fail("format", f"must be {FORMAT!r}, not {top.take('format', None)!r:.40}")
    version = top.take("version")
    if type(version) is not int or version < 1:
        raise top.fail("version", f"must be a positive integer, not {version!r:.40}")
    if version > VERSION:
        raise top.fail("version", f"is {version}, newer than {VERSION}; upgrade lutgen to read it")
    name = top.text("name")
    source = Fields(top.take("input"), "manifest, field 'input'")
    shape, wire = source.shape("shape"), source.activation()
    source.done()
    entries = top.take("nodes")
    if not isinstance(entries, list):
        raise top.fail("nodes", f"must be a list, not {entries!r:.40}")
    nodes = tuple(node_from(entry, f"node number {i}", arrays) for i, entry in enumerate(entries))
    provenance = top.take("provenance", {})
    if not isinstance(provenance, dict):
        raise top.fail("provenance", f"must be a JSON object, not {provenance!r:.40}")
    top.done()
    for key in arrays:
        raise LutgenError(f"array {key!r}: belongs to no node")
    model = Model(name, shape, wire, nodes, provenance)
    if "sha256" in provenance and provenance["sha256"] != digest(model):
        raise LutgenError(
            "manifest, field 'provenance': sha256 does not match the contents, the file was "
            "changed; train it again, or delete sha256 if the change is yours"
        )
    return model


def node_from(entry: object, where: str, arrays: Members) -> Node:
    """Reads a node's entry; takes its arrays out of ``arrays``. ``where`` says which it is."""
    unnamed = Fields(entry, where)
    name = unnamed.text("name")
    if not NAME.match(name):
        raise unnamed.fail("name", f"must be letters, digits and underscores, not {name!r:.40}")
    fields = Fields(entry, f"node {name!r}")
    fields.take("name")
    op = fields.text("op")
    if op not in OPS:
        raise fields.fail("op", f"must be one of {', '.join(OPS)}, not {op!r:.40}")
    inputs = fields.names("inputs")
    node = OPS[op].from_manifest(name, inputs, fields, arrays)
    fields.done()
    return node
