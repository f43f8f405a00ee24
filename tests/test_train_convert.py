"""From float networks to lookup networks: which operations there are, their formats, and that they
compute the same.
"""

import numpy as np
import pytest
from networks import inside, random_float_net, random_inputs

from lutgen.numeric import Format
from lutgen.train.arch import build, he
from lutgen.train.conv import Dense, Taps
from lutgen.train.convert import LayerOptions, convert
from lutgen.train.floatnet import (
    Add,
    AvgPool2d,
    Clip,
    Conv2d,
    Flatten,
    FloatNet,
    Linear,
    MaxPool2d,
    ReLU,
    Weighted,
)
from lutgen.train.fold import fold_batch_norm
from lutgen.train.lookups import Digits, Vectors
from lutgen.train.lutnet import LookupOp, Wire
from lutgen.train.scales import fit_all

SIGNED, UNSIGNED = Format(8, True), Format(8, False)


def weighted(net):
    return [layer.name for layer in net.layers if isinstance(layer, Weighted)]


def converted(net, options=None, source=UNSIGNED, **more):
    own = options or LayerOptions(2, 4, "l1", 8)
    return convert(net, Wire(source, 1 / 256), dict.fromkeys(weighted(net), own), **more)


def kinds(net):
    return [(op.name, type(op).__name__, op.inputs) for op in net.ops]


def format_of(net, name):
    return next(op for op in net.ops if op.name == name).output


def linear(rng, name, before, inputs, outputs):
    return Linear(name, [before], he(rng, (inputs, outputs)))


def conv(rng, name, before, inputs=3, outputs=3):
    return Conv2d(name, [before], he(rng, (3, 3, inputs, outputs)), pad=(1, 1, 1, 1))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# Which operations.


def test_a_perceptron(rng):
    net = converted(build((5, 4), (2, 3, 1), 3, rng), activation_bits=6)
    assert kinds(net) == [
        ("flatten", "Flat", ("input",)),
        ("fc1", "LookupOp", ("flatten",)),
        ("fc2", "LookupOp", ("fc1",)),
        ("fc3", "LookupOp", ("fc2",)),
    ]
    assert [format_of(net, f"fc{i}") for i in (1, 2, 3)] == [UNSIGNED, UNSIGNED, None]
    assert [k.element for k in net.lookups.values()] == [UNSIGNED] * 3
    assert net.source == Wire(UNSIGNED, 1 / 256)
    assert net.shape == (2, 3, 1)


def test_lenet5(rng):
    net = converted(build("lenet5", (12, 12, 1), 4, rng), source=SIGNED)
    assert [name for name, _, _ in kinds(net)] == [
        "conv1", "pool1", "conv2", "pool2", "flatten", "fc1", "fc2", "fc3",
    ]  # fmt: skip
    assert kinds(net)[1] == ("pool1", "Maximum", ("conv1",))
    assert net.lookups["conv1"].element == SIGNED
    assert net.lookups["conv2"].element == UNSIGNED
    assert format_of(net, "fc3") is None


def test_resnet8(rng):
    origin = fold_batch_norm(build("resnet8", (8, 8, 3), 4, rng))
    net = converted(origin)
    assert kinds(net) == [
        ("conv1", "LookupOp", ("input",)),
        ("s1_conv1", "LookupOp", ("conv1",)),
        ("s1_conv2", "LookupOp", ("s1_conv1",)),
        ("s1_add", "Join", ("conv1", "s1_conv2")),
        ("s2_skip", "LookupOp", ("s1_add",)),
        ("s2_conv1", "LookupOp", ("s1_add",)),
        ("s2_conv2", "LookupOp", ("s2_conv1",)),
        ("s2_add", "Join", ("s2_skip", "s2_conv2")),
        ("s3_skip", "LookupOp", ("s2_add",)),
        ("s3_conv1", "LookupOp", ("s2_add",)),
        ("s3_conv2", "LookupOp", ("s3_conv1",)),
        ("s3_add", "Join", ("s3_skip", "s3_conv2")),
        ("pool", "Average", ("s3_add",)),
        ("flatten", "Flat", ("pool",)),
        ("fc", "LookupOp", ("flatten",)),
    ]
    for name in ("conv1", "s1_conv1", "s1_add", "s2_add", "s3_add", "pool"):
        assert format_of(net, name) == UNSIGNED
    for name in ("s1_conv2", "s2_skip", "s3_skip", "s3_conv2"):
        assert format_of(net, name) == SIGNED


