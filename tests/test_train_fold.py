"""Batch norms fold into the weights beside them: same logits, fewer layers."""

import numpy as np
import pytest

from lutgen.train.arch import ARCHES, build
from lutgen.train.floatnet import (
    Add,
    AvgPool2d,
    BatchNorm,
    Clip,
    Conv2d,
    Flatten,
    FloatNet,
    Linear,
    MaxPool2d,
    ReLU,
)
from lutgen.train.fold import fold_batch_norm


def norm(name, source, channels, *, centred=False):
    """A batch norm with statistics of its own; ``centred`` leaves zeros where they are."""
    rng = np.random.default_rng(len(name) + channels)
    offset, mean = rng.standard_normal((2, channels)) * (not centred)
    gain, variance = rng.standard_normal(channels), rng.uniform(0.5, 2, channels)
    return BatchNorm(name, [source], gain, offset, mean, variance, 1e-3)


def conv(name, source, channels, outputs, pad=0, kernel=3):
    rng = np.random.default_rng(len(name) + outputs)
    weight = rng.standard_normal((kernel, kernel, channels, outputs))
    return Conv2d(name, [source], weight, rng.standard_normal(outputs), pad=(pad,) * 4)


def linear(name, source, inputs, outputs):
    rng = np.random.default_rng(len(name) + inputs)
    weight = rng.standard_normal((inputs, outputs))
    return Linear(name, [source], weight, rng.standard_normal(outputs))


def folds(net, *left):
    """Folds, and checks the layers left, the logits, and that the network stays as it was."""
    before = [s.copy() for s in net.state()]
    folded = fold_batch_norm(net)
    assert [x.name for x in folded.layers] == list(left)
    x = np.random.default_rng(0).standard_normal((4, *net.shape))
    want = net.logits(x)
    np.testing.assert_allclose(folded.logits(x), want, rtol=1e-4, atol=1e-4 * np.abs(want).max())
    for a in folded.state():
        a += 1
    for a, b in zip(net.state(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("arch", [*ARCHES, (6, 5)])
def test_named_networks(arch):
    net = build(arch, (12, 13, 2), 4, np.random.default_rng(1))
    for layer in net.layers:
        if isinstance(layer, BatchNorm):
            other = norm(layer.name, "input", len(layer.gain))
            layer.gain, layer.offset = other.gain, other.offset
            layer.mean, layer.variance = other.mean, other.variance
    folds(net, *(x.name for x in net.layers if not isinstance(x, BatchNorm)))


def test_behind_a_product():
    net = FloatNet(
        (6, 6, 2),
        [
            conv("c", "input", 2, 3, pad=1),
            norm("b", "c", 3),
            norm("b2", "b", 3),
            ReLU("r", ["b2"]),
            Flatten("f", ["r"]),
            linear("l", "f", 108, 5),
            norm("b3", "l", 5),
        ],
    )
    folds(net, "c", "r", "f", "l")


def test_behind_an_average():
    net = FloatNet(
        (6, 6, 2),
        [
            conv("c", "input", 2, 3),
            AvgPool2d("p", ["c"], (2, 2), (1, 2)),
            norm("b", "p", 3),
            ReLU("r", ["b"]),
        ],
    )
    folds(net, "c", "p", "r")


def test_before_products():
    net = FloatNet(
        (5, 5, 2),
        [
            norm("b", "input", 2),
            norm("b1", "b", 2),
            conv("c1", "b1", 2, 3),
            conv("c2", "b1", 2, 3),
            Add("a", ["c1", "c2"]),
        ],
    )
    folds(net, "c1", "c2", "a")


def test_before_a_flattened_image():
    net = FloatNet(
        (6, 4, 3),
        [
            MaxPool2d("m", ["input"], (2, 2), (1, 1)),
            norm("b", "m", 3),
            AvgPool2d("p", ["b"], (2, 2), (2, 1)),
            Flatten("f", ["p"]),
            linear("l", "f", 12, 4),
        ],
    )
    folds(net, "m", "p", "f", "l")


def test_zeros_that_stay_zeros():
    net = FloatNet((5, 5, 2), [norm("b", "input", 2, centred=True), conv("c", "b", 2, 3, pad=2)])
    folds(net, "c")


def test_layers_that_pass_on():
    net = FloatNet(
        (4, 4, 2),
        [
            Clip("k", ["input"], -np.inf, np.inf),
            MaxPool2d("m", ["k"], (1, 1), (1, 1)),
            conv("c", "m", 2, 3),
            AvgPool2d("p", ["c"], (1, 1), (1, 1)),
            norm("b", "p", 3),
            Flatten("f", ["b"]),
            Flatten("f2", ["f"]),
            Clip("k2", ["f2"], -np.inf, np.inf),
        ],
    )
    folds(net, "c", "f")
    folds(FloatNet((4,), [Flatten("f", ["input"]), Flatten("f2", ["f"])]), "f2")


MEND = "; put it right behind a Linear or Conv2d that nothing else reads"
BAD = {
    "it reads the input, and 'r' behind it is no Linear or Conv2d": [
        norm("b", "input", 2),
        ReLU("r", ["b"]),
    ],
    "it reads the input, and 'c' behind it pads with zeros": [
        norm("b", "input", 2),
        conv("c", "b", 2, 3, pad=1),
    ],
    "'r' before it is no Linear or Conv2d, and it is the last": [
        ReLU("r", ["input"]),
        norm("b", "r", 2),
    ],
    "'r' before it is no Linear or Conv2d, and 'f' is the last": [
        ReLU("r", ["input"]),
        norm("b", "r", 2),
        Flatten("f", ["b"]),
    ],
    "'c' before it has other readers, and 'a' behind it is no Linear or Conv2d": [
        conv("c", "input", 2, 2),
        norm("b", "c", 2),
        Add("a", ["c", "b"]),
    ],
    "it reads the input, and 'a' behind it is no Linear or Conv2d": [
        norm("b", "input", 2),
        conv("c", "b", 2, 2, kernel=1),
        Add("a", ["c", "b"]),
    ],
}


@pytest.mark.parametrize("text", BAD)
def test_what_can_not_be_folded(text):
    net = FloatNet((4, 4, 2), BAD[text])
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        fold_batch_norm(net)
    assert str(caught.value) == f"Layer 'b' is a batch norm that can't be folded: {text}{MEND}"
