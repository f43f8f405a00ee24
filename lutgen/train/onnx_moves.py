"""ONNX nodes that compute nothing: they reshape, rename, convert, or hold constants."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from lutgen.train.onnx_graph import DAMAGED, Attributes, Constant, RefusalError, Value, Walk

__all__ = ["Moves"]


class Moves(Walk):
    """One method for an operator."""

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
        wrong = RefusalError(
            f"gives samples the shape {target}, only flat ones are supported",
            "flatten whole samples, (n, -1)",
        )
        if self._is_constant(node, 0):
            array = self._constant(node, 0, "input")
            try:
                return array.reshape(_filled(target, array.shape, keep))
            except ValueError:
                raise RefusalError(f"can't give a constant the shape {target}", DAMAGED) from None
        value = self._value(node, 0)
        size = prod(value.dims)
        try:
            first, *rest = _filled(target, (0, *value.dims), keep)
        except ValueError:
            raise wrong from None
        if -1 in rest and min(rest) == -1 and 0 not in rest:
            rest[rest.index(-1)] = size // -prod(rest)
        whole = first in (0, self.batch or 1) or (first == -1 and -1 not in target[1:])
        if not whole or prod(rest) != size:
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
        axes = [a % 4 for a in self._ints(node, 3, "axes")] if self._has(node, 3) else [0, 1, 2, 3]
        value = self._value(node, 0)
        if not any(pads):
            return value
        every = dict(zip([*axes, *(a + 4 for a in axes)], pads, strict=False))
        top, left, bottom, right = (every.pop(n, 0) for n in (2, 3, 6, 7))
        users = {x.op_type for x in self.nodes if node.output[0] in x.input}
        behind = node.output[0] != self.output and users == {"Conv"}
        fits = len(pads) == 2 * len(axes) and min(pads) >= 0 and not any(every.values())
        if not behind or value.layout != "chw" or not fits:
            raise RefusalError(
                f"pads {pads}, only zeros around an image right before a Conv are supported",
                "give the pads to the convolution",
            )
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

    def _ends(self, name: str) -> bool:
        """Whether a tensor goes to the output alone, as it is."""
        passing = ("Identity", "Cast", "Dropout", "Flatten", "Reshape", "Squeeze")
        names = {name}
        for node in self.nodes:
            if names & set(node.input):
                if node.op_type not in passing:
                    return False
                names.add(node.output[0])
        return self.output in names

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
                types.FLOAT16: np.float16,
                types.DOUBLE: np.float64,
                types.INT32: np.int32,
                types.INT64: np.int64,
            }.get(kind)
            if into is None:
                raise RefusalError("casts a constant to another type", "export in float32")
            with np.errstate(over="ignore", invalid="ignore"):
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
        held, name = attributes.left, node.output[0]
        if len(held) != 1:
            raise RefusalError(f"has {len(held)} values, must have 1", DAMAGED)
        if "value" in held:
            return self._array(attributes.tensor("value"), name)
        if "value_int" in held:
            return np.array(attributes.whole("value_int", 0))
        if "value_ints" in held:
            return np.array(attributes.ints("value_ints", ()), dtype=np.int64)
        if "value_float" in held:
            return np.array(held["value_float"].f, dtype=np.float32)
        if "value_floats" in held:
            return np.array(held["value_floats"].floats, dtype=np.float32)
        raise RefusalError("holds no numbers", "export with plain tensors")


def _filled(target: tuple[int, ...], shape: tuple[int, ...], keep: int) -> list[int]:
    """A shape with its zeros, which copy, filled in."""
    if keep:
        if 0 in target:
            raise ValueError("an empty array")
        return list(target)
    if any(n == 0 and i >= len(shape) for i, n in enumerate(target)):
        raise ValueError("a zero behind the last axis")
    return [shape[i] if n == 0 else n for i, n in enumerate(target)]
