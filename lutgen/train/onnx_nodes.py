"""ONNX nodes as layers of a float network: one method for an operator.

A method reads its attributes first and its inputs then, so that a node behind one that can't be
converted is still checked as far as may be.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, isnan, prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lutgen.train.arch import same
from lutgen.train.floatnet import (
    Add,
    AvgPool2d,
    BatchNorm,
    Clip,
    Conv2d,
    Flatten,
    FloatLayer,
    Linear,
    MaxPool2d,
    ReLU,
    Weighted,
)
from lutgen.train.optim import Float32Array

__all__ = ["OPERATORS", "STANDARD", "Converter", "Value", "axes_turned"]

STANDARD = ("", "ai.onnx")  # the names of ONNX's own domain
DAMAGED = "the file is damaged; export it again"

Shape = tuple[int, ...]
T = TypeVar("T")

# What to do about operators that people meet often.
HINTS = {
    **dict.fromkeys(
        (
            *("Sigmoid", "Tanh", "LeakyRelu", "PRelu", "Elu", "Selu", "Gelu", "Erf", "Mish"),
            *("HardSigmoid", "HardSwish", "Swish", "Softplus", "ThresholdedRelu"),
        ),
        "train it with ReLU instead",
    ),
    **dict.fromkeys(
        ("Mul", "Div", "Sub", "Pow", "Sqrt"),
        "fold constants into the weights beside them before export",
    ),
    **dict.fromkeys(
        ("Shape", "Gather", "Concat", "Unsqueeze", "Slice"),
        "if it only computes a shape, export with torch.flatten(x, 1) or simplify with onnxsim",
    ),
    **dict.fromkeys(
        (
            *("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul"),
            *("ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"),
        ),
        "export the float network, before quantisation",
    ),
    "Sum": "use Add",
    "ReduceSum": "use a global average pool",
    "GlobalMaxPool": "use a MaxPool with the image's size as kernel",
}


class RefusalError(Exception):
    """Why a node can't be converted, and what to do about it."""

    def __init__(self, why: str, mend: str):
        super().__init__(f"{why} - {mend}")


class UnknownError(Exception):
    """A node reads what comes of one that can't be converted."""


@dataclass(frozen=True)
class Value:
    """What a tensor of the file is in our network.

    Attributes
    ----------
    source : str
        The layer that gives it, or ``input``.
    shape : tuple of int
        ``(C, H, W)`` or ``(K,)``.
    layout : str
        Axes in the file, behind the batch: ``chw``, ``hwc``, ``hw``; ``flat`` is a vector.
    order : tuple of int or None
        ``(C, H, W)`` of the image that a vector was, in that order in the file, though our order is
        H, W, C.
    pad : (int, int, int, int)
        Zeros around it that the next convolution must add.
    sole : bool
        Nothing else reads ``source``.
    """

    source: str
    shape: Shape
    layout: str = "flat"
    order: Shape | None = None
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    sole: bool = True

    @property
    def dims(self) -> Shape:
        """The file's shape of one sample."""
        if self.layout == "flat":
            return self.shape
        c, h, w = self.shape
        return {"chw": (c, h, w), "hwc": (h, w, c), "hw": (h, w)}[self.layout]

    @property
    def spatial(self) -> set[int]:
        """Numbers of the file's axes that are rows and columns."""
        return {1, 2} if self.layout in ("hwc", "hw") else {2, 3}


Constant = NDArray[Any]


