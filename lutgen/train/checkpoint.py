"""Checkpoints: where a training run stands, so that it can go on after a kill with the same result.

A checkpoint is an ``.npz`` of plain arrays and a JSON manifest; reading one never runs code.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.archive import ArchiveError, Members, check_room, open_archive
from lutgen.errors import LutgenError
from lutgen.files import write_with
from lutgen.model.base import Fields
from lutgen.model.file import CHECKPOINT
from lutgen.reading import parse_json
from lutgen.train.floatfit import FloatState
from lutgen.train.kept import BOTH, HELD, Kept
from lutgen.train.magnitude import LARGEST
from lutgen.train.options import STAGES
from lutgen.train.tune import Epoch, Snapshot, State

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

VERSION = 2
MEND = "name another, or delete it to start anew"
PACKED = 32  # bytes of arrays for each byte of a file, which is not compressed
EACH = 16  # bytes that an element takes in use
LARGEST_MOMENT = 1e36  # moments are squares
MOST = 1 << 40  # epochs and steps
# Groups of arrays that go with each part of the manifest.
GROUPS = {
    "float": ("float", "float_moments"),
    "net": ("net",),
    "state": ("now", "best", "moments"),
}


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
        "format": CHECKPOINT,
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
            "before": state.before,
            "judged": state.judged,
            "kept": state.kept,
        }
        put("now", state.now.arrays)
        put("best", state.best.arrays)
        put("moments", state.moments)
    text: NDArray[Any] = np.array(json.dumps(manifest))
    contents: dict[str, Any] = {"manifest": text, **arrays}
    write_with(path, lambda file: np.savez(file, **contents))


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads a checkpoint, and checks every field on its own.

    Whether its arrays are those of a network is for `lutgen.train.resume` to check.

    Raises
    ------
    LutgenError
        One line that names the file, the field or array that is wrong, and the mend.
    """
    with open_archive(path, "a checkpoint of lutgen", MEND) as archive:
        if "manifest" not in archive.keys:
            raise LutgenError(f"{path}: is no checkpoint of lutgen: it has no manifest; {MEND}")
        try:
            manifest = parse_json(archive.text("manifest"))
        except ValueError as error:
            raise LutgenError(f"{path}: manifest: is not JSON ({error!s:.60}); {MEND}") from None
        except ArchiveError:
            raise
        except LutgenError as error:
            raise LutgenError(f"{path}: manifest: {error}; {MEND}") from None
        if not isinstance(manifest, dict) or manifest.get("format") != CHECKPOINT:
            raise LutgenError(f"{path}: is no checkpoint of lutgen; {MEND}")
        members = archive.members()
        del members["manifest"]
        check_room(members.values(), archive, packed=PACKED, each=EACH, what=MEND)
        try:
            return _parse(Fields(manifest, "manifest"), members)
        except ArchiveError:
            raise
        except LutgenError as error:
            raise LutgenError(f"{path}: {error}; {MEND}") from None


def _parse(top: Fields, members: Members) -> Checkpoint:
    top.take("format")
    version = top.take("version")
    if version != VERSION:
        raise LutgenError(f"is a checkpoint of version {version!r:.40}, not {VERSION}")
    run = top.take("run")
    if not isinstance(run, dict):
        raise top.fail("run", f"must be a JSON object, not {run!r:.40}")
    stage, finished = top.choice("stage", ("float", *STAGES)), top.flag("finished")
    # What a run has written by then, and nothing else.
    parts = {"float"} if stage == "float" else {"net"} if finished else {"state"}
    groups = {group for part in parts for group in GROUPS[part]}
    groups |= set() if stage == "float" and not finished else {"origin"}
    for part in ("float", "net", "state"):
        if (top.take(part, None) is not None) != (part in parts):
            word = "is missing" if part in parts else "does not go"
            raise top.fail(part, f"{word} with the stage {stage!r}, finished {finished}")
    arrays = _arrays(members, groups)
    result = Checkpoint(run, stage, finished, _measured(top.inner("measured")), arrays["origin"])
    if "float" in parts:
        own = top.inner("float")
        done, losses = own.integer("done", 1, MOST), _numbers(own, "losses")
        if len(losses) != done:
            raise own.fail("losses", f"must have {done} entries, one an epoch, not {len(losses)}")
        steps = own.integer("steps", 0, MOST)
        own.done()
        result.float_state = FloatState(
            done, arrays["float"], arrays["float_moments"], steps, losses
        )
    if "net" in parts:
        result.net = Snapshot(arrays["net"], _scales(top, "net"))
    if "state" in parts:
        result.state = _state(top.inner("state"), arrays)
    top.done()
    return result


