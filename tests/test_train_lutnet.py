"""Lookup networks as graphs: every operation as its spec computes it, gradients of whole networks
against those of float networks.
"""

import numpy as np
import pytest
from networks import inside, random_float_net, random_inputs, random_lookup_net

from lutgen.numeric import Format, requantise
from lutgen.spec.pointwise import AddSpec, MapSpec
from lutgen.spec.pool import AvgPool2dSpec, MaxPool2dSpec
from lutgen.spec.window import WindowSpec
from lutgen.train.arch import he
from lutgen.train.convert import LayerOptions, convert
from lutgen.train.floatnet import (
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    FloatNet,
    Linear,
    MaxPool2d,
    ReLU,
    Weighted,
    cross_entropy,
)
from lutgen.train.lookups import Vectors
from lutgen.train.lutnet import Average, Flat, Join, LookupOp, Maximum, Pointwise, Wire, clamped
from lutgen.train.scales import fit_all

SEEDS = range(10)


def random_format(rng, low=2, high=17):
    return Format(int(rng.integers(low, high)), bool(rng.random() < 0.5))


def filled(rng, fmt, shape):
    """Integers of a format, its ends among them."""
    q = rng.integers(fmt.low, fmt.high + 1, shape)
    return np.where(rng.random(shape) < 0.3, rng.choice([fmt.low, fmt.high], shape), q)


def outside(y):
    """Images ``[C, batch, H, W]`` as ``[batch, H, W, C]``."""
    return y.transpose(1, 2, 3, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_clamping_is_requantising(seed):
    rng = np.random.default_rng(seed)
    fmt = random_format(rng)
    for shift in (0, 1, int(rng.integers(2, 12))):
        ends = np.array([fmt.low, fmt.low + 1, fmt.high - 1, fmt.high]) << shift
        near = (ends[:, None] + np.arange(-3, 4)).ravel()
        total = np.concatenate([near, rng.integers(2 * ends[0] - 9, 2 * ends[-1] + 9, 50)])
        y, open_ = clamped(total.astype(np.float64), shift, fmt)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, requantise(total, shift, fmt))
        np.testing.assert_array_equal(open_, (total > ends[0]) & (total < ends[-1]))


@pytest.mark.parametrize("seed", range(20))
def test_join(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 5))
    formats = [random_format(rng) for _ in range(count)]
    shape = (3, 2, 4, 2) if seed % 2 else (3, 8)
    xs = [filled(rng, fmt, shape) for fmt in formats]
    if seed % 4 == 0:
        xs[-1], formats[-1] = xs[0], formats[0]  # one of them twice
    lefts = rng.integers(0, 16 if seed % 3 == 0 else 4, count)
    lefts -= lefts.min()
    base = float(rng.choice([0.3, 1.0]))
    output = random_format(rng)
    join = Join("join", [f"x{i}" for i in range(count)], output)
    join.shift = int(rng.integers(0, 8))
    wires = [Wire(f, base * 2.0 ** float(n)) for f, n in zip(formats, lefts, strict=True)]
    join.form(wires)
    assert join.left_shifts == tuple(lefts)
    assert join.wire == Wire(output, base * 2.0**join.shift)
    y, open_ = join.forward([x.astype(np.float32) for x in xs], None)
    spec = AddSpec(tuple(formats), join.left_shifts, join.shift, output)
    np.testing.assert_array_equal(y, spec.compute(xs))
    total = sum(x << n for x, n in zip(xs, lefts, strict=True)) / 2.0**join.shift
    gradient = rng.standard_normal(shape).astype(np.float32)
    backs = join.backward(open_, gradient)
    assert len(backs) == count
    for back in backs:
        np.testing.assert_array_equal(
            back, gradient * ((total > output.low) & (total < output.high))
        )


