"""ONNX files against ONNX's own reference; every file that can't come over, by its full text."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from lutgen.errors import LutgenError
from lutgen.train.floatnet import BatchNorm, Flatten, Linear
from lutgen.train.fold import fold_batch_norm
from lutgen.train.onnx import import_onnx

onnx = pytest.importorskip("onnx", reason="onnx is not installed; run: pip install 'lutgen[onnx]'")
reference = pytest.importorskip("onnx.reference", reason="this onnx has no reference evaluator")

RESNET = Path(__file__).parents[2] / "shared" / "models" / "resnet8_cifar10.onnx"
FLOAT = onnx.TensorProto.FLOAT


def numbers(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def ints(*values):
    return np.array(values, dtype=np.int64)


class Net:
    """A model in the making: every call adds a node, and gives its output's name."""

    def __init__(self, *shape, kind=FLOAT, opset=17, batch="n", name="x"):
        self.shape, self.kind, self.opset, self.batch, self.name = shape, kind, opset, batch, name
        self.nodes, self.constants, self.outputs = [], {}, None

    def hold(self, name, value):
        """An initialiser."""
        self.constants[name] = onnx.numpy_helper.from_array(np.asarray(value), name)
        return name

    def add(self, op, *inputs, name=None, outputs=1, **attributes):
        """A node; arrays among the inputs become initialisers."""
        number = len(self.nodes)
        name = f"{op.lower()}{number}" if name is None else name
        source = [
            x if isinstance(x, str) else self.hold(f"{name}_{i}", x) for i, x in enumerate(inputs)
        ]
        out = [f"t{number}", *(f"t{number}_{i}" for i in range(1, outputs))]
        self.nodes.append(onnx.helper.make_node(op, source, out, name=name, **attributes))
        return out[0]

    def model(self, *outputs):
        """The model; without names of outputs, the last node gives it."""
        info = onnx.helper.make_tensor_value_info
        graph = onnx.helper.make_graph(
            self.nodes,
            "g",
            [info(self.name, self.kind, [self.batch, *self.shape])],
            [info(x, self.kind, None) for x in outputs or (self.nodes[-1].output[0],)],
            list(self.constants.values()),
        )
        return onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", self.opset)], ir_version=8
        )


def save(tmp_path, model):
    path = tmp_path / "net.onnx"
    path.write_bytes((model.model() if isinstance(model, Net) else model).SerializeToString())
    return path


def agrees(tmp_path, net, kinds=None, *, last=False, shape=None, scale=1e-4, drop=0):
    """Imports, compares with the reference; ``last`` says that samples go in channels last,
    ``drop`` how many nodes at the end the import leaves out.
    """
    model = net if isinstance(net, onnx.ModelProto) else net.model()
    got = import_onnx(save(tmp_path, model))
    dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    batch, sample = dims[0] or 3, dims[1:]
    x = numbers(batch, *sample)
    elem = model.graph.input[0].type.tensor_type.elem_type
    fed = x.astype(onnx.helper.tensor_dtype_to_np_dtype(elem))
    while drop:
        drop -= 1
        last_node = model.graph.node.pop()
        model.graph.output[0].name = last_node.input[0]
    (want,) = reference.ReferenceEvaluator(model).run(None, {model.graph.input[0].name: fed})
    want = np.asarray(want, dtype=np.float32).reshape(batch, -1)
    if len(sample) == 3 and not last:
        x = x.transpose(0, 2, 3, 1)
    expected = x.shape[1:] if len(sample) != 2 else (*sample, 1)
    assert got.shape == (shape or expected)
    np.testing.assert_allclose(
        got.logits(x.reshape(batch, *got.shape)), want, rtol=scale, atol=scale * np.abs(want).max()
    )
    if kinds is not None:
        assert [type(layer).__name__ for layer in got.layers] == kinds.split()
    return got


def refuses(tmp_path, net, text):
    """The whole message, behind the file's name."""
    path = net if isinstance(net, Path) else save(tmp_path, net)
    with pytest.raises(LutgenError) as caught:
        import_onnx(path)
    assert str(caught.value) == f"{path}{text}"


def refuses_node(tmp_path, net, text):
    refuses(tmp_path, net, f": 1 node can't be converted: {text}")


# Operators.


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"kernel_shape": [3, 2], "pads": [1, 0, 2, 1], "strides": [2, 1]},
        {"auto_pad": "NOTSET", "pads": [0, 1, 0, 1], "dilations": [1, 1], "group": 1},
        {"auto_pad": "SAME_UPPER", "strides": [2, 3]},
        {"auto_pad": "SAME_LOWER", "strides": [1, 2]},
        {"auto_pad": "VALID"},
    ],
)
def test_conv(tmp_path, attributes, bias):
    net = Net(2, 7, 6)
    extra = [numbers(3)] if bias else []
    y = net.add("Conv", "x", numbers(3, 2, 3, 2), *extra, **attributes)
    net.add("Flatten", net.add("GlobalAveragePool", y))
    agrees(tmp_path, net, "Conv2d AvgPool2d Flatten")


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("bias", [None, (4,), (1, 4), (1,), (), (1, 1)])
def test_gemm(tmp_path, turn, bias):
    net = Net(5)
    extra = [] if bias is None else [numbers(*bias)]
    weight = numbers(4, 5) if turn else numbers(5, 4)
    net.add("Gemm", "x", weight, *extra, transB=turn, alpha=0.5, beta=-2.0)
    agrees(tmp_path, net, "Linear")


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("shape", [(4,), (1, 4), (1,), ()])
def test_matmul_and_its_bias(tmp_path, shape, first):
    net = Net(5)
    y = net.add("Identity", net.add("MatMul", "x", numbers(5, 4)))
    net.add("Add", *((numbers(*shape), y) if first else (y, numbers(*shape))))
    agrees(tmp_path, net, "Linear")


def test_the_bias_of_a_conv(tmp_path):
    net = Net(2, 4, 4)
    y = net.add("Conv", "x", numbers(3, 2, 2, 2), numbers(3))
    y = net.add("Relu", net.add("Add", y, numbers(3, 1, 1)))
    net.add("Flatten", net.add("GlobalAveragePool", y))
    agrees(tmp_path, net, "Conv2d ReLU AvgPool2d Flatten")


