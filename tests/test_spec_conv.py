"""The parameter objects of convolutions, pools, joins and maps: shapes, widths, errors."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutgen.numeric import Format, Grid
from lutgen.spec.conv import Conv2dSpec, pixel_acc_format
from lutgen.spec.pointwise import AddSpec, MapSpec
from lutgen.spec.pool import AvgPool2dSpec, MaxPool2dSpec
from lutgen.spec.window import WindowSpec

formats = st.builds(Format, st.integers(2, 16), st.booleans())


@st.composite
def window_specs(draw, *, pad=True):
    """Windows on images of up to 7 by 7 pixels."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pads = [draw(st.integers(0, k - 1)) if pad else 0 for k in (*kernel, *kernel)]
    height = draw(st.integers(max(1, kernel[0] - pads[0] - pads[2]), 7))
    width = draw(st.integers(max(1, kernel[1] - pads[1] - pads[3]), 7))
    stride = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    return WindowSpec(height, width, kernel, stride, tuple(pads))


def windows(spec):
    """For each window the taps that lie in the image."""
    top, left, bottom, right = spec.pad
    for y in range(-top, spec.height + bottom - spec.kernel[0] + 1, spec.stride[0]):
        for x in range(-left, spec.width + right - spec.kernel[1] + 1, spec.stride[1]):
            yield [
                (ky, kx)
                for ky, kx in product(range(spec.kernel[0]), range(spec.kernel[1]))
                if 0 <= y + ky < spec.height and 0 <= x + kx < spec.width
            ]


@given(window_specs())
def test_windows(spec):
    found = list(windows(spec))
    assert all(found)  # none lies outside
    assert len(found) == spec.count == spec.rows * spec.columns
    parts = {tuple(product(range(*rows), range(*columns))): None for rows, columns in spec.spans()}
    assert set(parts) == {tuple(taps) for taps in found}
    image = np.arange(1, 1 + spec.height * spec.width).reshape(1, spec.height, spec.width)
    taps = {(y, x): view[0].ravel() for y, x, view in spec.taps(spec.surround(image, 0))}
    assert list(taps) == list(product(range(spec.kernel[0]), range(spec.kernel[1])))
    for number, inside in enumerate(found):
        for position, values in taps.items():
            assert (values[number] > 0) == (position in inside)


@given(window_specs(), st.integers(0, 2**32 - 1))
def test_accumulator_format_is_tight(spec, seed):
    rng = np.random.default_rng(seed)
    low, high = [(-128, 128), (0, 128), (-128, 0)][seed % 3]
    values = rng.integers(low, high, (*spec.kernel, 2, 3, 2))
    bias = rng.integers(-99, 99, 2)
    fmt = pixel_acc_format(spec, values, bias)
    ends = [
        int(sum(getattr(values[tap], end)(axis=1).sum(axis=0)[n] for tap in taps) + bias[n])
        for taps in windows(spec)
        for n in range(2)
        for end in ("min", "max")
    ]
    assert fmt.signed
    assert fmt.holds(min(ends), max(ends))
    assert fmt.bits == 1 or not Format(fmt.bits - 1, True).holds(min(*ends, -1), max(*ends, 0))


@given(
    window_specs(pad=False),
    formats,
    formats,
    st.sampled_from([1, 21845, 65535]),
    st.integers(0, 31),
)
def test_average_widths_hold_the_worst_case(window, element, output, multiplier, shift):
    spec = AvgPool2dSpec(window, element, multiplier, shift, output)
    shape = (1, window.height, window.width, 1)
    for extreme in (element.low, element.high):
        total = extreme * window.area
        assert spec.sum.holds(total, total)
        assert spec.acc.holds(total * multiplier, total * multiplier)
        half = 1 << (shift - 1) if shift else 0
        want = min(max((total * multiplier + half) >> shift, output.low), output.high)
        assert set(spec.compute(np.full(shape, extreme)).ravel().tolist()) == {want}
    assert spec.acc.signed
    assert (spec.result, spec.sum.signed) == (output, True)


@given(st.lists(st.tuples(formats, st.integers(0, 15)), min_size=2, max_size=5))
def test_sum_width_is_tight(inputs):
    elements, lefts = zip(*inputs, strict=True)
    acc = AddSpec(elements, lefts, 0, Format(8, True)).acc
    low = sum(e.low << left for e, left in inputs)
    high = sum(e.high << left for e, left in inputs)
    assert acc.signed
    assert acc.holds(low, high)
    assert not Format(acc.bits - 1, True).holds(low, high)


