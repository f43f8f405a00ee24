"""Helpers of the hardware tests: random networks, and Amaranth's simulator around a core."""

import warnings
from dataclasses import dataclass, field

import numpy as np
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator

from lutgen.gateware.image import contents_of
from lutgen.gateware.network import NetworkCore
from lutgen.model import Activation, Argmax, Flatten, LutLinear, Model
from lutgen.model.plan import Fold
from lutgen.numeric import Grid, ceil_div
from lutgen.spec.encoder import DigitSpec

METRICS = ("l1", "l2", "chebyshev", "digit")


def random_layer(rng, name, source, wire, features, outputs, output, *, metric=None, **choices):
    """A lookup layer with random contents behind ``features`` inputs of activation ``wire``."""
    metric = metric or rng.choice(METRICS)
    if metric == "digit":
        v, c = 1, 2 ** int(rng.integers(1, 5))
        g = features * DigitSpec(wire.format, c).digits
        table_bits = int(rng.integers(2, 17))
    else:
        v = choices.get("subvec") or int(rng.integers(1, min(features, 5) + 1))
        c = choices.get("centroids") or int(rng.integers(2, 18 if rng.random() < 0.3 else 8))
        g = ceil_div(features, v)
        table_bits = int(rng.integers(2, 9))
    grid = Grid("int", table_bits)
    if rng.random() < 0.15 and table_bits <= 6:
        grid = Grid("levels", table_bits, rng.integers(-300, 300, 1 << table_bits).astype(np.int16))
    books = None
    if metric != "digit":
        fmt = wire.format
        books = rng.integers(fmt.low, fmt.high + 1, (g, c, v))
        if rng.random() < 0.3:  # close centroids make ties
            books = np.clip(books, 0, 1)
        spare = g * v - features
        if spare:
            books[-1, :, v - spare :] = 0
    reach = grid.codes * g
    return LutLinear(
        name=name,
        inputs=(source,),
        in_features=features,
        out_features=outputs,
        subvec=v,
        centroids=c,
        metric=str(metric),
        grid=grid,
        shift=int(rng.integers(0, 8)) if output else 0,
        output=output,
        table=rng.integers(0, grid.codes, (g, c, outputs)),
        bias=rng.integers(-reach, reach + 1, outputs),
        codebooks=books,
    )


def random_activation(rng):
    """A wire of 2 to 16 bits."""
    return Activation(int(rng.integers(2, 17)), bool(rng.random() < 0.5), 1.0)


def random_model(rng, *, layers=None, features=None, metric=None):
    """A network of one to three lookup layers, sometimes with ``flatten`` and ``argmax``."""
    wire = source = None
    shape = (features or int(rng.integers(1, 15)),)
    if rng.random() < 0.3 and features is None:
        shape = (int(rng.integers(1, 5)), int(rng.integers(1, 4)), int(rng.integers(1, 3)))
    first = wire = random_activation(rng)
    source, size = "input", int(np.prod(shape))
    nodes = []
    if rng.random() < 0.3:
        nodes.append(Flatten(name="flat", inputs=(source,)))
        source = "flat"
    count = layers or int(rng.integers(1, 4))
    for number in range(count):
        outputs = int(rng.integers(1, 11))
        final = number == count - 1
        output = None if final and rng.random() < 0.7 else random_activation(rng)
        nodes.append(
            random_layer(rng, f"fc{number}", source, wire, size, outputs, output, metric=metric)
        )
        source, size, wire = f"fc{number}", outputs, output
    if rng.random() < 0.3:
        nodes.append(Argmax(name="top", inputs=(source,)))
    return Model("random_net", shape, first, tuple(nodes))


def random_fold(rng):
    """Wishes for one stage: anything from in turn to all at once."""

    def pick(high):
        return None if rng.random() < 0.2 else int(rng.integers(1, high))

    # Simulators take their time to compile wide encoders; a few are enough.
    return Fold(pick(10), pick(4), pick(18 if rng.random() < 0.2 else 4), pick(6))