@pytest.mark.parametrize("flat", [False, True])
def test_batch_norm(tmp_path, flat):
    """A vector that was an image has its channels in the file's order too."""
    net = Net(2, 3, 5)
    n = 30 if flat else 2
    y = net.add("Flatten", "x") if flat else "x"
    variance = np.abs(numbers(n, seed=4)) + 1
    y = net.add(
        "BatchNormalization",
        y,
        numbers(n),
        numbers(n, seed=2),
        numbers(n, seed=3),
        variance,
        epsilon=0.1,
        momentum=0.9,
    )
    y = y if flat else net.add("Flatten", y)
    net.add("Gemm", y, numbers(30, 3))
    got = agrees(tmp_path, net)
    assert {type(x) for x in got.layers} == {BatchNorm, Flatten, Linear}


@pytest.mark.parametrize(
    ("opset", "inputs", "attributes", "kind"),
    [
        (9, [], {"min": -0.5, "max": 0.25}, "Clip"),
        (9, [], {"min": 0.0}, "ReLU"),
        (9, [], {}, ""),
        (17, [np.float32(0), np.float32(6)], {}, "Clip"),
        (17, ["", np.float32(0.5)], {}, "Clip"),
        (17, [np.float32(0)], {}, "ReLU"),
        (17, [np.float32(-np.inf), np.float32(np.inf)], {}, ""),
    ],
)
def test_clip(tmp_path, opset, inputs, attributes, kind):
    net = Net(5, opset=opset)
    net.add("Gemm", net.add("Clip", "x", *inputs, **attributes), numbers(5, 3), numbers(3))
    agrees(tmp_path, net, f"{kind} Linear")


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 3]},
        {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 0]},
        {"kernel_shape": [2, 2], "strides": [2, 1], "ceil_mode": 1},
        {"kernel_shape": [3, 3], "strides": [1, 2], "auto_pad": "VALID"},
        {"kernel_shape": [1, 5], "strides": [2, 1], "auto_pad": "NOTSET"},
        {"kernel_shape": [3, 1], "strides": [3, 1], "auto_pad": "SAME_UPPER"},
    ],
)
def test_pools(tmp_path, op, attributes):
    net = Net(2, 6, 5)
    more = {"count_include_pad": 1} if op == "AveragePool" else {"storage_order": 0}
    y = net.add(op, "x", **attributes, **more)
    net.add("GlobalAveragePool", y)
    agrees(tmp_path, net, f"{'Max' if op == 'MaxPool' else 'Avg'}Pool2d AvgPool2d Flatten")


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize(("opset", "axes"), [(13, [2, 3]), (13, [-1, -2]), (18, [3, 2])])
def test_reduce_mean(tmp_path, opset, axes, keep):
    net = Net(3, 4, 5, opset=opset)
    if opset == 18:
        y = net.add("ReduceMean", "x", ints(*axes), keepdims=keep)
    else:
        y = net.add("ReduceMean", "x", axes=axes, keepdims=keep)
    y = net.add("Flatten", y) if keep else y
    net.add("Gemm", y, numbers(3, 2))
    agrees(tmp_path, net, "AvgPool2d Flatten Linear")


@pytest.mark.parametrize("axes", [[2, 3], [-1, -2]])
@pytest.mark.parametrize("opset", [11, 17])
def test_squeeze(tmp_path, opset, axes):
    net = Net(3, 4, 5, opset=opset)
    y = net.add("GlobalAveragePool", "x")
    if opset == 11:
        net.add("Squeeze", y, axes=axes)
    else:
        net.add("Squeeze", y, ints(*axes))
    agrees(tmp_path, net, "AvgPool2d Flatten")


def flatten(net, y, how):
    if not isinstance(how, str):
        return net.add("Reshape", y, how)
    if how == "flatten":
        return net.add("Flatten", y, axis=1)
    return net.add("Flatten", y, axis=-3)


@pytest.mark.parametrize(
    ("how", "batch"),
    [
        ("flatten", "n"),
        ("negative", "n"),
        (ints(-1, 24), "n"),
        (ints(0, -1), "n"),
        (ints(0, 24), 1),
        (ints(1, -1), "n"),
        (ints(4, -1), 4),
        (ints(1, 24), 1),
    ],
    ids=str,
)
@pytest.mark.parametrize("between", [[], ["Relu", "Dropout", "Identity"]])
def test_linear_behind_a_flatten(tmp_path, how, batch, between):
    """Its rows go from C, H, W to our H, W, C."""
    net = Net(3, 2, 4, batch=batch)
    y = flatten(net, "x", how)
    for op in between:
        y = net.add(op, y)
    net.add("Gemm", y, numbers(24, 3))
    if batch == "n" and not isinstance(how, str) and how[0] == 1:  # true for single samples only
        got = import_onnx(save(tmp_path, net))
        assert got.shape == (2, 4, 3)
    else:
        agrees(tmp_path, net, "Flatten ReLU Linear" if between else "Flatten Linear")


def test_two_linear_layers_behind_one_flatten(tmp_path):
    net = Net(3, 2, 2)
    y = net.add("Flatten", "x")
    z = net.add("Add", y, net.add("Relu", y))
    net.add("Add", net.add("Gemm", z, numbers(12, 3)), net.add("MatMul", y, numbers(12, 3, seed=1)))
    agrees(tmp_path, net, "Flatten ReLU Add Linear Linear Add")


def test_images_of_one_value_a_class(tmp_path):
    """No flatten at the end: the logits still are vectors."""
    net = Net(3, 4, 5)
    net.add("GlobalAveragePool", net.add("Conv", "x", numbers(2, 3, 1, 1)))
    got = agrees(tmp_path, net, "Conv2d AvgPool2d Flatten")
    assert got.shapes["flatten"] == (2,)


def test_grey_images_without_a_channel_axis(tmp_path):
    net = Net(4, 5)
    net.add("Gemm", net.add("Flatten", "x"), numbers(20, 3))
    agrees(tmp_path, net, "Flatten Linear")
    net = Net(4, 5)
    y = net.add("Conv", net.add("Reshape", "x", ints(-1, 1, 4, 5)), numbers(2, 1, 3, 3))
    net.add("Flatten", net.add("GlobalAveragePool", y))
    agrees(tmp_path, net, "Conv2d AvgPool2d Flatten")


def test_vectors_stay(tmp_path):
    net = Net(6)
    y = net.add("Reshape", net.add("Flatten", "x"), ints(-1, 6))
    net.add("Transpose", net.add("Gemm", y, numbers(6, 2)), perm=[0, 1])
    agrees(tmp_path, net, "Linear")


