"""ONNX nodes as layers of a float network: one method for an operator.

A method reads its attributes first and its inputs then, so that a node behind one that can't be
converted is still checked as far as may be.
"""

from collections.abc import Callable, Mapping
from math import inf, prod
from typing import Any, ClassVar

import numpy as np

from lutgen.train.arch import same
from lutgen.train.floatnet import (
    Add,
    AvgPool2d,
    BatchNorm,
    Clip,
    Conv2d,
    Linear,
    MaxPool2d,
    ReLU,
    Weighted,
)
from lutgen.train.onnx_graph import DAMAGED, Attributes, Constant, RefusalError, Shape, Value
from lutgen.train.onnx_moves import Moves
from lutgen.train.optim import Float32Array

__all__ = ["Converter"]


class Converter(Moves):
    """Converts the nodes of a file."""

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
        weight = self._scaled(weight.T if turn else weight, "alpha", alpha)
        bias = None
        if self._has(node, 2):
            full = self._spread(self._floats(node, 2, "bias"), (1, weight.shape[1]))
            bias = self._scaled(full.reshape(-1), "beta", beta)
        return self._linear(node, weight, bias)

    def _scaled(self, array: Float32Array, what: str, factor: float) -> Float32Array:
        with np.errstate(over="ignore", invalid="ignore"):
            result: Float32Array = array * np.float32(factor)
        if not np.isfinite(result).all():
            raise RefusalError(f"its {what} {factor:g} gives values without bound", DAMAGED)
        return result

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

    operators: ClassVar[Mapping[str, Callable[[Any, Any, Attributes], Value | Constant]]] = {
        "Add": add,
        "AveragePool": pool,
        "BatchNormalization": batch_norm,
        "Cast": Moves.cast,
        "Clip": clip,
        "Constant": Moves.constant,
        "Conv": conv,
        "Dropout": Moves.dropout,
        "Flatten": Moves.flatten,
        "Gemm": gemm,
        "GlobalAveragePool": global_pool,
        "Identity": Moves.identity,
        "LogSoftmax": Moves.softmax,
        "MatMul": matmul,
        "MaxPool": pool,
        "Pad": Moves.pad,
        "ReduceMean": reduce_mean,
        "Relu": relu,
        "Reshape": Moves.reshape,
        "Softmax": Moves.softmax,
        "Squeeze": Moves.squeeze,
        "Transpose": Moves.transpose,
    }


def _ours(array: Float32Array, value: Value) -> Float32Array:
    """Rows in the file's order of a vector's elements, in ours."""
    if value.order is None:
        return array
    c, h, w = value.order
    rest = array.shape[1:]
    return np.moveaxis(array.reshape(c, h, w, *rest), 0, 2).reshape(-1, *rest)
