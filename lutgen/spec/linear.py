"""A lookup layer on a vector: encoders, tables, accumulators, requantiser, and their fold."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.numeric import (
    Format,
    Grid,
    Int64Array,
    as_int,
    ceil_div,
    check_ints,
    clog2,
    format_for,
)
from lutgen.spec.distance import METRICS
from lutgen.spec.encoder import DigitSpec, EncoderSpec, IndexSpec, narrowest
from lutgen.spec.matcher import BankSpec, RequantiserSpec, TreeSpec
from lutgen.spec.stream import RegrouperSpec

__all__ = ["LAYER_METRICS", "LinearSpec", "acc_format", "format_acc_format", "sum_lookups"]

LAYER_METRICS = (*METRICS, "digit")


def acc_format(values: ArrayLike, bias: ArrayLike) -> Format:
    """The narrowest signed format of every accumulator: the worst case over the actual tables.

    Parameters
    ----------
    values : int array ``[g, c, n]``
        Decoded tables.
    bias : int array ``[n]``
    """
    table = np.asarray(values, dtype=np.int64)
    offset = np.asarray(bias, dtype=np.int64)
    low = int((table.min(axis=1).sum(axis=0) + offset).min())
    high = int((table.max(axis=1).sum(axis=0) + offset).max())
    return format_for(min(low, -1), high)


def format_acc_format(codebooks: int, grid: Grid) -> Format:
    """The accumulator format for tables that are not known: any codes, and a bias of the sum's own
    width.
    """
    width = format_for(min(codebooks * grid.low, -1), codebooks * grid.high).bits
    return Format(width + 1, True)


def sum_lookups(
    lookups: Iterable[tuple[NDArray[np.signedinteger[Any]], Int64Array]],
) -> NDArray[np.signedinteger[Any]]:
    """Sums of table rows over lookups, ``[batch, n]``, in the dtype of the rows.

    Parameters
    ----------
    lookups : iterable of pairs
        At least one pair of the rows ``[c, n]`` of a table and the indices ``[batch]`` into them;
        the dtype of the rows must hold the sums.
    """
    each = iter(lookups)
    rows, column = next(each)
    total = rows[column]
    picked = np.empty_like(total)
    for rows, column in each:
        # "clip" spares take() a second buffer; indices are in range by construction.
        np.take(rows, column, axis=0, out=picked, mode="clip")
        total += picked
    return total


@dataclass(frozen=True)
class LinearSpec:
    """One linear stage.

    Parameters
    ----------
    in_features, out_features : int
        K inputs, N outputs.
    element : Format
        Format of the inputs.
    subvec, centroids, metric
        Sub-vector length v, centroids c, and ``l1``, ``l2``, ``chebyshev`` or ``digit``; or
        ``index`` where what arrives are indices already, see `IndexSpec`.
    grid : Grid
        What table codes stand for.
    acc : Format
        Format of the accumulators (`acc_format`, or `format_acc_format` for tables to be loaded).
    shift, output
        See `RequantiserSpec`.
    lanes : int
        Outputs computed in one cycle.
    fan_in : int
        Codebooks looked up in one cycle.
    encoder_centroids, encoder_dims : int
        See `EncoderSpec`; 1 for digit layers, which have no encoder.
    memory : str
        See `BankSpec`.
    taps : int
        Times that a row of indices is looked up, each time in tables of its own, and summed: the
        taps of a convolution with encode ``pixel``.
    feed_interval, feed_latency : int
        Cycles from row to row, and from a row's beginning to the last step of its last group, where
        something else than the encoders sets them; 0 where they do.
    """

    in_features: int
    out_features: int
    element: Format
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
    taps: int = 1
    feed_interval: int = 0
    feed_latency: int = 0

    def __post_init__(self) -> None:
        as_int(self.in_features, "Input features", low=1)
        as_int(self.out_features, "Output features", low=1)
        as_int(self.subvec, "Sub-vector length", low=1)
        if self.subvec > self.in_features:
            raise ValueError(
                f"Sub-vector length must not exceed the {self.in_features} input features, "
                f"as {self.subvec} does"
            )
        if self.metric not in (*LAYER_METRICS, "index"):
            raise ValueError(
                f"Metric must be one of {', '.join(LAYER_METRICS)}, not {self.metric!r}"
            )
        if not self.has_encoders and self.subvec != 1:
            raise ValueError(
                f"Sub-vector length of {self.metric} layers must be 1, not {self.subvec}"
            )
        as_int(self.lanes, "Lanes", low=1, high=self.out_features)
        as_int(self.taps, "Taps", low=1)
        _ = self.encoder
        as_int(self.fan_in, "Fan-in", low=1, high=self.codebooks)
        _ = self.bank, self.requantiser

    # What is computed.

    @property
    def has_encoders(self) -> bool:
        """Whether there are distances to be computed."""
        return self.metric in METRICS

    @property
    def encoder(self) -> EncoderSpec | DigitSpec | IndexSpec:
        """One of the ``fan_in`` encoders."""
        if self.metric == "index":
            return IndexSpec(self.element, self.centroids)
        if self.metric == "digit":
            return DigitSpec(self.element, self.centroids)
        return EncoderSpec(
            self.element,
            self.subvec,
            self.centroids,
            self.metric,
            self.encoder_centroids,
            self.encoder_dims,
        )

    @property
    def codebooks(self) -> int:
        """Sub-vectors g of one input row."""
        encoder = self.encoder
        if isinstance(encoder, DigitSpec):
            return self.in_features * encoder.digits
        return ceil_div(self.in_features, self.subvec)

    @property
    def index_bits(self) -> int:
        """Width of an index."""
        return clog2(self.centroids)

    @property
    def code_bits(self) -> int:
        """Width of an index with its mark, where it has one."""
        return self.index_bits + (self.metric == "index")

    @property
    def requantiser(self) -> RequantiserSpec:
        """One of the ``lanes`` requantisers."""
        return RequantiserSpec(self.acc, self.shift, self.output)

    @property
    def result(self) -> Format:
        """Format of the outputs."""
        return self.requantiser.result

    def indices(self, x: ArrayLike, codebooks: ArrayLike | None) -> Int64Array:
        """Indices ``[batch, g]`` of inputs ``[batch, K]``; ``codebooks`` as in `compute`."""
        data = check_ints(x, "Inputs of a layer")
        encoder = self.encoder
        if isinstance(encoder, DigitSpec):
            return encoder.compute(data)
        if codebooks is None or not isinstance(encoder, EncoderSpec):
            raise TypeError("Codebooks must be given unless the metric is digit")
        padded = np.pad(data, ((0, 0), (0, self.codebooks * self.subvec - self.in_features)))
        return encoder.compute(padded.reshape(len(data), self.codebooks, self.subvec), codebooks)

    def accumulate(self, indices: ArrayLike, table: ArrayLike, bias: ArrayLike) -> Int64Array:
        """Accumulators ``[batch, N]`` of indices ``[batch, g]``, int64; arrays as in `compute`."""
        values = self.grid.decode(table)
        reach = int(np.abs(values).max(axis=(1, 2)).sum())
        rows = values.astype(narrowest(-reach, reach))
        codes = Format(max(1, self.index_bits), False)
        columns = np.ascontiguousarray(check_ints(indices, "Indices", codes).T)
        offset = check_ints(bias, "Biases").astype(np.int64)
        return sum_lookups(zip(rows, columns, strict=True)) + offset

    def compute(
        self, x: ArrayLike, codebooks: ArrayLike | None, table: ArrayLike, bias: ArrayLike
    ) -> Int64Array:
        """Outputs of the layer.

        Parameters
        ----------
        x : int array ``[batch, K]``
        codebooks : int array ``[g, c, v]``, or None for digit layers
        table : array of unsigned codes ``[g, c, N]``
        bias : int array ``[N]``

        Returns
        -------
        int64 array ``[batch, N]``
        """
        return self.requantiser.compute(self.accumulate(self.indices(x, codebooks), table, bias))

    # How it is folded.

    @property
    def groups(self) -> int:
        """Groups of one row of indices: codebooks over fan-in."""
        return ceil_div(self.codebooks, self.fan_in)

    @property
    def turn(self) -> int:
        """Lookups of one output tile: the groups of every tap."""
        return self.taps * self.groups

    @property
    def tiles(self) -> int:
        """Output tiles: outputs over lanes."""
        return ceil_div(self.out_features, self.lanes)

    @property
    def lookups(self) -> int:
        """Lookup cycles of one output row."""
        return self.turn * self.tiles

    @property
    def buffered(self) -> bool:
        """Whether indices are kept for later tiles, while those of the next rows are found."""
        return self.tiles > 1

    @property
    def item_bits(self) -> int:
        """Width of what sub-vectors are gathered from: an element, or a digit."""
        return self.index_bits if self.metric == "digit" else self.element.bits

    @property
    def items(self) -> int:
        """Items of one sample."""
        return self.codebooks if self.metric == "digit" else self.in_features

    @property
    def items_per_element(self) -> int:
        """Items that one input element makes."""
        encoder = self.encoder
        return encoder.digits if isinstance(encoder, DigitSpec) else 1

    @property
    def group_items(self) -> int:
        """Items that one step of ``fan_in`` encoders takes in."""
        return self.fan_in * self.subvec

    def regrouper(self, i_lanes: int) -> RegrouperSpec:
        """What turns beats of ``i_lanes`` elements into the encoders' groups."""
        i_items = i_lanes * self.items_per_element
        return RegrouperSpec(self.items, i_items, self.group_items, self.encoder.interval)

    @property
    def bank(self) -> BankSpec:
        """One of the ``fan_in`` LUT banks: rows in the order tile, tap, group, centroid."""
        return BankSpec(self.lookups * self.centroids, self.lanes, self.grid, self.memory)

    @property
    def tree(self) -> TreeSpec:
        """One of the ``lanes`` accumulator trees."""
        return TreeSpec(self.fan_in, self.bank.value, self.acc)

    @property
    def address_latency(self) -> int:
        """Cycles to form a bank's address: an addition where the centroids are no power of two,
        else wiring.
        """
        return int(self.centroids != 1 << self.index_bits)

    @property
    def matcher_latency(self) -> int:
        """Cycles from a group's indices to the result, when it is the last of its tile."""
        return (
            self.address_latency
            + self.bank.latency
            + self.tree.latency
            + 1  # accumulator
            + self.requantiser.latency
        )

    @property
    def last_group(self) -> int:
        """Codebooks of the last group: fewer than ``fan_in`` where that does not divide them."""
        return self.codebooks - (self.groups - 1) * self.fan_in

    def bank_rows(self, table: ArrayLike) -> Int64Array:
        """Contents of the LUT banks.

        Bank f holds the codebooks ``group * fan_in + f``. Outputs past N and codebooks past g have
        code 0; the matcher masks the latter.

        Parameters
        ----------
        table : array of codes ``[g, c, N]``, with several taps ``[taps, g, c, N]``

        Returns
        -------
        int64 array ``[fan_in, tiles * taps * groups * c, lanes]``
        """
        g, c, n = self.codebooks, self.centroids, self.out_features
        padded = np.zeros(
            (self.taps, self.groups * self.fan_in, c, self.tiles * self.lanes), dtype=np.int64
        )
        codes = check_ints(table, "Table", Format(self.grid.bits, False))
        padded[:, :g, :, :n] = codes.reshape(self.taps, g, c, n)
        split = padded.reshape(self.taps, self.groups, self.fan_in, c, self.tiles, self.lanes)
        return split.transpose(2, 4, 0, 1, 3, 5).reshape(self.fan_in, -1, self.lanes)

    def bias_rows(self, bias: ArrayLike) -> Int64Array:
        """Contents of the bias memory, int64 ``[tiles, lanes]``: ``[N]`` with zeros after."""
        rows = np.zeros(self.tiles * self.lanes, dtype=np.int64)
        # The sums fit the accumulator; a bias alone may not, and wraps with its partial sums.
        rows[: self.out_features] = check_ints(bias, "Biases", Format(32, True))
        return rows.reshape(self.tiles, self.lanes)

    def codebook_rows(self, codebooks: ArrayLike) -> list[Int64Array]:
        """Contents of the ``fan_in`` codebook memories, each ``[groups * steps, centroids, dims]``
        a cycle.
        """
        encoder = self.encoder
        if not isinstance(encoder, EncoderSpec):
            return []
        books = check_ints(codebooks, "Codebooks", encoder.element)
        padded = np.zeros((self.groups * self.fan_in, *books.shape[1:]), dtype=np.int64)
        padded[: self.codebooks] = books
        return [encoder.rows(padded[f :: self.fan_in]) for f in range(self.fan_in)]

    @property
    def encode_interval(self) -> int:
        """Cycles that one row occupies the encoders, or what feeds them."""
        return max(self.feed_interval, self.groups * self.encoder.interval)

    @property
    def interval(self) -> int:
        """Cycles between two samples that this stage alone allows, when input is always there."""
        return max(self.encode_interval, self.lookups)

    # What it holds.

    @property
    def codebook_bits(self) -> int:
        """Memory bits of the codebooks."""
        encoder = self.encoder
        if not isinstance(encoder, EncoderSpec):
            return 0
        return self.fan_in * self.groups * encoder.interval * encoder.row_bits

    @property
    def table_bits(self) -> int:
        """Memory bits of the LUT banks."""
        return self.fan_in * self.bank.bits

    @property
    def bias_bits(self) -> int:
        """Memory bits of the biases."""
        return self.tiles * self.lanes * self.acc.bits

    @property
    def index_slots(self) -> int:
        """Rows of indices that are kept at once, a power of two: as many as are under way between
        the beginning of their encoding and the end of their lookups.
        """
        if not self.buffered:
            return 0
        encode = max(self.feed_latency, self.groups * self.encoder.interval)
        way = encode + self.encoder.latency + 1 + self.lookups
        return 1 << clog2(max(2, ceil_div(way, self.interval)))

    @property
    def index_rows(self) -> int:
        """Rows of the index buffer's memory, one a group."""
        return self.index_slots << max(1, clog2(self.groups))

    @property
    def index_buffer_bits(self) -> int:
        """Memory bits of the index buffer."""
        return self.index_rows * self.fan_in * self.code_bits
