"""What the logic of each part is made of, counted from its spec: bits of registers, of adders and
comparators, of multiplexers, of counters. Memories are counted in `lutgen.spec.memory`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from lutgen.numeric import clog2
from lutgen.spec.argmax import ArgmaxSpec
from lutgen.spec.conv import Conv2dSpec, FeederSpec
from lutgen.spec.distance import DistanceSpec
from lutgen.spec.encoder import EncoderSpec
from lutgen.spec.fifo import FifoSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.matcher import RequantiserSpec
from lutgen.spec.network import NetworkSpec, Stage
from lutgen.spec.pointwise import AddSpec
from lutgen.spec.pool import AvgPool2dSpec, MaxPool2dSpec, PoolSpec
from lutgen.spec.ring import WalkSpec
from lutgen.spec.slide import EncodeSpec, SlideSpec
from lutgen.spec.stream import RegrouperSpec

__all__ = [
    "Counts",
    "encoder_counts",
    "feeder_counts",
    "fifo_counts",
    "index_counts",
    "line_counts",
    "matcher_counts",
    "port_counts",
    "regrouper_counts",
    "stage_counts",
]


@dataclass(frozen=True)
class Counts:
    """Bits of each kind of logic.

    Attributes
    ----------
    ffs : float
        Registers.
    adds : float
        Adders, subtractors and comparators.
    terms : float
        Partial products of multipliers.
    muxes : float
        Multiplexers of two inputs.
    control : float
        Counters and what they steer.
    """

    ffs: float = 0
    adds: float = 0
    terms: float = 0
    muxes: float = 0
    control: float = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.ffs + other.ffs,
            self.adds + other.adds,
            self.terms + other.terms,
            self.muxes + other.muxes,
            self.control + other.control,
        )

    def __mul__(self, factor: float) -> "Counts":
        return Counts(
            factor * self.ffs,
            factor * self.adds,
            factor * self.terms,
            factor * self.muxes,
            factor * self.control,
        )


def _total(parts: Iterable[Counts]) -> Counts:
    return sum(parts, Counts())


def _bits(count: int) -> int:
    """Width of what numbers so many things."""
    return max(1, clog2(count))


def _counter(count: int) -> Counts:
    """A counter that goes round."""
    bits = clog2(count)
    return Counts(ffs=bits, control=2 * bits)


def _levels(inputs: int) -> Iterable[tuple[int, int, int]]:
    """Levels of a registered tree: number, nodes that combine, registers."""
    level = 0
    while inputs > 1:
        level += 1
        yield level, inputs // 2, (inputs + 1) // 2
        inputs = (inputs + 1) // 2


def _distance(spec: DistanceSpec) -> Counts:
    bits = spec.element.bits
    counts = Counts(ffs=bits, adds=3 * bits, muxes=bits) * spec.dims
    term = bits
    if spec.metric == "l2":
        term = 2 * bits
        counts += Counts(ffs=term, terms=bits * bits) * spec.dims
    for level, nodes, registers in _levels(spec.dims):
        wide = term + (0 if spec.metric == "chebyshev" else level)
        each = Counts(adds=wide, muxes=wide if spec.metric == "chebyshev" else 0)
        counts += each * nodes + Counts(ffs=wide) * registers
    return counts


@lru_cache(maxsize=4096)
def _encoder(spec: EncoderSpec) -> Counts:
    """One encoder."""
    part = spec.parallel_dims * spec.element.bits
    counts = Counts(ffs=part, muxes=part * (spec.dim_steps - 1))
    counts += _distance(spec.distance) * spec.parallel_centroids
    key = spec.distance.output.bits
    if spec.dim_steps > 1:
        key = spec.whole_distance.output.bits
        muxes = key * (2 if spec.metric == "chebyshev" else 1)
        counts += Counts(ffs=key, adds=key, muxes=muxes) * spec.parallel_centroids
    for level, nodes, registers in _levels(spec.parallel_centroids):
        wide = key + level
        counts += Counts(adds=key, muxes=wide) * nodes + Counts(ffs=wide) * registers
    if spec.blocks > 1:
        counts += Counts(ffs=key + 2 * spec.index_bits, adds=key + 2 * spec.index_bits)
    return counts + Counts(ffs=2 * spec.latency, control=3)


def encoder_counts(row: LinearSpec) -> Counts:
    """The encoders of a layer and what steers them."""
    encoder = row.encoder
    if not isinstance(encoder, EncoderSpec):
        return Counts()
    steps = _counter(encoder.dim_steps) + _counter(encoder.blocks)
    steps += _counter(row.groups * encoder.interval)
    delays = Counts(ffs=2 * encoder.latency)
    return _encoder(encoder) * row.fan_in + steps + delays


def _requantiser(spec: RequantiserSpec) -> Counts:
    bits = spec.result.bits
    if spec.output is None:
        return Counts(ffs=bits)
    wide = spec.acc.bits + 1
    shifted = max(1, wide - spec.shift)
    rounds = wide if spec.shift else 0
    clamps = 0 if shifted <= bits else max(1, shifted - bits)
    return Counts(ffs=bits, adds=rounds, muxes=2 * bits if clamps else 0, control=clamps)


def matcher_counts(row: LinearSpec) -> Counts:
    """Sequencer, banks' outputs, trees, accumulators, requantisers."""
    tree, bank = row.tree, row.bank
    lane = _requantiser(row.requantiser)
    for level, nodes, registers in _levels(row.fan_in):
        lane += Counts(adds=tree.level_bits(level)) * nodes
        lane += Counts(ffs=tree.level_bits(level)) * registers
    acc = row.acc.bits
    lane += Counts(ffs=acc, adds=acc, muxes=acc if row.turn > 1 else 0)
    gated = row.fan_in if row.taps > 1 else row.fan_in - row.last_group
    counts = lane * row.lanes + Counts(muxes=0.5 * gated * row.lanes * bank.value.bits)
    if row.address_latency:
        address = _bits(bank.depth)
        counts += Counts(ffs=address, adds=address) * row.fan_in
    delay = row.address_latency + bank.latency + tree.latency
    tile = clog2(row.tiles)
    counts += Counts(ffs=delay * (tile + 3) + 3 + delay)
    counts += _counter(row.turn) + _counter(row.tiles)
    return counts + Counts(ffs=clog2(bank.depth), adds=clog2(bank.depth), control=4)


