"""A lookup layer on an image: what it computes, without a schedule yet."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.numeric import Format, Grid, Int64Array, as_int, format_for
from lutgen.spec.encoder import narrowest
from lutgen.spec.linear import LinearSpec, sum_lookups
from lutgen.spec.window import WindowSpec

__all__ = ["ENCODES", "ORDERS", "Conv2dSpec", "pixel_acc_format"]

ENCODES = ("window", "pixel")
ORDERS = ("hwc", "chw")

ROWS = 1 << 12  # about what is computed at once: arrays of so many rows stay in the cache


def pixel_acc_format(window: WindowSpec, values: ArrayLike, bias: ArrayLike) -> Format:
    """The narrowest signed format of every accumulator of an encode ``pixel`` layer: the worst case
    over the actual tables and over the taps that lie in the image together.

    Parameters
    ----------
    window : WindowSpec
    values : int array ``[kh, kw, g, c, n]``
        Decoded tables.
    bias : int array ``[n]``
    """
    table = np.asarray(values, dtype=np.int64)
    offset = np.asarray(bias, dtype=np.int64)
    least, greatest = table.min(axis=3).sum(axis=2), table.max(axis=3).sum(axis=2)
    low, high = -1, 0
    for (top, bottom), (left, right) in window.spans():
        part = np.s_[top:bottom, left:right]
        low = min(low, int((least[part].sum(axis=(0, 1)) + offset).min()))
        high = max(high, int((greatest[part].sum(axis=(0, 1)) + offset).max()))
    return format_for(low, high)


@dataclass(frozen=True)
class Conv2dSpec:
    """One convolution by lookup.

    Parameters
    ----------
    window : WindowSpec
        The image and the windows on it.
    in_channels, out_channels : int
    element : Format
        Format of the inputs.
    encode : str
        ``window``: each window is an input row, and pixels outside the image are 0. ``pixel``: each
        pixel's channels are an input row whose indices all taps share, and taps outside the image
        add nothing.
    order : str
        How a window is flattened: ``hwc`` or ``chw``; ``hwc`` for encode ``pixel``.
    subvec, centroids, metric, grid, acc, shift, output
        See `lutgen.spec.linear.LinearSpec`; ``acc`` from `acc_format` or `pixel_acc_format`.
    """

    window: WindowSpec
    in_channels: int
    out_channels: int
    element: Format
    encode: str
    order: str
    subvec: int
    centroids: int
    metric: str
    grid: Grid
    acc: Format
    shift: int
    output: Format | None

    def __post_init__(self) -> None:
        as_int(self.in_channels, "Input channels", low=1)
        as_int(self.out_channels, "Output channels", low=1)
        if self.encode not in ENCODES:
            raise ValueError(f"Encode must be one of {', '.join(ENCODES)}, not {self.encode!r}")
        if self.order not in ORDERS:
            raise ValueError(f"Order must be one of {', '.join(ORDERS)}, not {self.order!r}")
        if self.encode == "pixel" and self.order != "hwc":
            raise ValueError(f"Order must be hwc for encode 'pixel', not {self.order!r}")
        _ = self.row

    @property
    def row(self) -> LinearSpec:
        """The lookup layer on one input row: a window, or a pixel under one tap."""
        return LinearSpec(
            in_features=self.in_channels * (1 if self.encode == "pixel" else self.window.area),
            out_features=self.out_channels,
            element=self.element,
            subvec=self.subvec,
            centroids=self.centroids,
            metric=self.metric,
            grid=self.grid,
            acc=self.acc,
            shift=self.shift,
            output=self.output,
        )

    @property
    def codebooks(self) -> int:
        """Sub-vectors g of one input row."""
        return self.row.codebooks

    @property
    def result(self) -> Format:
        """Format of the outputs."""
        return self.row.result

    def compute(
        self, x: ArrayLike, codebooks: ArrayLike | None, table: ArrayLike, bias: ArrayLike
    ) -> Int64Array:
        """Outputs of the layer.

        Parameters
        ----------
        x : int array ``[batch, height, width, in_channels]``
        codebooks : int array ``[g, c, v]``, or None for digit layers
        table : array of unsigned codes
            ``[g, c, n]``, or ``[kh, kw, g, c, n]`` for encode ``pixel``.
        bias : int array ``[n]``

        Returns
        -------
        int64 array ``[batch, rows, columns, n]``
        """
        data = np.asarray(x).astype(narrowest(self.element.low, self.element.high))
        offset = np.asarray(bias, dtype=np.int64)
        rows = self._rows(np.asarray(table))
        shape = (len(data), self.window.rows, self.window.columns, self.out_channels)
        outputs = np.empty(shape, dtype=np.int64)
        step = max(1, ROWS // self.window.count)
        for start in range(0, len(data), step):
            part = data[start : start + step]
            acc = sum_lookups(zip(rows, self._columns(part, codebooks), strict=True)) + offset
            result = self.row.requantiser.compute(acc)
            outputs[start : start + step] = result.reshape(len(part), *shape[1:])
        return outputs

    def _rows(self, table: NDArray[Any]) -> NDArray[np.signedinteger[Any]]:
        """The decoded tables of all lookups of a window, ``[lookups, c, n]``, in a dtype that holds
        the sum over them.

        For encode ``pixel`` they have one more row, of zeros: the index of a tap outside the image.
        """
        values = self.grid.decode(table.reshape(-1, *table.shape[-2:]))
        if self.encode == "pixel":
            values = np.pad(values, ((0, 0), (0, 1), (0, 0)))
        reach = int(np.abs(values).max(axis=(1, 2)).sum())
        return values.astype(narrowest(-reach, reach))

    def _columns(self, x: NDArray[Any], codebooks: ArrayLike | None) -> Iterator[Int64Array]:
        """The indices ``[batch * windows]`` of each of these lookups."""
        if self.encode == "window":
            yield from np.ascontiguousarray(self.row.indices(self._windows(x), codebooks).T)
            return
        indices = self.row.indices(x.reshape(-1, self.in_channels), codebooks)
        groups = indices.shape[1]
        maps = np.ascontiguousarray(indices.T).reshape(-1, *x.shape[1:3])  # [g * batch, ...]
        for _, _, tap in self.window.taps(self.window.surround(maps, self.centroids)):
            yield from tap.reshape(groups, -1)

    def _windows(self, x: NDArray[Any]) -> NDArray[Any]:
        """The windows of ``[batch, height, width, in_channels]``, ``[batch * count, area *
        in_channels]``.
        """
        taps = [tap for _, _, tap in self.window.taps(self.window.surround(x, 0))]
        rows = np.stack(taps, axis=3 if self.order == "hwc" else 4)
        return rows.reshape(len(x) * self.window.count, -1)