def test_sums_beyond_float32_are_exact():
    """One more than float32 holds, where it makes the difference."""
    join = Join("join", ["a", "b"], Format(16, False))
    join.shift = 10
    join.form([Wire(Format(16, False), 2.0**15), Wire(Format(16, False), 1.0)])
    xs = [np.array([[512.0, 512.0]], np.float32), np.array([[511.0, 512.0]], np.float32)]
    assert join.forward(xs, None)[0].tolist() == [[2**14, 2**14 + 1]]
    pool = AvgPool2d("pool", ["input"], (17, 17), (1, 1))
    average = Average("average", ["input"], pool, Format(16, False))
    average.form([Wire(Format(16, False), 1.0)])
    average.multiplier, average.shift = 1, 10
    x = np.full((1, 2, 17, 17), 58056, np.float32)
    x[0, :, 16, 16] = 57599, 57600
    assert average.forward([x], None)[0].ravel().tolist() == [2**14, 2**14 + 1]


def pool_of(kind, rng, *, kernel=None):
    kernel = kernel or tuple(rng.integers(1, 4, 2).tolist())
    stride = tuple(rng.integers(1, 3, 2).tolist())
    return kind("pool", ["input"], kernel, stride)


@pytest.mark.parametrize("seed", range(20))
def test_average(seed):
    rng = np.random.default_rng(seed)
    pool = pool_of(AvgPool2d, rng, kernel=(20, 16) if seed % 5 == 0 else None)
    element = Format(16, False) if seed % 5 == 0 else random_format(rng)
    output = random_format(rng)
    average = Average("average", ["input"], pool, output)
    average.finer = float(rng.integers(-14, 14)) if seed % 2 else float(rng.uniform(-10, 10))
    average.form([Wire(element, 0.3)])
    area = np.prod(pool.window.kernel)
    made = 2.0**average.shift / (area * average.multiplier)
    assert average.wire.format == output
    assert average.wire.scale == pytest.approx(0.3 * made, rel=1e-12)
    assert made * 2.0**average.finer == pytest.approx(1, rel=0.02 if seed % 2 else 1e-4)
    size = [k + int(rng.integers(0, 4)) for k in pool.window.kernel]
    x = filled(rng, element, (2, 3, *size))
    if seed % 10 == 0:
        x[:] = element.high - (x & 1)  # a sum that float32 does not hold
    window = WindowSpec(*size, pool.window.kernel, pool.window.stride, (0, 0, 0, 0))
    spec = AvgPool2dSpec(window, element, average.multiplier, average.shift, output)
    y, memory = average.forward([x.astype(np.float32)], None)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(outside(y), spec.compute(outside(x)))
    gradient = rng.standard_normal(y.shape).astype(np.float32)
    (back,) = average.backward(memory, gradient)
    total = outside(pool.sums(x)) * average.multiplier / 2.0**average.shift
    open_ = (total > output.low) & (total < output.high)
    masked = gradient * open_.transpose(3, 0, 1, 2)
    np.testing.assert_allclose(back, pool.backward(x.shape, masked)[0][0], rtol=1e-6)


def test_an_average_of_a_power_of_two_needs_no_product():
    pool = AvgPool2d("pool", ["input"], (2, 4), (1, 1))
    average = Average("average", ["input"], pool, Format(8, False))
    average.form([Wire(Format(8, False), 1.0)])
    assert (average.multiplier, average.shift, average.wire.scale) == (1, 3, 1.0)
    average.finer = 2.0
    average.form([Wire(Format(8, False), 1.0)])
    assert (average.multiplier, average.shift, average.wire.scale) == (1, 1, 0.25)


@pytest.mark.parametrize("seed", SEEDS)
def test_maximum(seed):
    rng = np.random.default_rng(seed)
    pool = pool_of(MaxPool2d, rng)
    element = random_format(rng)
    size = [k + int(rng.integers(0, 4)) for k in pool.window.kernel]
    x = filled(rng, element, (2, 3, *size))
    maximum = Maximum("maximum", ["input"], pool)
    maximum.form([Wire(element, 0.3)])
    assert maximum.wire == Wire(element, 0.3)
    window = WindowSpec(*size, pool.window.kernel, pool.window.stride, (0, 0, 0, 0))
    y, memory = maximum.forward([x.astype(np.float32)], None)
    np.testing.assert_array_equal(outside(y), MaxPool2dSpec(window, element).compute(outside(x)))
    gradient = rng.integers(1, 5, y.shape).astype(np.float32)
    (back,) = maximum.backward(memory, gradient)
    assert back.sum() == gradient.sum()
    assert not back[x == element.low].any() or (y == element.low).any()


