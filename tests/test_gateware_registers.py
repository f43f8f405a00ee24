"""The register file behind AXI4-Lite, against the map's own model, with gaps on every channel."""

import numpy as np
import pytest
import simulation as sim

from lutgen.gateware.registers import RegisterFile, Response
from lutgen.spec.engine import EngineSpec
from lutgen.spec.engine_registers import ID, engine_registers

ENGINE = engine_registers(EngineSpec(8, 2, fan_in=2, rows=16))


class Model:
    """What the registers hold: `Register.accepts` says which writes count."""

    def __init__(self, registers):
        self.registers = registers
        self.words = {r.offset: r.pack({}) for r in registers.registers}

    def write(self, address, word, strobes, busy):
        register = self.registers.at(address)
        if register is None or strobes != 15 or not register.accepts(word, busy=busy):
            return Response.SLVERR
        for field in register.fields:
            if field.access == "rw":
                kept = self.words[address] & ~field.mask
                self.words[address] = kept | (word & field.mask)
            elif field.access == "w1c":
                self.words[address] &= ~(word & field.mask)
        return Response.OKAY

    def read(self, address):
        register = self.registers.at(address)
        if register is None:
            return 0, Response.SLVERR
        return self.words[address], Response.OKAY


class Master:
    """Drives the bus; waits on every channel as it likes."""

    def __init__(self, ctx, dut, seed=0, gaps=0.0):
        self.ctx, self.bus, self.gaps = ctx, dut.bus, gaps
        self.rng = np.random.default_rng(seed)

    async def _exchange(self, sends, answer):
        """Sends on channels, at any distance, until the response is taken."""
        ctx, left = self.ctx, {id(channel): (channel, p) for channel, p in sends}
        offered, before = set(), None
        for _ in range(200):
            for key, (channel, payload) in left.items():
                if key not in offered and self.rng.random() >= self.gaps:
                    offered.add(key)
                    ctx.set(channel.valid, 1)
                    ctx.set(channel.p, payload)
            ctx.set(answer.ready, int(self.rng.random() >= self.gaps))
            took = {key for key in offered & {*left} if ctx.get(left[key][0].ready)}
            response = ctx.get(answer.p.as_value()) if ctx.get(answer.valid) else None
            assert before is None or response == before  # held while stalled
            assert response is None or not left  # never before what it answers
            ends = response is not None and ctx.get(answer.ready)
            await ctx.tick()
            for key in took:
                ctx.set(left.pop(key)[0].valid, 0)
            if ends:
                ctx.set(answer.ready, 0)
                assert not ctx.get(answer.valid)  # once
                return response
            before = response
        raise AssertionError("no response")

    async def write(self, address, word, strobes=15):
        prot = int(self.rng.integers(8))
        sends = [
            (self.bus.aw, {"addr": address, "prot": prot}),
            (self.bus.w, {"data": word, "strb": strobes}),
        ]
        return await self._exchange(sends, self.bus.b)

    async def read(self, address):
        prot = int(self.rng.integers(8))
        word = await self._exchange([(self.bus.ar, {"addr": address, "prot": prot})], self.bus.r)
        return word & 0xFFFFFFFF, word >> 32


def run(registers, bench, *, seed=0, gaps=0.0, watch=None):
    """Runs ``bench(ctx, dut, master)``; ``watch(ctx, dut)`` sees every cycle."""
    dut = RegisterFile(registers)
    ended = False

    async def main(ctx):
        nonlocal ended
        await bench(ctx, dut, Master(ctx, dut, seed, gaps))
        ended = True

    async def watching(ctx):
        while not ended:
            if watch:
                watch(ctx, dut)
            await ctx.tick()

    sim.simulate(dut, [main, watching])


def rw_values(ctx, dut):
    fields = [(r, f) for r in dut.registers.registers for f in r.fields]
    return {r.member(f): ctx.get(getattr(dut, r.member(f))) for r, f in fields if f.access == "rw"}


