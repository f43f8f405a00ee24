"""Frames to and from a board over a transport, and how long to wait for them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lutgen.errors import LutgenError
from lutgen.files import reason
from lutgen.host.bytes_transport import Transport
from lutgen.spec.link_frames import Deframer, frame

__all__ = ["Line", "Watch"]

BYTE_BITS = 10  # of a byte on a line
SLOW = 9600  # bits a second: of slower lines waits grow,
BACKOFF = 4  # up to so many times the first one
ROUNDS = 20  # waits that patience lasts at least


class Line:
    """Whole frames over a transport.

    Parameters
    ----------
    transport : Transport
    where : str
        What errors call it.
    answer_bytes : int
        Of the longest frame that a board sends, its check included and escapes not.
    baud : int or None
        Bits a second; None where bytes take no time that counts.
    patience, retry : float
        Seconds without progress on a fast line: until it is an error, until something is sent
        again. What bytes take on this line is added.
    clock : callable
        Seconds from any start.

    Attributes
    ----------
    errors : int
        Broken frames that have come.
    heard : int
        Bytes that have come.
    retry, longest, patience : float
        Seconds, on this line: the first wait without progress, the longest one, all of them.
    free_at : float
        When all that was sent has left, by the clock.
    """

    def __init__(
        self,
        transport: Transport,
        where: str,
        answer_bytes: int,
        *,
        baud: int | None,
        patience: float,
        retry: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport, self._deframer = transport, Deframer(answer_bytes)
        self.where, self.clock = where, clock
        self._byte = BYTE_BITS / baud if baud else 0.0
        # With every byte escaped, and behind another frame that has just begun.
        self.retry = retry + 2 * (2 * answer_bytes + 2) * self._byte
        self.patience = max(patience, ROUNDS * self.retry) if baud else patience
        # Faster ones cost nobody time: there, what is asked again soon is there soon.
        self.longest = self.retry * (BACKOFF if baud and baud < SLOW else 1)
        self.heard = 0
        self.free_at = clock()

    @property
    def errors(self) -> int:
        """Broken frames that have come."""
        return self._deframer.errors

    def close(self) -> None:
        """Lets go of the transport."""
        self._transport.close()

    @contextmanager
    def _attached(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LutgenError(
                f"{self.where}: the board is gone: {reason(error)}; plug it in and run again"
            ) from error

    def send(self, body: bytes) -> None:
        """Sends a frame."""
        data = frame(body)
        with self._attached():
            self._transport.write(data)
        self.free_at = max(self.free_at, self.clock()) + len(data) * self._byte

    def receive(self, timeout: float) -> list[bytes]:
        """The bodies that have come; waits up to ``timeout`` seconds for the first byte."""
        with self._attached():
            data = self._transport.read(timeout)
        self.heard += len(data)
        return self._deframer.push(data)

    def drain(self) -> None:
        """Forgets what was said to somebody else, as far as it has come."""
        end = self.clock() + self.patience
        while self.receive(0) and self.clock() < end:
            pass
        self.heard = 0

    def ask(self, question: bytes, accept: Callable[[bytes], bytes | None], what: str) -> None:
        """Sends a question until an answer is accepted.

        Parameters
        ----------
        question : bytes
        accept : callable
            Takes an answer. Gives None if it is the one, else what to ask now: mostly the same,
            which is sent again when its time has come; another question is sent at once.
        what : str
            What is wrong where nothing is accepted.
        """
        watch = Watch(self)
        self.send(question)
        while True:
            for answer in self.receive(watch.left()):
                now = accept(answer)
                if now is None:
                    return
                if now != question:
                    question = now
                    self.send(question)
            if watch.due():
                if watch.over():
                    raise LutgenError(f"{self.where}: {what}")
                self.send(question)


class Watch:
    """Time since the last progress, without that in which what was sent is still on its way.
    Each wait is twice the one before, up to the line's longest, until there is progress again.

    Parameters
    ----------
    line : Line
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self.progress()

    def progress(self) -> None:
        """There was some."""
        self._since = self._line.clock()
        self._wait = self._line.retry
        self._end: float | None = None  # counts from when the line was first at rest

    def _next(self) -> float:
        return max(self._since, self._line.free_at) + self._wait

    def left(self) -> float:
        """Seconds until something must be done."""
        return max(0.0, self._next() - self._line.clock())

    def due(self) -> bool:
        """Whether it must be done now; then it is not due for another while."""
        now = self._line.clock()
        if now < self._next():
            return False
        if self._end is None:
            self._end = self._next() - self._wait + self._line.patience
        self._since = now
        self._wait = min(2 * self._wait, self._line.longest)
        return True

    def over(self) -> bool:
        """Whether patience is at its end; asked when something is due."""
        return self._end is not None and self._line.clock() >= self._end