@pytest.mark.parametrize("casts", [False, True])
def test_channels_last(tmp_path, casts):
    """The input as given, and behind it too where the file turns it back."""
    net = Net(5, 4, 3)
    x = net.add("Cast", "x", to=FLOAT) if casts else "x"
    y = net.add("Transpose", x, perm=[0, 3, 1, 2])
    y = net.add("Conv", y, numbers(2, 3, 2, 2))
    y = net.add("Transpose", y, perm=[0, 2, 3, 1])
    y = net.add("Relu", net.add("Add", y, numbers(2)))
    net.add("Gemm", net.add("Reshape", y, ints(-1, 24)), numbers(24, 3))
    agrees(tmp_path, net, "Conv2d ReLU Flatten Linear", last=True)


def test_flattened_images_that_look_channels_last(tmp_path):
    net = Net(5, 4, 3)
    net.add("Gemm", net.add("Flatten", "x"), numbers(60, 3))
    agrees(tmp_path, net, "Flatten Linear", last=True)


@pytest.mark.parametrize("opset", [9, 13, 18])
@pytest.mark.parametrize("auto", ["NOTSET", "SAME_UPPER"])
def test_pad_before_conv(tmp_path, opset, auto):
    net = Net(2, 4, 5, opset=opset)
    if opset == 9:
        y = net.add("Pad", "x", mode="constant", pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.0)
    elif opset == 13:
        y = net.add("Pad", "x", ints(0, 0, 1, 2, 0, 0, 0, 1), np.float32(0))
    else:
        y = net.add("Pad", "x", ints(2, 1, 1, 0), np.float32(0), ints(-1, 2))
    own = {"pads": [0, 1, 1, 0]} if auto == "NOTSET" else {"auto_pad": auto}
    a = net.add("Conv", y, numbers(3, 2, 3, 2), strides=[2, 2], **own)
    b = net.add("Conv", y, numbers(3, 2, 3, 2, seed=1), strides=[2, 2], **own)
    net.add("Flatten", net.add("GlobalAveragePool", net.add("Add", a, b)))
    got = agrees(tmp_path, net, "Conv2d Conv2d Add AvgPool2d Flatten")
    if auto == "NOTSET":
        assert got.layers[0].window.pad == (1, 3, 1, 1)


def test_a_pad_of_nothing(tmp_path):
    net = Net(2, 4, 5)
    net.add("GlobalAveragePool", net.add("Pad", "x", ints(0, 0, 0, 0, 0, 0, 0, 0)))
    agrees(tmp_path, net, "AvgPool2d Flatten")


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize(("opset", "attributes"), [(11, {}), (17, {}), (17, {"axis": 1})])
def test_softmax_at_the_end(tmp_path, op, opset, attributes):
    net = Net(5, opset=opset)
    y = net.add(op, net.add("Gemm", "x", numbers(5, 3)), **attributes)
    net.add("Identity", y)
    agrees(tmp_path, net, "Linear", drop=2)


def test_constants_on_their_way(tmp_path):
    """Weights may come from Constant nodes, turned, reshaped, cast, renamed."""
    net = Net(6)
    w = net.add("Constant", value=onnx.numpy_helper.from_array(numbers(12, dtype=np.float64)))
    w = net.add("Reshape", w, net.add("Constant", value_ints=[2, -1]))
    w = net.add("Identity", net.add("Transpose", net.add("Cast", w, to=FLOAT), perm=[1, 0]))
    y = net.add("Add", net.add("MatMul", "x", w), net.add("Constant", value_floats=[0.5, 1.5]))
    net.add("Clip", y, "", net.add("Constant", value_float=0.75))
    agrees(tmp_path, net, "Linear Clip")


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats(tmp_path, dtype):
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    net = Net(5, kind=kind)
    net.add("Gemm", "x", numbers(5, 3, dtype=dtype), numbers(3, dtype=dtype))
    got = agrees(tmp_path, net, scale=1e-2)
    assert got.layers[0].weight.dtype == np.float32


def test_what_nothing_reads_is_left(tmp_path):
    net = Net(5)
    net.add("Sigmoid", "x")
    net.add("Gemm", "x", numbers(5, 3))
    agrees(tmp_path, net, "Linear")


def test_weights_listed_as_inputs(tmp_path):
    """As files before IR version 4 do."""
    net = Net(5)
    net.add("Gemm", "x", numbers(5, 3), name="fc")
    model = net.model()
    model.graph.input.append(onnx.helper.make_tensor_value_info("fc_1", FLOAT, [5, 3]))
    got = import_onnx(save(tmp_path, model))
    assert [x.name for x in got.layers] == ["fc"]


