"""Line buffers, what reads windows from them, and pools, in Amaranth's simulator."""

import numpy as np
import pytest
import simulation as sim
from amaranth.hdl import Cat
from streams import beats_of, numbers, stage

from lutgen.formal.ring import first_and_last
from lutgen.gateware.conv import WindowFeeder
from lutgen.gateware.pool import PoolStage
from lutgen.gateware.ring import LineBuffer
from lutgen.numeric import Format
from lutgen.spec.conv import FeederSpec
from lutgen.spec.pool import AvgPool2dSpec, MaxPool2dSpec
from lutgen.spec.ring import RingSpec, WalkSpec
from lutgen.spec.window import WindowSpec


def random_window(rng, *, pad=True):
    """A small window, image and padding."""
    while True:
        kernel = tuple(int(k) for k in rng.integers(1, 4, 2))
        edges = [int(rng.integers(0, k)) if pad else 0 for k in (*kernel, *kernel)]
        height, width = (int(n) for n in rng.integers(1, 7, 2))
        stride = tuple(int(s) for s in rng.integers(1, 4, 2))
        try:
            return WindowSpec(height, width, kernel, stride, tuple(edges))
        except ValueError:  # the kernel does not fit
            continue


def walked(walk, image):
    """What is read of an image ``[pixel, word]``: for every window, in order, the word of each
    read, and None outside the image.
    """
    window, words = walk.ring.window, walk.ring.words
    top, left, _, _ = window.pad
    for row in range(window.rows):
        for column in range(window.columns):
            reads = []
            for outer in range(walk.outer):
                for y in range(window.kernel[0]):
                    for x in range(window.kernel[1]):
                        at_y = row * window.stride[0] - top + y
                        at_x = column * window.stride[1] - left + x
                        inside = 0 <= at_y < window.height and 0 <= at_x < window.width
                        for word in [outer] if walk.apart else range(words):
                            pixel = at_y * window.width + at_x
                            reads.append(int(image[pixel, word]) if inside else None)
            yield reads


