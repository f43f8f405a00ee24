"""Control registers on AXI4-Lite, generated from a map of them."""

from enum import IntEnum

from amaranth.hdl import Module, Mux, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lutgen.numeric import Format
from lutgen.spec.registers import SET, WORD_BITS, RegisterMap

__all__ = ["STROBES", "WORD_MASK", "RegisterFile", "Response", "axi4lite_signature"]

STROBES = (1 << WORD_BITS // 8) - 1  # of a whole word
WORD_MASK = (1 << WORD_BITS) - 1


class Response(IntEnum):
    """The responses that are used here."""

    OKAY = 0
    SLVERR = 2


def axi4lite_signature(addr_bits: int) -> wiring.Signature:
    """AXI4-Lite of 32 bits, as its master sees it: a stream for each channel, whose payload has the
    channel's signals by their names without the prefix.
    """
    address = data.StructLayout({"addr": addr_bits, "prot": 3})
    write = data.StructLayout({"data": WORD_BITS, "strb": WORD_BITS // 8})
    response = data.StructLayout({"resp": 2})
    read = data.StructLayout({"data": WORD_BITS, "resp": 2})
    return wiring.Signature(
        {
            "aw": Out(stream.Signature(address)),
            "w": Out(stream.Signature(write)),
            "b": In(stream.Signature(response)),
            "ar": Out(stream.Signature(address)),
            "r": In(stream.Signature(read)),
        }
    )


def _shape(fmt: Format) -> Shape:
    return Shape(fmt.bits, signed=fmt.signed)


class RegisterFile(wiring.Component):
    """A slave with the registers of a map; see `RegisterMap` for what it refuses.

    Addresses and data are held in registers, one each, so that no path leads from one of the bus's
    inputs to an output. A write is done in one cycle, once its address and its data are there and
    the response before it has been taken; the response follows in the next, as do the new values.
    A read is done likewise.

    Parameters
    ----------
    registers : RegisterMap

    Members
    -------
    bus : In(axi4lite_signature)
        Addresses in bytes, of ``registers.addr_bits``.
    busy : In(1)
        Locked registers and pulses are refused.
    <field> : Out or In
        One for each field but constants, named `Register.member`, of the shape `Field.format`.
        ``rw``: Out, its value. ``ro``: In. ``pulse``: Out(1), high in the cycle in which the write
        is done. ``w1c``: Out(1), its value.
    <field>_set : In(1)
        Sets a ``w1c`` field; goes before clearing.
    """

    def __init__(self, registers: RegisterMap):
        self.registers = registers
        members = [("bus", In(axi4lite_signature(registers.addr_bits))), ("busy", In(1))]
        for register in registers.registers:
            for field in register.fields:
                name, shape = register.member(field), _shape(field.format)
                if field.access != "ro":
                    members.append((name, Out(shape, init=field.reset)))
                elif field.value is None:
                    members.append((name, In(shape)))
                if field.access == "w1c":
                    members.append((name + SET, In(1)))
        super().__init__(dict(members))

    def elaborate(self, platform):
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _hold(self, m, channel, name):
        """What a channel has brought, until it is done."""
        held, done = Signal(name=f"{name}_held"), Signal(name=f"{name}_done")
        payload = Signal(channel.p.shape(), name=f"{name}_payload", reset_less=True)
        m.d.comb += channel.ready.eq(~held)
        with m.If(~held):
            m.d.sync += [held.eq(channel.valid), payload.eq(channel.p)]
        with m.If(done):
            m.d.sync += held.eq(0)
        return held, payload, done

    def _respond(self, m, channel, name, done, payload):
        """Offers a response from the cycle after ``done``, until it is taken."""
        valid = Signal(name=f"{name}_valid")
        kept = Signal(channel.p.shape(), name=f"{name}_payload", reset_less=True)
        m.d.comb += [channel.valid.eq(valid), channel.p.eq(kept)]
        with m.If(done):
            m.d.sync += [valid.eq(1), kept.eq(payload)]
        with m.Elif(channel.ready):
            m.d.sync += valid.eq(0)
        return valid

    def _write(self, m):
        address_held, address, address_done = self._hold(m, self.bus.aw, "aw")
        word_held, word, word_done = self._hold(m, self.bus.w, "w")
        done, legal = Signal(name="write_done"), Signal(name="write_legal")
        response = Signal(self.bus.b.p.shape(), name="write_response")
        valid = self._respond(m, self.bus.b, "b", done, response)
        m.d.comb += [
            done.eq(address_held & word_held & ~valid),
            address_done.eq(done),
            word_done.eq(done),
            response.resp.eq(Mux(legal, Response.OKAY, Response.SLVERR)),
        ]
        with m.Switch(address.addr):
            for register in self.registers.registers:
                if register.writable:
                    with m.Case(register.offset):
                        m.d.comb += legal.eq(self._accepts(register, word))
                        with m.If(done & legal):
                            self._assign(m, register, word.data)
        for register in self.registers.registers:
            for field in register.fields:
                if field.access == "w1c":
                    name = register.member(field)
                    with m.If(getattr(self, name + SET)):  # goes before clearing
                        m.d.sync += getattr(self, name).eq(1)

    def _accepts(self, register, word):
        """See `Register.accepts`; and a whole word."""
        legal = (word.strb == STROBES) & ((word.data & ~register.mask & WORD_MASK) == 0)
        if register.locked:
            legal &= ~self.busy
        for field in register.fields:
            value = self._bits(field, word.data)
            if field.limited:
                if field.signed or field.least:  # else any value is enough
                    legal &= value >= field.least
                legal &= value <= field.most
            if field.locked:
                legal &= ~(self.busy & value[0])
        return legal

    def _assign(self, m, register, word):
        for field in register.fields:
            member, value = getattr(self, register.member(field)), self._bits(field, word)
            if field.access == "rw":
                m.d.sync += member.eq(value)
            elif field.access == "pulse":
                m.d.comb += member.eq(value)
            else:
                with m.If(value[0]):
                    m.d.sync += member.eq(0)

    def _bits(self, field, word):
        bits = word[field.lsb : field.lsb + field.width]
        return bits.as_signed() if field.signed else bits

    def _read(self, m):
        held, address, done = self._hold(m, self.bus.ar, "ar")
        response = Signal(self.bus.r.p.shape(), name="read_response")
        valid = self._respond(m, self.bus.r, "r", done, response)
        m.d.comb += [done.eq(held & ~valid), response.resp.eq(Response.SLVERR)]
        with m.Switch(address.addr):
            for register in self.registers.registers:
                with m.Case(register.offset):
                    m.d.comb += response.resp.eq(Response.OKAY)
                    for field in register.fields:
                        if field.access != "pulse":
                            value = field.value
                            if value is None:
                                value = getattr(self, register.member(field))
                            # Extends it by its sign.
                            m.d.comb += self._bits(field, response.data).eq(value)