@pytest.mark.parametrize("seed", range(8))
def test_random_networks(tmp_path, seed):
    """Random convolutions, joins, norms; folded, too."""
    rng = np.random.default_rng(seed)
    c, *size = (int(n) for n in rng.integers((1, 5, 5), (4, 10, 10)))
    net, y = Net(c, *size), "x"
    for _ in range(3):
        n, kernel = int(rng.integers(1, 5)), rng.integers(1, 4, size=2).tolist()
        stride, auto = rng.integers(1, 3, size=2).tolist(), rng.choice(["SAME_UPPER", "SAME_LOWER"])
        a, b = (
            net.add("Conv", y, numbers(n, c, *kernel, seed=k), strides=stride, auto_pad=str(auto))
            for k in (0, 1)
        )
        parts = [numbers(n, seed=k) for k in (1, 2, 3)]
        b = net.add("BatchNormalization", b, *parts, np.abs(parts[0]) + 1)
        y = net.add("Relu", net.add("Add", a, b))
        c, size = n, [-(-d // s) for d, s in zip(size, stride, strict=True)]
    net.add("Gemm", net.add("Flatten", y), numbers(c * size[0] * size[1], 3))
    got = agrees(tmp_path, net)
    folded = fold_batch_norm(got)
    assert not any(isinstance(layer, BatchNorm) for layer in folded.layers)
    x = numbers(2, *got.shape)
    want = got.logits(x)
    np.testing.assert_allclose(folded.logits(x), want, rtol=1e-3, atol=1e-3 * np.abs(want).max())


@pytest.mark.skipif(not RESNET.is_file(), reason="the shared ResNet-8 is not beside this checkout")
def test_resnet8(tmp_path):
    net = import_onnx(RESNET)
    assert net.shape == (32, 32, 3)
    assert [x.name for x in net.layers][:3] == ["conv2d", "batch_normalization", "activation"]
    folded = fold_batch_norm(net)
    assert len(folded.layers) == len(net.layers) - 7
    x = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.float32)
    model = onnx.load(RESNET)
    (want,) = reference.ReferenceEvaluator(model).run(None, {"input": x.transpose(0, 3, 1, 2)})
    for each in (net, folded):
        np.testing.assert_allclose(each.logits(x), want, rtol=1e-4, atol=1e-3)


# Names.


@pytest.mark.parametrize(
    ("names", "want"),
    [
        (["/layer1/conv1/Conv", "/conv1/Conv"], ["layer1_conv1", "conv1"]),
        (["/layer1/layer1.0/conv1/Conv", "x"], ["layer1_0_conv1", "x"]),
        (["/net/conv/Conv", "/net/conv/Conv_1"], ["conv", "conv_2"]),
        (["model/c2d/Conv2D", "model/Conv"], ["model_c2d", "model"]),
        (["Conv_0", "9"], ["conv_0", "conv9"]),
        (["input", "Input"], ["input_2", "input_3"]),
        (["", "-"], ["t0", "conv"]),
        (["über::x:0", "a b\nc"], ["ber_x_0", "a_b_c"]),
        (["q" * 50, "7" * 50], ["q" * 40, "conv"]),
    ],
)
def test_names(tmp_path, names, want):
    net, y = Net(2, 3, 3), "x"
    for name in names:
        y = net.add("Conv", y, numbers(2, 2, 1, 1))
        net.nodes[-1].name = name
    net.add("GlobalAveragePool", y, name="/net/pool/GlobalAveragePool")
    got = import_onnx(save(tmp_path, net))
    assert [x.name for x in got.layers[:2]] == want


def test_names_of_modules(tmp_path):
    """As torch names them: an operator of its own name only where the module does not say it."""
    net = Net(2, 4, 4)
    y = net.add("Relu", "x", name="/layer1/layer1.0/relu/Relu")
    z = net.add("Relu", y, name="/layer1/layer1.0/relu/Relu_1")
    y = net.add("Add", y, z, name="/layer1/layer1.0/Add")
    y = net.add("GlobalAveragePool", y, name="/avgpool/GlobalAveragePool")
    y = net.add("Flatten", y, name="/Flatten")
    net.add("Gemm", y, numbers(2, 3), name="/fc/Gemm")
    assert [x.name for x in import_onnx(save(tmp_path, net)).layers] == [
        "layer1_0_relu",
        "layer1_0_relu_2",
        "layer1_0_add",
        "avgpool_globalaveragepool",
        "flatten",
        "fc",
    ]


# Nodes that can't be converted.


def image(op, *inputs, opset=17, outputs=1, batch="n", **attributes):
    """A net of one such node on images of 3 channels, 4x5 pixels."""
    net = Net(3, 4, 5, opset=opset, batch=batch)
    net.add(op, "x", *inputs, name="it", outputs=outputs, **attributes)
    return net


def vector(op, *inputs, opset=17, outputs=1, **attributes):
    """A net of one such node on vectors of 6."""
    net = Net(6, opset=opset)
    net.add(op, "x", *inputs, name="it", outputs=outputs, **attributes)
    return net


KERNEL = {"kernel_shape": [2, 2]}
ONES = [np.ones(3, np.float32)] * 4
BOUND = np.full(6, 0.5, np.float32)
DAMAGED = "the file is damaged; export it again"
FLAT = "flatten whole samples"
BIAS = "give constants to the convolution or linear layer before, as its bias"
CONV = numbers(2, 3, 2, 2)
PADS = (
    "only zeros around an image right before a Conv are supported - "
    "give the pads to the convolution"
)

BAD_NODES = [
    (vector("Sigmoid"), "is not supported - train it with ReLU instead"),
    (
        vector("Mul", BOUND),
        "is not supported - fold constants into the weights beside them before export",
    ),
    (
        vector("Shape"),
        "is not supported - if it only computes a shape, export with torch.flatten(x, 1) or "
        "simplify with onnxsim",
    ),
    (
        vector("QuantizeLinear", BOUND[0]),
        "is not supported - export the float network, before quantisation",
    ),
    (vector("TopK"), "is not supported - rebuild the network without it"),
    (vector("Sum", "x"), "is not supported - use Add"),
    (
        image("Conv", numbers(3, 1, 2, 2), group=3),
        "group 3, only 1 is supported - use a plain convolution",
    ),
    (
        image("Conv", CONV, dilations=[2, 1]),
        "dilations (2, 1), only 1 is supported - use a plain convolution",
    ),
    (
        image("Conv", numbers(2, 3, 2)),
        "a 1-D convolution, only 2-D is supported - use 2-D convolutions",
    ),
    (image("Conv", CONV, numbers(3)), f"its bias has the shape (3,) - {DAMAGED}"),
    (
        image("Conv", CONV, kernel_shape=[3, 3]),
        f"its kernel_shape (3, 3) is not that of its weight - {DAMAGED}",
    ),
    (image("Conv", CONV, pads=[1, 1]), "pads (1, 1) are not 4 numbers - use 2-D layers"),
    (
        image("Conv", CONV, pads=[0, -1, 0, 0]),
        "pads (0, -1, 0, 0) cut pixels off - crop the samples before they come in",
    ),
    (image("Conv", CONV, strides=[0, 1]), f"strides (0, 1) are not positive - {DAMAGED}"),
    (image("Conv", CONV, strides=[1]), "strides of 1 axes, only 2 are supported - use 2-D layers"),
    (image("Conv", CONV, auto_pad="SOME"), f"auto_pad 'SOME' is unknown - {DAMAGED}"),
    (image("Conv", CONV, strides=1), f"its 'strides' is of the wrong type - {DAMAGED}"),
    (
        image("Conv", CONV, colour=1),
        "has attributes that are not supported ('colour') - do without",
    ),
    (image("Conv"), f"has no weight - {DAMAGED}"),
    (image("Conv", "x"), "its weight 'x' is no constant - export with constants in place of it"),
    (
        image("Conv", ints(1, 2)),
        "its weight 'it_1' is int64, must be float - export the network in float32",
    ),
    (image("Conv", CONV[:0]), f"its weight 'it_1' is empty - {DAMAGED}"),
    (
        image("Conv", np.full_like(CONV, np.nan)),
        "its weight 'it_1' holds NaN or infinity - train and export it again",
    ),
    (
        image("Conv", np.full(CONV.shape, 1e300)),
        "its weight 'it_1' holds NaN or infinity - train and export it again",
    ),
    (
        image("Conv", np.full(CONV.shape, "text")),
        "the constant 'it_1' is object, must be numbers - export in float32",
    ),
    (
        image("Conv", numbers(2, 4, 2, 2)),
        "Layer 'it' has weights for 4 channels, but 3 arrive - mend the network and export it "
        "again",
    ),
    (
        image("Conv", numbers(2, 3, 5, 2)),
        "Layer 'it' has a kernel of 5x2 that does not fit its input of 4x5 - mend the network and "
        "export it again",
    ),
    (vector("Conv", CONV), "reads vectors, must read images - move the flatten behind it"),
    (image("Gemm", numbers(60, 2)), "reads images, must read vectors - put a Flatten before it"),
    (vector("Gemm", numbers(6, 2), transA=1), "transA turns the batch - export without transA"),
    (
        vector("Gemm", numbers(6, 2), numbers(3)),
        "adds a constant of the shape (3,), must be one value for each output - use a plain bias",
    ),
    (
        vector("Gemm", numbers(6, 2), numbers(2, 2)),
        "adds a constant of the shape (2, 2), must be one value for each output - use a plain bias",
    ),
    (vector("Gemm", numbers(6, 2), alpha=np.nan), f"its 'alpha' is not a number - {DAMAGED}"),
    (
        vector("Gemm", numbers(6, 2), alpha=np.inf),
        f"its alpha inf gives values without bound - {DAMAGED}",
    ),
    (
        vector("Gemm", numbers(5, 2)),
        "Layer 'it' has weights for 5 inputs, but 6 arrive - mend the network and export it again",
    ),
    (
        vector("MatMul", numbers(2, 6, 2)),
        "its weight 'it_1' has 3 dimensions, must have 2 - use a linear layer",
    ),
    (vector("MatMul", "x"), "its weight 'x' is no constant - export with constants in place of it"),
    (
        vector("Add", BOUND),
        f"adds the constant 'it_1' to what is no product that it alone reads - {BIAS}",
    ),
    (vector("Add"), f"has 1 inputs, must have 2 - {DAMAGED}"),
    (
        image("BatchNormalization", *ONES, training_mode=1),
        "normalises by the batch or by pixel - export it for inference",
    ),
    (
        image("BatchNormalization", *ONES[:3], -np.ones(3, np.float32)),
        f"its variance 'it_4' is not positive - {DAMAGED}",
    ),
    (vector("BatchNormalization", *ONES), f"has not one number for each of 6 channels - {DAMAGED}"),
    (
        vector("Clip", np.float32(1), np.float32(0)),
        f"its bounds 1 and 0 leave nothing - {DAMAGED}",
    ),
    (vector("Clip", BOUND), f"its bound 'it_1' is no single number - {DAMAGED}"),
    (
        vector("Clip", np.float32(np.nan)),
        "its bound 'it_1' holds NaN or infinity - train and export it again",
    ),
    (image("MaxPool", pads=[1, 1, 1, 1], **KERNEL), "pads its input - use a pool without padding"),
    (
        image("MaxPool", auto_pad="SAME_UPPER", **KERNEL),
        "pads its input - use a pool without padding",
    ),
    (
        image("MaxPool", dilations=[1, 2], **KERNEL),
        "dilations (1, 2), only 1 is supported - use a plain pool",
    ),
    (
        image("AveragePool", ceil_mode=1, strides=[2, 2], **KERNEL),
        "ceil_mode on 4x5 pixels gives windows that reach outside - use ceil_mode 0",
    ),
    (
        image("AveragePool", kernel_shape=[2]),
        "kernel_shape of 1 axes, only 2 are supported - use 2-D layers",
    ),
    (
        image("MaxPool"),
        "kernel_shape of 0 axes, only 2 are supported - use 2-D layers",
    ),
    (
        image("ReduceMean", axes=[1, 2]),
        "takes the mean of other axes than rows and columns - use a global average pool",
    ),
    (
        image("ReduceMean"),
        "takes the mean of other axes than rows and columns - use a global average pool",
    ),
    (image("Flatten", axis=2), f"axis 2, only 1 is supported - {FLAT}"),
    (
        image("Reshape", ints(-1, 3, 20)),
        f"gives samples the shape (-1, 3, 20), only flat ones are supported - {FLAT}, (n, -1)",
    ),
    (
        image("Reshape", ints(-1, 30)),
        f"gives samples the shape (-1, 30), only flat ones are supported - {FLAT}, (n, -1)",
    ),
    (
        image("Reshape", ints(2, -1)),
        f"gives samples the shape (2, -1), only flat ones are supported - {FLAT}, (n, -1)",
    ),
    (
        image("Reshape", ints(1, -1), batch=4),
        f"gives samples the shape (1, -1), only flat ones are supported - {FLAT}, (n, -1)",
    ),
    (
        image("Reshape", ints(-1)),
        f"gives samples the shape (-1,), only flat ones are supported - {FLAT}, (n, -1)",
    ),
    (
        image("Reshape", ints(-1, -1)),
        f"gives samples the shape (-1, -1), only flat ones are supported - {FLAT}, (n, -1)",
    ),
    (
        image("Reshape", ints(0, 0, 0, 0, 0)),
        f"gives samples the shape (0, 0, 0, 0, 0), only flat ones are supported - {FLAT}, (n, -1)",
    ),
    (
        image("Reshape", ints(0, -1), allowzero=1),
        f"gives samples the shape (0, -1), only flat ones are supported - {FLAT}, (n, -1)",
    ),
    (image("Reshape", BOUND), f"its shape 'it_1' is float32 - {DAMAGED}"),
    (image("Squeeze", ints(2, 3)), f"drops other axes than rows and columns of one pixel - {FLAT}"),
    (image("Squeeze"), f"drops other axes than rows and columns of one pixel - {FLAT}"),
    (
        image("Transpose", perm=[0, 2, 1, 3]),
        "turns axes by (0, 2, 1, 3), only channels last to first is supported - export the network "
        "channels first",
    ),
    (
        vector("Transpose"),
        "turns axes by None, only channels last to first is supported - export the network "
        "channels first",
    ),
    (image("Pad", ints(0, 0, 1, 1, 0, 0, 1, 1)), f"pads (0, 0, 1, 1, 0, 0, 1, 1), {PADS}"),
    (
        image("Pad", ints(0, 0, 1, 1, 0, 0, 1, 1), mode="edge"),
        "pads with something else than zeros - pad with zeros",
    ),
    (
        image("Pad", ints(0, 0, 1, 1, 0, 0, 1, 1), np.float32(-np.inf)),
        "pads with something else than zeros - pad with zeros",
    ),
    (
        image("Cast", to=onnx.TensorProto.INT8),
        "casts samples to another type than float - export in float32",
    ),
    (
        vector("Dropout", "", np.array(True)),
        "is in training mode - export the network for inference",
    ),
    (vector("Softmax", axis=0), "axis 0 is not that of the classes - use softmax over the classes"),
    (image("Softmax"), "axis -1 is not that of the classes - use softmax over the classes"),
    (
        vector("Constant", value_strings=["a"]),
        "holds no numbers - export with plain tensors",
    ),
    (vector("Constant"), f"has 0 values, must have 1 - {DAMAGED}"),
]


@pytest.mark.parametrize(("net", "text"), BAD_NODES, ids=[x[1][:60] for x in BAD_NODES])
def test_nodes_that_can_not_be_converted(tmp_path, net, text):
    refuses_node(tmp_path, net, f"'it' ({net.nodes[0].op_type}): {text}")


def test_a_constant_for_samples(tmp_path):
    net = Net(6)
    net.add("Relu", numbers(6), name="it")
    refuses_node(
        tmp_path, net,
        "'it' (Relu): reads the constant 'it_0' where samples belong - fold constants before "
        "export",
    )  # fmt: skip
    net = Net(6)
    net.add("MatMul", numbers(2, 6), "x", name="it")
    refuses_node(
        tmp_path, net,
        "'it' (MatMul): its constant 'it_0' stands first, must stand second - multiply samples by "
        "weights, x @ w",
    )  # fmt: skip


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "GlobalAveragePool", "BatchNormalization"])
def test_images_in_another_layout(tmp_path, op):
    inputs = {"Conv": [CONV], "BatchNormalization": ONES}.get(op, [])
    more = KERNEL if op == "MaxPool" else {}
    net = Net(4, 5, 3)
    y = net.add("Transpose", "x", perm=[0, 3, 1, 2])
    net.add(op, net.add("Transpose", y, perm=[0, 2, 3, 1]), *inputs, name="it", **more)
    refuses_node(
        tmp_path, net,
        f"'it' ({op}): reads images channels last - export the network channels first",
    )  # fmt: skip
    net = Net(4, 5)
    net.add(op, "x", *inputs, name="it", **more)
    refuses_node(
        tmp_path, net,
        f"'it' ({op}): reads images without a channel axis - give the input the shape (n, 1, H, W)",
    )  # fmt: skip


