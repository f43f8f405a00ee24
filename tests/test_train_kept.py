"""Which state of a stage with gradients is kept, and that it is said."""

import json

import numpy as np
import pytest
from training import QUICK, small

from lutgen.cli.main import main
from lutgen.model import load
from lutgen.train import Augment, Dataset, FloatNet, Linear, ReLU, he, train
from lutgen.train.floatfit import fit_float
from lutgen.train.kept import BOTH, HELD, Kept
from lutgen.train.parallel import Workers
from lutgen.train.run import Run
from lutgen.train.tune import Samples, State, early, kept


def learnt_by_heart(seed=7):
    """A network that knows all its training samples, wrong labels too, and those samples."""
    rng = np.random.default_rng(seed)
    y = np.concatenate([[0, 1, 2], rng.integers(0, 3, 1697), [0, 1, 2]])
    x = np.clip(rng.random((3, 16))[y] + rng.normal(0, 0.35, (len(y), 16)), 0, 1)
    wrong = (rng.random(len(y)) < 0.25) & (np.arange(len(y)) < 200)
    labels = np.where(wrong, rng.integers(0, 3, len(y)), y)
    labels[:3] = y[:3]
    data = Dataset("noisy", x[:200], labels[:200], x[200:], y[200:])
    net = FloatNet(
        (16,),
        [
            Linear("fc1", ["input"], he(rng, (16, 64))),
            ReLU("relu", ["fc1"]),
            Linear("fc2", ["relu"], he(rng, (64, 3))),
        ],
    )
    with Workers(1) as workers:
        fit_float(
            net,
            Samples(data.x_train, data.y_train),
            1.0,
            epochs=100,
            batch=32,
            learning_rate=1e-2,
            decay=0.0,
            seed=(0, 0),
            workers=workers,
            augment=Augment(),
        )
    return net, data


def test_held_out_samples_do_not_speak_for_a_network_that_learnt_them(monkeypatch):
    """By them alone joint training would be thrown away, though test samples, which nothing has
    seen, say that it is better.
    """
    net, data = learnt_by_heart()
    assert np.mean(net.logits(data.x_train).argmax(axis=1) == data.y_train) > 0.93
    options = {"net": net, "subvec": 1, "stages": ["refit", "joint"], "epochs": 8, "threads": 1}
    found = train(data, **options)
    assert found.kept["joint"].epoch >= 7
    assert found.kept["joint"].samples == BOTH
    assert found.kept["joint"].after < found.kept["joint"].before
    assert found.accuracy["joint"] > found.accuracy["refit"]
    assert found.model.provenance["kept"]["joint"] == found.kept["joint"].data()
    monkeypatch.setattr(Run, "_seen", lambda *_: None)
    alone = train(data, **options)
    assert alone.kept["joint"].epoch == 0
    assert alone.accuracy["joint"] == alone.accuracy["refit"] < found.accuracy["joint"]


def test_a_network_trained_here_is_judged_on_what_it_has_not_seen():
    found = train(small(), **QUICK).kept["joint"]
    assert found.samples == HELD
    assert found.epochs == 3


def test_the_samples_that_both_have_seen():
    """As many as are held out, from all parts of the rest, and none as it was."""
    data = small(shape=(6, 6, 1))
    rng = np.random.default_rng(0)
    net = FloatNet((36,), [Linear("fc1", ["input"], he(rng, (36, 3)))])
    with Workers(1) as workers:
        run = Run(data, net, options(), Augment(noise=0.1), workers, None)
        seen = run._seen(4, 3.0)
    plain = run.samples(run.rest)
    assert len(seen.q) == len(seen.y) == len(run.held)
    distance = np.abs(seen.q[:, None].astype(float) - plain.q[None]).mean(axis=2)
    nearest = distance.argmin(axis=1)
    assert (plain.y[nearest] == seen.y).all()
    assert len(set(nearest)) == len(seen.q)
    assert nearest[0] == 0
    assert nearest[-1] == len(run.rest) - 1
    assert (distance.min(axis=1) > 0.5).all()


def options():
    from lutgen.train import Options

    return Options((12,), None, 4, "l1", None, 8, "pixel", "chw", "free", {}, ("refit",), {}, 0)


def state(judged, kept_epoch, done=8):
    from lutgen.train import Epoch

    history = [Epoch(1.0, 0.5, 2.0, 0.1 * n) for n in range(1, done + 1)]
    return State(done, None, None, 1.0, {}, 0, history, {}, (1.5, 0.77), judged, kept_epoch)


def test_what_is_said_of_it():
    assert early(8) == 6
    assert [early(n) for n in (1, 2, 3, 4, 5)] == [0, 1, 2, 3, 3]
    found = kept(state([1.0, 1.2, 1.1], 0), seen=True)
    assert found == Kept(0, 8, BOTH, 1.0, 1.1, 0.77, 0.8)
    assert found.text() == (
        "thrown away, the state from before it is kept: on held-out samples and as many training "
        "samples its loss is 1.0000, after the last epochs 1.1000 at best (held-out 77.00 % and "
        "80.00 %)"
    )
    found = kept(state([1.0, 0.5, 1.1], 7), seen=False)
    assert found == Kept(7, 8, HELD, 1.0, 0.5, 0.77, pytest.approx(0.7))
    assert found.text() == "kept as it was after epoch 7 of 8"


def test_a_stage_that_is_thrown_away_is_told_everywhere(tmp_path, capsys):
    data, target = small(), tmp_path / "m.lut"
    np.savez(
        tmp_path / "d.npz",
        **{f"{a}_{b}": getattr(data, f"{a}_{b}") for a in "xy" for b in ("train", "test")},
    )
    args = ["train", tmp_path / "d.npz", "--arch", "12", "--centroids", "4", "--float-epochs", "20"]
    args += ["--epochs", "2", "--set", "joint.learning-rate=1", "-o", target]
    assert main([*map(str, args), "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)["kept"]["joint"]
    text = Kept(**found).text()
    assert text.startswith("thrown away, the state from before it is kept: on held-out samples its")
    assert f"joint 2/2, {text}" in err
    assert f"lutgen: warning: stage joint: {text}\n" in err
    assert load(target).provenance["kept"] == {"joint": found}
    assert main(["info", str(target)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"stage     joint: {text}"
    assert main(list(map(str, args))) == 0
    out, err = capsys.readouterr()
    accuracy = 100 * load(target).provenance["accuracy"]["model"]
    assert f"accuracy  joint {accuracy:.2f} %, {text}\n" in out