def index_counts(row: LinearSpec) -> Counts:
    """An index buffer without its memory."""
    slots = clog2(row.index_slots)
    lookup = clog2(row.bank.depth) + clog2(row.tiles) + 4
    counts = Counts(ffs=4 * slots + 2, adds=2 * slots, control=6 * slots + 6)
    return counts + Counts(ffs=lookup) + _counter(row.groups)


@lru_cache(maxsize=4096)
def regrouper_counts(spec: RegrouperSpec, bits: int) -> Counts:
    """A regrouper of items of so many bits."""
    part = spec.part * bits
    kept = part * (spec.o_parts - 1)
    counts = Counts(ffs=kept, muxes=0.7 * part * (spec.i_parts - 1), control=2)
    counts += _counter(spec.i_parts) + _counter(spec.beats) + _counter(spec.o_parts)
    if spec.last_o_parts != spec.o_parts:
        counts += Counts(muxes=part)
    if spec.last_items % spec.o_filled:
        counts += Counts(muxes=0.5 * bits * (spec.o_filled - spec.last_items))
    if spec.registered:
        counts += Counts(ffs=spec.o_filled * bits + 2, control=2)
    return counts


@lru_cache(maxsize=1024)
def line_counts(walk: WalkSpec) -> Counts:
    """A line buffer's ledger and its walk."""
    ring, window = walk.ring, walk.ring.window
    pixel, address = clog2(ring.pixels), clog2(ring.depth)
    across, down = clog2(window.width), clog2(window.height)
    ledger = Counts(ffs=7 * pixel + across, adds=8 * pixel + 3 * across, muxes=4 * pixel)
    reads = Counts(
        ffs=5 * address + 2 * across + 2 * down,
        adds=8 * address + 4 * across + 4 * down,
        muxes=4 * address + across + down,
    )
    counters = [walk.inner, *window.kernel, walk.outer, window.columns, window.rows, ring.words]
    return ledger + reads + _total(_counter(count) for count in (*counters, ring.depth))


@lru_cache(maxsize=4096)
def feeder_counts(spec: FeederSpec, item_bits: int) -> Counts:
    """What turns words into groups of sub-vectors."""
    words = spec.items * item_bits * (spec.reads - 1)
    held = spec.groups * spec.group * item_bits
    muxes = held if spec.groups > 1 else 0
    counts = Counts(ffs=words + held, muxes=muxes + 0.5 * spec.items * item_bits, control=8)
    delays = Counts(ffs=clog2(spec.period) + 3)
    counts += _counter(spec.period) + _counter(spec.blocks) + _counter(spec.groups + 1)
    return counts + delays + Counts(control=0.5 * (spec.reads - 1))


@lru_cache(maxsize=4096)
def fifo_counts(spec: FifoSpec) -> Counts:
    """A queue without its memory."""
    level = clog2(spec.depth + 1)
    counts = Counts(ffs=level + 1, control=2 * level + 3)
    if not spec.in_memory:
        muxes = spec.width * (spec.depth - 1)
        entries = Counts(ffs=spec.width * spec.depth, muxes=muxes, control=3 * spec.depth)
        return counts + entries + Counts(ffs=level, control=2 * level)
    counts += Counts(ffs=spec.width + level + 2, muxes=spec.width, control=2 * level + 6)
    return counts + _counter(spec.memory_rows) * 2