def test_what_only_a_relu_reads_ends_at_0(rng):
    net = FloatNet(
        (4, 4, 3),
        [
            conv(rng, "alone", "input"),
            ReLU("relu1", ["alone"]),
            conv(rng, "shared", "relu1"),
            ReLU("relu2", ["shared"]),
            Add("join", ["shared", "relu2"]),
            ReLU("relu3", ["join"]),
            ReLU("relu4", ["relu3"]),
            AvgPool2d("mean", ["relu4"], (2, 2), (1, 1)),
            MaxPool2d("top", ["mean"], (1, 1), (1, 1)),
            ReLU("relu5", ["top"]),
        ],
    )
    lookup = converted(net)
    assert kinds(lookup) == [
        ("alone", "LookupOp", ("input",)),
        ("shared", "LookupOp", ("alone",)),
        ("relu2", "Pointwise", ("shared",)),
        ("join", "Join", ("shared", "relu2")),
        ("mean", "Average", ("join",)),
        ("top", "Maximum", ("mean",)),
        ("relu5", "Pointwise", ("top",)),
    ]
    found = [format_of(lookup, name) for name in ("alone", "shared", "relu2", "join", "mean")]
    assert found == [UNSIGNED, SIGNED, UNSIGNED, UNSIGNED, UNSIGNED]


def test_a_relu_that_two_read_goes_with_its_layer(rng):
    net = FloatNet(
        (4, 4, 3),
        [
            conv(rng, "conv1", "input"),
            ReLU("relu", ["conv1"]),
            conv(rng, "conv2", "relu"),
            Add("join", ["relu", "conv2"]),
        ],
    )
    lookup = converted(net)
    assert kinds(lookup)[-1] == ("join", "Join", ("conv1", "conv2"))
    assert format_of(lookup, "join") == SIGNED
    assert lookup.uses == {"input": 1, "conv1": 2, "conv2": 1, "join": 0}


def test_a_relu_on_the_input(rng):
    net = FloatNet((4,), [ReLU("relu", ["input"]), linear(rng, "fc", "relu", 4, 2)])
    lookup = converted(net, source=SIGNED)
    assert kinds(lookup)[0] == ("relu", "Pointwise", ("input",))
    assert lookup.lookups["fc"].element == UNSIGNED


def test_clips_are_tables(rng):
    net = FloatNet(
        (4,),
        [
            linear(rng, "fc1", "input", 4, 4),
            Clip("six", ["fc1"], 0.0, 6.0),
            linear(rng, "fc2", "six", 4, 4),
            Add("join", ["fc2", "six"]),
            Clip("hard", ["join"], -1.0, 1.0),
            linear(rng, "fc3", "hard", 4, 2),
            Clip("end", ["fc3"], -1.0, 1.0),
        ],
    )
    lookup = converted(net)
    assert [(name, kind) for name, kind, _ in kinds(lookup)] == [
        ("fc1", "LookupOp"),
        ("six", "Pointwise"),
        ("fc2", "LookupOp"),
        ("join", "Join"),
        ("hard", "Pointwise"),
        ("fc3", "LookupOp"),
        ("end", "Pointwise"),
    ]
    assert format_of(lookup, "fc1") == format_of(lookup, "six") == UNSIGNED
    assert format_of(lookup, "join") == format_of(lookup, "hard") == SIGNED
    assert format_of(lookup, "fc3") == format_of(lookup, "end") == SIGNED


def test_signs_follow_what_arrives(rng):
    net = FloatNet(
        (4, 4, 3),
        [
            AvgPool2d("mean", ["input"], (2, 2), (1, 1)),
            MaxPool2d("top", ["input"], (2, 2), (1, 1)),
            Add("join", ["mean", "top"]),
        ],
    )
    for source in (SIGNED, UNSIGNED):
        lookup = converted(net, source=Format(5, source.signed), activation_bits=8)
        assert format_of(lookup, "mean") == format_of(lookup, "join") == source


@pytest.mark.parametrize("relu", [False, True])
def test_the_last_layer(rng, relu):
    layers = [linear(rng, "fc", "input", 4, 2)]
    if relu:
        layers.append(ReLU("relu", ["fc"]))
    lookup = converted(FloatNet((4,), layers))
    assert [op.name for op in lookup.ops] == ["fc"]
    assert format_of(lookup, "fc") == (UNSIGNED if relu else None)


