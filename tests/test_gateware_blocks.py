"""Every block in Amaranth's simulator against its spec's compute(), fed with random integers."""

import gc

import numpy as np
import pytest
import simulation as sim
from amaranth.hdl import Module, Signal, unsigned

from lutgen.gateware.argmax import ArgmaxStage
from lutgen.gateware.distance import DistanceUnit
from lutgen.gateware.encoder import CentroidEncoder
from lutgen.gateware.index_buffer import IndexBuffer
from lutgen.gateware.matcher import AccumulatorTree, LutBank, Requantiser
from lutgen.gateware.memory import Store
from lutgen.gateware.stream import FrameCheck, Register, Regrouper, Skid
from lutgen.gateware.tree import pack_rows
from lutgen.numeric import Format, Grid
from lutgen.spec import BankSpec, DistanceSpec, EncoderSpec, RequantiserSpec, TreeSpec
from lutgen.spec.argmax import ArgmaxSpec
from lutgen.spec.stream import RegrouperSpec


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


def numbers(rng, fmt, shape):
    return rng.integers(fmt.low, fmt.high + 1, shape)


@pytest.mark.parametrize("metric", ["l1", "l2", "chebyshev"])
@pytest.mark.parametrize(("dims", "bits", "signed"), [(1, 2, False), (3, 8, True), (5, 16, False)])
def test_distance_unit(metric, dims, bits, signed):
    rng = np.random.default_rng(dims)
    spec = DistanceSpec(metric, dims, Format(bits, signed))
    pairs = numbers(rng, spec.element, (40, 2, dims))
    pairs[0, 0], pairs[0, 1] = spec.element.low, spec.element.high  # the worst case
    unit = DistanceUnit(spec)

    def drive(ctx, pair):
        ctx.set(unit.x, pair[0].tolist())
        ctx.set(unit.c, pair[1].tolist())

    got = pipeline(unit, drive, lambda ctx: ctx.get(unit.o), pairs, spec.latency, rng)
    assert got == spec.compute(pairs[:, 0], pairs[:, 1]).tolist()


@pytest.mark.parametrize("metric", ["l1", "l2", "chebyshev"])
@pytest.mark.parametrize(
    ("v", "c", "at_once", "dims"),
    [(4, 16, 16, 4), (4, 16, 4, 2), (4, 16, 1, 1), (3, 5, 2, 2), (1, 2, 1, 1), (5, 7, 7, 3)],
)
def test_centroid_encoder(metric, v, c, at_once, dims):
    rng = np.random.default_rng(v * c)
    spec = EncoderSpec(Format(4, bool(v % 2)), v, c, metric, at_once, dims)
    books = numbers(rng, spec.element, (3, c, v))
    x = numbers(rng, spec.element, (12, 3, v))
    rows = pack_rows(spec.rows(books), spec.element.bits)
    unit = CentroidEncoder(spec, len(rows), rows)
    steps = [(i, g, s) for i in range(12) for g in range(3) for s in range(spec.interval)]

    def drive(ctx, step):
        sample, book, turn = step
        ctx.set(unit.x, x[sample, book].tolist())
        ctx.set(unit.row, book * spec.interval + turn)
        ctx.set(unit.dim, turn % spec.dim_steps)
        ctx.set(unit.block_first, turn < spec.dim_steps)

    got = pipeline(unit, drive, lambda ctx: ctx.get(unit.o), steps, spec.latency, rng)
    assert got[spec.interval - 1 :: spec.interval] == spec.compute(x, books).ravel().tolist()


@pytest.mark.parametrize("kind", ["int", "levels"])
def test_lut_bank(kind):
    rng = np.random.default_rng(1)
    values = None if kind == "int" else rng.integers(-999, 1000, 16).astype(np.int16)
    spec = BankSpec(11, 3, Grid(kind, 4, values))
    codes = rng.integers(0, 16, (11, 3))
    unit = LutBank(spec, pack_rows(codes, 4))
    addresses = rng.integers(0, 11, 40)

    def read(ctx):
        return [ctx.get(unit.o[lane]) for lane in range(3)]

    got = pipeline(
        unit, lambda ctx, a: ctx.set(unit.addr, int(a)), read, addresses, spec.latency, rng
    )
    assert got == spec.compute(codes, addresses).tolist()


