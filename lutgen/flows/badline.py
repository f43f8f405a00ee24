"""A line that does to whole frames all that a bad one can."""

import heapq
from collections import Counter
from dataclasses import dataclass, fields

import numpy as np

from lutgen.host.bytes_transport import Transport
from lutgen.spec.link_frames import FLAG

__all__ = ["BadLine", "FrameFaults"]

BORDER = bytes([FLAG])
MOST_ADDED = 11  # bits of the number of bytes that a frame may get


@dataclass(frozen=True)
class FrameFaults:
    """Chances of a frame, either way.

    Parameters
    ----------
    drop : float
        It is lost.
    truncate : float
        Its end is lost, often with the flag behind it.
    lengthen : float
        Bytes come in between, up to some thousands.
    corrupt : float
        Bits of a byte are changed.
    repeat : float
        It comes again later, once or several times.
    delay : float
        It is held back, and overtaken by those behind it.
    longest : int
        How many frames later it comes at most. Short times are as likely as long ones.
    """

    drop: float = 0.0
    truncate: float = 0.0
    lengthen: float = 0.0
    corrupt: float = 0.0
    repeat: float = 0.0
    delay: float = 0.0
    longest: int = 1 << 16

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "longest" and not 0 <= value <= 1:
                raise ValueError(f"Chance of a fault must be 0 to 1, not {value!r}")
        if self.longest < 1:
            raise ValueError(f"Longest delay must be a positive integer, not {self.longest!r}")


class Way:
    """One direction of a line.

    Parameters
    ----------
    faults : FrameFaults
    seed : int
    counts : Counter
        Of faults by kind, shared by both directions.
    """

    def __init__(self, faults: FrameFaults, seed: int, counts: Counter[str]) -> None:
        self._faults, self._rng, self._counts = faults, np.random.default_rng(seed), counts
        self._held: list[tuple[int, int, bytes]] = []  # when it is due, a number, the frame
        self._passed = self._number = 0
        self._open = b""

    def push(self, data: bytes) -> bytes:
        """What comes out when ``data`` goes in."""
        *ended, self._open = (self._open + data).split(BORDER)
        return b"".join(self._frame(part) for part in ended if part)

    def _happens(self, kind: str) -> bool:
        chance = getattr(self._faults, kind)
        if not chance or self._rng.random() >= chance:
            return False
        self._counts[kind] += 1
        return True

    def _hold(self, frame: bytes) -> None:
        later = int(2 ** (self._rng.random() * np.log2(self._faults.longest)))
        self._number += 1
        heapq.heappush(self._held, (self._passed + max(1, later), self._number, frame))

    def _frame(self, part: bytes) -> bytes:
        self._passed += 1
        out, end = [], BORDER
        if self._happens("repeat"):
            for _ in range(int(self._rng.integers(1, 4))):
                self._hold(BORDER + part + BORDER)
        if self._happens("corrupt"):
            place = int(self._rng.integers(len(part)))
            bent = part[place] ^ int(self._rng.integers(1, 256))
            part = part[:place] + bytes([bent]) + part[place + 1 :]
        if self._happens("lengthen"):
            place = int(self._rng.integers(len(part) + 1))
            noise = self._rng.bytes(int(2 ** (MOST_ADDED * self._rng.random())))
            part = part[:place] + noise.replace(BORDER, b"") + part[place:]
        if self._happens("truncate"):
            part = part[: int(self._rng.integers(len(part)))]
            end = BORDER if self._rng.random() < 0.5 else b""
        if self._happens("drop"):
            pass
        elif self._happens("delay"):
            self._hold(BORDER + part + end)
        else:
            out.append(BORDER + part + end)
        while self._held and self._held[0][0] <= self._passed:
            out.append(heapq.heappop(self._held)[2])
        return b"".join(out)


class BadLine:
    """A transport with faults, around another. What it holds back is counted in frames, not in
    seconds, so that the same frames meet the same faults whenever they come.

    Parameters
    ----------
    transport : Transport
    faults : FrameFaults
    seed : int

    Attributes
    ----------
    counts : Counter
        Faults up to now, by kind.
    """

    def __init__(self, transport: Transport, faults: FrameFaults, seed: int) -> None:
        self._transport = transport
        self.counts: Counter[str] = Counter()
        self._inward = Way(faults, 2 * seed, self.counts)
        self._outward = Way(faults, 2 * seed + 1, self.counts)

    def read(self, timeout: float) -> bytes:
        """See `lutgen.host.bytes_transport.Transport`."""
        return self._outward.push(self._transport.read(timeout))

    def write(self, data: bytes) -> None:
        """See `lutgen.host.bytes_transport.Transport`."""
        self._transport.write(self._inward.push(data))

    def close(self) -> None:
        """See `lutgen.host.bytes_transport.Transport`."""
        self._transport.close()
