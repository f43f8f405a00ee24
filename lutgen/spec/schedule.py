"""When things happen: every event of the handshakes, without its data.

A core is a graph of stages joined by queues, whose pipelines never stop once they have begun. So
the cycle of every event follows from earlier ones by additions and maxima: a piece of work begins
when its input is there, when the piece before it lets it, and when there is room for its result.
Each actor below is one such part of the gateware, and does its transitions in the order of its
work, not of time; whichever actor can go on does.

What comes out is exact: simulation of the Verilog has to confirm latency and interval to the cycle.
And as these rules hold whatever the stalls, a core whose actors get through a few samples here can
never deadlock: stalls make events later, they do not change what waits for what (docs/design/0004).
"""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lutgen.numeric import ceil_div
from lutgen.spec.argmax import ArgmaxSpec
from lutgen.spec.conv import Conv2dSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.pool import PoolSpec
from lutgen.spec.ring import RingSpec
from lutgen.spec.slide import EncodeSpec, SlideSpec
from lutgen.spec.stream import RegrouperSpec

if TYPE_CHECKING:
    from lutgen.spec.network import NetworkSpec, Stage

__all__ = ["Schedule", "Timing", "measure"]

SAMPLES = 400  # within which a core must have found its pace


@dataclass(frozen=True)
class Timing:
    """Latency and interval of a core, in cycles.

    Attributes
    ----------
    latency : int
        From the edge that takes the first beat of a sample into the idle core to the edge that
        gives the last beat of its result, without stalls.
    interval : int
        Between the last beats of consecutive results, in steady state.
    pace : int
        Cycles from the first beat of a sample to the moment when the next may begin, where samples
        must be held back for the interval to be constant; else 0.
    """

    latency: int
    interval: int
    pace: int


@dataclass(frozen=True)
class Schedule:
    """What a core's events tell.

    Attributes
    ----------
    timing : Timing
    depths : tuple of int
        Entries of every queue, in the order of `NetworkSpec.wires`.
    samples : int
        Samples under way at most.
    """

    timing: Timing
    depths: tuple[int, ...]
    samples: int


class Times:
    """The cycles of one kind of event, in order, and the actors that wait for more of them."""

    def __init__(self, ready: "deque[Actor]") -> None:
        self.at: list[int] = []
        self.waiting: list[Actor] = []
        self._ready = ready

    def add(self, cycle: int) -> None:
        """The next event."""
        self.at.append(cycle)
        if self.waiting:
            self._ready.extend(self.waiting)
            self.waiting.clear()


Actor = Generator[Times, None, None]
Moment = Generator[Times, None, int]


class Queue:
    """A queue's events; ``depth`` None for one that is never full."""

    def __init__(self, ready: "deque[Actor]", depth: int | None) -> None:
        self.depth = depth
        self.reserved: list[int] = []
        self.pushed = Times(ready)
        self.popped = Times(ready)

    def there(self, number: int) -> Moment:
        """The first cycle in which entry ``number`` can be popped."""
        at = self.pushed.at
        while len(at) <= number:
            yield self.pushed
        return at[number] + 1

    def space(self, number: int) -> Moment:
        """The first cycle in which it can be reserved."""
        if self.depth is None or number < self.depth:
            return 0
        at = self.popped.at
        while len(at) <= number - self.depth:
            yield self.popped
        return at[number - self.depth] + 1

    def needed(self) -> int:
        """The depth that would never have kept a reservation waiting."""
        reserved = np.array(self.reserved)
        gone = np.searchsorted(np.array(self.popped.at), reserved, side="left")
        return int((np.arange(1, len(reserved) + 1) - gone).max(initial=1))


class Outlet:
    """The queues behind one stage; what it gives goes into all of them."""

    def __init__(self, queues: list[Queue]) -> None:
        self.queues = queues
        self.number = 0

    def space(self) -> Moment:
        """The first cycle in which all have space for the next entry."""
        cycle = 0
        for queue in self.queues:
            cycle = max(cycle, (yield from queue.space(self.number)))
        return cycle

    def push(self, reserve: int, push: int) -> None:
        """The next entry, reserved and pushed in these cycles."""
        self.number += 1
        for queue in self.queues:
            queue.reserved.append(reserve)
            queue.pushed.add(push)


