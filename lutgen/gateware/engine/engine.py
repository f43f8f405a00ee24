"""The LUT-stationary engine: registers, four streams, an interrupt. See design note 0005."""

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    DomainRenamer,
    Module,
    Mux,
    ResetInserter,
    ResetSignal,
    Signal,
)
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer, ResetSynchronizer
from amaranth.lib.wiring import In, Out, connect

from lutgen.gateware.crossing import AsyncFifo
from lutgen.gateware.engine.channel import Channel
from lutgen.gateware.engine.control import JobControl
from lutgen.gateware.engine.encode import Encode
from lutgen.gateware.engine.indices import IndexRing
from lutgen.gateware.engine.match import CAUSES, Matcher, Sequencer, matcher_signature
from lutgen.gateware.engine.results import INDICES, Results, Serialiser
from lutgen.gateware.engine.tables import TableLoader, room
from lutgen.gateware.pingpong import PingPong
from lutgen.gateware.registers import RegisterFile
from lutgen.gateware.verilog import Shared
from lutgen.spec.crossing import CrossingSpec
from lutgen.spec.engine import EngineSpec
from lutgen.spec.engine_registers import COUNTERS, ERRORS, engine_registers

__all__ = ["Engine", "LITE", "ports"]

ENC = "enc"  # the encoder side's clock domain, where it has its own
CROSSING_DEPTH = 16  # rows of indices on their way from clock to clock

# Signals of AXI4-Lite by channel: those that its slave takes, and those that it gives.
LITE = {
    "aw": (("addr", "prot"), True),
    "w": (("data", "strb"), True),
    "b": (("resp",), False),
    "ar": (("addr", "prot"), True),
    "r": (("data", "resp"), False),
}


def ports(spec: EngineSpec) -> dict[str, tuple[str, int]]:
    """Names of the engine's ports but clocks and reset: direction and width."""
    bits = {"addr": engine_registers(spec).addr_bits, "prot": 3, "data": 32, "strb": 4, "resp": 2}
    result = {}
    for channel, (fields, into) in LITE.items():
        sides = ("in", "out") if into else ("out", "in")
        for field in fields:
            result[f"s_axil_{channel}{field}"] = (sides[0], bits[field])
        result[f"s_axil_{channel}valid"] = (sides[0], 1)
        result[f"s_axil_{channel}ready"] = (sides[1], 1)
    streams = {"a": spec.activation, "c": spec.centroid, "t": spec.table, "m": spec.result}
    for name, channel in streams.items():
        sides = ("out", "in") if name == "m" else ("in", "out")
        result[f"{name}_axis_tdata"] = (sides[0], channel.bits)
        result[f"{name}_axis_tlast"] = (sides[0], 1)
        result[f"{name}_axis_tvalid"] = (sides[0], 1)
        result[f"{name}_axis_tready"] = (sides[1], 1)
    result["irq"] = ("out", 1)
    return result


