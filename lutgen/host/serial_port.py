"""A serial port as a way to a board, through pyserial."""

import contextlib
import errno
import glob
import os
import shlex
import stat
import struct
import time
from typing import Any

from lutgen.errors import LutgenError

__all__ = ["SerialPort"]

SLICE = 0.02  # seconds of one wait
STUCK = 30.0  # seconds in which nothing at all could be written


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
            self._port: Any = serial.Serial(
                port, baud, timeout=SLICE, write_timeout=STUCK, exclusive=True
            )
        # Its own error is an OSError; how a driver refuses a rate, it says in many ways.
        except (OSError, ValueError, OverflowError, struct.error) as error:
            raise LutgenError(f"{port}: {_why(error, port, baud)}") from None
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


def _why(error: Exception, port: str, baud: int) -> str:
    """Why a port can't be opened, and what would help."""
    number = getattr(error, "errno", None)
    said = os.strerror(number).lower() if number else _words(error)
    if number in (errno.ENOTTY, errno.EISDIR) or os.strerror(errno.ENOTTY) in str(error):
        return f"is no serial port; {_ports()}"
    if number in (errno.EACCES, errno.EPERM):
        return f"can't be opened: {said}; {_permission(port)}"
    if number in (errno.EBUSY, errno.EAGAIN):
        return f"is in use by {_holder(port)}; end it and run again"
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV, errno.EIO):
        return f"can't be opened: {said}; plug the board in, or name its port: {_ports()}"
    if number is None or number == errno.EINVAL:
        return f"can't be opened at {baud} baud: {said}; say another rate with --baud"
    return f"can't be opened: {said}; {_ports()}"


def _permission(port: str) -> str:
    """Who may open a port, and how to become one of them."""
    with contextlib.suppress(OSError, KeyError, ImportError):
        import grp
        import pwd

        status = os.stat(port)
        group, user = grp.getgrgid(status.st_gid), pwd.getpwuid(os.geteuid()).pw_name
        if status.st_mode & stat.S_IRGRP and status.st_mode & stat.S_IWGRP and status.st_gid:
            if user in group.gr_mem:
                return f"you are of its group {group.gr_name} from the next login on: log in again"
            return (
                f"it is for the group {group.gr_name}: run `sudo usermod -aG {group.gr_name} "
                f"{user}` and log in again"
            )
    return f"run `sudo chmod a+rw {shlex.quote(port)}`, or as a user who may"


def _holder(port: str) -> str:
    """The program that has a port open, as far as this user may see it."""
    real = os.path.realpath(port)
    for folder in glob.glob("/proc/[0-9]*"):
        number = int(folder.rpartition("/")[2])
        with contextlib.suppress(OSError):
            opened = (os.path.realpath(link) for link in glob.glob(f"{folder}/fd/*"))
            if number != os.getpid() and real in opened:
                with open(f"{folder}/comm", encoding="utf-8", errors="replace") as file:
                    return f"{file.read().strip()} (process {number})"
    return "another program"


def _ports() -> str:
    """The ports of this machine, as far as pyserial finds them."""
    from serial.tools import list_ports

    names = sorted(port.device for port in list_ports.comports())
    return f"there are {', '.join(names)}" if names else "no serial port was found"


def _words(error: Exception) -> str:
    """What pyserial says, without its wrapping."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return said.rpartition(": [Errno")[0].strip() or said
