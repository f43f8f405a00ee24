"""Which units share a sub-vector, and what is done to batches."""

import numpy as np
import pytest

from lutgen.numeric import Format
from lutgen.train.augment import Augment, shifted
from lutgen.train.grouping import group, order
from lutgen.train.mlp import MLP


def test_units_that_vary_together_become_neighbours():
    rng = np.random.default_rng(0)
    sources = rng.standard_normal((500, 3)).astype(np.float32)
    units = sources[:, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]]
    units = units + 0.1 * rng.standard_normal(units.shape, dtype=np.float32)
    places = order(units, 4)
    assert sorted(places) == list(range(12))
    assert all(len(set(part % 3)) == 1 for part in places.reshape(3, 4))


@pytest.mark.parametrize("units", [1, 2, 5, 8])
def test_every_unit_has_one_place(units):
    activations = np.zeros((6, units), dtype=np.float32)
    assert sorted(order(activations, 4)) == list(range(units))


def test_grouping_changes_nothing_that_is_computed():
    rng = np.random.default_rng(1)
    net = MLP.initial((6, 9, 7, 3), rng)
    x = rng.standard_normal((40, 6)).astype(np.float32)
    before, weights = net.logits(x), net.weights[0].copy()
    group(net, x, 4)
    assert not np.array_equal(net.weights[0], weights)
    assert net.logits(x) == pytest.approx(before, abs=1e-4)


def test_shifts_bring_zeros_in():
    image = np.arange(1, 10).reshape(1, 3, 3, 1)
    down = shifted(image, [1, 0])[0, :, :, 0]
    assert down.tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    left = shifted(image, [0, -1])[0, :, :, 0]
    assert left.tolist() == [[2, 3, 0], [5, 6, 0], [8, 9, 0]]
    assert image.min() == 1


def test_only_large_images_shift():
    rng = np.random.default_rng(2)
    small = np.full((2, 64), 9, dtype=np.int32)
    assert np.array_equal(Augment((8, 8, 1), Format(8, False), 0.0)(small, rng), small)
    large = np.full((2, 28 * 28), 9, dtype=np.int32)
    augment = Augment((28, 28, 1), Format(8, False), 0.0)
    zeros = {int((augment(large, rng) == 0).sum()) for _ in range(40)}
    assert zeros == {0, 2 * 28, 2 * 55}


def test_noise_stays_in_the_format():
    q = np.zeros((4, 50), dtype=np.int32)
    noisy = Augment((50,), Format(2, False), 5.0)(q, np.random.default_rng(3))
    assert noisy.dtype == np.int32
    assert set(np.unique(noisy)) == {0, 1, 2, 3}
