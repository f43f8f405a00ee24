"""One job of the LUT-stationary engine: a matrix product in blocks, tiles and groups, and what its
streams carry.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.numeric import Format, Int64Array, as_int, ceil_div, check_ints
from lutgen.spec.channel import ChannelSpec
from lutgen.spec.engine import WORD, EngineSpec

__all__ = ["CHANNELS", "INPUTS", "NOTHING", "RESULTS", "SIZES", "Bytes", "JobSpec"]

CHANNELS = ("activations", "centroids", "tables", "results")  # a_axis, c_axis, t_axis, m_axis
INPUTS = ("activations", "indices")
RESULTS = ("outputs", "accumulators", "indices")  # by their code in the register MODE
NOTHING = -1  # an index that stands for nothing: a tap outside the image
SIZES = (1 << 16) - 1  # blocks and tiles of a job, at most

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class JobSpec:
    """What the engine's registers are set to, and what its streams then carry.

    Parameters
    ----------
    engine : EngineSpec
    rows : int
        M, input rows.
    codebooks : int
        Sub-vectors of one input row.
    outputs : int
        N; of jobs that give indices, 1.
    inputs : str
        ``activations``, or ``indices`` where they are known already.
    results : str
        ``outputs``, requantised; ``accumulators``; or ``indices``, of ``activations``.
    signed : bool
        Whether activations and centroids are signed.
    shift, low, high : int
        Of the requantiser: ``clamp((acc + half) >> shift, low, high)``.
    has_map : bool
        Whether requantised results go through a table.
    signed_results : bool or None
        Whether requantised results are signed; None where ``low`` is negative. A map may give
        others than it takes.
    reuse : bool or None
        Whether a block's indices are kept for its later tiles; None where they fit.
    """

    engine: EngineSpec
    rows: int
    codebooks: int
    outputs: int = 1
    inputs: str = "activations"
    results: str = "outputs"
    signed: bool = False
    shift: int = 0
    low: int = 0
    high: int = 0
    has_map: bool = False
    signed_results: bool | None = None
    reuse: bool | None = None

    def __post_init__(self) -> None:
        engine = self.engine
        as_int(self.rows, "Rows of a job", low=1, high=SIZES * engine.rows)
        as_int(self.codebooks, "Codebooks of a job", low=1, high=engine.groups * engine.fan_in)
        as_int(self.outputs, "Outputs of a job", low=1, high=SIZES * engine.outputs)
        for name, kind, kinds in (
            ("Inputs", self.inputs, INPUTS),
            ("Results", self.results, RESULTS),
        ):
            if kind not in kinds:
                raise ValueError(f"{name} must be one of {', '.join(kinds)}, not {kind!r}")
        if self.results == "indices" and (self.inputs == "indices" or self.outputs != 1):
            raise ValueError("Indices must be the result of activations, and of one output")
        as_int(self.shift, "Shift", low=0, high=31)
        bits = engine.output_bits
        for name, value in (("Low", self.low), ("High", self.high)):
            as_int(value, f"{name} limit of results", low=-(1 << bits - 1), high=(1 << bits) - 1)
        if self.has_map and not engine.has_map:
            raise ValueError("A map needs an engine that has one")
        if self.has_map and self.results != "outputs":
            raise ValueError(f"A map needs requantised results, not {self.results}")
        if self.reuse and not self.fits:
            raise ValueError(
                f"Reuse needs {self.block_rows * self.groups} rows of the index buffer, which has "
                f"{engine.index_depth}"
            )

    # How it is cut.

    @property
    def blocks(self) -> int:
        """Blocks of rows: as few as hold them, and as even as can be."""
        return ceil_div(self.rows, self.engine.rows)

    @property
    def block_rows(self) -> int:
        """Rows of each block but the last."""
        return ceil_div(self.rows, self.blocks)

    @property
    def last_rows(self) -> int:
        """Rows of the last block."""
        return self.rows - (self.blocks - 1) * self.block_rows

    @property
    def sizes(self) -> list[int]:
        """Rows of every block."""
        return [self.block_rows] * (self.blocks - 1) + [self.last_rows]

    @property
    def groups(self) -> int:
        """Groups of an input row: passes of a tile."""
        return ceil_div(self.codebooks, self.engine.fan_in)

    @property
    def tiles(self) -> int:
        """Tiles of outputs."""
        return ceil_div(self.outputs, self.engine.outputs)

    @property
    def fits(self) -> bool:
        """Whether the indices of a block fit the index buffer."""
        return self.block_rows * self.groups <= self.engine.index_depth

    @property
    def reused(self) -> bool:
        """Whether a block's indices are kept for its later tiles."""
        return self.fits if self.reuse is None else self.reuse

    @property
    def turns(self) -> int:
        """Times that a block's activations and centroids are sent."""
        return 1 if self.reused else self.tiles

    @property
    def lookups(self) -> int:
        """Steps of all passes."""
        return 0 if self.results == "indices" else self.rows * self.groups * self.tiles

    def registers(self) -> dict[str, dict[str, int]]:
        """Job registers and their fields."""
        return {
            "MODE": {
                "input_indices": int(self.inputs == "indices"),
                "results": RESULTS.index(self.results),
                "signed": int(self.signed),
                "reuse": int(self.reused),
                "map": int(self.has_map),
            },
            "ROWS": {"rows": self.block_rows},
            "LAST_ROWS": {"last_rows": self.last_rows},
            "BLOCKS": {"blocks": self.blocks},
            "GROUPS": {"groups": self.groups},
            "TILES": {"tiles": self.tiles},
            "SHIFT": {"shift": self.shift},
            "LOW": {"low": self.low},
            "HIGH": {"high": self.high},
        }

    # What the streams carry.

    @property
    def packet_bytes(self) -> dict[str, int]:
        """Bytes of the packet on each stream; 0 for a stream that the job does not use."""
        engine = self.engine
        rows = self.rows * self.groups * self.turns
        given = engine.activation_beats if self.inputs == "activations" else engine.code_beats
        steps = self.blocks * self.turns * self.groups * engine.codebook_rows
        table = self.groups * engine.table_rows * engine.table_beats
        tile = engine.matchers * engine.bias_beats + table
        tables = self.blocks * self.tiles * tile + self.has_map * engine.map_beats
        return {
            "activations": rows * given * engine.activation.beat,
            "centroids": steps * engine.centroid_beats * engine.centroid.beat
            if self.inputs == "activations"
            else 0,
            "tables": tables * engine.table.beat if self.results != "indices" else 0,
            "results": self.result_bytes,
        }

    def activation_stream(self, x: ArrayLike) -> Bytes:
        """``a_axis`` of activations ``[rows, up to codebooks * v]``; missing ones are 0."""
        engine = self.engine
        element = Format(engine.activation_bits, self.signed)
        data = self._rows(check_ints(x, "Activations", element), self.codebooks * engine.subvec)
        width = self.groups * engine.fan_in * engine.subvec
        padded = np.zeros((self.rows, width), dtype=np.int64)
        padded[:, : data.shape[1]] = data
        return self._by_block(padded, engine.element_bytes)

    def index_stream(self, indices: ArrayLike) -> Bytes:
        """``a_axis`` of indices ``[rows, codebooks]``; `NOTHING` marks those that add nothing."""
        # One bit more holds `NOTHING`, which is negative.
        codes = check_ints(indices, "Indices", Format(self.engine.index_bits + 1, True))
        data = self._rows(codes, self.codebooks)
        padded = np.full((self.rows, self.groups * self.engine.fan_in), NOTHING, dtype=np.int64)
        padded[:, : data.shape[1]] = data
        mark = 1 << self.engine.index_bits
        return self._by_block(np.where(padded < 0, mark, padded), self.engine.code_bytes)

    def _rows(self, data: NDArray[Any], width: int) -> NDArray[Any]:
        """``data``, once it is sure that it is a matrix of the job's rows."""
        if data.ndim != 2 or len(data) != self.rows or data.shape[1] > width:
            raise ValueError(
                f"Input rows must have the shape ({self.rows}, up to {width}), not {data.shape}"
            )
        return data

    def _by_block(self, values: Int64Array, size: int) -> Bytes:
        parts, start = [], 0
        for rows in self.sizes:
            cut = values[start : start + rows].reshape(rows, self.groups, -1).transpose(1, 0, 2)
            packed = rows_of(cut.reshape(rows * self.groups, -1), size, self.engine.activation)
            parts += [packed] * self.turns
            start += rows
        return np.concatenate(parts)

    def centroid_stream(self, codebooks: ArrayLike) -> Bytes:
        """``c_axis`` of codebooks ``[codebooks, c, v]``; missing ones are 0."""
        engine = self.engine
        books = check_ints(
            codebooks, "Codebooks", Format(engine.activation_bits, self.signed)
        ).astype(np.int64)
        padded = np.zeros((self.groups * engine.fan_in, *books.shape[1:]), dtype=np.int64)
        padded[: len(books)] = books
        steps = engine.encoder.rows(padded)
        once = rows_of(steps.reshape(len(steps), -1), engine.element_bytes, engine.centroid)
        return np.tile(once, self.blocks * self.turns)

    def table_stream(self, values: ArrayLike, bias: ArrayLike, mapped: ArrayLike = ()) -> Bytes:
        """``t_axis`` of table values ``[codebooks, c, N]``, biases ``[N]`` and, with ``has_map``,
        the map: an entry for every code of the output format.
        """
        engine = self.engine
        table = check_ints(values, "Table", Format(engine.table_bits, True))
        f, c, n = engine.fan_in, engine.centroids, engine.outputs
        padded = np.zeros((self.groups * f, c, self.tiles * n), dtype=np.int64)
        padded[: len(table), :, : table.shape[2]] = table
        shape = (self.groups, f, c, self.tiles, engine.matchers, engine.lanes)
        # tile, group, matcher, codebook, centroid, lane
        tiles = padded.reshape(shape).transpose(3, 0, 4, 1, 2, 5)
        rows = bit_rows(tiles.reshape(-1, engine.lanes), engine.table_bits, engine.table)
        biases = np.zeros(self.tiles * n, dtype=np.int64)
        biases[: table.shape[2]] = check_ints(bias, "Biases", Format(8 * WORD, True))
        words = rows_of(biases.reshape(-1, engine.lanes), WORD, engine.table)
        block = np.concatenate(
            [words.reshape(self.tiles, -1), rows.reshape(self.tiles, -1)], axis=1
        ).reshape(-1)
        body = np.tile(block, self.blocks)
        if not self.has_map:
            return body
        signed = self.low < 0 if self.signed_results is None else self.signed_results
        codes = check_ints(mapped, "Entries of a map", Format(engine.output_bits, signed))
        entries = codes.astype(np.int64).reshape(-1, 1)
        return np.concatenate([rows_of(entries, engine.output_bytes, engine.table), body])

    @property
    def result_bytes(self) -> int:
        """Bytes of the result packet."""
        engine = self.engine
        if self.results == "indices":
            return self.rows * self.groups * engine.index_beats * engine.result.beat
        beats = engine.result_beats if self.results == "outputs" else engine.word_beats
        return self.rows * self.tiles * beats * engine.result.beat

    def result_of(self, packet: ArrayLike) -> Int64Array:
        """What a result packet says: ``[rows, N]``, or indices ``[rows, codebooks]``.

        Raises
        ------
        ValueError
            If it is of another length.
        """
        engine = self.engine
        data = np.asarray(packet, dtype=np.uint8)
        if data.size != self.result_bytes:
            raise ValueError(f"Results must be {self.result_bytes} bytes, not {data.size}")
        if self.results == "indices":
            count, size, turns, signed = engine.fan_in, engine.code_bytes, self.groups, False
        elif self.results == "outputs":
            count, size, turns, signed = (
                engine.outputs,
                engine.output_bytes,
                self.tiles,
                self.low < 0,
            )
            if self.signed_results is not None:
                signed = self.signed_results
        else:
            count, size, turns, signed = engine.outputs, WORD, self.tiles, True
        bits = engine.output_bits if self.results == "outputs" else 8 * size
        values = values_of(data.reshape(self.rows * turns, -1), count, size, bits, signed=signed)
        parts, start = [], 0
        for rows in self.sizes:
            end = start + rows * turns
            block = values[start:end].reshape(turns, rows, count).transpose(1, 0, 2)
            parts.append(block.reshape(rows, turns * count))
            start = end
        width = self.codebooks if self.results == "indices" else self.outputs
        return np.ascontiguousarray(np.concatenate(parts)[:, :width])


