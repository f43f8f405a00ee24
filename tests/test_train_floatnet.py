"""Float layers against naive references, their gradients against finite differences."""

import numpy as np
import pytest

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
    columns,
    cross_entropy,
)

SEEDS = range(8)
ARRAYS = ("weight", "bias", "gain", "offset", "mean", "variance")


def doubled(layer):
    """The layer in float64, so that finite differences are sharp."""
    for name in ARRAYS:
        if hasattr(layer, name):
            setattr(layer, name, getattr(layer, name).astype(np.float64))
    return layer


def close(got, want, scale=1e-4):
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=scale, atol=scale * max(1.0, np.abs(want).max()))


def slope(f, x, y_gradient, step=1e-5):
    """Gradient by ``x`` of ``sum(f() * y_gradient)``, by differences; ``f`` reads ``x`` itself."""
    result = np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        kept = x[at]
        x[at] = kept + step
        above = (f() * y_gradient).sum()
        x[at] = kept - step
        below = (f() * y_gradient).sum()
        x[at] = kept
        result[at] = (above - below) / (2 * step)
    return result


def check_gradients(rng, layer, xs):
    """Every gradient of a layer, by inputs and by parameters."""
    doubled(layer)
    y, memory = layer.forward(xs, True)
    gradient = rng.standard_normal(y.shape)
    backs, own = layer.backward(memory, gradient.copy())

    def again():
        return layer.forward(xs, True)[0]

    assert len(backs) == len(xs)
    for x, back in zip(xs, backs, strict=True):
        close(back, slope(again, x, gradient))
    assert len(own) == len(layer.parameters)
    for parameter, by in zip(layer.parameters, own, strict=True):
        close(by, slope(again, parameter, gradient))


def image(rng, channels=None, least=3):
    c = channels or int(rng.integers(1, 4))
    height, width = rng.integers(least, 8, size=2).tolist()
    return rng.standard_normal((c, 2, height, width))


@pytest.mark.parametrize("seed", SEEDS)
def test_conv2d(seed):
    rng = np.random.default_rng(seed)
    x = image(rng)
    (kh, kw), (sh, sw) = rng.integers(1, 4, size=2), rng.integers(1, 4, size=2)
    pad = tuple(rng.integers(0, 3, size=4).tolist())
    weight, bias = rng.standard_normal((kh, kw, len(x), 2)), rng.standard_normal(2)
    layer = Conv2d("c", ["input"], weight, bias, (int(sh), int(sw)), pad)
    top, left, bottom, right = pad
    padded = np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)])
    rows = (padded.shape[2] - kh) // sh + 1
    cols = (padded.shape[3] - kw) // sw + 1
    want = np.zeros((2, 2, rows, cols))
    for n, b, r, c in np.ndindex(*want.shape):
        part = padded[:, b, r * sh : r * sh + kh, c * sw : c * sw + kw]
        want[n, b, r, c] = bias[n] + sum(
            part[k, i, j] * weight[i, j, k, n] for k, i, j in np.ndindex(*part.shape)
        )
    assert layer.infer([(len(x), *x.shape[2:])]) == (2, rows, cols)
    close(doubled(layer).forward([x], False)[0], want)
    check_gradients(rng, layer, [x])


@pytest.mark.parametrize("seed", SEEDS)
def test_linear(seed):
    rng = np.random.default_rng(seed)
    k, n = rng.integers(1, 7, size=2).tolist()
    x, weight, bias = rng.standard_normal((k, 3)), rng.standard_normal((k, n)), np.arange(n)
    layer = Linear("l", ["input"], weight, bias)
    assert layer.infer([(k,)]) == (n,)
    close(doubled(layer).forward([x], False)[0], weight.T @ x + np.arange(n)[:, None])
    check_gradients(rng, layer, [x])
    np.testing.assert_array_equal(Linear("l", ["input"], weight).bias, np.zeros(n))


@pytest.mark.parametrize("flat", [False, True])
def test_batch_norm(flat):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((3, 5)) if flat else image(rng, 3)
    gain, offset, mean = rng.standard_normal((3, 3))
    variance = rng.uniform(0.5, 2, 3)
    layer = BatchNorm("b", ["input"], gain, offset, mean, variance, 0.1, 0.8)
    axes = (slice(None), *[None] * (x.ndim - 1))
    doubled(layer)
    want = (x - mean[axes]) / np.sqrt(variance[axes] + 0.1) * gain[axes] + offset[axes]
    close(layer.forward([x], False)[0], want)
    inner = tuple(range(1, x.ndim))
    seen, spread = x.mean(inner), x.var(inner)
    y, memory = layer.forward([x], True)
    close(y, (x - seen[axes]) / np.sqrt(spread[axes] + 0.1) * gain[axes] + offset[axes])
    check_gradients(rng, layer, [x])
    layer.absorb(memory)
    close(layer.mean, 0.8 * mean + 0.2 * seen)
    close(layer.variance, 0.8 * variance + 0.2 * spread)
    with pytest.raises(RuntimeError, match=r"^Batch norm trains on batch statistics only$"):
        layer.backward(None, y)


