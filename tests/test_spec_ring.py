"""Queues, line buffers and feeders: counts against the definition, and errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutgen.spec.conv import FeederSpec
from lutgen.spec.fifo import FifoSpec
from lutgen.spec.ring import RingSpec, WalkSpec
from lutgen.spec.window import WindowSpec


@st.composite
def windows(draw):
    """Small windows that fit their images."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pad = tuple(draw(st.integers(0, k - 1)) for k in (*kernel, *kernel))
    height = draw(st.integers(max(1, kernel[0] - pad[0] - pad[2]), 8))
    width = draw(st.integers(max(1, kernel[1] - pad[1] - pad[3]), 8))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    return WindowSpec(height, width, kernel, stride, pad)


def pixels_of(window):
    """The image's pixels in every window."""
    numbers = np.arange(window.height * window.width).reshape(1, window.height, window.width)
    padded = window.surround(numbers, -1)
    taps = np.stack([tap[0].reshape(-1) for _, _, tap in window.taps(padded)], axis=1)
    return [row[row >= 0] for row in taps]


@given(windows(), st.integers(0, 3))
def test_rings_know_what_windows_need(window, spare):
    least, ample = RingSpec.least_rows(window), RingSpec.ample_rows(window)
    assert least <= ample
    ring = RingSpec(window, 1, least + spare)
    pixels = pixels_of(window)
    assert ring.needs.tolist() == [each.max() for each in pixels]
    for number in range(window.count):
        # Nothing is given free that this window or a later one needs.
        assert ring.frees[number] <= min(each.min() for each in pixels[number:])
    assert (np.diff(ring.frees) >= 0).all()
    assert ring.frees[-1] == ring.pixels
    # A window fits: its last pixel has a place while its first one is kept.
    assert (ring.needs - ring.frees[:-1] < ring.capacity).all()


@given(st.integers(1, 9), st.integers(1, 40))
def test_queues(width, depth):
    spec = FifoSpec(width, depth)
    assert spec.in_memory == (spec.memory_rows > 0)
    assert spec.memory_rows < depth
    assert spec.bits == width * depth


def feeder(**changes):
    """A small feeder, with some fields changed."""
    fields = {
        "area": 9,
        "channels": 4,
        "word": 2,
        "order": "hwc",
        "per_element": 1,
        "group": 4,
        "steps": 3,
    }
    return FeederSpec(**{**fields, **changes})


def test_feeder_schedule():
    """Two words make a group of four; nine times two words make nine blocks."""
    spec = feeder()
    assert (spec.reads, spec.last_reads, spec.blocks, spec.groups) == (2, 2, 9, 1)
    assert (spec.period, spec.interval) == (3, 27)
    assert (spec.read_latency, spec.latency) == (8 * 3 + 1, 8 * 3 + 2 + 3)


RING = RingSpec(WindowSpec(5, 5, (3, 3), (1, 1)), 2, 3)
ERRORS = [
    (lambda: FifoSpec(0, 2), "Width of a queue must be a positive integer, not 0"),
    (lambda: FifoSpec(3, 0), "Depth of a queue must be a positive integer, not 0"),
    (
        lambda: RingSpec(RING.window, 2, 2),
        "Rows of a line buffer must be an integer of at least 3, not 2",
    ),
    (lambda: RingSpec(RING.window, 0, 3), "Words of a pixel must be a positive integer, not 0"),
    (lambda: WalkSpec(RING, 0, False), "Outer turns must be a positive integer, not 0"),
    (lambda: WalkSpec(RING, 3, True), "Outer turns must be the 2 words of a pixel, not 3"),
    (
        lambda: feeder(word=3),
        "Window channels must divide the 4 channels and make whole groups of 4 items, as 3 do not",
    ),
]


@pytest.mark.parametrize(("make", "text"), ERRORS)
def test_errors(make, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole text is compared)
        make()
    assert str(caught.value) == text
