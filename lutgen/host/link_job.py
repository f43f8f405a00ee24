"""Samples on their way through a board: as bytes of the line, and which are still missing."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.numeric import Format, check_ints
from lutgen.spec.link_frames import OFFSET_MASK

__all__ = ["Job", "Watch", "pack", "unpack"]

ATTEMPTS = 100  # of a sample

Bytes = NDArray[np.uint8]


def pack(samples: NDArray[np.int64], port: Mapping[str, Any]) -> Bytes:
    """Samples as they go over the line.

    Parameters
    ----------
    samples : int array ``[sample, element]``
    port : mapping
        The contract's ``input``.

    Returns
    -------
    uint8 array ``[sample, byte]``
        Whole beats, filled up with zeros.

    Raises
    ------
    TypeError, ValueError
        If they are no integers of the port's format, or not as many as a sample has.
    """
    data = check_ints(samples, "Samples", Format(port["bits"], port["signed"]))
    if data.ndim != 2 or data.shape[1] != port["elements"]:
        raise ValueError(
            f"Samples must have the shape (samples, {port['elements']}), not {data.shape}"
        )
    size = port["lane_bits"] // 8
    filled = np.zeros((len(samples), port["beats"] * port["lanes"]), dtype="<i8")
    filled[:, : port["elements"]] = data
    lanes = filled.view(np.uint8).reshape(len(samples), -1, 8)[:, :, :size]
    return np.ascontiguousarray(lanes).reshape(len(samples), -1)


def unpack(results: Bytes, port: Mapping[str, Any]) -> NDArray[np.int64]:
    """Results ``[sample, byte]`` of the line as integers ``[sample, element]``; ``port`` is the
    contract's ``output``.
    """
    size = port["lane_bits"] // 8
    lanes = results.reshape(len(results), -1, size)[:, : port["elements"]]
    wide = np.zeros((*lanes.shape[:2], 8), dtype=np.uint8)
    wide[:, :, :size] = lanes
    if port["signed"]:
        wide[:, :, size:] = np.where(lanes[:, :, -1:] & 0x80, 0xFF, 0)
    return wide.view("<i8")[:, :, 0].astype(np.int64)


class Watch:
    """Time since the last progress."""

    def __init__(self, clock: Callable[[], float], retry: float, patience: float) -> None:
        self._clock, self._retry, self._patience = clock, retry, patience
        self.progress()

    def progress(self) -> None:
        """There was some."""
        self._start = self._clock()
        self._next = self._start + self._retry

    def left(self) -> float:
        """Seconds until something must be done."""
        return max(0.0, self._next - self._clock())

    def due(self) -> bool:
        """Whether it must be done now; then it is not due for another while."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._retry
        return True

    def over(self) -> bool:
        """Whether patience is at its end."""
        return self._clock() >= self._start + self._patience


class Job:
    """Samples on their way through the core. The board's n-th result since its reset belongs to the
    n-th sample that it took, be that one for the first time or again.

    Parameters
    ----------
    samples : uint8 array ``[sample, byte]``
    result_bytes : int
    offset : int
        Of the first sample's first byte.
    result : int
        Number of the first result.
    """

    def __init__(self, samples: Bytes, result_bytes: int, offset: int, result: int) -> None:
        self._samples, self._offset, self._first = samples, offset, result
        self._order = list(range(len(samples)))
        self._attempts: dict[int, int] = {}
        self._lost: list[int] = []
        self.results = np.zeros((len(samples), result_bytes), dtype=np.uint8)
        self.next_result = result
        self.left = len(samples)

    @property
    def end(self) -> int:
        """The offset behind all samples that must be sent."""
        return self._offset + len(self._order) * int(self._samples.shape[1])

    def source(self, start: int, end: int) -> bytes:
        """The bytes from one offset to another."""
        size = self._samples.shape[1]
        start, end = start - self._offset, end - self._offset
        first = start // size
        rows = self._samples[self._order[first : (end - 1) // size + 1]]
        return rows.tobytes()[start - first * size : end - first * size]

    def skip(self, number: int) -> None:
        """The board has sent all results before ``number``, modulo 2 ** 16; what has not come is
        lost.
        """
        end = self._first + len(self._order)
        target = self.next_result + (number - self.next_result & OFFSET_MASK)
        if target > end:
            return  # an old answer
        while self.next_result < target:
            self._lost.append(self._order[self.next_result - self._first])
            self.next_result += 1

    def put(self, number: int, payload: bytes) -> bool:
        """Takes in the result ``number``, modulo 2 ** 16; gives whether it is one of these."""
        place = self.next_result + (number - self.next_result & OFFSET_MASK) - self._first
        if place >= len(self._order):
            return False
        self.skip(number)
        self.results[self._order[place]] = np.frombuffer(payload, dtype=np.uint8)
        self.next_result += 1
        self.left -= 1
        return True

    def repeat(self) -> int:
        """Samples whose results were lost go to the end; gives how many."""
        lost, self._lost = self._lost, []
        for sample in lost:
            self._attempts[sample] = self._attempts.get(sample, 0) + 1
            if self._attempts[sample] > ATTEMPTS:
                raise LutgenError(
                    f"the result of sample {sample} was lost {ATTEMPTS} times; the line is too bad"
                )
        self._order += lost
        return len(lost)

    def missing(self) -> str:
        """What has not come, in words."""
        total = len(self._samples)
        number = self.next_result - self._first
        sample = self._order[number] if number < len(self._order) else None
        which = "" if sample is None else f", next that of sample {sample}"
        return f"{total - self.left} of {total} results have come{which}"
