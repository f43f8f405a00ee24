"""Stages that work element by element: residual joins, functions by table, other beat widths."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.distance import element_shape
from lutgen.gateware.fifo import Pushes
from lutgen.gateware.matcher import Requantiser
from lutgen.gateware.memory import Store, TablePort
from lutgen.gateware.stream import Regrouper
from lutgen.gateware.tree import delay
from lutgen.numeric import Format
from lutgen.spec.matcher import RequantiserSpec
from lutgen.spec.pointwise import AddSpec, MapSpec
from lutgen.spec.stream import RegrouperSpec

__all__ = ["AddStage", "MapStage", "RegroupStage"]


def beats(fmt: Format, lanes: int) -> data.ArrayLayout:
    """A beat of ``lanes`` elements."""
    return data.ArrayLayout(element_shape(fmt), lanes)


class AddStage(wiring.Component):
    """A residual join: the requantised sum of its inputs, beat by beat.

    Parameters
    ----------
    spec : AddSpec
    lanes : int
        Elements of a beat, of all inputs and the output.

    Members
    -------
    i_0, i_1.. : In(stream)
    o : Out(Pushes)
    """

    def __init__(self, spec: AddSpec, lanes: int):
        self.spec = spec
        self.lanes = lanes
        members = {
            f"i_{k}": In(stream.Signature(beats(fmt, lanes))) for k, fmt in enumerate(spec.elements)
        }
        super().__init__({**members, "o": Out(Pushes(beats(spec.result, lanes)))})

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        inputs = [getattr(self, f"i_{k}") for k in range(len(spec.elements))]
        moves = Signal(name="moves")
        m.d.comb += [
            moves.eq(Cat(i.valid for i in inputs).all() & self.o.space),
            self.o.reserve.eq(moves),
            self.o.valid.eq(delay(m, None, moves, spec.latency, name="moved")),
        ]
        m.d.comb += [i.ready.eq(moves) for i in inputs]
        for lane in range(self.lanes):
            total = Signal(signed(spec.acc.bits), name=f"sum_{lane}", reset_less=True)
            terms = [i.p[lane] << left for i, left in zip(inputs, spec.left_shifts, strict=True)]
            m.d.sync += total.eq(sum(terms[1:], terms[0]))
            m.submodules[f"requantiser_{lane}"] = requantiser = Requantiser(
                RequantiserSpec(spec.acc, spec.shift, spec.output)
            )
            m.d.comb += [
                requantiser.en.eq(1),
                requantiser.i.eq(total),
                self.o.p[lane].eq(requantiser.o),
            ]
        return m


class MapStage(wiring.Component):
    """A function of one element by table, a table for each lane.

    Parameters
    ----------
    spec : MapSpec
    lanes : int
        Elements of a beat.
    rows : list of int or None
        The table; None for RAMs.

    Members
    -------
    i : In(stream)
    o : Out(Pushes)
    load_map : In(TablePort)
        RAMs only; all lanes are written at once, and read back at once.
    """

    def __init__(self, spec: MapSpec, lanes: int, rows: list[int] | None):
        self.spec = spec
        self.lanes = lanes
        self._rows = rows
        members = {
            "i": In(stream.Signature(beats(spec.element, lanes))),
            "o": Out(Pushes(beats(spec.result, lanes))),
        }
        if rows is None:
            members["load_map"] = In(TablePort(spec.depth, spec.output.bits))
        super().__init__(members)

    @property
    def rams(self) -> list[tuple[str, int, int]]:
        """See `lutgen.gateware.linear.LookupStage.rams`."""
        return [("map", self.spec.depth, self.spec.output.bits)] if self._rows is None else []

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        moves = Signal(name="moves")
        m.d.comb += [
            moves.eq(self.i.valid & self.o.space),
            self.i.ready.eq(self.o.space),
            self.o.reserve.eq(moves),
            self.o.valid.eq(delay(m, None, moves, spec.latency, name="moved")),
        ]
        tables = []
        for lane in range(self.lanes):
            m.submodules[f"map_{lane}"] = table = Store(spec.depth, spec.output.bits, self._rows)
            m.d.comb += [
                table.en.eq(1),
                table.addr.eq(self.i.p[lane]),
                self.o.p[lane].eq(table.data.as_signed() if spec.output.signed else table.data),
            ]
            tables.append(table)
        if self._rows is None:
            self._load(m, [table.load for table in tables])
        return m

    def _load(self, m, loads):
        """All are written and read at once; what is read is the first's."""
        first, *others = loads
        connect(m, flipped(self.load_map), first)
        for load in others:
            m.d.comb += [
                load.borrow.eq(self.load_map.borrow),
                load.reads.eq(self.load_map.reads),
                load.en.eq(self.load_map.en),
                load.addr.eq(self.load_map.addr),
                load.data.eq(self.load_map.data),
            ]
        differs = Cat(load.back != first.back for load in others).any()
        m.d.comb += self.load_map.differs.eq(differs)


class RegroupStage(wiring.Component):
    """Beats of one width to beats of another.

    Parameters
    ----------
    spec : RegrouperSpec
        Without ``hold``.
    element : Format

    Members
    -------
    i : In(stream)
    o : Out(Pushes)
    """

    def __init__(self, spec: RegrouperSpec, element: Format):
        self.spec = spec
        self.element = element
        super().__init__(
            {
                "i": In(stream.Signature(beats(element, spec.i_items))),
                "o": Out(Pushes(beats(element, spec.o_items))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.regroup = regroup = Regrouper(self.spec, self.element.bits)
        m.d.comb += [
            regroup.i.valid.eq(self.i.valid),
            self.i.ready.eq(regroup.i.ready),
            regroup.i.p.as_value().eq(self.i.p.as_value()),
            regroup.o.ready.eq(self.o.space),
            self.o.reserve.eq(regroup.o.valid & self.o.space),
            self.o.valid.eq(regroup.o.valid & self.o.space),
            self.o.p.as_value().eq(regroup.o.p.data.as_value()),
        ]
        return m