@pytest.mark.parametrize("seed", range(24))
def test_line_buffer(seed):
    """Data against golden windows; space and readiness, cycle by cycle, against the definition."""
    rng = np.random.default_rng(seed)
    window = random_window(rng)
    words = int(rng.integers(1, 4))
    least, ample = RingSpec.least_rows(window), RingSpec.ample_rows(window)
    ring = RingSpec(window, words, int(rng.integers(least, ample + 1)))
    apart = bool(rng.random() < 0.5)
    walk = WalkSpec(ring, words if apart else int(rng.integers(1, 4)), apart)
    unit = LineBuffer(walk, 8)
    images = rng.integers(0, 256, (3, ring.pixels, words))
    want = [reads for image in images for reads in walked(walk, image)]
    pairs = first_and_last(window)
    assert ring.needs.tolist() == [last for _, last in pairs]
    stream = images.reshape(-1).tolist()
    got = []

    async def bench(ctx):
        begun = written = number = at = 0
        freed = 0  # one cycle late
        asked = False
        patience = 0
        while len(got) < len(want) * walk.reads:
            image, here = divmod(number, window.count)
            need = image * ring.pixels + pairs[here][1]
            assert ctx.get(unit.ready) == (written // words > need)
            assert ctx.get(unit.space) == (begun - freed < ring.capacity)
            first = image * ring.pixels + int(ring.frees[here])
            needed = image * ring.pixels + min(f for f, _ in pairs[here:])
            assert begun <= needed + ring.capacity, "a pixel that is needed would be overwritten"
            if asked:
                data = None if ctx.get(unit.outside) else ctx.get(unit.data)
                got.append(data)
            # A pixel's words come after its reservation, at the earliest in the same cycle.
            reserve = bool(
                ctx.get(unit.space) and begun * words < len(stream) and rng.random() < 0.6
            )
            begun += reserve
            write = written < begun * words and rng.random() < 0.7
            step = ctx.get(unit.ready) and number < len(want) and rng.random() < 0.7
            ctx.set(unit.reserve, reserve)
            ctx.set(unit.write, bool(write))
            ctx.set(unit.word, stream[written] if write else 0)
            ctx.set(unit.step, bool(step))
            written += bool(write)
            freed, asked = first, step
            if step:
                at += 1
                assert ctx.get(unit.ends) == (at == walk.reads)
                assert ctx.get(unit.turn_ends) == (at % walk.turn == 0)
                assert ctx.get(unit.pixel_ends) == (at % walk.inner == 0)
                if at == walk.reads:
                    at, number = 0, number + 1
            patience = 0 if reserve or write or step else patience + 1
            assert patience < 100, "nobody gets on"
            await ctx.tick()

    sim.simulate(unit, [bench])
    flat = [value for reads in want for value in reads]
    assert got == flat


FEEDERS = [
    # area, channels, word, order, per element, group, steps
    (9, 4, 4, "hwc", 1, 2, 1),
    (9, 4, 2, "hwc", 1, 4, 3),
    (9, 3, 1, "hwc", 1, 5, 2),
    (4, 6, 3, "hwc", 1, 3, 1),
    (1, 8, 4, "hwc", 2, 4, 2),
    (9, 2, 2, "chw", 1, 4, 3),
    (9, 4, 2, "chw", 1, 6, 1),
    (4, 3, 1, "chw", 2, 4, 2),
    (6, 1, 1, "chw", 1, 6, 1),
]


@pytest.mark.parametrize("shape", FEEDERS)
def test_window_feeder(shape):
    """Groups in order, filled up with zeros, on the schedule that the spec states."""
    spec = FeederSpec(*shape)
    rng = np.random.default_rng(spec.area)
    count = 5
    bits = 4  # of an item
    values = rng.integers(1, 1 << bits, (count, spec.area, spec.channels, spec.per_element))
    outside = rng.random((count, spec.area)) < 0.2
    want = []
    for image, gone in zip(values, outside, strict=True):
        shown = np.where(gone[:, None, None], 0, image)
        flat = (shown.transpose(1, 0, 2) if spec.order == "chw" else shown).ravel().tolist()
        want += beats_of(flat, spec.group, [0] * spec.group)
    per_window = len(want) // count
    reads = [
        (window, pixel, word)
        for window in range(count)
        for outer in range(spec.words if spec.spatial else 1)
        for pixel in range(spec.area)
        for word in ([outer] if spec.spatial else range(spec.words))
    ]
    word_bits = spec.items * bits
    unit = WindowFeeder(spec, word_bits, lambda m, word: Cat(word), bits)
    got, begins, steps, ends = [], [], [], []

    async def bench(ctx):
        cycle = turn = 0
        ctx.set(unit.begin, 1)
        while len(ends) < count:
            if len(steps) == len(reads):
                ctx.set(unit.begin, 0)
            valid = ctx.get(unit.valid)
            ctx.set(unit.next, int(valid and turn == spec.steps - 1))
            if ctx.get(unit.begins):
                begins.append(cycle)
            step = ctx.get(unit.step)
            if step:
                steps.append(cycle)
            if valid:
                turn += 1
                if turn == spec.steps:
                    turn = 0
                    raw = ctx.get(unit.items)
                    got.append([raw >> bits * k & 15 for k in range(spec.group)])
                    if ctx.get(unit.last):
                        ends.append(cycle)
            await ctx.tick()
            if step:
                window, pixel, word = reads[len(steps) - 1]
                channels = values[window, pixel, word * spec.word : (word + 1) * spec.word]
                packed = sum(int(v) << bits * k for k, v in enumerate(channels.ravel()))
                ctx.set(unit.word, packed)
                ctx.set(unit.outside, int(outside[window, pixel]))
            cycle += 1

    sim.simulate(unit, [bench])
    # A window's last block may end in groups of nothing; they are not asked for.
    assert len(got) == count * per_window
    assert got == want
    assert np.diff(begins).tolist() == [spec.interval] * (count - 1)
    per = spec.area * spec.words
    assert [last - first for first, last in zip(begins, steps[per - 1 :: per], strict=True)] == [
        spec.read_latency
    ] * count
    assert [last - first for first, last in zip(begins, ends, strict=True)] == [
        spec.latency
    ] * count


@pytest.mark.parametrize("seed", range(8))
def test_pool_stage(seed):
    rng = np.random.default_rng(seed)
    window = random_window(rng, pad=False)
    lanes = int(rng.integers(1, 4))
    channels = lanes * int(rng.integers(1, 3))
    rows = int(rng.integers(RingSpec.least_rows(window), RingSpec.ample_rows(window) + 1))
    fold = {"channels": channels, "lanes": lanes, "line_rows": rows}
    element = Format(int(rng.integers(2, 9)), bool(rng.random() < 0.5))
    if seed % 2:
        spec = MaxPool2dSpec(window, element, **fold)
    else:
        factor, shift = int(rng.integers(1, 1 << 16)), int(rng.integers(0, 20))
        spec = AvgPool2dSpec(window, element, factor, shift, Format(6, True), **fold)
    images = numbers(rng, element, (2, window.height, window.width, channels))
    i_lanes = int(rng.integers(1, channels + 1))
    unit = PoolStage(spec, i_lanes)
    payloads = [beat for x in images for beat in beats_of(x.ravel().tolist(), i_lanes, [0] * 8)]
    want = spec.compute(images).reshape(-1, lanes)
    got, reserved, pushed = stage(unit, [(unit.i, payloads)], len(want), seed=seed, gaps=0.3)
    assert got == want.tolist()
    assert {b - a for a, b in zip(reserved, pushed, strict=True)} == {spec.latency}
