"""Reads files that anyone may have made: never without a bound, and nothing but plain files.

Errors of the operating system stay `OSError`, whose text `lutgen.files.reason` gives; the callers
add the file's name.
"""

import errno
import json
import math
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from lutgen.errors import LutgenError

__all__ = ["JSON_BYTES", "free_memory", "megabytes", "open_plain", "parse_json", "read_json"]
__all__ += ["read_plain"]

JSON_BYTES = 1 << 25  # of a file or a text: parsed data take up to 30 times as much
DEPTH = 64  # objects and lists within each other; what lutgen writes has less than 10
DIGITS = 300  # of an integer: more are infinite as a float
GROUP = Path("/sys/fs/cgroup")
KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def megabytes(count: int) -> str:
    """A number of bytes for people: ``3.2 GB``."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,} bytes"


def _check_kind(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        kind = KINDS.get(stat.S_IFMT(mode), "something else")
        raise OSError(
            errno.EINVAL, f"it is {kind}, must be a file; write its contents to one and name that"
        )


@contextmanager
def open_plain(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Opens a regular file; never waits, as opening a pipe would.

    Raises
    ------
    OSError
        If it can't be opened, or is a folder, a pipe, a socket or a device.
    """
    _check_kind(Path(path).stat().st_mode)  # first, since opening a device may do something
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(file, "rb") as opened:
        _check_kind(os.fstat(file).st_mode)
        yield opened


def read_plain(path: str | os.PathLike[str], most: int) -> bytes:
    """The contents of a regular file of at most ``most`` bytes.

    Raises
    ------
    OSError
        See `open_plain`; and if there is more in it, whatever size the system states.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = bytearray()
        while size <= most and (part := file.read(1 << 20)):
            data += part
            size = max(size, len(data))
        if size > most:
            raise OSError(errno.EFBIG, f"it holds more than {megabytes(most)}; name another file")
    return bytes(data)


def read_json(path: str | os.PathLike[str]) -> Any:
    """The data of a JSON file.

    Raises
    ------
    OSError
        See `read_plain`.
    ValueError
        If it is no JSON.
    LutgenError
        If it is JSON of a kind that nobody writes; see `parse_json`.
    """
    return parse_json(read_plain(path, JSON_BYTES).decode("utf-8"))


def parse_json(text: str) -> Any:
    """The data of a JSON text, strictly: what is read can be written again, and printed.

    Raises
    ------
    ValueError
        If the text is no JSON.
    LutgenError
        If it holds NaN or infinity, more digits than a number has, half a character, a name twice
        in one object, or if it is too large or too deep; without the file's name, which the caller
        adds.
    """
    if len(text) > JSON_BYTES:
        raise LutgenError(f"is more than {megabytes(JSON_BYTES)} of JSON; write it anew")
    try:
        data = json.loads(
            text, parse_constant=_no_number, parse_int=_integer, object_pairs_hook=_object
        )
    except RecursionError:
        raise LutgenError(_DEEP) from None
    _check_data(data)
    return data


_DEEP = f"is JSON of more than {DEPTH} levels; write it anew"


def _no_number(text: str) -> Any:
    raise LutgenError(f"holds {text}, which is no number in JSON; write it anew")


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise LutgenError(f"holds a number of {len(text)} digits; write it anew")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise LutgenError(f"holds the field {key!r:.40} twice in one object; delete one")
            seen.add(key)
    return result


def _check_data(data: Any) -> None:
    level, depth = [data], 0
    while level:
        inner: list[Any] = []
        for value in level:
            if isinstance(value, str):
                _check_text(value)
            elif isinstance(value, float):
                if not math.isfinite(value):
                    raise LutgenError("holds a number that is infinite; write it anew")
            elif isinstance(value, list):
                inner += value
            elif isinstance(value, dict):
                inner += value
                inner += value.values()
        level, depth = inner, depth + 1
        if depth > DEPTH:
            raise LutgenError(_DEEP)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise LutgenError(f"holds {text!r:.40}, half a character; write it anew") from None


def free_memory() -> int:
    """Bytes of memory that this process may still take, as far as the system tells."""
    room = sys.maxsize
    try:
        import resource

        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":") for line in lines)
        room = int(fields["MemAvailable"].split()[0]) * 1024
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            room = min(room, max(0, limit - pages * resource.getpagesize()))
    except (ImportError, OSError, ValueError, KeyError):
        pass  # another system, which is not asked
    try:  # a container's own limit
        most, used = (int((GROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        room = min(room, max(0, most - used))
    except (OSError, ValueError):
        pass
    return room