@pytest.mark.parametrize("inputs", [1, 2, 5, 8])
def test_accumulator_tree(inputs):
    rng = np.random.default_rng(inputs)
    spec = TreeSpec(inputs, Format(6, True), Format(10, True))
    values = numbers(rng, spec.value, (30, inputs))
    values[0], values[1] = spec.value.low, spec.value.high
    unit = AccumulatorTree(spec)
    got = pipeline(
        unit,
        lambda ctx, row: ctx.set(unit.i, row.tolist()),
        lambda ctx: ctx.get(unit.o),
        values,
        spec.latency,
        rng,
    )
    assert got == spec.compute(values).tolist()


@pytest.mark.parametrize("shift", [0, 1, 5, 9, 20])
@pytest.mark.parametrize(
    "output", [None, Format(4, False), Format(4, True), Format(16, False), Format(16, True)]
)
def test_requantiser(shift, output):
    rng = np.random.default_rng(shift)
    spec = RequantiserSpec(Format(10, True), 0 if output is None else shift, output)
    acc = np.concatenate([[-512, 511, -1, 0, 1], numbers(rng, spec.acc, 60)])
    unit = Requantiser(spec)
    got = pipeline(
        unit,
        lambda ctx, a: ctx.set(unit.i, int(a)),
        lambda ctx: ctx.get(unit.o),
        acc,
        spec.latency,
        rng,
    )
    assert got == spec.compute(acc).tolist()


@pytest.mark.filterwarnings("ignore:.*created but never used")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_store_refuses_contents_that_do_not_fit():
    with pytest.raises(ValueError, match=r"^Contents must have 3 rows, not 2$"):
        Store(3, 4, [1, 2])
    with pytest.raises(ValueError, match=r"^Contents must be rows of 4 bits$"):
        Store(2, 4, [1, 16])
    gc.collect()  # Amaranth warns of components that nobody elaborates; these never came to be


@pytest.mark.parametrize("depth", [1, 6])
def test_store_can_be_loaded(depth):
    unit = Store(depth, 8, None)
    got = []

    async def bench(ctx):
        for row in range(depth):
            ctx.set(unit.load.en, 1)
            ctx.set(unit.load.addr, row)
            ctx.set(unit.load.data, 100 + row)
            await ctx.tick()
        ctx.set(unit.load.en, 0)
        ctx.set(unit.en, 1)
        for row in range(depth):
            ctx.set(unit.addr, row)
            await ctx.tick()
            got.append(ctx.get(unit.data))

    sim.simulate(unit, [bench])
    assert got == [100 + row for row in range(depth)]


async def put(ctx, stream, payload, rng, gaps):
    """Offers one payload after random gaps and waits until it is taken."""
    while rng.random() < gaps:
        await ctx.tick()
    ctx.set(stream.payload, payload)
    ctx.set(stream.valid, 1)
    await ctx.tick().until(stream.ready)
    ctx.set(stream.valid, 0)


def through(unit, payloads, count, *, seed, gaps=0.5, read=None):
    """Streams payloads through ``unit``; gives ``count`` outputs. Checks that payloads hold."""
    got = []
    read = read or (lambda ctx, payload: ctx.get(payload))

    async def source(ctx):
        rng = np.random.default_rng(seed)
        for payload in payloads:
            await put(ctx, unit.i, payload, rng, gaps)

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

    sim.simulate(unit, [source, sink])
    return got


@pytest.mark.parametrize("part", [Skid, Register])
@pytest.mark.parametrize("gaps", [0.0, 0.5])
def test_buffers_keep_every_word(part, gaps):
    words = list(range(1, 120))
    assert through(part(unsigned(8)), words, len(words), seed=3, gaps=gaps) == words


