"""Queues, regroupers and the stages that work beat by beat, in Amaranth's simulator."""

from collections import deque

import numpy as np
import pytest
import simulation as sim
from amaranth.hdl import unsigned
from amaranth.lib import data
from streams import beats_of, numbers, stage, through

from lutgen.gateware.argmax import ArgmaxStage
from lutgen.gateware.fifo import Fifo
from lutgen.gateware.index_buffer import IndexBuffer
from lutgen.gateware.pointwise import AddStage, MapStage, RegroupStage
from lutgen.gateware.stream import Register, Regrouper
from lutgen.numeric import Format
from lutgen.spec.argmax import ArgmaxSpec
from lutgen.spec.fifo import FifoSpec
from lutgen.spec.pointwise import AddSpec, MapSpec
from lutgen.spec.stream import RegrouperSpec

SHAPES = [
    (1, 1, 1),
    (3, 3, 8),
    (3, 5, 2),
    (7, 1, 4),
    (7, 4, 1),
    (8, 4, 4),
    (10, 3, 4),
    (9, 6, 4),
    (5, 2, 8),
    (12, 4, 6),
]


@pytest.mark.parametrize("depth", range(1, 13))
def test_fifo(depth):
    """Cycle by cycle as a queue in Python: what is pushed in one cycle is offered in the next, and
    the space of what is popped is there in the next.
    """
    rng = np.random.default_rng(depth)
    fifo = Fifo(FifoSpec(8, depth), data.ArrayLayout(8, 1))
    model, pending, passed = deque(), 0, 0

    async def bench(ctx):
        nonlocal pending, passed
        chances = np.ones(3)
        for cycle in range(600):
            if cycle % 40 == 0:  # times of plenty and of want, on either side
                chances = rng.choice([0.1, 0.5, 1.0], 3)
            assert ctx.get(fifo.i.space) == (len(model) + pending < depth)
            assert ctx.get(fifo.o.valid) == bool(model)
            if model:
                assert ctx.get(fifo.o.p[0]) == model[0]
            wishes = rng.random(3) < chances
            reserve = bool(wishes[0] and len(model) + pending < depth)
            push = bool(wishes[1] and pending + reserve)
            value = int(rng.integers(256))
            ctx.set(fifo.i.reserve, reserve)
            ctx.set(fifo.i.valid, push)
            ctx.set(fifo.i.p, [value])
            ctx.set(fifo.o.ready, int(wishes[2]))
            pending += reserve - push
            if wishes[2] and model:
                model.popleft()
                passed += 1
            if push:
                model.append(value)
            await ctx.tick()

    sim.simulate(fifo, [bench])
    assert passed > 50


@pytest.mark.parametrize("gaps", [0.0, 0.5])
def test_register_keeps_every_word(gaps):
    words = list(range(1, 120))
    assert through(Register(unsigned(8)), words, len(words), seed=3, gaps=gaps) == words


@pytest.mark.parametrize("hold", [1, 3])
@pytest.mark.parametrize(("items", "i_items", "o_items"), SHAPES)
def test_regrouper(items, i_items, o_items, hold):
    rng = np.random.default_rng(items)
    spec = RegrouperSpec(items, i_items, o_items, hold)
    unit = Regrouper(spec, 8)
    samples = rng.integers(1, 256, (6, items)).tolist()
    junk = [255] * 16  # lanes past the last element are ignored

    def read(ctx, payload):
        return [ctx.get(payload.data[k]) for k in range(o_items)], ctx.get(payload.last)

    payloads = [beat for sample in samples for beat in beats_of(sample, i_items, junk)]
    got = through(unit, payloads, 6 * spec.groups, seed=items, read=read)
    want = [
        (beat, int(number == spec.groups - 1))
        for sample in samples
        for number, beat in enumerate(beats_of(sample, o_items, [0] * 16))
    ]
    assert got == want


@pytest.mark.parametrize(("items", "i_items", "o_items"), SHAPES)
def test_regroup_stage(items, i_items, o_items):
    rng = np.random.default_rng(items)
    spec = RegrouperSpec(items, i_items, o_items)
    fmt = Format(5, True)
    samples = numbers(rng, fmt, (5, items)).tolist()
    unit = RegroupStage(spec, fmt)
    payloads = [beat for s in samples for beat in beats_of(s, i_items, [-1] * 16)]
    got, reserved, pushed = stage(unit, [(unit.i, payloads)], 5 * spec.groups, seed=1)
    assert got == [beat for s in samples for beat in beats_of(s, o_items, [0] * 16)]
    assert reserved == pushed


