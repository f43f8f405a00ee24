"""Frames: what is stuffed is taken out, and the check, a bit at a time."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lutgen.spec.link_frames import ESCAPE, FLAG, FLIP, RESIDUE

__all__ = ["SerialCrc", "Unstuffer", "must_escape"]

POLYNOMIAL = 0xEDB88320  # of CRC-32, the lowest bit first


def must_escape(byte):
    """Whether a byte may not go over the line as it is: flag and escape differ in two bits."""
    assert FLAG ^ ESCAPE == 3
    return (byte[2:] == FLAG >> 2) & (byte[0] ^ byte[1])


class SerialCrc(wiring.Component):
    """The register of a CRC-32. It takes a bit a cycle, lowest first: a byte of a UART lasts many
    times as long as its eight bits do here, and eight at once would cost four times the logic.

    Members
    -------
    start : In(1)
        Begins a frame; goes before ``en``.
    en, bit : In(1)
    crc : Out(32)
        Complemented, it is the check.
    right : Out(1)
        The bits up to the last cycle were a frame with the right check.
    """

    def __init__(self):
        super().__init__(
            {"start": In(1), "en": In(1), "bit": In(1), "crc": Out(32), "right": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        with m.If(self.start):
            m.d.sync += self.crc.eq(~0)
        with m.Elif(self.en):
            feedback = self.crc[0] ^ self.bit
            m.d.sync += self.crc.eq((self.crc >> 1) ^ Mux(feedback, POLYNOMIAL, 0))
        m.d.sync += self.right.eq(self.crc == RESIDUE)
        return m


class Unstuffer(wiring.Component):
    """Bytes of a line into bytes of frames.

    Members
    -------
    i_data : In(8)
    i_valid : In(1)
    data : Out(8)
    valid : Out(1)
        A byte of a frame, in the cycle of ``i_valid``.
    ends : Out(1)
        A flag, likewise.
    """

    def __init__(self):
        members = {"i_data": In(8), "i_valid": In(1), "data": Out(8), "valid": Out(1)}
        super().__init__(members | {"ends": Out(1)})

    def elaborate(self, platform):
        m = Module()
        escaped, special = Signal(name="escaped"), Signal(name="special")
        flip = Cat(Const(0, FLIP.bit_length() - 1), escaped)
        m.d.comb += [
            special.eq(must_escape(self.i_data)),
            self.ends.eq(self.i_valid & special & self.i_data[1]),
            self.valid.eq(self.i_valid & ~special),
            self.data.eq(self.i_data ^ flip),
        ]
        with m.If(self.i_valid):
            m.d.sync += escaped.eq(special & ~self.i_data[1])
        return m
