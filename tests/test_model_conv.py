"""Networks of convolutions, pools, joins and maps against loops in plain Python, written from the
rules of the format alone; and their files.
"""

from itertools import product
from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import random_inputs
from test_model_golden import digits_of, nearest, value_of
from toy import ConvNet, random_conv_model, random_lookup

from lutgen.model import (
    Activation,
    Add,
    Argmax,
    AvgPool2d,
    Flatten,
    LutConv2d,
    Map,
    MaxPool2d,
    Model,
    digest,
    golden,
    load,
    save,
)
from lutgen.model.file import to_parts
from lutgen.model.plan import plan
from lutgen.numeric import Grid
from lutgen.spec import conv as conv_spec

ENCODES = [("window", "hwc"), ("window", "chw"), ("pixel", "hwc")]


def limits(wire):
    low = -(1 << (wire.bits - 1)) if wire.signed else 0
    return low, low + (1 << wire.bits) - 1


def requantise(acc, shift, output):
    if shift:
        acc = floor((acc + (1 << (shift - 1))) / (1 << shift))
    low, high = limits(output)
    return min(max(acc, low), high)


def lookup(node, row, wire, table, accs):
    """Adds the lookups of one input row to the accumulators."""
    v, c = node.subvec, node.centroids
    if node.metric == "digit":
        indices = [d for q in row for d in digits_of(q, wire.bits, c.bit_length() - 1, wire.signed)]
    else:
        padded = row + [0] * (-len(row) % v)
        parts = [padded[i : i + v] for i in range(0, len(padded), v)]
        books = node.codebooks.tolist()
        indices = [nearest(p, books[g], node.metric) for g, p in enumerate(parts)]
    for n in range(len(accs)):
        accs[n] += sum(value_of(int(table[g][j][n]), node.grid) for g, j in enumerate(indices))


def windows(image, kernel, stride, pad=(0, 0, 0, 0)):
    """For each row and column of windows a dictionary of its pixels: position to channels, or to
    None outside the image.
    """
    height, width = len(image), len(image[0])
    top, left, bottom, right = pad
    rows = []
    for y0 in range(-top, height + bottom - kernel[0] + 1, stride[0]):
        rows.append([])
        for x0 in range(-left, width + right - kernel[1] + 1, stride[1]):
            window = {}
            for ky, kx in product(range(kernel[0]), range(kernel[1])):
                y, x = y0 + ky, x0 + kx
                inside = 0 <= y < height and 0 <= x < width
                window[ky, kx] = image[y][x] if inside else None
            rows[-1].append(window)
    return rows


def conv_pixel(node, window, wire):
    """One window of a convolution: the outputs of all channels."""
    accs = [int(b) for b in node.bias]
    if node.encode == "pixel":
        for (ky, kx), pixel in window.items():
            if pixel is not None:
                lookup(node, pixel, wire, node.table[ky, kx], accs)
    else:
        zeros = [0] * node.in_channels
        pixels = [zeros if p is None else p for p in window.values()]
        if node.order == "hwc":
            row = [q for pixel in pixels for q in pixel]
        else:
            row = [pixel[c] for c in range(node.in_channels) for pixel in pixels]
        lookup(node, row, wire, node.table, accs)
    if node.output is None:
        return accs
    return [requantise(acc, node.shift, node.output) for acc in accs]


def pool_pixel(node, window):
    result = []
    for elements in zip(*window.values(), strict=True):
        if isinstance(node, MaxPool2d):
            result.append(max(elements))
        else:
            result.append(requantise(sum(elements) * node.multiplier, node.shift, node.output))
    return result


def as_image(flat, shape):
    return np.array(flat).reshape(shape).tolist()


def flatten(image):
    return [q for row in image for pixel in row for q in pixel]


def compute(node, xs, wires):
    """One node on one sample; flat lists."""
    x, wire = xs[0], wires[0].activation
    if isinstance(node, Argmax):
        return [x.index(max(x))]
    if isinstance(node, Flatten):
        return x
    if isinstance(node, Map):
        return [int(node.map[q % (1 << wire.bits)]) for q in x]
    if isinstance(node, Add):
        sums = [
            sum(q * 2**left for q, left in zip(qs, node.left_shifts, strict=True))
            for qs in zip(*xs, strict=True)
        ]
        return [requantise(s, node.shift, node.output) for s in sums]
    if isinstance(node, LutConv2d):
        found = windows(as_image(x, wires[0].shape), node.kernel, node.stride, node.pad)
        return flatten([[conv_pixel(node, w, wire) for w in row] for row in found])
    if isinstance(node, MaxPool2d | AvgPool2d):
        found = windows(as_image(x, wires[0].shape), node.kernel, node.stride)
        return flatten([[pool_pixel(node, w) for w in row] for row in found])
    accs = [int(b) for b in node.bias]
    lookup(node, x, wire, node.table, accs)
    return accs if node.output is None else [requantise(a, node.shift, node.output) for a in accs]


