"""Edited checkpoints: every field that a run goes on from is checked, and named."""

import json

import numpy as np
import pytest
from training import small

from lutgen.errors import LutgenError
from lutgen.train import run, train

DATA = small(shape=(6,))
OPTIONS = {
    "arch": (4,),
    "centroids": 2,
    "float_epochs": 2,
    "epochs": 4,
    "stages": ("replace", "joint"),
    "threads": 1,
}
MEND = "; name another, or delete it to start anew"
FLOAT, DONE, TUNED, LAST = 0, 2, 4, 7  # the files of a run: within and after stages


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The bytes of all checkpoints of a run, in order."""
    path, found = tmp_path_factory.mktemp("run") / "run.ckpt", []
    save = run.save_checkpoint

    def keep(checkpoint, place):
        save(checkpoint, place)
        found.append(path.read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "save_checkpoint", keep)
        train(DATA, **OPTIONS, checkpoint=path)
    assert len(found) == 8
    return found


def edited(tmp_path, data, change):
    """A checkpoint after ``change(manifest, arrays)``."""
    path = tmp_path / "run.npz"
    path.write_bytes(data)
    with np.load(path) as archive:
        arrays = dict(archive)
    manifest = json.loads(str(arrays.pop("manifest")))
    change(manifest, arrays)
    np.savez(path, manifest=np.array(json.dumps(manifest)), **arrays)
    return path


def put(place, value):
    """Sets, or with ``...`` drops, a field of the manifest."""

    def change(manifest, arrays):
        *way, last = place
        for step in way:
            manifest = manifest[step]
        if value is ...:
            del manifest[last]
        else:
            manifest[last] = value

    return change


def array(key, work):
    """Changes an array, or with None drops it."""

    def change(manifest, arrays):
        old = arrays.pop(key, None)
        if work is not None:
            arrays[key] = work(old)

    return change


MANIFEST = "manifest, field"
EDITS = [
    (FLOAT, put(["run"], 3), f": {MANIFEST} 'run': must be a JSON object, not 3"),
    (FLOAT, put(["run"], ...), f": {MANIFEST} 'run': is missing"),
    (FLOAT, put(["stage"], "x"), f": {MANIFEST} 'stage': must be one of float, replace, refit, "),
    (FLOAT, put(["stage"], "joint"), f": {MANIFEST} 'float': does not go with the stage 'joint'"),
    (FLOAT, put(["finished"], 1), f": {MANIFEST} 'finished': must be true or false, not 1"),
    (FLOAT, put(["finished"], True), ", array 'origin/0': is missing"),
    (FLOAT, put(["float"], None), f": {MANIFEST} 'float': is missing with the stage 'float'"),
    (FLOAT, put(["float"], []), f": {MANIFEST} 'float': must be a JSON object, not []"),
    (FLOAT, put(["float", "done"], 0), f": {MANIFEST} 'float', field 'done': must be an integer"),
    (
        FLOAT,
        put(["float", "done"], 9),
        f": {MANIFEST} 'float', field 'losses': must have 9 entries",
    ),
    (
        FLOAT,
        put(["float", "steps"], -1),
        f": {MANIFEST} 'float', field 'steps': must be an integer",
    ),
    (FLOAT, put(["float", "steps"], 99), f": {MANIFEST} 'float', field 'steps': must be "),
    (FLOAT, put(["float", "losses"], "x"), f": {MANIFEST} 'float', field 'losses': must be a list"),
    (FLOAT, put(["float", "losses"], [None]), f": {MANIFEST} 'float', field 'losses': must be a"),
    (FLOAT, put(["float", "more"], 1), f": {MANIFEST} 'float', field 'more': is unknown"),
    (FLOAT, put(["more"], 1), f": {MANIFEST} 'more': is unknown"),
    (FLOAT, put(["measured"], ...), f": {MANIFEST} 'measured': is missing"),
    (FLOAT, put(["measured"], []), f": {MANIFEST} 'measured': must be a JSON object, not []"),
    (LAST, put(["measured", "accuracy"], [1]), f": {MANIFEST} 'measured', field 'accuracy': must"),
    (LAST, put(["measured", "accuracy", "float"], 2), f": {MANIFEST} 'measured', field 'accuracy'"),
    (LAST, put(["measured", "accuracy", "x"], 1), f": {MANIFEST} 'measured', field 'accuracy': "),
    (
        LAST,
        put(["measured", "alone"], {"fc1": 0.5}),
        f": {MANIFEST} 'measured', field 'alone': must",
    ),
    (LAST, put(["measured", "alone"], None), f": {MANIFEST} 'measured', field 'alone': must be"),
    (LAST, put(["measured", "curves"], 3), f": {MANIFEST} 'measured', field 'curves': must be a "),
    (
        LAST,
        put(["measured", "curves", "x"], []),
        f": {MANIFEST} 'measured', field 'curves', field ",
    ),
    (
        LAST,
        put(["measured", "curves", "joint", 0], {"loss": 1}),
        f": {MANIFEST} 'measured', field 'curves', field 'joint', entry 0, field 'accuracy': is "
        "missing",
    ),
    (LAST, put(["measured", "seconds"], -1), f": {MANIFEST} 'measured', field 'seconds': must be"),
    (LAST, put(["net"], ...), f": {MANIFEST} 'net': is missing with the stage 'joint'"),
    (LAST, put(["net"], [1]), f": {MANIFEST} 'net': must be lists of numbers by operation"),
    (
        LAST,
        put(["net", "fc1"], ...),
        f": {MANIFEST} 'net': must have an entry for each of fc1, fc2",
    ),
    (LAST, put(["net", "x"], [1]), f": {MANIFEST} 'net': must have an entry for each of fc1, fc2"),
    (LAST, put(["net", "fc1"], [1, 2]), f": {MANIFEST} 'net', field 'fc1': must be scales and"),
    (
        LAST,
        put(["net", "fc1", 0], 0),
        f": {MANIFEST} 'net', field 'fc1': must be scales and shifts",
    ),
    (LAST, put(["net", "fc1", 1], -1), f": {MANIFEST} 'net', field 'fc1': must be scales and"),
    (LAST, put(["net", "fc1", 2], 0.5), f": {MANIFEST} 'net', field 'fc1': must be scales and"),
    (LAST, put(["net", "fc1", 2], 64), f": {MANIFEST} 'net', field 'fc1': must be scales and"),
    (
        DONE,
        put(["stage"], "refit"),
        f": {MANIFEST} 'stage': must be a stage of the run, not 'refit'",
    ),
    (
        TUNED,
        put(["state", "done"], 3),
        f": {MANIFEST} 'state', field 'history': must have 3 entries",
    ),
    (TUNED, put(["state", "steps"], 1), f": {MANIFEST} 'state', field 'steps': must be "),
    (
        TUNED,
        put(["state", "best_loss"], "x"),
        f": {MANIFEST} 'state', field 'best_loss': must be a",
    ),
    (
        TUNED,
        put(["state", "now"], 1),
        f": {MANIFEST} 'state', field 'now': must be lists of numbers",
    ),
    (TUNED, put(["state", "best", "fc2", 0], 1e40), f": {MANIFEST} 'state', field 'best', field"),
    (
        TUNED,
        put(["state", "history", 0], 3),
        f": {MANIFEST} 'state', field 'history', entry 0: must",
    ),
    (
        TUNED,
        put(["state", "rates"], {}),
        f": {MANIFEST} 'state', field 'rates': must have an entry",
    ),
    (
        TUNED,
        put(["state", "rates", "fc1.bias"], 0),
        f": {MANIFEST} 'state', field 'rates': must be",
    ),
    (TUNED, put(["state", "rates", "fc1.bias"], "a"), f": {MANIFEST} 'state', field 'rates': must"),
    (FLOAT, array("float/0", None), ", array 'float/0': is missing"),
    (
        FLOAT,
        array("float/9", lambda a: np.zeros(1, np.float32)),
        ", array 'float/9': belongs to no",
    ),
    (
        FLOAT,
        array("float/0", lambda a: a[:, :1]),
        ", array 'float/0': must have the shape 1x6x4, not ",
    ),
    (FLOAT, array("float/0", lambda a: a.astype(float)), ": array 'float/0': must hold float32, "),
    (FLOAT, array("float_moments/first0", None), ", array 'float_moments/first0': is missing"),
    (LAST, array("x/y", lambda a: np.zeros(1, np.float32)), ": array 'x/y': belongs to no part"),
    (LAST, array("origin/1", lambda a: a * np.nan), ": array 'origin/1': holds NaN, infinity, or "),
    (LAST, array("origin/1", lambda a: a + 3e38), ": array 'origin/1': holds NaN, infinity, or "),
    (
        LAST,
        array("origin/1", lambda a: a[None]),
        ", array 'origin/1': must have the shape 4, not 1x4",
    ),
    (
        LAST,
        array("net/fc1.books", lambda a: a[:, :1]),
        ", array 'net/fc1.books': must have the shape",
    ),
    (LAST, array("net/fc1.moved", None), ", array 'net/fc1.moved': is missing"),
    (
        LAST,
        array("net/fc1.books", lambda a: a + 1),
        ", array 'net/fc1.books': must be 0 where the last sub-vector is padding",
    ),
    (
        LAST,
        array("net/fc1.weight", lambda a: a + 1),
        ", array 'net/fc1.weight': must be 0 where the last sub-vector is padding",
    ),
    (
        TUNED,
        array("now/fc1.weight", lambda a: a.T.copy()),
        ", array 'now/fc1.weight': must have the",
    ),
    (TUNED, array("best/fc2.bias", None), ", array 'best/fc2.bias': is missing"),
    (TUNED, array("moments/second1", None), ", array 'moments/second1': is missing"),
    (TUNED, array("moments/second1", lambda a: a[:1]), ", array 'moments/second1': must have the"),
]


@pytest.mark.parametrize("number", range(len(EDITS)))
def test_edited_checkpoints(files, tmp_path, number):
    which, change, text = EDITS[number]
    path = edited(tmp_path, files[which], change)
    before = path.read_bytes()
    with pytest.raises(LutgenError) as caught:
        train(DATA, **OPTIONS, checkpoint=path)
    said = str(caught.value)
    assert said.startswith(f"{path}{text}")
    assert said.endswith(MEND)
    assert "\n" not in said
    assert path.read_bytes() == before


def test_unedited_checkpoints_go_on(files, tmp_path):
    for data in files:
        path = edited(tmp_path, data, lambda manifest, arrays: None)
        assert not train(DATA, **OPTIONS, checkpoint=path).diverged


@pytest.mark.parametrize("settings", [3, [], None, {}, {"layers": 3}, {"table_bits": "8"}])
def test_settings_of_a_start(files, tmp_path, settings):
    """Whatever a checkpoint says of its run, its own settings are not believed."""

    def change(manifest, arrays):
        if isinstance(settings, dict) and settings:
            manifest["run"]["settings"] |= settings
        else:
            manifest["run"]["settings"] = settings

    path = edited(tmp_path, files[LAST], change)
    for stages in (("replace",), ("narrow",), ("joint",)):
        with pytest.raises(LutgenError) as caught:
            train(DATA, **{**OPTIONS, "stages": stages, "table_bits": 8}, start=path)
        assert str(caught.value).startswith(f"{path}: ")