class Parts:
    """Beats of a queue, taken apart by a regrouper (`lutgen.gateware.stream.Regrouper`)."""

    def __init__(self, spec: RegrouperSpec, queue: Queue) -> None:
        # Plain attributes: the spec derives these anew at every access, and this runs often.
        self.beats, self.groups, self.registered = spec.beats, spec.groups, spec.registered
        self.i_parts, self.last_i_parts = spec.i_parts, spec.last_i_parts
        self.o_parts, self.last_o_parts = spec.o_parts, spec.last_o_parts
        self.queue = queue
        self.beat = self.part = self.group = self.popped = 0
        self.now = self.free = -1  # when the part before moved, when the register was last read

    def _move(self, cycle: int) -> None:
        """The part at hand moves."""
        self.now = cycle
        last = self.beat == self.beats - 1
        self.part += 1
        if self.part == (self.last_i_parts if last else self.i_parts):
            self.part = 0
            self.beat = 0 if last else self.beat + 1
            self.popped += 1
            self.queue.popped.add(cycle)

    def gather(self) -> Moment:
        """The first cycle in which the next group is at hand."""
        last = self.group == self.groups - 1
        for _ in range((self.last_o_parts if last else self.o_parts) - 1):
            self._move(max(self.now + 1, (yield from self.queue.there(self.popped))))
        there = max(self.now + 1, (yield from self.queue.there(self.popped)))
        if self.registered:
            there = max(there, self.free)
            self._move(there)
            there += 1
        return there

    def take(self, cycle: int) -> bool:
        """The group is taken in this cycle; gives whether it was a row's last."""
        if self.registered:
            self.free = cycle
        else:
            self._move(cycle)
        last = self.group == self.groups - 1
        self.group = 0 if last else self.group + 1
        return last


class Pixels:
    """A ring of pixels: which are written, which are free (`lutgen.gateware.ring.Ledger`)."""

    def __init__(self, ready: "deque[Actor]", spec: RingSpec) -> None:
        self.pixels, self.capacity = spec.pixels, spec.capacity
        self.count = spec.window.count
        self.needs = spec.needs.tolist()
        # The window behind which a pixel's place is free, for every pixel of an image: the pixel
        # that stood there a ring's capacity before.
        frees = spec.frees
        before = np.arange(spec.pixels) - spec.capacity
        image, pixel = before // spec.pixels, before % spec.pixels
        window = np.searchsorted(frees, pixel, side="right") - 1
        self.frees = (image * self.count + window).tolist()
        self.written, self.finished = Times(ready), Times(ready)

    def space(self, number: int) -> Moment:
        """The first cycle in which pixel ``number`` can be begun."""
        image, pixel = divmod(number, self.pixels)
        window = image * self.count + self.frees[pixel]
        if window < 0:
            return 0
        at = self.finished.at
        while len(at) <= window:
            yield self.finished
        return at[window] + 2

    def there(self, number: int) -> Moment:
        """The first cycle in which window ``number`` can be read."""
        image, window = divmod(number, self.count)
        pixel = image * self.pixels + self.needs[window]
        at = self.written.at
        while len(at) <= pixel:
            yield self.written
        return at[pixel] + 1


def linear(stage: "Stage", spec: LinearSpec, queue: Queue, o: Outlet, net: "Net") -> Iterable[Actor]:
    """`lutgen.gateware.linear.LinearStage`."""
    rows, released = Times(net.ready), Times(net.ready)
    steps, encoder = spec.encoder.interval, spec.encoder.latency
    matcher, slots = spec.matcher_latency, spec.index_slots

    def encode_rows() -> Actor:
        parts = Parts(spec.regrouper(stage.i_lanes), queue)
        end = -1
        number = 0
        while True:
            for group in range(spec.groups):
                begin = max(end + 1, (yield from parts.gather()))
                if spec.buffered:
                    if group == 0 and number >= slots:
                        begin = max(begin, (yield from after(released, number - slots)))
                elif group == spec.groups - 1:
                    begin = max(begin, (yield from o.space()))
                end = begin + steps - 1
                parts.take(end)
            if spec.buffered:
                rows.add(end + encoder + 1)
            else:
                o.push(begin, end + encoder + matcher)
            number += 1

    yield encode_rows()
    if spec.buffered:
        yield look_up(spec, o, rows, released)


def after(times: Times, number: int) -> Moment:
    """The cycle after event ``number``."""
    while len(times.at) <= number:
        yield times
    return times.at[number] + 1


def look_up(spec: LinearSpec, o: Outlet, rows: Times, released: Times) -> Actor:
    """`lutgen.gateware.index_buffer.IndexBuffer`: ``rows`` are the cycles from which on rows of
    indices can be read.
    """
    turn, tiles, latency = spec.turn, spec.tiles, 1 + spec.matcher_latency
    number, end = 0, -1
    while True:
        while len(rows.at) <= number:
            yield rows
        begin = max(end + 1, rows.at[number])
        for _ in range(tiles):
            end = max(begin + turn - 1, (yield from o.space()))
            o.push(end, end + latency)
            begin = end + 1
        released.add(end)
        number += 1


