"""What a driver and a board agree on: which board it is, its session, how far it has come."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from lutgen.errors import LutgenError
from lutgen.host.bytes_transport import Transport
from lutgen.host.link_line import Line
from lutgen.spec.link import fingerprint
from lutgen.spec.link_frames import (
    COUNTERS,
    INFO,
    PROTOCOL,
    SESSION_MASK,
    STATUS,
    Answer,
    Command,
    Counters,
    Flags,
    Info,
    Status,
    command,
    longest_answer,
)

__all__ = ["PATIENCE", "RETRY", "Session"]

PATIENCE = 5.0  # seconds without any progress until it is an error
RETRY = 0.25  # seconds without progress until something is asked or sent again
COUNTED = ("cycles", "busy", "waits")
WRAP = 1 << 32  # of the board's counters


class Session:
    """A board, found and known for the contract's, and the sessions with it. Offsets and numbers
    are those of the session; none comes twice in it.

    Parameters
    ----------
    transport : Transport
        Closed by `close`, and if this fails.
    contract : mapping
        Of the core that the board must hold.
    where : str
        What errors call the way to the board.
    patience, retry : float
        See `lutgen.host.link.Board`.
    baud : int or None
        Likewise.
    clock : callable
        Seconds from any start.

    Attributes
    ----------
    info : Info
    sessions : int
        Resets of the board.

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
        where: str,
        patience: float,
        retry: float,
        baud: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._contract, self._where, self._clock = contract, where, clock
        self._line = Line(
            transport,
            where,
            longest_answer(contract),
            baud=baud,
            patience=patience,
            retry=retry,
            clock=clock,
        )
        self.sessions = self._mark = 0
        # Chosen by chance, so that it is none that somebody before had.
        self._session = secrets.randbelow(SESSION_MASK + 1)
        self._forget_counts()
        try:
            self.info = self._identify()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Lets go of the transport."""
        self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _identify(self) -> Info:
        """Finds the board and compares it with the contract."""
        self._line.drain()
        question, answers = command(Command.INFO), []

        def accept(body: bytes) -> bytes | None:
            if body[0] != Answer.INFO or len(body) != INFO.size:
                return question
            answers.append(Info.parse(body))
            return None

        try:
            self._line.ask(question, accept, "no board answers")
        except LutgenError as error:
            if "no board answers" not in str(error):
                raise
            if self._line.heard:
                raise LutgenError(
                    f"{self._where}: what comes from there is no answer of a board; check the baud "
                    "rate, and that the board is programmed by `lutgen synth`"
                ) from None
            raise LutgenError(
                f"{self._where}: nothing answers; check the port and the baud rate, and that the "
                "board is programmed"
            ) from None
        info = answers[0]
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

    def _begin(self) -> None:
        """Begins a session.

        The board resets only in the session that the command names. So one that is said twice, or
        late, resets nothing; and as none before had the number of the new one, a status that has it
        was sent after the reset.
        """
        seen = [self._session] if self.sessions else []
        self._session = self._session + 1 & SESSION_MASK

        def accept(body: bytes) -> bytes | None:
            if body[0] == Answer.STATUS and len(body) == STATUS.size:
                status = Status.parse(body)
                fresh = status.expected == status.results == 0
                if seen and fresh and status.session == self._session:
                    return None
                if not seen and status.session == self._session:  # by chance, that of before
                    self._session = self._session + 1 & SESSION_MASK
                seen[:] = [status.session]
            return question()

        def question() -> bytes:
            if not seen:
                return command(Command.STATUS)
            return command(Command.RESET, seen[0], self._session)

        self._line.ask(question(), accept, "the board does not answer a reset")
        self.sessions += 1
        self._status = Status(self._session, 0, 0, 0, 0, 0)
        self._counted = Counters(self._session, 0, 0, 0, 0, 0)
        self._sent = self._highest = self._known = self._taken = self._origin = 0
        self._results = 0

    def _forget_counts(self) -> None:
        self._totals = dict.fromkeys((*COUNTED, "samples", "results", "errors"), 0)

    def status(self) -> Status:
        """How far the board has come."""
        question, answers = command(Command.STATUS), []

        def accept(body: bytes) -> bytes | None:
            if body[0] == Answer.STATUS and len(body) == STATUS.size:
                status = Status.parse(body)
                if self._is_new(status):
                    answers.append(status)
                    return None
            return question

        self._line.ask(question, accept, "the board does not answer any more")
        return answers[0]

    def _is_new(self, status: Status) -> bool:
        """Whether a status is not from before another that was taken in."""
        return (
            status.session == self._session
            and self._known <= status.expected <= self._highest
            and self._results <= status.results
        )

    def counters(self) -> dict[str, int]:
        """Since the last reset: ``cycles``, ``busy`` and ``waits`` (see `Counters`, but never
        wrapped if asked for now and then), ``samples`` that went to the core, ``results`` that it
        sent, ``frame_errors`` (0 or 1), ``link_errors`` (broken frames, either way; those to the
        board modulo 256 in each session) and ``image``.
        """
        counts = self._count()
        status = self.status()
        return {
            **{name: counts[name] for name in (*COUNTED, "samples", "results")},
            "frame_errors": int(status.has(Flags.FRAME_ERROR)),
            "link_errors": counts["errors"] + self._line.errors,
            "image": self._counted.image,
        }

    def _count(self) -> dict[str, int]:
        """All counts up to now."""
        self._read_counters()
        return {
            **self._totals,
            "samples": self._totals["samples"]
            + max(0, self._taken - self._origin) // self.sample_bytes,
            "results": self._totals["results"] + self._results,
            "errors": self._totals["errors"] + self.status().errors,
        }

    def _ask_counters(self) -> bytes:
        """A question that none before was like."""
        self._mark = self._mark + 1 & SESSION_MASK
        return command(Command.COUNTERS, self._session, self._mark)

    def _read_counters(self) -> None:
        question = self._ask_counters()

        def accept(body: bytes) -> bytes | None:
            return None if self._account(body) else question

        self._line.ask(question, accept, "the board does not answer any more")

    def _account(self, body: bytes) -> bool:
        """Takes in an answer with counters; gives whether it is a new one."""
        if body[0] != Answer.COUNTERS or len(body) != COUNTERS.size:
            return False
        counted = Counters.parse(body)
        if (counted.session, counted.mark) != (self._session, self._mark):
            return False
        for name in COUNTED:
            step = getattr(counted, name) - getattr(self._counted, name)
            self._totals[name] += step % WRAP
        self._counted = counted
        self._mark = self._mark + 1 & SESSION_MASK  # its answer has come
        return True

    @property
    def sample_bytes(self) -> int:
        """Of a sample."""
        return self.info.input_beats * self.info.input_beat_bytes

    @property
    def result_bytes(self) -> int:
        """Of a result."""
        return self.info.output_beats * self.info.output_beat_bytes