@pytest.mark.parametrize(("seed", "gaps"), [(1, 0.0), (2, 0.3), (3, 0.7)])
def test_against_the_model(seed, gaps):
    model = Model(ENGINE)
    rng = np.random.default_rng(seed)
    answers = []

    def word_for(register):
        if register is None or rng.random() < 0.1:
            return int(rng.integers(1 << 32))
        word = 0
        for field in register.fields:  # mostly legal, or just beyond
            low, high = max(field.least, -100), min(field.most, 100)
            word |= field.encode(int(rng.integers(low - (rng.random() < 0.1), high + 1)))
        return word

    async def bench(ctx, dut, master):
        for register in ENGINE.registers:  # what the hardware reports
            for field in register.fields:
                if field.access == "ro" and field.value is None:
                    value = int(rng.integers(1 << field.width))
                    ctx.set(getattr(dut, register.member(field)), value)
                    model.words[register.offset] |= field.encode(value)
        for _ in range(250):
            address = int(rng.integers(1 << ENGINE.addr_bits))
            if rng.random() < 0.9:
                address = ENGINE.registers[rng.integers(len(ENGINE.registers))].offset
            if rng.random() < 0.4:
                assert await master.read(address) == model.read(address)
                continue
            busy, strobes = (
                int(rng.random() < 0.2),
                15 if rng.random() < 0.9 else int(rng.integers(16)),
            )
            ctx.set(dut.busy, busy)
            word = word_for(ENGINE.at(address))
            answers.append(await master.write(address, word, strobes))
            assert answers[-1] == model.write(address, word, strobes, busy)
            for name, value in rw_values(ctx, dut).items():
                register, field = next(
                    (r, f) for r in ENGINE.registers for f in r.fields if r.member(f) == name
                )
                assert value == field.decode(model.words[register.offset])

    run(ENGINE, bench, seed=seed, gaps=gaps)
    assert answers.count(Response.OKAY) > 10
    assert answers.count(Response.SLVERR) > 10


ILLEGAL = {
    "unknown address": (0x0A4, 0, 15, 0),
    "unaligned address": (ENGINE["ROWS"].offset + 1, 1, 15, 0),
    "read-only": (ENGINE["STATUS"].offset, 0, 15, 0),
    "constant": (ENGINE["ID"].offset, ID, 15, 0),
    "too small": (ENGINE["ROWS"].offset, 0, 15, 0),
    "too great": (ENGINE["ROWS"].offset, 17, 15, 0),
    "much too great": (ENGINE["TILES"].offset, 1 << 16, 15, 0),
    "signed, too small": (ENGINE["LOW"].offset, (-129) & 0xFFFFFFFF, 15, 0),
    "signed, too great": (ENGINE["LOW"].offset, 256, 15, 0),
    "illegal code": (ENGINE["MODE"].offset, 3 << 1, 15, 0),
    "no map": (ENGINE["MODE"].offset, 1 << 5, 15, 0),
    "reserved bits": (ENGINE["MODE"].offset, 1 << 6, 15, 0),
    "reserved bits of a pulse": (ENGINE["CONTROL"].offset, 1 | 4, 15, 0),
    "part of a word": (ENGINE["ROWS"].offset, 2, 7, 0),
    "no part of a word": (ENGINE["CONTROL"].offset, 1, 0, 0),
    "locked": (ENGINE["ROWS"].offset, 2, 15, 1),
    "start while busy": (ENGINE["CONTROL"].offset, 1, 15, 1),
    "start and abort while busy": (ENGINE["CONTROL"].offset, 3, 15, 1),
}


@pytest.mark.parametrize("kind", ILLEGAL)
def test_illegal_writes_change_nothing(kind):
    address, word, strobes, busy = ILLEGAL[kind]

    async def bench(ctx, dut, master):
        ctx.set(dut.busy, busy)
        ctx.set(dut.interrupt_status_done_set, 1)
        await ctx.tick()
        ctx.set(dut.interrupt_status_done_set, 0)
        before = rw_values(ctx, dut)
        assert await master.write(address, word, strobes) == Response.SLVERR
        assert rw_values(ctx, dut) == before
        assert ctx.get(dut.interrupt_status_done) == 1

    def watch(ctx, dut):
        assert not ctx.get(dut.control_start)
        assert not ctx.get(dut.control_abort)

    run(ENGINE, bench, watch=watch)


def test_pulses_and_flags():
    seen = []

    def watch(ctx, dut):
        pair = ctx.get(dut.control_start), ctx.get(dut.control_abort)
        if any(pair):
            seen.append(pair)

    async def bench(ctx, dut, master):
        control, status = ENGINE["CONTROL"].offset, ENGINE["INTERRUPT_STATUS"].offset
        assert await master.write(control, 1) == Response.OKAY
        ctx.set(dut.busy, 1)
        assert await master.write(control, 2) == Response.OKAY
        assert await master.write(control, 0) == Response.OKAY
        assert await master.read(control) == (0, Response.OKAY)
        assert await master.read(status) == (0, Response.OKAY)
        ctx.set(dut.interrupt_status_done_set, 1)
        assert await master.write(status, 1) == Response.OKAY  # setting goes before clearing
        ctx.set(dut.interrupt_status_done_set, 0)
        assert await master.write(status, 0) == Response.OKAY
        assert await master.read(status) == (1, Response.OKAY)
        assert await master.write(status, 1) == Response.OKAY
        assert await master.read(status) == (0, Response.OKAY)

    run(ENGINE, bench, watch=watch, gaps=0.3)
    assert seen == [(1, 0), (0, 1)]