def beats_of(items, lanes, padding):
    """A sample as payloads of `beat`."""
    count = -(-len(items) // lanes)
    filled = [*items, *padding[: count * lanes - len(items)]]
    return [
        {
            "data": filled[k * lanes : (k + 1) * lanes],
            "last": int(k == count - 1),
            "drop": 0,
        }
        for k in range(count)
    ]


@pytest.mark.parametrize("hold", [1, 3])
@pytest.mark.parametrize(
    ("items", "i_items", "o_items"),
    [
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
    ],
)
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
        (beat["data"], beat["last"])
        for sample in samples
        for beat in beats_of(sample, o_items, [0] * 16)
    ]
    assert got == want


@pytest.mark.parametrize(("elements", "lanes"), [(1, 1), (7, 1), (7, 3), (8, 8), (5, 6)])
def test_argmax_stage(elements, lanes):
    rng = np.random.default_rng(elements)
    spec = ArgmaxSpec(elements, Format(4, True), lanes)
    samples = rng.integers(-2, 2, (12, elements))  # few values: ties
    samples[0] = -8
    unit = ArgmaxStage(spec)
    payloads = [b for s in samples.tolist() for b in beats_of(s, lanes, [7] * 8)]
    got = through(unit, payloads, 12, seed=1, read=lambda ctx, p: ctx.get(p.data[0]))
    assert got == spec.compute(samples).ravel().tolist()


def test_frame_check():
    """Condemns what is too short or too long, and lets the rest through."""
    unit = FrameCheck(unsigned(8), 1, 3)
    frames = [[1, 2, 3], [4], [5, 6, 7], [8, 9], [10, 11, 12, 13, 14], [15, 16, 17]]
    payloads = [
        {"data": [x], "last": int(k == len(f) - 1), "drop": 0}
        for f in frames
        for k, x in enumerate(f)
    ]
    want = [
        (1, 0, 0), (2, 0, 0), (3, 1, 0), (4, 1, 1), (5, 0, 0), (6, 0, 0), (7, 1, 0), (8, 0, 0),
        (9, 1, 1), (10, 0, 0), (11, 0, 0), (12, 1, 1), (15, 0, 0), (16, 0, 0), (17, 1, 0),
    ]  # fmt: skip

    def read(ctx, p):
        return ctx.get(p.data[0]), ctx.get(p.last), ctx.get(p.drop)

    assert through(unit, payloads, len(want), seed=2, read=read) == want


def small_layer(**fold):
    rng = np.random.default_rng(0)
    wire = sim.Activation(4, False, 1.0)
    layer = sim.random_layer(
        rng, "fc", "input", wire, 10, 6, None, metric="l1", subvec=2, centroids=4
    )
    return layer, layer.spec(wire.format, **fold)


def test_index_buffer_drops_condemned_samples():
    _, spec = small_layer(lanes=2, fan_in=2)
    unit = IndexBuffer(spec)
    groups, got = spec.groups, []
    assert (spec.groups, spec.tiles) == (3, 3)

    async def source(ctx):
        rng = np.random.default_rng(4)
        for sample, (length, drop) in enumerate([(groups, 0), (2, 1), (groups, 1), (groups, 0)]):
            for g in range(length):
                entry = {
                    "indices": sample * 4 + g,
                    "last": int(g == length - 1),
                    "drop": int(drop and g == length - 1),
                }
                await put(ctx, unit.i, entry, rng, 0.4)

    async def sink(ctx):
        rng = np.random.default_rng(5)
        while len(got) < 2 * spec.lookups:
            enabled = int(rng.random() < 0.6)
            ctx.set(unit.en, enabled)
            if enabled and ctx.get(unit.valid):
                got.append((ctx.get(unit.indices), ctx.get(unit.o.base), ctx.get(unit.o.tile)))
            await ctx.tick()

    sim.simulate(unit, [source, sink])
    assert got == [
        (sample * 4 + g, (tile * groups + g) * 4, tile)
        for sample in (0, 3)
        for tile in range(spec.tiles)
        for g in range(groups)
    ]


def test_a_signal_outside_the_core_is_counted():
    """The cycle counter of the helpers counts edges, or every timing test would be worthless."""
    top = Module()
    count = Signal(8)
    top.d.sync += count.eq(count + 1)
    seen = []

    async def bench(ctx):
        for _ in range(3):
            await ctx.tick()
            seen.append(ctx.get(count))

    sim.simulate(top, [bench])
    assert seen == [1, 2, 3]