def test_map_entries_are_bit_patterns():
    spec = MapSpec(Format(3, True), Format(4, False))
    assert (spec.depth, spec.bits) == (8, 32)
    got = spec.compute([0, 3, -4, -1], np.arange(8, 16))
    assert got.tolist() == [8, 11, 12, 15]
    assert got.dtype == np.int64


def test_max_pool_keeps_the_format():
    spec = MaxPool2dSpec(WindowSpec(5, 5, (2, 2), (2, 2)), Format(6, True))
    assert spec.result == Format(6, True)
    assert spec.compute(np.arange(-25, 0).reshape(1, 5, 5, 1)).ravel().tolist() == [
        *(-19, -17),
        *(-9, -7),
    ]


def window(**changes):
    """A 3x3 kernel on 5x6 pixels, with some fields changed."""
    fields = {"height": 5, "width": 6, "kernel": (3, 3), "stride": (1, 1), "pad": (1, 1, 1, 1)}
    return WindowSpec(**{**fields, **changes})


def conv(**changes):
    """A small convolution, with some fields changed."""
    fields = {
        "window": window(),
        "in_channels": 4,
        "out_channels": 6,
        "element": Format(8, False),
        "encode": "pixel",
        "order": "hwc",
        "subvec": 2,
        "centroids": 5,
        "metric": "l1",
        "grid": Grid("int", 8),
        "acc": Format(16, True),
        "shift": 4,
        "output": Format(8, False),
    }
    return Conv2dSpec(**{**fields, **changes})


def test_codebooks_of_a_convolution():
    assert conv().codebooks == 2
    assert conv(encode="window", subvec=5).codebooks == 8
    assert conv(encode="window", metric="digit", subvec=1, centroids=4).codebooks == 144
    assert conv(metric="digit", subvec=1, centroids=8).codebooks == 12
    assert conv().result == Format(8, False)
    assert conv(shift=0, output=None).result == Format(16, True)


EIGHT = Format(8, False)
ERRORS = [
    (lambda: window(height=0), "Height of an image must be a positive integer, not 0"),
    (lambda: window(kernel=(0, 3)), "Kernel must be a positive integer, not 0"),
    (lambda: window(stride=(1, 0)), "Stride must be a positive integer, not 0"),
    (lambda: window(pad=(0, 0, 3, 0)), "Padding must be an integer between 0 and 2, not 3"),
    (
        lambda: window(kernel=(3, 9)),
        "Kernel must fit the padded image of 7x8, not be 3x9",
    ),
    (lambda: conv(encode="tap"), "Encode must be one of window, pixel, not 'tap'"),
    (lambda: conv(encode="window", order="cwh"), "Order must be one of hwc, chw, not 'cwh'"),
    (lambda: conv(order="chw"), "Order must be hwc for encode 'pixel', not 'chw'"),
    (lambda: conv(out_channels=0), "Output channels must be a positive integer, not 0"),
    (
        lambda: conv(subvec=5),
        "Sub-vector length must not exceed the 4 input features, as 5 does",
    ),
    (
        lambda: MaxPool2dSpec(window(), EIGHT),
        "Padding of a pooling must be 0, not (1, 1, 1, 1)",
    ),
    (
        lambda: AvgPool2dSpec(window(pad=(0, 0, 0, 0)), EIGHT, 65536, 0, EIGHT),
        "Multiplier must be an integer between 1 and 65535, not 65536",
    ),
    (
        lambda: AvgPool2dSpec(window(pad=(0, 0, 0, 0)), EIGHT, 1, 32, EIGHT),
        "Shift must be an integer between 0 and 31, not 32",
    ),
    (lambda: AddSpec((EIGHT,), (0,), 0, EIGHT), "A sum must have at least 2 inputs, not 1"),
    (
        lambda: AddSpec((EIGHT, EIGHT), (0,), 0, EIGHT),
        "Left shifts must be as many as the 2 inputs, not 1",
    ),
    (
        lambda: AddSpec((EIGHT, EIGHT), (0, 16), 0, EIGHT),
        "Left shift must be an integer between 0 and 15, not 16",
    ),
]


@pytest.mark.parametrize(("make", "text"), ERRORS)
def test_errors(make, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole text is compared)
        make()
    assert str(caught.value) == text
