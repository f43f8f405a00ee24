"""A register map as a C header and as a page of Markdown."""

from collections.abc import Iterator

from lutgen.spec.registers import WORD_BITS, WORD_BYTES, Field, Register, RegisterMap

__all__ = ["c_header", "markdown"]

ACCESSORS = """\
/* What stands at an offset; ``base`` is the address of the first register. */
static inline uint32_t {name}_read(const volatile void *base, uint32_t offset)
{{
    return *(const volatile uint32_t *)((const volatile char *)base + offset);
}}

static inline void {name}_write(volatile void *base, uint32_t offset, uint32_t word)
{{
    *(volatile uint32_t *)((volatile char *)base + offset) = word;
}}

/* A field of a word, without its sign; and a word with a field changed. */
static inline uint32_t {name}_get(uint32_t word, uint32_t mask, unsigned shift)
{{
    return (word & mask) >> shift;
}}

static inline uint32_t {name}_put(uint32_t word, uint32_t mask, unsigned shift, uint32_t value)
{{
    return (word & ~mask) | ((value << shift) & mask);
}}
"""
COUNTER = """
/* A counter, also while it counts: ``low`` is the offset of its lower word, before the upper. */
static inline uint64_t {name}_counter(const volatile void *base, uint32_t low)
{{
    uint32_t upper, lower, before;
    upper = {name}_read(base, low + {step}u);
    do {{
        before = upper;
        lower = {name}_read(base, low);
        upper = {name}_read(base, low + {step}u);
    }} while (upper != before);
    return ((uint64_t)upper << 32) | lower;
}}
"""


def c_header(registers: RegisterMap, name: str) -> str:
    """A header in C99.

    Parameters
    ----------
    registers : RegisterMap
    name : str
        What all names begin with, in lower case; macros have it in upper case.
    """
    if not name.isidentifier() or not name.isascii() or name != name.lower():
        raise ValueError(f"Name of a header must be an identifier in lower case, not {name!r}")
    prefix = name.upper()
    lines = [f"#ifndef {prefix}_REGISTERS_H", f"#define {prefix}_REGISTERS_H", ""]
    lines += ["#include <stdint.h>", ""]
    for register in registers.registers:
        lines += [f"/* {_comment(register)} */", *_macros(prefix, register), ""]
    accessors = ACCESSORS + (COUNTER if registers.counters else "")
    lines += [accessors.format(name=name, step=WORD_BYTES)]
    lines += [*_identity(registers, name), "", "#endif", ""]
    return "\n".join(lines)


def _identity(registers: RegisterMap, name: str) -> Iterator[str]:
    """A function that compares registers of nothing but constants."""
    yield "/* Whether the hardware is the one that this header describes. */"
    yield f"static inline int {name}_matches(const volatile void *base)"
    yield "{"
    yield "    (void)base;"
    for register in registers.registers:
        if all(field.value is not None for field in register.fields):
            read = f"{name}_read(base, {name.upper()}_{register.name}_OFFSET)"
            yield f"    if ({read} != 0x{register.pack({}):08x}u)"
            yield "        return 0;"
    yield "    return 1;"
    yield "}"


def _comment(register: Register) -> str:
    notes = [register.doc] if register.doc else []
    if not register.writable:
        notes.append("read-only")
    if register.locked:
        notes.append("not while busy")
    return "; ".join([f"{register.name}: {notes[0]}" if notes else register.name, *notes[1:]])


def _macros(prefix: str, register: Register) -> Iterator[str]:
    yield f"#define {prefix}_{register.name}_OFFSET 0x{register.offset:03x}u"
    for field in register.fields:
        if field.doc and len(register.fields) > 1:
            yield f"/* {field.name}: {_note(field)} */"
        stem = f"{prefix}_{register.member(field).upper()}"
        yield f"#define {stem}_MASK 0x{field.mask:08x}u"
        yield f"#define {stem}_SHIFT {field.lsb}"
        if field.value is not None:
            suffix = "" if field.signed else "u"
            yield f"#define {stem}_VALUE {_constant(field.value, field)}{suffix}"
        if field.access == "rw":
            yield f"#define {stem}_MIN {_number(field.least, field)}"
            yield f"#define {stem}_MAX {_number(field.most, field)}"
            yield f"#define {stem}_RESET {_number(field.reset, field)}"


def _constant(value: int, field: Field) -> str:
    """Whole words in hexadecimal."""
    return str(value) if field.signed or field.width < WORD_BITS else f"0x{value:08x}"


def _number(value: int, field: Field) -> str:
    """A constant of C: signed and unsigned 32 bits."""
    if not field.signed:
        return f"{value}u"
    return "INT32_MIN" if value == -(1 << 31) else f"({value})" if value < 0 else str(value)


def markdown(registers: RegisterMap, title: str = "Registers") -> str:
    """A page with a table of all registers and one of each register's fields."""
    lines = [f"# {title}", ""]
    lines += ["Words of 32 bits. Reserved bits read 0 and are written 0.", ""]
    rows = [
        [f"`0x{r.offset:03x}`", f"[`{r.name}`](#{r.name.lower()})", _access(r), r.doc]
        for r in registers.registers
    ]
    lines += _table(["offset", "register", "access", ""], rows)
    for register in registers.registers:
        lines += ["", f"## {register.name}", "", f"{_sentence(register)}", ""]
        fields = [
            [_bits(f), f"`{f.name}`", f.access, *_values(f), _note(f)] for f in register.fields
        ]
        lines += _table(["bits", "field", "access", "values", "reset", ""], fields)
    lines += ["", "`rw`: read and written. `ro`: read only. `pulse`: writing 1 acts, reads 0."]
    lines += ["`w1c`: writing 1 clears.", ""]
    return "\n".join(lines)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _access(register: Register) -> str:
    kinds = ", ".join(dict.fromkeys(field.access for field in register.fields))
    return f"{kinds}; not while busy" if register.locked else kinds


def _sentence(register: Register) -> str:
    text = f"Offset `0x{register.offset:03x}`."
    text = f"{register.doc}. {text}" if register.doc else text
    return f"{text} Not written while busy." if register.locked else text


def _bits(field: Field) -> str:
    top = field.lsb + field.width - 1
    return f"{top}" if field.width == 1 else f"{top}:{field.lsb}"


def _note(field: Field) -> str:
    return f"{field.doc} (refused while busy)" if field.locked else field.doc


def _values(field: Field) -> tuple[str, str]:
    """Values, and the one after a reset."""
    if field.value is not None:
        return _constant(field.value, field), ""
    return f"{field.least} to {field.most}", str(field.reset) if field.access == "rw" else ""
