"""From lookup networks to models: golden inference gives what training computed."""

from functools import cache

import numpy as np
import pytest
from networks import activation, random_lookup_net

from lutgen.model import Activation, LutConv2d, LutLinear, load, save
from lutgen.model.nodes import Argmax
from lutgen.numeric import Format
from lutgen.train.conv import Dense
from lutgen.train.export import activation as with_scale
from lutgen.train.export import export, table_values
from lutgen.train.lookups import Digits, Vectors
from lutgen.train.lutnet import LookupNet, LookupOp, Wire

SEEDS = range(120)


@cache
def random_net(seed, bits=(2, 9)):
    rng = np.random.default_rng(seed)
    return random_lookup_net(rng, steps=int(rng.integers(1, 6)), bits=bits)


@pytest.mark.parametrize("seed", SEEDS)
def test_models_predict_what_networks_give(seed, tmp_path):
    net, _, q = random_net(seed)
    argmax = bool(seed % 2)
    model = export(net, "random", activation(net), {"seed": seed}, argmax=argmax)
    found = model.predict(q)
    outputs = net.outputs(q)
    np.testing.assert_array_equal(found.outputs, outputs)
    np.testing.assert_array_equal(found.classes, outputs.argmax(axis=1))
    assert isinstance(model.nodes[-1], Argmax) == argmax
    assert [node.name for node in model.nodes[: len(net.ops)]] == [op.name for op in net.ops]
    for op, node in zip(net.ops, model.nodes, strict=False):
        output = getattr(node, "output", None)
        if output is not None:
            assert output.format == op.wire.format
            assert output.scale == op.wire.scale
    if seed % 10 == 0:
        path = tmp_path / "random.lut"
        save(model, path)
        np.testing.assert_array_equal(load(path).predict(q).outputs, outputs)


@pytest.mark.parametrize("seed", range(40))
def test_wide_formats(seed):
    """Codes of up to 16 bits: sums that float32 does not hold."""
    net, _, q = random_net(seed, bits=(12, 17))
    model = export(net, "wide", activation(net), {})
    np.testing.assert_array_equal(model.predict(q).outputs, net.outputs(q))


def test_the_random_networks_hold_everything():
    ops, layers, formats = set(), set(), set()
    for seed in SEEDS:
        net, _, _ = random_net(seed)
        for op in net.ops:
            ops.add(type(op).__name__)
            if op.wire.format is not None:
                formats.add((op.wire.format.bits, op.wire.format.signed))
            if not isinstance(op, LookupOp):
                continue
            rows = op.lookup.rows
            how = "pixel"
            if isinstance(rows, Dense):
                how = "linear" if rows.window is None else rows.order
            layers.add((op.lookup.metric, how))
            layers.add(("free", getattr(op.lookup, "residual", None) is not None))
            layers.add(("spare", getattr(op.lookup, "spare", 0) > 0))
            layers.add(("bits", op.lookup.table.bits))
    assert ops == {"LookupOp", "Join", "Average", "Maximum", "Pointwise", "Flat"}
    metrics = ("l1", "l2", "chebyshev", "digit")
    assert {(m, h) for m in metrics for h in ("linear", "pixel", "hwc", "chw")} <= layers
    assert {(key, b) for key in ("free", "spare") for b in (False, True)} <= layers
    assert {("bits", b) for b in range(2, 9)} <= layers
    assert {bits for bits, _ in formats} >= {*range(2, 9), 16}


def one_layer(lookup, inputs):
    op = LookupOp("fc", ["input"], lookup, None)
    op.form([Wire(lookup.element, 1.0)])
    return LookupNet((inputs,), Wire(lookup.element, 1.0), [op])


def test_arrays_are_as_narrow_as_the_file_has_them():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((1, 5, 3)).astype(np.float32)
    bias = np.array([1, -2, 3], np.float32)
    vectors = Vectors(weight, bias, Dense(5), Format(8, True), 1.0, 4, 2, 3, "l1")
    vectors.books[:] = rng.integers(-128, 128, vectors.books.shape)
    vectors.books[-1, :, 1:] = 0
    vectors.table_scale = 0.5
    model = export(one_layer(vectors, 5), "one", Activation(8, True, 2.0), {"a": 1})
    (node,) = model.nodes
    assert isinstance(node, LutLinear)
    assert (node.table.dtype, node.bias.dtype) == (np.uint8, np.int32)
    assert node.bias.tolist() == [2, -4, 6]
    assert node.table.max() < 16
    assert node.codebooks.dtype.itemsize <= 2
    np.testing.assert_array_equal(node.grid.decode(node.table), table_values(vectors)[0])
    assert model.input == Activation(8, True, 2.0)
    assert model.provenance == {"a": 1}
    digits = Digits(weight, bias, Dense(5), Format(6, False), 1.0, 12, 8)
    digits.table_scale = digits.largest() / digits.table.high
    (node,) = export(one_layer(digits, 5), "one", Activation(6, False, 1.0), {}).nodes
    assert node.table.dtype == np.uint16
    assert node.codebooks is None
    assert (node.subvec, node.centroids, node.metric, node.shift) == (1, 8, "digit", 0)
    assert with_scale(Format(6, False), np.float32(0.5)) == Activation(6, False, 0.5)


def test_convolutions_keep_their_geometry():
    for seed in SEEDS:
        net, _, _ = random_net(seed)
        model = export(net, "m", activation(net), {})
        for node in model.nodes:
            if not isinstance(node, LutConv2d):
                continue
            rows = net.lookups[node.name].rows
            window = rows.window
            assert (node.kernel, node.stride, node.pad) == (
                window.kernel,
                window.stride,
                window.pad,
            )
            taps = int(np.prod(window.kernel))
            pixel = node.encode == "pixel"
            assert node.in_channels * (1 if pixel else taps) == rows.features
            assert node.order == ("hwc" if pixel else rows.order)
            assert node.table.ndim == (5 if pixel else 3)
