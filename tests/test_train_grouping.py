"""Which channels share a sub-vector: what moves with what, and that nothing else changes."""

import numpy as np
import pytest
from networks import random_float_net

from lutgen.train.arch import build, he
from lutgen.train.floatnet import (
    Add,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Flatten,
    FloatNet,
    Linear,
    MaxPool2d,
    ReLU,
    Weighted,
)
from lutgen.train.fold import fold_batch_norm
from lutgen.train.grouping import group, likeness, order
from lutgen.train.ties import channels


def rng():
    return np.random.default_rng(5)


def linear(name, before, inputs, outputs):
    return Linear(name, [before], he(rng(), (inputs, outputs)))


def conv(name, before, inputs, outputs):
    return Conv2d(name, [before], he(rng(), (3, 3, inputs, outputs)), pad=(1, 1, 1, 1))


def inputs(net, count=40):
    return rng().standard_normal((net.inside[0], count, *net.inside[1:])).astype(np.float32)


def weights(net):
    return {k.name: k.weight.copy() for k in net.layers if isinstance(k, Weighted)}


def all_of(net, subvec):
    return dict.fromkeys(weights(net), subvec)


def stirred(net):
    """Batch norms and biases that are not all alike."""
    own = rng()
    for layer in net.layers:
        for name in ("bias", "offset", "mean"):
            if hasattr(layer, name):
                array = getattr(layer, name)
                array[:] = 0.3 * own.standard_normal(array.shape)
        for name in ("gain", "variance"):
            if hasattr(layer, name):
                array = getattr(layer, name)
                array[:] = own.uniform(0.5, 2, array.shape)
    return net


# The order of units.


def test_units_that_vary_together_become_neighbours():
    own = rng()
    sources = own.standard_normal((3, 500)).astype(np.float32)
    units = sources[[0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]]
    units = units + 0.1 * own.standard_normal(units.shape, dtype=np.float32)
    places = order(likeness(units), 4)
    assert sorted(places) == list(range(12))
    assert all(len(set(part % 3)) == 1 for part in places.reshape(3, 4))


def test_the_most_alike_pair_begins_and_the_most_alike_unit_joins():
    alike = np.array(
        [
            [1.0, 0.1, 0.2, 0.8, 0.3],
            [0.1, 1.0, 0.9, 0.1, 0.4],
            [0.2, 0.9, 1.0, 0.1, 0.5],
            [0.8, 0.1, 0.1, 1.0, 0.6],
            [0.3, 0.4, 0.5, 0.6, 1.0],
        ]
    )
    assert order(alike, 3).tolist() == [1, 2, 4, 0, 3]
    assert order(alike, 2).tolist() == [1, 2, 0, 3, 4]


def test_a_unit_must_suit_all_that_are_there():
    alike = np.eye(4)
    for a, b, value in [(0, 1, 0.9), (0, 2, 0.7), (1, 2, 0.1), (0, 3, 0.2), (1, 3, 0.4)]:
        alike[a, b] = alike[b, a] = value
    assert order(alike, 3).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("units", [1, 2, 5, 8])
def test_every_unit_has_one_place(units):
    silent = likeness(np.zeros((units, 6), dtype=np.float32))
    assert np.isfinite(silent).all()
    assert sorted(order(silent, 4)) == list(range(units))


def test_likeness_is_correlation():
    x = rng().standard_normal((4, 300)).astype(np.float32)
    x[1] = 3 * x[0] + 7
    x[2] = -x[0]
    x[3] = 5
    alike = likeness(x)
    np.testing.assert_allclose(alike[:3, :3], np.corrcoef(x[:3]), atol=1e-5)
    np.testing.assert_allclose(alike[3], 0, atol=1e-5)


