"""An engine in the address space of this machine: registers through a memory map, streams through
the DMA channels that the user has.
"""

import mmap
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lutgen.spec.job import CHANNELS, Bytes

__all__ = ["MappedTransport", "Receiver", "Sender"]

PAUSE = 20e-6  # seconds between two looks at the channels
SENDERS = CHANNELS[:-1]
RECEIVER = CHANNELS[-1]


class Sender(Protocol):
    """A DMA channel from memory to a stream, such as the MM2S half of an AXI DMA."""

    def send(self, data: Bytes) -> None:
        """Begins to send one packet, ``tlast`` on its last beat, and returns at once. ``data``
        stays as it is until the packet is sent.
        """
        ...

    def sent(self) -> bool:
        """Whether all of it has gone."""
        ...

    def reset(self) -> None:
        """Forgets the packet under way."""
        ...


class Receiver(Protocol):
    """A DMA channel from a stream to memory, such as the S2MM half of an AXI DMA."""

    def receive(self, room: int) -> None:
        """Begins to receive one packet of at most ``room`` bytes, and returns at once."""
        ...

    def received(self) -> Bytes | None:
        """The packet, as many bytes as came up to ``tlast``; None before that."""
        ...

    def reset(self) -> None:
        """Forgets the packet under way."""
        ...


def pause() -> None:
    """Leaves the processor to others for a moment."""
    time.sleep(PAUSE)


class MappedTransport:
    """A `lutgen.host.transport.Transport` that never waits for an event loop; see `run` there.

    Parameters
    ----------
    registers : mmap, memoryview, bytearray or uint8 array
        The engine's registers from offset 0: a writable map of ``/dev/uioN``, or of ``/dev/mem`` at
        the engine's address. It is only accessed by whole words of 32 bits.
    senders : dict of Sender
        By ``activations``, ``centroids`` and ``tables``.
    receiver : Receiver
        For ``results``.
    timeout : float
        Seconds from the start of a job to its end.
    wait : callable
        Called over and over while a job is under way; by default a short sleep. One that waits for
        the engine's interrupt spares the processor; it must not wait for ever.
    """

    def __init__(
        self,
        registers: mmap.mmap | memoryview | bytearray | NDArray[np.uint8],
        senders: Mapping[str, Sender],
        receiver: Receiver,
        *,
        timeout: float = 10.0,
        wait: Callable[[], Any] = pause,
    ):
        if set(senders) != set(SENDERS):
            raise ValueError(f"Senders must be {', '.join(SENDERS)}, not {', '.join(senders)}")
        if not timeout > 0:
            raise ValueError(f"Timeout must be a positive number of seconds, not {timeout}")
        # An array of words: each access is one load or store of 32 bits.
        self._words: NDArray[np.uint32] = np.frombuffer(registers, dtype="<u4")
        if not self._words.flags.writeable:
            raise ValueError("Registers must be a writable map")
        self._senders, self._receiver = dict(senders), receiver
        self._timeout, self._wait = timeout, wait
        self._busy: set[str] = set()

    async def read(self, address: int) -> int:
        """See `Transport`."""
        return int(self._words[address // 4])

    async def write(self, address: int, value: int) -> None:
        """See `Transport`."""
        self._words[address // 4] = value

    async def begin(self, packets: Mapping[str, Bytes], room: int) -> None:
        """See `Transport`."""
        self._receiver.receive(room)
        for name, data in packets.items():
            self._senders[name].send(data)
        self._busy = set(packets)

    async def finish(self) -> Bytes:
        """See `Transport`."""
        end = time.monotonic() + self._timeout
        results: Bytes | None = None
        while True:
            late = time.monotonic() > end  # before the look, so that the last one counts
            if results is None:
                results = self._receiver.received()
            self._busy = {name for name in self._busy if not self._senders[name].sent()}
            if results is not None and not self._busy:
                return results
            if late:
                open_ends = sorted(self._busy) + [RECEIVER] * (results is None)
                raise TimeoutError(
                    f"{', '.join(open_ends)} under way after {self._timeout:g} seconds"
                )
            self._wait()

    async def cancel(self) -> None:
        """See `Transport`."""
        for sender in self._senders.values():
            sender.reset()
        self._receiver.reset()
        self._busy = set()