def test_sums_that_do_not_fit(tmp_path):
    net = Net(3, 4, 5)
    y = net.add("Conv", "x", numbers(3, 3, 1, 1), strides=[2, 1])
    net.add("Add", "x", y, name="it")
    refuses_node(
        tmp_path, net,
        "'it' (Add): adds 3x4x5 and 3x2x5 values - add inputs of one shape only",
    )  # fmt: skip
    net = Net(3, 4, 5)
    y = net.add("Conv", "x", numbers(3, 3, 1, 1))
    net.add("Add", y, net.add("Add", y, numbers(3, 1, 1), name="it"))
    refuses_node(
        tmp_path, net,
        "'it' (Add): adds the constant 'it_1' to what is no product that it alone reads - " + BIAS,
    )  # fmt: skip


def test_a_softmax_inside(tmp_path):
    net = Net(6)
    net.add("Gemm", net.add("Softmax", "x", name="it"), numbers(6, 2))
    refuses_node(
        tmp_path, net,
        "'it' (Softmax): stands inside the network - keep softmax for the very end",
    )  # fmt: skip


def test_a_pad_that_others_read(tmp_path):
    net = Net(3, 4, 5)
    y = net.add("Pad", "x", ints(0, 0, 1, 1, 0, 0, 1, 1), name="it")
    net.add("Add", net.add("Conv", y, numbers(3, 3, 1, 1)), y)
    refuses_node(tmp_path, net, f"'it' (Pad): pads (0, 0, 1, 1, 0, 0, 1, 1), {PADS}")