@pytest.mark.parametrize("seed", SEEDS)
def test_pools(seed):
    rng = np.random.default_rng(seed)
    x = image(rng)
    kernel, stride = (tuple(rng.integers(1, 4, size=2).tolist()) for _ in range(2))
    for kind, naive in ((MaxPool2d, np.max), (AvgPool2d, np.mean)):
        layer = kind("p", ["input"], kernel, stride)
        (kh, kw), (sh, sw) = kernel, stride
        rows, cols = (x.shape[2] - kh) // sh + 1, (x.shape[3] - kw) // sw + 1
        want = np.zeros((*x.shape[:2], rows, cols))
        for c, b, r, s in np.ndindex(*want.shape):
            want[c, b, r, s] = naive(x[c, b, r * sh : r * sh + kh, s * sw : s * sw + kw])
        assert layer.infer([(len(x), *x.shape[2:])]) == (len(x), rows, cols)
        close(layer.forward([x], False)[0], want)
        check_gradients(rng, layer, [x])


def test_equal_greatest_values_share_no_gradient():
    layer = MaxPool2d("p", ["input"], (2, 2), (2, 2))
    y, memory = layer.forward([np.ones((1, 1, 2, 2))], True)
    (back,), _ = layer.backward(memory, np.full(y.shape, 3.0))
    np.testing.assert_array_equal(back[0, 0], [[3, 0], [0, 0]])


@pytest.mark.parametrize("layer", [ReLU("r", ["input"]), Clip("r", ["input"], -0.5, 0.7)])
def test_clips(layer):
    rng = np.random.default_rng(5)
    x = image(rng)
    np.testing.assert_array_equal(
        layer.forward([x], False)[0], np.clip(x, np.float32(layer.low), np.float32(layer.high))
    )
    check_gradients(rng, layer, [x])
    assert layer.infer([(3, 4, 5)]) == (3, 4, 5)


def test_add():
    rng = np.random.default_rng(6)
    xs = [rng.standard_normal((2, 3)) for _ in range(3)]
    layer = Add("a", ["x", "y", "z"])
    kept = [x.copy() for x in xs]
    close(layer.forward(xs, False)[0], xs[0] + xs[1] + xs[2])
    np.testing.assert_array_equal(xs, kept)
    check_gradients(rng, layer, xs)


def test_flatten():
    rng = np.random.default_rng(7)
    x = image(rng, 2)
    layer = Flatten("f", ["input"])
    y = layer.forward([x], False)[0]
    assert layer.infer([(2, *x.shape[2:])]) == (len(y),)
    np.testing.assert_array_equal(y[:, 1], x[:, 1].transpose(1, 2, 0).ravel())
    check_gradients(rng, layer, [x])
    check_gradients(rng, layer, [rng.standard_normal((3, 2))])


def test_columns():
    x = np.arange(24).reshape(2, 2, 2, 3)
    y = columns(x, (3, 2, 2))
    np.testing.assert_array_equal(y[1, 0], x[0, :, :, 1])
    assert y.flags.c_contiguous
    np.testing.assert_array_equal(columns(x, (12,)), x.reshape(2, 12).T)


@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy(soft):
    rng = np.random.default_rng(8)
    logits, y = 3 * rng.standard_normal((4, 5)), rng.integers(0, 4, 5)
    target = np.eye(4)[y].T
    if soft:
        target = rng.dirichlet(np.ones(4), 5).T
    loss, gradient = cross_entropy(logits, y, target if soft else None)
    p = np.exp(logits) / np.exp(logits).sum(axis=0)
    assert loss == pytest.approx(-(target * np.log(p)).sum() / 5)
    one = np.ones(())
    close(gradient, slope(lambda: np.array(cross_entropy(logits, y, target)[0]), logits, one), 1e-6)


