"""Scales: powers of two apart where results are added up, and the best of those tried."""

import numpy as np
import pytest
from networks import inside, random_lookup_net

from lutgen.numeric import Format
from lutgen.train import scales
from lutgen.train.arch import he
from lutgen.train.conv import Dense
from lutgen.train.convert import LayerOptions, convert
from lutgen.train.floatnet import Add, AvgPool2d, Conv2d, Flatten, FloatNet, Linear, ReLU
from lutgen.train.lookups import Vectors
from lutgen.train.lutnet import Average, Join, LookupNet, LookupOp, Wire, clamped
from lutgen.train.scales import Bases, fit_all, fit_op


def free(op):
    """Nothing is known of the scales around an operation."""
    return Bases(LookupNet((4,), Wire(Format(8, False), 1.0), [op]))


def layer(rng, output, *, bits=4, features=6, outputs=5):
    lookup = Vectors(
        rng.standard_normal((1, features, outputs)).astype(np.float32),
        rng.standard_normal(outputs).astype(np.float32),
        Dense(features),
        Format(6, True),
        1.0,
        bits,
        2,
        4,
        "l2",
    )
    lookup.books[:] = rng.integers(-32, 32, lookup.books.shape)
    return LookupOp("layer", ["input"], lookup, output)


def mean_square(values, wanted):
    return float(np.mean((values - wanted) ** 2))


@pytest.mark.parametrize("output", [None, Format(4, True), Format(4, False), Format(8, True)])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_no_other_table_scale_or_shift_does_better(output, bits):
    rng = np.random.default_rng(bits)
    op = layer(rng, output, bits=bits)
    lookup = op.lookup
    q = rng.integers(-32, 32, (6, 300)).astype(np.float32)
    wire = Wire(Format(6, True), 1.0)
    target = lookup.rows.product(lookup.weight, [q], q.shape) + lookup.bias[:, None]
    fit_op(op, [q], [wire], target, free(op))
    wanted = target if output is None or output.signed else np.maximum(target, 0)
    assert op.wire.scale == lookup.table_scale * 2.0**lookup.shift
    assert lookup.output == output
    chosen = lookup.table_scale, lookup.shift
    best = mean_square(op.forward([q], lookup.integers())[0] * op.wire.scale, wanted)
    # Entries as large as tables hold, and down to an eighth of that, which clips.
    finest = lookup.largest() / lookup.table.high
    assert chosen[0] in [finest * 2.0 ** (-k / 4) for k in range(13)]
    for k in range(13):
        lookup.table_scale = finest * 2.0 ** (-k / 4)
        acc = lookup.accumulate(q, lookup.integers()).astype(np.float64)
        for shift in range(14) if output is not None else [0]:
            y = acc if output is None else clamped(acc, shift, output)[0]
            found = mean_square(y * lookup.table_scale * 2.0**shift, wanted)
            assert best <= found * 1.002  # coarser codes may win by luck


def test_results_that_are_asked_for_without_rounding():
    rng = np.random.default_rng(0)
    op = layer(rng, None, bits=8)
    q = rng.integers(-32, 32, (6, 300)).astype(np.float32)
    fit_op(op, [q], [Wire(Format(6, True), 1.0)], None, free(op))
    got = op.forward([q], op.lookup.integers())[0] * op.wire.scale
    assert mean_square(got, op.lookup.ideal(q)) < 1e-3 * op.lookup.ideal(q).var()


@pytest.mark.parametrize("signed", [False, True])
def test_a_bias_far_above_the_tables_has_a_code(signed):
    rng = np.random.default_rng(1)
    op = layer(rng, Format(8, signed))
    op.lookup.weight *= 1e-12
    op.lookup.bias[:] = [1, 2, 3, 4, 5]
    q = rng.integers(-32, 32, (6, 20)).astype(np.float32)
    fit_op(op, [q], [Wire(Format(6, True), 1.0)], None, free(op))
    y = op.forward([q], op.lookup.integers())[0] * op.wire.scale
    np.testing.assert_allclose(y[:, 0], [1, 2, 3, 4, 5], atol=0.1)


def test_all_weights_zero():
    rng = np.random.default_rng(1)
    op = layer(rng, Format(8, True))
    op.lookup.weight[:] = 0
    op.lookup.bias[:] = 0
    fit_op(op, [np.ones((6, 3), np.float32)], [Wire(Format(6, True), 1.0)], None, free(op))
    assert np.isfinite(op.wire.scale)
    assert not op.forward([np.ones((6, 3), np.float32)], op.lookup.integers())[0].any()