class Engine(wiring.Component):
    """The engine with flat ports, as they stand in the Verilog.

    Parameters
    ----------
    spec : EngineSpec

    Members
    -------
    s_axil_* : AXI4-Lite of the registers, `engine_registers`
    a_axis_*, c_axis_*, t_axis_* : AXI4-Stream of activations, centroids, tables
    m_axis_* : AXI4-Stream of results
    irq : Out(1)
    enc_clk : In(1)
        Clock of the encoder side, ``a_axis`` and ``c_axis``; with two clocks only.
    """

    def __init__(self, spec: EngineSpec):
        self.spec = spec
        self.registers = engine_registers(spec)
        members = {
            name: (In if way == "in" else Out)(width) for name, (way, width) in ports(spec).items()
        }
        if spec.two_clocks:
            members["enc_clk"] = In(1)
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.registers = registers = RegisterFile(self.registers)
        settle = max(self.spec.matcher_latency, Serialiser.latency) + 1
        m.submodules.control = control = JobControl(settle)
        self._connect_lite(m, registers.bus)
        encode, row = self._encode(m, registers, control)
        self._match(m, registers, control, row, encode)
        self._connect_control(m, registers, control)
        return m

    def _connect_lite(self, m, bus):
        for channel, (fields, into) in LITE.items():
            here = getattr(bus, channel)
            for field in fields:
                port = getattr(self, f"s_axil_{channel}{field}")
                inner = getattr(here.p, field)
                m.d.comb += inner.eq(port) if into else port.eq(inner)
            valid = getattr(self, f"s_axil_{channel}valid")
            ready = getattr(self, f"s_axil_{channel}ready")
            if into:
                m.d.comb += [here.valid.eq(valid), ready.eq(here.ready)]
            else:
                m.d.comb += [valid.eq(here.valid), here.ready.eq(ready)]

    def _connect_stream(self, m, name, inner):
        """Joins an input stream's ports to a stream inside."""
        m.d.comb += [
            inner.valid.eq(getattr(self, f"{name}_axis_tvalid")),
            inner.p.data.eq(getattr(self, f"{name}_axis_tdata")),
            inner.p.last.eq(getattr(self, f"{name}_axis_tlast")),
            getattr(self, f"{name}_axis_tready").eq(inner.ready),
        ]

    def _encode(self, m, registers, control):
        """The encoder side in its clock; what it says, and rows of indices, in the main one."""
        spec = self.spec
        encode = Encode(spec)
        domain = ENC if spec.two_clocks else "sync"
        if spec.two_clocks:
            m.domains += ClockDomain(ENC)
            m.d.comb += ClockSignal(ENC).eq(self.enc_clk)
            m.submodules.encoder_reset = ResetSynchronizer(ResetSignal("sync"), domain=ENC)
            m.submodules.encode = DomainRenamer(ENC)(encode)
            crossing = AsyncFifo(
                CrossingSpec(spec.index_fifo.width, CROSSING_DEPTH),
                encode.o.p.shape(),
                write=ENC,
                read="sync",
            )
            m.submodules.crossing = crossing
            connect(m, encode.o, crossing.i)
            m.d.comb += encode.passed.eq(crossing.passed)
            row = crossing.o
            # Until both sides have been reset, no job may begin.
            held = FFSynchronizer(
                ResetSignal(ENC), control.held, o_domain="sync", init=1, reset_less=False
            )
            m.submodules.held_level = held
        else:
            m.submodules.encode = encode
            m.d.comb += encode.passed.eq(1)
            row = encode.o
        self._connect_stream(m, "a", encode.i_activations)
        self._connect_stream(m, "c", encode.i_centroids)
        self._job(m, registers, encode.job)
        with m.If(~(registers.mode_reuse | (registers.mode_results == INDICES))):
            m.d.comb += encode.job.last_turn.eq(registers.tiles - 1)
        for name in ("run", "stop", "forced"):
            self._level(m, getattr(control, name), getattr(encode, name), domain, name)
        seen = {}
        for name in ("active", "finished", "drained", "faults"):
            source = getattr(encode, name)
            seen[name] = Signal.like(source, name=f"{name}_seen")
            self._level(m, source, seen[name], "sync", name)
        return seen, row

    def _level(self, m, source, sink, domain, name):
        """A level to the other side, low after a reset."""
        if self.spec.two_clocks:
            m.submodules[f"{name}_level"] = FFSynchronizer(
                source, sink, o_domain=domain, reset_less=False
            )
        else:
            m.d.comb += sink.eq(source)

    def _match(self, m, registers, control, row, encode):
        """The matchers' side: tables, index buffer, matchers, results."""
        spec = self.spec

        def fresh(part):
            return ResetInserter(control.fresh)(part)

        channel, loader = Channel(spec.table.bits), TableLoader(spec)
        halves, ring, sequencer = PingPong(spec.tree.latency), IndexRing(spec), Sequencer(spec)
        results = Results(spec)
        m.submodules.tables = channel
        m.submodules.loader = fresh(loader)
        m.submodules.halves = fresh(halves)
        m.submodules.ring = fresh(ring)
        m.submodules.sequencer = fresh(sequencer)
        m.submodules.results = results
        self._connect_stream(m, "t", channel.i)
        connect(m, channel.o, loader.i)
        kind = registers.mode_results
        matches, gives_indices = kind != INDICES, kind == INDICES
        indices = results.i_indices
        going = control.go
        m.d.comb += [
            channel.active.eq(control.run & matches),
            channel.stop.eq(control.stop),
            channel.final.eq(loader.final),
            loader.space.eq(room(m, spec, halves, spec.tree.latency)),
            loader.half.eq(halves.fill),
            halves.filled.eq(loader.filled),
            halves.release.eq(sequencer.release),
            # What has failed is thrown away.
            ring.i.valid.eq(row.valid & going & matches),
            ring.i.p.eq(row.p),
            indices.valid.eq(row.valid & going & gives_indices),
            indices.p.eq(row.p),
            row.ready.eq(~going | (gives_indices & indices.ready) | (matches & ring.i.ready)),
            ring.read.eq(sequencer.steps),
            ring.frees.eq(sequencer.frees),
            ring.rewinds.eq(sequencer.rewinds),
            sequencer.go.eq(going & matches),
            sequencer.table.eq(halves.full),
            sequencer.half.eq(halves.use),
            sequencer.index.eq(ring.there),
            sequencer.result.eq(results.space),
            results.reserve.eq(sequencer.steps & sequencer.step.last),
            results.go.eq(going),
            results.fresh.eq(control.fresh),
            results.tail.eq(control.tail),
            results.closing.eq(
                encode["finished"]
                & (gives_indices | (channel.finished & ~channel.short & ~channel.long))
            ),
            results.write.eq(loader.write.is_map),
            results.entry.eq(loader.write.entry),
            results.code.eq(loader.write.data),
        ]
        done = []
        for number in range(spec.matchers):
            done += self._matcher(m, number, sequencer, ring, loader.write)
        m.d.comb += [
            results.push.eq(done[0].o_valid),
            results.i.as_value().eq(Cat(part.o.as_value() for part in done)),
        ]
        m.d.comb += [
            control.drained.eq(
                encode["drained"] & (gives_indices | channel.finished | control.forced)
            ),
            control.ended.eq(results.ended),
            control.active.eq(encode["active"]),
            self.m_axis_tvalid.eq(results.o.valid),
            self.m_axis_tdata.eq(results.o.p.data),
            self.m_axis_tlast.eq(results.o.p.last),
            results.o.ready.eq(self.m_axis_tready),
        ]
        for job in (loader.job, sequencer.job, results.job):
            self._job(m, registers, job)
        last = Mux(gives_indices, registers.groups, registers.tiles) - 1
        m.d.comb += results.job.last_turn.eq(last)
        faults = Cat(encode["faults"], channel.short, channel.long, ring.stuck & going & matches)
        m.d.comb += control.fault.eq(faults.any())
        self._errors(m, registers, control, faults)
        self._count(m, registers, control, sequencer)

    def _matcher(self, m, number, sequencer, ring, write):
        """A matcher, in slices that are all alike."""
        spec, part = self.spec, self.spec.slice
        slices = []
        for place in range(spec.lanes // part.lanes):
            matcher = Shared(matcher_signature(part), lambda: Matcher(part), ("matcher", part))
            m.submodules[f"matcher_{number}_{place}"] = matcher
            first_bias, first_row = place * part.bias_beats, place * part.table_beats
            bias_beat, row_beat = write.beat - first_bias, write.beat - first_row
            mine = Mux(
                write.is_bias,
                (bias_beat >= 0) & (bias_beat < part.bias_beats),
                (row_beat >= 0) & (row_beat < part.table_beats),
            )
            for field in write.shape().members:
                if field in ("beat", "matcher"):
                    continue
                m.d.comb += matcher.write[field].eq(write[field])
            m.d.comb += [
                matcher.write.beat.eq(Mux(write.is_bias, bias_beat, row_beat)),
                matcher.mine.eq(mine & (write.matcher == number)),
                matcher.steps.eq(sequencer.steps),
                matcher.step.eq(sequencer.step),
                matcher.indices.eq(ring.o),
            ]
            slices.append(matcher)
        return slices

    def _job(self, m, registers, job):
        """What a part has to know of the job, as the registers say it; but for its turns."""
        fields = {
            "last_row": registers.rows - 1,
            "short_last_row": registers.last_rows - 1,
            "last_group": registers.groups - 1,
            "last_tile": registers.tiles - 1,
            "last_block": registers.blocks - 1,
            "indices": registers.mode_input_indices,
            "signed": registers.mode_signed,
            "reuse": registers.mode_reuse,
            "has_map": registers.mode_map,
            "kind": registers.mode_results,
            "shift": registers.shift,
            "low": registers.low,
            "high": registers.high,
        }
        for name in job.shape().members:
            if name in fields:
                m.d.comb += job[name].eq(fields[name])

    def _errors(self, m, registers, control, faults):
        """Error bits stay until the next start."""
        bits = [*faults, control.abort & control.busy]
        for name, bit in zip(ERRORS, bits, strict=True):
            flag = getattr(registers, f"error_{name}")
            held = Signal(name=f"held_{name}")
            with m.If(control.started):
                m.d.sync += held.eq(0)
            with m.Elif(bit & control.run):
                m.d.sync += held.eq(1)
            m.d.comb += flag.eq(held)
        errors = Cat(getattr(registers, f"error_{name}") for name in ERRORS)
        m.d.comb += registers.status_error.eq(errors.any())

    def _count(self, m, registers, control, sequencer):
        """Counters of 64 bits, from start to done."""
        events = {"CYCLES": control.busy, "LOOKUPS": sequencer.steps}
        events |= {f"STALL_{c.upper()}": sequencer.waits[k] for k, c in enumerate(CAUSES)}
        assert list(events) == list(COUNTERS)
        for name, event in events.items():
            count = Signal(64, name=f"count_{name.lower()}", reset_less=True)
            with m.If(control.started):
                m.d.sync += count.eq(0)
            with m.Elif(event):
                m.d.sync += count.eq(count + 1)
            low, high = (getattr(registers, f"{name.lower()}_{end}") for end in ("low", "high"))
            m.d.comb += [low.eq(count[:32]), high.eq(count[32:])]

    def _connect_control(self, m, registers, control):
        done = Signal(name="done_held")
        with m.If(control.started):
            m.d.sync += done.eq(0)
        with m.Elif(control.done):
            m.d.sync += done.eq(1)
        m.d.comb += [
            control.start.eq(registers.control_start),
            control.abort.eq(registers.control_abort),
            registers.busy.eq(control.busy),
            registers.status_busy.eq(control.busy),
            registers.status_done.eq(done),
            registers.interrupt_status_done_set.eq(control.done),
            self.irq.eq(registers.interrupt_enable_done & registers.interrupt_status_done),
        ]
