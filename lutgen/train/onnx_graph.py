"""What ONNX nodes read and give: attributes, constants, and the values that samples become."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, prod
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from lutgen.train.floatnet import Flatten, FloatLayer
from lutgen.train.magnitude import LARGEST
from lutgen.train.optim import Float32Array

__all__ = [
    "DAMAGED",
    "MOST",
    "STANDARD",
    "Attributes",
    "Constant",
    "RefusalError",
    "Shape",
    "Value",
    "Walk",
]

STANDARD = ("", "ai.onnx")  # the names of ONNX's own domain
MOST = 1 << 23  # values of one sample: training holds them for dozens of samples at once
DAMAGED = "the file is damaged; export it again"

Shape = tuple[int, ...]
Constant = NDArray[Any]
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


class Attributes:
    """A node's attributes, each asked for once; `done` refuses those that nobody asked for."""

    def __init__(self, onnx: Any, node: Any):
        self.onnx, self.left = onnx, {a.name: a for a in node.attribute}

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
        if self.left:
            names = ", ".join(map(repr, self.left))
            raise RefusalError(f"has attributes that are not supported ({names})", "do without")


class Walk:
    """Goes through the nodes in order; `operators` has a method for every kind.

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

    operators: ClassVar[Mapping[str, Callable[[Any, Any, Attributes], Value | Constant]]]

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
        if node.op_type not in self.operators:
            hint = HINTS.get(node.op_type, "rebuild the network without it")
            raise RefusalError("is not supported", hint)
        for name in node.output[1:]:
            if self.uses[name]:
                raise RefusalError(
                    f"its further output {name!r} is used", "export the network for inference"
                )
        return self.operators[node.op_type](self, node, Attributes(self.onnx, node))

    # What nodes read.

    def _value(self, node: Any, number: int, *layouts: str) -> Value:
        """An input that samples flow through, in one of the layouts (default: any)."""
        if not self._has(node, number):
            raise RefusalError(f"has no input {number}", DAMAGED)
        name = node.input[number]
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
        name = node.input[number] if self._has(node, number) else ""
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
            if any(size < 0 for size in tensor.dims):
                raise ValueError("a negative size")  # which numpy would work out itself
            result: Constant = np.asarray(self.onnx.numpy_helper.to_array(tensor))
        except (ValueError, TypeError, KeyError, OverflowError, NotImplementedError):
            raise RefusalError(f"the constant {name!r} can't be read", DAMAGED) from None
        if tensor.data_type == self.onnx.TensorProto.BFLOAT16:
            result = result.astype(np.float32)
        if result.dtype.kind not in "fiub":
            raise RefusalError(
                f"the constant {name!r} is {result.dtype}, must be numbers", "export in float32"
            )
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
        if finite and (peak := float(np.abs(result).max())) > LARGEST:
            raise RefusalError(
                f"its {what} {name!r} holds {peak:.2g}, more than {LARGEST:g}",
                "train and export it again",
            )
        return result

    def _ints(self, node: Any, number: int, what: str) -> tuple[int, ...]:
        """A constant input of whole numbers."""
        array = self._constant(node, number, what)
        if array.dtype.kind not in "iu":
            raise RefusalError(f"its {what} {node.input[number]!r} is {array.dtype}", DAMAGED)
        return tuple(array.reshape(-1).tolist())

    def _axes(self, node: Any, attributes: Attributes) -> set[int] | None:
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
        if prod(shape) > MOST:
            raise RefusalError(
                f"gives {prod(shape):,} values a sample, more than {MOST:,}",
                "rebuild the network for smaller samples",
            )
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
