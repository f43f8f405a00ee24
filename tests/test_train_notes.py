"""What is said of samples before training: units, values far out, what a network knows better."""

import json
import re

import numpy as np
import pytest
from training import QUICK, small

from lutgen.cli.main import main
from lutgen.model import Activation
from lutgen.train import Dataset, FloatNet, Linear, train
from lutgen.train.inputs import count_clamped, input_activation
from lutgen.train.notes import of_network, of_samples

DATA = small(shape=(12,))


def changed(train=lambda x: x, test=lambda x: x):
    return Dataset("changed", train(DATA.x_train), DATA.y_train, test(DATA.x_test), DATA.y_test)


def said(data, bits=8):
    source = input_activation(data.x_train, bits)
    return list(of_samples(data, source, count_clamped(data.x_test, source)))


def test_good_samples_are_not_complained_of():
    assert said(DATA) == []
    assert said(changed(lambda x: x * 255, lambda x: x * 255)) == []
    integers = (lambda x: (x * 255).astype(np.uint8),) * 2
    assert said(changed(*integers)) == []
    assert said(changed(lambda x: (x > 0.5) * 1, lambda x: (x > 0.5) * 1)) == []


def test_test_samples_in_other_units():
    text, clamped = said(changed(test=lambda x: x * 255))
    assert text.startswith(
        "array 'x_test': samples seem to be in other units than those of x_train"
    )
    assert text.endswith("x_test / 255 would be like them")
    assert re.match(
        r"array 'x_test': [\d.]+ % of the values \(\d+ of 720\) lie outside 0 to ", clamped
    )
    (text,) = said(changed(train=lambda x: x * 255))
    assert text.endswith("x_test * 255 would be like them")


def test_one_value_far_out():
    """The scale is that of the greatest value; the rest comes in one or two steps."""

    def outlier(x):
        x = x.copy()
        x[17, 3] = 1e6
        return x

    for bits in (8, 16):  # steps of 15 at 16 bits, for values of 0 to 1
        (text,) = said(changed(outlier), bits)
        assert text.startswith(
            "array 'x_train': sample 17 reaches 1e+06, half of the samples no more"
        )
    assert "steps of 3.92e+03, " in said(changed(outlier))[0]
    assert said(changed(lambda x: x * np.where(np.arange(len(x)) == 17, 3.0, 1.0)[:, None])) == []


def test_inputs_of_unlike_ranges():
    wide = np.array([1e5] + [1.0] * 11)
    (text,) = said(changed(lambda x: x * wide, lambda x: x * wide))
    assert text.startswith(
        "array 'x_train': 11 of the 12 inputs that vary do so by less than a step "
    )
    assert (
        said(changed(lambda x: x * np.minimum(wide, 50), lambda x: x * np.minimum(wide, 50))) == []
    )


# Classes that lie behind each other: which is the nearest hangs on the units.
MEANS = (np.arange(12) < np.array([[2], [6], [12]])) * 0.9


def nested():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 400)
    x = np.clip(MEANS[y] + rng.normal(0, 0.1, (400, 12)), 0, 1)
    return Dataset("nested", x[:200], y[:200], x[200:], y[200:])


def nearest(means=MEANS):
    """A network that knows samples in the units of the means: the class is that of the nearest."""
    weight, bias = 2 * means.T, -np.square(means).sum(axis=1)
    layer = Linear("fc", ["input"], weight.astype(np.float32), bias.astype(np.float32))
    return FloatNet((12,), [layer])


@pytest.mark.parametrize(
    ("units", "means", "mend"),
    [
        (lambda x: x * 255, MEANS, "x_test / 255"),
        (lambda x: x / 255, MEANS, "x_test * 255"),
        (lambda x: x, MEANS * 2 - 1, "x_test * 2 - 1"),
    ],
)
def test_a_network_that_knows_samples_better_in_other_units(units, means, mend):
    data, net = nested(), nearest(means)
    other = Dataset("set", units(data.x_train), data.y_train, units(data.x_test), data.y_test)
    (text,) = of_network(net.logits, other)
    found = re.match(
        r"Network has ([\d.]+) % of 200 test samples right as (.+), but ([\d.]+) %", text
    )
    better, plain = float(found[1]), float(found[3])
    assert better > 98 > 70 > plain
    again = eval(found[2], {"x_test": other.x_test})
    right = np.mean(net.logits(again).argmax(axis=1) == data.y_test)
    assert right == pytest.approx(better / 100, abs=1e-3)
    assert text.endswith(f"give {found[2].replace('x_test', 'x_train')} and {found[2]}")
    assert found[2] == mend


