"""Checkpoints: a run that was killed anywhere goes on to the same model, and to no other run's."""

import contextlib

import numpy as np
import pytest
from training import QUICK, image_net, small

import lutgen
from lutgen.errors import LutgenError
from lutgen.model import digest
from lutgen.train import Augment, AvgPool2d, Clip, FloatNet, MaxPool2d, train
from lutgen.train.checkpoint import load_checkpoint, save_checkpoint
from lutgen.train.identity import network_digest

STAGES = ("replace", "refit", "calibrate", "joint")
SHORT = {
    "arch": (8,),
    "centroids": 4,
    "float_epochs": 2,
    "epochs": 4,
    "stages": STAGES,
    "threads": 1,
}
VECTORS, IMAGES = small(), small(shape=(6, 6, 2))


class Killed(BaseException):
    """No handler of errors stops it."""


def stopped(step, data, path, **options):
    """Runs until the progress report number ``step``, or to the end; gives the reports."""
    seen = []

    def report(progress):
        seen.append(progress)
        if len(seen) == step:
            raise Killed

    with contextlib.suppress(Killed):
        train(data, **options, checkpoint=path, progress=report)
    return seen


def everything(result):
    """All that a run gives, but for its time."""
    return (
        digest(result.model),
        result.accuracy,
        result.held_accuracy,
        result.float_losses,
        result.curves,
        result.layers,
        result.kept,
    )


def kinds():
    """An MLP, a convolution with a batch norm, and one that comes trained, exact layers too."""
    yield VECTORS, {**SHORT, "argmax": True}
    yield IMAGES, {**SHORT, "net": image_net(), "augment": Augment(flip=True, shift=1, noise=0.1)}
    trained = train(IMAGES, net=image_net(), **QUICK).origin
    yield (
        IMAGES,
        {
            **SHORT,
            "net": trained,
            "float_epochs": None,
            "tables": "tied",
            "layers": {"fc1": {"metric": "digit"}},
            "settings": {"joint": {"optimiser": "sgd", "train": "weight,bias"}},
        },
    )


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_killed_anywhere_it_goes_on_to_the_same_model(tmp_path, kind):
    data, options = list(kinds())[kind]
    reports = []
    whole = train(data, **options, progress=reports.append)
    for step in range(1, len(reports) + 1):
        path = tmp_path / f"{step}.ckpt"
        seen = stopped(step, data, path, **options)
        last = seen[-1].stage, seen[-1].done
        assert last == (reports[step - 1].stage, reports[step - 1].done)
        known, again = path.exists(), []
        result = train(data, **options, checkpoint=path, progress=again.append)
        assert everything(result) == everything(whole), last
        assert (again[0].note == f"going on from {path}") == known, last
        assert known or last[0] == "replace"


def test_killed_again_and_again(tmp_path):
    path = tmp_path / "run.ckpt"
    whole = train(IMAGES, net=image_net(), **SHORT)
    runs = [stopped(4, IMAGES, path, net=image_net(), **SHORT) for _ in range(6)]
    assert [f"{seen[0].stage} {seen[0].done}" for seen in runs] == [
        *("float 1", "float 2", "replace 2", "calibrate 1", "joint 2", "joint 4")
    ]
    assert str(runs[3][0]) == f"calibrate 1/2, going on from {path}"
    result = train(IMAGES, net=image_net(), **SHORT, checkpoint=path)
    assert everything(result) == everything(whole)


def test_time_before_a_kill_counts(tmp_path):
    path = tmp_path / "run.ckpt"
    stopped(4, VECTORS, path, **SHORT)
    known = load_checkpoint(path)
    assert 0 < known.measured["seconds"] < 1000
    known.measured["seconds"] += 1000
    save_checkpoint(known, path)
    assert 1000 < train(VECTORS, **SHORT, checkpoint=path).seconds < 2000


def test_a_finished_run_gives_its_result_again(tmp_path):
    path = tmp_path / "run.ckpt"
    whole = train(VECTORS, **SHORT, checkpoint=path)
    before = path.read_bytes()
    seen = []
    result = train(VECTORS, **SHORT, checkpoint=path, progress=seen.append)
    assert everything(result) == everything(whole)
    assert [str(p) for p in seen] == [f"joint 4/4, going on from {path}"]
    assert path.read_bytes() == before


def test_a_diverged_run_stands_where_it_was_good(tmp_path):
    path = tmp_path / "run.ckpt"
    wild = {**SHORT, "settings": {"joint": {"learning_rate": 1e8}}}
    first, again = (train(VECTORS, **wild, checkpoint=path) for _ in range(2))
    assert first.diverged == again.diverged != ""
    assert everything(first) == everything(again)
    known = load_checkpoint(path)
    assert (known.stage, known.finished) == ("calibrate", True)
    mended = train(
        VECTORS, **{**SHORT, "stages": ["joint"]}, start=path, checkpoint=tmp_path / "b.ckpt"
    )
    assert not mended.diverged
    assert everything(mended) == everything(train(VECTORS, **SHORT))


