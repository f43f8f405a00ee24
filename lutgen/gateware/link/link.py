"""The link: between a UART's two pins and a core's streams."""

from amaranth.hdl import Cat, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from lutgen.gateware.link.composer import Composer
from lutgen.gateware.link.counters import Counters
from lutgen.gateware.link.feed import Collector, Feeder
from lutgen.gateware.link.intake import Intake
from lutgen.gateware.link.uart import Receiver, Transmitter
from lutgen.gateware.network import axis_sink, axis_source
from lutgen.spec.link import LinkSpec
from lutgen.spec.link_frames import LOAD_WORD_BYTES, TAKEN_BITS

__all__ = ["Link"]

MOST_SAMPLES = 255  # in the core at a time


class Link(wiring.Component):
    """Takes a host's frames from a UART, feeds the core, and sends results and answers. The
    protocol is docs/link-protocol.md; `lutgen.spec.link.link_spec` makes the spec of a core.

    Parameters
    ----------
    spec : LinkSpec

    Members
    -------
    rx : In(1)
        From the host; synchronised here.
    tx : Out(1)
    s_axis_*, m_axis_*, frame_error
        To the core's ports of the same names.
    l_axis_*, loaded, load_error
        Likewise, for a core with a load image.
    core_reset : Out(1)
        The host resets the core: high for one cycle.
    busy : Out(1)
        A sample or a result is under way.
    error : Out(1)
        The core has found an error, or the link has got a broken frame, since the last reset.
    """

    def __init__(self, spec: LinkSpec):
        self.spec = spec
        members = {"rx": In(1, init=1), "tx": Out(1, init=1)}
        members |= {
            f"s_axis_{name}": member
            for name, member in axis_source(8 * spec.input_beat_bytes).items()
        }
        members |= axis_sink("m_axis", 8 * spec.output_beat_bytes)
        members["frame_error"] = In(1)
        if spec.load_words:
            load = axis_source(8 * LOAD_WORD_BYTES)
            members |= {f"l_axis_{name}": member for name, member in load.items()}
            members |= {"loaded": In(1), "load_error": In(1)}
        members |= {"core_reset": Out(1), "busy": Out(1), "error": Out(1)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        m.submodules.receiver = receiver = Receiver(spec.uart)
        m.submodules.transmitter = transmitter = Transmitter(spec.uart)
        m.submodules.intake = intake = Intake(spec)
        clear = {"sync": intake.clear}
        m.submodules.feeder = feeder = ResetInserter(clear)(Feeder(spec))
        m.submodules.collector = collector = ResetInserter(clear)(Collector(spec))
        # What it is sending when it is cleared is cut short by the flag of its next frame.
        m.submodules.composer = composer = ResetInserter(clear)(Composer(spec))
        connect(m, collector.o, composer.i)
        connect(m, composer.o, transmitter.i)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            intake.data.eq(receiver.data),
            intake.valid.eq(receiver.valid),
            intake.broken.eq(receiver.broken),
            intake.read_en.eq(feeder.read_en),
            intake.read_addr.eq(feeder.read_addr),
            feeder.read_data.eq(intake.read_data),
            feeder.expected.eq(intake.expected[:TAKEN_BITS]),
            feeder.tables.eq(intake.tables),
            intake.taken.eq(feeder.taken),
            intake.idle.eq(feeder.idle),
            self.core_reset.eq(intake.clear),
        ]
        self._streams(m, feeder, collector)
        under_way = self._count(m, intake, feeder, composer)
        self._answer(m, intake, feeder, composer, under_way)
        return m

    def _streams(self, m, feeder, collector):
        m.d.comb += [
            self.s_axis_tdata.eq(feeder.o.p.data),
            self.s_axis_tvalid.eq(feeder.o.valid),
            self.s_axis_tlast.eq(feeder.o.p.last),
            feeder.o.ready.eq(self.s_axis_tready),
            collector.i.p.data.eq(self.m_axis_tdata),
            collector.i.p.last.eq(self.m_axis_tlast),
            collector.i.valid.eq(self.m_axis_tvalid),
            self.m_axis_tready.eq(collector.i.ready),
        ]
        if self.spec.load_words:
            m.d.comb += [
                self.l_axis_tdata.eq(feeder.o_load.p.data),
                self.l_axis_tvalid.eq(feeder.o_load.valid),
                self.l_axis_tlast.eq(feeder.o_load.p.last),
                feeder.o_load.ready.eq(self.l_axis_tready),
            ]

    def _answer(self, m, intake, feeder, composer, under_way):
        """An answer follows every frame, and also every quarter of the buffer that becomes free."""
        spec = self.spec
        quarter = spec.buffer.bit_length() - 3
        before = Signal(name="quarter_before")
        m.d.sync += before.eq(feeder.taken[quarter])
        loadable = (self.loaded, self.load_error) if spec.load_words else (0, 0)
        m.d.comb += [
            composer.info.eq(intake.info),
            composer.counters.eq(intake.counters),
            composer.session.eq(intake.session),
            composer.mark.eq(intake.mark),
            composer.expected.eq(intake.expected),
            composer.taken.eq(feeder.taken),
            composer.flags.eq(Cat(self.frame_error, *loadable, self.busy)),
            composer.errors.eq(intake.errors),
        ]
        m.d.sync += [
            self.busy.eq(under_way | ~feeder.idle | composer.i.valid),
            self.error.eq(self.frame_error | loadable[1] | (intake.errors != 0)),
        ]
        # What came in is known a cycle later, after a reset too.
        m.d.sync += composer.status.eq(intake.status | (before ^ feeder.taken[quarter]))

    def _count(self, m, intake, feeder, composer):
        """The counters; gives whether a sample is in the core."""
        inside = Signal(range(MOST_SAMPLES + 1), name="samples_inside")
        under_way, waits = Signal(name="under_way"), Signal(name="waits_now")
        enters, fresh = Signal(name="sample_enters"), Signal(init=1, name="sample_fresh")
        leaves, moves = Signal(name="result_leaves"), Signal(name="beat_enters")
        clear = {"sync": intake.clear}
        m.submodules.counters = counters = ResetInserter(clear)(Counters(3))
        m.d.comb += [
            moves.eq(self.s_axis_tvalid & self.s_axis_tready),
            enters.eq(moves & fresh),
            leaves.eq(self.m_axis_tvalid & self.m_axis_tready & self.m_axis_tlast),
            under_way.eq(inside != 0),
            waits.eq(
                (feeder.within & ~fresh & ~self.s_axis_tvalid & self.s_axis_tready)
                | (self.m_axis_tvalid & ~self.m_axis_tready)
            ),
            counters.events.eq(Cat(1, under_way, under_way & waits)),
            counters.counting.eq(composer.counting),
            counters.turn.eq(composer.turn),
        ]
        for number in range(3):
            m.d.comb += [
                composer.lows[number].eq(getattr(counters, f"low_{number}")),
                composer.highs[number].eq(getattr(counters, f"high_{number}")),
            ]
        m.d.sync += inside.eq(inside + enters - leaves)
        with m.If(moves):
            m.d.sync += fresh.eq(self.s_axis_tlast)
        with m.If(intake.clear):
            m.d.sync += [inside.eq(0), fresh.eq(1)]
        if self.spec.load_words:
            self._image(m, intake, composer)
        return under_way

    def _image(self, m, intake, composer):
        """The check word of the image that the core holds; none once it has found a wrong one."""
        word = Signal(8 * LOAD_WORD_BYTES, name="image")
        ends = Signal(name="image_ends")
        m.d.comb += [
            ends.eq(self.l_axis_tvalid & self.l_axis_tready & self.l_axis_tlast),
            composer.image.eq(word),
        ]
        with m.If(ends):
            m.d.sync += word.eq(self.l_axis_tdata)
        with m.If(intake.clear | self.load_error):
            m.d.sync += word.eq(0)