def write(spec: RegrouperSpec, words: int, queue: Queue, pixels: Pixels) -> Actor:
    """`lutgen.gateware.conv.write_words`."""
    parts = Parts(spec, queue)
    number = 0
    while True:
        for word in range(words):
            cycle = yield from parts.gather()
            if word == 0:
                cycle = max(cycle, (yield from pixels.space(number)))
            parts.take(cycle)
        pixels.written.add(cycle)
        number += 1


def walk(turn: int, turns: int, latency: int, pixels: Pixels, o: Outlet) -> Actor:
    """Windows read from a line buffer, a result after every ``turn`` reads."""
    number, end = 0, -1
    while True:
        begin = max(end + 1, (yield from pixels.there(number)))
        for _ in range(turns):
            end = max(begin + turn - 1, (yield from o.space()))
            o.push(end, end + latency)
            begin = end + 1
        pixels.finished.add(end)
        number += 1


def conv(stage: "Stage", spec: Conv2dSpec, queue: Queue, o: Outlet, net: "Net") -> Iterable[Actor]:
    """`lutgen.gateware.conv.WindowStage` and `PixelStage`."""
    row = spec.row
    pixels = net.pixels(spec.ring)
    if spec.encode == "pixel":
        yield encode_pixels(stage, spec, queue, pixels)
        yield walk(row.turn, row.tiles, stage.latency, pixels, o)
        return
    yield write(spec.regrouper(stage.i_lanes), spec.ring.words, queue, pixels)
    feeder, encoder, matcher = spec.feeder, row.encoder.latency, row.matcher_latency
    rows, released = Times(net.ready), Times(net.ready)
    interval, read, feed = feeder.interval, feeder.read_latency, feeder.latency
    slots = row.index_slots

    def feed_windows() -> Actor:
        number, begin = 0, -interval
        while True:
            begin = max(begin + interval, (yield from pixels.there(number)))
            if not row.buffered:
                begin = max(begin, (yield from o.space()))
                o.push(begin, begin + feed + encoder + matcher)
            else:
                if number >= slots:
                    begin = max(begin, (yield from after(released, number - slots)))
                rows.add(begin + feed + encoder + 1)
            pixels.finished.add(begin + read)
            number += 1

    yield feed_windows()
    if row.buffered:
        yield look_up(row, o, rows, released)


def encode_pixels(stage: "Stage", spec: Conv2dSpec, queue: Queue, pixels: Pixels) -> Actor:
    """The encoders of `lutgen.gateware.conv.PixelStage`."""
    row = spec.row
    parts = Parts(spec.regrouper(stage.i_lanes), queue)
    steps, encoder, groups = row.encoder.interval, row.encoder.latency, row.groups
    end, number = -1, 0
    while True:
        for group in range(groups):
            begin = max(end + 1, (yield from parts.gather()))
            if group == 0:
                begin = max(begin, (yield from pixels.space(number)))
            end = begin + steps - 1
            parts.take(end)
        pixels.written.add(end + encoder)
        number += 1


def encode(stage: "Stage", spec: EncodeSpec, queue: Queue, o: Outlet) -> Actor:
    """`lutgen.gateware.slide.EncodeStage`."""
    parts = Parts(spec.regrouper(stage.i_lanes), queue)
    steps, latency, end = spec.row.encoder.interval, spec.row.encoder.latency, -1
    while True:
        begin = max(end + 1, (yield from parts.gather()))
        begin = max(begin, (yield from o.space()))
        end = begin + steps - 1
        parts.take(end)
        o.push(begin, end + latency)


def slide(spec: SlideSpec, pixels: Pixels, o: Outlet) -> Actor:
    """`lutgen.gateware.slide.SlideStage`."""
    columns, whole, fresh = spec.window.columns, spec.window.kernel[1], spec.reads
    number, end = 0, -1
    while True:
        begin = max(end + 1, (yield from pixels.there(number)), (yield from o.space()))
        end = begin + (fresh if number % columns else whole) - 1
        pixels.finished.add(end)
        o.push(begin, end + 2)
        number += 1


def regroup(spec: RegrouperSpec, queue: Queue, o: Outlet) -> Actor:
    """`lutgen.gateware.pointwise.RegroupStage`."""
    parts = Parts(spec, queue)
    while True:
        cycle = yield from parts.gather()
        cycle = max(cycle, (yield from o.space()))
        parts.take(cycle)
        o.push(cycle, cycle)


