"""Standard output and standard error that can fail without stopping the work."""

import errno
import io
import os
import re
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from lutgen.files import reason

__all__ = ["CLEAR", "Escaped", "Sink", "escaped", "finish", "guard"]

CLEAR = "\r\x1b[K"  # to the start of the line, and empties it: all that we say to terminals
# What acts on a terminal, or turns the order of what it shows.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class Sink(io.RawIOBase):
    """A file descriptor that takes everything, and drops it from the first failure on.

    Parameters
    ----------
    descriptor : int
    closed : bool
        Whether whoever started us had closed it.

    Attributes
    ----------
    error : OSError or None
        The failure.
    """

    def __init__(self, descriptor: int, *, closed: bool = False) -> None:
        super().__init__()
        self._descriptor, self._closed = descriptor, closed
        self.error: OSError | None = None

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Writes what it can of ``data``; gives the number of bytes that are dealt with."""
        if self._closed and self.error is None:
            self.error = OSError(errno.EBADF, "it is closed")
        while self.error is None:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.error = error
        return len(data)


def guard() -> Sink:
    """Puts a `Sink` under ``sys.stdout`` and ``sys.stderr``; gives that of the former.

    Descriptors that are closed are taken, lest the next file that is opened gets one of these
    numbers and what a program prints. A character that the encoding lacks is written as an escape.
    """
    closed = []
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            closed.append(descriptor)
    output = Sink(1, closed=1 in closed)
    sys.stdout = _text(output, sys.stdout, lines=output.isatty())
    sys.stderr = _text(Sink(2, closed=2 in closed), sys.stderr, lines=True)
    return output


def _text(sink: Sink, before: TextIO | None, *, lines: bool) -> TextIO:
    encoding = "utf-8" if before is None else before.encoding
    errors = "backslashreplace"
    if before is not None and before.errors == "surrogateescape":  # names as they came
        errors = before.errors
    return io.TextIOWrapper(
        io.BufferedWriter(sink), encoding=encoding, errors=errors, line_buffering=lines
    )


def finish(output: Sink, status: int) -> int:
    """Writes what waits; gives the exit status, which is not 0 where results could not be written.

    A reader that leaves, such as ``head``, has what it wanted.
    """
    sys.stdout.flush()
    error = output.error
    if error is not None and error.errno != errno.EPIPE:
        print(
            f"lutgen: error: standard output can't be written: {reason(error)}; the command itself "
            f"ended with status {status}",
            file=sys.stderr,
        )
        status = status or 2
    sys.stderr.flush()
    return status


class Escaped(io.TextIOBase):
    """A text stream before another, on which names out of files can't act on a terminal.

    Parameters
    ----------
    inner : text stream
    """

    def __init__(self, inner: TextIO) -> None:
        super().__init__()
        self._inner = inner

    def write(self, text: str) -> int:
        """Writes text with its control characters, but for line ends and tabs, as escapes."""
        if text != CLEAR:
            self._inner.write(CONTROL.sub(lambda found: ascii(found[0])[1:-1], text))
        else:
            self._inner.write(text)
        return len(text)

    def flush(self) -> None:
        """Writes what waits."""
        self._inner.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._inner.isatty()

    def fileno(self) -> int:
        """The descriptor."""
        return self._inner.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding."""
        return self._inner.encoding


@contextmanager
def escaped() -> Iterator[None]:
    """Puts an `Escaped` before ``sys.stdout`` and ``sys.stderr`` for a while."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (s and Escaped(s) for s in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