def test_flat():
    flat = Flat("flat", ["input"], Flatten("flatten", ["input"]))
    flat.form([Wire(Format(8, True), 0.5)])
    assert flat.wire == Wire(Format(8, True), 0.5)
    x = np.arange(48, dtype=np.float32).reshape(2, 3, 4, 2)
    y, memory = flat.forward([x], None)
    np.testing.assert_array_equal(y.T, outside(x).reshape(3, -1))
    np.testing.assert_array_equal(flat.backward(memory, y)[0], x)


@pytest.mark.parametrize("seed", SEEDS)
def test_pointwise(seed):
    rng = np.random.default_rng(seed)
    element = random_format(rng)
    low, high = sorted(rng.normal(0, element.high * 0.2, 2).tolist())
    if seed % 3 == 0:
        low, high = 0.0, float("inf")
    output = Format(element.bits, element.signed and low < 0)
    clip = Pointwise("clip", ["input"], low, high, output)
    clip.form([Wire(element, 0.3)])
    assert clip.wire == Wire(output, 0.3)
    q = np.arange(element.low, element.high + 1)
    y, memory = clip.forward([q.astype(np.float32)], None)
    assert (y == np.floor(y)).all()
    assert output.holds(int(y.min()), int(y.max()))
    real = np.clip(np.clip(q * 0.3, low, high), output.low * 0.3, output.high * 0.3)
    assert np.abs(y * 0.3 - real).max() <= 0.15 + 1e-6
    order = np.argsort(q & (2**element.bits - 1))
    np.testing.assert_array_equal(MapSpec(element, output).compute(q, y[order].astype(np.int64)), y)
    gradient = rng.standard_normal(len(q)).astype(np.float32)
    np.testing.assert_array_equal(clip.backward(memory, gradient)[0], gradient * (y == q))


# Whole networks.


def fine(net, source):
    """The lookup network that computes what the float network does, nearly: exact layers with
    more bits than a model may have.
    """
    options = {
        layer.name: LayerOptions(1, 4, "digit", 28, 15)
        for layer in net.layers
        if isinstance(layer, Weighted)
    }
    return convert(net, source, options, activation_bits=15)


def gradients_of(net, raw):
    return {
        f"{name}.{key}": gradient
        for name, own in raw.items()
        for key, gradient in net.lookups[name].finish(own).items()
    }


@pytest.mark.parametrize("seed", range(30))
def test_gradients_are_those_of_the_float_network(seed):
    rng = np.random.default_rng(seed)
    origin = random_float_net(rng, steps=int(rng.integers(1, 6)), ends=bool(seed % 2))
    source = Wire(Format(12, bool(seed % 3)), 1 / 1024)
    net = fine(origin, source)
    names = [
        f"{layer.name}.{part}"
        for layer in origin.layers
        if isinstance(layer, Weighted)
        for part in ("weight", "bias")
    ]
    off = []
    for _ in range(3):  # by chance, a value may lie where a clamp or a maximum bends
        q = random_inputs(rng, net, source.format, 8)
        x = inside(q, net)
        fit_all(net, x)
        real = x * np.float32(source.scale)
        y = rng.integers(0, len(origin.run(real)), 8)
        want_loss, want, _ = origin.loss(real, y)
        loss, right, raw = net.loss(x, y, net.integers())
        assert loss == pytest.approx(want_loss, rel=5e-3, abs=2e-3)
        assert right == (net.run(x).argmax(axis=0) == y).sum()
        gradients = gradients_of(net, raw)
        assert set(gradients) == set(names)
        distances = [np.linalg.norm(gradients[n] - g) for n, g in zip(names, want, strict=True)]
        sizes = np.array([np.linalg.norm(g) for g in want])
        off.append(np.max(distances / (sizes + 0.1 * sizes.max() + 1e-9)))
    assert min(off) < 0.02


