"""The executable specification of the engine's streams: registers and packets in, packets out.

It decodes every byte by the tables of design note 0005, and shares no code with
`lutgen.spec.job.JobSpec`, which lays the bytes out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import Format, Int64Array, requantise
from lutgen.spec.channel import ChannelSpec
from lutgen.spec.engine import WORD, EngineSpec
from lutgen.spec.job import RESULTS

__all__ = ["EngineModel", "Outcome"]

Packet = NDArray[np.uint8]
Registers = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Outcome:
    """How a job ends.

    Attributes
    ----------
    results : uint8 array
        The result packet. Where there are errors, a packet of one beat stands for any that an
        engine may give: a part of the right one, and a beat of anything.
    errors : tuple of str
        Names of bits of ``ERROR``.
    lookups : int
        Steps of the matchers.
    """

    results: Packet
    errors: tuple[str, ...] = ()
    lookups: int = 0


class Reader:
    """A packet, read row by row; every row begins on a beat."""

    def __init__(self, packet: Packet, channel: ChannelSpec):
        self._data = np.asarray(packet, dtype=np.uint8)
        self._beat = channel.beat
        self._at = 0

    def rows(self, count: int, size: int) -> Packet:
        """The next ``count`` rows of ``size`` bytes ``[count, size]``."""
        full = -(-size // self._beat) * self._beat
        end = self._at + count * full
        cut = self._data[self._at : end].reshape(count, full)[:, :size]
        self._at = end
        return cut


def integers(raw: Packet, size: int, fmt: Format) -> Int64Array:
    """Rows of bytes as rows of integers of ``size`` bytes, lowest byte first, of which the lowest
    bits count.
    """
    parts = raw.reshape(len(raw), -1, size).astype(np.int64)
    return extended((parts << (8 * np.arange(size))).sum(axis=2), fmt)


def packed(raw: Packet, count: int, fmt: Format) -> Int64Array:
    """Rows of bytes as rows of ``count`` integers, bit behind bit, lowest first."""
    bits = np.unpackbits(raw, axis=1, bitorder="little")[:, : count * fmt.bits]
    cells = bits.reshape(len(raw), count, fmt.bits).astype(np.int64)
    return extended((cells << np.arange(fmt.bits)).sum(axis=2), fmt)


def extended(words: Int64Array, fmt: Format) -> Int64Array:
    """Integers by their lowest bits."""
    low = words & ((1 << fmt.bits) - 1)
    return np.asarray(low - ((low >> (fmt.bits - 1)) << fmt.bits) if fmt.signed else low)


def row_bytes(values: Int64Array, size: int, channel: ChannelSpec) -> Packet:
    """Rows of integers as rows of bytes ``[row, byte]``, each filled up to whole beats with 0."""
    parts = (values[:, :, None] >> (8 * np.arange(size))) & 255
    raw = parts.astype(np.uint8).reshape(len(values), -1)
    return np.pad(raw, ((0, 0), (0, -raw.shape[1] % channel.beat)))


class EngineModel:
    """The engine, a job at a time, without its timing.

    Sums are those of two's complement accumulators: a bias or a partial sum may be beyond them,
    where the last sum is not.

    Parameters
    ----------
    spec : EngineSpec
    """

    def __init__(self, spec: EngineSpec):
        self.spec = spec

    def lengths(self, registers: Registers) -> dict[str, int]:
        """Bytes of the packet of every stream that a job takes from: where ``tlast`` must be."""
        spec, job = self.spec, _Sizes(self.spec, registers)
        result = {}
        if job.input_indices:
            per_row = spec.activation.beats(spec.fan_in * spec.code_bytes)
        else:
            per_row = spec.activation.beats(spec.fan_in * spec.subvec * spec.element_bytes)
            steps = spec.fan_in * spec.encoder.interval
            beats = job.blocks * job.turns * job.groups * steps * spec.centroid_beats
            result["centroids"] = beats * spec.centroid.beat
        rows = job.total * job.turns * job.groups
        result["activations"] = rows * per_row * spec.activation.beat
        if job.results != "indices":
            bias = spec.matchers * spec.table.beats(spec.lanes * WORD)
            row = spec.table.beats(-(-spec.lanes * spec.table_bits // 8))
            table = spec.matchers * spec.fan_in * spec.centroids * row
            beats = job.blocks * job.tiles * (bias + job.groups * table)
            beats += (1 << spec.output_bits) if job.map else 0
            result["tables"] = beats * spec.table.beat
        return result

    def run(self, registers: Registers, packets: Mapping[str, Packet]) -> Outcome:
        """One job.

        Parameters
        ----------
        registers : dict of dict of int
            The job's registers by name, and their fields, as `JobSpec.registers` gives them.
        packets : dict of uint8 arrays
            What comes on ``activations``, ``centroids`` and ``tables``; one each on those that the
            job takes from.

        Raises
        ------
        ValueError
            If packets come on other streams, or not in whole beats: what an engine does not end on.
        """
        spec, job = self.spec, _Sizes(self.spec, registers)
        lengths = self.lengths(registers)
        if set(lengths) != set(packets):
            raise ValueError(f"Packets must come on {sorted(lengths)}, not {sorted(packets)}")
        errors = []
        for name, length in lengths.items():
            channel: ChannelSpec = getattr(spec, name.removesuffix("s"))
            if len(packets[name]) % channel.beat or not len(packets[name]):
                raise ValueError(f"A packet on {name} must be whole beats")
            if len(packets[name]) != length:
                kind = "short" if len(packets[name]) < length else "long"
                errors.append(f"{name.removesuffix('s')}_{kind}")
        if job.reuse and max(job.sizes) * job.groups > spec.index_depth:
            errors.append("index_overflow")
        if errors:
            return Outcome(np.zeros(spec.result.beat, np.uint8), tuple(errors))
        rows = np.concatenate([*_Run(self.spec, job, packets).blocks()])
        lookups = 0 if job.results == "indices" else job.total * job.groups * job.tiles
        return Outcome(rows.reshape(-1), (), lookups)


class _Sizes:
    """What the job's registers say."""

    def __init__(self, spec: EngineSpec, registers: Registers):
        def value(name: str) -> int:
            return registers[name][name.lower()]

        mode = registers["MODE"]
        self.input_indices, self.reuse = bool(mode["input_indices"]), bool(mode["reuse"])
        self.results = RESULTS[mode["results"]]
        self.signed, self.map = bool(mode["signed"]), bool(mode["map"])
        self.blocks, self.groups, self.tiles = value("BLOCKS"), value("GROUPS"), value("TILES")
        self.sizes = [value("ROWS")] * (self.blocks - 1) + [value("LAST_ROWS")]
        self.total = sum(self.sizes)
        self.turns = 1 if self.reuse else self.tiles
        self.shift, self.low, self.high = value("SHIFT"), value("LOW"), value("HIGH")


