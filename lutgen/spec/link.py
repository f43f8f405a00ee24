"""The board's side of the link to a host: what follows from a core's contract, a clock and a baud
rate. The protocol is `lutgen.spec.link_frames`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lutgen.numeric import as_int
from lutgen.spec.link_frames import CHECK_BYTES, PROTOCOL, TAKEN_BITS, Info

__all__ = ["LinkSpec", "Uart", "fingerprint", "link_spec"]

RATE_ERROR = 0.001  # of the baud rate that a UART's divider may add
MIN_CLOCKS = 4  # of a bit


def fingerprint(contract: Mapping[str, Any]) -> str:
    """What tells one core from another, by its contract: the first 64 bits of the SHA-256 of its
    name, model, streams, load image, timing and the version of lutgen; 16 hexadecimal digits.
    """
    keys = ("name", "model", "input", "output", "load", "latency", "interval")
    data = {key: contract.get(key) for key in keys}
    data["lutgen"] = contract.get("tools", {}).get("lutgen")
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Uart:
    """A UART's clock and rate, and the divider between them: an accumulator that gains ``step`` in
    every cycle and ends a bit when it wraps at ``2 ** bits``, the narrowest that is right to a
    thousandth.

    Parameters
    ----------
    clock_hz : int
    baud : int
    """

    clock_hz: int
    baud: int

    def __post_init__(self) -> None:
        as_int(self.clock_hz, "Clock", low=1)
        as_int(self.baud, "Baud rate", low=1)
        if self.clock_hz < MIN_CLOCKS * self.baud:
            raise ValueError(
                f"Baud rate must be at most a quarter of the clock, {self.clock_hz // MIN_CLOCKS}, "
                f"not {self.baud}"
            )

    @property
    def clocks(self) -> float:
        """Cycles of a bit."""
        return self.clock_hz / self.baud

    @property
    def bits(self) -> int:
        """Width of the accumulator."""
        bits = 2
        while abs(round((1 << bits) / self.clocks) * self.clocks / (1 << bits) - 1) > RATE_ERROR:
            bits += 1
        return bits

    @property
    def step(self) -> int:
        """What it gains in a cycle."""
        return round((1 << self.bits) / self.clocks)


@dataclass(frozen=True)
class LinkSpec:
    """The board's side of the link to one core.

    Parameters
    ----------
    uart : Uart
    mark : str
        See `fingerprint`.
    input_beats, input_beat_bytes, output_beats, output_beat_bytes : int
        Of a sample and of a result.
    load_words : int
        Of a load image; 0 for a core that takes none.
    buffer : int
        Bytes of the buffer in front of the core, a power of two.
    results : int
        Bytes of the buffer behind it, likewise.
    """

    uart: Uart
    mark: str
    input_beats: int
    input_beat_bytes: int
    output_beats: int
    output_beat_bytes: int
    load_words: int = 0
    buffer: int = 512
    results: int = 256

    def __post_init__(self) -> None:
        for value, what in (
            (self.input_beats, "Beats of a sample"),
            (self.input_beat_bytes, "Bytes of an input beat"),
            (self.output_beats, "Beats of a result"),
            (self.output_beat_bytes, "Bytes of an output beat"),
        ):
            as_int(value, what, low=1)
        as_int(self.load_words, "Words of a load image", low=0)
        for value, what in (
            (self.buffer, "Bytes of the link's buffer"),
            (self.results, "Bytes of results that wait"),
        ):
            as_int(value, what, low=64, high=1 << TAKEN_BITS - 1)
            if value & (value - 1):
                raise ValueError(f"{what} must be a power of two, not {value}")

    @property
    def sample_bytes(self) -> int:
        """Of a sample, as many as its beats hold."""
        return self.input_beats * self.input_beat_bytes

    @property
    def result_bytes(self) -> int:
        """Of a result, as many as its beats hold."""
        return self.output_beats * self.output_beat_bytes

    @property
    def window(self) -> int:
        """Bytes that may be under way to the core: a frame's check goes into the buffer with it."""
        return self.buffer - CHECK_BYTES

    @property
    def whole(self) -> bool:
        """Whether a sample goes to the core only when all of it is there."""
        return self.sample_bytes <= self.window

    @property
    def info(self) -> Info:
        """What the board says of itself."""
        shape = (self.input_beats, self.input_beat_bytes, self.output_beats, self.output_beat_bytes)
        return Info(PROTOCOL, self.mark, *shape, self.window, self.uart.clock_hz, self.load_words)

    @property
    def fields(self) -> dict[str, Any]:
        """What a contract says of the link, as its field ``link``."""
        return {
            "protocol": PROTOCOL,
            "fingerprint": self.mark,
            "clock_hz": self.uart.clock_hz,
            "baud": self.uart.baud,
            "buffer": self.buffer,
            "results": self.results,
        }


def default_buffer(sample_bytes: int) -> int:
    """Room for two samples, between one and four block RAMs of an iCE40."""
    return min(max(1 << (2 * sample_bytes + CHECK_BYTES - 1).bit_length(), 512), 2048)


def link_spec(
    contract: Mapping[str, Any],
    *,
    clock_hz: int,
    baud: int,
    buffer: int | None = None,
    results: int = 256,
) -> LinkSpec:
    """The link of a core, by its contract.

    Parameters
    ----------
    contract : mapping
        See docs/core-contract.md.
    clock_hz, baud : int
    buffer : int or None
        By default room for two samples, within limits.
    results : int

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of range.
    """
    source, sink, load = contract["input"], contract["output"], contract.get("load")
    i_bytes, o_bytes = (port["lanes"] * port["lane_bits"] // 8 for port in (source, sink))
    return LinkSpec(
        Uart(clock_hz, baud),
        fingerprint(contract),
        input_beats=source["beats"],
        input_beat_bytes=i_bytes,
        output_beats=sink["beats"],
        output_beat_bytes=o_bytes,
        load_words=load["words"] if load else 0,
        buffer=default_buffer(source["beats"] * i_bytes) if buffer is None else buffer,
        results=results,
    )