def rows_of(values: Int64Array, size: int, channel: ChannelSpec) -> Bytes:
    """Rows ``[row, element]`` of ``size`` bytes an element, each row begun on a beat."""
    words = np.ascontiguousarray(values, dtype="<i8")
    raw = words.view(np.uint8).reshape(*values.shape, 8)[..., :size]
    return on_beats(raw.reshape(len(values), -1), channel)


def bit_rows(values: Int64Array, bits: int, channel: ChannelSpec) -> Bytes:
    """Rows of ``bits`` bits an element, packed, each row begun on a beat."""
    if bits == 8 * size_of(bits):
        return rows_of(values, size_of(bits), channel)
    cells = ((values[..., None] >> np.arange(bits)) & 1).astype(np.uint8)
    packed = np.packbits(cells.reshape(len(values), -1), axis=1, bitorder="little")
    return on_beats(packed, channel)


def size_of(bits: int) -> int:
    """Bytes that hold so many bits."""
    return ceil_div(bits, 8)


def on_beats(raw: Bytes, channel: ChannelSpec) -> Bytes:
    """Rows of bytes, filled up to whole beats, one after the other."""
    missing = channel.beats(raw.shape[1]) * channel.beat - raw.shape[1]
    return np.pad(raw, ((0, 0), (0, missing))).reshape(-1)


def values_of(raw: Bytes, count: int, size: int, bits: int, *, signed: bool) -> Int64Array:
    """The first ``count`` elements of ``size`` bytes in every row of bytes, by their lowest
    ``bits`` bits.
    """
    wide = np.zeros((len(raw), count, 8), dtype=np.uint8)
    wide[..., :size] = raw[:, : count * size].reshape(len(raw), count, size)
    values = wide.view("<i8")[..., 0].astype(np.int64) & ((1 << bits) - 1)
    if signed:
        values = (values ^ (1 << bits - 1)) - (1 << bits - 1)
    return values
