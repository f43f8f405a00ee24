"""The network core: stages joined by queues, between two AXI4-Streams."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect

from lutgen.gateware.argmax import ArgmaxStage
from lutgen.gateware.conv import PixelStage, WindowStage
from lutgen.gateware.distance import element_shape
from lutgen.gateware.fifo import Fifo
from lutgen.gateware.linear import LinearStage, Memories
from lutgen.gateware.load import LOAD_WORD_BITS, Loader
from lutgen.gateware.pointwise import AddStage, MapStage, RegroupStage
from lutgen.gateware.pool import PoolStage
from lutgen.gateware.port import FrameCheck, Gate
from lutgen.gateware.slide import EncodeStage, SlideStage
from lutgen.spec.argmax import ArgmaxSpec
from lutgen.spec.conv import Conv2dSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.network import NetworkSpec, PortSpec, Stage
from lutgen.spec.pointwise import AddSpec, MapSpec
from lutgen.spec.pool import PoolSpec
from lutgen.spec.slide import EncodeSpec, SlideSpec

__all__ = ["NetworkCore"]

Contents = Memories | list[int] | None


def beat(port: PortSpec) -> data.ArrayLayout:
    """A beat between stages."""
    return data.ArrayLayout(element_shape(port.element), port.lanes)


def make_stage(stage: Stage, contents: Contents):
    """The component of a stage; ``contents`` are its memories', None for RAMs."""
    spec = stage.spec
    if isinstance(spec, LinearSpec):
        return LinearStage(spec, stage.i_lanes, contents)
    if isinstance(spec, Conv2dSpec):
        kind = PixelStage if spec.encode == "pixel" else WindowStage
        return kind(spec, stage.i_lanes, contents)
    if isinstance(spec, EncodeSpec):
        return EncodeStage(spec, stage.i_lanes, contents)
    if isinstance(spec, SlideSpec):
        return SlideStage(spec, stage.i_lanes)
    if isinstance(spec, PoolSpec):
        return PoolStage(spec, stage.i_lanes)
    if isinstance(spec, AddSpec):
        return AddStage(spec, stage.i_lanes)
    if isinstance(spec, MapSpec):
        return MapStage(spec, stage.i_lanes, contents)
    if isinstance(spec, ArgmaxSpec):
        return ArgmaxStage(spec)
    return RegroupStage(spec, stage.o.element)


class NetworkCore(wiring.Component):
    """A whole network on chip. Ports and timing: docs/core-contract.md.

    Parameters
    ----------
    spec : NetworkSpec
    contents : dict of str to Memories or list of int
        By stage name, for lookup stages and maps; those without are RAMs.
    taps : bool
        Adds outputs ``tap_<stage>_*`` that show every beat of every stage.

    Members
    -------
    s_axis_*, m_axis_* : AXI4-Stream of samples and results
    frame_error : Out(1)
    l_axis_*, loaded, load_error
        Loadable cores only.
    """

    def __init__(self, spec: NetworkSpec, contents: dict[str, Contents], *, taps: bool = False):
        self.spec = spec
        self.taps = taps
        self._stages = [make_stage(stage, contents.get(stage.name)) for stage in spec.stages]
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
        if taps:
            for stage in spec.stages:
                members |= {
                    f"tap_{stage.name}_tvalid": Out(1),
                    f"tap_{stage.name}_tdata": Out(stage.o.width),
                }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        port = spec.input
        # Names that no node can have.
        m.submodules["_frame_check"] = check = FrameCheck(beat(port), port.beats, spec.timing.pace)
        m.submodules["_gate"] = gate = Gate(
            beat(spec.output), spec.output.beats, spec.schedule.samples
        )
        is_open = Signal(name="port_open") if self.rams else Const(1)
        m.d.comb += [
            check.i.valid.eq(self.s_axis_tvalid),
            check.i.p.last.eq(self.s_axis_tlast),
            self.s_axis_tready.eq(check.i.ready),
            self.frame_error.eq(check.error),
            check.open.eq(is_open),
            check.room.eq(gate.room),
            gate.began.eq(check.began),
            gate.judged.eq(check.judged),
            gate.good.eq(check.good),
        ]
        for lane in range(port.lanes):
            start = lane * port.lane_bits
            bits = self.s_axis_tdata[start : start + port.element.bits]
            m.d.comb += check.i.p.data[lane].eq(bits.as_signed() if port.element.signed else bits)

        for stage, part in zip(spec.stages, self._stages, strict=True):
            m.submodules[stage.name] = part
        self._connect_stages(m, check.o, gate.i)
        self._connect_output(m, gate.o)
        if self.taps:
            for stage, part in zip(spec.stages, self._stages, strict=True):
                m.d.comb += getattr(self, f"tap_{stage.name}_tvalid").eq(part.o.valid)
                self._spread(m, getattr(self, f"tap_{stage.name}_tdata"), part.o.p, stage.o)
        if self.rams:
            self._connect_loader(m, is_open, check, gate)
        return m

    def _connect_stages(self, m, source, sink):
        """A queue for every wire; a producer may begin what all of its queues have space for."""
        spec = self.spec
        parts = {stage.name: part for stage, part in zip(spec.stages, self._stages, strict=True)}
        gives = {"input": source} | {name: part.o for name, part in parts.items()}
        inputs = {stage.name: len(stage.inputs) for stage in spec.stages}
        queues = {name: [] for name in gives}
        for number, edge in enumerate(spec.edges):
            pushes = gives[edge.source]
            m.submodules[f"_queue_{number}"] = fifo = Fifo(
                edge.fifo, beat(spec.source(edge.source))
            )
            queues[edge.source].append(fifo)
            m.d.comb += [
                fifo.i.reserve.eq(pushes.reserve),
                fifo.i.valid.eq(pushes.valid),
                fifo.i.p.eq(pushes.p),
            ]
            if edge is spec.edges[-1]:  # a node may be called "output"
                connect(m, fifo.o, sink)
                continue
            name = "i" if inputs[edge.target] == 1 else f"i_{edge.index}"
            connect(m, fifo.o, getattr(parts[edge.target], name))
        for name, pushes in gives.items():
            m.d.comb += pushes.space.eq(Cat(fifo.i.space for fifo in queues[name]).all())

    def _spread(self, m, out, payload, port: PortSpec):
        """A beat as ``tdata``: each element in its own lane of whole bytes."""
        for lane in range(port.lanes):
            # Assignment extends by the sign of the element.
            m.d.comb += out.word_select(lane, port.lane_bits).eq(payload[lane])

    def _connect_output(self, m, source):
        m.d.comb += [
            self.m_axis_tvalid.eq(source.valid),
            self.m_axis_tlast.eq(source.p.last),
            source.ready.eq(self.m_axis_tready),
        ]
        self._spread(m, self.m_axis_tdata, source.p.data, self.spec.output)

    def _connect_loader(self, m, is_open, check, gate):
        """Loading waits until no sample is under way; samples wait until loading is done.

        The port closes between two samples when an image wants in; the image begins when the last
        sample's result has left, and the port opens when all of it has arrived.
        """
        m.submodules["_loader"] = loader = Loader(self.rams)
        m.d.comb += [
            loader.i.valid.eq(self.l_axis_tvalid),
            loader.i.p.data.eq(self.l_axis_tdata),
            loader.i.p.last.eq(self.l_axis_tlast),
            self.l_axis_tready.eq(loader.i.ready),
            loader.hold.eq(is_open | check.within | ~gate.idle),
            self.loaded.eq(loader.loaded),
            self.load_error.eq(loader.error),
        ]
        m.d.sync += is_open.eq(loader.loaded & ~loader.wanted)
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
