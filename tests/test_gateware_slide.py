"""Whole windows in registers, in Amaranth's simulator against windows cut out in numpy."""

import numpy as np
import pytest
from streams import beats_of, numbers, stage
from test_gateware_ring import random_window

from lutgen.gateware.slide import SlideStage
from lutgen.numeric import Format
from lutgen.spec.ring import RingSpec
from lutgen.spec.slide import SlideSpec


@pytest.mark.parametrize("seed", range(12))
def test_slide_stage(seed):
    """Every element in its place; indices outside the image are marked, activations are 0."""
    rng = np.random.default_rng(seed)
    window = random_window(rng)
    channels = int(rng.integers(1, 4))
    marked = bool(seed % 2)
    element = Format(int(rng.integers(2, 6)), not marked and bool(rng.random() < 0.5))
    rows = int(rng.integers(RingSpec.least_rows(window), RingSpec.ample_rows(window) + 1))
    order = "chw" if rng.random() < 0.5 else "hwc"
    spec = SlideSpec(window, channels, element, order, marked, rows)
    images = numbers(rng, element, (3, window.height, window.width, channels))
    mark = 1 << element.bits
    taps = [tap for _, _, tap in window.taps(window.surround(images, mark if marked else 0))]
    flat = np.stack(taps, axis=3 if order == "hwc" else 4)
    want = flat.reshape(-1, spec.elements)
    i_lanes = int(rng.integers(1, channels + 1))
    unit = SlideStage(spec, i_lanes)
    payloads = [beat for x in images for beat in beats_of(x.ravel().tolist(), i_lanes, [0] * 8)]
    got, reserved, pushed = stage(unit, [(unit.i, payloads)], len(want), seed=seed, gaps=0.3)
    got = np.array(got)
    if marked:  # what stands beside a mark is nothing
        got = np.where(got >= mark, mark, got)
    assert got.tolist() == want.tolist()
    assert max(b - a for a, b in zip(reserved, pushed, strict=True)) <= spec.latency