class _Run:
    """One job under way."""

    def __init__(self, spec: EngineSpec, job: _Sizes, packets: Mapping[str, Packet]):
        self.spec, self.job = spec, job
        self.readers = {
            name: Reader(packet, getattr(spec, name.removesuffix("s")))
            for name, packet in packets.items()
        }
        self.mapped = np.zeros(0, dtype=np.int64)

    def blocks(self) -> Iterator[Packet]:
        """The rows of the result packet, ``[row, byte]``, block by block."""
        spec, job = self.spec, self.job
        if job.map:
            entries = self.readers["tables"].rows(1 << spec.output_bits, spec.output_bytes)
            fmt = Format(spec.output_bits, False)
            self.mapped = integers(entries, spec.output_bytes, fmt).reshape(-1)
        for rows in job.sizes:
            indices = None
            for tile in range(job.tiles):
                if tile == 0 or not job.reuse:
                    indices = self.indices(rows)
                assert indices is not None
                if job.results == "indices":
                    flat = indices.reshape(job.groups * rows, spec.fan_in)
                    yield row_bytes(flat, spec.code_bytes, spec.result)
                else:
                    yield self.results(self.sums(indices))

    def indices(self, rows: int) -> Int64Array:
        """Indices of a block ``[group, row, codebook]``; -1 stands for nothing."""
        spec, job = self.spec, self.job
        shape = (job.groups, rows, spec.fan_in)
        if job.input_indices:
            raw = self.readers["activations"].rows(job.groups * rows, spec.fan_in * spec.code_bytes)
            codes = integers(raw, spec.code_bytes, Format(spec.code_bits, False)).reshape(shape)
            mark = 1 << spec.index_bits
            return np.where(codes & mark, -1, codes & (mark - 1))
        fmt, size = Format(spec.activation_bits, job.signed), spec.element_bytes
        raw = self.readers["activations"].rows(job.groups * rows, spec.fan_in * spec.subvec * size)
        x = integers(raw, size, fmt).reshape(*shape, spec.subvec)
        encoder = spec.encoder
        across, deep = encoder.parallel_centroids, encoder.parallel_dims
        steps = spec.fan_in * encoder.interval
        found = []
        for group in range(job.groups):
            raw = self.readers["centroids"].rows(steps, across * deep * size)
            turns = (spec.fan_in, encoder.blocks, encoder.dim_steps, across, deep)
            books = integers(raw, size, fmt).reshape(turns).transpose(0, 1, 3, 2, 4)
            whole = books.reshape(spec.fan_in, encoder.blocks * across, encoder.dim_steps * deep)
            found.append(encoder.compute(x[group], whole[:, : spec.centroids, : spec.subvec]))
        return np.stack(found)

    def sums(self, indices: Int64Array) -> Int64Array:
        """A tile's accumulators ``[row, output]`` of a block's indices."""
        spec, reader = self.spec, self.readers["tables"]
        grid = Format(spec.table_bits, True)
        bias = integers(reader.rows(spec.matchers, spec.lanes * WORD), WORD, Format(32, True))
        acc = np.tile(bias.reshape(1, -1), (indices.shape[1], 1))
        shape = (spec.matchers, spec.fan_in, spec.centroids, spec.lanes)
        for group in indices:
            raw = reader.rows(int(np.prod(shape[:3])), -(-spec.lanes * spec.table_bits // 8))
            table = packed(raw, spec.lanes, grid).reshape(shape)
            table = np.pad(table, ((0, 0), (0, 0), (0, 1), (0, 0)))  # row -1: nothing
            for codebook, column in enumerate(group.T):
                picked = table[:, codebook, column]  # [matcher, row, lane]
                acc += picked.transpose(1, 0, 2).reshape(len(acc), -1)
        wrap = 1 << spec.acc.bits
        return (acc + wrap // 2) % wrap - wrap // 2

    def results(self, acc: Int64Array) -> Packet:
        """Rows of the result packet."""
        spec, job = self.spec, self.job
        if job.results == "accumulators":
            return row_bytes(acc, WORD, spec.result)
        wide = Format(62, True)
        codes = np.clip(requantise(acc, job.shift, wide), job.low, job.high)
        codes &= (1 << spec.output_bits) - 1
        if job.map:
            codes = self.mapped[codes]
        values = extended(codes, Format(spec.output_bits, job.low < 0))
        return row_bytes(values, spec.output_bytes, spec.result)
