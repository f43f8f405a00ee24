"""The register file: AXI4-Lite's rules, and every response, value and strobe what the map says."""

from typing import NamedTuple

from amaranth.hdl import Assert, Const, Mux, Signal
from amaranth.lib import data

from lutgen.formal.harness import Inside, Proof, implies, stalls
from lutgen.gateware.registers import STROBES, WORD_MASK, RegisterFile, Response
from lutgen.spec.registers import SET, WORD_BITS, Field, Register, RegisterMap

__all__ = ["SMALL", "AxiLiteProof"]

# A register of every kind, a hole, and addresses past the last.
SMALL = RegisterMap(
    (
        Register("ID", 0, (Field("id", WORD_BITS, value=0x4C555445),)),
        Register(
            "CONTROL",
            4,
            (Field("start", 1, 0, "pulse", locked=True), Field("abort", 1, 3, "pulse")),
        ),
        Register("STATUS", 8, (Field("code", 3, 2), Field("level", 4, 8, signed=True))),
        Register("FLAGS", 12, (Field("done", 1, 0, "w1c"), Field("enable", 2, 4, "rw", reset=1))),
        Register(
            "SIZES",
            20,
            (
                Field("rows", 4, 0, "rw", reset=1, low=1, high=9),
                Field("least", 16, 16, "rw", signed=True, low=-4, high=6),
            ),
            locked=True,
        ),
    )
)


class Taken(NamedTuple):
    """What came over a channel."""

    due: Signal
    payload: data.View