# Whole networks.


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("arch", ["mlp", "lenet5", "resnet8"])
def test_networks_compute_what_they_did(arch, folded):
    shape = (12, 12, 1) if arch == "lenet5" else (8, 8, 3) if arch == "resnet8" else (3, 3, 2)
    net = stirred(build((9, 7) if arch == "mlp" else arch, shape, 5, rng()))
    if folded:
        net = fold_batch_norm(net)
    x = inputs(net)
    before, old = net.run(x), weights(net)
    group(net, x, all_of(net, 4))
    now = weights(net)
    # All but the layers that read the input or give the result alone.
    assert sum(not np.array_equal(now[name], old[name]) for name in now) == len(now)
    np.testing.assert_allclose(net.run(x), before, rtol=1e-3, atol=1e-4 * np.abs(before).max())


@pytest.mark.parametrize("seed", range(40))
def test_any_network_computes_what_it_did(seed):
    own = np.random.default_rng(seed)
    net = random_float_net(own, steps=int(own.integers(1, 7)))
    x = own.standard_normal((net.inside[0], 30, *net.inside[1:])).astype(np.float32)
    before = net.run(x)
    group(net, x, all_of(net, int(own.integers(2, 5))))
    np.testing.assert_allclose(net.run(x), before, rtol=1e-3, atol=1e-4 * np.abs(before).max())


def test_neighbours_of_a_hidden_layer_are_alike():
    """Copies of a few units, in an order that parts them, come together."""
    own = rng()
    weight = he(own, (6, 3))[:, [0, 1, 2] * 4] + 0.01 * he(own, (6, 12))
    net = FloatNet(
        (6,),
        [
            Linear("fc1", ["input"], weight),
            ReLU("relu", ["fc1"]),
            Linear("fc2", ["relu"], he(own, (12, 4))),
        ],
    )
    x = inputs(net, 300)

    def neighbours():
        seen = {}
        net.run(x, lambda layer, y: seen.update({layer.name: y}))
        parts = seen["relu"].reshape(3, 4, -1)
        return np.mean([likeness(part).mean() for part in parts])

    before = neighbours()
    group(net, x, {"fc1": 4, "fc2": 4})
    assert before < 0.6
    assert neighbours() > 0.98


def test_channels_of_images_come_together_behind_a_flatten():
    own = rng()
    weight = he(own, (1, 1, 2, 2))[..., [0, 1, 0, 1]] + 0.01 * he(own, (1, 1, 2, 4))
    net = FloatNet(
        (3, 3, 2),
        [
            Conv2d("conv", ["input"], weight),
            MaxPool2d("pool", ["conv"], (2, 2), (1, 1)),
            Flatten("flatten", ["pool"]),
            ReLU("relu", ["flatten"]),
            Linear("fc", ["relu"], he(own, (16, 3))),
        ],
    )
    x = inputs(net, 200)
    before = net.run(x)
    group(net, x, {"fc": 2})
    np.testing.assert_allclose(net.run(x), before, atol=1e-4)
    columns = net.layers[0].weight.reshape(2, 4)
    np.testing.assert_allclose(columns[:, 0], columns[:, 1], atol=0.1)
    np.testing.assert_allclose(columns[:, 2], columns[:, 3], atol=0.1)


def test_what_a_join_ties_moves_together():
    own = rng()
    net = FloatNet(
        (4, 4, 3),
        [
            conv("conv1", "input", 3, 6),
            conv("conv2", "conv1", 6, 6),
            Add("join", ["conv1", "conv2"]),
            AvgPool2d("pool", ["join"], (2, 2), (2, 2)),
            conv("conv3", "pool", 6, 2),
        ],
    )
    old = weights(net)
    x = own.standard_normal((3, 50, 4, 4)).astype(np.float32)
    before = net.run(x)
    group(net, x, {"conv3": 3})
    now = weights(net)
    places = [
        next(j for j in range(6) if np.array_equal(old["conv1"][..., j], now["conv1"][..., i]))
        for i in range(6)
    ]
    assert places != list(range(6))
    np.testing.assert_array_equal(now["conv2"], old["conv2"][:, places][..., places])
    np.testing.assert_array_equal(now["conv3"], old["conv3"][:, places])
    np.testing.assert_allclose(net.run(x), before, atol=1e-4)