def pointwise(queues: list[Queue], latency: int, o: Outlet, every: int = 1) -> Actor:
    """Beats taken from all queues at once; every so many of them make one result."""
    number, cycle = 0, -1
    while True:
        cycle += 1
        for queue in queues:
            cycle = max(cycle, (yield from queue.there(number)))
        number += 1
        gives = number % every == 0
        if gives:
            cycle = max(cycle, (yield from o.space()))
        for queue in queues:
            queue.popped.add(cycle)
        if gives:
            o.push(cycle, cycle + latency)


class Net:
    """The actors of a core, and what they have done so far.

    Parameters
    ----------
    spec : NetworkSpec
    depths : sequence of int or None
        Of every queue, in the order of `NetworkSpec.wires`.
    pace : int
    """

    def __init__(self, spec: "NetworkSpec", depths: Sequence[int | None], pace: int) -> None:
        self.spec = spec
        self.ready: deque[Actor] = deque()
        self.rings: list[Pixels] = []
        self.began, self.judged, self.left = (Times(self.ready) for _ in range(3))
        self.allowed = Times(self.ready)
        wires = list(spec.wires())
        self.queues = [Queue(self.ready, depth) for depth in depths]
        outlets = {
            name: Outlet([q for q, wire in zip(self.queues, wires, strict=True) if wire[0] == name])
            for name in ("input", *(stage.name for stage in spec.stages))
        }
        self.ready.append(self._source(outlets["input"], pace))
        queues = iter(self.queues)
        for stage in spec.stages:
            inputs = [next(queues) for _ in stage.inputs]
            self.ready.extend(self._actors(stage, inputs, outlets[stage.name]))
        self.ready.append(self._sink(next(queues)))

    def pixels(self, spec: RingSpec) -> Pixels:
        """The ring of a stage."""
        self.rings.append(Pixels(self.ready, spec))
        return self.rings[-1]

    def _actors(self, stage: "Stage", queues: list[Queue], o: Outlet) -> Iterable[Actor]:
        spec = stage.spec
        if isinstance(spec, LinearSpec):
            return linear(stage, spec, queues[0], o, self)
        if isinstance(spec, Conv2dSpec):
            return conv(stage, spec, queues[0], o, self)
        if isinstance(spec, PoolSpec):
            pixels, reads = self.pixels(spec.ring), spec.walk
            return (
                write(spec.regrouper(stage.i_lanes), spec.ring.words, queues[0], pixels),
                walk(reads.turn, reads.outer, spec.latency, pixels, o),
            )
        if isinstance(spec, SlideSpec):
            pixels = self.pixels(spec.ring)
            return (
                write(spec.regrouper(stage.i_lanes), 1, queues[0], pixels),
                slide(spec, pixels, o),
            )
        if isinstance(spec, EncodeSpec):
            return (encode(stage, spec, queues[0], o),)
        if isinstance(spec, RegrouperSpec):
            return (regroup(spec, queues[0], o),)
        if isinstance(spec, ArgmaxSpec):
            return (pointwise(queues, spec.latency, o, spec.beats),)
        return (pointwise(queues, spec.latency, o),)

    def _source(self, o: Outlet, pace: int) -> Actor:
        """`lutgen.gateware.port.FrameCheck`, with a beat always there."""
        beats = self.spec.input.beats
        cycle, number, begin = -1, 0, -pace
        while True:
            while len(self.allowed.at) <= number:
                yield self.allowed
            for beat in range(beats):
                cycle = max(cycle + 1, (yield from o.space()))
                if beat == 0:
                    begin = cycle = max(cycle, begin + pace)
                    self.began.add(begin)
                o.push(cycle, cycle)
            self.judged.add(cycle)
            number += 1

    def _sink(self, queue: Queue) -> Actor:
        """`lutgen.gateware.port.Gate`, with a sink that takes every beat."""
        beats = self.spec.output.beats
        cycle, number, beat = -1, 0, 0
        while True:
            for _ in range(beats):
                cycle = max(cycle + 1, (yield from queue.there(beat)))
                cycle = max(cycle, (yield from after(self.judged, number)))
                queue.popped.add(cycle)
                beat += 1
            self.left.add(cycle)
            number += 1

    def run(self, samples: int) -> None:
        """Until so many samples have come and gone.

        Raises
        ------
        RuntimeError
            If they can't: a deadlock, which would be a mistake in the plan.
        """
        while len(self.allowed.at) < samples:
            self.allowed.add(0)
        while self.ready:
            actor = self.ready.popleft()
            next(actor).waiting.append(actor)
        if len(self.left.at) != samples:
            raise RuntimeError(f"Deadlock: {len(self.left.at)} of {samples} samples came out")

    def events(self) -> list[list[int]]:
        """The cycles of all kinds of events."""
        kinds = [self.began.at, self.left.at]
        for queue in self.queues:
            kinds += [queue.pushed.at, queue.popped.at]
        for ring in self.rings:
            kinds += [ring.written.at, ring.finished.at]
        return kinds

    def reach(self) -> int:
        """Samples that an event can look back: what the largest queue or ring holds."""
        samples = len(self.left.at)
        kept = [ceil_div(q.depth or 0, len(q.popped.at) // samples) for q in self.queues]
        kept += [ceil_div(ring.capacity, ring.pixels) for ring in self.rings]
        return 2 + max(kept)

    def interval(self) -> int | None:
        """Cycles between samples, where every event of the last few came as long after that of the
        sample before: then it will go on like that for ever. Else None.
        """
        samples, reach = len(self.left.at), self.reach()
        if samples <= reach + 1:
            return None
        interval = self.left.at[-1] - self.left.at[-2]
        for cycles in self.events():
            each = len(cycles) // samples
            tail = np.array(cycles[-each * (reach + 1) :])
            if (tail[each:] - tail[:-each] != interval).any():
                return None
        return interval


def settle(spec: "NetworkSpec", depths: Sequence[int | None], pace: int) -> tuple[Net, int | None]:
    """Runs samples until they come at a constant interval; None where they do not."""
    net = Net(spec, depths, pace)
    samples = 4
    while samples < SAMPLES:
        net.run(samples)
        if (interval := net.interval()) is not None:
            return net, interval
        samples += max(2, samples // 4)
    return net, None


def measure(spec: "NetworkSpec") -> Schedule:
    """Latency and interval of a core, and the depths of its queues.

    A queue is as deep as its producer needs in order to go on without a pause. Where a stage has
    several inputs, those that do not come the longest way wait for that one: their queues are made
    as deep as never to keep anybody waiting, which the schedule itself shows.

    Where the interval would vary from sample to sample, samples are paced: the least pace is taken
    that makes it constant. (The events are a max-plus linear system; behind a periodic source that
    is slow enough, all of them become periodic.)

    Raises
    ------
    RuntimeError
        If no pace makes it constant, or if there is a deadlock: mistakes in the schedule.
    """
    depths = list(spec.depths) if spec.depths else _depths(spec)
    net, interval = settle(spec, depths, 0)
    latency = net.left.at[0] - net.began.at[0]
    pace = 0
    if interval is None:
        slowest = max(spec.input.beats, *(stage.interval for stage in spec.stages))
        low, high = slowest, slowest + 1
        while (settled := settle(spec, depths, high))[1] is None:
            low, high = high, high + 2 * (high - low)
            if high > 8 * slowest + 64:
                raise RuntimeError(f"No steady state at pace {high}")
        best = settled
        while high - low > 1:
            middle = (low + high) // 2
            settled = settle(spec, depths, middle)
            if settled[1] is None:
                low = middle
            else:
                high, best = middle, settled
        net, interval, pace = best[0], best[1], high
    assert interval is not None
    found = [q.needed() if q.depth is None else q.depth for q in net.queues]
    began, left = np.array(net.began.at), np.array(net.left.at)
    under_way = np.arange(1, len(began) + 1) - np.searchsorted(left, began, side="left")
    return Schedule(Timing(latency, interval, pace), tuple(found), int(under_way.max()) + 1)


def _depths(spec: "NetworkSpec") -> list[int | None]:
    """What every producer needs; None for the inputs of joins that wait for another."""
    least = {"input": 2} | {stage.name: stage.least_depth for stage in spec.stages}
    wires = list(spec.wires())
    joins = {stage.name for stage in spec.stages if len(stage.inputs) > 1}
    if not joins:
        return [least[source] for source, _, _ in wires]
    free = [None if target in joins else least[source] for source, target, _ in wires]
    net = Net(spec, free, 0)
    net.run(1)
    depths: list[int | None] = [least[source] for source, _, _ in wires]
    for join in joins:
        inputs = [k for k, (_, target, _) in enumerate(wires) if target == join]
        longest = max(inputs, key=lambda k: net.queues[k].pushed.at[0])
        for k in inputs:
            if k != longest:
                depths[k] = None
    return depths
