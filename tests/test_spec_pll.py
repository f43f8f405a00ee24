"""Clocks of phase-locked loops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutgen.spec.pll import Ecp5Pll, Ice40Pll, ecp5_pll, ice40_pll


@given(st.floats(10e6, 60e6), st.floats(16e6, 275e6))
def test_an_ice40_clock_is_legal_and_just_below_what_was_asked(source, most):
    pll = ice40_pll(source, most)
    if pll is None:
        assert most < 17e6  # the slowest that the oscillator allows
        return
    assert pll.legal
    assert pll.hz <= most
    # A step of the feedback divider at the slowest oscillator.
    assert pll.hz >= most * 0.9


@given(st.floats(10e6, 100e6), st.floats(12e6, 300e6))
def test_an_ecp5_clock_is_legal_and_just_below_what_was_asked(source, most):
    pll = ecp5_pll(source, most)
    if pll is None:
        assert source > most
        return
    assert pll.legal
    assert pll.hz <= most
    assert pll.vco == pytest.approx(pll.hz * pll.out)


def test_known_settings():
    """Those that icepll and ecppll print for 12 to 24 MHz, and 25 to 50 MHz."""
    found = ice40_pll(12e6, 24e6)
    assert (found.divr, found.divf, found.divq, found.filter_range) == (0, 63, 5, 1)
    assert found.hz == 24e6
    assert ecp5_pll(25e6, 50e6).hz == 50e6


def test_what_is_out_of_the_data_sheets_is_not_legal():
    assert not Ice40Pll(12e6, 0, 20, 1).legal  # the oscillator at 252 MHz
    assert not Ice40Pll(12e6, 1, 63, 4).legal  # the reference at 6 MHz
    assert not Ecp5Pll(25e6, 1, 2, 4).legal  # the oscillator at 200 MHz
    assert ice40_pll(12e6, 15e6) is None
