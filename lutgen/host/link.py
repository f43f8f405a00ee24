"""The host's side of the link to a board: samples out, results in, and nothing lost in between.

The protocol is docs/link-protocol.md. A frame to the board that is lost is sent again from the
offset that the board expects; a result that is lost is had by sending its sample again, as a core
gives the same result for the same sample. So a bad line costs time, and then an error that says
what is missing, but never a wrong result.
"""

import struct
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.files import reason
from lutgen.spec.link import (
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
    fingerprint,
    frame,
    longest_answer,
)

__all__ = ["Board", "Transport", "pack", "unpack"]

PATIENCE = 5.0  # seconds without any progress until it is an error
RETRY = 0.25  # seconds without progress until something is asked or sent again
ACCOUNT = 10.0  # seconds between two looks at counters, which wrap
PAYLOAD = 256  # bytes of samples in a frame, at most
ATTEMPTS = 100  # of a sample

Bytes = NDArray[np.uint8]


class Transport(Protocol):
    """Bytes to and from a board. All methods raise `OSError` when the way to it is gone."""

    def read(self, timeout: float) -> bytes:
        """What has come; waits up to ``timeout`` seconds for the first byte, and gives none if
        there is none by then.
        """
        ...

    def write(self, data: bytes) -> None:
        """Sends all of ``data``, or puts it where it will be sent from."""
        ...

    def close(self) -> None:
        """Lets go of the way."""
        ...


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
    """
    size = port["lane_bits"] // 8
    filled = np.zeros((len(samples), port["beats"] * port["lanes"]), dtype="<i8")
    filled[:, : port["elements"]] = samples
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
        answer = self._ask(
            command(Command.COUNTERS),
            len(self._counted.body),
            lambda body: body[0] == Answer.COUNTERS,
            "the board does not answer any more",
        )
        self._account(answer)
        status = self.status()
        return {
            **self._totals,
            "samples": (self._taken - self._origin) // self.sample_bytes,
            "results": self._results,
            "frame_errors": int(status.has(Flags.FRAME_ERROR)),
            "link_errors": status.errors + self._deframer.errors,
            "image": self._counted.image,
        }

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
        most = min(PAYLOAD, (self.info.window + 4) // 2)
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
            If the core takes no image, or none of this length.
        LutgenError
            If the board does not take it.
        """
        if len(words) != self.info.load_words or not len(words):
            raise ValueError(f"Load image must have {self.info.load_words} words, not {len(words)}")
        image = words.astype("<u4").tobytes()
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
                raise LutgenError(f"{self._where}: the core refuses its load image: load error")
            if self._taken == end and self._status.has(Flags.LOADED):
                break
            if watch.due():
                self._nudge(watch, missing)
        self._origin = end
        got = Counters.parse(
            self._ask(
                command(Command.COUNTERS),
                len(self._counted.body),
                lambda body: body[0] == Answer.COUNTERS,
                "the board does not answer any more",
            )
        )
        if got.image != int(words[-1]):
            raise LutgenError(
                f"{self._where}: the core holds an image with the check word {got.image:08x}, not "
                f"{int(words[-1]):08x}; reset the board and load it again"
            )

    def _nudge(self, watch: "Watch", missing: Callable[[], str]) -> None:
        """Nothing has come for a while."""
        if watch.over():
            raise LutgenError(
                f"{self._where}: nothing new from the board for {self._patience:g} s; {missing()}"
            )
        self._go_back()
        self._send(command(Command.STATUS))

    # Samples.

    def run(
        self, samples: Bytes, progress: Callable[[int], None] | None = None
    ) -> Bytes:
        """Results of samples, in their order.

        Parameters
        ----------
        samples : uint8 array ``[sample, byte]``
            From `pack`.
        progress : callable
            Called with the number of results that there are, whenever it grows.

        Returns
        -------
        uint8 array ``[sample, byte]``
            For `unpack`.

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

    def _take(self, body: bytes, job: "Job") -> bool:
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
        return self._offset + len(self._order) * self._samples.shape[1]

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