def test_layers_have_settings_of_their_own(rng):
    origin = FloatNet(
        (4, 4, 3),
        [
            conv(rng, "conv1", "input", 3, 5),
            conv(rng, "conv2", "conv1", 5, 2),
            Flatten("flatten", ["conv2"]),
            linear(rng, "fc1", "flatten", 32, 6),
            linear(rng, "fc2", "fc1", 6, 2),
        ],
    )
    options = {
        "conv1": LayerOptions(1, 4, "digit", 16, 7, "window", "hwc"),
        "conv2": LayerOptions(2, 8, "l2", 4, 6, "pixel", "hwc"),
        "fc1": LayerOptions(5, 3, "chebyshev", 3, 4, "window", "chw"),
        "fc2": LayerOptions(6, 16, "l1", 2),
    }
    lookup = convert(origin, Wire(UNSIGNED, 1.0), options)
    first, second, third, fourth = lookup.lookups.values()
    assert isinstance(first, Digits)
    assert (first.centroids, first.table.bits) == (4, 16)
    assert isinstance(first.rows, Dense)
    assert (first.rows.order, first.rows.features, first.weight.shape) == ("hwc", 27, (1, 27, 5))
    assert isinstance(second, Vectors)
    assert isinstance(second.rows, Taps)
    assert (second.subvec, second.centroids, second.metric, second.table.bits) == (2, 8, "l2", 4)
    assert second.books.shape == (3, 8, 2)
    assert second.weight.shape == (9, 6, 2)
    assert (third.subvec, third.centroids, third.metric, third.books.shape) == (
        5, 3, "chebyshev", (7, 3, 5),
    )  # fmt: skip
    assert fourth.table == Format(2, True)
    outputs = [format_of(lookup, name) for name in options]
    assert outputs == [Format(7, True), Format(6, True), Format(4, True), None]


def test_batch_norms_must_be_folded(rng):
    with pytest.raises(ValueError, match=r"^Layer 'bn1' must be folded before it is converted$"):
        converted(build("resnet8", (8, 8, 1), 3, rng))


def test_windows_that_see_nothing_are_refused(rng):
    weight = he(rng, (1, 2, 1, 1))
    net = FloatNet((4, 4, 1), [Conv2d("conv", ["input"], weight, pad=(0, 1, 1, 1))])
    text = r"^Layer 'conv' must have pads less than its kernel of 1x2, not \(0, 1, 1, 1\)$"
    with pytest.raises(ValueError, match=text):
        converted(net)


# What they compute.


@pytest.mark.parametrize("seed", range(40))
def test_exact_layers_compute_what_the_float_network_does(seed):
    """Every kind of network, of window and of order, with so many bits that rounding is small."""
    rng = np.random.default_rng(seed)
    origin = random_float_net(rng, steps=int(rng.integers(1, 6)))
    options = {
        name: LayerOptions(
            1,
            4,
            "digit",
            28,
            15,
            str(rng.choice(["window", "pixel"])),
            str(rng.choice(["hwc", "chw"])),
        )
        for name in weighted(origin)
    }
    source = Wire(Format(12, bool(rng.random() < 0.5)), 1 / 1024)
    net = convert(origin, source, options, activation_bits=15)
    x = inside(random_inputs(rng, net, source.format, 20), net)
    fit_all(net, x)
    real = {}
    origin.run(x * np.float32(source.scale), lambda layer, y: real.update({layer.name: y}))
    values = {}
    net.run(x, visit=lambda op, y: values.update({op.name: y * op.wire.scale}))
    for op in net.ops:
        wanted = real[op.name]
        if getattr(op, "output", None) is not None and not op.output.signed:
            wanted = np.maximum(wanted, 0)
        error = np.mean((values[op.name] - wanted) ** 2)
        assert error <= 1e-5 * (wanted.var() + 1e-2)


@pytest.mark.parametrize("encode", ["window", "pixel"])
@pytest.mark.parametrize("order", ["hwc", "chw"])
def test_centroids_of_every_encoding(encode, order):
    """Where every sub-vector is a centroid, lookups are products."""
    rng = np.random.default_rng(1)
    origin = FloatNet((5, 5, 2), [conv(rng, "conv", "input", 2, 3)])
    v = 2 if encode == "pixel" else 3
    options = {"conv": LayerOptions(v, 8, "l2", 8, 8, encode, order)}
    net = convert(origin, Wire(Format(2, False), 1.0), options)
    (op,) = net.ops
    assert isinstance(op, LookupOp)
    q = rng.integers(0, 2, (6, 5, 5, 2))
    corners = np.array(list(np.ndindex(*[2] * v)), dtype=np.float32)
    op.lookup.books[:, : len(corners)] = corners
    fit_all(net, inside(q, net))
    got = op.lookup.ideal(inside(q, net))
    np.testing.assert_allclose(got, origin.layers[0].forward([inside(q, net)], False)[0], atol=1e-5)
