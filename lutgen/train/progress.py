"""How far a training run has come."""

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Clock", "Progress"]

EVERY = 2.0  # seconds between reports within an epoch


@dataclass(frozen=True)
class Progress:
    """How far a stage of training has come.

    Attributes
    ----------
    stage : str
        ``float``, ``replace``, ``refit``, ``calibrate`` or ``joint``.
    done : float
        Epochs, a fraction within one; or layers.
    total : int
    seconds : float
        Spent in the stage, by this run.
    seconds_left : float or None
        An estimate of what the stage still takes; None where a run goes on from a checkpoint, as it
        says first of all.
    note : str
        What was measured, in words.
    """

    stage: str
    done: float
    total: int
    seconds: float
    seconds_left: float | None
    note: str

    def __str__(self) -> str:
        whole = self.done == int(self.done)
        count = f"{self.stage} {int(self.done) if whole else f'{self.done:.2f}'}/{self.total}"
        parts = [count, self.note]
        if self.seconds_left is not None:
            parts.append(f"{duration(self.seconds)}, {duration(self.seconds_left)} left")
        return ", ".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """A time for people: ``7 s``, ``12 min``, ``3 h 5 min``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


class Clock:
    """Turns counts of one stage into `Progress`.

    Parameters
    ----------
    report : callable or None
        Called with every `Progress`.
    stage : str
    total : int
    before : int
        What was done in an earlier run.
    """

    def __init__(
        self, report: Callable[[Progress], object] | None, stage: str, total: int, before: int = 0
    ):
        self._report, self._stage, self._total, self._before = report, stage, total, before
        self._start = self._last = time.monotonic()

    def __call__(self, done: float, note: str = "") -> None:
        if self._report is None:
            return
        now = time.monotonic()
        if done != int(done) and now - self._last < EVERY:
            return
        self._last = now
        spent = now - self._start
        left = spent / max(done - self._before, 1e-9) * (self._total - done)
        self._report(Progress(self._stage, done, self._total, spent, left, note))
