"""Tables, biases and the map: from the stream into memories in slices of a beat."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.engine.walk import SIZE, Walk
from lutgen.gateware.memory import Buffer
from lutgen.gateware.pingpong import PingPong
from lutgen.gateware.tree import delay, position_bits
from lutgen.spec.engine import EngineSpec

__all__ = ["SlicedMemory", "TableLoader", "kept_bits", "room", "table_job", "table_write"]


def table_job(spec: EngineSpec) -> data.StructLayout:
    """What the table side has to know of a job."""
    return data.StructLayout(
        {
            "last_group": position_bits(spec.groups),
            "last_tile": 16,
            "last_block": 16,
            "has_map": 1,
        }
    )


def table_write(spec: EngineSpec) -> data.StructLayout:
    """A beat on its way to a memory."""
    return data.StructLayout(
        {
            "data": spec.table.bits,
            "beat": position_bits(max(spec.table_beats, spec.bias_beats)),  # of its row
            "half": 1,
            "matcher": position_bits(spec.matchers),
            "bank": position_bits(spec.fan_in),
            "centroid": spec.index_bits,
            "entry": position_bits(1 << spec.output_bits),  # of the map
            "is_table": 1,
            "is_bias": 1,
            "is_map": 1,
        }
    )


def kept_bits(total: int, beat: int, field: int, used: int) -> list[list[int]]:
    """Of each beat of a row of ``total`` bits, the bits that are kept: of every field of ``field``
    bits, the lower ``used``.
    """
    return [
        [bit - start for bit in range(start, min(total, start + beat)) if bit % field < used]
        for start in range(0, total, beat)
    ]


def room(m, spec: EngineSpec, halves: PingPong, drain: int = 0):
    """Whether the next half may be filled: where there is one in truth, only when it is not in use
    any more.
    """
    if spec.ping_pong:
        return halves.space
    used = [halves.full]
    for number in range(1, drain + 2):
        used.append(delay(m, None, used[-1], 1, name=f"used_{number}"))
    return halves.space & ~Cat(used).any()


class SlicedMemory(wiring.Component):
    """A memory of wide rows that is written beat by beat, a slice each; none waits in registers
    for the rest of its row.

    Parameters
    ----------
    depth : int
        Rows.
    beat : int
        Bits of a beat.
    slices : list of list of int
        Of each beat of a row, the bits that are kept.

    Members
    -------
    en : In(1)
    addr : In
    data : Out
        The kept bits of the row, one cycle later.
    write : In(1)
    write_addr, write_slice, write_data : In
        Never the row that is read.
    """

    def __init__(self, depth: int, beat: int, slices: list[list[int]]):
        self.depth = depth
        self.slices = slices
        super().__init__(
            {
                "en": In(1),
                "addr": In(position_bits(depth)),
                "data": Out(sum(map(len, slices))),
                "write": In(1),
                "write_addr": In(position_bits(depth)),
                "write_slice": In(position_bits(len(slices))),
                "write_data": In(beat),
            }
        )

    def elaborate(self, platform):
        m = Module()
        parts = []
        for number, bits in enumerate(self.slices):
            if not bits:
                continue
            m.submodules[f"slice_{number}"] = part = Buffer(self.depth, len(bits))
            m.d.comb += [
                part.en.eq(self.en),
                part.addr.eq(self.addr),
                part.load.en.eq(self.write & (self.write_slice == number)),
                part.load.addr.eq(self.write_addr),
                part.load.data.eq(Cat(self.write_data[bit] for bit in bits)),
            ]
            parts.append(part.data)
        m.d.comb += self.data.eq(Cat(parts))
        return m


class TableLoader(wiring.Component):
    """Says where each beat of the table stream goes; see design note 0005 for their order.

    A beat is written in the cycle after it is taken.

    Parameters
    ----------
    spec : EngineSpec

    Members
    -------
    i : In(stream)
    job : In(table_job)
    final : Out(1)
        The beat that is due is the job's last.
    space, half : In(1)
        Of `PingPong`.
    filled : Out(1)
    write : Out(table_write)
    """

    def __init__(self, spec: EngineSpec):
        self.spec = spec
        super().__init__(
            {
                "i": In(stream.Signature(spec.table.bits)),
                "job": In(table_job(spec)),
                "final": Out(1),
                "space": In(1),
                "half": In(1),
                "filled": Out(1),
                "write": Out(table_write(spec)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec, job, write = self.spec, self.job, self.write
        moves, maps, biases = Signal(name="moves"), Signal(name="maps"), Signal(name="biases")
        in_map, in_bias = Signal(name="in_map"), Signal(name="in_bias")
        mapped, biased = Signal(name="mapped"), Signal(name="biased")
        c = spec.centroids
        entries = Walk(
            m, moves & in_map, [("entry", spec.map_beats, spec.map_beats - 1)], name="map"
        )
        bias = Walk(
            m,
            moves & in_bias,
            [
                ("beat", spec.bias_beats, spec.bias_beats - 1),
                ("matcher", spec.matchers, spec.matchers - 1),
            ],
            name="bias",
        )
        table = Walk(
            m,
            moves & ~in_map & ~in_bias,
            [
                ("beat", spec.table_beats, spec.table_beats - 1),
                ("centroid", c, c - 1),
                ("bank", spec.fan_in, spec.fan_in - 1),
                ("matcher", spec.matchers, spec.matchers - 1),
                ("group", spec.groups, job.last_group),
                ("tile", SIZE, job.last_tile),
                ("block", SIZE, job.last_block),
            ],
            name="table",
        )
        m.d.comb += [
            maps.eq(job.has_map if spec.has_map else 0),
            in_map.eq(maps & ~mapped),
            in_bias.eq(~in_map & table.first["group"] & ~biased),
            biases.eq(moves & in_bias),
            self.i.ready.eq(self.space),
            moves.eq(self.i.valid & self.space),
            self.filled.eq(moves & ~in_map & ~in_bias & table.ends["matcher"]),
            self.final.eq(~in_map & ~in_bias & table.final),
        ]
        with m.If(moves & in_map & entries.final):
            m.d.sync += mapped.eq(1)
        with m.If(moves & ~in_map & table.ends["matcher"]):
            m.d.sync += biased.eq(0)
        with m.If(biases):
            m.d.sync += biased.eq(bias.final)
        m.d.sync += [
            write.data.eq(self.i.p),
            write.half.eq(self.half),
            write.beat.eq(Mux(in_bias, bias.at["beat"], table.at["beat"])),
            write.matcher.eq(Mux(in_bias, bias.at["matcher"], table.at["matcher"])),
            write.bank.eq(table.at["bank"]),
            write.centroid.eq(table.at["centroid"]),
            write.entry.eq(entries.at["entry"]),
            write.is_map.eq(moves & in_map),
            write.is_bias.eq(moves & in_bias),
            write.is_table.eq(moves & ~in_map & ~in_bias),
        ]
        return m