@pytest.mark.parametrize("output", [Format(2, False), Format(4, True), Format(8, False)])
@pytest.mark.parametrize("left", [0, 3, 9])
def test_joins_shift_by_what_serves_best(output, left):
    rng = np.random.default_rng(left)
    join = Join("join", ["a", "b"], output)
    wires = [Wire(Format(16, True), 0.5), Wire(Format(8, False), 0.5 * 2.0**left)]
    xs = [rng.integers(-900, 900, (3, 200)), rng.integers(0, 256, (3, 200))]
    xs = [x.astype(np.float32) for x in xs]
    bases = Bases(
        LookupNet((3,), Wire(Format(8, False), 1.0), [Join("join", ["input"] * 2, output)])
    )
    target = rng.standard_normal((3, 200)).astype(np.float32) + sum(
        x * np.float32(w.scale) for x, w in zip(xs, wires, strict=True)
    )
    fit_op(join, xs, wires, target, bases)
    wanted = target if output.signed else np.maximum(target, 0)
    best = mean_square(join.forward(xs, None)[0] * join.wire.scale, wanted)
    for join.shift in range(20):
        join.form(wires)
        assert best <= mean_square(join.forward(xs, None)[0] * join.wire.scale, wanted) + 1e-9


@pytest.mark.parametrize("element", [Format(16, False), Format(8, True), Format(3, False)])
@pytest.mark.parametrize("output", [Format(2, False), Format(5, True), Format(16, False)])
def test_averages_are_as_fine_as_clips_nothing(element, output):
    rng = np.random.default_rng(element.bits)
    average = Average("a", ["input"], AvgPool2d("a", ["input"], (3, 2), (1, 1)), output)
    x = rng.integers(element.low, element.high + 1, (2, 3, 5, 5)).astype(np.float32)
    wires = [Wire(element, 0.7)]
    fit_op(average, [x], wires, None, free(average))
    y = average.forward([x], None)[0]
    real = average.pool.forward([x], False)[0] * 0.7
    if not output.signed:
        real = np.maximum(real, 0)
    assert np.abs(y * average.wire.scale - real).max() <= 0.52 * average.wire.scale
    peak = np.abs(average.pool.forward([x], False)[0] * 0.7).max()
    assert peak > 0.4 * output.high * average.wire.scale  # half the codes are not idle


def ratios(net):
    """By what the inputs of every join differ, in powers of two; and by what it differs itself."""
    wires = {"input": net.source, **{op.name: op.wire for op in net.ops}}
    for op in net.ops:
        if isinstance(op, Join):
            scales = np.array([wires[name].scale for name in op.inputs])
            yield np.log2(scales / scales.min())
            yield np.log2([op.wire.scale / scales.min()])


@pytest.mark.parametrize("bits", [(2, 9), (12, 17)])
def test_what_joins_add_is_powers_of_two_apart(bits):
    seen = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        net, _, _ = random_lookup_net(rng, steps=4, bits=bits, digit=0.1)
        averages = any(isinstance(op, Average) for op in net.ops)
        for octaves in ratios(net):
            # The multiplier of an average has 16 bits.
            np.testing.assert_allclose(octaves, np.round(octaves), atol=1e-4 if averages else 1e-9)
            assert 0 <= octaves.min()
            assert octaves.max() <= (15 if len(octaves) > 1 else 31)
            seen.extend(octaves)
        for op in net.ops:
            if isinstance(op, Join):
                assert 0 <= op.shift <= 31
    assert len(seen) > 60
    assert max(seen) > 3


def test_scales_behind_a_join_with_the_input_hang_on_the_input():
    rng = np.random.default_rng(0)
    net = FloatNet(
        (6,),
        [
            Linear("fc1", ["input"], he(rng, (6, 6))),
            Add("join", ["fc1", "input"]),
            ReLU("relu", ["join"]),
            Linear("fc2", ["relu"], he(rng, (6, 6))),
            Add("join2", ["fc2", "relu"]),
            Linear("fc3", ["join2"], he(rng, (6, 3))),
        ],
    )
    options = {f"fc{i}": LayerOptions(2, 4, "l1", 8) for i in (1, 2, 3)}
    lookup = convert(net, Wire(Format(8, True), 0.37), options)
    bases = Bases(lookup)
    assert [bases.of(name) for name in ("input", "fc1", "join", "fc2", "join2")] == [0.37] * 5
    assert bases.of("fc3") is None
    low, high = bases.limits("fc2")
    assert (low, high) == (0.37 / 2**15, 0.37 * 2**15)
    bases.note("join", 0.37 * 8)
    assert bases.limits("fc2") == (0.37 * 2.0**-12, 0.37 * 2**15)
    assert bases.of("fc2") == 0.37
    assert bases.limits("fc3") == (0, float("inf"))
    for own in lookup.lookups.values():
        own.books[:] = rng.integers(-128, 128, own.books.shape)
    fit_all(lookup, rng.integers(-128, 128, (6, 50)).astype(np.float32))
    for op in lookup.ops[:-1]:
        octave = np.log2(op.wire.scale / 0.37)
        assert octave == round(octave)