class Attributes:
    """A node's attributes, each asked for once; `done` refuses those that nobody asked for."""

    def __init__(self, onnx: Any, node: Any):
        self.onnx, self.left = onnx, {a.name: a for a in node.attribute}
        self.held = frozenset(self.left)

    def _take(self, name: str, kind: str, default: T, read: Callable[[Any], T]) -> T:
        attribute = self.left.pop(name, None)
        if attribute is None:
            return default
        if attribute.type != getattr(self.onnx.AttributeProto, kind):
            raise RefusalError(f"its {name!r} is of the wrong type", DAMAGED)
        return read(attribute)

    def whole(self, name: str, default: int) -> int:
        return self._take(name, "INT", default, lambda a: int(a.i))

    def real(self, name: str, default: float) -> float:
        value = self._take(name, "FLOAT", default, lambda a: float(a.f))
        if isnan(value):
            raise RefusalError(f"its {name!r} is not a number", DAMAGED)
        return value

    def text(self, name: str, default: str) -> str:
        return self._take(name, "STRING", default, lambda a: a.s.decode(errors="replace"))

    def ints(self, name: str, default: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return self._take(name, "INTS", default, lambda a: tuple(map(int, a.ints)))

    def tensor(self, name: str) -> Any:
        return self._take(name, "TENSOR", None, lambda a: a.t)

    def done(self) -> None:
        for name in self.left:
            raise RefusalError(
                f"has an attribute {name!r} that is not supported", "export without it"
            )


def axes_turned(node: Any) -> tuple[int, ...]:
    """The order of axes that a Transpose names."""
    return tuple(int(n) for a in node.attribute if a.name == "perm" for n in a.ints)


class Converter:
    """Converts nodes in order.

    Parameters
    ----------
    onnx : module
    opset : int
    nodes : list of NodeProto
        All needed, in order of use.
    constants : dict of TensorProto
    source, value : str, Value
        The input.
    batch : int or None
        Batch size, where it is fixed.
    output : str

    Attributes
    ----------
    layers : dict of FloatLayer
        By name.
    values : dict of Value, array or None
        Every tensor; None where it is unknown.
    problems : list of str
        A text for every node that can't be converted.
    """

    def __init__(
        self,
        onnx: Any,
        opset: int,
        nodes: list[Any],
        constants: dict[str, Any],
        source: str,
        value: Value,
        batch: int | None,
        output: str,
    ):
        self.onnx, self.opset, self.nodes, self.batch = onnx, opset, nodes, batch
        self.output = output
        self.tensors = constants
        self.values: dict[str, Value | Constant | None] = {source: value}
        self.shapes: dict[str, Shape] = {"input": value.shape}
        self.layers: dict[str, FloatLayer] = {}
        self.problems: list[str] = []
        self.uses = Counter(name for node in nodes for name in node.input)
        self.uses[output] += 1
        self.names = _names(nodes)
        self.used = {"input"}

    @property
    def shape(self) -> Shape:
        """Of one sample, as `FloatNet` has it."""
        inside = self.shapes["input"]
        return (*inside[1:], inside[0]) if len(inside) == 3 else inside

    def run(self) -> None:
        """Fills `layers`, `values` and `problems`."""
        for number, node in enumerate(self.nodes):
            self.name = self.names[number]
            result: Value | Constant | None = None
            try:
                result = self._node(node)
            except RefusalError as refusal:
                label = node.name or (node.output[0] if node.output else f"node {number}")
                op = node.op_type if node.op_type.isidentifier() else repr(node.op_type)
                self.problems.append(f"{label!r} ({op}): {refusal}")
            except UnknownError:
                pass
            if node.output:
                self.values[node.output[0]] = result

    def unique(self, name: str) -> str:
        """That name, or one like it that is free; taken from now on."""
        result, number = name, 1
        while result in self.used:
            number += 1
            result = f"{name}_{number}"
        self.used.add(result)
        return result

    def _node(self, node: Any) -> Value | Constant:
        if node.domain not in STANDARD:
            raise RefusalError(
                f"is of the domain {node.domain!r}", "export with ONNX's own operators only"
            )
        if node.op_type not in OPERATORS:
            hint = HINTS.get(node.op_type, "rebuild the network without it")
            raise RefusalError("is not supported", hint)
        for name in node.output[1:]:
            if self.uses[name]:
                raise RefusalError(
                    f"its further output {name!r} is used", "export the network for inference"
                )
        return OPERATORS[node.op_type](self, node, Attributes(self.onnx, node))

    # What nodes read.

    def _value(self, node: Any, number: int, *layouts: str) -> Value:
        """An input that samples flow through, in one of the layouts (default: any)."""
        name = node.input[number] if number < len(node.input) else ""
        if not name:
            raise RefusalError(f"has no input {number}", DAMAGED)
        value = self.values.get(name)
        if name in self.tensors or isinstance(value, np.ndarray):
            raise RefusalError(
                f"reads the constant {name!r} where samples belong", "fold constants before export"
            )
        if value is None:
            raise UnknownError
        if layouts and value.layout not in layouts:
            if value.layout == "flat":
                raise RefusalError("reads vectors, must read images", "move the flatten behind it")
            if "flat" in layouts and "chw" not in layouts:
                raise RefusalError("reads images, must read vectors", "put a Flatten before it")
            if value.layout == "hw":
                raise RefusalError(
                    "reads images without a channel axis", "give the input the shape (n, 1, H, W)"
                )
            raise RefusalError("reads images channels last", "export the network channels first")
        return replace(value, sole=value.sole and self.uses[name] == 1)

    def _has(self, node: Any, number: int) -> bool:
        return len(node.input) > number and bool(node.input[number])

    def _is_constant(self, node: Any, number: int) -> bool:
        name = node.input[number]
        return name in self.tensors or isinstance(self.values.get(name), np.ndarray)

    def _constant(self, node: Any, number: int, what: str) -> Constant:
        """A constant input of any type."""
        if not self._has(node, number):
            raise RefusalError(f"has no {what}", DAMAGED)
        name = node.input[number]
        if name in self.tensors:
            return self._array(self.tensors[name], name)
        value = self.values.get(name)
        if value is None:
            raise UnknownError
        if isinstance(value, Value):
            raise RefusalError(
                f"its {what} {name!r} is no constant", "export with constants in place of it"
            )
        return value

    def _array(self, tensor: Any, name: str) -> Constant:
        try:
            result: Constant = np.asarray(self.onnx.numpy_helper.to_array(tensor))
        except (ValueError, TypeError, KeyError, OverflowError, NotImplementedError):
            raise RefusalError(f"the constant {name!r} can't be read", DAMAGED) from None
        if tensor.data_type == self.onnx.TensorProto.BFLOAT16:
            result = result.astype(np.float32)
        return result

    def _floats(self, node: Any, number: int, what: str, *, finite: bool = True) -> Float32Array:
        """A constant input of real numbers."""
        array = self._constant(node, number, what)
        name = node.input[number]
        if array.dtype.kind != "f":
            raise RefusalError(
                f"its {what} {name!r} is {array.dtype}, must be float",
                "export the network in float32",
            )
        if not array.size:
            raise RefusalError(f"its {what} {name!r} is empty", DAMAGED)
        with np.errstate(over="ignore"):
            result = array.astype(np.float32)
        if not np.isfinite(result).all() if finite else np.isnan(result).any():
            raise RefusalError(
                f"its {what} {name!r} holds NaN or infinity", "train and export it again"
            )
        return result

    def _ints(self, node: Any, number: int, what: str) -> tuple[int, ...]:
        """A constant input of whole numbers."""
        array = self._constant(node, number, what)
        if array.dtype.kind not in "iu":
            raise RefusalError(f"its {what} {node.input[number]!r} is {array.dtype}", DAMAGED)
        return tuple(array.reshape(-1).tolist())

    def _axes(self, node: Any, attributes: Attributes, rank: int | None = None) -> set[int] | None:
        """Axes from an attribute, or, as in later opsets, from input 1."""
        axes = attributes.ints("axes", None)
        if axes is None and self._has(node, 1):
            axes = self._ints(node, 1, "axes")
        return None if axes is None else set(axes)

    # What nodes give.

    def _put(self, layer: FloatLayer, layout: str, order: Shape | None = None) -> Value:
        try:
            shape = layer.infer([self.shapes[name] for name in layer.inputs])
        except ValueError as problem:
            raise RefusalError(str(problem), "mend the network and export it again") from None
        self.layers[layer.name] = layer
        self.shapes[layer.name] = shape
        return Value(layer.name, shape, layout, order)

    def _like(self, value: Value, layer: FloatLayer) -> Value:
        return self._put(layer, value.layout, value.order)

    def _flat(self, value: Value, name: str) -> Value:
        if value.layout == "flat":
            return value
        c, h, w = value.shape
        turned = value.layout == "chw" and c > 1 and h * w > 1
        layer = Flatten(self.unique(name), [value.source])
        return self._put(layer, "flat", value.shape if turned else None)

    def _ends(self, name: str) -> bool:
        """Whether nothing but the output reads a tensor."""
        users = [node for node in self.nodes if name in node.input]
        if name == self.output:
            return not users
        passing = ("Identity", "Cast", "Dropout", "Flatten", "Reshape", "Squeeze")
        return all(x.op_type in passing and self._ends(x.output[0]) for x in users)

    # The operators.

    def conv(self, node: Any, attributes: Attributes) -> Value:
        kernel, group = attributes.ints("kernel_shape", None), attributes.whole("group", 1)
        stride, dilations, auto, pads = self._geometry(attributes)
        attributes.done()
        if group != 1:
            raise RefusalError(f"group {group}, only 1 is supported", "use a plain convolution")
        weight = self._floats(node, 1, "weight")
        if weight.ndim != 4:
            raise RefusalError(
                f"a {weight.ndim - 2}-D convolution, only 2-D is supported", "use 2-D convolutions"
            )
        bias = self._floats(node, 2, "bias") if self._has(node, 2) else None
        if bias is not None and bias.shape != weight.shape[:1]:
            raise RefusalError(f"its bias has the shape {bias.shape}", DAMAGED)
        if kernel is not None and kernel != weight.shape[2:]:
            raise RefusalError(f"its kernel_shape {kernel} is not that of its weight", DAMAGED)
        window = (weight.shape[2], weight.shape[3])
        steps = self._pair("strides", stride)
        if any(n != 1 for n in dilations or ()):
            raise RefusalError(
                f"dilations {dilations}, only 1 is supported", "use a plain convolution"
            )
        fixed = self._fixed_pad(auto, pads)
        value = self._value(node, 0, "chw")
        before = value.pad
        if fixed is None:
            size = (
                value.shape[1] + before[0] + before[2],
                value.shape[2] + before[1] + before[3],
            )
            fixed = same(size, window, steps, lower=auto == "SAME_LOWER")
        total = tuple(a + b for a, b in zip(before, fixed, strict=True))
        layer = Conv2d(
            self.unique(self.name),
            [value.source],
            weight.transpose(2, 3, 1, 0),
            bias,
            steps,
            (total[0], total[1], total[2], total[3]),
        )
        return self._put(layer, "chw")

    def _geometry(
        self, attributes: Attributes
    ) -> tuple[Shape | None, Shape | None, str, Shape | None]:
        return (
            attributes.ints("strides", None),
            attributes.ints("dilations", None),
            attributes.text("auto_pad", "NOTSET"),
            attributes.ints("pads", None),
        )

    def _pair(self, what: str, numbers: Shape | None) -> tuple[int, int]:
        if numbers is None:
            return 1, 1
        if len(numbers) != 2:
            raise RefusalError(
                f"{what} of {len(numbers)} axes, only 2 are supported", "use 2-D layers"
            )
        if min(numbers) < 1:
            raise RefusalError(f"{what} {numbers} are not positive", DAMAGED)
        return numbers[0], numbers[1]

    def _fixed_pad(self, auto: str, pads: Shape | None) -> tuple[int, int, int, int] | None:
        """The pad, or None where it depends on the image's size."""
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            return None
        if auto not in ("NOTSET", "VALID"):
            raise RefusalError(f"auto_pad {auto!r} is unknown", DAMAGED)
        if pads is None or auto == "VALID":
            return 0, 0, 0, 0
        if len(pads) != 4:
            raise RefusalError(f"pads {pads} are not 4 numbers", "use 2-D layers")
        if min(pads) < 0:
            raise RefusalError(
                f"pads {pads} cut pixels off", "crop the samples before they come in"
            )
        return pads[0], pads[1], pads[2], pads[3]

    def pool(self, node: Any, attributes: Attributes) -> Value:
        """MaxPool and AveragePool."""
        kernel = self._pair("kernel_shape", attributes.ints("kernel_shape", ()))
        stride, dilations, auto, pads = self._geometry(attributes)
        ceil = attributes.whole("ceil_mode", 0)
        attributes.whole("storage_order", 0)  # of the indices, which nothing reads
        attributes.whole("count_include_pad", 0)  # there is no pad
        attributes.done()
        steps = self._pair("strides", stride)
        if any(n != 1 for n in dilations or ()):
            raise RefusalError(f"dilations {dilations}, only 1 is supported", "use a plain pool")
        fixed = self._fixed_pad(auto, pads)
        padded = RefusalError("pads its input", "use a pool without padding")
        if fixed is not None and any(fixed):
            raise padded
        value = self._value(node, 0, "chw")
        size = (value.shape[1], value.shape[2])
        if fixed is None and any(same(size, kernel, steps)):
            raise padded
        over = [(n - k) % s for n, k, s in zip(size, kernel, steps, strict=True)]
        if ceil and any(over):
            raise RefusalError(
                f"ceil_mode on {size[0]}x{size[1]} pixels gives windows that reach outside",
                "use ceil_mode 0",
            )
        kind = MaxPool2d if node.op_type == "MaxPool" else AvgPool2d
        return self._put(kind(self.unique(self.name), [value.source], kernel, steps), "chw")

    def global_pool(self, node: Any, attributes: Attributes) -> Value:
        attributes.done()
        return self._mean(self._value(node, 0, "chw"))

    def _mean(self, value: Value) -> Value:
        size = (value.shape[1], value.shape[2])
        layer = AvgPool2d(self.unique(self.name), [value.source], size, size)
        return self._like(value, layer)

    def reduce_mean(self, node: Any, attributes: Attributes) -> Value:
        axes, keep = self._axes(node, attributes), attributes.whole("keepdims", 1)
        attributes.whole("noop_with_empty_axes", 0)
        attributes.done()
        value = self._value(node, 0)
        if value.layout not in ("chw", "hwc") or {a % 4 for a in axes or ()} != value.spatial:
            raise RefusalError(
                "takes the mean of other axes than rows and columns", "use a global average pool"
            )
        name = self.name
        value = self._mean(value)
        return value if keep else self._flat(value, f"{name}_flat")

    def gemm(self, node: Any, attributes: Attributes) -> Value:
        alpha, beta = attributes.real("alpha", 1.0), attributes.real("beta", 1.0)
        turn_input, turn = attributes.whole("transA", 0), attributes.whole("transB", 0)
        attributes.done()
        if turn_input:
            raise RefusalError("transA turns the batch", "export without transA")
        weight = self._matrix(node)
        weight = (weight.T if turn else weight) * np.float32(alpha)
        bias = None
        if self._has(node, 2):
            full = self._spread(self._floats(node, 2, "bias"), (1, weight.shape[1]))
            bias = full.reshape(-1) * np.float32(beta)
        return self._linear(node, weight, bias)

    def matmul(self, node: Any, attributes: Attributes) -> Value:
        attributes.done()
        return self._linear(node, self._matrix(node), None)

    def _matrix(self, node: Any) -> Float32Array:
        if self._has(node, 0) and self._is_constant(node, 0):
            raise RefusalError(
                f"its constant {node.input[0]!r} stands first, must stand second",
                "multiply samples by weights, x @ w",
            )
        weight = self._floats(node, 1, "weight")
        if weight.ndim != 2:
            raise RefusalError(
                f"its weight {node.input[1]!r} has {weight.ndim} dimensions, must have 2",
                "use a linear layer",
            )
        return weight

    def _linear(self, node: Any, weight: Float32Array, bias: Float32Array | None) -> Value:
        value = self._value(node, 0, "flat")
        if len(weight) == prod(value.shape):
            weight = _ours(weight, value)
        return self._put(Linear(self.unique(self.name), [value.source], weight, bias), "flat")

    def _spread(self, array: Float32Array, shape: Shape) -> Float32Array:
        """A constant as ONNX broadcasts it to one sample's outputs."""
        try:
            return np.broadcast_to(array, shape)
        except ValueError:
            raise RefusalError(
                f"adds a constant of the shape {array.shape}, must be one value for each output",
                "use a plain bias",
            ) from None

    def add(self, node: Any, attributes: Attributes) -> Value:
        attributes.done()
        if len(node.input) != 2:
            raise RefusalError(f"has {len(node.input)} inputs, must have 2", DAMAGED)
        for mine, other in ((0, 1), (1, 0)):
            if self._is_constant(node, other):
                return self._bias(node, mine, other)
        values = [self._value(node, n) for n in (0, 1)]
        alike = {(x.shape, x.layout, x.order) for x in values}
        if len(alike) != 1:
            text = " and ".join("x".join(map(str, x.dims)) for x in values)
            raise RefusalError(f"adds {text} values", "add inputs of one shape only")
        layer = Add(self.unique(self.name), [x.source for x in values])
        return self._like(values[0], layer)

    def _bias(self, node: Any, mine: int, other: int) -> Value:
        constant = self._floats(node, other, "constant")
        value = self._value(node, mine)
        layer = self.layers.get(value.source)
        if not isinstance(layer, Weighted) or not value.sole:
            raise RefusalError(
                f"adds the constant {node.input[other]!r} to what is no product that it alone "
                "reads",
                "give constants to the convolution or linear layer before, as its bias",
            )
        shape = {"flat": (1, -1), "chw": (1, -1, 1, 1), "hwc": (1, 1, 1, -1)}[value.layout]
        own = layer.bias.reshape(shape)
        layer.bias = (own + self._spread(constant, own.shape)).reshape(-1)
        return value

    def batch_norm(self, node: Any, attributes: Attributes) -> Value:
        epsilon = attributes.real("epsilon", 1e-5)
        attributes.real("momentum", 0.9)
        if attributes.whole("training_mode", 0) or not attributes.whole("spatial", 1):
            raise RefusalError("normalises by the batch or by pixel", "export it for inference")
        attributes.done()
        parts = [
            self._floats(node, number, what)
            for number, what in enumerate(("scale", "offset", "mean", "variance"), 1)
        ]
        if (parts[3] + np.float32(epsilon) <= 0).any():
            raise RefusalError(f"its variance {node.input[4]!r} is not positive", DAMAGED)
        value = self._value(node, 0, "chw", "flat")
        if any(x.shape != value.shape[:1] for x in parts):
            raise RefusalError(f"has not one number for each of {value.shape[0]} channels", DAMAGED)
        gain, offset, mean, variance = (_ours(x, value) for x in parts)
        name = self.unique(self.name)
        layer = BatchNorm(name, [value.source], gain, offset, mean, variance, epsilon)
        return self._like(value, layer)

    def relu(self, node: Any, attributes: Attributes) -> Value:
        attributes.done()
        value = self._value(node, 0)
        return self._like(value, ReLU(self.unique(self.name), [value.source]))

    def clip(self, node: Any, attributes: Attributes) -> Value:
        bounds = [attributes.real("min", -inf), attributes.real("max", inf)]
        attributes.done()
        for number in (1, 2):
            if self._has(node, number):
                bound = self._floats(node, number, "bound", finite=False)
                if bound.size != 1:
                    raise RefusalError(
                        f"its bound {node.input[number]!r} is no single number", DAMAGED
                    )
                bounds[number - 1] = float(bound.reshape(()))
        low, high = bounds
        if low > high:
            raise RefusalError(f"its bounds {low:g} and {high:g} leave nothing", DAMAGED)
        greatest = float(np.finfo(np.float32).max)
        low = -inf if low <= -greatest else low
        high = inf if high >= greatest else high
        value = self._value(node, 0)
        if (low, high) == (-inf, inf):
            return value
        name = self.unique(self.name)
        if (low, high) == (0, inf):
            return self._like(value, ReLU(name, [value.source]))
        return self._like(value, Clip(name, [value.source], low, high))

    def flatten(self, node: Any, attributes: Attributes) -> Value:
        axis = attributes.whole("axis", 1)
        attributes.done()
        value = self._value(node, 0)
        if axis not in (1, -len(value.dims)):
            raise RefusalError(f"axis {axis}, only 1 is supported", "flatten whole samples")
        return self._flat(value, self.name)

    def reshape(self, node: Any, attributes: Attributes) -> Value | Constant:
        keep = attributes.whole("allowzero", 0)
        attributes.done()
        target = self._ints(node, 1, "shape")
        if self._is_constant(node, 0):
            array = self._constant(node, 0, "input")
            filled = [n or keep or array.shape[i] for i, n in enumerate(target[: array.ndim])]
            try:
                return array.reshape([*filled, *target[array.ndim :]])
            except ValueError:
                raise RefusalError(f"can't give a constant the shape {target}", DAMAGED) from None
        value = self._value(node, 0)
        wrong = RefusalError(
            f"gives samples the shape {target}, only flat ones are supported",
            "flatten whole samples, (n, -1)",
        )
        if len(target) < 2 or target.count(-1) > 1 or min(target) < -1 or (keep and 0 in target):
            raise wrong
        whole = (1, *value.dims)
        rest = [n or (*whole, *[0] * len(target))[i] for i, n in enumerate(target)][1:]
        if -1 in rest:
            known = prod(n for n in rest if n != -1)
            if not known or prod(value.dims) % known:
                raise wrong
            rest[rest.index(-1)] = prod(value.dims) // known
        if target[0] not in (0, -1, 1, self.batch) or prod(rest) != prod(value.dims):
            raise wrong
        if len(rest) == 1:
            return self._flat(value, self.name)
        if tuple(rest) == value.dims:
            return value
        if value.layout == "hw" and tuple(rest) == value.shape:
            return replace(value, layout="chw")
        raise wrong

    def squeeze(self, node: Any, attributes: Attributes) -> Value:
        axes = self._axes(node, attributes)
        attributes.done()
        value = self._value(node, 0, "chw", "hwc")
        if {a % 4 for a in axes or ()} != value.spatial or value.shape[1:] != (1, 1):
            raise RefusalError(
                "drops other axes than rows and columns of one pixel", "flatten whole samples"
            )
        return self._flat(value, self.name)

    def transpose(self, node: Any, attributes: Attributes) -> Value | Constant:
        axes = attributes.ints("perm", None)
        attributes.done()
        if self._is_constant(node, 0):
            array = self._constant(node, 0, "input")
            try:
                return array.transpose(axes)
            except ValueError:
                raise RefusalError(f"can't turn a constant by {axes}", DAMAGED) from None
        value = self._value(node, 0)
        if axes is not None and axes == tuple(range(len(value.dims) + 1)):
            return value
        if axes == (0, 3, 1, 2) and value.layout == "hwc":
            return replace(value, layout="chw")
        if axes == (0, 2, 3, 1) and value.layout == "chw":
            return replace(value, layout="hwc")
        raise RefusalError(
            f"turns axes by {axes}, only channels last to first is supported",
            "export the network channels first",
        )

    def pad(self, node: Any, attributes: Attributes) -> Value:
        mode, pads = attributes.text("mode", "constant"), attributes.ints("pads", None)
        fill = attributes.real("value", 0.0)
        attributes.done()
        if pads is None:
            pads = self._ints(node, 1, "pads")
        if self._has(node, 2):
            constant = self._floats(node, 2, "value", finite=False)
            fill = float(constant.reshape(-1)[0])
        if mode != "constant" or fill:
            raise RefusalError("pads with something else than zeros", "pad with zeros")
        if self._has(node, 3):
            axes = [a % 4 for a in self._ints(node, 3, "axes")]
            if len(pads) != 2 * len(axes):
                raise RefusalError(f"pads {pads} do not fit axes {axes}", DAMAGED)
            every = [0] * 8
            for number, axis in enumerate(axes):
                every[axis], every[axis + 4] = pads[number], pads[number + len(axes)]
            pads = tuple(every)
        value = self._value(node, 0)
        if not any(pads):
            return value
        users = [x.op_type for x in self.nodes if node.output[0] in x.input]
        behind = node.output[0] != self.output and set(users) == {"Conv"}
        if (
            not behind
            or value.layout != "chw"
            or len(pads) != 8
            or min(pads) < 0
            or any(pads[n] for n in (0, 1, 4, 5))
        ):
            raise RefusalError(
                f"pads {pads}, only zeros around an image right before a Conv are supported",
                "give the pads to the convolution",
            )
        top, left, bottom, right = pads[2], pads[3], pads[6], pads[7]
        old = value.pad
        return replace(value, pad=(old[0] + top, old[1] + left, old[2] + bottom, old[3] + right))

    def softmax(self, node: Any, attributes: Attributes) -> Value:
        axis = attributes.whole("axis", -1 if self.opset >= 13 else 1)
        attributes.done()
        if not self._ends(node.output[0]):
            raise RefusalError("stands inside the network", "keep softmax for the very end")
        value = self._value(node, 0)
        dims = value.dims
        classes = {"hwc": 3, "hw": 0}.get(value.layout, 1)
        if axis % (len(dims) + 1) != classes:
            raise RefusalError(
                f"axis {axis} is not that of the classes", "use softmax over the classes"
            )
        return value

    def dropout(self, node: Any, attributes: Attributes) -> Value:
        attributes.real("ratio", 0.5)
        attributes.whole("seed", 0)
        attributes.done()
        if self._has(node, 2) and self._constant(node, 2, "training_mode").any():
            raise RefusalError("is in training mode", "export the network for inference")
        return self._value(node, 0)

    def cast(self, node: Any, attributes: Attributes) -> Value | Constant:
        kind = attributes.whole("to", 0)
        attributes.whole("saturate", 1)
        attributes.text("round_mode", "up")
        attributes.done()
        types = self.onnx.TensorProto
        if self._is_constant(node, 0):
            array = self._constant(node, 0, "input")
            into = {
                types.FLOAT: np.float32,
                types.DOUBLE: np.float64,
                types.INT32: np.int32,
                types.INT64: np.int64,
            }.get(kind)
            if into is None:
                raise RefusalError("casts a constant to another type", "export in float32")
            return array.astype(into)
        if kind not in (types.FLOAT, types.DOUBLE, types.FLOAT16, types.BFLOAT16):
            raise RefusalError("casts samples to another type than float", "export in float32")
        return self._value(node, 0)

    def identity(self, node: Any, attributes: Attributes) -> Value | Constant:
        attributes.done()
        if self._has(node, 0) and self._is_constant(node, 0):
            return self._constant(node, 0, "input")
        return self._value(node, 0)

    def constant(self, node: Any, attributes: Attributes) -> Constant:
        held = attributes.held
        if held == {"value"}:
            return self._array(attributes.tensor("value"), node.output[0])
        if held == {"value_int"}:
            return np.array(attributes.whole("value_int", 0))
        if held == {"value_ints"}:
            return np.array(attributes.ints("value_ints", ()), dtype=np.int64)
        for attribute in attributes.left.values():
            if held == {"value_float"}:
                return np.array(attribute.f, dtype=np.float32)
            if held == {"value_floats"}:
                return np.array(attribute.floats, dtype=np.float32)
        raise RefusalError("holds no numbers", "export with plain tensors")


OPERATORS: dict[str, Callable[[Converter, Any, Attributes], Value | Constant]] = {
    "Add": Converter.add,
    "AveragePool": Converter.pool,
    "BatchNormalization": Converter.batch_norm,
    "Cast": Converter.cast,
    "Clip": Converter.clip,
    "Constant": Converter.constant,
    "Conv": Converter.conv,
    "Dropout": Converter.dropout,
    "Flatten": Converter.flatten,
    "Gemm": Converter.gemm,
    "GlobalAveragePool": Converter.global_pool,
    "Identity": Converter.identity,
    "LogSoftmax": Converter.softmax,
    "MatMul": Converter.matmul,
    "MaxPool": Converter.pool,
    "Pad": Converter.pad,
    "ReduceMean": Converter.reduce_mean,
    "Relu": Converter.relu,
    "Reshape": Converter.reshape,
    "Softmax": Converter.softmax,
    "Squeeze": Converter.squeeze,
    "Transpose": Converter.transpose,
}


def _ours(array: Float32Array, value: Value) -> Float32Array:
    """Rows in the file's order of a vector's elements, in ours."""
    if value.order is None:
        return array
    c, h, w = value.order
    rest = array.shape[1:]
    return np.moveaxis(array.reshape(c, h, w, *rest), 0, 2).reshape(-1, *rest)


# What exporters write behind a module's name, beside the operator's own.
ALIASES = {"BatchNormalization": ("FusedBatchNormV3",), "Conv": ("Conv2D",), "Gemm": ("MatMul",)}
LONGEST = 40


def _names(nodes: Sequence[Any]) -> list[str]:
    """A short Verilog identifier for every node, from its name or its first output's."""
    paths = []
    for node in nodes:
        parts = [x for x in re.split(r"[/:]+", node.name or "".join(node.output[:1])) if x]
        # torch repeats a container's name: layer1/layer1.0/conv1
        parts = [
            x
            for x, after in zip(parts, [*parts[1:], ""], strict=True)
            if not after.startswith(f"{x}.")
        ]
        paths.append(parts)
    while paths and all(len(x) > 1 and x[0] == paths[0][0] for x in paths):
        paths = [x[1:] for x in paths]
    return [_identifier(node.op_type, path) for node, path in zip(nodes, paths, strict=True)]


def _identifier(op: str, path: list[str]) -> str:
    if len(path) > 1:
        last = re.sub(r"_\d+$", "", path[-1]).lower()
        own = last in [x.lower() for x in (op, *ALIASES.get(op, ()))]
        if own and (op in ("Conv", "Gemm", "MatMul", "BatchNormalization") or last in path[-2]):
            path = path[:-1]
    name = re.sub(r"[^a-z0-9]+", "_", "_".join(path).lower()).strip("_")
    name = re.sub(r"^[^a-z]*", "", name[-LONGEST:]) if len(name) > LONGEST else name
    if not re.match("[a-z]", name):
        short = re.sub(r"[^a-z]", "", op.lower()) or "node"
        name = f"{short}{name}"
    return name