@pytest.mark.parametrize("wanted", [False, True])
def test_further_outputs(tmp_path, wanted):
    net = Net(3, 4, 5)
    y = net.add("MaxPool", "x", name="it", outputs=2, **KERNEL)
    if wanted:
        net.add("Add", y, "t0_1")
    refuses_node(
        tmp_path, net if wanted else net.model("t0_1"),
        "'it' (MaxPool): its further output 't0_1' is used - export the network for inference",
    )  # fmt: skip


def test_other_domains(tmp_path):
    net = vector("Gelu")
    net.nodes[0].domain = "com.example"
    refuses_node(
        tmp_path, net,
        "'it' (Gelu): is of the domain 'com.example' - export with ONNX's own operators only",
    )  # fmt: skip
    net = vector("a b\nc")
    refuses_node(
        tmp_path, net, "'it' ('a b\\nc'): is not supported - rebuild the network without it"
    )


def test_every_bad_node_is_named(tmp_path):
    """Behind one that can't be converted, too; a node without a name goes by its output."""
    net = Net(3, 4, 5)
    y = net.add("Conv", "x", numbers(3, 1, 2, 2), name="conv3", group=3)
    y = net.add("Sigmoid", y, name="act")
    y = net.add("MaxPool", y, name="pool", dilations=[2, 2], **KERNEL)
    y = net.add("Relu", net.add("Flatten", y))
    y = net.add("Gemm", y, np.full((6, 2), np.inf, np.float32), name="")
    net.add("Erf", y, name="last")
    refuses(
        tmp_path,
        net,
        ": 5 nodes can't be converted: "
        "'conv3' (Conv): group 3, only 1 is supported - use a plain convolution; "
        "'act' (Sigmoid): is not supported - train it with ReLU instead; "
        "'pool' (MaxPool): dilations (2, 2), only 1 is supported - use a plain pool; "
        "'t5' (Gemm): its weight '_1' holds NaN or infinity - train and export it again; "
        "'last' (Erf): is not supported - train it with ReLU instead",
    )


