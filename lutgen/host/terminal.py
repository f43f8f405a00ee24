"""A terminal as a way to a board: pseudo-terminals, which have no baud rate."""

import errno
import os
import select
import tty

from lutgen.errors import LutgenError
from lutgen.files import reason

__all__ = ["Terminal"]

BLOCK = 65536


class Terminal:
    """The transport of a simulated board.

    Parameters
    ----------
    path : str
        Such as ``/dev/pts/3``.

    Raises
    ------
    LutgenError
        If it can't be opened.
    """

    def __init__(self, path: str) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
            tty.setraw(self._fd)
        except OSError as error:
            raise LutgenError(f"{path}: can't be opened: {reason(error)}") from error

    def read(self, timeout: float) -> bytes:
        """See `lutgen.host.bytes_transport.Transport`."""
        if not select.select([self._fd], [], [], timeout)[0]:
            return b""
        data = os.read(self._fd, BLOCK)
        if not data:  # the other side is closed
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return data

    def write(self, data: bytes) -> None:
        """See `lutgen.host.bytes_transport.Transport`."""
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """See `lutgen.host.bytes_transport.Transport`."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
