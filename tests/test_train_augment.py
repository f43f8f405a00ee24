"""What is done to samples in training."""

import numpy as np
import pytest

from lutgen.numeric import Format
from lutgen.train.augment import Augment


def rng(seed=0):
    return np.random.default_rng(seed)


def images(count=200):
    """Every pixel of every image another number."""
    return np.arange(count * 4 * 5 * 2, dtype=np.float32).reshape(count, 4, 5, 2)


def test_nothing_asked_nothing_done():
    x = images(3)
    assert Augment()(x, rng()) is x
    assert Augment()(x, rng(), Format(8, False)) is x


def test_half_the_images_are_mirrored():
    x = images()
    y = Augment(flip=True)(x, rng())
    mirrored = (y == x[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (mirrored | (y == x).all(axis=(1, 2, 3))).all()
    assert 70 < mirrored.sum() < 130


def test_shifts_go_every_way_and_repeat_the_edge():
    x = images()
    kept = x.copy()
    y = Augment(shift=2)(x, rng())
    np.testing.assert_array_equal(x, kept)
    seen = set()
    rows, columns = np.arange(4), np.arange(5)
    for before, after in zip(x, y, strict=True):
        places = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(
                after,
                before[np.clip(rows + down, 0, 3)][:, np.clip(columns + right, 0, 4)],
            )
        ]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) == 25


def test_vectors_neither_flip_nor_shift():
    x = np.arange(12.0).reshape(2, 6)
    np.testing.assert_array_equal(Augment(flip=True, shift=3)(x, rng()), x)


def test_noise():
    x = np.full((50, 40), 3, dtype=np.float32)
    y = Augment(noise=0.5)(x, rng())
    assert y.dtype == np.float32
    assert (y - x).std() == pytest.approx(0.5, rel=0.1)
    assert len(np.unique(y)) > 1900


def test_noise_on_integers_stays_in_their_format():
    fmt = Format(3, True)
    q = np.zeros((30, 50), dtype=np.int32)
    y = Augment(noise=3.0)(q, rng(), fmt)
    assert set(np.unique(y)) == set(range(fmt.low, fmt.high + 1))
    y = Augment(noise=0.4)(q, rng(), Format(8, True))
    assert y.mean() == pytest.approx(0, abs=0.05)  # to the nearest, not downwards


def test_the_generator_decides():
    x = images(20)
    augment = Augment(flip=True, shift=1, noise=1.0)
    one, other, third = (augment(x, rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, third)


@pytest.mark.parametrize("options", [{"shift": -1}, {"noise": -0.5}])
def test_what_cannot_be(options):
    with pytest.raises(
        ValueError, match=r"^Shift and noise of an augmentation must not be negative$"
    ):
        Augment(**options)
