"""When things happen: every event of the handshakes, without its data.

A core is a graph of stages joined by queues, whose pipelines never stop once they have begun. So
the cycle of every event follows from earlier ones by additions and maxima: a piece of work begins
when its input is there, when the piece before it lets it, and when there is room for its result.
Each actor (`lutgen.spec.actors`) is one such part of the gateware, and does its transitions in the
order of its work, not of time; whichever actor can go on does.

What comes out is exact: simulation of the Verilog has to confirm latency and interval to the cycle.
And as these rules hold whatever the stalls, a core whose actors get through a few samples here can
never deadlock: stalls make events later, they do not change what waits for what (docs/design/0004).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lutgen.numeric import ceil_div
from lutgen.spec.actors import Workshop
from lutgen.spec.events import Actor, Outlet, Queue, Times, after

if TYPE_CHECKING:
    from lutgen.spec.network import NetworkSpec

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
        self.shop = Workshop()
        self.ready, self.rings = self.shop.ready, self.shop.rings
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
            self.ready.extend(self.shop.actors(stage, inputs, outlets[stage.name]))
        self.ready.append(self._sink(next(queues)))

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
    """Runs samples until they come at a constant interval, and on until as many are under way as
    ever will be; None where they do not.
    """
    net = Net(spec, depths, pace)
    samples = 4
    while samples < SAMPLES:
        net.run(samples)
        if (interval := net.interval()) is not None:
            net.run(samples + ceil_div(net.left.at[-1] - net.began.at[-1], interval) + 1)
            return net, interval
        samples += max(2, samples // 4)
    return net, None


def measure(spec: "NetworkSpec") -> Schedule:
    """Latency and interval of a core, and the depths of its queues.

    A queue is as deep as its producer needs in order to go on without a pause. Where a stage has
    several inputs, those that do not come the longest way wait for that one, and results wait for
    the verdict on their sample: such queues are made as deep as never to keep anybody waiting,
    which the schedule itself shows.

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
    """What every producer needs; None where something waits for another: the inputs of joins that
    do not come the longest way, and results that come before their sample's last beat and so before
    its verdict.
    """
    least = {"input": 2} | {stage.name: stage.least_depth for stage in spec.stages}
    wires = list(spec.wires())
    joins = {stage.name for stage in spec.stages if len(stage.inputs) > 1}
    depths: list[int | None] = [least[source] for source, _, _ in wires]
    free = [None if wire[1] in joins else depth for wire, depth in zip(wires, depths, strict=True)]
    free[-1] = None  # before the output
    net = Net(spec, free, 0)
    net.run(1)
    if net.queues[-1].needed() > least[spec.stages[-1].name]:
        depths[-1] = None
    for join in joins:
        inputs = [k for k, (_, target, _) in enumerate(wires[:-1]) if target == join]
        longest = max(inputs, key=lambda k: net.queues[k].pushed.at[0])
        for k in inputs:
            if k != longest:
                depths[k] = None
    return depths