# Files that are wrong as a whole.


def fine(**options):
    net = Net(6, **options)
    net.add("Gemm", "x", numbers(6, 2), name="fc")
    return net


def test_no_file(tmp_path):
    refuses(tmp_path, tmp_path / "none.onnx", ": no such file; name an .onnx file")
    refuses(tmp_path, tmp_path, ": can't be read: is a directory")


def test_no_onnx_file(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_text("hello, world")
    broken = ": is no ONNX file, or is damaged or cut short; copy or export it again"
    hollow = ": holds no ONNX network, or is cut short; copy or export it again"
    refuses(tmp_path, path, broken)
    path.write_bytes(b"")
    refuses(tmp_path, path, hollow)
    whole = fine().model().SerializeToString()
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(LutgenError) as caught:
            import_onnx(path)
        assert str(caught.value) in (f"{path}{broken}", f"{path}{hollow}")


def test_damaged_files(tmp_path):
    """Whatever bytes change, it is an error of ours or a network."""
    rng = np.random.default_rng(5)
    path = tmp_path / "net.onnx"
    net = Net(2, 4, 5)
    y = net.add("Conv", net.add("Pad", "x", ints(0, 0, 1, 1, 0, 0, 1, 1)), numbers(2, 2, 2, 2))
    y = net.add("Clip", net.add("MaxPool", y, **KERNEL), np.float32(0), np.float32(6))
    net.add("Gemm", net.add("Reshape", y, ints(-1, 40)), numbers(40, 2), numbers(2))
    whole = np.frombuffer(net.model().SerializeToString(), np.uint8)
    import_onnx(save(tmp_path, net))
    for _ in range(600):
        changed = whole.copy()
        changed[rng.integers(0, len(whole), rng.integers(1, 4))] = rng.integers(0, 256)
        path.write_bytes(changed.tobytes())
        try:
            import_onnx(path)
        except LutgenError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 - a network is fine as well


def test_opsets(tmp_path):
    newest = onnx.defs.onnx_opset_version()
    import_onnx(save(tmp_path, fine(opset=newest)))
    refuses(
        tmp_path,
        fine(opset=newest + 1),
        f": opset {newest + 1} is newer than {newest}, the last that onnx {onnx.__version__} "
        "knows; run `pip install -U onnx`, or export with an older opset",
    )
    refuses(
        tmp_path,
        fine(opset=6),
        ": opset 6 is older than 7, from which on operators mean what they mean today; export it "
        "again, or use onnx.version_converter",
    )
    model = fine().model()
    model.opset_import[0].domain = "ai.onnx.ml"
    refuses(
        tmp_path,
        model,
        ": uses no standard operators; export it with those of ONNX's own domain",
    )


def test_inputs(tmp_path):
    info = onnx.helper.make_tensor_value_info
    model = fine().model()
    model.graph.input.append(info("z", FLOAT, ["n", 6]))
    refuses(
        tmp_path, model, ": has 2 inputs ('x', 'z'), must have 1; export a network of one input"
    )
    del model.graph.input[:]
    refuses(tmp_path, model, ": has no inputs, must have 1; export a network of one input")
    floats = "must be float; export it with a float input"
    refuses(tmp_path, fine(kind=onnx.TensorProto.UINT8), f": the input 'x' is uint8, {floats}")
    model = fine().model()
    model.graph.input[0].type.tensor_type.elem_type = 99
    refuses(tmp_path, model, f": the input 'x' is of an unknown type, {floats}")
    model.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = FLOAT
    refuses(tmp_path, model, f": the input 'x' is undefined, {floats}")


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (None, "has no shape; export it with fixed sizes but for the batch"),
        (
            ["n"],
            "has 1 dimensions, must have a batch of vectors (n, K) or of images (n, C, H, W)",
        ),
        (
            ["n", 1, 2, 3, 4],
            "has 5 dimensions, must have a batch of vectors (n, K) or of images (n, C, H, W)",
        ),
        (
            ["n", 3, "height", 4],
            "has a dimension 2 that is 'height', must be a number above 0; only the batch may "
            "vary: export it with fixed sizes",
        ),
        (
            ["n", None],
            "has a dimension 1 that is not fixed, must be a number above 0; only the batch may "
            "vary: export it with fixed sizes",
        ),
        (
            ["n", 0],
            "has a dimension 1 that is 0, must be a number above 0; only the batch may vary: "
            "export it with fixed sizes",
        ),
    ],
)
def test_shapes_of_the_input(tmp_path, shape, text):
    model = fine().model()
    info = onnx.helper.make_tensor_value_info("x", FLOAT, shape)
    model.graph.input[0].CopyFrom(info)
    refuses(tmp_path, model, f": the input 'x' {text}")


def test_outputs(tmp_path):
    net = fine()
    net.add("Relu", "t0")
    refuses(
        tmp_path,
        net.model("t0", "t1"),
        ": has 2 outputs ('t0', 't1'), must have 1; export the logits alone",
    )
    refuses(
        tmp_path,
        net.model("t7"),
        ": no node makes the output 't7'; the file is damaged",
    )
    through = "does not depend on the input through any layer; export the whole network"
    refuses(tmp_path, net.model("x"), f": the output 'x' {through}")
    refuses(tmp_path, net.model("fc_1"), f": the output 'fc_1' {through}")
    net = Net(2, 4, 5)
    y = net.add("Conv", "x", numbers(3, 2, 2, 2))
    pixels = "has 3x4 pixels, must be one value for each class; end the network in a pool and a "
    refuses(tmp_path, net, f": the output 't0' {pixels}linear layer")
    net.add("Flatten", y)
    refuses(tmp_path, net, f": the output 't1' {pixels}linear layer")


def test_graphs(tmp_path):
    model = fine().model()
    model.graph.node[0].input[0] = "y"
    refuses(
        tmp_path,
        model,
        ": 'fc' reads 'y', which no earlier node makes; the file is damaged or its nodes are not "
        "in order",
    )
    model = fine().model()
    model.graph.node[0].input[0] = "t0"
    refuses(
        tmp_path,
        model,
        ": 'fc' reads 't0', which no earlier node makes; the file is damaged or its nodes are not "
        "in order",
    )
    model = fine().model()
    model.graph.node.append(model.graph.node[0])
    refuses(tmp_path, model, ": 't0' is made twice; the file is damaged")
    model = fine().model()
    model.graph.sparse_initializer.add().dims.append(3)
    refuses(tmp_path, model, ": holds sparse weights; export them dense")
    for field, value in (("raw_data", b"short"), ("data_type", 98), ("dims", -1)):
        model = fine().model()
        if field == "dims":
            model.graph.initializer[0].dims[0] = value
        else:
            setattr(model.graph.initializer[0], field, value)
        refuses_node(tmp_path, model, f"'fc' (Gemm): the constant 'fc_1' can't be read - {DAMAGED}")


