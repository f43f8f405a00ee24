"""The lookup layers among the nodes: linear and convolutional."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lutgen.archive import Members
from lutgen.model.base import (
    Activation,
    Arrays,
    Fields,
    Node,
    Wire,
    check_range,
    take_array,
)
from lutgen.numeric import Format, Grid
from lutgen.spec.conv import ENCODES, ORDERS, Conv2dSpec, pixel_acc_format
from lutgen.spec.encoder import DigitSpec
from lutgen.spec.linear import LAYER_METRICS, LinearSpec, acc_format, format_acc_format
from lutgen.spec.window import WindowSpec

__all__ = ["LutConv2d", "LutLayer", "LutLinear", "windows_on"]


@dataclass(frozen=True, kw_only=True)
class LutLayer(Node):
    """What lookup layers share.

    Parameters
    ----------
    subvec, centroids, metric, grid, shift
        See `lutgen.spec.linear.LinearSpec`.
    output : Activation or None
        None where the accumulators are the result.
    table : unsigned codes ``[..., g, c, n]``
    bias : int32 ``[n]``
    codebooks : int ``[g, c, v]`` or None (metric ``digit``)
    """

    subvec: int
    centroids: int
    metric: str
    grid: Grid
    shift: int
    output: Activation | None
    table: NDArray[Any] = field(repr=False, compare=False)
    bias: NDArray[Any] = field(repr=False, compare=False)
    codebooks: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    @property
    def row_features(self) -> int:
        """Elements of one input row, which sub-vectors are cut from."""
        raise NotImplementedError

    @staticmethod
    def read_lookup(
        name: str, fields: Fields, arrays: Members, *, row: int, outputs: int, taps: tuple[int, ...]
    ) -> dict[str, Any]:
        """The shared fields and arrays, of a layer with ``row`` features of one input row and a
        table ``[*taps, g, c, outputs]``.
        """
        metric = fields.choice("metric", LAYER_METRICS)
        grid_fields = fields.inner("grid")
        kind = grid_fields.text("kind")
        if not kind:
            raise grid_fields.fail("kind", "must be a name, not an empty string")
        bits = grid_fields.integer("bits", 2, 16 if metric == "digit" else 8)
        grid_fields.done()
        values = None if kind == "int" else take_array(arrays, name, "grid", np.int16, (1 << bits,))
        v = fields.integer("subvec", 1, row)
        c = fields.integer("centroids", 2, 1 << 16)
        if metric == "digit" and c & (c - 1):
            raise fields.fail("centroids", f"must be a power of two for metric 'digit', not {c}")
        books = None
        if metric != "digit":
            books = take_array(arrays, name, "codebooks", None, (None, c, v))
        return {
            "subvec": v,
            "centroids": c,
            "metric": metric,
            "grid": Grid(kind, bits, values),
            "shift": fields.integer("shift", 0, 31),
            "output": None if fields.take("output") is None else fields.output(),
            "table": take_array(arrays, name, "table", None, (*taps, None, c, outputs)),
            "bias": take_array(arrays, name, "bias", None, (outputs,)),
            "codebooks": books,
        }

    def lookup_manifest(self) -> dict[str, Any]:
        """The manifest entry's shared fields."""
        return {
            "subvec": self.subvec,
            "centroids": self.centroids,
            "metric": self.metric,
            "grid": {"kind": self.grid.kind, "bits": self.grid.bits},
            "shift": self.shift,
            "output": None if self.output is None else self.output.to_manifest(),
        }

    def arrays(self) -> Arrays:
        arrays: Arrays = {"table": self.table, "bias": self.bias}
        if self.codebooks is not None:
            arrays["codebooks"] = self.codebooks
        if self.grid.values is not None:
            arrays["grid"] = self.grid.values
        return arrays

    def lookup_spec(self, element: Format) -> dict[str, Any]:
        """The shared fields of this node's spec."""
        return {
            "element": element,
            "subvec": self.subvec,
            "centroids": self.centroids,
            "metric": self.metric,
            "grid": self.grid,
            "shift": self.shift,
            "output": None if self.output is None else self.output.format,
        }

    def check_lookup(self, element: Format) -> None:
        """Checks the contents of the arrays, behind inputs of format ``element``."""
        if self.metric == "digit":
            if self.subvec != 1:
                raise self.fail(
                    "field 'subvec'", f"must be 1 for metric 'digit', not {self.subvec}"
                )
            g = self.row_features * DigitSpec(element, self.centroids).digits
        else:
            g = -(-self.row_features // self.subvec)
        books = self.table.shape[-3]
        if books != g:
            raise self.fail("array 'table'", f"must have {g} codebooks, not {books}")
        if self.output is None and self.shift:
            raise self.fail("field 'shift'", f"must be 0 where output is null, not {self.shift}")
        check_range(self, "table", self.table, 0, self.grid.codes - 1)
        check_range(self, "bias", self.bias, -(1 << 31), (1 << 31) - 1)
        if self.codebooks is None:
            return
        if self.codebooks.shape[0] != g:
            raise self.fail(
                "array 'codebooks'", f"must have {g} codebooks, not {self.codebooks.shape[0]}"
            )
        check_range(self, "codebooks", self.codebooks, element.low, element.high)
        spare = g * self.subvec - self.row_features
        if spare and np.any(self.codebooks[-1, :, self.subvec - spare :]):
            raise self.fail("array 'codebooks'", "must be 0 where the last sub-vector is padding")


@dataclass(frozen=True, kw_only=True)
class LutLinear(LutLayer):
    """A lookup layer on the flattened input.

    Parameters
    ----------
    in_features, out_features
        See `lutgen.spec.linear.LinearSpec`.
    table : unsigned codes ``[g, c, n]``
    """

    op: ClassVar[str] = "lut_linear"

    in_features: int
    out_features: int

    @property
    def row_features(self) -> int:
        return self.in_features

    @classmethod
    def from_manifest(
        cls, name: str, inputs: tuple[str, ...], fields: Fields, arrays: Members
    ) -> "LutLinear":
        k = fields.integer("in_features", 1, 1 << 24)
        n = fields.integer("out_features", 1, 1 << 24)
        return cls(
            name=name,
            inputs=inputs,
            in_features=k,
            out_features=n,
            **cls.read_lookup(name, fields, arrays, row=k, outputs=n, taps=()),
        )

    def to_manifest(self) -> dict[str, Any]:
        return {
            **super().to_manifest(),
            "in_features": self.in_features,
            "out_features": self.out_features,
            **self.lookup_manifest(),
        }

    def spec(self, element: Format, **fold: Any) -> LinearSpec:
        """The stage that computes this node on inputs of format ``element``; ``fold`` as in
        `LinearSpec`.
        """
        acc = acc_format(self.grid.decode(self.table), self.bias)
        if fold.get("memory") == "ram":  # room for other tables too
            general = format_acc_format(self.table.shape[0], self.grid)
            acc = max(acc, general, key=lambda fmt: fmt.bits)
        return LinearSpec(
            in_features=self.in_features,
            out_features=self.out_features,
            acc=acc,
            **self.lookup_spec(element),
            **fold,
        )

    def infer(self, wires: Sequence[Wire]) -> Wire:
        (wire,) = wires
        activation = self.activation(wire)
        if wire.size != self.in_features:
            raise self.fail(
                "field 'in_features'",
                f"must be {wire.size}, the elements that arrive, not {self.in_features}",
            )
        self.check_lookup(activation.format)
        return Wire((self.out_features,), self.output)


@dataclass(frozen=True, kw_only=True)
class LutConv2d(LutLayer):
    """A lookup layer on the windows of an image.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel, stride : pair of int
        Rows and columns.
    pad : four of int
        Top, left, bottom, right; each less than the kernel.
    encode, order : str
        See `lutgen.spec.conv.Conv2dSpec`.
    table : unsigned codes ``[g, c, n]``, or ``[kh, kw, g, c, n]`` for encode ``pixel``
    """

    op: ClassVar[str] = "lut_conv2d"

    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    encode: str
    order: str = "hwc"

    @property
    def row_features(self) -> int:
        area = 1 if self.encode == "pixel" else self.kernel[0] * self.kernel[1]
        return area * self.in_channels

    @classmethod
    def from_manifest(
        cls, name: str, inputs: tuple[str, ...], fields: Fields, arrays: Members
    ) -> "LutConv2d":
        k = fields.integer("in_channels", 1, 1 << 24)
        n = fields.integer("out_channels", 1, 1 << 24)
        kernel = fields.integers("kernel", 2, 1, 65535)
        encode = fields.choice("encode", ENCODES)
        pixel = encode == "pixel"
        order = fields.take("order", "hwc") if pixel else fields.choice("order", ORDERS)
        if pixel and order != "hwc":
            raise fields.fail(
                "order", f"must be hwc or absent for encode 'pixel', not {order!r:.40}"
            )
        return cls(
            name=name,
            inputs=inputs,
            in_channels=k,
            out_channels=n,
            kernel=kernel,
            stride=fields.integers("stride", 2, 1, 65535),
            pad=fields.integers("pad", 4, 0, 65534),
            encode=encode,
            order=order,
            **cls.read_lookup(
                name,
                fields,
                arrays,
                row=k if pixel else k * kernel[0] * kernel[1],
                outputs=n,
                taps=kernel if pixel else (),
            ),
        )

    def to_manifest(self) -> dict[str, Any]:
        return {
            **super().to_manifest(),
            "in_channels": self.in_channels,
            "out_channels": self.out_channels,
            "kernel": list(self.kernel),
            "stride": list(self.stride),
            "pad": list(self.pad),
            "encode": self.encode,
            "order": self.order,
            **self.lookup_manifest(),
        }

    def spec(self, wire: Wire, **fold: Any) -> Conv2dSpec:
        """The stage that computes this node behind that wire; ``fold`` as in `Conv2dSpec`."""
        window = windows_on(self, wire, self.kernel, self.stride, self.pad)
        values = self.grid.decode(self.table)
        if self.encode == "pixel":
            acc = pixel_acc_format(window, values, self.bias)
        else:
            acc = acc_format(values, self.bias)
        if fold.get("memory") == "ram":  # room for other tables too
            rows = self.table.size // (self.table.shape[-1] * self.table.shape[-2])
            acc = max(acc, format_acc_format(rows, self.grid), key=lambda fmt: fmt.bits)
        return Conv2dSpec(
            window=window,
            in_channels=self.in_channels,
            out_channels=self.out_channels,
            encode=self.encode,
            order=self.order,
            acc=acc,
            **self.lookup_spec(self.activation(wire).format),
            **fold,
        )

    def infer(self, wires: Sequence[Wire]) -> Wire:
        (wire,) = wires
        activation = self.activation(wire)
        window = windows_on(self, wire, self.kernel, self.stride, self.pad)
        channels = wire.shape[2]
        if channels != self.in_channels:
            raise self.fail(
                "field 'in_channels'",
                f"must be {channels}, the channels that arrive, not {self.in_channels}",
            )
        self.check_lookup(activation.format)
        return Wire((window.rows, window.columns, self.out_channels), self.output)


def windows_on(
    node: Node,
    wire: Wire,
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    pad: tuple[int, ...] = (0, 0, 0, 0),
) -> WindowSpec:
    """The windows of a node on the image that arrives; complains of what does not fit."""
    height, width, _ = node.image(wire)
    (kh, kw), (down, across), (top, left, bottom, right) = kernel, stride, pad
    if max(top, bottom) >= kh or max(left, right) >= kw:
        raise node.fail(
            "field 'pad'", f"must be less than the kernel of {kh}x{kw}, not {list(pad)}"
        )
    if kh > height + top + bottom or kw > width + left + right:
        full = f"{height + top + bottom}x{width + left + right}"
        raise node.fail("field 'kernel'", f"must fit the image of {full}, not be {kh}x{kw}")
    return WindowSpec(height, width, (kh, kw), (down, across), (top, left, bottom, right))
