"""Every block of arithmetic and memory in Amaranth's simulator against its spec's compute(), fed
with random integers.
"""

import gc

import numpy as np
import pytest
import simulation as sim
from amaranth.hdl import Module, Signal
from streams import numbers, pipeline

from lutgen.gateware.distance import DistanceUnit
from lutgen.gateware.encoder import CentroidEncoder
from lutgen.gateware.matcher import AccumulatorTree, LutBank, Requantiser
from lutgen.gateware.memory import Store
from lutgen.gateware.tree import pack_rows
from lutgen.numeric import Format, Grid
from lutgen.spec import BankSpec, DistanceSpec, EncoderSpec, RequantiserSpec, TreeSpec


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
        ctx.set(unit.valid, 1)
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

    def drive(ctx, address):
        ctx.set(unit.valid, 1)
        ctx.set(unit.addr, int(address))

    got = pipeline(unit, drive, read, addresses, spec.latency, rng)
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
