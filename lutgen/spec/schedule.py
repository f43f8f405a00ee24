"""When things happen: the control of every stage, cycle by cycle, without its data.

Each class here is the state that the handshakes of one stage depend on, with the same transitions
as the gateware. Running a few samples through a chain of them gives the latency and interval that
the contract states; simulation of the Verilog then has to confirm both exactly.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from lutgen.spec.argmax import ArgmaxSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.stream import RegrouperSpec

__all__ = ["Timing", "measure"]

# What moves down a pipeline: nothing, work that ends no beat, the end of an output beat, of a
# sample.
IDLE, WORK, BEAT, LAST = range(4)


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


class _Output:
    """A result register and the skid buffer behind it."""

    def __init__(self) -> None:
        self.register = IDLE
        self.skid = IDLE

    @property
    def valid(self) -> int:
        return self.skid or self.register

    @property
    def advance(self) -> bool:
        """Whether the pipeline before the register moves."""
        return not (self.register and self.skid)

    def tick(self, taken: bool, token: int) -> None:
        """One clock edge: ``token`` arrives at the register if the pipeline moves."""
        moves = self.advance
        if self.skid:
            if taken:
                self.skid = IDLE
        elif self.register and not taken:
            self.skid = self.register
        if moves:
            self.register = token if token in (BEAT, LAST) else IDLE


class _Regrouper:
    """Beats in, groups out: `lutgen.gateware.stream.Regrouper`."""

    def __init__(self, spec: RegrouperSpec):
        # Plain attributes: the spec derives these anew at every access, and the loop below is long.
        self.beats, self.groups, self.registered = spec.beats, spec.groups, spec.registered
        self.i_parts, self.last_i_parts = spec.i_parts, spec.last_i_parts
        self.o_parts, self.last_o_parts = spec.o_parts, spec.last_o_parts
        self.beat = self.i_part = self.group = self.o_part = 0
        self.register = IDLE

    @property
    def gathered(self) -> int:
        """What the part at hand completes: nothing, a group, the last group."""
        last = self.group == self.groups - 1
        if self.o_part < (self.last_o_parts if last else self.o_parts) - 1:
            return IDLE
        return LAST if last else BEAT

    def offer(self, valid: bool) -> int:
        """The group at the output."""
        if self.registered:
            return self.register
        return self.gathered if valid else IDLE

    def tick(self, valid: bool, taken: bool) -> bool:
        """One clock edge; gives whether the input beat was taken."""
        gathered = self.gathered if valid else IDLE
        if self.registered:
            ready = taken or not self.register
            if ready:
                self.register = gathered
            taken = ready
        if not valid or (gathered and not taken):
            return False
        self.o_part = 0 if gathered else self.o_part + 1
        if gathered:
            self.group = (self.group + 1) % self.groups
        last_beat = self.beat == self.beats - 1
        if self.i_part < (self.last_i_parts if last_beat else self.i_parts) - 1:
            self.i_part += 1
            return False
        self.i_part = 0
        self.beat = (self.beat + 1) % self.beats
        return True


class _LinearTiming:
    def __init__(self, spec: LinearSpec, i_lanes: int):
        self.regrouper = _Regrouper(spec.regrouper(i_lanes))
        self.buffered, self.groups, self.lookups = spec.buffered, spec.groups, spec.lookups
        self.steps = spec.encoder.interval
        self.step = 0
        self.encoder = [IDLE] * spec.encoder.latency
        self.full = self.read = 0
        # The buffer's read takes one cycle before the matcher.
        self.matcher = [IDLE] * (spec.matcher_latency - 1 + spec.buffered)
        self.output = _Output()

    def tick(self, valid: bool, taken: bool) -> bool:
        """One cycle with a beat offered or not, a result taken or not; gives whether the beat was
        taken.
        """
        advance = self.output.advance
        group = self.regrouper.offer(valid)
        last_step = self.step == self.steps - 1
        token = group if last_step else IDLE
        encoded = self.encoder[-1] if self.encoder else token  # digits need no encoder
        moves = not (encoded and self.full == 2) if self.buffered else advance
        self._tick_matcher(encoded, advance, moves, taken)
        if moves:
            if group:
                self.step = 0 if last_step else self.step + 1
            if self.encoder:
                self.encoder = [token, *self.encoder[:-1]]
        return self.regrouper.tick(valid, moves and last_step)

    def _tick_matcher(self, encoded: int, advance: bool, moves: bool, taken: bool) -> None:
        if self.buffered:
            issue = IDLE
            release = False
            if self.full and advance:
                tile_ends = self.read % self.groups == self.groups - 1
                release = self.read == self.lookups - 1
                issue = LAST if release else BEAT if tile_ends else WORK
                self.read = 0 if release else self.read + 1
            self.full += (encoded == LAST and moves) - release
        else:
            issue = LAST if encoded == LAST else WORK if encoded else IDLE
        self.output.tick(taken, self.matcher[-1])
        if advance:
            self.matcher = [issue, *self.matcher[:-1]]


class _ArgmaxTiming:
    def __init__(self, spec: ArgmaxSpec):
        self.spec = spec
        self.beat = 0
        self.pipeline = [IDLE] * (spec.latency - 1)
        self.output = _Output()

    def tick(self, valid: bool, taken: bool) -> bool:
        """See `_LinearTiming.tick`."""
        advance = self.output.advance
        token = IDLE
        if valid:
            token = LAST if self.beat == self.spec.beats - 1 else WORK
        self.output.tick(taken, self.pipeline[-1] if self.pipeline else token)
        if not advance:
            return False
        if self.pipeline:
            self.pipeline = [token, *self.pipeline[:-1]]
        if valid:
            self.beat = (self.beat + 1) % self.spec.beats
        return valid


def measure(stages: Sequence[tuple[LinearSpec | ArgmaxSpec, int]], beats: int) -> Timing:
    """Runs samples of ``beats`` beats through a chain of stages, each with the lanes that feed it.

    Where bursts between stages would make the interval vary from sample to sample, samples are
    paced: the least pace is taken that makes it constant. (A chain of stages with bounded buffers
    is a max-plus linear system; behind a periodic source that is slow enough, every event of it
    becomes periodic.)

    Raises
    ------
    RuntimeError
        If no pace makes it constant, which would be a mistake in the schedule.
    """
    samples = 4 * len(stages) + 12

    def run(pace: int) -> tuple[int, list[int]]:
        ends = _finish(stages, beats, samples, pace)
        return ends[0], [b - a for a, b in itertools.pairwise(ends)][samples // 2 :]

    # A first sample is not delayed by those behind it, nor by the pace.
    latency, intervals = run(0)
    if len(set(intervals)) == 1:
        return Timing(latency, intervals[0], 0)
    low, high = 1, max(intervals)
    while len(set(run(high)[1])) != 1:
        low, high = high, 2 * high
        if high > 8 * max(intervals):
            raise RuntimeError(f"No steady state at pace {high}: intervals are {intervals}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if len(set(run(middle)[1])) == 1 else (middle, high)
    return Timing(latency, run(high)[1][0], high)


def _finish(
    stages: Sequence[tuple[LinearSpec | ArgmaxSpec, int]], beats: int, samples: int, pace: int
) -> list[int]:
    """Cycles at which results end, counted from the first beat, for samples back to back."""
    chain = [
        _LinearTiming(spec, lanes) if isinstance(spec, LinearSpec) else _ArgmaxTiming(spec)
        for spec, lanes in stages
    ]
    # The port has a skid buffer: its beat waits, or the source's passes through.
    offered = beats * samples
    passed = 0
    waiting = False
    ends: list[int] = []
    wait = cycle = 0
    while len(ends) < samples:
        first = passed % beats == 0
        there = waiting or bool(offered)
        valids = [there and not (first and wait), *(stage.output.valid for stage in chain)]
        if valids[-1] == LAST:
            ends.append(cycle)
        taken = True
        # A stage's readiness hangs on its own state alone, so the chain can be walked from its end.
        for number in reversed(range(len(chain))):
            taken = chain[number].tick(bool(valids[number]), taken)
        wait = pace - 1 if taken and first and pace else max(0, wait - 1)
        passed += taken
        if waiting:
            waiting = not taken
        elif offered:
            offered -= 1
            waiting = not taken
        cycle += 1
    return ends
