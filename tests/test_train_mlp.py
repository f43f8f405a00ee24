"""The float network: gradients against finite differences, the optimiser, learning."""

import numpy as np
import pytest

from lutgen.train.mlp import MLP, cross_entropy, train_float
from lutgen.train.optim import AdamW, rate


def as_double(net):
    return MLP(
        [w.astype(np.float64) for w in net.weights], [np.full(b.shape, 0.1) for b in net.biases]
    )


def test_gradients_match_finite_differences():
    rng = np.random.default_rng(0)
    net = as_double(MLP.initial((6, 5, 4, 3), rng))
    x, y = rng.standard_normal((7, 6)), rng.integers(0, 3, 7)
    _, by_weight, by_bias = net.loss(x, y)
    for array, gradient in zip([*net.weights, *net.biases], [*by_weight, *by_bias], strict=True):
        for place in rng.integers(array.size, size=6):
            at = np.unravel_index(place, array.shape)
            kept, h = array[at], 1e-6
            array[at] = kept + h
            high = net.loss(x, y)[0]
            array[at] = kept - h
            low = net.loss(x, y)[0]
            array[at] = kept
            assert (high - low) / (2 * h) == pytest.approx(gradient[at], rel=1e-5, abs=1e-8)


def test_cross_entropy_of_large_logits_is_finite():
    loss, gradient = cross_entropy(np.array([[1e4, 0.0]], dtype=np.float32), np.array([1]))
    assert loss == pytest.approx(1e4)
    assert gradient.tolist() == [[1, -1]]


def test_schedules_fall_from_one_to_zero():
    for schedule in ("linear", "cosine"):
        values = [rate(schedule, i, 10) for i in range(11)]
        assert values[0] == 1
        assert values[-1] == pytest.approx(0)
        assert values == sorted(values, reverse=True)
    with pytest.raises(ValueError, match=r"^Schedule must be one of linear, cosine, not 'step'$"):
        rate("step", 0, 1)


def test_adamw_first_step_is_the_rate_and_decay_is_apart():
    p = np.array([1.0, -2.0], dtype=np.float32)
    AdamW([p], [0.1], [0.0]).step([np.array([5.0, -0.01], dtype=np.float32)], 1.0)
    assert p == pytest.approx(np.array([0.9, -1.9]), abs=1e-5)
    q = np.array([1.0], dtype=np.float32)
    AdamW([q], [0.1], [0.5]).step([np.zeros(1, dtype=np.float32)], 0.5)
    assert q == pytest.approx(np.array([0.975]))


def test_learns_and_repeats():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((300, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)  # not linear
    nets = []
    for _ in range(2):
        own = np.random.default_rng(2)
        net = MLP.initial((2, 16, 2), own)
        train_float(net, x, y, epochs=60, batch=32, rng=own, learning_rate=0.02)
        nets.append(net)
    assert np.mean(nets[0].logits(x).argmax(axis=1) == y) > 0.95
    assert all(np.array_equal(a, b) for a, b in zip(nets[0].weights, nets[1].weights, strict=True))