def random_inputs(rng, model, samples):
    """Input integers over the whole format ``[sample, element]``."""
    fmt = model.input.format
    return rng.integers(fmt.low, fmt.high + 1, (samples, int(np.prod(model.shape))))


def memories(model, spec):
    """Contents of a core's stages."""
    return contents_of(spec, model)


@dataclass
class Run:
    """What came out of a core, and the cycles in which samples began and results ended."""

    outputs: list = field(default_factory=list)
    began: list = field(default_factory=list)
    ended: list = field(default_factory=list)
    beats: list = field(default_factory=list)
    frame_error: bool = False


def simulate(component, testbenches):
    """Runs Amaranth's simulator until the test benches end."""
    top = Module()
    top.submodules.dut = component
    top.d.sync += Signal(name="ticks").eq(1)  # a clock, also for what has no registers
    sim = Simulator(top)
    sim.add_clock(1e-8)
    for bench in testbenches:
        sim.add_testbench(bench)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sim.run()


def to_beats(spec, sample):
    """A sample as words of ``tdata``."""
    port = spec.input
    mask = (1 << port.lane_bits) - 1
    flat = [int(q) for q in sample]
    words = []
    for start in range(0, len(flat), port.lanes):
        word = 0
        for lane, q in enumerate(flat[start : start + port.lanes]):
            word |= (q & mask) << (lane * port.lane_bits)
        words.append(word)
    return words


def from_beats(spec, words):
    """A result of one sample out of words of ``tdata``."""
    port = spec.output
    elements = []
    for word in words:
        for lane in range(port.lanes):
            raw = (word >> (lane * port.lane_bits)) & ((1 << port.lane_bits) - 1)
            if port.element.signed and raw >> (port.lane_bits - 1):
                raw -= 1 << port.lane_bits
            elements.append(raw)
    return elements[: port.elements]


def run_core(core, frames, *, gaps=0.0, rng=None, results):
    """Streams frames, lists of ``(word, tlast)``, through a core until ``results`` have come."""
    run = Run()
    rng = rng or np.random.default_rng(0)
    clock = Signal(32)
    top = Module()
    top.submodules.core = core
    top.d.sync += clock.eq(clock + 1)

    async def source(ctx):
        for frame in frames:
            for number, (word, last) in enumerate(frame):
                while gaps and rng.random() < gaps:
                    await ctx.tick()
                ctx.set(core.s_axis_tvalid, 1)
                ctx.set(core.s_axis_tdata, word)
                ctx.set(core.s_axis_tlast, last)
                await ctx.tick().until(core.s_axis_tready)
                if number == 0:
                    run.began.append(ctx.get(clock))
                ctx.set(core.s_axis_tvalid, 0)

    async def sink(ctx):
        words = []
        while len(run.outputs) < results:
            while gaps and rng.random() < gaps:
                await ctx.tick()
            ctx.set(core.m_axis_tready, 1)
            word, last = (
                await ctx.tick()
                .sample(core.m_axis_tdata, core.m_axis_tlast)
                .until(core.m_axis_tvalid)
            )
            ctx.set(core.m_axis_tready, 0)
            words.append(word)
            if last:
                run.ended.append(ctx.get(clock))
                run.beats.append(len(words))
                run.outputs.append(from_beats(core.spec, words))
                words = []
        run.frame_error = bool(ctx.get(core.frame_error))

    simulate(top, [source, sink])
    return run


def good_frames(spec, samples):
    """Frames of whole samples for `run_core`."""
    frames = []
    for sample in samples:
        words = to_beats(spec, sample)
        frames.append([(word, number == len(words) - 1) for number, word in enumerate(words)])
    return frames


def network_core(model, spec):
    """The core of a model, for Amaranth's simulator."""
    return NetworkCore(spec, memories(model, spec))
