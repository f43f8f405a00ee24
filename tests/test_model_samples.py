"""Samples into a model: shapes and their mends, labels, clamping, values that are none."""

import re

import numpy as np
import pytest

from lutgen.model import Activation
from lutgen.model.samples import as_samples, check_labels, take_samples
from lutgen.model.units import RESCALINGS, Summary, other_units, out_of_range
from lutgen.numeric import check_ints
from lutgen.train import load_data


@pytest.mark.parametrize(
    ("have", "shape"),
    [
        ((8, 6, 3), (8, 6, 3)),
        ((8, 6), (8, 6, 1)),
        ((1, 8, 6), (8, 6, 1)),
        ((48,), (8, 6, 1)),
        ((8, 6), (48,)),
        ((8, 6, 1), (48,)),
        ((5,), (5,)),
        ((5, 1), (5,)),
        ((3,), (1, 1, 3)),
    ],
)
def test_shapes_of_one_order(have, shape):
    """What holds the same elements in the same order is taken as it is."""
    x = np.arange(2 * np.prod(have)).reshape(2, *have)
    found = as_samples(x, shape)
    assert found.shape == (2, *shape)
    assert np.array_equal(found.ravel(), x.ravel())


@pytest.mark.parametrize(
    ("have", "shape", "said"),
    [
        ((3, 8, 6), (8, 6, 3), "channels come first, and must come last"),
        ((3, 8, 8), (8, 8, 3), "channels come first, and must come last"),
        ((6, 8, 3), (8, 6, 3), "rows and columns are swapped"),
        ((3, 6, 8), (8, 6, 3), "columns and channels come before rows"),
        ((8, 6, 3), (3, 8, 6), "channels come last, and must come first"),
        ((8, 3, 6), (8, 6, 3), "columns and channels are swapped"),
        ((6, 8), (8, 6, 1), "rows and columns are swapped"),
        ((144,), (8, 6, 3), "if channels come first in them"),
        ((8, 6, 3), (144,), "gives pixel after pixel"),
        ((1, 8, 6), (48,), "gives pixel after pixel"),
        ((48,), (1, 8, 6), "if channels come first in them"),
        ((48,), (8, 1, 6), "if channels come first in them"),
        ((6, 8), (1, 8, 6), "rows and columns are swapped"),
    ],
)
def test_swaps_are_named_with_their_mend(have, shape, said):
    x = np.zeros((2, *have))
    with pytest.raises(ValueError, match=r"^Samples must have the shape ") as caught:
        as_samples(x, shape, "x_test")
    text = str(caught.value)
    for part in ("x".join(map(str, have)), "x".join(map(str, shape)), said):
        assert part in text
    mends = re.findall(r"x_test(?:\.(?:transpose|reshape)\((?:[^()]|\([^()]*\))*\))+", text)
    assert mends
    for mend in mends:
        mended = eval(mend, {"x_test": x, "len": len})
        assert as_samples(mended, shape).shape == (2, *shape)


def test_a_mend_puts_every_element_in_its_place():
    right = np.arange(2 * 8 * 6 * 3).reshape(2, 8, 6, 3)
    with pytest.raises(ValueError, match=r"x.transpose") as caught:
        as_samples(np.moveaxis(right, 3, 1), (8, 6, 3))
    mend = str(caught.value).rsplit(": ", 1)[1]
    assert np.array_equal(eval(mend, {"x": np.moveaxis(right, 3, 1)}), right)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((8, 6, 3), "this is one sample: give x[None]"),
        ((8, 6, 3, 5), "must along the first: x.transpose(3, 0, 1, 2)"),
        ((2, 9, 9, 9), "give samples as the model was trained on"),
        ((2, 48), "give samples as the model was trained on"),
        ((), "give samples as the model was trained on"),
    ],
)
def test_other_shapes(shape, text):
    with pytest.raises(ValueError, match=r"^Samples must have the shape 8x6x3 ") as caught:
        as_samples(np.zeros(shape), (8, 6, 3))
    assert str(caught.value).endswith(text)


