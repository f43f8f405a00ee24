"""The queue between two clocks, in Amaranth's simulator with clocks of any periods, and its
Verilog.
"""

import gc
import re
import warnings

import numpy as np
import pytest
from amaranth.hdl import ClockDomain, Module, ResetSignal, unsigned
from amaranth.lib import data
from amaranth.lib.cdc import ResetSynchronizer
from amaranth.sim import Simulator

from lutgen import LutgenError
from lutgen.flows import check
from lutgen.gateware.crossing import AsyncFifo
from lutgen.gateware.verilog import convert
from lutgen.spec.crossing import CrossingSpec

# In ps. Some meet in every fourth tick, some almost never; the second starts at any phase.
PERIODS = [
    (1000, 4000),
    (1000, 2000),
    (1000, 1000),
    (2000, 1000),
    (4000, 1000),
    (1000, 1370),
    (1618, 1000),
    (997, 1009),
]


def simulate(top, periods, benches, background=(), *, seed):
    """Runs until all benches but those that go on for ever end."""
    sim = Simulator(top)
    for domain, period in zip(("write", "read"), periods, strict=True):
        phase = int(np.random.default_rng(seed).integers(period)) if domain == "read" else 0
        sim.add_clock(period * 1e-12, phase=phase * 1e-12, domain=domain)
    for bench in benches:
        sim.add_testbench(bench)
    for bench in background:
        sim.add_testbench(bench, background=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sim.run()


def top_of(fifo, resets_from=None):
    """Both clocks, and their resets by domain; one of them is handed on to the other."""
    m = Module()
    domains = {name: ClockDomain(name) for name in ("write", "read")}
    m.domains += list(domains.values())
    m.submodules.fifo = fifo
    if resets_from is not None:
        other = {"write": "read", "read": "write"}[resets_from]
        m.submodules.reset = ResetSynchronizer(ResetSignal(resets_from), domain=other)
    return m, {name: domain.rst for name, domain in domains.items()}


def producer(fifo, words, rng):
    """Pushes words in their order, in times of plenty and of want."""

    async def bench(ctx):
        for number, word in enumerate(words):
            if number % 25 == 0:
                chance = rng.choice([0.2, 0.6, 1.0])
            while rng.random() >= chance:
                await ctx.tick("write")
            ctx.set(fifo.i.p, word)
            ctx.set(fifo.i.valid, 1)
            await ctx.tick("write").until(fifo.i.ready)
            ctx.set(fifo.i.valid, 0)

    return bench


def consumer(fifo, got, count, rng):
    """Takes words; checks that they hold while they wait."""

    async def bench(ctx):
        waiting, ticks = None, 0
        while len(got) < count:
            if ticks % 40 == 0:
                chance = rng.choice([0.2, 0.6, 1.0])
            ticks += 1
            assert ticks < 100 * count, "words are missing"
            ready = int(rng.random() < chance)
            ctx.set(fifo.o.ready, ready)
            _, _, valid, word = await ctx.tick("read").sample(fifo.o.valid, fifo.o.p)
            if waiting is not None:
                assert (valid, word) == (1, waiting)
            waiting = word if valid and not ready else None
            if valid and ready:
                got.append(word)

    return bench


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("periods", PERIODS, ids=lambda p: f"{p[0]}-{p[1]}")
def test_every_word_in_order(periods, seed):
    rng = np.random.default_rng(seed)
    spec = CrossingSpec(8, 2 ** int(rng.integers(1, 5)))
    fifo = AsyncFifo(spec, unsigned(8), write="write", read="read")
    words, got = rng.integers(0, 256, 250).tolist(), []
    benches = [
        producer(fifo, words, np.random.default_rng([seed, 1])),
        consumer(fifo, got, len(words), np.random.default_rng([seed, 2])),
    ]
    simulate(top_of(fifo)[0], periods, benches, seed=seed)
    assert got == words, f"{spec}, seed {seed}"


@pytest.mark.parametrize("phase", range(4))
def test_a_word_in_every_tick(phase):
    """What the depth of 8 promises at equal rates."""
    fifo = AsyncFifo(CrossingSpec(8, 8), unsigned(8), write="write", read="read")
    got = []

    async def push(ctx):
        ctx.set(fifo.i.valid, 1)
        for number in range(100):
            ctx.set(fifo.i.p, number)
            await ctx.tick("write").until(fifo.i.ready)
        ctx.set(fifo.i.valid, 0)

    async def take(ctx):
        ctx.set(fifo.o.ready, 1)
        for tick in range(130):
            _, _, valid, word = await ctx.tick("read").sample(fifo.o.valid, fifo.o.p)
            if valid:
                got.append((tick, word))

    simulate(top_of(fifo)[0], (1000, 1000), [push, take], seed=phase)
    first = got[0][0]
    assert got == [(first + number, number) for number in range(100)]


@pytest.mark.parametrize("depth", [2, 8])
def test_full_and_empty(depth):
    """It takes as many as the spec says, and gives them back."""
    spec = CrossingSpec(8, depth)
    fifo = AsyncFifo(spec, unsigned(8), write="write", read="read")
    taken, got = [], []

    async def bench(ctx):
        ctx.set(fifo.i.valid, 1)
        for number in range(40):
            ctx.set(fifo.i.p, number)
            _, _, ready = await ctx.tick("write").sample(fifo.i.ready)
            if ready:
                taken.append(number)
        ctx.set(fifo.i.valid, 0)
        ctx.set(fifo.o.ready, 1)
        for _ in range(40):
            _, _, valid, word = await ctx.tick("read").sample(fifo.o.valid, fifo.o.p)
            if valid:
                got.append(word)

    simulate(top_of(fifo)[0], (1000, 1370), [bench], seed=0)
    assert len(taken) == spec.entries
    assert got == taken


@pytest.mark.parametrize("source", ["write", "read"])
@pytest.mark.parametrize("periods", PERIODS, ids=lambda p: f"{p[0]}-{p[1]}")
def test_reset_of_one_tick(periods, source):
    """It empties the queue, in the midst of anything, however slow the other clock is; what is
    pushed after it comes through, and nothing else.
    """
    rng = np.random.default_rng(periods)
    fifo = AsyncFifo(CrossingSpec(8, 4), unsigned(8), write="write", read="read")
    top, rst = top_of(fifo, resets_from=source)
    taken, got = [], []
    over = False

    async def reset(ctx):
        nonlocal over
        for _ in range(8):
            for _ in range(rng.integers(20, 60)):
                await ctx.tick(source)
            assert got == taken[: len(got)]
            ctx.set(rst[source], 1)
            await ctx.tick(source)
            ctx.set(rst[source], 0)
            taken.clear()  # both sides stand still now; what is pushed from here on counts
            got.clear()
        for _ in range(60):
            await ctx.tick("write")
        over = True

    async def push(ctx):
        number = 0
        while not over:
            number = (number + 1) % 256
            ctx.set(fifo.i.p, number)
            ctx.set(fifo.i.valid, 1)
            _, _, ready = await ctx.tick("write").sample(fifo.i.ready & ~rst["write"])
            if ready:
                taken.append(number)
        ctx.set(fifo.i.valid, 0)
        for _ in range(40):
            await ctx.tick("read")

    async def take(ctx):
        while True:
            ctx.set(fifo.o.ready, int(rng.random() < 0.7))
            _, _, valid, word = await ctx.tick("read").sample(
                fifo.o.valid & fifo.o.ready & ~rst["read"], fifo.o.p
            )
            if valid:
                got.append(word)

    simulate(top, periods, [reset, push], [take], seed=1)
    assert over
    assert len(got) > 8
    assert got == taken


def test_verilog():
    """The memory has two clocks; only what knows of the other side's reset is set without one."""
    fifo = AsyncFifo(CrossingSpec(5, 16), unsigned(5), write="write", read="read")
    text = convert(fifo, "crossing")
    assert re.search(r"always @\(posedge load_clk\) if \(load_en\) rows", text)
    assert len(re.findall(r"always @\(posedge \w+, posedge \w+\)", text)) == 4


@pytest.mark.parametrize("look", [check.lint, lambda text: check.structure(text, "crossing")[0]])
def test_verilog_is_clean(look):
    """No warning, no latch, no combinational loop."""
    layout = data.StructLayout({"index": data.ArrayLayout(2, 3), "mark": 1})
    fifo = AsyncFifo(CrossingSpec(7, 16), layout, write="write", read="read")
    try:
        assert look(convert(fifo, "crossing")) == []
    except LutgenError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("width", "depth", "message"),
    [
        (0, 4, "Width of a crossing must be a positive integer, not 0"),
        (3, 1, "Depth of a crossing must be an integer of at least 2, not 1"),
        (3, 12, "Depth of a crossing must be a power of two, not 12"),
    ],
)
def test_what_a_spec_refuses(width, depth, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        CrossingSpec(width, depth)


@pytest.mark.filterwarnings("ignore:.*created but never used")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_two_domains():
    message = "^A crossing must be between two domains, not from 'sync' to it$"
    with pytest.raises(ValueError, match=message):
        AsyncFifo(CrossingSpec(3, 4), 3, write="sync", read="sync")
    gc.collect()  # Amaranth warns of components that nobody elaborates; this one never came to be