def test_a_run_in_parts_is_the_run(tmp_path):
    """Each stage a run of its own that starts from the one before."""
    data, options = list(kinds())[1]
    whole = train(data, **options)
    start = None
    for number, stage in enumerate(STAGES):
        path = tmp_path / f"{number}.ckpt"
        part = {**options, "stages": [stage]}
        if start is not None:
            part |= {"epochs": 4 if stage == "joint" else None}
        result = train(data, **part, start=start, checkpoint=path)
        start = path
    assert everything(result) == everything(whole)


def test_a_part_that_was_killed_goes_on(tmp_path):
    first, second = tmp_path / "first.ckpt", tmp_path / "second.ckpt"
    train(VECTORS, **{**SHORT, "stages": ["refit"]}, checkpoint=first)
    part = {**SHORT, "stages": ["joint"], "start": first}
    whole = train(VECTORS, **part)
    stopped(3, VECTORS, second, **part)
    assert everything(train(VECTORS, **part, checkpoint=second)) == everything(whole)
    other = tmp_path / "other.ckpt"
    train(VECTORS, **{**SHORT, "stages": ["replace"]}, checkpoint=other)
    with pytest.raises(LutgenError, match=r"is the checkpoint of another run \(other start\); "):
        train(VECTORS, **{**part, "start": other}, checkpoint=second)


