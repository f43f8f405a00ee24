"""The control of two halves in Amaranth's simulator, cycle by cycle as a model in Python."""

import gc

import numpy as np
import pytest
import simulation as sim
from amaranth.hdl import ResetInserter, Signal

from lutgen.gateware.pingpong import PingPong
from lutgen.gateware.verilog import convert

OUTPUTS = ("space", "fill", "full", "use")


class Halves:
    """What is known of either half: the cycle from which on it is free, and whether it is full."""

    def __init__(self, drain):
        self.drain = drain
        self.free_from, self.full = [0, 0], [False, False]
        self.fill = self.use = 0

    def outputs(self, cycle):
        space = not self.full[self.fill] and self.free_from[self.fill] <= cycle
        return (int(space), self.fill, int(self.full[self.use]), self.use)

    def step(self, cycle, filled, release):
        if release:
            self.full[self.use] = False
            self.free_from[self.use] = cycle + self.drain + 1
            self.use ^= 1
        if filled:
            self.full[self.fill] = True
            self.fill ^= 1


@pytest.mark.parametrize("drain", [0, 1, 2, 5])
def test_both_halves(drain):
    """At any pace of either side, and cleared now and then."""
    rng = np.random.default_rng(drain)
    control, clear = PingPong(drain), Signal()
    uses = 0

    async def bench(ctx):
        nonlocal uses
        halves = Halves(drain)
        for cycle in range(1500):
            if cycle % 50 == 0:
                chances = rng.choice([0.1, 0.5, 1.0], 2)
            outputs = tuple(ctx.get(getattr(control, name)) for name in OUTPUTS)
            assert outputs == halves.outputs(cycle), f"cycle {cycle}"
            wishes = rng.random(2) < chances
            filled, release = bool(wishes[0] and outputs[0]), bool(wishes[1] and outputs[2])
            cleared = rng.random() < 0.01
            ctx.set(control.filled, filled)
            ctx.set(control.release, release)
            ctx.set(clear, int(cleared))
            halves.step(cycle, filled, release)
            if cleared:
                halves = Halves(drain)
            uses += release
            await ctx.tick()

    sim.simulate(ResetInserter(clear)(control), [bench])
    assert uses > 100


def test_back_to_back():
    """With both halves full, the other one is offered in the cycle after a release."""
    control = PingPong()
    seen = []

    async def bench(ctx):
        ctx.set(control.filled, 1)
        await ctx.tick().repeat(2)
        ctx.set(control.filled, 0)
        for _ in range(3):
            seen.append((ctx.get(control.full), ctx.get(control.use)))
            ctx.set(control.release, ctx.get(control.full))
            await ctx.tick()

    sim.simulate(control, [bench])
    assert seen == [(1, 0), (1, 1), (0, 0)]


def test_verilog():
    assert "module halves" in convert(PingPong(3), "halves")


@pytest.mark.filterwarnings("ignore:.*created but never used")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_drain_is_checked():
    with pytest.raises(ValueError, match=r"^Drain must be a non-negative integer, not -1$"):
        PingPong(-1)
    gc.collect()  # Amaranth warns of components that nobody elaborates; this one never came to be
