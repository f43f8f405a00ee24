"""How long a job takes: what waits for what in the engine, pass by pass.

Streams are taken to be there whenever they are waited for, and results to be taken at once. With
one clock the cycles are exact; with two, but for the few in which levels and rows of indices cross.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from lutgen.spec.engine import LEAST_PASS
from lutgen.spec.job import JobSpec

__all__ = ["Pace", "predicted", "predicted_cycles"]

# Cycles between events, as the gateware has them; 0 is the cycle of the start.
RUNS = 1  # to the first in which tables are taken
FOLLOWS = 2  # to the first in which activations and centroids are
SERIALISE = 4  # from a beat's beginning to its push
CLOSES = 4  # from the last beat's push to the end


@dataclass(frozen=True)
class Pace:
    """What a job takes.

    Attributes
    ----------
    cycles : int
        As the counter CYCLES shows them.
    lookups : int
        Cycles in which the matchers look up.
    """

    cycles: int
    lookups: int

    @property
    def utilisation(self) -> float:
        """Of the matchers."""
        return self.lookups / self.cycles


class Encoders:
    """When rows of indices come, in the main clock's cycles; asked for in order.

    Parameters
    ----------
    job : JobSpec
    ratio : float
        Cycles of the main clock in one of the encoders'.
    """

    def __init__(self, job: JobSpec, ratio: float):
        spec = job.engine
        self.job, self.ratio = job, ratio
        self.codes = job.inputs == "indices"
        self.beats = spec.code_beats if self.codes else spec.activation_beats
        self.step = 1 if self.codes else spec.encode_interval
        self.latency = 0 if self.codes else spec.encode_interval - 1 + spec.encoder.latency
        self.load = spec.codebook_rows * spec.centroid_beats
        self.fed = FOLLOWS - 1.0  # when the last beat of the row before was taken
        self.begun = -1e9  # when the row before began
        self.filled = FOLLOWS - 1.0  # when the last codebook was complete
        self.released = deque([-1e9] * spec.halves)
        self.books = 0.0
        self.pushed = -1e9
        self.places: deque[float] = deque([-1e9] * spec.index_fifo.depth)

    def begin_pass(self) -> None:
        """The next codebook."""
        if self.codes:
            return
        free = self.released.popleft()
        # With one half alone, it is free when its last use is over.
        wait = 1 if self.job.engine.ping_pong else 2
        first = max(self.filled + 1, free + wait)
        # A cycle in which nothing is taken follows every codebook.
        last = max(first, self.filled + 2 if self.books else first) + self.load - 1
        self.filled = last
        self.books = last + 2

    def row(self) -> float:
        """When the next row is offered behind the queue."""
        scale = self.ratio
        fed = max(self.fed + self.beats, self.begun + self.step - 1)
        space = self.places.popleft() / scale + 1
        begun = max(fed + 1, self.begun + self.step, space, self.books)
        self.fed, self.begun = fed, begun
        pushed = begun + self.latency
        offered = (pushed + 1) * scale
        return offered + (3 if self.job.engine.two_clocks else 0)

    def end_pass(self) -> None:
        """The pass's last row has been begun."""
        if not self.codes:
            self.released.append(self.begun + self.step - 1)

    def taken(self, cycle: float) -> None:
        """A row has left the queue."""
        self.places.append(cycle)


def predicted(job: JobSpec, *, ratio: float = 1.0) -> Pace:
    """What a job takes.

    Parameters
    ----------
    ratio : float
        Cycles of the main clock in one of the encoders'.
    """
    if job.results == "indices":
        return Pace(_indices(job, ratio), 0)
    return _Matching(job, ratio).pace()


def predicted_cycles(job: JobSpec, *, ratio: float = 1.0) -> int:
    """The cycles of `predicted`."""
    return predicted(job, ratio=ratio).cycles


def _indices(job: JobSpec, ratio: float) -> int:
    """Of a job that gives indices: rows leave one after the other."""
    encoders, beats = Encoders(job, ratio), job.engine.index_beats
    free = 0.0
    for rows in job.sizes:
        for _ in range(job.groups):
            encoders.begin_pass()
            for _ in range(rows):
                last = max(encoders.row(), free) + beats - 1
                encoders.taken(last)
                free = last + 1
            encoders.end_pass()
    return round(free - 1) + CLOSES


class _Matching:
    """The walk over blocks, tiles, groups and rows."""

    def __init__(self, job: JobSpec, ratio: float):
        spec = job.engine
        self.job, self.spec = job, spec
        self.encoders = Encoders(job, ratio)
        self.stored = 0.0  # when the last row came into the index buffer
        self.freed: deque[float] = deque([-1e9] * spec.index_depth)
        self.table_end = RUNS - 1.0 + (spec.map_beats if job.has_map else 0)
        self.released = deque([-1e9] * spec.halves)
        self.stepped = 0.0  # the last step
        self.rest = 0
        self.shown = 0.0  # when the last beat of the row of results before began
        self.waiting: deque[float] = deque([-1e9] * spec.result_depth)
        raw = job.results == "accumulators"
        self.row_beats = spec.word_beats if raw else spec.result_beats
        self.steps = 0

    def pace(self) -> Pace:
        """Walks."""
        job = self.job
        for rows in job.sizes:
            known: list[float] = []  # when rows of indices came that are read again
            for tile in range(job.tiles):
                frees = not job.reused or tile == job.tiles - 1
                for group in range(job.groups):
                    table = self._table(group)
                    if tile == 0 or not job.reused:
                        # Where rows are set free as they are read, they come as others leave.
                        found = self._found(rows)
                        if not frees:
                            known += found
                            found = iter(known[group * rows :])
                    else:
                        found = iter(known[group * rows : (group + 1) * rows])
                    self._steps(rows, table, found, group, frees)
        return Pace(round(self.shown + SERIALISE + CLOSES), self.steps)

    def _table(self, group: int) -> float:
        """The first cycle in which the next table tile can be used."""
        spec = self.spec
        beats = spec.table_rows * spec.table_beats
        if group == 0:
            beats += spec.matchers * spec.bias_beats
        drain = spec.tree.latency
        wait = drain + (1 if spec.ping_pong else 2)
        first = max(self.table_end + 1, self.released.popleft() + wait)
        self.table_end = first + beats - 1
        return self.table_end + 1

    def _found(self, rows: int) -> Iterator[float]:
        """When each row of a pass can be read, once it has been encoded."""
        encoders = self.encoders
        encoders.begin_pass()
        for number in range(rows):
            offered = encoders.row()
            if number == rows - 1:
                encoders.end_pass()
            stored = max(offered, self.stored + 1, self.freed.popleft() + 1)
            encoders.taken(stored)
            self.stored = stored
            yield stored + 1

    def _steps(
        self, rows: int, table: float, found: Iterator[float], group: int, frees: bool
    ) -> None:
        """The steps of a pass."""
        last = group == self.job.groups - 1
        step = max(self.stepped + self.rest, table - 1)
        for _ in range(rows):
            step = max(step + 1, next(found))
            if last:
                step = max(step, self.waiting.popleft() + 1)
                pushed = step + self.spec.matcher_latency
                moved = max(pushed + 1, self.shown)
                self.waiting.append(moved)
                self.shown = moved + self.row_beats
            if frees:
                self.freed.append(step)
        self.stepped = step
        self.rest = max(0, LEAST_PASS - rows)
        self.released.append(step)
        self.steps += rows