def refusal(**options):
    with pytest.raises(LutgenError) as caught:
        train(options.pop("data", VECTORS), progress=never, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def never(progress):
    raise AssertionError("work was done")


OTHERS = [
    ({"seed": 1}, "seed"),
    ({"arch": (9,)}, "arch"),
    ({"centroids": 5, "epochs": 6}, "centroids, epochs"),
    ({"layers": {"fc1": {"subvec": 2}}}, "layers"),
    ({"settings": {"joint": {"beta": 0.2}}}, "settings"),
    ({"augment": Augment(noise=0.3)}, "augment"),
    ({"data": small(seed=5)}, "data"),
    ({"tables": "tied"}, "tables"),
]


@pytest.mark.parametrize(("other", "what"), OTHERS, ids=[what for _, what in OTHERS])
def test_no_other_run_goes_on(tmp_path, other, what):
    path = tmp_path / "run.ckpt"
    stopped(5, VECTORS, path, **SHORT)
    before = path.read_bytes()
    assert refusal(**{**SHORT, **other}, checkpoint=path) == (
        f"{path}: is the checkpoint of another run (other {what}); delete it to start anew, "
        "or name another with --checkpoint"
    )
    assert path.read_bytes() == before


def test_no_other_network_goes_on(tmp_path):
    path = tmp_path / "run.ckpt"
    stopped(5, IMAGES, path, net=image_net(), **SHORT)
    text = f"{path}: is the checkpoint of another run (other network); delete it to start anew, "
    options = {"data": IMAGES, **SHORT, "checkpoint": path}
    assert refusal(net=image_net(seed=2), **options) == f"{text}or name another with --checkpoint"


def test_networks_of_the_same_weights_are_told_apart():
    def changed(layer):
        net = image_net()
        return FloatNet(net.shape, [layer if x.name == layer.name else x for x in net.layers])

    assert network_digest(image_net()) == network_digest(image_net().copy())
    others = [
        changed(AvgPool2d("pool1", ["relu1"], (2, 2), (2, 2))),
        changed(Clip("relu1", ["norm1"], 0.0, 6.0)),
        changed(Clip("relu1", ["norm1"], -1.0, float("inf"))),
        changed(MaxPool2d("pool1", ["relu1"], (1, 2), (2, 2))),
        image_net(seed=2),
    ]
    assert len({network_digest(net) for net in (image_net(), *others)}) == 6


@pytest.mark.parametrize(
    ("other", "what"),
    [row for row in OTHERS if row[1] in ("seed", "arch", "layers", "data")],
    ids=lambda row: str(row)[:12],
)
def test_no_start_from_what_does_not_go_with_the_run(tmp_path, other, what):
    path = tmp_path / "run.ckpt"
    stopped(6, VECTORS, path, **SHORT)
    assert refusal(**{**SHORT, **other}, start=path) == (
        f"{path}: is a checkpoint of a run that does not go with this one (other {what}); "
        "give the same, or name another"
    )


def test_a_start_may_have_other_stages_settings_and_tables(tmp_path):
    path = tmp_path / "run.ckpt"
    train(VECTORS, **{**SHORT, "stages": ["replace"]}, checkpoint=path)
    other = {"stages": ["refit"], "tables": "tied", "augment": Augment()}
    result = train(VECTORS, **{**SHORT, **other}, start=path)
    assert list(result.accuracy) == ["float", "replace", "refit", "model"]
    text = refusal(**{**SHORT, "stages": ["joint"], "tables": "tied"}, start=path)
    assert "(other tables)" in text


def test_a_start_is_converted_anew_by_the_first_stages(tmp_path):
    """Of a refit and of training, biases would be left that suit other tables."""
    path = tmp_path / "run.ckpt"
    train(VECTORS, **SHORT, checkpoint=path)
    for stages in (["replace"], ["refit"]):
        again = train(VECTORS, **{**SHORT, "stages": stages}, start=path)
        afresh = train(VECTORS, **{**SHORT, "stages": stages})
        assert digest(again.model) == digest(afresh.model)


def test_no_start_where_the_network_read_other_units(tmp_path):
    """One that is trained here reads samples in parts of their range."""
    path, data = tmp_path / "run.ckpt", small(high=3.7, shape=(6, 6, 2))
    train(data, net=image_net(), **SHORT, checkpoint=path)
    assert refusal(data=data, net=image_net(), **{**SHORT, "float_epochs": None}, start=path) == (
        f"{path}: is a checkpoint of a run that does not go with this one (other unit); "
        "give the same, or name another"
    )


def test_another_lutgen_may_start_but_not_go_on(tmp_path, monkeypatch):
    path = tmp_path / "run.ckpt"
    train(VECTORS, **SHORT, checkpoint=path)
    monkeypatch.setattr(lutgen, "__version__", "9.9")
    assert "(other lutgen)" in refusal(**SHORT, checkpoint=path)
    assert not train(VECTORS, **{**SHORT, "stages": ["joint"]}, start=path).diverged


def test_no_start_before_there_is_a_lookup_network(tmp_path):
    path = tmp_path / "run.ckpt"
    stopped(2, VECTORS, path, **SHORT)
    assert refusal(**SHORT, start=path) == (
        f"{path}: holds no lookup network yet; let its run finish the stage replace"
    )
    gone = tmp_path / "gone.ckpt"
    assert refusal(**SHORT, start=gone) == f"{gone}: can't be read: no such file or directory"


@pytest.mark.parametrize("option", ["checkpoint", "start"])
def test_files_that_are_no_checkpoints(tmp_path, option):
    good, path = tmp_path / "good.ckpt", tmp_path / "run.ckpt"
    stopped(6, VECTORS, good, **SHORT)
    data = good.read_bytes()
    mend = "name another, or delete it to start anew"
    foreign = ": is not a checkpoint of lutgen: it is no .npz archive"
    for contents, text in (
        (b"", foreign),
        (b"hello", foreign),
        (data[: len(data) // 2], ": is damaged or cut short"),
        (data[:300] + bytes(50) + data[350:], ", array 'manifest': is damaged"),
        (
            archive(tmp_path, x=np.zeros(3)),
            ": is no checkpoint of lutgen: it has no manifest",
        ),
        (archive(tmp_path, manifest=np.zeros(3)), ": manifest: must be one unicode string"),
        (archive(tmp_path, manifest=np.array("[]")), ": is no checkpoint of lutgen"),
        (archive(tmp_path, manifest=np.array("{}")), ": is no checkpoint of lutgen"),
        (
            archive(tmp_path, manifest=np.array('{"format": "lutgen-checkpoint", "version": 3}')),
            ": is a checkpoint of version 3, not 2",
        ),
    ):
        path.write_bytes(contents)
        assert refusal(**SHORT, **{option: path}) == f"{path}{text}; {mend}"
        assert path.read_bytes() == contents


def archive(folder, **arrays):
    np.savez(folder / "arrays.npz", **arrays)
    return (folder / "arrays.npz").read_bytes()


def test_no_changed_byte_makes_another_checkpoint(tmp_path):
    """It is refused, or, where the byte is one that nothing reads, what it was."""
    good, path, copy = (tmp_path / f"{name}.ckpt" for name in ("good", "run", "copy"))
    stopped(6, VECTORS, good, **SHORT)
    save_checkpoint(load_checkpoint(good), copy)
    data, rng = good.read_bytes(), np.random.default_rng(0)
    refused = 0
    for place in rng.integers(0, len(data), 60):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
        try:
            found = load_checkpoint(path)
        except LutgenError:
            refused += 1
        else:
            save_checkpoint(found, path)
            assert arrays(path) == arrays(copy)
    assert refused > 40


def arrays(path):
    with np.load(path) as file:
        return {key: file[key].tobytes() for key in file.files}


def test_a_checkpoint_reads_back_as_it_was_written(tmp_path):
    path, copy = tmp_path / "a.ckpt", tmp_path / "b.ckpt"
    stopped(11, VECTORS, path, **SHORT)
    first = load_checkpoint(path)
    assert first.state is not None
    save_checkpoint(first, copy)
    second = load_checkpoint(copy)
    assert second.state.history == first.state.history
    assert second.state.before == first.state.before
    assert (second.state.judged, second.state.kept) == (first.state.judged, first.state.kept)
    assert second.state.now.scales == first.state.now.scales
    for mine, theirs in (
        (first.origin, second.origin),
        (first.state.now.arrays, second.state.now.arrays),
        (first.state.best.arrays, second.state.best.arrays),
        (first.state.moments, second.state.moments),
    ):
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[key], theirs[key]) for key in mine)