def check(model, q):
    """Golden on a batch against the loops, sample by sample and node by node."""
    got = model.run(q.reshape(len(q), *model.shape))
    wires = model.wires()
    assert all(array.dtype == np.int64 for array in got.values())
    for number, x in enumerate(q.tolist()):
        results = {"input": x}
        for node in model.nodes:
            xs = [results[name] for name in node.inputs]
            results[node.name] = compute(node, xs, [wires[name] for name in node.inputs])
            assert got[node.name][number].tolist() == results[node.name], (number, node)
            assert len(results[node.name]) == wires[node.name].size


@given(st.integers(0, 10**6))
def test_random_networks(seed):
    rng = np.random.default_rng(seed)
    model = random_conv_model(rng)
    check(model, random_inputs(rng, model, 2))


@pytest.mark.parametrize("metric", ["l1", "l2", "chebyshev", "digit"])
@pytest.mark.parametrize(("encode", "order"), ENCODES)
@pytest.mark.parametrize("signed", [False, True])
def test_encodes(encode, order, metric, signed):
    """Odd sizes, padding that differs on all sides, strides that leave something over."""
    rng = np.random.default_rng(7)
    wire = Activation(6, signed, 1.0)
    pixel = encode == "pixel"
    output = Activation(7, not signed, 1.0)
    kernel, row = (3, 2), 5 if pixel else 30
    node = LutConv2d(
        name="conv",
        inputs=("input",),
        in_channels=5,
        out_channels=4,
        kernel=kernel,
        stride=(2, 3),
        pad=(2, 1, 1, 0),
        encode=encode,
        order=order,
        **random_lookup(rng, wire, row, 4, output, taps=kernel if pixel else (), metric=metric),
    )
    model = Model("net", (5, 7, 5), wire, (node,))
    assert model.wires()["conv"].shape == (3, 3, 4)
    low, high = limits(wire)
    corners = np.array([[low] * 175, [high] * 175, [0] * 175])
    check(model, np.concatenate([corners, random_inputs(rng, model, 2)]))