def test_what_the_input_or_the_result_ties_stays():
    net = FloatNet(
        (6,),
        [
            linear("fc1", "input", 6, 6),
            Add("join", ["fc1", "input"]),
            linear("fc2", "join", 6, 6),
            ReLU("relu", ["fc2"]),
            linear("fc3", "relu", 6, 6),
            Add("end", ["fc3", "relu"]),
        ],
    )
    old = weights(net)
    group(net, inputs(net), all_of(net, 3))
    for name, weight in weights(net).items():
        np.testing.assert_array_equal(weight, old[name])


def test_layers_that_do_not_care_are_left_alone():
    net = build((9, 7), (6,), 3, rng())
    old = weights(net)
    group(net, inputs(net), {"fc1": 4, "fc2": 1, "fc3": 4})
    now = weights(net)
    np.testing.assert_array_equal(now["fc1"], old["fc1"])
    np.testing.assert_array_equal(np.sort(now["fc2"]), np.sort(old["fc2"]))
    assert not np.array_equal(now["fc2"], old["fc2"])


def test_a_flattened_image_and_a_vector_in_one_sum():
    """The vector has no channels that could move with the image's."""
    own = rng()
    net = FloatNet(
        (2, 2, 4),
        [
            conv("conv", "input", 4, 4),
            Flatten("flatten", ["conv"]),
            linear("fc1", "flatten", 16, 16),
            Add("join", ["flatten", "fc1"]),
            linear("fc2", "join", 16, 3),
        ],
    )
    x = own.standard_normal((4, 30, 2, 2)).astype(np.float32)
    before = net.run(x)
    group(net, x, all_of(net, 2))
    np.testing.assert_allclose(net.run(x), before, atol=1e-4)


def test_two_flattened_images_in_one_sum_move_together():
    net = FloatNet(
        (2, 2, 4),
        [
            conv("conv1", "input", 4, 4),
            conv("conv2", "input", 4, 4),
            Flatten("flatten1", ["conv1"]),
            Flatten("flatten2", ["conv2"]),
            Add("join", ["flatten1", "flatten2"]),
            BatchNorm("norm", ["join"], *(rng().uniform(0.5, 1, (4, 16)).astype(np.float32))),
            linear("fc", "norm", 16, 3),
        ],
    )
    assert channels(net, "join") == channels(net, "norm") == 4
    x = rng().standard_normal((4, 30, 2, 2)).astype(np.float32)
    before, old = net.run(x), weights(net)
    group(net, x, {"fc": 2})
    assert not np.array_equal(weights(net)["conv1"], old["conv1"])
    np.testing.assert_allclose(net.run(x), before, atol=1e-4)


def test_channels_that_stay_need_no_likeness():
    """A vector joins a flattened image: the set has channels of two counts, and stays."""
    net = FloatNet(
        (7, 7, 2),
        [
            conv("conv1", "input", 2, 5),
            ReLU("r1", ["conv1"]),
            MaxPool2d("pool", ["r1"], (2, 2), (2, 2)),
            Flatten("flatten", ["pool"]),
            linear("fc1", "flatten", 45, 45),
            Add("add", ["flatten", "fc1"]),
            conv("conv2", "r1", 5, 4),
            MaxPool2d("pool2", ["conv2"], (7, 7), (7, 7)),
            Flatten("flatten2", ["pool2"]),
            linear("fc2", "flatten2", 4, 45),
            Add("add2", ["add", "fc2"]),
            linear("fc3", "add2", 45, 3),
        ],
    )
    x = inputs(net)
    before, old = net.run(x), weights(net)
    group(net, x, all_of(net, 2))
    np.testing.assert_allclose(net.run(x), before, rtol=1e-4, atol=1e-4)
    after = weights(net)
    for name in ("conv1", "fc1", "fc3"):
        np.testing.assert_array_equal(after[name], old[name])