def test_the_first_wire_of_a_class_is_free():
    rng = np.random.default_rng(0)
    net = FloatNet(
        (6,),
        [
            Linear("fc1", ["input"], he(rng, (6, 4))),
            Linear("fc2", ["input"], he(rng, (6, 4))),
            Add("join", ["fc1", "fc2"]),
            Linear("fc3", ["join"], he(rng, (4, 3))),
        ],
    )
    options = {f"fc{i}": LayerOptions(2, 4, "l1", 8) for i in (1, 2, 3)}
    lookup = convert(net, Wire(Format(8, True), 0.37), options)
    bases = Bases(lookup)
    assert bases.of("fc1") is None
    bases.note("fc1", 0.11)
    assert [bases.of(name) for name in ("fc1", "fc2", "join")] == [0.11] * 3


def pools_beside_each_other(rng, kernel):
    """Two average pools of different windows, and a convolution, all added up."""
    kh, kw = kernel
    return FloatNet(
        (7, 7, 2),
        [
            Conv2d("conv", ["input"], he(rng, (kh, kw, 2, 2))),
            AvgPool2d("pool1", ["input"], kernel, (1, 1)),
            AvgPool2d("pool2", ["input"], (1, 1), (1, 1)),
            AvgPool2d("pool3", ["pool2"], kernel, (1, 1)),
            Add("join", ["conv", "pool1", "pool3"]),
            Flatten("flatten", ["join"]),
            Linear("fc", ["flatten"], he(rng, ((8 - kh) * (8 - kw) * 2, 3))),
        ],
    )


@pytest.mark.parametrize("kernel", [(3, 3), (2, 2), (5, 7), (1, 3)])
def test_joins_of_pools_add_what_they_should(kernel):
    rng = np.random.default_rng(1)
    origin = pools_beside_each_other(rng, kernel)
    options = {name: LayerOptions(1, 4, "digit", 24, 12) for name in ("conv", "fc")}
    net = convert(origin, Wire(Format(8, False), 1 / 256), options, activation_bits=12)
    x = inside(rng.integers(0, 256, (20, 7, 7, 2)), net)
    fit_all(net, x)
    values = {}
    net.run(x, visit=lambda op, y: values.update({op.name: y * op.wire.scale}))
    real = {}
    origin.run(x / np.float32(256), lambda layer, y: real.update({layer.name: y}))
    assert mean_square(values["join"], real["join"]) < 1e-5 * real["join"].var()


@pytest.mark.parametrize("aimed", [False, True])
def test_layers_of_many_centroids_look_at_fewer_samples(aimed, monkeypatch):
    monkeypatch.setattr(scales, "PLACED", 12 * 70)  # 3 codebooks of 4 centroids
    rng = np.random.default_rng(3)
    op = layer(rng, Format(8, True))
    q = rng.integers(-32, 32, (6, 200)).astype(np.float32)
    target = op.lookup.ideal(q) if aimed else None
    seen = []
    whole = op.lookup.indices
    op.lookup.indices = lambda x, books: seen.append(x.shape) or whole(x, books)
    fit_op(op, [q], [Wire(Format(6, True), 1.0)], target, free(op))
    assert set(seen) == {(6, 70)}


def test_targets_are_what_layers_are_held_against():
    rng = np.random.default_rng(2)
    op = layer(rng, Format(8, True), bits=8)
    net = LookupNet((6,), Wire(Format(6, True), 1.0), [op])
    q = rng.integers(-32, 32, (6, 200)).astype(np.float32)
    fit_all(net, q)
    alone = op.wire.scale
    fit_all(net, q, {"layer": op.lookup.ideal(q) / 100})
    assert op.wire.scale < alone / 4
