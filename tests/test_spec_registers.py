"""Register maps: what they refuse to be, how words are packed, and the engine's own."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutgen.numeric import Format
from lutgen.spec.engine import PRESETS, EngineSpec, preset
from lutgen.spec.engine_registers import engine_registers, fingerprint
from lutgen.spec.registers import Field, Register, RegisterMap, counter_pair

SPEC = EngineSpec(8, 2, fan_in=2, rows=16)
ENGINE = engine_registers(SPEC)
ONE = Register("ONE", 0, (Field("bit"),))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Field("Bit"), "Name of a field must match [a-z][a-z0-9_]*, not 'Bit'"),
        (
            lambda: Field("bit", 0),
            "Width of field bit must be an integer between 1 and 32, not 0",
        ),
        (
            lambda: Field("bits", 8, 25),
            "Lowest bit of field bits must be an integer between 0 and 24, not 25",
        ),
        (
            lambda: Field("bit", access="wo"),
            "Access of field bit must be one of ro, rw, pulse, w1c, not wo",
        ),
        (
            lambda: Field("bits", 3, signed=True, high=4),
            "Limits of field bits must be a range of int3, not -4..4",
        ),
        (
            lambda: Field("bits", 3, low=5, high=4),
            "Limits of field bits must be a range of uint3, not 5..4",
        ),
        (
            lambda: Field("bits", 2, access="w1c"),
            "Width of field bits must be 1 and unsigned, as it is w1c",
        ),
        (
            lambda: Field("bits", 3, access="rw", low=1),
            "Reset value of field bits must be an integer between 1 and 7, not 0",
        ),
        (
            lambda: Field("bit", reset=1),
            "Reset value of field bit must be 0, as it is ro",
        ),
        (
            lambda: Field("bit", value=2),
            "Constant value of field bit must be an integer between 0 and 1, not 2",
        ),
        (
            lambda: Field("bit", access="rw", value=1),
            "Constant value of field bit must be None, as it is rw",
        ),
        (
            lambda: Field("bit", access="rw", locked=True),
            "Lock of field bit must be its register's, as it is no pulse",
        ),
        (
            lambda: replace(ONE, name="one"),
            "Name of a register must match [A-Z][A-Z0-9_]*, not 'one'",
        ),
        (lambda: replace(ONE, offset=2), "Offset of register ONE must be a multiple of 4, not 2"),
        (lambda: replace(ONE, fields=()), "Fields of register ONE must be one or more"),
        (
            lambda: replace(ONE, fields=(Field("a", 3), Field("b", 1, 2))),
            "Fields of register ONE must not overlap, as b does",
        ),
        (
            lambda: replace(ONE, fields=(Field("a"), Field("a", 1, 1))),
            "Fields of register ONE must have names of their own, not a, a",
        ),
        (
            lambda: replace(ONE, fields=(Field("a"), Field("b", 1, 1, "rw"))),
            "Fields of register ONE must be all read-only or all writable",
        ),
        (
            lambda: replace(ONE, locked=True),
            "Lock of register ONE is of no use, as it is read-only",
        ),
        (lambda: RegisterMap(()), "Registers of a map must be one or more"),
        (
            lambda: RegisterMap((ONE, replace(ONE, name="TWO"))),
            "Offsets of registers must rise, not be [0, 0]",
        ),
        (
            lambda: RegisterMap((ONE, replace(ONE, offset=4))),
            "Names in a map must be unique, and ONE is not",
        ),
        (
            lambda: RegisterMap(
                (Register("A", 0, (Field("b_c"),)), Register("A_B", 4, (Field("c"),)))
            ),
            "Names in a map must be unique, and a_b_c is not",
        ),
        (
            lambda: RegisterMap((Register("BUS", 0, (Field("bus"),)),)),
            "Names in a map must be unique, and bus is not",
        ),
        (lambda: ENGINE["NONE"], "There is no register 'NONE'"),
        (
            lambda: ENGINE["STATUS"]["none"],
            "Field of STATUS must be one of busy, done, error, not 'none'",
        ),
        (
            lambda: ENGINE["MODE"].pack({"results": 3}),
            "Field MODE.results must be an integer between 0 and 2, not 3",
        ),
        (
            lambda: ENGINE["LOW"].pack({"low": -129}),
            "Field LOW.low must be an integer between -128 and 255, not -129",
        ),
        (
            lambda: RegisterMap(counter_pair("A", 0, "")).counter("B"),
            "Counter must be one of A, not 'B'",
        ),
    ],
)
def test_messages(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


@given(st.data())
def test_words(data):
    """Packing and unpacking are each other's inverse, and what is packed may be written."""
    register = data.draw(st.sampled_from([r for r in ENGINE.registers if r.writable]))
    values = {f.name: data.draw(st.integers(f.least, f.most), f.name) for f in register.fields}
    word = register.pack(values)
    assert register.unpack(word) == values
    assert word & ~register.mask == 0
    assert register.accepts(word, busy=False)
    for field in register.fields:
        assert field.format.holds(values[field.name], values[field.name])


def test_words_by_hand():
    assert ENGINE["LOW"].pack({"low": -1}) == 0xFFFFFFFF
    assert ENGINE["LOW"].unpack(0xFFFFFF80) == {"low": -128}
    assert ENGINE["LOW"]["low"].format == Format(9, True)
    assert ENGINE["MODE"].pack({"results": 2, "signed": True}) == 0b1100
    assert ENGINE["ROWS"].pack({}) == 1
    control = ENGINE["CONTROL"]
    assert control.accepts(2, busy=True)
    assert not control.accepts(1, busy=True)
    assert not control.accepts(4, busy=False)
    assert not ENGINE["STATUS"].accepts(0, busy=False)
    assert not ENGINE["ROWS"].accepts(1, busy=True)


@pytest.mark.parametrize("name", PRESETS)
def test_engine_registers(name):
    spec = preset(name)
    registers = engine_registers(spec)
    assert registers.addr_bits == 8
    for register in registers.registers:
        assert registers.at(register.offset) is register
        if register.writable:  # after a reset, all is legal
            assert register.accepts(register.pack({}), busy=False)
    assert registers["SHAPE4"].unpack(registers["SHAPE4"].pack({})) == {"rows": spec.rows}
    assert registers["ROWS"]["rows"].most == spec.rows
    assert registers["GROUPS"]["groups"].most == spec.groups
    low, high = registers.counter("CYCLES")
    assert high.offset == low.offset + 4
    other = engine_registers(replace(spec, lanes=spec.lanes + 1, has_map=True))
    assert fingerprint(spec) != fingerprint(replace(spec, lanes=spec.lanes + 1))
    assert registers["MODE"]["map"].most == 0
    assert other["MODE"]["map"].most == 1
    places = [(r.name, r.offset, r.mask) for r in registers.registers]
    assert places == [(r.name, r.offset, r.mask) for r in other.registers]


def test_the_map_is_a_contract():
    """Places that drivers may have been built for: a change needs another `VERSION`."""
    assert {r.name: r.offset for r in ENGINE.registers if r.name in ("ID", "CONTROL", "MODE")} == {
        "ID": 0x000,
        "CONTROL": 0x040,
        "MODE": 0x080,
    }
    assert ENGINE["ID"].pack({}).to_bytes(4, "big") == b"LUTE"