def test_a_network_that_knows_its_samples():
    assert list(of_network(nearest().logits, nested())) == []


def test_a_network_that_knows_nothing():
    net = FloatNet((12,), [Linear("fc", ["input"], np.zeros((12, 3), np.float32))])
    data = Dataset("set", DATA.x_train, DATA.y_train, DATA.x_test[:30], np.arange(30) % 3)
    (text,) = of_network(net.logits, data)
    assert text.startswith("Network is hardly better than guessing on these test samples; ")


def test_result_and_command_tell(tmp_path, capsys):
    data = changed(test=lambda x: x * 255)
    told = []
    result = train(data, **QUICK, stages=["replace"], notice=told.append)
    assert result.notes == told == said(data)
    assert result.clamped == count_clamped(data.x_test, result.model.input) > 0
    seen = result.model.provenance["inputs"]
    assert seen["high"] == data.x_train.max()
    assert seen["mean"] == pytest.approx(data.x_train.mean())
    assert seen["samples"] == len(data.x_train)
    names = ("x_train", "y_train", "x_test", "y_test")
    path = tmp_path / "d.npz"
    np.savez(path, **{name: getattr(data, name) for name in names})
    args = ["train", path, "--arch", "12", "--centroids", "4", "--float-epochs", "1"]
    args += ["--stages", "replace", "-o", tmp_path / "m.lut", "--json"]
    assert main(list(map(str, args))) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[:2] == [f"lutgen: warning: {path}, {note}" for note in told]
    report = json.loads(out)
    assert report["notes"] == told
    assert report["clamped"]["values"] == result.clamped
    good, bad = nested(), nested()
    bad = Dataset("bad", bad.x_train * 255, bad.y_train, bad.x_test * 255, bad.y_test)
    assert train(good, net=nearest(), stages=["replace"]).notes == []
    assert train(bad, net=nearest(), stages=["replace"]).notes == [
        *of_network(nearest().logits, bad)
    ]


@pytest.mark.parametrize(
    ("factor", "size"), [(1e35, "1e+35, more than 1e+30"), (1e-35, "1e-35, less than 1e-30")]
)
def test_samples_that_float32_can_not_compute_with(tmp_path, capsys, factor, size):
    """They are called what they are, not a divergence."""
    with pytest.raises(
        ValueError, match=rf"^array 'x_train': sample \d+ reaches {re.escape(size)}"
    ):
        changed(lambda x: x * factor, lambda x: x * factor)
    path = tmp_path / "d.npz"
    arrays = {"y_train": DATA.y_train, "x_test": DATA.x_test, "y_test": DATA.y_test}
    np.savez(path, x_train=DATA.x_train * factor, **arrays)
    assert main(["train", str(path), "-o", str(tmp_path / "m.lut")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"lutgen: error: {path}, array 'x_train': sample ")
    assert size in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 9, 7), (4, 6, 5)])
def test_channels_first_are_not_trained_on_as_rows(tmp_path, capsys, shape):
    x = np.random.default_rng(0).random((20, *shape))
    y = np.arange(20) % 2
    path = tmp_path / "d.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    assert main(["train", str(path), "-o", str(tmp_path / "m.lut")]) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert f"x_train is n x {'x'.join(map(str, shape))}, which looks like channels first" in text
    assert "with x_train.transpose(0, 2, 3, 1), or give x_train.reshape(len(x_train), -1)" in text


def test_arrays_that_do_not_go_together():
    x, y = np.zeros((20, 4, 4, 2)), np.arange(20) % 2
    for arrays, text in (
        ((np.moveaxis(x, 0, 3), y, x, y), r"x_train; samples stand along the last axis, and must "),
        (
            (x, y, np.moveaxis(x, 3, 1), y),
            r"those of x_train 4x4x2; channels come first, and must ",
        ),
        ((x, y[:-1], x, y), r"^array 'y_train': has 19 labels for the 20 samples of x_train; give"),
        ((x, y, x, y * 2), r"^array 'y_test': holds the label 2, which y_train never has"),
        ((x, y * 1.0, x, y), r"^array 'y_train': must hold integer class labels, not float64"),
        ((list(x), y, x, y), r"^array 'x_train': must be an array, not list"),
        ((x * np.nan, y, x, y), r"^array 'x_train': sample 0 holds NaN or infinity"),
    ):
        with pytest.raises(ValueError, match=text):
            Dataset("set", *arrays)
    grey = Dataset("set", x[..., 0], y, x[..., :1], y)
    assert grey.x_test.shape == (20, 4, 4)
    assert Activation(8, False, 1.0).format.high == 255