def residual(rng):
    """A network with every kind of layer and a join of two ways."""
    return FloatNet(
        (5, 6, 2),
        [
            Conv2d("c1", ["input"], rng.standard_normal((3, 3, 2, 3)), stride=(1, 2), pad=(1,) * 4),
            BatchNorm("b1", ["c1"], np.ones(3), np.zeros(3), np.zeros(3), np.ones(3)),
            ReLU("r1", ["b1"]),
            Conv2d("c2", ["r1"], rng.standard_normal((1, 1, 3, 3))),
            Add("a", ["r1", "c2"]),
            MaxPool2d("m", ["a"], (2, 2), (1, 1)),
            AvgPool2d("v", ["m"], (2, 1), (2, 1)),
            Clip("k", ["v"], -9, 9),
            Flatten("f", ["k"]),
            Linear("l", ["f"], rng.standard_normal((12, 4))),
        ],
    )


def test_the_loss_of_a_network():
    rng = np.random.default_rng(9)
    net = residual(rng)
    for layer in net.layers:
        doubled(layer)
    x, y = rng.standard_normal((2, 3, 5, 6)), np.array([0, 3, 1])
    loss, gradients, memories = net.loss(x, y)
    assert len(memories) == len(net.layers)
    assert len(gradients) == len(net.parameters) == 8
    assert loss == pytest.approx(net.loss(x, y)[0])
    one = np.ones(())
    for parameter, gradient in zip(net.parameters, gradients, strict=True):
        close(gradient, slope(lambda: np.array(net.loss(x, y)[0]), parameter, one))
    before = [s.copy() for s in net.state()]
    assert len(before) == 10
    net.absorb(memories)
    changed = [not np.array_equal(a, b) for a, b in zip(before, net.state(), strict=True)]
    assert sum(changed) == 2


def test_run_and_logits():
    rng = np.random.default_rng(10)
    net = residual(rng)
    assert net.inside == (2, 5, 6)
    assert net.users["r1"] == ["c2", "a"]
    x = rng.integers(0, 256, (7, 5, 6, 2)).astype(np.uint8)
    seen = []
    want = net.run(
        columns(x, net.inside).astype(np.float32) / 255, lambda layer, y: seen.append(layer.name)
    )
    assert seen == [layer.name for layer in net.layers]
    got = net.logits(x, unit=1 / 255, batch=3)
    assert got.shape == (7, 4)
    np.testing.assert_allclose(got, want.T, rtol=1e-4, atol=1e-4)


def conv(name="c", channels=2, kernel=3):
    return Conv2d(name, ["input"], np.zeros((kernel, kernel, channels, 1)))


BAD = [
    ((4, 4), [Flatten("f", ["input"])], "Samples must be vectors or images (H, W, C), not (4, 4)"),
    ((4,), [], "A network must have at least one layer"),
    (
        (4,),
        [ReLU("r", ["input"]), ReLU("r", ["r"])],
        "Layer 'r' has a name that is used twice",
    ),
    ((4,), [ReLU("input", ["input"])], "Layer 'input' has a name that is used twice"),
    ((4,), [ReLU("r", ["s"])], "Layer 'r' reads 's', which no earlier layer is"),
    (
        (4,),
        [ReLU("r", ["input"]), ReLU("s", ["input"])],
        "Layer 'r' has a result that no layer reads",
    ),
    (
        (4,),
        [Linear("l", ["input"], np.zeros((5, 2)))],
        "Layer 'l' has weights for 5 inputs, but 4 arrive",
    ),
    ((4,), [conv()], "Layer 'c' must read an image"),
    (
        (4, 4, 2),
        [Linear("l", ["input"], np.zeros((32, 2)))],
        "Layer 'l' must read a vector; put a Flatten before it",
    ),
    ((4, 4, 1), [conv()], "Layer 'c' has weights for 2 channels, but 1 arrive"),
    (
        (2, 4, 2),
        [conv()],
        "Layer 'c' has a kernel of 3x3 that does not fit its input of 2x4",
    ),
    (
        (2, 4, 2),
        [MaxPool2d("p", ["input"], (3, 1), (1, 1))],
        "Layer 'p' has a kernel of 3x1 that does not fit its input of 2x4",
    ),
    (
        (4,),
        [BatchNorm("b", ["input"], *np.ones((4, 3)))],
        "Layer 'b' has 3 channels, but 4 arrive",
    ),
    (
        (4, 4, 2),
        [Flatten("f", ["input"]), Add("a", ["input", "f"])],
        "Layer 'a' must have two inputs or more of one shape, not 2x4x4, 32",
    ),
    (
        (4,),
        [Add("a", ["input"])],
        "Layer 'a' must have two inputs or more of one shape, not 4",
    ),
    ((4,), [ReLU("r", ["input", "input"])], "Layer 'r' must have 1 input, not 2"),
]


@pytest.mark.parametrize(("shape", "layers", "text"), BAD, ids=[x[2] for x in BAD])
def test_layers_that_do_not_fit(shape, layers, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        FloatNet(shape, layers)
    assert str(caught.value) == text
