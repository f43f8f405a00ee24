"""Control registers as data: gateware, C header, Markdown and driver all come from one map."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lutgen.numeric import Format, as_int, format_for

__all__ = [
    "ACCESS",
    "SET",
    "WORD_BITS",
    "WORD_BYTES",
    "Field",
    "Register",
    "RegisterMap",
    "counter_pair",
]

ACCESS = ("ro", "rw", "pulse", "w1c")
WORD_BITS = 32
WORD_BYTES = WORD_BITS // 8
COUNTER_ENDS = ("_LOW", "_HIGH")  # of the names of the two words of a counter
SET = "_set"  # end of the name of what sets a ``w1c`` field
RESERVED = ("bus", "busy")  # names that the gateware has besides those of fields


def _check_name(name: str, what: str, pattern: str) -> None:
    if not re.fullmatch(pattern, name):
        raise ValueError(f"Name of a {what} must match {pattern}, not {name!r}")


@dataclass(frozen=True)
class Field:
    """Some bits of a register that are one value.

    Parameters
    ----------
    name : str
        In lower case.
    width, lsb : int
        Bits, and the place of the lowest.
    access : str
        ``ro``; ``rw``; ``pulse``: writing 1 makes a strobe of one cycle, reads 0; ``w1c``: set by
        the hardware, writing 1 clears it.
    doc : str
        What it says, without a full stop.
    reset : int
        Value after a reset, of ``rw``; all others have 0.
    signed : bool
        Two's complement.
    low, high : int or None
        Limits of its value, which writes are held to. None for those of ``width`` bits.
    value : int or None
        What a ``ro`` field always reads as; None if that changes.
    locked : bool
        A ``pulse`` that is refused while busy.
    """

    name: str
    width: int = 1
    lsb: int = 0
    access: str = "ro"
    doc: str = ""
    reset: int = 0
    signed: bool = False
    low: int | None = None
    high: int | None = None
    value: int | None = None
    locked: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name, "field", "[a-z][a-z0-9_]*")
        what = f"of field {self.name}"
        as_int(self.width, f"Width {what}", low=1, high=WORD_BITS)
        as_int(self.lsb, f"Lowest bit {what}", low=0, high=WORD_BITS - self.width)
        if self.access not in ACCESS:
            raise ValueError(f"Access {what} must be one of {', '.join(ACCESS)}, not {self.access}")
        coded = Format(self.width, self.signed)
        if not coded.holds(self.least, self.most) or self.least > self.most:
            raise ValueError(
                f"Limits {what} must be a range of {coded}, not {self.least}..{self.most}"
            )
        if self.access in ("pulse", "w1c") and coded != Format(1, False):
            raise ValueError(f"Width {what} must be 1 and unsigned, as it is {self.access}")
        if self.access == "rw":
            as_int(self.reset, f"Reset value {what}", low=self.least, high=self.most)
        elif self.reset != 0:
            raise ValueError(f"Reset value {what} must be 0, as it is {self.access}")
        if self.value is not None:
            as_int(self.value, f"Constant value {what}", low=self.least, high=self.most)
            if self.access != "ro":
                raise ValueError(f"Constant value {what} must be None, as it is {self.access}")
        if self.locked and self.access != "pulse":
            raise ValueError(f"Lock {what} must be its register's, as it is no pulse")

    @property
    def least(self) -> int:
        """The least value."""
        return Format(self.width, self.signed).low if self.low is None else self.low

    @property
    def most(self) -> int:
        """The greatest value."""
        return Format(self.width, self.signed).high if self.high is None else self.high

    @property
    def format(self) -> Format:
        """The narrowest format that holds its values: what the hardware keeps."""
        return format_for(self.least, self.most)

    @property
    def limited(self) -> bool:
        """Whether some codes of ``width`` bits stand for no value."""
        coded = Format(self.width, self.signed)
        return (self.least, self.most) != (coded.low, coded.high)

    @property
    def mask(self) -> int:
        """Its bits in the word."""
        return ((1 << self.width) - 1) << self.lsb

    def encode(self, value: int) -> int:
        """A value as bits of the word."""
        return value << self.lsb & self.mask

    def decode(self, word: int) -> int:
        """Its bits in a word as a value."""
        raw = (word & self.mask) >> self.lsb
        return raw - (1 << self.width) if self.signed and raw >> (self.width - 1) else raw


@dataclass(frozen=True)
class Register:
    """A word of fields, which are all ``ro`` or all not.

    Parameters
    ----------
    name : str
        In upper case.
    offset : int
        In bytes.
    fields : tuple of Field
    doc : str
        What it is for, without a full stop.
    locked : bool
        Refuses writes while busy.
    """

    name: str
    offset: int
    fields: tuple[Field, ...]
    doc: str = ""
    locked: bool = False

    def __post_init__(self) -> None:
        _check_name(self.name, "register", "[A-Z][A-Z0-9_]*")
        what = f"of register {self.name}"
        as_int(self.offset, f"Offset {what}", low=0)
        if self.offset % WORD_BYTES:
            raise ValueError(f"Offset {what} must be a multiple of {WORD_BYTES}, not {self.offset}")
        if not self.fields:
            raise ValueError(f"Fields {what} must be one or more")
        taken = 0
        for field in self.fields:
            if taken & field.mask:
                raise ValueError(f"Fields {what} must not overlap, as {field.name} does")
            taken |= field.mask
        names = [field.name for field in self.fields]
        if len({*names}) != len(names):
            raise ValueError(f"Fields {what} must have names of their own, not {', '.join(names)}")
        if len({field.access == "ro" for field in self.fields}) > 1:
            raise ValueError(f"Fields {what} must be all read-only or all writable")
        if self.locked and not self.writable:
            raise ValueError(f"Lock {what} is of no use, as it is read-only")

    @property
    def writable(self) -> bool:
        """Whether any write is allowed."""
        return self.fields[0].access != "ro"

    @property
    def mask(self) -> int:
        """The bits of all fields; the others are reserved and 0."""
        return sum(field.mask for field in self.fields)

    def __getitem__(self, name: str) -> Field:
        """The field of a name.

        Raises
        ------
        ValueError
            If there is none.
        """
        for field in self.fields:
            if field.name == name:
                return field
        names = ", ".join(field.name for field in self.fields)
        raise ValueError(f"Field of {self.name} must be one of {names}, not {name!r}")

    def member(self, field: Field) -> str:
        """A field's name among those of all registers: the register's, then its own, but only once
        where they are the same.
        """
        own = self.name.lower()
        return own if field.name == own else f"{own}_{field.name}"

    def pack(self, values: Mapping[str, int]) -> int:
        """Values of fields as a word; those not given have their constant or reset value.

        Raises
        ------
        ValueError
            If there is no such field, or a value is beyond its limits.
        """
        word = 0
        for field in self.fields:
            word |= field.encode(field.reset if field.value is None else field.value)
        for name, value in values.items():
            field = self[name]
            if field.format == Format(1, False) and isinstance(value, bool):
                value = int(value)
            as_int(value, f"Field {self.name}.{name}", low=field.least, high=field.most)
            word = word & ~field.mask | field.encode(value)
        return word

    def unpack(self, word: int) -> dict[str, int]:
        """A word as values of fields."""
        return {field.name: field.decode(word) for field in self.fields}

    def accepts(self, word: int, *, busy: bool) -> bool:
        """Whether a word may be written."""
        if not self.writable or word & ~self.mask or (self.locked and busy):
            return False
        values = [(field, field.decode(word)) for field in self.fields]
        return all(f.least <= x <= f.most and not (f.locked and busy and x) for f, x in values)


@dataclass(frozen=True)
class RegisterMap:
    """Registers of 32 bits at offsets in bytes.

    A write is refused, and changes nothing, if there is no such register, or it is read-only, or
    locked; if only part of a word is written, or a reserved bit is not 0; or if a value is beyond
    its field's limits.

    Parameters
    ----------
    registers : tuple of Register
        By rising offset.
    """

    registers: tuple[Register, ...]

    def __post_init__(self) -> None:
        if not self.registers:
            raise ValueError("Registers of a map must be one or more")
        offsets = [register.offset for register in self.registers]
        if offsets != sorted({*offsets}):
            raise ValueError(f"Offsets of registers must rise, not be {offsets}")
        fields = [(r.member(field), field) for r in self.registers for field in r.fields]
        names = [*RESERVED, *(register.name for register in self.registers)]
        names += [name for name, _ in fields]
        names += [name + SET for name, field in fields if field.access == "w1c"]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"Names in a map must be unique, and {name} is not")

    @property
    def addr_bits(self) -> int:
        """Bits of a byte address."""
        return (self.registers[-1].offset + WORD_BYTES - 1).bit_length()

    @property
    def counters(self) -> tuple[str, ...]:
        """Names of counters of 64 bits, which are two registers each; see `counter_pair`."""
        low, high = COUNTER_ENDS
        stems = [r.name.removesuffix(low) for r in self.registers if r.name.endswith(low)]
        names = {register.name for register in self.registers}
        return tuple(stem for stem in stems if stem + high in names)

    def counter(self, name: str) -> tuple[Register, Register]:
        """The lower and the upper word of a counter.

        Raises
        ------
        ValueError
            If there is none of that name.
        """
        if name not in self.counters:
            raise ValueError(f"Counter must be one of {', '.join(self.counters)}, not {name!r}")
        low, high = COUNTER_ENDS
        return self[name + low], self[name + high]

    def __getitem__(self, name: str) -> Register:
        """The register of a name.

        Raises
        ------
        ValueError
            If there is none.
        """
        for register in self.registers:
            if register.name == name:
                return register
        raise ValueError(f"There is no register {name!r}")

    def at(self, offset: int) -> Register | None:
        """The register at an offset, if there is one."""
        return next((r for r in self.registers if r.offset == offset), None)


def counter_pair(name: str, offset: int, doc: str) -> tuple[Register, Register]:
    """The registers of a counter of 64 bits, low word first."""
    return tuple(  # type: ignore[return-value]
        Register(
            name + end,
            offset + k * WORD_BYTES,
            (Field((name + end).lower(), WORD_BITS, doc=doc),),
            f"{doc}, {'upper' if k else 'lower'} word",
        )
        for k, end in enumerate(COUNTER_ENDS)
    )
