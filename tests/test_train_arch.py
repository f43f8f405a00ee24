"""Networks by name: their shapes, sizes and starts, and what does not fit them."""

import numpy as np
import pytest

from lutgen.train.arch import ARCHES, build, he, same
from lutgen.train.floatnet import BatchNorm, Conv2d, Weighted


def rng():
    return np.random.default_rng(3)


def names(net, kind=Weighted):
    return [x.name for x in net.layers if isinstance(x, kind)]


def outputs(net):
    return net.shapes[net.layers[-1].name]


@pytest.mark.parametrize("shape", [(6,), (2, 3, 1)])
def test_a_perceptron_starts_as_ever(shape):
    net = build((5, 4), shape, 3, rng())
    own = rng()
    old = [
        (own.standard_normal((a, b)) * np.sqrt(2 / a)).astype(np.float32)
        for a, b in ((6, 5), (5, 4), (4, 3))
    ]
    assert names(net) == ["fc1", "fc2", "fc3"]
    assert [x.name for x in net.layers if not isinstance(x, Weighted)] == [
        *(["flatten"] if len(shape) == 3 else []),
        "relu1",
        "relu2",
    ]
    for name, weight in zip(names(net), old, strict=True):
        layer = next(x for x in net.layers if x.name == name)
        np.testing.assert_array_equal(layer.weight[0], weight)
        assert not layer.bias.any()
    x = rng().standard_normal((7, 6)).astype(np.float32)
    want = np.maximum(np.maximum(x @ old[0], 0) @ old[1], 0) @ old[2]
    np.testing.assert_allclose(net.logits(x.reshape(7, *shape)), want, rtol=1e-5, atol=1e-5)


def test_no_hidden_layer():
    net = build((), (6,), 2, rng())
    assert names(net) == ["fc1"]
    assert outputs(net) == (2,)


def test_lenet5():
    net = build("lenet5", (28, 28, 1), 10, rng())
    assert names(net) == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert net.shapes["pool2"] == (16, 5, 5)
    assert sum(p.size for p in net.parameters) == 61706
    assert outputs(net) == (10,)
    assert net.shapes["pool2"] == (16, 5, 5)
    for size in ((12, 17), (32, 32)):
        other = build("lenet5", (*size, 3), 4, rng())
        assert other.logits(np.zeros((2, *size, 3))).shape == (2, 4)


def test_resnet8():
    net = build("resnet8", (32, 32, 3), 10, rng())
    assert names(net) == [
        "conv1",
        *("s1_conv1", "s1_conv2"),
        *("s2_skip", "s2_conv1", "s2_conv2"),
        *("s3_skip", "s3_conv1", "s3_conv2"),
        "fc",
    ]
    assert names(net, BatchNorm) == [
        "bn1",
        *(f"s{stage}_bn{number}" for stage in (1, 2, 3) for number in (1, 2)),
    ]
    # As the published model counts them: weights, biases, gains and offsets.
    assert sum(p.size for p in net.parameters) == 78186
    pads = {x.name: x.window.pad for x in net.layers if isinstance(x, Conv2d)}
    assert pads["s2_conv1"] == pads["s3_conv1"] == (0, 0, 1, 1)
    assert pads["s2_conv2"] == pads["conv1"] == (1, 1, 1, 1)
    assert pads["s2_skip"] == (0, 0, 0, 0)
    assert [net.shapes[f"s{n}_add"] for n in (1, 2, 3)] == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    for size in ((9, 7), (1, 1)):
        other = build("resnet8", (*size, 1), 3, rng())
        assert other.logits(np.zeros((2, *size, 1))).shape == (2, 3)


@pytest.mark.parametrize("arch", ARCHES)
def test_every_network_learns(arch):
    net = build(arch, (12, 12, 1), 3, rng())
    again = build(arch, (12, 12, 1), 3, rng())
    for a, b in zip(net.state(), again.state(), strict=True):
        np.testing.assert_array_equal(a, b)
    x = rng().standard_normal((1, 6, 12, 12)).astype(np.float32)
    y = np.array([0, 1, 2, 0, 1, 2])
    losses = []
    for _ in range(15):
        loss, gradients, _ = net.loss(x, y)
        losses.append(loss)
        for parameter, gradient in zip(net.parameters, gradients, strict=True):
            parameter -= np.float32(0.03) * gradient
    assert losses[-1] < 0.5 * losses[0]


def test_he():
    weight = he(rng(), (3, 3, 64, 50))
    assert weight.dtype == np.float32
    assert weight.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "lower"),
    [
        ((8, 8), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1, 1, 1)),
        ((8, 7), (3, 3), (2, 2), (0, 1, 1, 1), (1, 1, 0, 1)),
        ((8, 8), (1, 1), (2, 2), (0, 0, 0, 0), (0, 0, 0, 0)),
        ((5, 5), (2, 4), (1, 1), (0, 1, 1, 2), (1, 2, 0, 1)),
    ],
)
def test_same(size, kernel, stride, pad, lower):
    assert same(size, kernel, stride) == pad
    assert same(size, kernel, stride, lower=True) == lower


@pytest.mark.parametrize(
    ("arch", "shape", "classes", "text"),
    [
        (
            "vgg",
            (8, 8, 1),
            3,
            "Architecture must be lenet5, resnet8 or sizes of hidden layers, not 'vgg'",
        ),
        ("lenet5", (8, 28, 1), 3, "lenet5 needs images of 12x12 or more, not 8x28"),
        ("lenet5", (64,), 3, "lenet5 reads images (H, W, C), not vectors of 64"),
        ("resnet8", (64,), 3, "resnet8 reads images (H, W, C), not vectors of 64"),
        ((4, 0), (64,), 3, "A hidden layer must have 1 output or more, not 0"),
        ((4,), (64,), 1, "A network must have 2 classes or more, not 1"),
    ],
)
def test_what_does_not_fit(arch, shape, classes, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        build(arch, shape, classes, rng())
    assert str(caught.value) == text
