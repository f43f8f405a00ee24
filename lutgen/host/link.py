"""The host's side of the link to a board: samples out, results in, and nothing lost in between.

The protocol is docs/link-protocol.md. A frame to the board that is lost is sent again from the
offset that the board expects; a result that is lost is had by sending its sample again, as a core
gives the same result for the same sample. So a bad line costs time, and then an error that says
what is missing, but never a wrong result.
"""

import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.files import reason
from lutgen.host.bytes_transport import Transport
from lutgen.host.link_job import Bytes, Job, Watch
from lutgen.spec.link import fingerprint
from lutgen.spec.link_frames import (
    OFFSET_MASK,
    PROTOCOL,
    Answer,
    Command,
    Counters,
    Deframer,
    Flags,
    Info,
    Status,
    command,
    frame,
    longest_answer,
)

__all__ = ["Board"]

PATIENCE = 5.0  # seconds without any progress until it is an error
RETRY = 0.25  # seconds without progress until something is asked or sent again
ACCOUNT = 10.0  # seconds between two looks at counters, which wrap
PAYLOAD = (32, 256)  # bytes of samples in a frame: fewer where the line is bad


class Board:
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
    clock : callable
        Seconds from any start.

    Attributes
    ----------
    info : Info
    resent : int
        Bytes that were sent more than once.
    repeated : int
        Samples that were sent again because their results were lost.

    Raises
    ------
    LutgenError
        If there is no board, or it holds another core; one line.
    """

    def __init__(
        self,
        transport: Transport,
        contract: Mapping[str, Any],
        *,
        where: str = "board",
        patience: float = PATIENCE,
        retry: float = RETRY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport, self._contract, self._where = transport, contract, where
        self._patience, self._retry, self._clock = patience, retry, clock
        self._deframer = Deframer(longest_answer(contract))
        self._heard = 0
        self.resent = self.repeated = 0
        self._status = Status(0, 0, 0, 0, 0, 0)
        self._forget()
        self._counted = Counters(0, 0, 0, 0)
        self._totals = {"cycles": 0, "busy": 0, "waits": 0}
        try:
            self.info = self._identify()
            self.reset()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets go of the transport."""
        self._transport.close()

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The line.

    @contextmanager
    def _attached(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LutgenError(
                f"{self._where}: the board is gone: {reason(error)}; plug it in and run again"
            ) from error

    def _send(self, body: bytes) -> None:
        with self._attached():
            self._transport.write(frame(body))

    def _receive(self, timeout: float) -> list[bytes]:
        with self._attached():
            data = self._transport.read(timeout)
        self._heard += len(data)
        return self._deframer.push(data)

    def _ask(self, body: bytes, size: int, accept: Callable[[bytes], bool], what: str) -> bytes:
        """Sends ``body`` until an answer of ``size`` bytes is accepted."""
        end = self._clock() + self._patience
        while True:
            self._send(body)
            again = min(self._clock() + self._retry, end)
            while (now := self._clock()) < again:
                for answer in self._receive(again - now):
                    if len(answer) == size and accept(answer):
                        return answer
            if self._clock() >= end:
                raise LutgenError(f"{self._where}: {what}")

    def _identify(self) -> Info:
        """Finds the board and compares it with the contract."""
        while self._receive(0):  # what was said to somebody else
            pass
        self._heard = 0
        size = len(Info(0, "0" * 16, 0, 0, 0, 0, 0, 0, 0).body)
        try:
            answer = self._ask(
                command(Command.INFO), size, lambda body: body[0] == Answer.INFO, "no board answers"
            )
        except LutgenError as error:
            if "no board answers" not in str(error):
                raise
            if self._heard:
                raise LutgenError(
                    f"{self._where}: what comes from there is no answer of a board; check the baud "
                    "rate, and that the board is programmed by `lutgen synth`"
                ) from None
            raise LutgenError(
                f"{self._where}: nothing answers; check the port and the baud rate, and that the "
                "board is programmed"
            ) from None
        info = Info.parse(answer)
        if info.protocol != PROTOCOL:
            raise LutgenError(
                f"{self._where}: the board speaks version {info.protocol} of the protocol, not "
                f"{PROTOCOL}; program it again with this lutgen"
            )
        wanted = fingerprint(self._contract)
        if info.fingerprint != wanted:
            model = self._contract.get("model") or {}
            raise LutgenError(
                f"{self._where}: the board holds another core than the contract's: its fingerprint "
                f"is {info.fingerprint} ({info.input_beats} beats of {info.input_beat_bytes} bytes "
                f"in, {info.output_beats} of {info.output_beat_bytes} out), that of "
                f"{self._contract['name']} (model {model.get('name', 'none')!s}) is {wanted}; "
                "program the board with it, or name the contract of what it holds"
            )
        return info

    # Session, status, counters.

    def _forget(self) -> None:
        """What is known of a board that was reset."""
        self._sent = self._highest = self._known = self._taken = self._origin = 0
        self._recovering = self._results = 0
        self._payload = PAYLOAD[1]

    def reset(self) -> None:
        """Resets the core and all counters; a loadable core must be loaded again."""
        session = (self.status().session + 1) & 0xFF
        answer = self._ask(
            command(Command.RESET, session),
            len(self._status.body),
            lambda body: body[0] == Answer.STATUS and Status.parse(body).session == session,
            "the board does not answer a reset",
        )
        self._status = Status.parse(answer)
        self._forget()
        self._counted = Counters(0, 0, 0, 0)
        self._totals = dict.fromkeys(self._totals, 0)

    def status(self) -> Status:
        """How far the board has come."""
        answer = self._ask(
            command(Command.STATUS),
            len(self._status.body),
            lambda body: body[0] == Answer.STATUS,
            "the board does not answer any more",
        )
        return Status.parse(answer)

    def counters(self) -> dict[str, int]:
        """Since the last reset: ``cycles``, ``busy`` and ``waits`` (see `Counters`, but never
        wrapped if asked for now and then), ``samples`` that went to the core, ``results`` that it
        sent, ``frame_errors`` (0 or 1), ``link_errors`` (broken frames, either way; those to the
        board modulo 256) and ``image``.
        """
        self._account(self._read_counters())
        status = self.status()
        return {
            **self._totals,
            "samples": (self._taken - self._origin) // self.sample_bytes,
            "results": self._results,
            "frame_errors": int(status.has(Flags.FRAME_ERROR)),
            "link_errors": status.errors + self._deframer.errors,
            "image": self._counted.image,
        }

    def _read_counters(self) -> bytes:
        return self._ask(
            command(Command.COUNTERS),
            len(self._counted.body),
            lambda body: body[0] == Answer.COUNTERS,
            "the board does not answer any more",
        )

    def _account(self, answer: bytes) -> None:
        counted = Counters.parse(answer)
        for name in self._totals:
            step = getattr(counted, name) - getattr(self._counted, name)
            self._totals[name] += step & 0xFFFFFFFF
        self._counted = counted

    @property
    def sample_bytes(self) -> int:
        """Of a sample."""
        return self.info.input_beats * self.info.input_beat_bytes

    @property
    def result_bytes(self) -> int:
        """Of a result."""
        return self.info.output_beats * self.info.output_beat_bytes

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
            self._send(command(kind, self._sent, source(self._sent, self._sent + size)))
            self.resent += max(0, min(self._highest, self._sent + size) - self._sent)
            self._sent += size
            self._highest = max(self._highest, self._sent)

    def _hear(self, status: Status) -> bool:
        """Takes in a status; gives whether it is news."""
        known = self._known + (status.expected - self._known & OFFSET_MASK)
        taken = self._taken + (status.taken - self._taken & OFFSET_MASK)
        if status.session != self._status.session or not taken <= known <= self._highest:
            return False  # an old one
        news = (known, taken) != (self._known, self._taken)
        if known > self._known >= self._recovering:
            self._payload = min(self._payload + 16, PAYLOAD[1])
        self._known, self._taken = known, taken
        self._sent = max(self._sent, known)
        if status.errors != self._status.errors and known >= self._recovering:
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
        image = words.astype("<u4").tobytes()
        if zlib.crc32(image[:-4]) != int(words[-1]):
            raise ValueError("Load image must end with the CRC-32 of the words before it")
        start = self._sent
        end = start + len(image)

        def source(a: int, b: int) -> bytes:
            return image[a - start : b - start]

        def missing() -> str:
            return f"{self._known - start} of {len(image)} bytes of the load image have arrived"

        watch = Watch(self._clock, self._retry, self._patience)
        while True:
            self._fill(Command.TABLES, source, end)
            for body in self._receive(watch.left()):
                if body[0] == Answer.STATUS and len(body) == len(self._status.body):
                    if self._hear(Status.parse(body)):
                        watch.progress()
            if self._status.has(Flags.LOAD_ERROR):
                raise LutgenError(f"{self._where}: {self._load_error()}")
            if self._taken == end and self._status.has(Flags.LOADED):
                break
            if watch.due():
                self._nudge(watch, missing)
        self._origin = end
        got = Counters.parse(self._read_counters())
        if got.image != int(words[-1]):
            raise LutgenError(
                f"{self._where}: the core holds an image with the check word {got.image:08x}, not "
                f"{int(words[-1]):08x}; reset the board and load it again"
            )

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
                f"{self._where}: nothing new from the board for {self._patience:g} s; {missing()}"
            )
        self._go_back()
        self._send(command(Command.STATUS))

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
        job = Job(samples, self.result_bytes, self._sent, self._results)
        watch = Watch(self._clock, self._retry, self._patience)
        account = self._clock() + ACCOUNT
        while job.left:
            self._fill(Command.SAMPLES, job.source, job.end)
            for body in self._receive(watch.left()):
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
                self._send(command(Command.COUNTERS))
        return job.results

    def _take(self, body: bytes, job: Job) -> bool:
        """Takes in an answer; gives whether it is news."""
        if body[0] == Answer.STATUS and len(body) == len(self._status.body):
            status = Status.parse(body)
            news = self._hear(status)
            if status.session == self._status.session:
                job.skip(status.results)
            return news
        if body[0] == Answer.RESULT and len(body) == 3 + self.result_bytes:
            number = struct.unpack_from("<H", body, 1)[0]
            return job.put(number, body[3:])
        if body[0] == Answer.COUNTERS and len(body) == len(self._counted.body):
            self._account(body)
        return False
