"""The engine's matchers: rows of indices in, rows of accumulators out, and who takes what when."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.engine.tables import SlicedMemory, kept_bits, table_write
from lutgen.gateware.engine.walk import SIZE, Walk
from lutgen.gateware.matcher import AccumulatorTree
from lutgen.gateware.memory import Buffer
from lutgen.gateware.tree import delay, position_bits
from lutgen.spec.engine import LEAST_PASS, WORD, EngineSpec

__all__ = ["CAUSES", "Matcher", "Sequencer", "match_job", "matcher_signature", "step_layout"]

CAUSES = ("table", "index", "result", "pass")  # what a step may have to wait for, as it is asked


def match_job(spec: EngineSpec) -> data.StructLayout:
    """What the sequencer has to know of a job."""
    return data.StructLayout(
        {
            "last_row": position_bits(spec.rows),
            "short_last_row": position_bits(spec.rows),  # of the last block
            "last_group": position_bits(spec.groups),
            "last_tile": 16,
            "last_block": 16,
            "reuse": 1,
        }
    )


def step_layout(spec: EngineSpec) -> data.StructLayout:
    """What a matcher does with a row of indices."""
    return data.StructLayout(
        {
            "row": position_bits(spec.rows),
            "half": 1,
            "first": 1,  # group of its tile: sums begin from the biases
            "last": 1,  # group of its tile: sums are done
        }
    )


class Sequencer(wiring.Component):
    """Walks over blocks, tiles, groups and rows, a step a cycle while all that it takes is there.

    Parameters
    ----------
    spec : EngineSpec

    Members
    -------
    job : In(match_job)
    go : In(1)
        The job looks up; falls when it has failed.
    table, index, result : In(1)
        A table tile is complete; a row of indices is there; a row of results has space.
    half : In(1)
        Of the tile.
    steps : Out(1)
    step : Out(step_layout)
    release : Out(1)
        It is the last of its pass.
    frees, rewinds : Out(1)
        See `IndexRing`.
    waits : Out
        One bit for each of `CAUSES`, while there are steps to be done and none is.
    """

    def __init__(self, spec: EngineSpec):
        self.spec = spec
        super().__init__(
            {
                "job": In(match_job(spec)),
                "go": In(1),
                "table": In(1),
                "index": In(1),
                "result": In(1),
                "half": In(1),
                "steps": Out(1),
                "step": Out(step_layout(spec)),
                "release": Out(1),
                "frees": Out(1),
                "rewinds": Out(1),
                "waits": Out(len(CAUSES)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec, job = self.spec, self.job
        walk = Walk(
            m,
            self.steps,
            [
                ("row", spec.rows, (job.last_row, job.short_last_row)),
                ("group", spec.groups, job.last_group),
                ("tile", SIZE, job.last_tile),
                ("block", SIZE, job.last_block),
            ],
        )
        finished = Signal(name="finished")
        with m.If(self.steps & walk.final):
            m.d.sync += finished.eq(1)
        # A pass of fewer rows than a sum takes to come back is followed by a rest.
        rest = Signal(range(LEAST_PASS), name="rest")
        short = Signal.like(rest, name="missing")
        last_row = Mux(walk.last["block"], job.short_last_row, job.last_row)
        for rows in range(1, LEAST_PASS):
            with m.If(last_row == rows - 1):
                m.d.comb += short.eq(LEAST_PASS - rows)
        with m.If(self.release):
            m.d.sync += rest.eq(short)
        with m.Elif(rest != 0):
            m.d.sync += rest.eq(rest - 1)
        there = Cat(
            self.table,
            self.index,
            self.result | ~walk.last["group"],
            rest == 0,
        )
        wanted = Signal(name="wanted")
        m.d.comb += [
            wanted.eq(self.go & ~finished),
            self.steps.eq(wanted & there.all()),
            self.step.row.eq(walk.at["row"]),
            self.step.half.eq(self.half),
            self.step.first.eq(walk.first["group"]),
            self.step.last.eq(walk.last["group"]),
            self.release.eq(self.steps & walk.ends["row"]),
            self.frees.eq(~job.reuse | walk.last["tile"]),
            self.rewinds.eq(self.steps & walk.ends["group"] & ~self.frees),
        ]
        earlier = wanted
        for number, met in enumerate(there):
            m.d.comb += self.waits[number].eq(earlier & ~met)
            earlier = earlier & met
        return m


def matcher_signature(spec: EngineSpec) -> wiring.Signature:
    """Of a `Matcher`."""
    return wiring.Signature(
        {
            "steps": In(1),
            "step": In(step_layout(spec)),
            "indices": In(data.ArrayLayout(spec.code_bits, spec.fan_in)),
            "write": In(table_write(spec)),
            "mine": In(1),
            "o_valid": Out(1),
            "o": Out(data.ArrayLayout(signed(spec.acc.bits), spec.lanes)),
        }
    )


class Matcher(wiring.Component):
    """LUT banks, accumulator trees and a scratchpad; it never stops.

    Parameters
    ----------
    spec : EngineSpec

    Members
    -------
    steps : In(1)
    step : In(step_layout)
    indices : In
        The row's, in the cycle after.
    write : In(table_write)
    mine : In(1)
        It is for this matcher.
    o_valid : Out(1)
        A row is done, `EngineSpec.matcher_latency` cycles after its last step.
    o : Out
    """

    def __init__(self, spec: EngineSpec):
        self.spec = spec
        super().__init__(matcher_signature(spec))

    def elaborate(self, platform):
        m = Module()
        spec, write = self.spec, self.write
        to_sum = spec.matcher_latency - 1  # the cycle in which a step's values are added
        at = [self.step]
        for number in range(1, spec.matcher_latency + 1):
            at.append(delay(m, None, at[-1], 1, name=f"step_{number}", reset_less=True))
        valid = [self.steps]
        for number in range(1, spec.matcher_latency + 1):
            valid.append(delay(m, None, valid[-1], 1, name=f"valid_{number}"))
        values = self._look_up(m, valid[1], at[1])

        width = spec.lanes * spec.acc.bits
        m.submodules.scratchpad = scratchpad = Buffer(spec.rows, width)
        m.submodules.bias = bias = SlicedMemory(
            spec.halves,
            spec.table.bits,
            kept_bits(8 * spec.bias_row, spec.table.bits, 8 * WORD, spec.acc.bits),
        )
        lanes = data.ArrayLayout(signed(spec.acc.bits), spec.lanes)
        before = data.View(lanes, Mux(at[to_sum].first, bias.data, scratchpad.data))
        sums = Signal(lanes, name="sums", reset_less=True)
        for lane in range(spec.lanes):
            m.submodules[f"tree_{lane}"] = tree = AccumulatorTree(spec.tree)
            m.d.comb += tree.en.eq(1)
            m.d.comb += [tree.i[f].eq(values[f][lane]) for f in range(spec.fan_in)]
            m.d.sync += sums[lane].eq(before[lane] + tree.o)
        m.d.comb += [
            scratchpad.en.eq(valid[to_sum - 1] & ~at[to_sum - 1].first),
            scratchpad.addr.eq(at[to_sum - 1].row),
            scratchpad.load.en.eq(valid[-1] & ~at[-1].last),
            scratchpad.load.addr.eq(at[-1].row),
            scratchpad.load.data.eq(sums.as_value()),
            bias.en.eq(valid[to_sum - 1] & at[to_sum - 1].first),
            bias.addr.eq(at[to_sum - 1].half),
            bias.write.eq(write.is_bias & self.mine),
            bias.write_addr.eq(write.half),
            bias.write_slice.eq(write.beat),
            bias.write_data.eq(write.data),
            self.o_valid.eq(valid[-1] & at[-1].last),
            self.o.eq(sums),
        ]
        return m

    def _look_up(self, m, valid, step):
        """The values ``[fan_in][lanes]`` of a row's indices, 0 for those with a mark, one cycle
        later.
        """
        spec, write = self.spec, self.write
        slices = kept_bits(8 * spec.table_row, spec.table.bits, 1, 1)
        bits = spec.bank.row_bits
        slices[-1] = slices[-1][: bits - (len(slices) - 1) * spec.table.bits]
        values = []
        for f in range(spec.fan_in):
            m.submodules[f"bank_{f}"] = bank = SlicedMemory(
                spec.bank.depth, spec.table.bits, slices
            )
            index, mark = self.indices[f][: spec.index_bits], self.indices[f][spec.index_bits]
            nothing = Signal(name=f"nothing_{f}", reset_less=True)
            m.d.sync += nothing.eq(mark)
            m.d.comb += [
                bank.en.eq(valid),
                bank.addr.eq(Cat(index, step.half)),
                bank.write.eq(write.is_table & self.mine & (write.bank == f)),
                bank.write_addr.eq(Cat(write.centroid, write.half)),
                bank.write_slice.eq(write.beat),
                bank.write_data.eq(write.data),
            ]
            row = Signal(data.ArrayLayout(signed(spec.table_bits), spec.lanes), name=f"values_{f}")
            m.d.comb += row.as_value().eq(Mux(nothing, 0, bank.data))
            values.append(row)
        return values
