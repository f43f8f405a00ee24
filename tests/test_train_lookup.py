"""Lookup layers and their joint training: integers as in the specs, gradients, calibration."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutgen.numeric import Format, Grid, requantise
from lutgen.spec import DigitSpec, LinearSpec, acc_format
from lutgen.train.layers import DigitLayer, VectorLayer, reachable
from lutgen.train.lookup import LookupNet, calibrate, replace, tune
from lutgen.train.mlp import MLP, cross_entropy, train_float

METRICS = ("l1", "l2", "chebyshev")
BYTE = Format(8, False)


def vector_layer(rng, k, n, metric="l1", fmt=BYTE, bits=8, v=4, c=5, scale=0.01):
    """A layer with random integer-valued codebooks, calibrated."""
    layer = VectorLayer(
        rng.standard_normal((k, n)).astype(np.float32),
        rng.standard_normal(n).astype(np.float32),
        fmt,
        scale,
        bits,
        v,
        c,
        metric,
    )
    layer.books = rng.integers(fmt.low, fmt.high + 1, layer.books.shape).astype(np.float32)
    if layer.spare:
        layer.books[-1, :, v - layer.spare :] = 0
    return layer


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    metric=st.sampled_from((*METRICS, "digit")),
    k=st.integers(4, 13),
    n=st.integers(1, 6),
    bits=st.integers(2, 9),
    signed=st.booleans(),
)
def test_accumulators_are_those_of_the_spec(seed, metric, k, n, bits, signed):
    rng = np.random.default_rng(seed)
    fmt = Format(bits, signed)
    q = rng.integers(fmt.low, fmt.high + 1, (20, k))
    if metric == "digit":
        weight = rng.standard_normal((k, n)).astype(np.float32)
        layer = DigitLayer(weight, np.ones(n, dtype=np.float32), fmt, 0.1, 16, 4)
    else:
        layer = vector_layer(rng, k, n, metric, fmt)
    target = rng.standard_normal((20, n)).astype(np.float32) * 5
    calibrate(layer, q, target, Format(8, False))
    ints = layer.integers()
    grid = Grid("int", layer.table.bits)
    digit = metric == "digit"
    spec = LinearSpec(
        k, n, fmt, 1 if digit else 4, 4 if digit else 5, metric, grid,
        acc_format(ints.values, ints.bias), layer.shift, layer.output,
    )  # fmt: skip
    codes = grid.encode(ints.values)
    expected = spec.accumulate(spec.indices(q, ints.codebooks), codes, ints.bias)
    assert np.array_equal(layer.accumulate(q, ints), expected)
    assert np.array_equal(layer.forward(q, ints)[0], expected)


def test_digit_rows_are_weights_times_worth():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((3, 2)).astype(np.float32)
    layer = DigitLayer(weight, np.zeros(2, dtype=np.float32), Format(5, False), 1.0, 16, 16)
    layer.table_scale = 0.01
    values = layer.integers().values.reshape(3, 2, 16, 2)
    weights = layer.weights()
    assert np.array_equal(weights, np.floor(weight.astype(np.float64) / 0.01 + 0.5))
    assert np.array_equal(values[:, 0], weights[:, None, :] * np.arange(16)[:, None])
    assert np.array_equal(values[:, 1, 1], weights * 16)
    assert not values[:, 1, 2:].any()  # 5 bits: the second digit is 0 or 1


@pytest.mark.parametrize("signed", [False, True])
def test_reachable_digits_rebuild_every_activation(signed):
    digit = DigitSpec(Format(6, signed), 16)
    q = np.arange(digit.element.low, digit.element.high + 1)
    digits = digit.compute(q).reshape(len(q), -1)
    worth = reachable(digit)
    assert np.array_equal(worth[np.arange(digit.digits), digits].sum(axis=1), q)


def test_joint_gradients_match_finite_differences():
    """The smooth surrogate of the joint loss: indices, rounding errors and stopped terms held."""
    rng = np.random.default_rng(5)
    beta = 0.3
    q = rng.integers(0, 256, (9, 8))
    y = rng.integers(0, 3, 9)
    first = vector_layer(rng, 8, 6)
    calibrate(first, q, (q * 0.01) @ first.weight, Format(8, False))
    second = vector_layer(rng, 6, 3, v=4, scale=first.out_scale)
    middle = requantise(first.accumulate(q, first.integers()), first.shift, first.output)
    calibrate(second, middle, (middle * first.out_scale) @ second.weight[:6], None)
    layers = [first, second]
    value, gradients = LookupNet(layers).loss(q, y, beta)

    passes = []
    acc, kept = first.forward(q, first.integers())
    passes.append(kept)
    passes.append(second.forward(middle, second.integers())[1])
    mask = (acc > 0) & (acc < 255 << first.shift)
    assert 0 < mask.mean() < 1
    held = [p.astype(np.float64) for layer in layers for p in layer.parameters]

    def surrogate(p):
        inputs = passes[0].inputs.astype(np.float64)
        total = 0.0
        for i, layer in enumerate(layers):
            weight, bias, books = p[3 * i : 3 * i + 3]
            old = held[3 * i : 3 * i + 3]
            rows = np.arange(layer.groups)

            def near(b, layer=layer, rows=rows, i=i):
                chosen = b[rows, passes[i].index] * layer.in_scale
                return chosen.reshape(len(q), -1)

            looked_up = passes[i].looked_up.astype(np.float64)
            rest = looked_up - (near(old[2]) @ old[0] + old[1])
            by_table = near(books) @ weight + bias + rest
            exact = passes[i].exact.astype(np.float64)
            live = inputs @ weight + bias
            total += beta / exact.var() * np.mean((looked_up - live) ** 2)
            total += beta / exact.var() * np.mean((by_table - exact) ** 2)
            result = by_table + (inputs - passes[i].inputs) @ old[0]
            if i == 0:
                change = np.where(mask, result - looked_up, 0)
                inputs = np.pad(middle * first.out_scale + change, ((0, 0), (0, 2)))
        return total + cross_entropy(result, y)[0]

    assert value == pytest.approx(surrogate(held), rel=1e-4)
    for number, gradient in enumerate(gradients):
        for place in rng.integers(gradient.size, size=8):
            at = np.unravel_index(place, gradient.shape)
            if number == 3 and at[0] >= 6:
                continue  # padding
            h = 1e-4
            high, low = (
                surrogate(
                    [p + s * h * one_hot(p.shape, at) if j == number else p
                     for j, p in enumerate(held)]
                )
                for s in (1, -1)
            )  # fmt: skip
            slope = (high - low) / (2 * h)
            assert slope == pytest.approx(float(gradient[at]), rel=5e-3, abs=2e-5), (number, at)


def one_hot(shape, at):
    array = np.zeros(shape)
    array[at] = 1
    return array


def test_padding_stays_zero():
    rng = np.random.default_rng(1)
    layer = vector_layer(rng, 6, 3)
    q = rng.integers(0, 256, (200, 6))
    y = rng.integers(0, 3, 200)
    layer.replace(q, rng)
    layer.refit(q, rng.standard_normal((200, 3)).astype(np.float32), 1e-2)
    calibrate(layer, q, (q * 0.01) @ layer.weight[:6], None)
    tune(LookupNet([layer]), q, y, q, y, epochs=2, batch=50, rng=rng)
    assert not layer.weight[6:].any()
    assert not layer.codebooks()[-1, :, 2:].any()


def test_refit_does_not_lose_to_the_weights_it_starts_from():
    rng = np.random.default_rng(2)
    q = rng.integers(0, 256, (400, 8))
    layer = vector_layer(rng, 8, 5)
    layer.replace(q, rng)
    target = (q * 0.01).astype(np.float32) @ layer.weight + layer.bias
    index = layer.encoder.compute(layer.padded(q), layer.codebooks())
    near = layer._nearest(index, layer.codebooks())
    before = np.mean((near @ layer.weight + layer.bias - target) ** 2)
    layer.refit(q, target, 1e-3)
    assert np.mean((near @ layer.weight + layer.bias - target) ** 2) < before


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_calibration_beats_the_plain_choice(bits):
    rng = np.random.default_rng(3)
    q = rng.integers(0, 256, (300, 12))
    layer = vector_layer(rng, 12, 7, bits=bits, c=8)
    layer.replace(q, rng)
    target = (q * 0.01).astype(np.float32) @ layer.weight + layer.bias

    def error():
        acc = layer.accumulate(q, layer.integers())
        return np.mean((acc * layer.table_scale - target) ** 2)

    layer.table_scale = float(np.abs(layer.real_tables()).max()) / layer.table.high
    plain = error()
    calibrate(layer, q, target, None)
    assert error() <= plain


def test_recalibration_follows_grown_weights_and_keeps_real_inputs():
    rng = np.random.default_rng(6)
    q = rng.integers(0, 256, (300, 8))
    first = vector_layer(rng, 8, 8)
    first.replace(q, rng)
    calibrate(first, q, first.ideal(q), BYTE)
    middle = requantise(first.accumulate(q, first.integers()), first.shift, BYTE)
    second = vector_layer(rng, 8, 3, scale=first.out_scale)
    second.replace(middle, rng)
    calibrate(second, middle, second.ideal(middle), None)
    net = LookupNet([first, second])
    before = net.snapshot()
    outputs = net.outputs(q)
    first.weight *= 4
    first.bias *= 4
    centroids = second.books[:, :, 0] * second.in_scale
    net.recalibrate(q)
    assert second.in_scale == first.out_scale
    assert second.in_scale == pytest.approx(4 * before[1][1], rel=0.5)
    assert second.books[:, :, 0] * second.in_scale == pytest.approx(centroids, rel=1e-4)
    assert np.abs(first.real_tables()).max() / first.table_scale < 3 * first.table.high
    net.restore(before)
    assert np.array_equal(net.outputs(q), outputs)


def blobs(rng, n=600):
    """Three classes of 8 inputs, uint8."""
    y = rng.integers(0, 3, n)
    centres = rng.integers(40, 216, (3, 8))
    return np.clip(centres[y] + rng.integers(-30, 31, (n, 8)), 0, 255), y


@pytest.mark.parametrize("metric", METRICS)
def test_tuning_mends_a_poor_start_and_keeps_the_best_epoch(metric):
    rng = np.random.default_rng(4)
    q, y = blobs(rng)
    net = MLP.initial((8, 12, 3), rng)
    train_float(
        net, (q / 255).astype(np.float32), y, epochs=3, batch=32, rng=rng, learning_rate=0.01
    )
    lookup = replace(
        net, q[:100], Format(8, False), 1 / 255,
        subvec=4, centroids=4, metric=metric, table_bits=4, activation_bits=4, rng=rng,
    )  # fmt: skip
    seen = [lookup.score(q[:100], y[:100])]
    tune(
        lookup, q[100:], y[100:], q[:100], y[:100], epochs=6, batch=32, rng=rng,
        progress=lambda done, loss, held: seen.append(lookup.score(q[:100], y[:100])),
    )  # fmt: skip
    assert lookup.score(q[:100], y[:100])[1] == min(s[1] for s in [seen[0], *seen[-2:]])
    assert lookup.score(q, y)[0] >= 0.9
