"""Cross-entropy, schedules, optimisers."""

import numpy as np
import pytest

from lutgen.train.floatnet import cross_entropy
from lutgen.train.optim import OPTIMISERS, SCHEDULES, SGD, AdamW, optimiser, rate


def array(*values):
    return np.array(values, dtype=np.float32)


def test_cross_entropy_of_large_logits_is_finite():
    loss, gradient = cross_entropy(array([1e4], [0.0]), np.array([1]))
    assert loss == pytest.approx(1e4)
    assert gradient.tolist() == [[1], [-1]]


@pytest.mark.parametrize("taught", [False, True])
def test_the_gradient_of_cross_entropy(taught):
    rng = np.random.default_rng(0)
    logits, y = rng.standard_normal((4, 6)), rng.integers(0, 4, 6)
    soft = rng.dirichlet(np.ones(4), 6).T if taught else None
    _, gradient = cross_entropy(logits, y, soft)
    for at in np.ndindex(logits.shape):
        kept, h = logits[at], 1e-6
        logits[at] = kept + h
        above = cross_entropy(logits, y, soft)[0]
        logits[at] = kept - h
        below = cross_entropy(logits, y, soft)[0]
        logits[at] = kept
        assert (above - below) / (2 * h) == pytest.approx(gradient[at], rel=1e-4, abs=1e-8)


def test_probabilities_of_one_class_are_that_class():
    rng = np.random.default_rng(1)
    logits, y = rng.standard_normal((3, 5)).astype(np.float32), rng.integers(0, 3, 5)
    hard, soft = cross_entropy(logits, y), cross_entropy(logits, y, np.eye(3)[:, y])
    assert hard[0] == pytest.approx(soft[0])
    np.testing.assert_allclose(hard[1], soft[1], atol=1e-6)


def test_schedules_fall_from_one_to_zero():
    for schedule in SCHEDULES:
        values = [rate(schedule, i, 10) for i in range(11)]
        assert values[0] == 1
        assert values[5] == pytest.approx(0.5)
        assert values[-1] == pytest.approx(0)
        assert values == sorted(values, reverse=True)
    assert rate("linear", 0, 0) == 1
    with pytest.raises(ValueError, match=r"^Schedule must be one of linear, cosine, not 'step'$"):
        rate("step", 0, 1)


def test_adamw_first_step_is_the_rate_and_decay_is_apart():
    p = array(1.0, -2.0)
    AdamW([p], [0.1], [0.0]).step([array(5.0, -0.01)], 1.0)
    assert p == pytest.approx(np.array([0.9, -1.9]), abs=1e-5)
    q = array(1.0)
    AdamW([q], [0.1], [0.5]).step([array(0.0)], 0.5)
    assert q == pytest.approx(np.array([0.75]))


def test_adamw_as_in_the_paper():
    rng = np.random.default_rng(2)
    p = rng.standard_normal(5).astype(np.float32)
    want, m, v = p.astype(np.float64), np.zeros(5), np.zeros(5)
    step = AdamW([p], [0.03], [0.02], betas=(0.8, 0.95))
    for t in range(1, 8):
        g, factor = rng.standard_normal(5), 1 / t
        step.step([g.astype(np.float32)], factor)
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g
        want *= 1 - factor * 0.02
        moved = (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8)
        want -= factor * 0.03 * moved
    np.testing.assert_allclose(p, want, rtol=1e-4)


def test_sgd_gathers_momentum():
    p = array(1.0)
    step = SGD([p], [0.1], [0.25], momentum=0.5)
    step.step([array(2.0)], 1.0)
    assert p == pytest.approx(np.array([0.75 - 0.2]))
    step.step([array(0.0)], 0.5)
    assert p == pytest.approx(np.array([0.55 * 0.875 - 0.5 * 0.1 * 1.0]))


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_parameter_has_its_rate_and_a_run_can_go_on(name):
    rng = np.random.default_rng(3)

    def fresh():
        return [np.ones(3, np.float32), np.ones((2, 2), np.float32)]

    def steps(own, count):
        for _ in range(count):
            own.step([rng.standard_normal(p.shape).astype(np.float32) for p in own.parameters], 0.9)

    whole = optimiser(name, fresh(), [0.1, 0.0], [0.0, 0.1])
    steps(whole, 3)
    np.testing.assert_allclose(whole.parameters[1], 0.91**3, rtol=1e-6)  # decays, and that alone
    assert (whole.parameters[0] != 1).all()
    again = optimiser(name, [p.copy() for p in whole.parameters], [0.1, 0.0], [0.0, 0.1])
    kept = whole.save()
    again.load(kept, whole.steps)
    state = rng.bit_generator.state
    steps(whole, 2)
    rng.bit_generator.state = state
    steps(again, 2)
    assert whole.steps == again.steps == 5
    for one, other in zip(whole.parameters, again.parameters, strict=True):
        np.testing.assert_array_equal(one, other)
    third = optimiser(name, fresh(), [0.1, 0.1], [0.0, 0.0])
    third.load(kept, 3)  # what was saved is a copy
    steps(third, 1)
    fourth = optimiser(name, fresh(), [0.1, 0.1], [0.0, 0.0])
    fourth.load(kept, 3)
    for key, moment in fourth.save().items():
        np.testing.assert_array_equal(moment, kept[key])


def test_no_such_optimiser():
    with pytest.raises(ValueError, match=r"^Optimiser must be one of adamw, sgd, not 'lion'$"):
        optimiser("lion", [], [], [])