def exact_conv(weights, wire, encode, order, **fields):
    """A digit layer whose tables hold weight times digit value, which multiplies exactly."""
    kh, kw, cin, cout = weights.shape
    radix_bits = 3
    count = -(-wire.bits // radix_bits)
    worth = np.arange(1 << radix_bits)[None] << (radix_bits * np.arange(count)[:, None])
    if wire.signed:
        worth[-1, 1 << (radix_bits - 1) :] -= 1 << (radix_bits * count)
    # [kh, kw, cin, D, c, n], then codebook k * D + d
    values = worth[None, None, None, :, :, None] * weights[:, :, :, None, None]
    if order == "chw":
        values = values.transpose(2, 0, 1, 3, 4, 5)
    taps = (kh, kw) if encode == "pixel" else ()
    grid = Grid("int", 16)
    return LutConv2d(
        name="conv",
        inputs=("input",),
        in_channels=cin,
        out_channels=cout,
        kernel=(kh, kw),
        encode=encode,
        order=order,
        subvec=1,
        centroids=1 << radix_bits,
        metric="digit",
        grid=grid,
        shift=0,
        output=None,
        table=grid.encode(values.reshape(*taps, -1, 1 << radix_bits, cout)),
        bias=np.arange(cout),
        **fields,
    )


@pytest.mark.parametrize(("encode", "order"), ENCODES)
@pytest.mark.parametrize("signed", [False, True])
def test_digits_convolve_exactly(encode, order, signed):
    rng = np.random.default_rng(3)
    wire = Activation(7, signed, 1.0)
    weights = rng.integers(-8, 8, (3, 2, 2, 4))
    pad = (1, 0, 2, 1)
    node = exact_conv(weights, wire, encode, order, stride=(2, 1), pad=pad)
    model = Model("net", (6, 5, 2), wire, (node,))
    q = random_inputs(rng, model, 5)
    x = np.pad(q.reshape(5, 6, 5, 2), ((0, 0), (1, 2), (0, 1), (0, 0)))
    want = np.empty((5, 4, 5, 4), dtype=np.int64)
    for i, j in np.ndindex(4, 5):
        want[:, i, j] = np.tensordot(x[:, 2 * i : 2 * i + 3, j : j + 2], weights, 3) + np.arange(4)
    assert np.array_equal(model.run(q)["conv"], want.reshape(5, -1))


def test_the_ends_of_formats():
    """Joins, averages and maps at the ends of the widest formats, with the greatest constants."""
    wide, narrow = Activation(16, True, 1.0), Activation(2, True, 1.0)
    unsigned = Activation(16, False, 1.0)
    nodes = (
        Map(name="map", inputs=("input",), output=unsigned, map=np.arange(1 << 16)[::-1]),
        Add(
            name="add",
            inputs=("input", "map", "input"),
            left_shifts=(15, 15, 0),
            shift=16,
            output=wide,
        ),
        MaxPool2d(name="max", inputs=("add",), kernel=(3, 2), stride=(1, 1)),
        AvgPool2d(
            name="avg",
            inputs=("add",),
            kernel=(3, 2),
            stride=(1, 1),
            multiplier=65535,
            shift=19,
            output=wide,
        ),
        Add(name="end", inputs=("max", "avg"), left_shifts=(0, 1), shift=31, output=narrow),
    )
    model = Model("net", (3, 3, 1), wide, nodes)
    low, high = limits(wide)
    ends = np.array([[low] * 9, [high] * 9, [-1] * 9, [0] * 9])
    check(model, np.concatenate([ends, random_inputs(np.random.default_rng(1), model, 20)]))


@pytest.mark.parametrize(("encode", "order"), ENCODES)
@pytest.mark.parametrize("taps", [257, 258, 259])
def test_sums_do_not_wrap(encode, order, taps):
    """The narrow arithmetic inside must hold the worst case, here near 16 bits."""
    wire = Activation(2, False, 1.0)
    pixel = encode == "pixel"
    table = np.zeros((1, taps, 1, 2, 2) if pixel else (taps, 2, 2), dtype=np.int64)
    table[..., 0], table[..., 1] = 127, 128
    node = LutConv2d(
        name="conv",
        inputs=("input",),
        in_channels=1,
        out_channels=2,
        kernel=(1, taps),
        stride=(1, 1),
        pad=(0, 0, 0, 0),
        encode=encode,
        order=order,
        subvec=1,
        centroids=2,
        metric="l1",
        grid=Grid("int", 8),
        shift=0,
        output=None,
        table=table,
        bias=np.array([(1 << 31) - 1, -(1 << 31)]),
        codebooks=np.zeros((1 if pixel else taps, 2, 1), dtype=np.int64),
    )
    model = Model("net", (1, taps, 1), wire, (node,))
    outputs = model.run(np.zeros((1, taps), dtype=int))["conv"]
    assert outputs.tolist() == [[127 * taps + (1 << 31) - 1, -128 * taps - (1 << 31)]]


@pytest.mark.parametrize("seed", range(8))
def test_chunks_change_nothing(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    model = random_conv_model(rng, blocks=3)
    q = random_inputs(rng, model, 11)
    x = q.reshape(11, *model.shape) * model.input.scale
    whole, prediction = model.run(q), model.predict(x)
    monkeypatch.setattr(golden, "CHUNK", 2 * sum(w.size for w in model.wires().values()))
    monkeypatch.setattr(conv_spec, "ROWS", 5)
    parts = model.run(q)
    assert whole.keys() == parts.keys()
    for name, array in whole.items():
        assert np.array_equal(array, parts[name])
    for batch in (1, 3, 1024):
        again = model.predict(x, batch=batch)
        assert np.array_equal(again.outputs, prediction.outputs)
        assert np.array_equal(again.outputs, whole[model.outputs_node.name])
        assert np.array_equal(again.classes, prediction.classes)
    assert model.predict(x[:0]).outputs.shape == (0, model.classes)


def test_wide_maps_are_computed_in_small_parts():
    """Whatever batch is asked for, all results of a part together take 64 MiB."""
    rng = np.random.default_rng(0)
    net = ConvNet(rng, shape=(32, 32, 3))
    net.conv("input", same=True, channels=64)
    model = net.model()
    parts = list(golden._chunks(model, 1024, 1024))
    assert parts[0].stop <= (1 << 26) // (8 * 32 * 32 * 67)
    assert parts[-1].stop >= 1024
    assert [a.stop for a in parts[:-1]] == [b.start for b in parts[1:]]


@given(st.integers(0, 10**6))
def test_round_trip(tmp_path_factory, seed):
    model = random_conv_model(np.random.default_rng(seed))
    path = tmp_path_factory.mktemp("lut") / "net.lut"
    save(model, path)
    again = load(path)
    assert again == model
    assert digest(again) == digest(model)
    ours, theirs = to_parts(model)[1], to_parts(again)[1]
    assert ours.keys() == theirs.keys()
    for key, array in ours.items():
        assert np.array_equal(array, theirs[key])


@pytest.mark.parametrize("build", ["conv", "max_pool", "avg_pool", "map", "residual"])
def test_cores_of_such_networks_are_planned(build):
    net = ConvNet(np.random.default_rng(1))
    name = getattr(net, build)("input")
    net.linear(name, 3)
    model = net.model()
    spec = plan(model)
    assert {node.name for node in model.nodes} <= {stage.name for stage in spec.stages}
    assert spec.output.elements == 3
