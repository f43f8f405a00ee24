"""Header, page and driver of the engine's registers."""

import asyncio
import shutil
import subprocess

import pytest

from lutgen.errors import LutgenError
from lutgen.host.header import c_header, markdown
from lutgen.host.registers import BusError, Registers
from lutgen.spec.engine import EngineSpec
from lutgen.spec.engine_registers import engine_registers, fingerprint

SPEC = EngineSpec(8, 2, fan_in=2, rows=16)
ENGINE = engine_registers(SPEC)
BASE = 0x4000_0000

PROGRAM = """\
#include "engine.h"
int main(void)
{
    static uint32_t words[LUTE_STALL_PASS_HIGH_OFFSET / 4 + 1];
    words[LUTE_CYCLES_LOW_OFFSET / 4] = 7;
    words[LUTE_CYCLES_HIGH_OFFSET / 4] = 2;
    if (lute_counter(words, LUTE_CYCLES_LOW_OFFSET) != 0x200000007ull) return 1;
    uint32_t mode = lute_put(0, LUTE_MODE_RESULTS_MASK, LUTE_MODE_RESULTS_SHIFT, 2);
    lute_write(words, LUTE_MODE_OFFSET, mode);
    if (words[0x80 / 4] != 4) return 2;
    mode = lute_read(words, LUTE_MODE_OFFSET);
    if (lute_get(mode, LUTE_MODE_RESULTS_MASK, LUTE_MODE_RESULTS_SHIFT) != 2) return 3;
    if (LUTE_ROWS_MAX != 16u || LUTE_LOW_MIN != -128 || LUTE_HIGH_MAX != 255) return 4;
    if (lute_matches(words)) return 5;
#include "constants.h"
    return lute_matches(words) ? 0 : 6;
}
"""


class Fake:
    """An engine that holds words and does nothing."""

    def __init__(self, busy=False):
        self.words = {BASE + r.offset: r.pack({}) for r in ENGINE.registers}
        self.busy = busy
        self.written = []

    async def read(self, address):
        if address not in self.words:
            raise BusError(f"nothing at {address:#x}")
        return self.words[address]

    async def write(self, address, value):
        register = ENGINE.at(address - BASE)
        if register is None or not register.accepts(value, busy=self.busy):
            raise BusError(f"{address:#x} refused {value:#x}")
        self.words[address] = value
        self.written.append((register.name, value))


def run(bench, **options):
    fake = Fake(**options)
    asyncio.run(bench(fake, Registers(fake, ENGINE, BASE)))


def test_fields_by_name():
    async def bench(fake, registers):
        await registers.set("MODE", signed=1, results=2)
        await registers.set("MODE", reuse=True)  # the others keep their value
        assert (await registers.get("MODE")) == {
            "input_indices": 0,
            "results": 2,
            "signed": 1,
            "reuse": 1,
            "map": 0,
        }
        await registers.set("LOW", low=-128)
        assert await registers.get("LOW") == {"low": -128}
        await registers.set("CONTROL", start=1)
        await registers.set("INTERRUPT_STATUS", done=1)
        assert fake.written == [
            ("MODE", 0b1100),
            ("MODE", 0b11100),
            ("LOW", 0xFFFFFF80),
            ("CONTROL", 1),
            ("INTERRUPT_STATUS", 1),
        ]

    run(bench)


def test_mistakes_are_found_before_anything_is_written():
    async def bench(fake, registers):
        for name, values, message in [
            ("ROWS", {"rows": 17}, "Field ROWS.rows must be an integer between 1 and 16, not 17"),
            ("STATUS", {"busy": 1}, "Register STATUS is read-only"),
            ("SIZE", {}, "There is no register 'SIZE'"),
        ]:
            with pytest.raises(ValueError) as caught:  # noqa: PT011
                await registers.set(name, **values)
            assert str(caught.value) == message
        assert fake.written == []
        with pytest.raises(BusError):
            await registers.set("ROWS", rows=2)

    run(bench, busy=True)


def test_a_counter_that_counts():
    async def bench(fake, registers):
        low, high = (BASE + r.offset for r in ENGINE.counter("CYCLES"))
        fake.words |= {low: 0xFFFFFFFF, high: 1}
        reads = []
        read = fake.read

        async def ticking(address):  # wraps just before the lower word is read
            word = await read(address)
            if not reads:
                fake.words |= {low: 0, high: 2}
            reads.append(address)
            return word

        fake.read = ticking
        assert await registers.counter("CYCLES") == 2 << 32
        assert len(reads) == 5

    run(bench)


def test_check():
    async def bench(fake, registers):
        await registers.check()
        fake.words[BASE + ENGINE["FINGERPRINT"].offset] = 1
        with pytest.raises(LutgenError) as caught:
            await registers.check()
        assert str(caught.value) == (
            f"register FINGERPRINT, field 'fingerprint': is 0x1 and should be "
            f"{fingerprint(SPEC):#x}, the hardware is of another description; load the bitstream "
            "that belongs to this one"
        )

    run(bench)


def test_header(tmp_path):
    cc = shutil.which("cc")
    if cc is None:
        pytest.skip("there is no C compiler, cc")
    (tmp_path / "engine.h").write_text(c_header(ENGINE, "lute"), encoding="utf-8")
    constants = [r for r in ENGINE.registers if r.fields[0].value is not None]
    (tmp_path / "constants.h").write_text(
        "".join(f"words[{r.offset // 4}] = {r.pack({})}u;\n" for r in constants), encoding="utf-8"
    )
    (tmp_path / "main.c").write_text(PROGRAM, encoding="utf-8")
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run([cc, *flags, "-o", "main", "main.c"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "main"], check=False).returncode == 0


def test_header_needs_a_name():
    with pytest.raises(
        ValueError, match=r"^Name of a header must be an identifier in lower case, not 'Lute'$"
    ):
        c_header(ENGINE, "Lute")


def test_page():
    page = markdown(ENGINE)
    for register in ENGINE.registers:
        assert f"\n## {register.name}\n" in page
        for field in register.fields:
            assert f"| `{field.name}` | {field.access} |" in page
    assert "| 31:0 | `rows` | rw | 1 to 16 | 1 | Rows of each block but the last |" in page
    assert "begin a job (refused while busy)" in page
    assert all(line.count("|") in (0, 5, 7) for line in page.splitlines())
