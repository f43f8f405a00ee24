"""A serial port as a way to a board, through pyserial."""

import contextlib
import errno
import os
import time
from typing import Any

from lutgen.errors import LutgenError

__all__ = ["SerialPort"]

SLICE = 0.02  # seconds of one wait


class SerialPort:
    """The transport of a board on a serial port.

    Parameters
    ----------
    port : str
        Such as ``/dev/ttyUSB1`` or ``COM3``.
    baud : int

    Raises
    ------
    LutgenError
        If pyserial is missing, or the port can't be opened.
    """

    def __init__(self, port: str, baud: int) -> None:
        try:
            import serial
        except ImportError:
            raise LutgenError(
                "pyserial, which serial ports take, is not installed; run: "
                "pip install 'lutgen[board]'"
            ) from None
        try:
            self._port: Any = serial.Serial(port, baud, timeout=SLICE, exclusive=True)
        except (OSError, ValueError) as error:  # its own error is an OSError
            raise LutgenError(f"{port}: {_why(error)}") from None
        # Adapters of FTDI gather bytes for 16 ms otherwise; others know no such mode.
        with contextlib.suppress(Exception):
            self._port.set_low_latency_mode(True)

    def read(self, timeout: float) -> bytes:
        """See `lutgen.host.bytes_transport.Transport`."""
        end = time.monotonic() + timeout
        while True:
            with _as_os_errors():
                data: bytes = self._port.read(max(1, self._port.in_waiting))
            if data or time.monotonic() >= end:
                return data

    def write(self, data: bytes) -> None:
        """See `lutgen.host.bytes_transport.Transport`."""
        with _as_os_errors():
            self._port.write(data)

    def close(self) -> None:
        """See `lutgen.host.bytes_transport.Transport`."""
        with contextlib.suppress(Exception):
            self._port.close()


@contextlib.contextmanager
def _as_os_errors() -> Any:
    """A port that is pulled out makes pyserial stumble in more than one way."""
    try:
        yield
    except Exception as error:
        raise OSError(_words(error)) from error


def _why(error: Exception) -> str:
    """Why a port can't be opened, and which ports there are if it is none."""
    number = getattr(error, "errno", None)
    if number == errno.ENOTTY or os.strerror(errno.ENOTTY) in str(error):
        return f"is no serial port; {_ports()}"
    said = os.strerror(number).lower() if number else _words(error)
    listed = f"; {_ports()}" if number == errno.ENOENT else ""
    return f"can't be opened: {said}{listed}"


def _ports() -> str:
    """The ports of this machine, as far as pyserial finds them."""
    from serial.tools import list_ports

    names = sorted(port.device for port in list_ports.comports())
    return f"there are {', '.join(names)}" if names else "no serial port was found"


def _words(error: Exception) -> str:
    """What pyserial says, without its wrapping."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return said.rpartition(": [Errno")[0].strip() or said
