"""Samples on their way through a board: as bytes of the line, and which are still missing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.numeric import Format, check_ints, unmasked

__all__ = ["Job", "pack", "unpack"]

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
    """Results of the line as integers.

    Parameters
    ----------
    results : uint8 array ``[sample, byte]``
        Whole beats.
    port : mapping
        The contract's ``output``.

    Returns
    -------
    int64 array ``[sample, element]``

    Raises
    ------
    TypeError
        If they are no array of uint8.
    ValueError
        If a sample has not the bytes of the port's beats.
    """
    if not isinstance(results, np.ndarray) or results.dtype != np.uint8:
        kind = results.dtype if isinstance(results, np.ndarray) else type(results).__name__
        raise TypeError(f"Results must be an array of uint8, not {kind}")
    data = unmasked(results, "Results")
    size = port["lane_bits"] // 8
    row = port["beats"] * port["lanes"] * size
    if data.ndim != 2 or data.shape[1] != row:
        raise ValueError(f"Results must have the shape (samples, {row}), not {data.shape}")
    lanes = data.reshape(len(data), row // size, size)[:, : port["elements"]]
    wide = np.zeros((*lanes.shape[:2], 8), dtype=np.uint8)
    wide[:, :, :size] = lanes
    if port["signed"]:
        wide[:, :, size:] = np.where(lanes[:, :, -1:] & 0x80, 0xFF, 0)
    return wide.view("<i8")[:, :, 0].astype(np.int64)


class Job:
    """Samples on their way through the core. The board's n-th result in a session belongs to the
    n-th sample that it took, be that one for the first time or again.

    Parameters
    ----------
    samples : uint8 array ``[sample, byte]``
    result_bytes : int

    Attributes
    ----------
    results : uint8 array ``[sample, byte]``
    left : int
        Samples whose results have not come.
    next_result : int
        Number of the next result that is wanted.
    """

    def __init__(self, samples: Bytes, result_bytes: int) -> None:
        self._samples = samples
        self._missing = np.ones(len(samples), dtype=bool)
        self._attempts: dict[int, int] = {}
        self.results = np.zeros((len(samples), result_bytes), dtype=np.uint8)
        self.left = len(samples)
        self.begin(0, 0, 0)

    def begin(self, offset: int, result: int, room: int) -> None:
        """A session, or what is left of it: all samples that are missing are to be sent in it.

        Parameters
        ----------
        offset : int
            Of the first sample's first byte.
        result : int
            Number of the first result.
        room : int
            Samples that may be sent at most.
        """
        self._offset, self._first, self._room = offset, result, room
        self._order: list[int] = np.flatnonzero(self._missing)[:room].tolist()
        self._lost: list[int] = []
        self.next_result = result

    @property
    def end(self) -> int:
        """The offset behind all samples that must be sent in this session."""
        return self._offset + len(self._order) * int(self._samples.shape[1])

    def behind(self, number: int) -> int:
        """The offset behind the sample to which the result ``number`` belongs."""
        return self._offset + (number - self._first + 1) * int(self._samples.shape[1])

    @property
    def spent(self) -> bool:
        """Whether this session has given all that it can."""
        return self.next_result == self._first + len(self._order)

    def source(self, start: int, end: int) -> bytes:
        """The bytes from one offset to another."""
        size = self._samples.shape[1]
        start, end = start - self._offset, end - self._offset
        first = start // size
        rows = self._samples[self._order[first : (end - 1) // size + 1]]
        return rows.tobytes()[start - first * size : end - first * size]

    def skip(self, number: int) -> None:
        """The board has sent all results before ``number``; what has not come is lost."""
        if number > self._first + len(self._order):
            return  # of no sample that was sent
        while self.next_result < number:
            self._lost.append(self._order[self.next_result - self._first])
            self.next_result += 1

    def put(self, number: int, payload: bytes) -> bool:
        """Takes in the result ``number``; gives whether it is wanted.

        One that has come, or was taken for lost, is not: its sample has its result, or is sent
        again. Nor is one of no sample that was sent.
        """
        place = number - self._first
        if number < self.next_result or place >= len(self._order):
            return False
        self.skip(number)
        sample = self._order[place]
        self.results[sample] = np.frombuffer(payload, dtype=np.uint8)
        self._missing[sample] = False
        self.next_result += 1
        self.left -= 1
        return True

    def repeat(self) -> int:
        """Samples whose results were lost go to the end, as far as there is room; gives how many
        were lost.
        """
        lost, self._lost = self._lost, []
        for sample in lost:
            self._attempts[sample] = self._attempts.get(sample, 0) + 1
            if self._attempts[sample] > ATTEMPTS:
                raise LutgenError(
                    f"the result of sample {sample} was lost {ATTEMPTS} times; the line is too bad"
                )
        self._order += lost[: self._room - len(self._order)]
        return len(lost)

    def missing(self) -> str:
        """What has not come, in words."""
        total = len(self._samples)
        number = self.next_result - self._first
        sample = self._order[number] if number < len(self._order) else None
        which = "" if sample is None else f", next that of sample {sample}"
        return f"{total - self.left} of {total} results have come{which}"
