"""Bytes to and from a board: serial ports and pseudo-terminals each have one."""

from typing import Protocol

__all__ = ["Transport"]


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
