"""Channels in a scale of what they are worth: what moves together, and that all else stays."""

import numpy as np
import pytest
from networks import random_float_net
from test_train_grouping import all_of, conv, inputs, linear, stirred, weights

from lutgen.train.floatnet import Add, BatchNorm, Clip, Flatten, FloatNet, MaxPool2d, ReLU, Weighted
from lutgen.train.fold import fold_batch_norm
from lutgen.train.weighing import MOST, weigh


def perceptron():
    return stirred(
        FloatNet(
            (6,),
            [
                linear("fc1", "input", 6, 8),
                ReLU("r1", ["fc1"]),
                linear("fc2", "r1", 8, 7),
                ReLU("r2", ["fc2"]),
                linear("fc3", "r2", 7, 3),
            ],
        )
    )


def sizes(weight):
    """Root of the squares that read each channel ``[taps, K, n]``."""
    return np.sqrt((weight**2).sum(axis=(0, 2)))


def assert_same(net, before, x):
    np.testing.assert_allclose(net.run(x), before, rtol=1e-4, atol=1e-4 * np.abs(before).max())


def test_all_channels_of_a_vector_weigh_the_same_afterwards():
    net = perceptron()
    x = inputs(net)
    before, first = net.run(x), weights(net)["fc1"]
    weigh(net, all_of(net, 4))
    after = weights(net)
    assert_same(net, before, x)
    for name in ("fc2", "fc3"):
        found = sizes(after[name])
        np.testing.assert_allclose(found, found[0], rtol=1e-5)
    # The first layer's columns take what the second's rows gave.
    ratio = after["fc1"] / first
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-5)
    assert ratio.max() > 1 > ratio.min()


def test_worth_is_counted_in_the_scale_of_what_follows():
    """Weights towards a channel that matters more count more."""
    net = perceptron()
    fc2, fc3 = net.layers[2], net.layers[4]
    fc2.weight[:] = 0
    fc2.weight[0, :4, 0] = fc2.weight[0, 4:, 1] = 1
    fc3.weight[0, :2] = [[2, 0, 0], [0, 1, 0]]
    first = weights(net)["fc1"]
    weigh(net, all_of(net, 4))
    ratio = (weights(net)["fc1"] / first)[0, 0]
    np.testing.assert_allclose(ratio[:4] / ratio[4:], 2, rtol=1e-5)


@pytest.mark.parametrize("dead", [0.0, 1e-9, 1e9])
def test_no_channel_is_scaled_beyond_bounds(dead):
    net = perceptron()
    net.layers[4].weight[0, 2] *= dead
    x = inputs(net)
    before, first = net.run(x), weights(net)["fc2"]
    weigh(net, {"fc1": 4, "fc2": 1, "fc3": 4})
    after = weights(net)["fc2"]
    assert_same(net, before, x)
    ratio = after[0, 0] / first[0, 0]
    np.testing.assert_allclose(ratio[2], MOST if dead > 1 else 1 / MOST, rtol=1e-5)
    assert np.isfinite(after).all()


def test_a_network_without_any_weights_stays():
    net = perceptron()
    for layer in net.layers:
        if isinstance(layer, Weighted):
            layer.weight[:] = 0
    weigh(net, all_of(net, 4))
    assert not any(weight.any() for weight in weights(net).values())


def test_layers_without_distances_do_not_count():
    net = perceptron()
    before = weights(net)
    weigh(net, all_of(net, 1))
    assert all((weights(net)[name] == before[name]).all() for name in before)
    weigh(net, {"fc1": 4, "fc2": 4, "fc3": 1})
    after = weights(net)
    assert (after["fc3"] == before["fc3"]).all()
    np.testing.assert_allclose(sizes(after["fc2"]), sizes(after["fc2"])[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("low", "high", "moves"),
    [(0, 6, False), (-1, np.inf, False), (0, np.inf, True), (-np.inf, 0, True)],
)
def test_bounds_that_a_factor_would_move_fix_a_channel(low, high, moves):
    net = FloatNet(
        (6,),
        [
            linear("fc1", "input", 6, 8),
            Clip("clip", ["fc1"], low, high),
            linear("fc2", "clip", 8, 3),
        ],
    )
    x = inputs(net)
    before, first = net.run(x), weights(net)["fc1"]
    weigh(net, all_of(net, 2))
    assert_same(net, before, x)
    assert (weights(net)["fc1"] != first).any() == moves


def test_a_batch_norm_fixes_its_channels():
    norm = BatchNorm("norm", ["fc1"], *np.ones((4, 8), np.float32))
    layers = [
        linear("fc1", "input", 6, 8),
        norm,
        linear("fc2", "norm", 8, 7),
        ReLU("r2", ["fc2"]),
        linear("fc3", "r2", 7, 3),
    ]
    net = stirred(FloatNet((6,), layers))
    x = inputs(net)
    before, old = net.run(x), weights(net)
    weigh(net, all_of(net, 2))
    assert_same(net, before, x)
    np.testing.assert_array_equal(weights(net)["fc1"], old["fc1"])
    assert (weights(net)["fc3"] != old["fc3"]).any()


def test_residual_channels_share_their_factors():
    net = stirred(
        FloatNet(
            (6, 6, 2),
            [
                conv("conv1", "input", 2, 5),
                ReLU("r1", ["conv1"]),
                conv("conv2", "r1", 5, 5),
                Add("add", ["r1", "conv2"]),
                ReLU("r2", ["add"]),
                MaxPool2d("pool", ["r2"], (2, 2), (2, 2)),
                Flatten("flatten", ["pool"]),
                linear("fc", "flatten", 45, 3),
            ],
        )
    )
    x = inputs(net)
    before, old = net.run(x), weights(net)
    weigh(net, all_of(net, 2))
    after = weights(net)
    assert_same(net, before, x)
    given = after["conv1"][0, 0] / old["conv1"][0, 0]
    read = after["fc"][0, :5, 0] / old["fc"][0, :5, 0]
    np.testing.assert_allclose(given * read, 1, rtol=1e-5)
    assert given.max() > given.min()


@pytest.mark.parametrize("seed", range(20))
def test_any_network_computes_what_it_did(seed):
    own = np.random.default_rng(seed)
    net = fold_batch_norm(stirred(random_float_net(own)))
    x = inputs(net)
    before = net.run(x)
    weigh(net, all_of(net, int(own.integers(1, 5))))
    assert_same(net, before, x)
