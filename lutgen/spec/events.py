"""Events of a core's handshakes: lists of cycles, and the queues and line buffers that they fill.

See `lutgen.spec.schedule`.
"""

from collections import deque
from collections.abc import Generator

import numpy as np

from lutgen.spec.ring import RingSpec
from lutgen.spec.stream import RegrouperSpec

__all__ = ["Actor", "Moment", "Outlet", "Parts", "Pixels", "Queue", "Times", "after"]


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
        self.needs: list[int] = spec.needs.tolist()
        # The window behind which a pixel's place is free, for every pixel of an image: the pixel
        # that stood there a ring's capacity before.
        frees = spec.frees
        before = np.arange(spec.pixels) - spec.capacity
        image, pixel = before // spec.pixels, before % spec.pixels
        window = np.searchsorted(frees, pixel, side="right") - 1
        self.frees: list[int] = (image * self.count + window).tolist()
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


def after(times: Times, number: int) -> Moment:
    """The cycle after event ``number``."""
    while len(times.at) <= number:
        yield times
    return times.at[number] + 1
