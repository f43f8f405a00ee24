"""The blocks' parameter objects: widths in the worst case, references against loops, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutgen.numeric import Format, Grid
from lutgen.spec import (
    METRICS,
    BankSpec,
    DigitSpec,
    DistanceSpec,
    EncoderSpec,
    LinearSpec,
    RequantiserSpec,
    TreeSpec,
    acc_format,
    format_acc_format,
)
from lutgen.spec.argmax import ArgmaxSpec
from lutgen.spec.network import NetworkSpec, PortSpec, Stage
from lutgen.spec.stream import RegrouperSpec

formats = st.builds(Format, st.integers(2, 16), st.booleans())
seeds = st.integers(0, 2**32 - 1)


def linear(**changes):
    """A small layer, with some fields changed."""
    fields = {
        "in_features": 10,
        "out_features": 6,
        "element": Format(8, False),
        "subvec": 3,
        "centroids": 5,
        "metric": "l1",
        "grid": Grid("int", 8),
        "acc": Format(12, True),
        "shift": 0,
        "output": None,
    }
    return LinearSpec(**{**fields, **changes})


def distance(metric, a, b):
    """Plain Python, from the definition."""
    terms = [abs(x - c) for x, c in zip(a, b, strict=True)]
    if metric == "l2":
        return sum(t * t for t in terms)
    return max(terms) if metric == "chebyshev" else sum(terms)


@given(st.sampled_from(METRICS), st.integers(1, 9), formats)
def test_distance_width_holds_the_worst_case(metric, dims, element):
    spec = DistanceSpec(metric, dims, element)
    x, c = np.full(dims, element.low), np.full(dims, element.high)
    worst = int(spec.compute(x, c))
    assert worst == spec.high == distance(metric, x.tolist(), c.tolist())
    assert spec.output.holds(0, worst)
    assert not Format(max(1, spec.output.bits - 1), False).holds(0, worst) or worst < 2


@given(st.sampled_from(METRICS), formats, st.integers(1, 5), st.integers(2, 9), seeds)
def test_encoder_equals_loops(metric, element, subvec, centroids, seed):
    rng = np.random.default_rng(seed)
    high = element.high if seed % 2 else min(element.high, element.low + 3)  # few values: ties
    books = rng.integers(element.low, high + 1, (3, centroids, subvec))
    x = rng.integers(element.low, high + 1, (7, 3, subvec))
    spec = EncoderSpec(element, subvec, centroids, metric, 1, 1)
    got = spec.compute(x, books)
    for i in range(7):
        for g in range(3):
            costs = [distance(metric, x[i, g].tolist(), c) for c in books[g].tolist()]
            assert got[i, g] == costs.index(min(costs))


@given(formats, st.integers(1, 4), seeds)
def test_digits_put_the_number_together_again(element, digit_bits, seed):
    spec = DigitSpec(element, 1 << digit_bits)
    x = np.random.default_rng(seed).integers(element.low, element.high + 1, (5, 3))
    digits = spec.compute(x).reshape(5, 3, spec.digits)
    worth = np.take_along_axis(spec.weights().T, digits.reshape(-1, spec.digits), axis=0)
    assert np.array_equal(worth.sum(axis=1), x.ravel())


@given(seeds)
def test_accumulator_format_is_tight(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-128, 128, (4, 3, 2))
    bias = rng.integers(-999, 999, 2)
    fmt = acc_format(values, bias)
    sums = [
        int(sum(values[g, j[g], n] for g in range(4)) + bias[n])
        for j in np.ndindex(3, 3, 3, 3)
        for n in range(2)
    ]
    assert fmt.holds(min(sums), max(sums))
    assert not Format(fmt.bits - 1, True).holds(min(sums), max(sums))


@given(st.integers(1, 300), st.integers(2, 8))
def test_accumulator_format_for_any_table(codebooks, bits):
    grid = Grid("int", bits)
    fmt = format_acc_format(codebooks, grid)
    assert fmt.holds(2 * codebooks * grid.low, 2 * codebooks * grid.high)


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 12))
def test_regrouper_counts(items, i_items, o_items):
    spec = RegrouperSpec(items, i_items, o_items)
    assert spec.i_parts * spec.part == min(i_items, items)
    assert spec.o_parts * spec.part == min(o_items, items)
    assert 1 <= spec.last_i_parts <= spec.i_parts
    assert 1 <= spec.last_o_parts <= spec.o_parts
    assert 1 <= spec.last_items <= o_items
    assert (spec.groups - 1) * o_items + spec.last_items == items


@given(seeds, st.integers(1, 6), st.integers(1, 4))
def test_bank_rows_hold_every_code_once(seed, lanes, fan_in):
    rng = np.random.default_rng(seed)
    spec = linear(lanes=lanes, fan_in=fan_in)
    table = rng.integers(0, 256, (4, 5, 6))
    rows = spec.bank_rows(table)
    assert rows.shape == (fan_in, spec.bank.depth, lanes)
    for g, j, n in np.ndindex(4, 5, 6):
        tile, lane = divmod(n, lanes)
        group, bank = divmod(g, fan_in)
        assert rows[bank, (tile * spec.groups + group) * 5 + j, lane] == table[g, j, n]


def test_encoder_rows_repeat_the_last_centroid():
    spec = EncoderSpec(Format(8, False), 3, 5, "l1", 4, 2)
    rows = spec.rows(np.arange(1, 16).reshape(1, 5, 3))
    assert rows.shape == (spec.interval, 4, 2) == (4, 4, 2)
    assert rows[0].tolist() == [[1, 2], [4, 5], [7, 8], [10, 11]]
    assert rows[1].tolist() == [[3, 0], [6, 0], [9, 0], [12, 0]]
    assert rows[2].tolist() == [[13, 14]] * 4


ERRORS = [
    (
        lambda: DistanceSpec("cosine", 4, Format(8, False)),
        "Metric must be one of l1, l2, chebyshev, not 'cosine'",
    ),
    (
        lambda: DistanceSpec("l1", 0, Format(8, False)),
        "Dimensions of a distance unit must be a positive integer, not 0",
    ),
    (
        lambda: EncoderSpec(Format(8, False), -1, 16, "l1", 1, 1),
        "Sub-vector length must be a positive integer, not -1",
    ),
    (
        lambda: EncoderSpec(Format(8, False), 4, 1, "l1", 1, 1),
        "Centroids must be an integer of at least 2, not 1",
    ),
    (
        lambda: EncoderSpec(Format(8, False), 4, 16, "l1", 17, 1),
        "Encoder centroids per cycle must be an integer between 1 and 16, not 17",
    ),
    (
        lambda: EncoderSpec(Format(8, False), 4, 16, "l1", 1, 0),
        "Encoder dimensions per cycle must be an integer between 1 and 4, not 0",
    ),
    (
        lambda: DigitSpec(Format(8, False), 6),
        "Centroids of a digit layer must be a power of two, not 6",
    ),
    (
        lambda: linear(subvec=11),
        "Sub-vector length must not exceed the 10 input features, as 11 does",
    ),
    (
        lambda: linear(metric="cosine"),
        "Metric must be one of l1, l2, chebyshev, digit, not 'cosine'",
    ),
    (
        lambda: linear(metric="digit", centroids=4),
        "Sub-vector length of digit layers must be 1, not 3",
    ),
    (lambda: linear(lanes=0), "Lanes must be an integer between 1 and 6, not 0"),
    (lambda: linear(fan_in=5), "Fan-in must be an integer between 1 and 4, not 5"),
    (lambda: linear(memory="flash"), "Memory must be one of rom, ram, not 'flash'"),
    (lambda: linear(shift=2), "Shift must be 0 where accumulators are the output, not 2"),
    (lambda: linear(acc=Format(12, False)), "Accumulator format must be signed"),
    (
        lambda: RequantiserSpec(Format(8, True), -1, None),
        "Shift must be an integer between 0 and 62, not -1",
    ),
    (
        lambda: TreeSpec(0, Format(8, True), Format(9, True)),
        "Inputs of an accumulator tree must be a positive integer, not 0",
    ),
    (
        lambda: BankSpec(0, 1, Grid("int", 8)),
        "Depth of a LUT bank must be a positive integer, not 0",
    ),
    (
        lambda: ArgmaxSpec(0, Format(8, True), 1),
        "Elements of an argmax must be a positive integer, not 0",
    ),
    (lambda: Format(0, True), "Bits of a format must be a positive integer, not 0"),
    (lambda: Grid("int", 1), "Bits of a grid must be an integer between 2 and 16, not 1"),
    (lambda: Grid("pow2", 2), "Grid kind 'pow2' must come with values"),
    (
        lambda: NetworkSpec(
            "net",
            PortSpec(10, Format(8, False), 11),
            (
                Stage(
                    *("fc", "lut_linear", ("input",), linear(), 11),
                    PortSpec(6, Format(12, True), 1),
                ),
            ),
        ),
        "Input lanes must be an integer between 1 and 10, not 11",
    ),
    (
        lambda: NetworkSpec("net", PortSpec(10, Format(8, False), 1), ()),
        "A network core must have at least one stage",
    ),
]


@pytest.mark.parametrize(("make", "text"), ERRORS)
def test_errors(make, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole text is compared)
        make()
    assert str(caught.value) == text


def test_type_errors():
    for value in (1.5, "3", True, None):
        with pytest.raises(TypeError, match=r"^Lanes must be an integer, not "):
            linear(lanes=value)
