"""Checkpoints: where a training run stands, so that it can go on after a kill with the same result.

A checkpoint is an ``.npz`` of plain arrays and a JSON manifest; reading one never runs code.
"""

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.files import reason, write_with
from lutgen.train.floatfit import FloatState
from lutgen.train.tune import Epoch, Snapshot, State

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

FORMAT = "lutgen-checkpoint"
VERSION = 2


@dataclass
class Checkpoint:
    """Where a run stands.

    Attributes
    ----------
    run : dict
        What makes the run this one: the network, the data, the options. JSON.
    stage : str
        ``float``, or one of the stages: the one under way, or the last one finished.
    finished : bool
        Whether that stage is.
    measured : dict
        Accuracies of the stages so far, and whatever else the report needs. JSON.
    origin : dict of arrays
        The float network's arrays, by number; empty while it trains.
    float_state : FloatState or None
        While the float network trains.
    net : Snapshot or None
        The lookup network, between stages.
    state : State or None
        Within a stage with gradients.
    """

    run: dict[str, Any]
    stage: str
    finished: bool
    measured: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    float_state: FloatState | None = None
    net: Snapshot | None = None
    state: State | None = None


def save_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> None:
    """Writes a checkpoint; the file appears whole."""
    arrays: dict[str, Any] = {}

    def put(prefix: str, group: Mapping[str, NDArray[np.float32]]) -> None:
        arrays.update({f"{prefix}/{key}": value for key, value in group.items()})

    manifest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "run": checkpoint.run,
        "stage": checkpoint.stage,
        "finished": checkpoint.finished,
        "measured": checkpoint.measured,
    }
    put("origin", checkpoint.origin)
    if (first := checkpoint.float_state) is not None:
        manifest["float"] = {"done": first.done, "steps": first.steps, "losses": first.losses}
        put("float", first.arrays)
        put("float_moments", first.moments)
    if checkpoint.net is not None:
        manifest["net"] = checkpoint.net.scales
        put("net", checkpoint.net.arrays)
    if (state := checkpoint.state) is not None:
        manifest["state"] = {
            "done": state.done,
            "steps": state.steps,
            "best_loss": state.best_loss,
            "now": state.now.scales,
            "best": state.best.scales,
            "history": [asdict(epoch) for epoch in state.history],
            "rates": state.rates,
        }
        put("now", state.now.arrays)
        put("best", state.best.arrays)
        put("moments", state.moments)
    text: NDArray[Any] = np.array(json.dumps(manifest))
    contents: dict[str, Any] = {"manifest": text, **arrays}
    write_with(path, lambda file: np.savez(file, **contents))


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads a checkpoint.

    Raises
    ------
    LutgenError
        One line that names the file and the mend.
    """
    problem: Exception
    try:
        with Path(path).open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile) or "manifest" not in archive.files:
                raise LutgenError(f"{path}: is no checkpoint of lutgen; name another, or none")
            arrays = {key: archive[key] for key in archive.files}
        manifest = json.loads(str(arrays.pop("manifest")))
        return _parse(path, manifest, arrays)
    except OSError as error:
        if error.strerror is not None:
            raise LutgenError(f"{path}: can't be read: {reason(error)}") from error
        problem = error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        problem = error
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, MemoryError) as error:
        problem = error
    raise LutgenError(
        f"{path}: is no checkpoint of lutgen, or is damaged; name another, or start anew without it"
    ) from problem


def _parse(
    path: str | os.PathLike[str], manifest: dict[str, Any], arrays: dict[str, NDArray[Any]]
) -> Checkpoint:
    if manifest["format"] != FORMAT:
        raise LutgenError(f"{path}: is no checkpoint of lutgen; name another, or none")
    if manifest["version"] != VERSION:
        raise LutgenError(
            f"{path}: is a checkpoint of version {manifest['version']}, not {VERSION}; "
            "name another, or start anew without it"
        )

    def get(prefix: str) -> dict[str, NDArray[Any]]:
        start = f"{prefix}/"
        return {key[len(start) :]: a for key, a in arrays.items() if key.startswith(start)}

    result = Checkpoint(
        manifest["run"],
        manifest["stage"],
        manifest["finished"],
        manifest["measured"],
        get("origin"),
    )
    if (own := manifest.get("float")) is not None:
        result.float_state = FloatState(
            own["done"], get("float"), get("float_moments"), own["steps"], own["losses"]
        )
    if (scales := manifest.get("net")) is not None:
        result.net = Snapshot(get("net"), scales)
    if (own := manifest.get("state")) is not None:
        result.state = State(
            own["done"],
            Snapshot(get("now"), own["now"]),
            Snapshot(get("best"), own["best"]),
            own["best_loss"],
            get("moments"),
            own["steps"],
            [Epoch(**epoch) for epoch in own["history"]],
            own["rates"],
        )
    return result