def test_labels():
    assert check_labels(np.array([0, 2], np.uint8), 2, 3).tolist() == [0, 2]
    for labels, text in (
        ([0, 3], "Labels must be classes 0..2, which the model tells apart, not 3; "),
        ([-1, 2], "Labels must be classes 0..2, which the model tells apart, not -1; "),
        ([0], "Labels must have the shape 2, one a sample, not 1"),
        ([[0], [1]], "Labels must have the shape 2, one a sample, not 2x1"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}"):
            check_labels(np.array(labels), 2, 3)
    with pytest.raises(TypeError, match=r"^Labels must be integers, not float64"):
        check_labels(np.zeros(2), 2, 3)


def test_what_is_clamped_is_counted():
    x = np.array([[-0.2, 0.0, 1.0], [1.001, 1.2, 1e300]])
    q, clamped = take_samples(x, (3,), Activation(8, False, 1 / 255))
    assert q.tolist() == [[0, 0, 255], [255, 255, 255]]
    assert clamped == 3  # 1.001 rounds to 255


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_numbers(value):
    x = np.zeros((3, 2))
    x[1, 1] = value
    with pytest.raises(ValueError, match=r"but sample 1 holds NaN or infinity$"):
        take_samples(x, (2,), Activation(8, True, 1.0))
    with pytest.raises(TypeError, match=r"^Samples must be real numbers, not complex128$"):
        take_samples(x.astype(complex), (2,), Activation(8, True, 1.0))


@pytest.mark.parametrize(
    "take",
    [
        lambda x: take_samples(x, (2,), Activation(8, True, 1.0)),
        lambda x: as_samples(x, (2,)),
        lambda x: check_labels(x.ravel(), 6, 2),
        lambda x: check_ints(x, "Values"),
        lambda x: check_ints(list(x), "Values"),
        lambda x: check_ints(tuple(x), "Values"),
    ],
)
def test_what_is_masked_is_no_value(take):
    x = np.ma.array(np.ones((3, 2), int), mask=False)
    take(x)
    x[1, 0] = np.ma.masked
    with pytest.raises(TypeError, match=r" must not be masked; give the values to compute with "):
        take(x)
    take(x.filled(0))


def summary(x):
    return Summary.of(np.asarray(x))


RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (200, 12)) * (RNG.random((200, 12)) < 0.4)


DIGITS = load_data("digits")

# Of samples in 0..1; 255 times that is nothing that they move or stretch.
UNIT = ("{x} * 2 - 1", "{x} - 0.5", "{x} + 0.5", "({x} + 0.5) * 255")


def said(train, test):
    return other_units(summary(test), summary(train), of="those of x_train", name="x_test")


@pytest.mark.parametrize("expression", RESCALINGS)
def test_other_units_are_noticed_with_their_mend(expression):
    """Of every rescaling, what makes the samples like those known again is named."""
    factor, offset = RESCALINGS[expression]
    test = PIXELS - 128 if "+ 128" in expression else PIXELS * 1.0
    test = PIXELS / 255 if expression in UNIT else test
    test = PIXELS / 127.5 - 1 if "+ 1)" in expression else test
    train = test * factor + offset
    text = said(train, test)
    mended = re.search("; (.+) would be like them$", text)
    assert mended, text
    again = eval(mended[1], {"x_test": test})
    assert abs(again.std() / train.std() - 1) < 0.07
    assert not said(train, again)


def test_the_same_units_are_not_complained_of():
    assert not said(PIXELS[:100], PIXELS[100:])
    assert not said(PIXELS, PIXELS[:2])
    assert not said(PIXELS[:100], PIXELS[100:] * 0.7)  # a little darker
    assert not said(PIXELS * 0.0, PIXELS * 0.0)