def residual_net(rng):
    """A pre-activation block whose input is read three times, and one behind it."""

    def conv(name, before, inputs=4):
        weight = he(rng, (3, 3, inputs, 4)) * np.float32(0.7)
        return Conv2d(name, [before], weight, pad=(1, 1, 1, 1))

    return FloatNet(
        (6, 6, 2),
        [
            conv("stem", "input", 2),
            ReLU("relu1", ["stem"]),
            conv("conv1", "relu1"),
            Add("join1", ["conv1", "stem"]),
            ReLU("relu2", ["join1"]),
            conv("conv2", "relu2"),
            Add("join2", ["relu2", "conv2", "relu1"]),
            ReLU("relu3", ["join2"]),
            AvgPool2d("pool", ["relu3"], (6, 6), (6, 6)),
            Flatten("flatten", ["pool"]),
            Linear("fc", ["flatten"], he(rng, (4, 3))),
        ],
    )


def test_hints_draw_operations_to_the_float_network():
    """By differences on the float network, which here computes nearly the same."""
    rng = np.random.default_rng(2)
    origin = residual_net(rng)
    source = Wire(Format(12, False), 1 / 1024)
    net = fine(origin, source)
    q = random_inputs(rng, net, source.format, 6)
    x, y = inside(q, net), rng.integers(0, 3, 6)
    fit_all(net, x)
    real = {}
    origin.run(x * np.float32(source.scale), lambda layer, value: real.update({layer.name: value}))
    hints = {
        name: value + 0.3 * rng.standard_normal(value.shape).astype(np.float32)
        for name, value in (("join2", real["relu3"]), ("pool", real["pool"]))
    }
    loss, _, raw = net.loss(x, y, net.integers(), hints=hints, hint=5.0)
    gradients = gradients_of(net, raw)

    def objective():
        values = {}
        wide = x.astype(np.float64) * source.scale
        logits = origin.run(wide, lambda layer, value: values.update({layer.name: value}))
        total = cross_entropy(logits, y)[0]
        for name, layer in (("join2", "relu3"), ("pool", "pool")):
            wanted = hints[name]
            total += 5 * np.mean((values[layer] - wanted) ** 2) / wanted.var()
        return total

    for layer in origin.layers:
        if isinstance(layer, Weighted):
            layer.weight = layer.weight.astype(np.float64)
            layer.bias = layer.bias.astype(np.float64)
    assert loss == pytest.approx(objective(), rel=2e-3)
    for layer in origin.layers:
        if not isinstance(layer, Weighted):
            continue
        for key in ("weight", "bias"):
            array, got = getattr(layer, key), gradients[f"{layer.name}.{key}"]
            limit = 0.02 * float(np.abs(got).max())
            for place in rng.integers(0, array.size, 4):
                at = np.unravel_index(place, array.shape)
                kept = array[at]
                array[at] = kept + 1e-4
                above = objective()
                array[at] = kept - 1e-4
                slope = (above - objective()) / 2e-4
                array[at] = kept
                assert got[at] == pytest.approx(slope, rel=0.03, abs=limit)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_loss_is_the_sum_of_what_it_says(seed):
    rng = np.random.default_rng(seed)
    net, _, q = random_lookup_net(rng, steps=3)
    x, ints = inside(q, net), net.integers()
    results = net.run(x, ints)
    logits = (results * net.last.wire.scale).astype(np.float32)
    y = rng.integers(0, len(logits), len(q))
    task, gradient = cross_entropy(logits, y)
    loss, right, _ = net.loss(x, y, ints)
    assert loss == pytest.approx(task, rel=1e-5)
    assert right == (logits.argmax(axis=0) == y).sum()
    values = {"input": x}
    net.run(x, ints, lambda op, value: values.update({op.name: value}))
    terms = 0.0
    for op in net.ops:
        if isinstance(op, LookupOp) and isinstance(op.lookup, Vectors):
            at = op.lookup
            if at.residual is not None and op.inputs[0] not in net._learning:
                continue  # free tables of the first layer have no reconstruction terms
            real = at.rows.rows(values[op.inputs[0]]) * np.float32(at.in_scale)
            shape = values[op.inputs[0]].shape
            s = at.rows.product(at.weight[:, : at.rows.features], at.rows.place(real, shape), shape)
            s += at.bias.reshape(-1, *[1] * (s.ndim - 1))
            error = at.accumulate(values[op.inputs[0]], ints[op.name]) * at.table_scale - s
            terms += 2 * np.mean(error**2) / (s.var() + 1e-9)
    assert net.loss(x, y, ints, 0.25)[0] == pytest.approx(task + 0.25 * terms, rel=1e-4)
    soft = rng.dirichlet(np.ones(len(logits)), len(q)).T.astype(np.float32)
    other, towards = cross_entropy(logits, y, soft)
    mixed, _, mixed_raw = net.loss(x, y, ints, 0.0, soft, 0.75)
    assert mixed == pytest.approx(0.25 * task + 0.75 * other, rel=1e-4)
    if isinstance(net.last, LookupOp) and net.last.output is None:
        by_bias = (0.25 * gradient + 0.75 * towards).sum(axis=1)
        if results.shape == values[net.last.name].shape:
            np.testing.assert_allclose(mixed_raw[net.last.name]["bias"], by_bias, atol=1e-5)


