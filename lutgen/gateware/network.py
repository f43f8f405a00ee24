"""The network core: stages in a row between two AXI4-Streams."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from lutgen.gateware.argmax import ArgmaxStage
from lutgen.gateware.distance import element_shape
from lutgen.gateware.linear import LinearStage, Memories
from lutgen.gateware.load import LOAD_WORD_BITS, Loader
from lutgen.gateware.stream import FrameCheck, Skid, beat
from lutgen.spec.linear import LinearSpec
from lutgen.spec.network import NetworkSpec

__all__ = ["NetworkCore"]


class NetworkCore(wiring.Component):
    """A whole network on chip. Ports and timing: docs/core-contract.md.

    Parameters
    ----------
    spec : NetworkSpec
    contents : dict of str to Memories
        By stage name; stages whose memory is ``ram`` need none.

    Members
    -------
    s_axis_*, m_axis_* : AXI4-Stream of samples and results
    frame_error : Out(1)
    l_axis_*, loaded, load_error
        Loadable cores only.
    """

    def __init__(self, spec: NetworkSpec, contents: dict[str, Memories]):
        self.spec = spec
        self._stages = []
        for number, stage in enumerate(spec.stages):
            if isinstance(stage.spec, LinearSpec):
                rows = None if stage.spec.memory == "ram" else contents[stage.name]
                part = LinearStage(stage.spec, spec.i_lanes(number), rows)
            else:
                part = ArgmaxStage(stage.spec)
            self._stages.append(part)
        self.rams = [
            (f"{stage.name}_{name}", depth, width)
            for stage, part in zip(spec.stages, self._stages, strict=True)
            for name, depth, width in getattr(part, "rams", [])
        ]
        members = axis_sink("s_axis", spec.input.width)
        members |= {f"m_axis_{k}": v for k, v in axis_source(spec.output.width).items()}
        members["frame_error"] = Out(1)
        if self.rams:
            members |= axis_sink("l_axis", LOAD_WORD_BITS)
            members |= {"loaded": Out(1), "load_error": Out(1)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        port = spec.input
        shape = element_shape(port.element)
        # Names that no node can have.
        m.submodules["_port"] = skid = Skid(beat(shape, port.lanes))
        m.submodules["_frame_check"] = check = FrameCheck(
            shape, port.lanes, port.beats, spec.timing.pace
        )
        connect(m, skid.o, check.i)
        # A register, as `skid.i.ready` is: no path leads from the core's inputs to its outputs.
        is_open = Signal(name="port_open") if self.rams else Const(1)
        m.d.comb += [
            skid.i.valid.eq(self.s_axis_tvalid & is_open),
            skid.i.p.last.eq(self.s_axis_tlast),
            self.s_axis_tready.eq(skid.i.ready & is_open),
            self.frame_error.eq(check.error),
        ]
        for lane in range(port.lanes):
            start = lane * port.lane_bits
            bits = self.s_axis_tdata[start : start + port.element.bits]
            m.d.comb += skid.i.p.data[lane].eq(bits.as_signed() if port.element.signed else bits)

        source = check.o
        for stage, part in zip(spec.stages, self._stages, strict=True):
            m.submodules[stage.name] = part
            connect(m, source, part.i)
            source = part.o
        self._connect_output(m, source)
        if self.rams:
            self._connect_loader(m, is_open, skid, check, source)
        return m

    def _connect_output(self, m, source):
        port = self.spec.output
        m.d.comb += [
            self.m_axis_tvalid.eq(source.valid),
            self.m_axis_tlast.eq(source.p.last),
            source.ready.eq(self.m_axis_tready),
        ]
        for lane in range(port.lanes):
            out = self.m_axis_tdata.word_select(lane, port.lane_bits)
            # Assignment extends by the sign of the element.
            m.d.comb += out.eq(source.p.data[lane])

    def _connect_loader(self, m, is_open, skid, check, source):
        """Loading waits until no sample is under way; samples wait until loading is done.

        The port closes between two samples when an image wants in; the image begins when the last
        sample's result has left, and the port opens when all of it has arrived.
        """
        m.submodules["_loader"] = loader = Loader(self.rams)
        # Every register on a sample's way may hold one, and so may both halves of index buffers.
        most = self.spec.timing.latency + 4 * len(self._stages)
        flying = Signal(range(most + 1), name="samples_under_way")
        taken, left = Signal(name="beat_taken"), Signal(name="result_left")
        within, still_within = Signal(name="port_within"), Signal(name="port_still_within")
        m.d.comb += [
            taken.eq(self.s_axis_tvalid & self.s_axis_tready),
            still_within.eq(Mux(taken, ~self.s_axis_tlast, within)),
            left.eq(source.valid & source.ready & source.p.last),
            loader.i.valid.eq(self.l_axis_tvalid),
            loader.i.p.data.eq(self.l_axis_tdata),
            loader.i.p.last.eq(self.l_axis_tlast),
            self.l_axis_tready.eq(loader.i.ready),
            loader.hold.eq(is_open | within | skid.full | check.within | (flying != 0)),
            self.loaded.eq(loader.loaded),
            self.load_error.eq(loader.error),
        ]
        m.d.sync += [
            within.eq(still_within),
            is_open.eq(loader.loaded & (still_within | ~loader.wanted)),
            flying.eq(flying + check.ended - left),
        ]
        for stage, part in zip(self.spec.stages, self._stages, strict=True):
            for name, _, _ in getattr(part, "rams", []):
                connect(
                    m,
                    getattr(loader, f"load_{stage.name}_{name}"),
                    getattr(part, f"load_{name}"),
                )


def axis_source(width: int):
    """Members of an AXI4-Stream that leaves, by the name after the prefix."""
    return {"tdata": Out(width), "tvalid": Out(1), "tready": In(1), "tlast": Out(1)}


def axis_sink(prefix: str, width: int):
    """Members of an AXI4-Stream that arrives; nested interfaces would get ``__`` in names."""
    return {f"{prefix}_{name}": member.flip() for name, member in axis_source(width).items()}
