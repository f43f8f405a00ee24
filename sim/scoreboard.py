"""What a core must answer, and the first place where it does not; plain numpy, no simulator."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def check(values: NDArray[Any], port: dict[str, Any], what: str) -> Ints:
    """``values`` as int64, once it is sure that they are whole samples of a port's integers.

    Parameters
    ----------
    values : int array ``[sample, element]``
    port : dict
        The contract's ``input`` or ``output``.
    what : str
        What they are, plural, for the complaint.

    Raises
    ------
    TypeError
        If they are no integers.
    ValueError
        If they are of another shape, or one lies outside the port's format.
    """
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] != port["elements"] or not len(array):
        raise ValueError(
            f"{what} must have the shape (samples, {port['elements']}), not {array.shape}"
        )
    if array.dtype.kind not in "iu":
        raise TypeError(f"{what} must be integers, not {array.dtype}")
    low = -(1 << (port["bits"] - 1)) if port["signed"] else 0
    high = low + (1 << port["bits"]) - 1
    least, most = int(array.min()), int(array.max())
    if least < low or most > high:
        bad = least if least < low else most
        raise ValueError(f"{what} must lie in {low}..{high}, as the contract says, not {bad}")
    return array.astype(np.int64)


def to_bytes(
    values: Ints, lanes: int, lane_bits: int, rng: np.random.Generator | None = None, bits: int = 0
) -> NDArray[np.uint8]:
    """Beats of samples: each element in its own lane, sign- or zero-extended, lowest lane first.

    Parameters
    ----------
    values : int64 ``[sample, element]``
    lanes, lane_bits
        Elements of a beat and bits of a lane.
    rng : Generator or None
        If given, what a core must not look at is random: the bits of a lane above ``bits`` and the
        lanes past the last element.
    bits : int
        Width of an element; only read if ``rng`` is given.

    Returns
    -------
    uint8 ``[sample, beat, byte]``
        Lowest byte first.
    """
    samples, elements = values.shape
    beats = -(-elements // lanes)
    lane_bytes = lane_bits // 8
    lane = np.zeros((samples, beats * lanes), dtype="<i8")
    lane[:, :elements] = values
    if rng is not None:
        noise = rng.integers(-(1 << 63), (1 << 63) - 1, size=lane.shape, dtype=np.int64)
        mask = np.zeros(lane.shape, dtype=np.int64)
        mask[:, :elements] = (1 << bits) - 1
        lane = (lane & mask) | (noise & ~mask)
    raw = lane.view(np.uint8).reshape(samples, beats, lanes, 8)[..., :lane_bytes]
    return np.ascontiguousarray(raw).reshape(samples, beats, lanes * lane_bytes)


def from_bytes(raw: NDArray[np.uint8], elements: int, lane_bits: int, signed: bool) -> Ints:
    """The elements ``[sample, element]`` of the bytes of whole frames ``[sample, beat, byte]``,
    each read as a whole lane.
    """
    lane_bytes = lane_bits // 8
    samples, beats, size = raw.shape
    lane = raw.reshape(samples, beats * size // lane_bytes, lane_bytes)[:, :elements]
    wide = np.zeros((samples, elements, 8), dtype=np.uint8)
    wide[..., :lane_bytes] = lane
    values = wide.view("<i8")[..., 0].astype(np.int64)
    spare = 64 - lane_bits
    return (values << spare) >> spare if signed else values


def settling(contract: Mapping[str, Any]) -> int:
    """Cycles after the last result in which a core may still be at work, on rows of the last
    sample that a layer takes and does not need: no stage is at work for longer than an interval
    after the one before it.
    """
    return int(contract["latency"] + len(contract["stages"]) * contract["interval"])


def pack_beats(
    values: Ints, lanes: int, lane_bits: int, rng: np.random.Generator | None = None, bits: int = 0
) -> list[list[int]]:
    """For each sample, the beats of `to_bytes` as unsigned integers."""
    raw = to_bytes(values, lanes, lane_bits, rng, bits)
    return [[int.from_bytes(beat.tobytes(), "little") for beat in sample] for sample in raw]


def unpack_beats(beats: list[int], elements: int, lanes: int, lane_bits: int, signed: bool) -> Ints:
    """The elements of one frame's beats; see `from_bytes`."""
    raw = b"".join(int(beat).to_bytes(lanes * lane_bits // 8, "little") for beat in beats)
    frame = np.frombuffer(raw, dtype=np.uint8).reshape(1, len(beats), -1)
    return from_bytes(frame, elements, lane_bits, signed)[0]


@dataclass
class Report:
    """What a simulation says of one core; plain data for the result file."""

    prefix: str
    samples: int = 0
    words: int = 0
    mismatches: int = 0
    first: dict[str, int | str] | None = None
    latency: int | None = None
    interval: int | None = None
    intervals: list[int] = field(default_factory=list)
    cycles: int = 0
    errors: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing at all was wrong."""
        return not self.mismatches and not self.errors

    def fail(self, text: str) -> None:
        """Keeps an error; the first few tell enough."""
        if len(self.errors) < 20:
            self.errors.append(text)

    def data(self) -> dict[str, Any]:
        """JSON data."""
        return {
            "prefix": self.prefix,
            "passed": self.passed,
            "samples": self.samples,
            "words": self.words,
            "mismatches": self.mismatches,
            "first_mismatch": self.first,
            "latency": self.latency,
            "interval": self.interval,
            "intervals": self.intervals,
            "cycles": self.cycles,
            "errors": self.errors,
        }


class Scoreboard:
    """Compares frames, in order, with the expected outputs of one pass.

    Parameters
    ----------
    report : Report
        Where counts and the first mismatch go.
    output : dict
        The contract's ``output``.
    step : str
        Name of the pass, for messages.
    """

    def __init__(self, report: Report, output: dict[str, Any], step: str) -> None:
        self._report = report
        self._output = output
        self._step = step
        self._seen = 0

    def frame(self, beats: list[int], expected: Ints, sample: int) -> None:
        """Checks one frame against ``expected``, an int64 array ``[element]`` of the vectors'
        ``sample``.
        """
        got = None
        output = self._output
        if len(beats) == output["beats"]:
            got = unpack_beats(
                beats, *(output[key] for key in ("elements", "lanes", "lane_bits", "signed"))
            )
        self.result(len(beats), got, expected, sample)

    def result(self, beats: int, got: Ints | None, expected: Ints, sample: int) -> None:
        """Checks a frame of so many beats, with the elements ``got`` if the number is right."""
        number = self._seen
        self._seen += 1
        self._report.samples += 1
        if beats != self._output["beats"] or got is None:
            self._report.fail(
                f"{self._step}: result {number} (sample {sample}): "
                f"tlast came on beat {beats}, must be on beat {self._output['beats']}"
            )
            return
        self._report.words += len(got)
        wrong = np.flatnonzero(got != expected)
        self._report.mismatches += len(wrong)
        if len(wrong) and self._report.first is None:
            element = int(wrong[0])
            self._report.first = {
                "pass": self._step,
                "result": number,
                "sample": sample,
                "element": element,
                "got": int(got[element]),
                "expected": int(expected[element]),
            }