def test_units_of_a_few_samples():
    assert "x_test * 255 would be like them" in said(PIXELS, PIXELS[:3] / 255)
    assert "x_test / 255 would be like them" in said(PIXELS / 255, PIXELS[:3])


STROKES = DIGITS.x_train.astype(float) / 16  # half of them 0, the greatest 1
OTHERS = DIGITS.x_test.astype(float) / 16


@pytest.mark.parametrize("count", [20, 29, 30, 359])
@pytest.mark.parametrize(
    ("known", "given", "mend"),
    [
        (lambda x: x * 2 - 1, lambda x: x, "x_test * 2 - 1"),
        (lambda x: x, lambda x: x * 2 - 1, "(x_test + 1) / 2"),
        (lambda x: x * 2, lambda x: x, "x_test * 2"),
        (lambda x: x, lambda x: x * 2, "x_test / 2"),
        (lambda x: x * 255, lambda x: np.floor(x * 128), "x_test * 2"),
        (lambda x: x - 0.5, lambda x: x, "x_test - 0.5"),
        (lambda x: x * 255 / 256, lambda x: x * 255, "x_test / 256"),
        (lambda x: x, lambda x: x / 2.9, None),
        (lambda x: x * 3 + 7, lambda x: x, None),
        (lambda x: (x - 0.3) / 0.38, lambda x: x, None),
        (lambda x: x, lambda x: (x - 0.3) / 0.38, None),
    ],
)
def test_units_that_are_close(count, known, given, mend):
    """Less than a factor of 3, or a deviation apart: mean, deviation and ends all speak for it."""
    right, test = known(OTHERS[:count]), given(OTHERS[:count])
    assert not said(known(STROKES), right)
    found = re.search("; (.+) would be like them$", said(known(STROKES), test))
    assert found
    again = eval(found[1], {"x_test": test})
    assert np.abs(again - right).max() < 0.1 * np.ptp(right)
    if mend:
        assert found[1] == mend


@pytest.mark.parametrize("count", [1, 5, 20, 29, 30, 100])
def test_right_samples_are_not_complained_of(count):
    """Any of them, or those of one class alone; nor a few of what has long tails."""
    rng = np.random.default_rng(count)
    known, order = summary(STROKES), np.argsort(DIGITS.y_test, kind="stable")
    parts = [rng.choice(len(OTHERS), count, replace=False) for _ in range(300)]
    parts += [order[start : start + count] for start in range(0, len(order) - count, 10)]
    for part in parts:
        text = other_units(summary(OTHERS[part]), known, of="those known", name="x")
        assert not text
    if count >= 5:
        bells = rng.normal(size=(4000, 30))
        for start in range(0, 3000, 100):
            assert not said(bells, bells[start : start + count])
            assert not said(np.exp(bells), np.exp(bells[start : start + count]))


def test_units_by_the_format_alone():
    pixels, unit = Activation(8, False, 1.0), Activation(8, False, 1 / 255)
    assert not out_of_range(summary(PIXELS), pixels, "x")
    assert not out_of_range(summary(PIXELS / 255), unit, "x")
    text = out_of_range(summary(PIXELS), unit, "x")
    assert "reach from 0 to 255 with" in text
    assert text.endswith("takes 0 to 1; x / 255 would fill that")
    text = out_of_range(summary(PIXELS / 255), pixels, "x")
    assert text.endswith("takes 0 to 255 in steps of 1; x * 255 would fill that")
    assert out_of_range(summary(PIXELS * 0), pixels, "x").endswith("takes 0 to 255 in steps of 1")


def test_a_summary_is_kept_in_provenance():
    found = summary(PIXELS)
    assert Summary.known({"inputs": found.data()}) == found
    assert np.isclose(found.deviation, PIXELS.std())
    for inputs in (None, {}, {**found.data(), "mean": "much"}, {**found.data(), "low": np.nan}):
        assert Summary.known({"inputs": inputs}) is None
