"""The host's side of the link to a board: samples out, results in, and nothing lost in between.

The protocol is docs/link-protocol.md. A frame to the board that is lost is sent again from the
offset that the board expects; a result that is lost is had by sending its sample again, as a core
gives the same result for the same sample. So a bad line costs time, and then an error that says
what is missing, but never a wrong result. Within a session no offset and no number of a result
comes twice, and every frame that matters says of which session it is: whatever the line repeats,
however late, is known for what it is.
"""

import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.host.bytes_transport import Transport
from lutgen.host.link_job import Bytes, Job
from lutgen.host.link_line import Watch
from lutgen.host.link_session import PATIENCE, RETRY, Session
from lutgen.numeric import as_int
from lutgen.spec.link_frames import (
    OFFSET_BITS,
    RESULT,
    STATUS,
    TAKEN_MASK,
    Answer,
    Command,
    Flags,
    Result,
    Status,
    command,
)

__all__ = ["Board"]

ACCOUNT = 10.0  # seconds between two looks at counters, which wrap
PAYLOAD = (32, 256)  # bytes of samples in a frame: fewer where the line is bad
ERRORS = 1 << 8  # where the board's count of broken frames wraps


class Board(Session):
    """A board with a core, at the end of a transport. Making one finds the board, compares what it
    is with the contract, and resets it.

    Parameters
    ----------
    transport : Transport
        Closed by `close`, and if this fails.
    contract : mapping
        Of the core that the board must hold.
    where : str
        What errors call the way to the board, such as the name of a port.
    patience, retry : float
        Seconds without progress: until it is an error, until something is sent again. A slow
        simulator needs more of both than a board.
    baud : int or None
        Bits a second of the line, which both are made longer by; None for a line so fast that this
        does not matter.
    clock : callable
        Seconds from any start.
    session_bytes : int
        After how many bytes to the core a new session begins, at most. A loadable core is loaded
        again then.

    Attributes
    ----------
    info : Info
    resent : int
        Bytes that were sent more than once.
    repeated : int
        Samples that were sent again because their results were lost.
    sessions : int
        Resets of the board.

    Raises
    ------
    LutgenError
        If there is no board, or it holds another core; one line.
    ValueError, TypeError
        If ``session_bytes`` is no number of bytes that a session can have, or if not even a sample
        would fit.
    """

    def __init__(
        self,
        transport: Transport,
        contract: Mapping[str, Any],
        *,
        where: str = "board",
        patience: float = PATIENCE,
        retry: float = RETRY,
        baud: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        session_bytes: int = (1 << OFFSET_BITS) - 1,
    ) -> None:
        super().__init__(
            transport,
            contract,
            where=where,
            patience=patience,
            retry=retry,
            baud=baud,
            clock=clock,
        )
        self.resent = self.repeated = 0
        self._image: NDArray[np.uint32] | None = None
        try:
            high = (1 << OFFSET_BITS) - 1
            self._limit = as_int(session_bytes, "Bytes of a session", low=1, high=high)
            if self._limit < self.sample_bytes + 4 * self.info.load_words:
                raise ValueError(
                    f"Bytes of a session must hold a sample and a load image, not {self._limit}"
                )
            self.reset()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        super()._begin()
        self._recovering = 0
        self._payload = PAYLOAD[1]
        self._ended = True

    def reset(self) -> None:
        """Resets the core and all counters; a loadable core must be loaded again."""
        self._begin()
        self._image = None
        self._forget_counts()

    def _renew(self) -> None:
        """Begins another session, with the core as it is and all counts going on."""
        totals = self._count()
        image = self._image
        self._begin()
        self._totals = totals
        if image is not None:
            self._load(image)

    # Bytes to the core.

    def _fill(self, kind: Command, source: Callable[[int, int], bytes], end: int) -> None:
        """Sends what there is room for, up to the offset ``end``."""
        most = min(self._payload, (self.info.window + 4) // 2)
        while self._sent < end:
            room = self._taken + self.info.window - self._sent
            size = min(most, end - self._sent)
            if room < size and self._sent > self._known:
                return  # a small frame is not worth it while others are under way
            size = min(size, room)
            if size <= 0:
                return
            data = source(self._sent, self._sent + size)
            self._line.send(command(kind, self._session, self._sent, data))
            self.resent += max(0, min(self._highest, self._sent + size) - self._sent)
            self._sent += size
            self._highest = max(self._highest, self._sent)

    def _hear(self, body: bytes) -> bool:
        """Takes in a status; gives whether it is news."""
        status = Status.parse(body)
        known = status.expected
        taken = known - (known - status.taken & TAKEN_MASK)
        if not self._is_new(status) or taken < self._taken:
            return False
        news = (known, taken) != (self._known, self._taken)
        broken = (status.errors - self._status.errors) % ERRORS
        if broken >= ERRORS // 2 and not news:
            return False
        if known > self._known >= self._recovering:
            self._payload = min(self._payload + 16, PAYLOAD[1])
        self._known, self._taken = known, taken
        self._sent = max(self._sent, known)
        if broken and known >= self._recovering:
            self._go_back()
        self._status = status
        if status.has(Flags.FRAME_ERROR):
            raise LutgenError(
                f"{self._where}: the core reports a frame error, though no frame was broken; "
                "is it the core of this contract?"
            )
        return news

    def _go_back(self) -> None:
        """Something between what the board expects and what was sent is lost."""
        self._recovering = self._highest
        if self._sent > self._known:
            self._payload = max(self._payload // 2, PAYLOAD[0])
        self._sent = self._known

    def load(self, words: NDArray[np.uint32]) -> None:
        """Fills the memories of a loadable core.

        Parameters
        ----------
        words : uint32 array
            See `lutgen.gateware.build.Core.load_image`.

        Raises
        ------
        ValueError
            If the core takes no image, or none of this length, or if its check word is wrong.
        LutgenError
            If the board does not take it, or holds something else afterwards.
        """
        if len(words) != self.info.load_words or not len(words):
            raise ValueError(f"Load image must have {self.info.load_words} words, not {len(words)}")
        if zlib.crc32(words[:-1].astype("<u4").tobytes()) != int(words[-1]):
            raise ValueError("Load image must end with the CRC-32 of the words before it")
        if not self._ended or self._highest + 4 * len(words) + self.sample_bytes > self._limit:
            self._image = None
            self._renew()
        self._load(words)

    def _load(self, words: NDArray[np.uint32]) -> None:
        image = words.astype("<u4").tobytes()
        start = self._sent
        end = start + len(image)
        self._ended = False

        def source(a: int, b: int) -> bytes:
            return image[a - start : b - start]

        def missing() -> str:
            return f"{self._known - start} of {len(image)} bytes of the load image have arrived"

        before = max(0, start - self._origin) // self.sample_bytes
        watch = Watch(self._line)
        while True:
            self._fill(Command.TABLES, source, end)
            for body in self._line.receive(watch.left()):
                if body[0] == Answer.STATUS and len(body) == STATUS.size and self._hear(body):
                    watch.progress()
            if self._status.has(Flags.LOAD_ERROR):
                raise LutgenError(f"{self._where}: {self._load_error()}")
            if self._taken == end and self._status.has(Flags.LOADED):
                break
            if watch.due():
                self._nudge(watch, missing)
        self._totals["samples"] += before
        self._origin = end
        self._read_counters()
        if self._counted.image != int(words[-1]):
            raise LutgenError(
                f"{self._where}: the core holds an image with the check word "
                f"{self._counted.image:08x}, not {int(words[-1]):08x}; reset the board and load it "
                "again"
            )
        self._image, self._ended = words, True

    def _load_error(self) -> str:
        """What the core's complaint of a whole and right image means."""
        if (self._contract["load"] or {}).get("read_back"):
            return (
                "the tables did not read back: the core's memories hold something else than the "
                "load image; run again, and if it stays so, with a slower clock or another board"
            )
        return "the core refuses its load image: load error"  # one that compares what arrives

    def _nudge(self, watch: Watch, missing: Callable[[], str]) -> None:
        """Nothing has come for a while."""
        if watch.over():
            raise LutgenError(
                f"{self._where}: nothing new from the board for {self._line.patience:g} s; "
                f"{missing()}"
            )
        self._go_back()
        self._line.send(command(Command.STATUS))

    # Samples.

    def run(self, samples: Bytes, progress: Callable[[int], None] | None = None) -> Bytes:
        """Results of samples, in their order.

        Parameters
        ----------
        samples : uint8 array ``[sample, byte]``
            From `lutgen.host.link_job.pack`.
        progress : callable
            Called with the number of results that there are, whenever it grows.

        Returns
        -------
        uint8 array ``[sample, byte]``
            For `lutgen.host.link_job.unpack`.

        Raises
        ------
        LutgenError
            If results do not come; one line that says which.
        """
        if samples.ndim != 2 or samples.shape[1] != self.sample_bytes:
            raise ValueError(
                f"Samples must have {self.sample_bytes} bytes each, not {samples.shape[1:]}"
            )
        if not self._ended:  # what was under way then has the offsets of what is sent now
            self._renew()
        job = Job(samples, self.result_bytes)
        job.begin(self._sent, self._results, self._room)
        watch = Watch(self._line)
        account = self._clock() + ACCOUNT
        self._ended = False
        while job.left:
            if job.spent:
                self._renew()
                self._ended = False
                job.begin(self._sent, self._results, self._room)
                watch.progress()
            self._fill(Command.SAMPLES, job.source, job.end)
            for body in self._line.receive(watch.left()):
                if self._take(body, job):
                    watch.progress()
                    if progress is not None and body[0] == Answer.RESULT:
                        progress(len(samples) - job.left)
            self._results = job.next_result
            self.repeated += job.repeat()
            if watch.due():
                self._nudge(watch, job.missing)
            if self._clock() >= account:
                account = self._clock() + ACCOUNT
                self._line.send(self._ask_counters())
        self._ended = True
        return job.results

    @property
    def _room(self) -> int:
        """Samples that may still be sent in this session."""
        return (self._limit - self._sent) // self.sample_bytes

    def _take(self, body: bytes, job: Job) -> bool:
        """Takes in an answer; gives whether it is news."""
        if body[0] == Answer.STATUS and len(body) == STATUS.size:
            news = self._hear(body)
            status = Status.parse(body)
            if status.session == self._session:
                job.skip(status.results)
            return news
        if body[0] == Answer.RESULT and len(body) == RESULT.size + self.result_bytes:
            result = Result.parse(body)
            if result.session != self._session or not job.put(result.number, result.data):
                return False
            # What has a result was taken, whether or not a status has said so.
            behind = job.behind(result.number)
            self._taken = max(self._taken, behind)
            self._known = max(self._known, behind)
            self._sent = max(self._sent, behind)
            return True
        self._account(body)
        return False