def _pool(spec: PoolSpec) -> Counts:
    bits = spec.element.bits
    counts = line_counts(spec.walk) + Counts(ffs=6, control=4) + _counter(spec.ring.words)
    if isinstance(spec, MaxPool2dSpec):
        return counts + Counts(ffs=bits, adds=bits, muxes=bits * 0.5) * spec.lanes
    assert isinstance(spec, AvgPool2dSpec)
    total, acc = spec.sum.bits, spec.acc.bits
    lane = Counts(ffs=total + acc, adds=total + acc * (spec.multiplier.bit_count() - 1))
    requantiser = _requantiser(RequantiserSpec(spec.acc, spec.shift, spec.output))
    return counts + (lane + requantiser) * spec.lanes


def _slide(spec: SlideSpec) -> Counts:
    """Whole windows: registers of their pixels, and a choice among rows for each of a column."""
    window = spec.window
    pixel = spec.channels * spec.element.bits + spec.marked
    place, banks = clog2(spec.ring.pixels), spec.ring.rows
    across, down = clog2(window.width), clog2(window.height)
    counts = Counts(ffs=window.area * pixel, muxes=window.kernel[0] * pixel * (banks - 1))
    counts += Counts(ffs=7 * place + across, adds=8 * place + 3 * across, muxes=4 * place)
    rows = window.kernel[0] * (2 * down + 2 * across + clog2(banks))
    counts += Counts(ffs=rows + across + down, adds=rows + 2 * across, control=12 + banks)
    sizes = (window.kernel[1], window.columns, window.rows, window.width, banks)
    return counts + _total(_counter(count) for count in sizes)


def _argmax(spec: ArgmaxSpec) -> Counts:
    bits, result = spec.element.bits, spec.result.bits
    counts = _counter(spec.beats) + Counts(ffs=result + spec.latency, control=4)
    for level, nodes, registers in _levels(spec.lanes):
        counts += Counts(adds=bits, muxes=bits + level) * nodes
        counts += Counts(ffs=bits + level) * registers
    if spec.beats > 1:
        counts += Counts(ffs=bits + result, adds=bits + result)
    return counts


def _add(spec: AddSpec, lanes: int) -> Counts:
    acc = spec.acc.bits
    lane = Counts(ffs=acc, adds=acc * (len(spec.elements) - 1))
    lane += _requantiser(RequantiserSpec(spec.acc, spec.shift, spec.output))
    return lane * lanes + Counts(ffs=2, control=3)


def stage_counts(stage: Stage) -> Counts:
    """A stage, without the queues."""
    spec, row = stage.spec, stage.row
    counts = Counts()
    regrouper = stage.regrouper
    if regrouper is not None:
        bits = row.item_bits if row is not None and row.metric == "digit" else None
        if isinstance(spec, Conv2dSpec) and spec.encode == "window":
            bits = None
        if isinstance(spec, EncodeSpec):
            bits = spec.row.item_bits
        elif bits is None:
            bits = stage.o.element.bits if isinstance(spec, RegrouperSpec) else _element_bits(spec)
        counts += regrouper_counts(regrouper, bits)
    if row is not None:
        counts += encoder_counts(row) + matcher_counts(row)
        if row.buffered and not (isinstance(spec, Conv2dSpec) and spec.encode == "pixel"):
            counts += index_counts(row)
    if isinstance(spec, Conv2dSpec):
        counts += line_counts(spec.walk)
        if spec.encode == "window":
            counts += feeder_counts(spec.feeder, row.item_bits if row else 1)
        else:
            delay = clog2(row.bank.depth) + clog2(row.tiles) + 5 if row else 0
            counts += Counts(ffs=delay, control=4)
    elif isinstance(spec, EncodeSpec):
        counts += encoder_counts(spec.row)
    elif isinstance(spec, SlideSpec):
        counts += _slide(spec)
    elif isinstance(spec, PoolSpec):
        counts += _pool(spec)
    elif isinstance(spec, ArgmaxSpec):
        counts += _argmax(spec)
    elif isinstance(spec, AddSpec):
        counts += _add(spec, stage.o.lanes)
    return counts


def _element_bits(spec: object) -> int:
    assert isinstance(spec, LinearSpec | Conv2dSpec | PoolSpec | SlideSpec)
    return spec.element.bits


def port_counts(spec: NetworkSpec) -> Counts:
    """Both ports: frames checked, results of broken ones dropped."""
    samples = clog2(spec.schedule.samples + 1)
    counts = _counter(spec.input.beats) + _counter(spec.output.beats)
    counts += Counts(ffs=3 + 2 * samples + spec.schedule.samples, control=12 + 6 * samples)
    if spec.timing.pace > 1:
        counts += _counter(spec.timing.pace)
    return counts
