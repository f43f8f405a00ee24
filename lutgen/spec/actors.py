"""The actors of a schedule: each is one part of the gateware, without its data.

See `lutgen.spec.schedule`. Each function names the component whose transitions it follows.
"""

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lutgen.spec.argmax import ArgmaxSpec
from lutgen.spec.conv import Conv2dSpec
from lutgen.spec.events import Actor, Outlet, Parts, Pixels, Queue, Times, after
from lutgen.spec.linear import LinearSpec
from lutgen.spec.pool import PoolSpec
from lutgen.spec.ring import RingSpec
from lutgen.spec.slide import EncodeSpec, SlideSpec
from lutgen.spec.stream import RegrouperSpec

if TYPE_CHECKING:
    from lutgen.spec.network import Stage

__all__ = ["Workshop"]


def linear(
    stage: "Stage", spec: LinearSpec, queue: Queue, o: Outlet, shop: "Workshop"
) -> Iterable[Actor]:
    """`lutgen.gateware.linear.LinearStage`."""
    rows, released = Times(shop.ready), Times(shop.ready)
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


def conv(
    stage: "Stage", spec: Conv2dSpec, queue: Queue, o: Outlet, shop: "Workshop"
) -> Iterable[Actor]:
    """`lutgen.gateware.conv.WindowStage` and `PixelStage`."""
    row = spec.row
    pixels = shop.pixels(spec.ring)
    if spec.encode == "pixel":
        yield encode_pixels(stage, spec, queue, pixels)
        yield walk(row.turn, row.tiles, stage.latency, pixels, o)
        return
    yield write(spec.regrouper(stage.i_lanes), spec.ring.words, queue, pixels)
    feeder, encoder, matcher = spec.feeder, row.encoder.latency, row.matcher_latency
    rows, released = Times(shop.ready), Times(shop.ready)
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


class Workshop:
    """Makes the actors of stages, and knows what they share.

    Attributes
    ----------
    ready : deque of Actor
        Those that can go on.
    rings : list of Pixels
        The line buffers.
    """

    def __init__(self) -> None:
        self.ready: deque[Actor] = deque()
        self.rings: list[Pixels] = []

    def pixels(self, spec: RingSpec) -> Pixels:
        """The ring of a stage."""
        self.rings.append(Pixels(self.ready, spec))
        return self.rings[-1]

    def actors(self, stage: "Stage", queues: list[Queue], o: Outlet) -> Iterable[Actor]:
        """Those of a stage between its queues."""
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
