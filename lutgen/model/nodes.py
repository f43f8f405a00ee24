"""The nodes of a LUT network: plain data, their manifest entries, and the checks of one node on its
own.

A node is described by its fields and its arrays; `lutgen.model.network` puts nodes together and
checks what goes between them. Adding an operation means one class here (lookup layers have a file
of their own, `lutgen.model.lookup`) and one function in `lutgen.model.golden`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from numpy.typing import NDArray

from lutgen.archive import Members
from lutgen.model.base import (
    NAME,
    Activation,
    Arrays,
    Fields,
    Node,
    Wire,
    check_range,
    take_array,
)
from lutgen.model.lookup import LutConv2d, LutLinear, windows_on
from lutgen.spec.pointwise import AddSpec, MapSpec
from lutgen.spec.pool import AvgPool2dSpec, MaxPool2dSpec

__all__ = [
    "NAME",
    "OPS",
    "Activation",
    "Add",
    "Argmax",
    "AvgPool2d",
    "Flatten",
    "LutConv2d",
    "LutLinear",
    "Map",
    "MaxPool2d",
    "Node",
    "Wire",
]


@dataclass(frozen=True, kw_only=True)
class Flatten(Node):
    """H x W x C to a vector, rows first: no arithmetic."""

    op: ClassVar[str] = "flatten"

    def infer(self, wires: Sequence[Wire]) -> Wire:
        (wire,) = wires
        return Wire((wire.size,), wire.activation)


@dataclass(frozen=True, kw_only=True)
class Argmax(Node):
    """The number of the greatest input, ties to the lowest."""

    op: ClassVar[str] = "argmax"

    def infer(self, wires: Sequence[Wire]) -> Wire:
        return Wire((1,), None)


@dataclass(frozen=True, kw_only=True)
class Pool2d(Node):
    """What poolings share; windows that do not fit are dropped.

    Parameters
    ----------
    kernel, stride : pair of int
        Rows and columns, 1..65535.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]

    def to_manifest(self) -> dict[str, Any]:
        return {
            **super().to_manifest(),
            "kernel": list(self.kernel),
            "stride": list(self.stride),
        }

    def _pooled(self, wire: Wire, activation: Activation) -> Wire:
        window = windows_on(self, wire, self.kernel, self.stride)
        return Wire((window.rows, window.columns, wire.shape[2]), activation)


@dataclass(frozen=True, kw_only=True)
class MaxPool2d(Pool2d):
    """The greatest element of each window, channel by channel; the format stays."""

    op: ClassVar[str] = "max_pool2d"

    @classmethod
    def from_manifest(
        cls, name: str, inputs: tuple[str, ...], fields: Fields, arrays: Members
    ) -> "MaxPool2d":
        return cls(
            name=name,
            inputs=inputs,
            kernel=fields.integers("kernel", 2, 1, 65535),
            stride=fields.integers("stride", 2, 1, 65535),
        )

    def spec(self, wire: Wire, **fold: int) -> MaxPool2dSpec:
        """The stage that computes this node behind that wire; ``fold`` as in `MaxPool2dSpec`."""
        window = windows_on(self, wire, self.kernel, self.stride)
        element = self.activation(wire).format
        return MaxPool2dSpec(window, element, channels=wire.shape[2], **fold)

    def infer(self, wires: Sequence[Wire]) -> Wire:
        (wire,) = wires
        return self._pooled(wire, self.activation(wire))


@dataclass(frozen=True, kw_only=True)
class AvgPool2d(Pool2d):
    """``clamp((sum * multiplier + half) >> shift)`` of each window, channel by channel.

    Parameters
    ----------
    multiplier, shift
        See `lutgen.spec.pool.AvgPool2dSpec`.
    output : Activation
    """

    op: ClassVar[str] = "avg_pool2d"

    multiplier: int
    shift: int
    output: Activation

    @classmethod
    def from_manifest(
        cls, name: str, inputs: tuple[str, ...], fields: Fields, arrays: Members
    ) -> "AvgPool2d":
        return cls(
            name=name,
            inputs=inputs,
            kernel=fields.integers("kernel", 2, 1, 65535),
            stride=fields.integers("stride", 2, 1, 65535),
            multiplier=fields.integer("multiplier", 1, 65535),
            shift=fields.integer("shift", 0, 31),
            output=fields.output(),
        )

    def to_manifest(self) -> dict[str, Any]:
        return {
            **super().to_manifest(),
            "multiplier": self.multiplier,
            "shift": self.shift,
            "output": self.output.to_manifest(),
        }

    def spec(self, wire: Wire, **fold: int) -> AvgPool2dSpec:
        """The stage that computes this node behind that wire; ``fold`` as in `AvgPool2dSpec`."""
        window = windows_on(self, wire, self.kernel, self.stride)
        return AvgPool2dSpec(
            window,
            self.activation(wire).format,
            self.multiplier,
            self.shift,
            self.output.format,
            channels=wire.shape[2],
            **fold,
        )

    def infer(self, wires: Sequence[Wire]) -> Wire:
        (wire,) = wires
        self.activation(wire)
        return self._pooled(wire, self.output)


