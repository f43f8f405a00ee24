"""The driver of a register map, over any bus."""

from typing import Protocol

from lutgen.errors import LutgenError
from lutgen.spec.registers import WORD_BITS, RegisterMap

__all__ = ["Bus", "BusError", "Registers"]


class BusError(Exception):
    """The slave refused a transfer (SLVERR)."""


class Bus(Protocol):
    """Reads and writes words of 32 bits at addresses in bytes."""

    async def read(self, address: int) -> int:
        """The word at an address.

        Raises
        ------
        BusError
        """
        ...

    async def write(self, address: int, value: int) -> None:
        """Writes a word.

        Raises
        ------
        BusError
        """
        ...


class Registers:
    """Registers by name, fields as integers.

    Parameters
    ----------
    bus : Bus
    registers : RegisterMap
    base : int
        Address of the first register.
    """

    def __init__(self, bus: Bus, registers: RegisterMap, base: int = 0) -> None:
        self.bus = bus
        self.registers = registers
        self.base = base

    async def _read(self, offset: int) -> int:
        return await self.bus.read(self.base + offset)

    async def get(self, name: str) -> dict[str, int]:
        """The fields of a register.

        Raises
        ------
        ValueError
            If there is no such register.
        """
        register = self.registers[name]
        return register.unpack(await self._read(register.offset))

    async def set(self, name: str, /, **values: int) -> None:
        """Writes fields of a register in one go. Those not given keep their value; pulses and flags
        not given are 0, which does nothing.

        Raises
        ------
        ValueError
            If there is no such register or field, or a value is beyond its limits; nothing has been
            written then.
        BusError
            If the hardware refuses, as it does with locked registers while it is busy.
        """
        register = self.registers[name]
        if not register.writable:
            raise ValueError(f"Register {name} is read-only")
        register.pack(values)  # complains before anything is read
        kept = {f.name for f in register.fields if f.access == "rw" and f.name not in values}
        if kept:
            now = await self.get(name)
            values = {**{field: now[field] for field in kept}, **values}
        await self.bus.write(self.base + register.offset, register.pack(values))

    async def counter(self, name: str) -> int:
        """A counter of 64 bits, also while it counts.

        Raises
        ------
        ValueError
            If there is no such counter.
        """
        low, high = self.registers.counter(name)
        upper, before = await self._read(high.offset), -1
        while upper != before:  # else the lower word has wrapped in between
            before = upper
            lower = await self._read(low.offset)
            upper = await self._read(high.offset)
        return upper << WORD_BITS | lower

    async def check(self) -> None:
        """Whether the hardware is the one that the map describes: all constants are as they should.

        Raises
        ------
        LutgenError
            If one is not.
        """
        for register in self.registers.registers:
            wanted = {f.name: f.value for f in register.fields if f.value is not None}
            if not wanted:
                continue
            found = await self.get(register.name)
            for field, value in wanted.items():
                if found[field] != value:
                    raise LutgenError(
                        f"register {register.name}, field {field!r}: is {found[field]:#x} and "
                        f"should be {value:#x}, the hardware is of another description; load the "
                        "bitstream that belongs to this one"
                    )