def test_only_the_first_layers_need_no_gradient_by_inputs():
    """What stands before any parameter is passed by; the rest is not."""
    rng = np.random.default_rng(3)
    net = FloatNet(
        (4, 4, 2),
        [
            MaxPool2d("pool", ["input"], (2, 2), (2, 2)),
            Flatten("flatten", ["pool"]),
            Linear("fc1", ["flatten"], he(rng, (8, 8))),
            Add("join", ["fc1", "flatten"]),
            Linear("fc2", ["join"], he(rng, (8, 3))),
        ],
    )
    lookup = fine(net, Wire(Format(8, False), 1 / 256))
    asked = {}
    for name, layer in lookup.lookups.items():

        def backward(kept, gradient, beta, wanted, *more, own=name, whole=layer.backward):
            asked[own] = wanted
            return whole(kept, gradient, beta, wanted, *more)

        layer.backward = backward
    x = inside(random_inputs(rng, lookup, Format(8, False), 5), lookup)
    fit_all(lookup, x)
    raw = lookup.loss(x, rng.integers(0, 3, 5), lookup.integers())[2]
    assert asked == {"fc2": True, "fc1": False}
    assert np.abs(raw["fc1"]["weight"]).max() > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_parts_of_any_size_give_the_same(seed):
    rng = np.random.default_rng(seed)
    net, _, q = random_lookup_net(rng, samples=9)
    whole = net.outputs(q)
    assert whole.dtype == np.int64
    np.testing.assert_array_equal(net.outputs(q, net.integers(), batch=4), whole)


@pytest.mark.parametrize(
    ("shape", "outputs", "part"),
    [
        ((784,), 256, 128),
        ((64,), 10, 128),
        ((3000,), 10, 32),
        ((10,), 200_000, 1),
        ((8, 8, 1), 4, 32),
        ((28, 28, 1), 6, 16),
        ((32, 32, 3), 16, 8),
        ((224, 224, 3), 64, 1),
        ((28, 28), 256, 128),  # an image that a perceptron reads
    ],
)
def test_parts_are_as_large_as_a_cache_holds(shape, outputs, part):
    rng = np.random.default_rng(0)
    if len(shape) == 3:
        layers = [Conv2d("conv", ["input"], he(rng, (3, 3, shape[2], outputs)), pad=(1, 1, 1, 1))]
    else:
        fc = Linear("fc", ["input"], he(rng, (int(np.prod(shape)), outputs)))
        layers = [fc]
        if len(shape) == 2:
            fc.inputs, shape = ("flatten",), (*shape, 1)
            layers = [Flatten("flatten", ["input"]), fc]
    assert fine(FloatNet(shape, layers), Wire(Format(8, False), 1 / 256)).part == part


def test_visits_see_everything_and_results_are_let_go():
    rng = np.random.default_rng(1)
    origin = residual_net(rng)
    net = fine(origin, Wire(Format(8, False), 1 / 256))
    x = inside(random_inputs(rng, net, Format(8, False), 2), net)
    fit_all(net, x)
    seen = []
    y = net.run(x, visit=lambda op, value: seen.append((op.name, value.shape)))
    assert [name for name, _ in seen] == [op.name for op in net.ops]
    assert seen[-1][1] == y.shape == (3, 2)
    assert net.uses == {
        "input": 1, "stem": 2, "relu1": 2, "conv1": 1, "join1": 2, "conv2": 1,
        "join2": 1, "pool": 1, "flatten": 1, "fc": 0,
    }  # fmt: skip
