"""What makes a run this one: whether a checkpoint is its own, or one to start from."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.files import reason
from lutgen.reading import open_plain
from lutgen.train.checkpoint import Checkpoint
from lutgen.train.floatnet import FloatNet

__all__ = ["check_same", "check_start", "digest", "file_digest", "network_digest"]


def check_same(old: Checkpoint, run: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Complains if ``old``, found at ``path``, is of another run than ``run``."""
    wrong = differences(old, run)
    if wrong:
        raise LutgenError(
            f"{path}: is the checkpoint of another run (other {', '.join(wrong)}); "
            "delete it to start anew, or name another with --checkpoint"
        )


def check_start(begun: Checkpoint, run: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Complains if a run can't start from ``begun``, found at ``path``."""
    free = {"lutgen", "start", "stages", "settings", "augment", "epochs", "float_epochs"}
    if {"replace", "refit"} & set(run["settings"]["stages"]):
        free.add("tables")
    if "narrow" in run["settings"]["stages"]:
        free.add("table_bits")
    wrong = [what for what in differences(begun, run) if what not in free]
    if wrong:
        mend = "stage narrow, which changes them" if wrong == ["table_bits"] else "name another"
        raise LutgenError(
            f"{path}: is a checkpoint of a run that does not go with this one (other "
            f"{', '.join(wrong)}); give the same, or {mend}"
        )
    if begun.net is None and begun.state is None:
        raise LutgenError(
            f"{path}: holds no lookup network yet; let its run finish the stage replace"
        )


def differences(known: Checkpoint, run: Mapping[str, Any]) -> list[str]:
    """In what two runs differ: keys of what makes a run, or of its settings."""
    result = []
    for what, mine in run.items():
        theirs = known.run.get(what)
        if what == "settings" and isinstance(theirs, dict):
            result += [key for key in mine if key not in theirs or theirs[key] != mine[key]]
            if "layers" in result and _but_bits(theirs.get("layers")) == _but_bits(mine["layers"]):
                result[result.index("layers")] = "table_bits"
        elif theirs != mine:
            result.append("network" if what == "settings" else what)  # it says nothing of either
    return list(dict.fromkeys(result))


def _but_bits(layers: Any) -> Any:
    """Layers' settings less table bits, and less layers that then have none."""
    if not isinstance(layers, dict):
        return layers
    cut = {
        name: {key: value for key, value in own.items() if key != "table_bits"}
        for name, own in layers.items()
    }
    return {name: own for name, own in cut.items() if own}


def digest(arrays: Sequence[NDArray[Any]]) -> str:
    """SHA-256 of arrays."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def network_digest(net: FloatNet) -> str:
    """SHA-256 of a network: its layers' kinds, settings and arrays."""
    text = [str(net.shape)]
    for layer in net.layers:
        plain = {
            key: value for key, value in vars(layer).items() if not isinstance(value, np.ndarray)
        }
        plain.pop("rows", None)
        text.append(f"{type(layer).__name__} {sorted(plain.items())}")
    total = hashlib.sha256("\n".join(text).encode())
    total.update(digest(net.state()).encode())
    return total.hexdigest()


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file."""
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LutgenError(f"{path}: can't be read: {reason(error)}") from error