@pytest.mark.parametrize(("elements", "lanes"), [(1, 1), (7, 1), (7, 3), (8, 8), (5, 6)])
def test_argmax_stage(elements, lanes):
    rng = np.random.default_rng(elements)
    spec = ArgmaxSpec(elements, Format(4, True), lanes)
    samples = rng.integers(-2, 2, (12, elements))  # few values: ties
    samples[0] = -8
    unit = ArgmaxStage(spec)
    payloads = [b for s in samples.tolist() for b in beats_of(s, lanes, [7] * 8)]
    got, reserved, pushed = stage(unit, [(unit.i, payloads)], 12, seed=1)
    assert got == spec.compute(samples).tolist()
    assert {b - a for a, b in zip(reserved, pushed, strict=True)} == {spec.latency}


@pytest.mark.parametrize("gaps", [0.0, 0.5])
@pytest.mark.parametrize(
    ("inputs", "lanes", "shift", "output"),
    [
        ([(8, True, 0), (8, True, 0)], 1, 0, Format(8, True)),
        ([(4, False, 3), (9, True, 0)], 3, 4, Format(6, False)),
        ([(2, True, 1), (3, False, 0), (16, True, 2)], 2, 9, Format(12, True)),
    ],
)
def test_add_stage(inputs, lanes, shift, output, gaps):
    rng = np.random.default_rng(lanes)
    formats = tuple(Format(bits, signed) for bits, signed, _ in inputs)
    spec = AddSpec(formats, tuple(left for _, _, left in inputs), shift, output)
    xs = [numbers(rng, fmt, (40, lanes)) for fmt in formats]
    for x, fmt in zip(xs, formats, strict=True):
        x[0], x[1] = fmt.low, fmt.high
    unit = AddStage(spec, lanes)
    ports = [(getattr(unit, f"i_{k}"), x.tolist()) for k, x in enumerate(xs)]
    got, reserved, pushed = stage(unit, ports, 40, seed=lanes, gaps=gaps)
    assert got == spec.compute(xs).tolist()
    assert {b - a for a, b in zip(reserved, pushed, strict=True)} == {spec.latency}
    assert gaps or pushed[-1] - pushed[0] == 39


@pytest.mark.parametrize(
    ("element", "output", "lanes"),
    [
        (Format(3, True), Format(4, False), 1),
        (Format(5, False), Format(7, True), 3),
        (Format(2, True), Format(2, True), 2),
    ],
)
def test_map_stage(element, output, lanes):
    rng = np.random.default_rng(lanes)
    spec = MapSpec(element, output)
    table = numbers(rng, output, spec.depth)
    x = numbers(rng, element, (30, lanes))
    mask = (1 << output.bits) - 1
    unit = MapStage(spec, lanes, [int(y) & mask for y in table])
    got, reserved, pushed = stage(unit, [(unit.i, x.tolist())], 30, seed=2)
    assert got == spec.compute(x, table).tolist()
    assert {b - a for a, b in zip(reserved, pushed, strict=True)} == {spec.latency}


def test_index_buffer():
    """Every row once for each tile, in order, whatever the writer and the space for results do."""
    rng = np.random.default_rng(0)
    wire = sim.Activation(4, False, 1.0)
    layer = sim.random_layer(
        rng, "fc", "input", wire, 10, 6, None, metric="l1", subvec=2, centroids=4
    )
    spec = layer.spec(wire.format, lanes=2, fan_in=2)
    unit = IndexBuffer(spec)
    groups = spec.groups
    assert (groups, spec.tiles) == (3, 3)
    rows = rng.integers(0, 1 << unit.width, (12, groups)).tolist()
    got, results = [], 0

    async def bench(ctx):
        nonlocal results
        begun, written, group = 0, 0, 0
        while len(got) < len(rows) * spec.lookups:
            reserve = bool(begun < len(rows) and ctx.get(unit.space) and rng.random() < 0.5)
            begun += reserve
            write = written < begun and rng.random() < 0.6
            ctx.set(unit.reserve, reserve)
            ctx.set(unit.write, bool(write))
            ctx.set(unit.group, rows[written][group] if write else 0)
            ctx.set(unit.last, int(group == groups - 1))
            space = int(rng.random() < 0.5)
            ctx.set(unit.o_space, space)
            if write:
                group = (group + 1) % groups
                written += group == 0
            if ctx.get(unit.o_reserve):
                assert space
                results += 1
            if ctx.get(unit.valid):
                got.append((ctx.get(unit.indices), ctx.get(unit.o.base), ctx.get(unit.o.tile)))
            await ctx.tick()

    sim.simulate(unit, [bench])
    assert results == len(rows) * spec.tiles
    assert got == [
        (row[g], (tile * groups + g) * 4, tile)
        for row in rows
        for tile in range(spec.tiles)
        for g in range(groups)
    ]
