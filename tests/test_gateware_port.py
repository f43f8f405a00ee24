"""A core's ends in Amaranth's simulator: frames of any length in, results of good ones out."""

import numpy as np
import pytest
import simulation as sim
from amaranth.lib import data
from streams import put

from lutgen.formal.port import Ports
from lutgen.gateware.port import FrameCheck, Gate
from lutgen.model import MaxPool2d, Model
from lutgen.model.plan import plan


def random_frames(rng, beats):
    """Frames of all kinds, numbered beats, and which of them are whole."""
    lengths = [beats, 1, beats + 1, beats, 2 * beats, 2 * beats + 1, beats]
    lengths += [int(n) for n in rng.integers(1, 2 * beats + 2, 12)] + [beats]
    frames, number = [], 0
    for length in lengths:
        frames.append([number + k & 255 for k in range(length)])
        number += length
    return frames


@pytest.mark.parametrize("gaps", [0.0, 0.4])
@pytest.mark.parametrize(
    ("beats", "samples", "pace"), [(1, 1, 0), (1, 3, 4), (2, 2, 0), (3, 2, 0), (3, 4, 7)]
)
def test_frames_and_verdicts(beats, samples, pace, gaps):
    """Early, late and doubly late frames; the stages between are a delay of any length."""
    rng = np.random.default_rng(beats + samples)
    frames = random_frames(rng, beats)
    layout = data.ArrayLayout(8, 1)
    check, gate = FrameCheck(layout, beats, pace), Gate(layout, 1, samples)
    got, began, through, waiting = [], [], [], []

    unit = Ports(check, gate)
    good = [frame for frame in frames if len(frame) == beats]

    async def source(ctx):
        ctx.set(unit.open, 1)
        send = np.random.default_rng(1)
        for frame in frames:
            for k, x in enumerate(frame):
                beat = {"data": [x], "last": int(k == len(frame) - 1)}
                await put(ctx, unit.i, beat, send, gaps)

    async def stages(ctx):
        """Whole samples in, a result each, the sum of its beats."""
        cycle, sample = 0, []
        while len(got) < len(good):
            if not ctx.get(unit.r.valid) and waiting and rng.random() >= gaps:
                ctx.set(unit.r.p, [waiting[0]])
                ctx.set(unit.r.valid, 1)
            ctx.set(unit.result.ready, int(rng.random() >= gaps))
            ctx.set(unit.o.space, int(rng.random() >= gaps))
            taken = ctx.get(unit.r.valid) and ctx.get(unit.r.ready)
            if ctx.get(unit.result.valid) and ctx.get(unit.result.ready):
                assert ctx.get(unit.result.p.last)
                got.append(ctx.get(unit.result.p.data[0]))
            if ctx.get(unit.o.valid):
                assert ctx.get(unit.o.reserve)
                assert ctx.get(unit.o.space)
                if not sample:
                    began.append(cycle)
                sample.append(ctx.get(unit.o.p[0]))
            assert len(began) - len(through) <= samples
            await ctx.tick()
            if taken:
                ctx.set(unit.r.valid, 0)
                through.append(waiting.pop(0))
            if len(sample) == beats:
                waiting.append(sum(sample) & 255)
                sample.clear()
            cycle += 1

    async def check_error(ctx):
        await ctx.tick().repeat(2)
        assert not ctx.get(check.error)

    sim.simulate(unit, [source, stages, check_error])
    assert got == [sum(frame) & 255 for frame in good]
    assert len(began) == len(frames)  # broken ones went through as well, and were dropped
    assert not pace or np.diff(began).min() >= pace


def test_a_broken_frame_is_told():
    unit = FrameCheck(data.ArrayLayout(8, 1), 2)
    errors = []

    async def bench(ctx):
        for signal in (unit.o.space, unit.room, unit.open):
            ctx.set(signal, 1)
        for length in (2, 2, 1, 2):
            for k in range(length):
                beat = {"data": [0], "last": int(k == length - 1)}
                await put(ctx, unit.i, beat, np.random.default_rng(0), 0.0)
            errors.append(ctx.get(unit.error))

    sim.simulate(unit, [bench])
    assert errors == [0, 0, 1, 1]


@pytest.mark.parametrize("lanes", [1, 4])
def test_results_that_come_before_their_verdict(lanes):
    """Their queue holds them until the sample's last beat is in, which must still find its way."""
    rng = np.random.default_rng(lanes)
    wire = sim.Activation(4, False, 1.0)
    pool = MaxPool2d(name="pool", inputs=("input",), kernel=(2, 2), stride=(2, 2))
    model = Model("pool_net", (6, 6, 1), wire, (pool,))
    spec = plan(model, input_lanes=lanes)
    inputs = sim.random_inputs(rng, model, 6)
    want = model.run(inputs)["pool"].reshape(6, -1).tolist()
    frames = sim.good_frames(spec, inputs)
    broken = [[*frames[0][:-1], (0, False), (0, True)], [(0, True)]]
    core = sim.network_core(model, spec)
    run = sim.run_core(core, broken + frames, gaps=0.5, rng=rng, results=6)
    assert (run.outputs, run.frame_error) == (want, True)
    run = sim.run_core(sim.network_core(model, spec), frames, rng=rng, results=6)
    assert run.outputs == want
    assert run.ended[0] - run.began[0] == spec.timing.latency
    assert run.ended[-1] - run.ended[-2] == spec.timing.interval