def _state(own: Fields, arrays: dict[str, dict[str, NDArray[np.float32]]]) -> State:
    done, history = own.integer("done", 1, MOST), _epochs(own, "history")
    if len(history) != done:
        raise own.fail("history", f"must have {done} entries, one an epoch, not {len(history)}")
    rates = own.take("rates")
    if not isinstance(rates, dict) or not all(
        _number(rate) and rate > 0 for rate in rates.values()
    ):
        raise own.fail("rates", f"must be positive numbers by parameter, not {rates!r:.40}")
    before, judged = _numbers(own, "before"), _numbers(own, "judged")
    if len(before) != 2:
        raise own.fail("before", f"must have 2 entries, not {len(before)}")
    if not 1 <= len(judged) <= done + 1:
        raise own.fail("judged", f"must have 1 to {done + 1} entries, not {len(judged)}")
    state = State(
        done,
        Snapshot(arrays["now"], _scales(own, "now")),
        Snapshot(arrays["best"], _scales(own, "best")),
        _numbers(own, "best_loss", one=True)[0],
        arrays["moments"],
        own.integer("steps", 0, MOST),
        history,
        {key: float(rate) for key, rate in rates.items()},
        (before[0], before[1]),
        judged,
        own.integer("kept", 0, done),
    )
    own.done()
    return state


def _measured(own: Fields) -> dict[str, Any]:
    """What the stages so far measured."""
    result: dict[str, Any] = {}
    for key in ("accuracy", "alone"):
        value = own.take(key)
        good = isinstance(value, dict) and all(_number(v) and 0 <= v <= 1 for v in value.values())
        if not good:
            raise own.fail(key, f"must be numbers between 0 and 1 by name, not {value!r:.40}")
        result[key] = value
    for key in result["accuracy"]:
        if key not in ("float", *STAGES, "model"):
            raise own.fail("accuracy", f"must be of stages, not of {key!r:.40}")
    result["float_losses"] = _numbers(own, "float_losses")
    own.take("curves")
    curves = own.inner("curves")
    result["curves"] = {}
    for stage in ("calibrate", "joint"):
        if curves.take(stage, None) is not None:
            result["curves"][stage] = [asdict(epoch) for epoch in _epochs(curves, stage)]
    curves.done()
    result["kept"] = {}
    if own.take("kept", None) is not None:  # older checkpoints know none
        stages = own.inner("kept")
        for stage in ("calibrate", "joint"):
            if stages.take(stage, None) is not None:
                result["kept"][stage] = _kept(stages.inner(stage)).data()
        stages.done()
    seconds = own.take("seconds", 0.0)  # older checkpoints know none
    if not _number(seconds) or seconds < 0:
        raise own.fail("seconds", f"must be a number of at least 0, not {seconds!r:.40}")
    result["seconds"] = seconds
    own.done()
    return result


def _kept(own: Fields) -> Kept:
    epochs = own.integer("epochs", 1, MOST)
    numbers = {
        key: _numbers(own, key, one=True)[0]
        for key in ("before", "after", "accuracy_before", "accuracy_after")
    }
    samples = own.choice("samples", (HELD, BOTH))
    found = Kept(own.integer("epoch", 0, epochs), epochs, samples, **numbers)
    own.done()
    return found


def _number(value: object) -> bool:
    good = isinstance(value, int | float) and not isinstance(value, bool)
    return good and abs(float(value)) < 1e300  # type: ignore[arg-type]


def _numbers(own: Fields, key: str, *, one: bool = False) -> list[float]:
    """A list of numbers, or one, in a list."""
    value = own.take(key)
    entries = [value] if one else value
    if not isinstance(entries, list) or not all(_number(entry) for entry in entries):
        what = "a number" if one else "a list of numbers"
        raise own.fail(key, f"must be {what}, not {value!r:.40}")
    return [float(entry) for entry in entries]


def _epochs(own: Fields, key: str) -> list[Epoch]:
    value = own.take(key)
    if not isinstance(value, list):
        raise own.fail(key, f"must be a list of epochs, not {value!r:.40}")
    result = []
    for number, entry in enumerate(value):
        inner = Fields(entry, f"{own.where}, field {key!r}, entry {number}")
        numbers = [_numbers(inner, each.name, one=True)[0] for each in fields(Epoch)]
        inner.done()
        result.append(Epoch(*numbers))
    return result


def _scales(own: Fields, key: str) -> dict[str, list[float]]:
    value = own.take(key)
    good = isinstance(value, dict) and all(
        isinstance(entry, list) and all(_number(n) for n in entry) for entry in value.values()
    )
    if not good:
        raise own.fail(key, f"must be lists of numbers by operation, not {value!r:.40}")
    return {name: [float(n) for n in entry] for name, entry in value.items()}


def _arrays(members: Members, groups: set[str]) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Arrays by group and name."""
    names = ("origin", *(group for part in GROUPS.values() for group in part))
    result: dict[str, dict[str, NDArray[np.float32]]] = {group: {} for group in names}
    for key, member in members.items():
        group, _, name = key.partition("/")
        if group not in groups:
            raise LutgenError(f"array {key!r:.80}: belongs to no part that the manifest has")
        if member.dtype != np.float32:
            raise LutgenError(f"array {key!r:.80}: must hold float32, not {member.dtype}")
        array = result[group][name] = member.load()
        most = LARGEST_MOMENT if group.endswith("moments") else LARGEST
        if array.size and not float(np.abs(array).max()) <= most:
            raise LutgenError(f"array {key!r:.80}: holds NaN, infinity, or more than {most:g}")
    return result
