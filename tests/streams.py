"""Helpers of the block tests: pipelines with an enable, streams with gaps, queues' other ends."""

import numpy as np
import simulation as sim


def numbers(rng, fmt, shape):
    """Random integers over the whole format."""
    return rng.integers(fmt.low, fmt.high + 1, shape)


def pipeline(unit, drive, read, inputs, latency, rng):
    """Feeds one input an enabled cycle, with random pauses; gives what comes ``latency`` later."""
    got = []

    async def bench(ctx):
        done = 0
        while done < len(inputs) + latency:
            enabled = rng.random() < 0.7
            ctx.set(unit.en, enabled)
            drive(ctx, inputs[min(done, len(inputs) - 1)])
            if enabled:
                if done >= latency:
                    got.append(read(ctx))
                done += 1
            await ctx.tick()

    sim.simulate(unit, [bench])
    return got


async def put(ctx, stream, payload, rng, gaps):
    """Offers one payload after random gaps and waits until it is taken."""
    while rng.random() < gaps:
        await ctx.tick()
    ctx.set(stream.payload, payload)
    ctx.set(stream.valid, 1)
    await ctx.tick().until(stream.ready)
    ctx.set(stream.valid, 0)


def beats_of(items, lanes, padding):
    """A sample as beats of ``lanes`` items, the last filled up from ``padding``."""
    count = -(-len(items) // lanes)
    filled = [*items, *padding[: count * lanes - len(items)]]
    return [filled[k * lanes : (k + 1) * lanes] for k in range(count)]


def source(port, payloads, seed, gaps):
    """A test bench that streams payloads into a port."""

    async def bench(ctx):
        rng = np.random.default_rng(seed)
        for payload in payloads:
            await put(ctx, port, payload, rng, gaps)

    return bench


def through(unit, payloads, count, *, seed, gaps=0.5, read=None):
    """Streams payloads through ``unit``; gives ``count`` outputs. Checks that payloads hold."""
    got = []
    read = read or (lambda ctx, payload: ctx.get(payload))

    async def sink(ctx):
        rng = np.random.default_rng(seed + 1)
        waiting = None
        while len(got) < count:
            ctx.set(unit.o.ready, int(rng.random() >= gaps))
            valid, ready = ctx.get(unit.o.valid), ctx.get(unit.o.ready)
            now = read(ctx, unit.o.payload) if valid else None
            if waiting is not None:
                assert now == waiting, "the payload changed, or valid fell, while it waited"
            waiting = now if valid and not ready else None
            if valid and ready:
                got.append(now)
            await ctx.tick()

    sim.simulate(unit, [source(unit.i, payloads, seed, gaps), sink])
    return got


def stage(unit, inputs, count, *, seed, gaps=0.5):
    """Streams beats through a stage whose results go into a queue; gives ``count`` results and the
    cycles in which they were reserved and pushed.

    Checks that results are reserved only while there is space, and pushed only once reserved.

    Parameters
    ----------
    inputs : list of pairs
        A port and its payloads.
    """
    got, reserved, pushed = [], [], []
    lanes = len(unit.o.p)

    async def sink(ctx):
        rng = np.random.default_rng(seed)
        cycle = 0
        while len(got) < count:
            space = int(rng.random() >= gaps)
            ctx.set(unit.o.space, space)
            if ctx.get(unit.o.reserve):
                assert space, "reserved without space"
                reserved.append(cycle)
            if ctx.get(unit.o.valid):
                pushed.append(cycle)
                assert len(pushed) <= len(reserved), "pushed without a reservation"
                got.append([ctx.get(unit.o.p[lane]) for lane in range(lanes)])
            await ctx.tick()
            cycle += 1

    benches = [source(port, beats, seed + k, gaps) for k, (port, beats) in enumerate(inputs, 1)]
    sim.simulate(unit, [*benches, sink])
    return got, reserved[:count], pushed
