"""Frames of the link between a host and a board: what goes over the line, and what it says. The
words are those of docs/link-protocol.md.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from lutgen.numeric import as_int

__all__ = [
    "Answer",
    "Command",
    "Counters",
    "Deframer",
    "Flags",
    "Info",
    "Result",
    "Status",
    "command",
    "frame",
    "longest_answer",
]

PROTOCOL = 2

# Byte stuffing, as in RFC 1662. A flag is never anything but the border of two frames, so whatever
# was lost or added before it, the next frame is read right; and the board's transmitter needs no
# look-ahead, where COBS would have it hold 254 bytes before the first of them may leave. Samples
# and results are full of 0 and 255, which is why neither has a meaning here.
FLAG, ESCAPE, FLIP = 0x7E, 0x7D, 0x20

CHECK_BYTES = 4  # CRC-32, as zlib computes it, lowest byte first
RESIDUE = 0xDEBB20E3  # what its register holds after a frame with the right one
SHORT_BYTES = 3  # of a question; in every version, so that any board can be asked
HEADER_BYTES = 6
SESSION_BITS = 16
SESSION_MASK = (1 << SESSION_BITS) - 1
# Of offsets, and of numbers of results. None comes twice in a session, which ends before: so
# nothing that the line says twice, or late, can be mistaken for what is wanted now.
OFFSET_BITS = 24
OFFSET_MASK = (1 << OFFSET_BITS) - 1
TAKEN_BITS = 16  # of the one offset that another is never far from
TAKEN_MASK = (1 << TAKEN_BITS) - 1
LOAD_WORD_BYTES = 4


class Command(IntEnum):
    """What the host asks: the first byte of its frames."""

    INFO = 1
    STATUS = 2
    COUNTERS = 3
    RESET = 4
    SAMPLES = 5
    TABLES = 6


class Answer(IntEnum):
    """What the board says: the first byte of its frames."""

    INFO = 0x81
    STATUS = 0x82
    COUNTERS = 0x83
    RESULT = 0x84


class Flags(IntEnum):
    """Bits of a status."""

    FRAME_ERROR = 0
    LOADED = 1
    LOAD_ERROR = 2
    BUSY = 3


def frame(body: bytes) -> bytes:
    """A body as it goes over the line, its check and its two flags included."""
    whole = body + zlib.crc32(body).to_bytes(CHECK_BYTES, "little")
    # The escape first: what it is replaced by holds one.
    for byte in (ESCAPE, FLAG):
        whole = whole.replace(bytes([byte]), bytes([ESCAPE, byte ^ FLIP]))
    return bytes([FLAG]) + whole + bytes([FLAG])


def command(kind: Command, session: int = 0, argument: int = 0, payload: bytes = b"") -> bytes:
    """The body of one of the host's frames. ``session`` is that which the board must be in, and
    ``argument`` an offset, the session that a reset begins, or the mark of a question for counters;
    other questions take neither.
    """
    head = struct.pack("<BH", kind, session)
    return head if kind < Command.COUNTERS else head + _offset(argument) + payload


def _offset(value: int) -> bytes:
    return value.to_bytes(OFFSET_BITS // 8, "little")


class Deframer:
    """Bytes of a line in, whole bodies out; what is broken is counted and dropped.

    Parameters
    ----------
    limit : int
        Bytes of the longest frame that can be right, its check included and escapes not.

    Attributes
    ----------
    errors : int
        Broken frames up to now.
    """

    def __init__(self, limit: int) -> None:
        self.limit = as_int(limit, "Longest frame", low=CHECK_BYTES + 1)
        self.errors = 0
        self._open = b""

    def push(self, data: bytes) -> list[bytes]:
        """The bodies that are whole with ``data``."""
        *ended, rest = data.split(bytes([FLAG]))
        bodies = []
        for part in ended:
            body = self._close(self._open + part)
            self._open = b""
            if body is not None:
                bodies.append(body)
        # What is longer than any frame is broken already: the flag that ends it will say so.
        self._open = (self._open + rest)[: 2 * self.limit + 1]
        return bodies

    def _close(self, stuffed: bytes) -> bytes | None:
        if not stuffed:
            return None
        first, *escaped = stuffed.split(bytes([ESCAPE]))
        whole = first
        for part in escaped:
            if part:
                whole += bytes([part[0] ^ FLIP]) + part[1:]
            else:  # two in a row, or one at the end
                whole = b""
                break
        body, check = whole[:-CHECK_BYTES], whole[-CHECK_BYTES:]
        if (
            not body
            or len(whole) > self.limit
            or int.from_bytes(check, "little") != zlib.crc32(body)
        ):
            self.errors += 1
            return None
        return body


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


INFO = struct.Struct("<BB8sIHIHHII")
STATUS = struct.Struct("<BH3sH3sBB")
COUNTERS = struct.Struct("<BHHIIII")
RESULT = struct.Struct("<BH3s")  # the beats follow


@dataclass(frozen=True)
class Info:
    """What a board is.

    Attributes
    ----------
    protocol : int
    fingerprint : str
        16 hexadecimal digits; see `fingerprint`.
    input_beats, input_beat_bytes, output_beats, output_beat_bytes : int
        Of a sample and of a result.
    window : int
        Bytes that may be under way to the core.
    clock_hz : int
    load_words : int
        Of a load image, or 0.
    """

    protocol: int
    fingerprint: str
    input_beats: int
    input_beat_bytes: int
    output_beats: int
    output_beat_bytes: int
    window: int
    clock_hz: int
    load_words: int

    @property
    def body(self) -> bytes:
        """As an answer."""
        mark = bytes.fromhex(self.fingerprint)
        shape = (self.input_beats, self.input_beat_bytes, self.output_beats, self.output_beat_bytes)
        rest = (self.window, self.clock_hz, self.load_words)
        return INFO.pack(Answer.INFO, self.protocol, mark, *shape, *rest)

    @classmethod
    def parse(cls, body: bytes) -> "Info":
        """Out of an answer of the right length."""
        _, protocol, mark, *fields = INFO.unpack(body)
        return cls(protocol, mark.hex(), *fields)


@dataclass(frozen=True)
class Status:
    """How far a board has come.

    Attributes
    ----------
    session : int
        The argument of the last reset, or 0.
    results : int
        Results sent in this session.
    taken : int
        Offset of the next byte that goes to the core, modulo 2 ** 16; never so far behind
        ``expected`` that this could mean another.
    expected : int
        Offset of the next byte that it wants.
    flags : int
        A bit for each of `Flags`.
    errors : int
        Broken frames that it got, modulo 256.
    """

    session: int
    results: int
    taken: int
    expected: int
    flags: int
    errors: int

    @property
    def body(self) -> bytes:
        """As an answer."""
        first = (self.session, _offset(self.results), self.taken & TAKEN_MASK)
        rest = (_offset(self.expected), self.flags, self.errors)
        return STATUS.pack(Answer.STATUS, *first, *rest)

    @classmethod
    def parse(cls, body: bytes) -> "Status":
        """Out of an answer of the right length."""
        _, session, results, taken, expected, *rest = STATUS.unpack(body)
        return cls(session, _number(results), taken, _number(expected), *rest)

    def has(self, flag: Flags) -> bool:
        """Whether a flag is set."""
        return bool(self.flags >> flag & 1)


@dataclass(frozen=True)
class Counters:
    """Counts of clock cycles since the last reset, modulo 2 ** 32, and the load image.

    Attributes
    ----------
    session : int
    mark : int
        The question's, which tells its answer from older ones.
    cycles : int
        All but those in which this answer was sent.
    busy : int
        With a sample in the core.
    waits : int
        Of those, the ones in which it waited for the link: for the rest of a sample, or for room
        for a result.
    image : int
        The check word of the last load image that went in whole, or 0; also 0 once one was wrong.
        When the core says ``loaded`` it is the CRC-32 of what was read back from its memories.
    """

    session: int
    mark: int
    cycles: int
    busy: int
    waits: int
    image: int

    @property
    def body(self) -> bytes:
        """As an answer."""
        counts = (self.cycles, self.busy, self.waits, self.image)
        return COUNTERS.pack(Answer.COUNTERS, self.session, self.mark, *counts)

    @classmethod
    def parse(cls, body: bytes) -> "Counters":
        """Out of an answer of the right length."""
        return cls(*COUNTERS.unpack(body)[1:])


@dataclass(frozen=True)
class Result:
    """A result on its way.

    Attributes
    ----------
    session : int
        In which its sample was sent.
    number : int
        How many results came before it in this session.
    data : bytes
        Its beats.
    """

    session: int
    number: int
    data: bytes

    @property
    def body(self) -> bytes:
        """As an answer."""
        return RESULT.pack(Answer.RESULT, self.session, _offset(self.number)) + self.data

    @classmethod
    def parse(cls, body: bytes) -> "Result":
        """Out of an answer that is long enough."""
        _, session, number = RESULT.unpack_from(body)
        return cls(session, _number(number), body[RESULT.size :])


def longest_answer(contract: Mapping[str, Any]) -> int:
    """Bytes of the longest frame from a board with this core, its check included."""
    port = contract["output"]
    result: int = RESULT.size + port["beats"] * port["lanes"] * port["lane_bits"] // 8
    return max(result, INFO.size, STATUS.size, COUNTERS.size) + CHECK_BYTES
