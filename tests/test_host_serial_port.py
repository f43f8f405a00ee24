"""A serial port that can't be had: each reason has one line, with what would help."""

import errno
import grp
import os
import pwd
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lutgen.errors import LutgenError
from lutgen.host.serial_port import SerialPort

serial = pytest.importorskip("serial")
NOBODY = 65534


@pytest.fixture
def terminal(monkeypatch):
    """A terminal's path; no other port is there."""
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


@pytest.fixture
def somebody():
    """Not root, for whom everything is allowed."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    yield
    os.seteuid(0)


def refused(port, baud=9600):
    with pytest.raises(LutgenError) as caught:
        SerialPort(port, baud)
    text = str(caught.value)
    assert "\n" not in text
    return text


def raising(monkeypatch, error):
    def refuse(*args, **options):
        raise error

    monkeypatch.setattr(serial, "Serial", refuse)


def test_not_allowed(terminal, request):
    os.chmod(terminal, 0)
    request.getfixturevalue("somebody")
    assert refused(terminal) == (
        f"{terminal}: can't be opened: permission denied; run `sudo chmod a+rw {terminal}`, or as "
        "a user who may"
    )


@pytest.mark.parametrize("member", [False, True])
def test_not_allowed_but_for_a_group(monkeypatch, member):
    """The group says what to become; who is in it since the last login must log in again."""
    user = pwd.getpwuid(os.geteuid()).pw_name
    group = SimpleNamespace(gr_name="dialout", gr_mem=[user] if member else [])
    monkeypatch.setattr(grp, "getgrgid", lambda number: group)
    monkeypatch.setattr(os, "stat", lambda path: SimpleNamespace(st_gid=20, st_mode=0o20660))
    raising(monkeypatch, serial.SerialException(errno.EACCES, "could not open port"))
    mend = (
        "you are of its group dialout from the next login on: log in again"
        if member
        else f"it is for the group dialout: run `sudo usermod -aG dialout {user}` and log in again"
    )
    assert refused("/dev/ttyUSB9") == (f"/dev/ttyUSB9: can't be opened: permission denied; {mend}")


def test_in_use(terminal):
    """By a program that is named."""
    code = "import serial, sys; s = serial.Serial(sys.argv[1], exclusive=True); print(flush=True); "
    code += "sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, terminal], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        holder.stdout.readline()
        text = refused(terminal)  # this process has it open too, but no lock on it
        assert text.startswith(f"{terminal}: is in use by python")
        assert text.endswith(f" (process {holder.pid}); end it and run again")
    finally:
        holder.communicate()
    SerialPort(terminal, 9600).close()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            serial.SerialException(errno.EBUSY, "could not open port"),
            "is in use by another program; end it and run again",
        ),
        (
            serial.SerialException(errno.ENXIO, "could not open port"),
            "can't be opened: no such device or address; plug the board in, or name its port: no "
            "serial port was found",
        ),
        (
            serial.SerialException(errno.EISDIR, "could not open port"),
            "is no serial port; no serial port was found",
        ),
        (
            ValueError("Failed to set custom baud rate (7): [Errno 22] Invalid argument"),
            "can't be opened at 7 baud: Failed to set custom baud rate (7); say another rate with "
            "--baud",
        ),
        (
            OverflowError("int too large"),
            "can't be opened at 7 baud: int too large; say another rate with --baud",
        ),
    ],
)
def test_refused(terminal, monkeypatch, tmp_path, error, text):
    raising(monkeypatch, error)
    port = str(tmp_path / "tty")
    assert refused(port, 7) == f"{port}: {text}"


def test_absent(terminal, tmp_path):
    """And others are named."""
    port = str(tmp_path / "tty")
    assert refused(port) == (
        f"{port}: can't be opened: no such file or directory; plug the board in, or name its port: "
        "no serial port was found"
    )
    folder = str(tmp_path)
    assert refused(folder) == f"{folder}: is no serial port; no serial port was found"
    (tmp_path / "file").touch()
    assert refused(str(tmp_path / "file")).endswith("is no serial port; no serial port was found")