@dataclass(frozen=True, kw_only=True)
class Add(Node):
    """``clamp((sum_i (x_i << left_shift_i) + half) >> shift)`` of two or more inputs of one shape.

    Parameters
    ----------
    left_shifts : tuple of int
        One an input; with ``shift``, see `lutgen.spec.pointwise.AddSpec`.
    output : Activation
    """

    op: ClassVar[str] = "add"

    left_shifts: tuple[int, ...]
    shift: int
    output: Activation

    @classmethod
    def from_manifest(
        cls, name: str, inputs: tuple[str, ...], fields: Fields, arrays: Members
    ) -> "Add":
        return cls(
            name=name,
            inputs=inputs,
            left_shifts=fields.integers("left_shifts", len(inputs), 0, 15),
            shift=fields.integer("shift", 0, 31),
            output=fields.output(),
        )

    def to_manifest(self) -> dict[str, Any]:
        return {
            **super().to_manifest(),
            "left_shifts": list(self.left_shifts),
            "shift": self.shift,
            "output": self.output.to_manifest(),
        }

    def spec(self, wires: Sequence[Wire]) -> AddSpec:
        """What computes this node behind these wires."""
        elements = tuple(self.activation(wire).format for wire in wires)
        return AddSpec(elements, self.left_shifts, self.shift, self.output.format)

    def check_inputs(self) -> None:
        if len(self.inputs) < 2:
            raise self.fail("field 'inputs'", f"must name 2 nodes or more, not {len(self.inputs)}")

    def infer(self, wires: Sequence[Wire]) -> Wire:
        shape = wires[0].shape
        for source, wire in zip(self.inputs, wires, strict=True):
            self.activation(wire)
            if wire.shape != shape:
                one, other = ("x".join(map(str, s)) for s in (wire.shape, shape))
                raise self.fail(
                    "field 'inputs'",
                    f"must name nodes of one shape, but {source!r} has {one} and "
                    f"{self.inputs[0]!r} {other}",
                )
        return Wire(shape, self.output)


@dataclass(frozen=True, kw_only=True)
class Map(Node):
    """A function of one element by table: ``map[x]``.

    Parameters
    ----------
    map : int array ``[2**bits]``
        Entry i is the result for the input whose two's complement bits, read as unsigned, are i.
    output : Activation
    """

    op: ClassVar[str] = "map"

    output: Activation
    map: NDArray[Any] = field(repr=False, compare=False)

    @classmethod
    def from_manifest(
        cls, name: str, inputs: tuple[str, ...], fields: Fields, arrays: Members
    ) -> "Map":
        return cls(
            name=name,
            inputs=inputs,
            output=fields.output(),
            map=take_array(arrays, name, "map", None, (None,)),
        )

    def to_manifest(self) -> dict[str, Any]:
        return {**super().to_manifest(), "output": self.output.to_manifest()}

    def arrays(self) -> Arrays:
        return {"map": self.map}

    def spec(self, wire: Wire) -> MapSpec:
        """What computes this node behind that wire."""
        return MapSpec(self.activation(wire).format, self.output.format)

    def infer(self, wires: Sequence[Wire]) -> Wire:
        (wire,) = wires
        spec = self.spec(wire)
        if len(self.map) != spec.depth:
            raise self.fail(
                "array 'map'",
                f"must have {spec.depth} entries, one for each code of the input's "
                f"{spec.element.bits} bits, not {len(self.map)}",
            )
        check_range(self, "map", self.map, spec.output.low, spec.output.high)
        return Wire(wire.shape, self.output)


OPS: dict[str, type[Node]] = {
    cls.op: cls for cls in (LutLinear, LutConv2d, MaxPool2d, AvgPool2d, Add, Map, Flatten, Argmax)
}