# Weights outside the file.


def outside(tmp_path, location="net.data", **entries):
    """A model whose weight lies elsewhere, and the path to put it."""
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    model = fine().model()
    tensor = model.graph.initializer[0]
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    path = save(folder, model)
    return path, data


@pytest.mark.parametrize(
    ("before", "after", "entries"),
    [
        (0, 0, {}),
        (16, 0, {"offset": 16}),
        (16, 5, {"offset": 16, "length": 48}),
        (0, 5, {"length": 48, "checksum": "0"}),
    ],
)
def test_weights_outside(tmp_path, before, after, entries):
    path, data = outside(tmp_path, "sub/../net.data", **entries)
    (path.parent / "sub").mkdir()
    (path.parent / "net.data").write_bytes(b"-" * before + data + b"-" * after)
    want = import_onnx(save(tmp_path, fine())).layers[0].weight
    np.testing.assert_array_equal(import_onnx(path).layers[0].weight, want)


MEND = "put it beside the model and export that again"


@pytest.mark.parametrize("kind", ["absolute", "above", "link", "folder link", "none"])
def test_weights_outside_the_folder(tmp_path, kind):
    """A real file with the right bytes, but not one that the model may name."""
    secret = tmp_path / "secret.data"
    location = {
        "absolute": str(secret),
        "above": "../secret.data",
        "link": "net.data",
        "folder link": "sub/secret.data",
        "none": "",
    }[kind]
    path, data = outside(tmp_path, location)
    secret.write_bytes(data)
    if "link" in kind:
        link = path.parent / Path(location).parts[0]
        link.symlink_to(secret if kind == "link" else tmp_path)
    refuses(
        tmp_path,
        path,
        f": the weight 'fc_1' lies in {location!r}, outside the model's folder; {MEND}",
    )


def test_weights_outside_that_are_not_there(tmp_path):
    path, data = outside(tmp_path)
    refuses(tmp_path, path, f": the weight 'fc_1' lies in 'net.data', which is not there; {MEND}")
    (path.parent / "net.data").mkdir()
    refuses(tmp_path, path, f": the weight 'fc_1' lies in 'net.data', which is not there; {MEND}")
    (path.parent / "net.data").rmdir()
    (path.parent / "net.data").write_bytes(data[:-1])
    refuses(
        tmp_path,
        path,
        ": 1 node can't be converted: 'fc' (Gemm): the constant 'fc_1' can't be read - "
        "the file is damaged; export it again",
    )
    for entries in ({"length": 48}, {"offset": 10**30}, {"offset": -4}):
        path, _ = outside(tmp_path, **entries)
        refuses(
            tmp_path,
            path,
            ": the weight 'fc_1' lies in 'net.data', which is too short; copy or export it again",
        )
    for entries in ({"offset": "many"}, {"location": "a\0b"}):
        path, _ = outside(tmp_path, **entries)
        refuses(
            tmp_path,
            path,
            ": the weight 'fc_1' has no readable place outside; the file is damaged",
        )


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_weights_outside_that_may_not_be_read(tmp_path):
    path, data = outside(tmp_path)
    (path.parent / "net.data").write_bytes(data)
    (path.parent / "net.data").chmod(0)
    refuses(tmp_path, path, ": the weight 'fc_1': 'net.data' can't be read: permission denied")


def test_without_the_package(tmp_path, monkeypatch):
    path = save(tmp_path, fine())
    monkeypatch.setitem(sys.modules, "onnx", None)
    refuses(
        tmp_path,
        path,
        ": onnx, which reads such files, is not installed; run `pip install 'lutgen[onnx]'`",
    )


@pytest.mark.parametrize("size", [1e16, 1e38, -1e38])
def test_weights_that_float32_can_not_work_with(tmp_path, size):
    net = Net(4)
    net.add("MatMul", "x", np.array([[1, size]] * 4, np.float32))
    refuses_node(
        tmp_path,
        net,
        f"'matmul0' (MatMul): its weight 'matmul0_1' holds {abs(size):.2g}, more than 1e+15 - "
        "train and export it again",
    )


def test_networks_whose_results_grow_out_of_bounds(tmp_path):
    """Each weight is fine, and float32 can't hold what they make of samples."""
    net = Net(6)
    at = "x"
    for _ in range(4):
        at = net.add("MatMul", at, np.full((6, 6), 1e12, np.float32))
    with pytest.raises(ValueError, match=r"^Network gives \S+ at layer 'matmul1', more than 1e"):
        trained(import_onnx(save(tmp_path, net)))
    net = Net(6)
    net.add("MatMul", "x", np.full((6, 3), 1e-45, np.float32))
    assert trained(import_onnx(save(tmp_path, net))).model.classes == 3  # they are nearly 0


def trained(net):
    """The shortest training of a network on a few samples."""
    from training import small

    from lutgen.train import train

    data = small(shape=(6,))
    return train(data, net=net, centroids=2, stages=("replace",), threads=1)


def test_graphs_whose_values_would_fill_the_memory(tmp_path):
    net = Net(1, 4, 4)
    net.add("Conv", "x", numbers(1, 1, 9000, 1), pads=[8999, 4000, 8999, 4000])
    refuses_node(
        tmp_path,
        net,
        "'conv0' (Conv): gives 72,060,012 values a sample, more than 8,388,608 - rebuild the "
        "network for smaller samples",
    )
    net = Net(3, 1 << 20, 1 << 20)
    net.add("Relu", "x")
    refuses(
        tmp_path,
        net,
        ": the input 'x' has 3,298,534,883,328 values a sample, more than 8,388,608; export a "
        "network of smaller samples",
    )


def test_a_deep_chain_is_read(tmp_path):
    """Nothing goes from node to node by recursion."""
    net = Net(4)
    at = net.add("MatMul", "x", numbers(4, 3))
    for _ in range(3000):
        at = net.add("Identity", at)
    assert len(import_onnx(save(tmp_path, net)).layers) == 1