class AxiLiteProof(Proof):
    """A master that keeps what it offers until it is taken, and takes responses when it likes;
    hardware that reports anything.

    Parameters
    ----------
    registers : RegisterMap
    part : type
        `RegisterFile`, or one with a mistake in it.
    """

    def __init__(self, registers: RegisterMap = SMALL, part: type = RegisterFile):
        self.registers = registers
        self.part = part
        bits = registers.addr_bits
        members = {"aw_valid": 1, "aw_addr": bits, "w_valid": 1, "w_data": WORD_BITS, "w_strb": 4}
        members |= {"b_ready": 1, "ar_valid": 1, "ar_addr": bits, "r_ready": 1, "busy": 1}
        self.reported = [
            (register.member(field) + (SET if field.access == "w1c" else ""), field)
            for register, field in self._fields("ro", "w1c")
            if field.value is None
        ]
        super().__init__(members | {f"i_{name}": f.format.bits for name, f in self.reported})

    def _fields(self, *access):
        return [
            (register, field)
            for register in self.registers.registers
            for field in register.fields
            if field.access in access
        ]

    def build(self, m):
        part = self.part(self.registers)
        inside = Inside(m, part)
        bus = part.bus
        m.d.comb += [
            bus.aw.valid.eq(self.aw_valid),
            bus.aw.p.addr.eq(self.aw_addr),
            bus.w.valid.eq(self.w_valid),
            bus.w.p.data.eq(self.w_data),
            bus.w.p.strb.eq(self.w_strb),
            bus.b.ready.eq(self.b_ready),
            bus.ar.valid.eq(self.ar_valid),
            bus.ar.p.addr.eq(self.ar_addr),
            bus.r.ready.eq(self.r_ready),
            part.busy.eq(self.busy),
        ]
        m.d.comb += [
            getattr(part, name).eq(getattr(self, f"i_{name}")) for name, _ in self.reported
        ]
        for name in ("aw", "w", "ar"):
            stalls(m, getattr(bus, name), assume=True, name=name)
        for name in ("b", "r"):
            stalls(m, getattr(bus, name), name=name)
        aw, w, ar = (self._taken(m, inside, bus, name) for name in ("aw", "w", "ar"))
        b_new = self._responses(m, bus.b, "b", aw.due, w.due)
        r_new = self._responses(m, bus.r, "r", ar.due, ar.due)
        values = self._writes(m, part, b_new, aw.payload.addr, w.payload)
        self._reads(m, part, r_new, ar.payload.addr, values)

    def _taken(self, m, inside, bus, name):
        """What a channel brought last, and how much it brought that no response has been taken for.

        In the first cycle of a response, the last is what it answers: the next was taken in that
        cycle, at the earliest.
        """
        channel, answer = getattr(bus, name), bus.r if name == "ar" else bus.b
        due = Signal(range(4), name=f"{name}_due")
        last = Signal(channel.p.shape(), name=f"{name}_last")
        takes, ends = channel.valid & channel.ready, answer.valid & answer.ready
        m.d.sync += due.eq(due + takes - ends)
        with m.If(takes):
            m.d.sync += last.eq(channel.p)
        held = inside(f"{name}_held")
        m.d.comb += [
            Assert(due == held + answer.valid),
            Assert(implies(held, inside(f"{name}_payload") == last.as_value())),
            # Progress: whatever else waits, the first of each channel is taken.
            Assert(implies(due == 0, channel.ready)),
        ]
        return Taken(due, last)

    def _responses(self, m, channel, name, first, second):
        """None without what it answers, and one in the cycle after all that is there; gives a mark
        of the cycles in which one is new.
        """
        ripe, before = Signal(name=f"{name}_ripe"), Signal(name=f"{name}_before")
        both = (first != 0) & (second != 0)
        m.d.sync += [ripe.eq(both & ~channel.valid), before.eq(channel.valid)]
        m.d.comb += [
            Assert(implies(channel.valid, both)),
            Assert(implies(ripe, channel.valid)),
        ]
        return channel.valid & ~before

    def _writes(self, m, part, new, address, word):
        """Each value and strobe, from those of the cycle before and the write that was done in it;
        gives the former.
        """
        legal, busy = Signal(name="write_legal"), Signal(name="busy_before")
        m.d.sync += busy.eq(self.busy)
        with m.Switch(address):
            for register in self.registers.registers:
                if register.writable:
                    with m.Case(register.offset):
                        m.d.comb += legal.eq(self._legal(register, word, busy))
        resp = Mux(legal, Response.OKAY, Response.SLVERR)
        m.d.comb += Assert(implies(new, part.bus.b.p.resp == resp))
        values = {}
        for register, field in self._fields("ro", "rw", "pulse", "w1c"):
            name = register.member(field)
            if field.value is not None:
                continue
            member = getattr(part, name)
            before = Signal.like(member, name=f"{name}_before", init=field.reset)
            m.d.sync += before.eq(member)
            values[name] = before
            bits = word.data[field.lsb : field.lsb + field.width]
            written = new & legal & (address == register.offset)
            if field.access == "rw":
                code = bits[: len(member)]  # those above only repeat the sign
                m.d.comb += Assert(member == Mux(written, self._signed(field, code), before))
            elif field.access == "pulse":
                m.d.comb += Assert(before == (written & bits))
            elif field.access == "w1c":
                setting = Signal(name=f"{name}_setting")
                m.d.sync += setting.eq(getattr(part, name + SET))
                m.d.comb += Assert(member == (setting | (before & ~(written & bits))))
        return values

    def _legal(self, register, word, busy):
        """Value by value, as the part compares with limits."""
        legal = word.strb == STROBES
        for bit in range(WORD_BITS):
            if not register.mask >> bit & 1:
                legal &= ~word.data[bit]
        for field in register.fields:
            bits = word.data[field.lsb : field.lsb + field.width]
            if field.limited:
                values = range(field.least, field.most + 1)
                legal &= bits.matches(*(value & ((1 << field.width) - 1) for value in values))
            if field.locked:
                legal &= ~(busy & bits)
        return legal & ~busy if register.locked else legal

    def _reads(self, m, part, new, address, values):
        """Each bit of what is read, from the values of the cycle before."""
        r, known = part.bus.r.p, Const(0)
        for register in self.registers.registers:
            here = Signal(name=f"read_{register.name.lower()}")
            m.d.comb += here.eq(new & (address == register.offset))
            known |= here
            m.d.comb += Assert(implies(here, (r.data & ~register.mask & WORD_MASK) == 0))
            for field in register.fields:
                value = field.value or 0
                if field.value is None and field.access != "pulse":
                    value = values[register.member(field)]
                bits = r.data[field.lsb : field.lsb + field.width]
                m.d.comb += Assert(implies(here, self._signed(field, bits) == value))
        m.d.comb += [
            Assert(implies(new & known, r.resp == Response.OKAY)),
            Assert(implies(new & ~known, (r.resp == Response.SLVERR) & (r.data == 0))),
        ]

    def _signed(self, field, bits):
        return bits.as_signed() if field.signed else bits
