"""Formats, rounding, saturation, requantisation and grids, against their definitions."""

import re
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutgen.numeric import (
    Format,
    Grid,
    as_int,
    ceil_div,
    clog2,
    format_for,
    quantise,
    requantise,
    round_half_up,
)

formats = st.builds(Format, st.integers(1, 24), st.booleans())
wide = st.integers(-(1 << 40), 1 << 40)


@given(formats)
def test_format_range(fmt):
    assert fmt.high - fmt.low + 1 == 1 << fmt.bits
    assert fmt.low == (-(1 << (fmt.bits - 1)) if fmt.signed else 0)
    assert fmt.holds(fmt.low, fmt.high)
    assert not fmt.holds(fmt.low - 1, fmt.high)
    assert not fmt.holds(fmt.low, fmt.high + 1)


def test_format_text_and_checks():
    assert str(Format(8, False)) == "uint8"
    assert str(Format(3, True)) == "int3"
    with pytest.raises(ValueError, match=r"^Bits of a format must be a positive integer, not 0$"):
        Format(0, False)
    with pytest.raises(TypeError, match=r"^Signedness of a format must be a boolean, not 1$"):
        Format(8, 1)


@given(wide, wide)
def test_format_for_is_the_narrowest(a, b):
    low, high = sorted((a, b))
    fmt = format_for(low, high)
    assert fmt.holds(low, high)
    assert fmt.signed == (low < 0)
    if fmt.bits > 1:
        assert not Format(fmt.bits - 1, fmt.signed).holds(low, high)


def test_format_for_of_nothing():
    assert format_for(0, 0) == Format(1, False)
    assert format_for(-1, -1) == Format(1, True)
    assert format_for(-8, -8) == Format(4, True)
    with pytest.raises(ValueError, match=r"^A range must not be empty, as 2\.\.1 is$"):
        format_for(2, 1)


@given(st.integers(0, 10**6), st.integers(1, 10**4))
def test_ceil_div(a, b):
    q = ceil_div(a, b)
    assert q * b >= a > (q - 1) * b


@given(st.integers(1, 1 << 40))
def test_clog2(n):
    b = clog2(n)
    assert (1 << b) >= n
    assert b == 0 or (1 << (b - 1)) < n


@pytest.mark.parametrize(
    ("value", "bounds", "text"),
    [
        (-1, {"low": 1}, "N must be a positive integer, not -1"),
        (-1, {"low": 0}, "N must be a non-negative integer, not -1"),
        (1, {"low": 2}, "N must be an integer of at least 2, not 1"),
        (1, {"low": 2, "high": 5}, "N must be an integer between 2 and 5, not 1"),
        (6, {"low": 2, "high": 5}, "N must be an integer between 2 and 5, not 6"),
    ],
)
def test_as_int_out_of_range(value, bounds, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        as_int(value, "N", **bounds)


@pytest.mark.parametrize("value", [True, np.True_, 1.0, "1", None])
def test_as_int_takes_integers_only(value):
    with pytest.raises(TypeError) as caught:
        as_int(value, "N")
    assert str(caught.value) == f"N must be an integer, not {value!r}"
    assert as_int(np.int16(3), "N") == 3


@given(st.integers(-(10**6), 10**6), st.integers(1, 4096), formats)
def test_quantise(n, d, fmt):
    scale = 0.25  # exact in binary, so that Fraction and float64 see the same number
    x = n / 1024 * d
    want = min(max(floor(Fraction(x) / Fraction(scale) + Fraction(1, 2)), fmt.low), fmt.high)
    assert quantise([x], scale, fmt).tolist() == [want]


def test_round_half_up():
    assert round_half_up([-1.5, -0.5, 0.5, 1.5, 2.4]).tolist() == [-1, 0, 1, 2, 2]


@given(wide, st.integers(0, 40), formats)
def test_requantise(acc, shift, fmt):
    exact = floor(Fraction(acc, 1 << shift) + Fraction(1, 2)) if shift else acc
    want = min(max(exact, fmt.low), fmt.high)
    result = requantise([acc], shift, fmt)
    assert result.dtype == np.int64
    assert result.tolist() == [want]


@given(st.integers(2, 16))
def test_int_grid(bits):
    grid = Grid("int", bits)
    codes = np.arange(grid.codes)
    values = grid.decode(codes)
    assert sorted(values.tolist()) == list(range(grid.low, grid.high + 1))
    assert np.array_equal(grid.encode(values), codes)
    with pytest.raises(ValueError, match="to have an int code"):
        grid.encode([grid.high + 1])


@given(st.integers(2, 6), st.data())
def test_other_grids(bits, data):
    value = st.integers(-(1 << 15), (1 << 15) - 1)
    values = data.draw(st.lists(value, min_size=1 << bits, max_size=1 << bits))
    grid = Grid("any", bits, np.array(values, dtype=np.int16))
    assert grid.decode(np.arange(1 << bits)).tolist() == values
    assert (grid.low, grid.high) == (min(values), max(values))
    wanted = data.draw(st.integers(-(1 << 16), 1 << 16))
    (code,) = grid.encode([wanted]).tolist()
    assert abs(values[code] - wanted) == min(abs(v - wanted) for v in values)


def test_grid_checks():
    with pytest.raises(ValueError, match=r"^Grid kind 'int' must not have values$"):
        Grid("int", 2, np.zeros(4, dtype=np.int16))
    with pytest.raises(ValueError, match=r"^Grid kind 'posit' must come with values$"):
        Grid("posit", 2)
    with pytest.raises(ValueError, match=r"^Grid values must have the shape \(4,\), not \(3,\)$"):
        Grid("posit", 2, np.zeros(3, dtype=np.int16))
    with pytest.raises(ValueError, match="between 2 and 16"):
        Grid("int", 17)
    a = Grid("k", 2, np.array([0, 1, 2, 3], dtype=np.int16))
    b = Grid("k", 2, np.array([0, 1, 2, 4], dtype=np.int16))
    assert a == Grid("k", 2, a.values.copy())
    assert a != b
    assert a != Grid("int", 2)
