"""A lookup layer on an image, and how it is folded."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.numeric import Format, Grid, Int64Array, as_int, ceil_div, check_ints, format_for
from lutgen.spec.encoder import narrowest
from lutgen.spec.linear import LinearSpec, sum_lookups
from lutgen.spec.ring import RingSpec, WalkSpec
from lutgen.spec.stream import RegrouperSpec
from lutgen.spec.window import WindowSpec

__all__ = ["ENCODES", "ORDERS", "Conv2dSpec", "FeederSpec", "pixel_acc_format"]

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
class FeederSpec:
    """How the words of a window become groups of sub-vectors, on a schedule that never varies.

    A window is read in blocks, a word of some channels of one pixel a cycle; a block's items follow
    each other in the window's order, and make whole groups. While one block goes to the encoders,
    the next is read.

    Parameters
    ----------
    area, channels : int
        Pixels of a window, channels of a pixel.
    word : int
        Channels read in a cycle; divides ``channels``.
    order : str
        ``hwc`` or ``chw``.
    per_element : int
        Items that one element makes.
    group : int
        Items of a group.
    steps : int
        Cycles that a group keeps the encoders.
    """

    area: int
    channels: int
    word: int
    order: str
    per_element: int
    group: int
    steps: int

    def __post_init__(self) -> None:
        if not self.fits(self.area, self.channels, self.word, self.order, self.items, self.group):
            raise ValueError(
                f"Window channels must divide the {self.channels} channels and make whole groups "
                f"of {self.group} items, as {self.word} do not"
            )

    @staticmethod
    def fits(area: int, channels: int, word: int, order: str, items: int, group: int) -> bool:
        """Whether blocks of words of ``items`` items make whole groups of ``group`` items."""
        if word < 1 or channels % word:
            return False
        if order == "chw" and area > 1:
            return word == channels or items * area % group == 0
        return items % group == 0 or group % items == 0

    @property
    def items(self) -> int:
        """Items of a word."""
        return self.word * self.per_element

    @property
    def spatial(self) -> bool:
        """Whether a block is the whole window of some channels, not a run of its words."""
        return self.order == "chw" and self.area > 1

    @property
    def words(self) -> int:
        """Words of a pixel."""
        return self.channels // self.word

    @property
    def reads(self) -> int:
        """Reads of a block."""
        return self.area if self.spatial else ceil_div(self.group, self.items)

    @property
    def last_reads(self) -> int:
        """Reads of the last block."""
        return self.area * self.words - (self.blocks - 1) * self.reads

    @property
    def blocks(self) -> int:
        """Blocks of a window."""
        return ceil_div(self.area * self.words, self.reads)

    @property
    def groups(self) -> int:
        """Groups of a block."""
        return ceil_div(self.reads * self.items, self.group)

    @property
    def period(self) -> int:
        """Cycles from block to block."""
        return max(self.reads, self.groups * self.steps)

    @property
    def interval(self) -> int:
        """Cycles from window to window."""
        return self.blocks * self.period

    @property
    def read_latency(self) -> int:
        """Cycles from a window's beginning to its last read."""
        return (self.blocks - 1) * self.period + self.last_reads - 1

    @property
    def latency(self) -> int:
        """Cycles from a window's beginning to the last step of its last group."""
        return (self.blocks - 1) * self.period + self.reads + self.groups * self.steps

    def place(self, read: int, item: int) -> int:
        """Where in its block an item of the ``read``-th word stands."""
        if not self.spatial:
            return read * self.items + item
        channel, digit = divmod(item, self.per_element)
        return (channel * self.area + read) * self.per_element + digit


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
    lanes, fan_in, encoder_centroids, encoder_dims, memory
        The fold, see there; ``lanes`` divide ``out_channels``.
    window_channels : int
        Channels of a pixel that are read from the line buffer in one cycle, for encode ``window``;
        0 for a number that makes whole groups whatever the sub-vectors.
    line_rows : int
        Image rows in the line buffer; 0 for `RingSpec.ample_rows`.
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
    lanes: int = 1
    fan_in: int = 1
    encoder_centroids: int = 1
    encoder_dims: int = 1
    memory: str = "rom"
    window_channels: int = 0
    line_rows: int = 0

    def __post_init__(self) -> None:
        as_int(self.in_channels, "Input channels", low=1)
        as_int(self.out_channels, "Output channels", low=1)
        if self.encode not in ENCODES:
            raise ValueError(f"Encode must be one of {', '.join(ENCODES)}, not {self.encode!r}")
        if self.order not in ORDERS:
            raise ValueError(f"Order must be one of {', '.join(ORDERS)}, not {self.order!r}")
        if self.encode == "pixel" and self.order != "hwc":
            raise ValueError(f"Order must be hwc for encode 'pixel', not {self.order!r}")
        as_int(self.window_channels, "Window channels", low=0, high=self.in_channels)
        if self.out_channels % self.lanes:
            raise ValueError(
                f"Lanes of a convolution must divide the {self.out_channels} output channels, as "
                f"{self.lanes} do not"
            )
        _ = self.row, self.walk

    @property
    def row(self) -> LinearSpec:
        """The lookup layer on one input row: a window, or a pixel under one tap."""
        row = self._row
        if self.encode == "pixel":
            return row
        feeder = self._feeder(row)
        return replace(row, feed_interval=feeder.interval, feed_latency=feeder.latency)

    @property
    def _row(self) -> LinearSpec:
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
            lanes=self.lanes,
            fan_in=self.fan_in,
            encoder_centroids=self.encoder_centroids,
            encoder_dims=self.encoder_dims,
            memory=self.memory,
            taps=self.window.area if self.encode == "pixel" else 1,
        )

    # How it is folded.

    @property
    def spatial(self) -> bool:
        """Whether windows go channel by channel."""
        return self.order == "chw" and self.window.area > 1

    @property
    def word(self) -> int:
        """Channels of a word of the line buffer, for encode ``window``."""
        return self.window_channels or (self.in_channels if self.spatial else 1)

    @property
    def ring(self) -> RingSpec:
        """The line buffer: of activations, or for encode ``pixel`` of groups of indices."""
        words = self.row.groups
        if self.encode == "window":
            words = self.in_channels // self.word
        return RingSpec(self.window, words, self.line_rows or RingSpec.ample_rows(self.window))

    @property
    def word_bits(self) -> int:
        """Width of the line buffer."""
        if self.encode == "window":
            return self.word * self.element.bits
        return self.fan_in * self.row.index_bits

    @property
    def walk(self) -> WalkSpec:
        """How windows are read from it."""
        ring = self.ring
        if self.encode == "pixel":
            return WalkSpec(ring, self.row.tiles, apart=False)
        return WalkSpec(ring, ring.words if self.spatial else 1, self.spatial)

    @property
    def feeder(self) -> FeederSpec:
        """What turns windows into groups, for encode ``window``."""
        return self._feeder(self._row)

    def _feeder(self, row: LinearSpec) -> FeederSpec:
        return FeederSpec(
            area=self.window.area,
            channels=self.in_channels,
            word=self.word,
            order=self.order,
            per_element=row.items_per_element,
            group=row.group_items,
            steps=row.encoder.interval,
        )

    def regrouper(self, i_lanes: int) -> RegrouperSpec:
        """What turns beats of ``i_lanes`` elements into words of the line buffer, or for encode
        ``pixel`` into the encoders' groups.
        """
        if self.encode == "window":
            elements = self.window.height * self.window.width * self.in_channels
            return RegrouperSpec(elements, i_lanes, self.word)
        return self.row.regrouper(i_lanes)

    @property
    def lookups(self) -> int:
        """Lookup cycles of one sample."""
        return self.window.count * self.row.lookups

    @property
    def encode_interval(self) -> int:
        """Cycles that one sample occupies the encoders, or what feeds them."""
        if self.encode == "window":
            return self.window.count * self.feeder.interval
        return self.window.height * self.window.width * self.row.encode_interval

    @property
    def interval(self) -> int:
        """Cycles between two samples that this stage alone allows, when input is always there."""
        return max(self.encode_interval, self.lookups)

    @property
    def line_buffer_bits(self) -> int:
        """Memory bits of the line buffer."""
        return self.ring.depth * self.word_bits

    @property
    def index_buffer_bits(self) -> int:
        """Memory bits of the index buffer: none where the line buffer holds indices."""
        return 0 if self.encode == "pixel" else self.row.index_buffer_bits

    # What is computed.

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
        data = check_ints(x, "Inputs of a convolution", self.element)
        data = data.astype(narrowest(self.element.low, self.element.high))
        offset = check_ints(bias, "Biases").astype(np.int64)
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
