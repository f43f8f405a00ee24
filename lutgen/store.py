"""Results of slow tools, kept by the content of all that made them.

An entry is a folder with a list of its files and their digests. It is compared with that list
whenever it is read: what is damaged is thrown away and made anew, and the logger ``lutgen`` says
so.
"""

import atexit
import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import logging
import os
import platform
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lutgen import scratch
from lutgen.errors import LutgenError
from lutgen.files import reason

__all__ = ["cached", "digest", "discard", "machine", "root", "tidy"]

LAYOUT = 2  # of an entry; part of every key
SEAL = "seal.json"
MAX_AGE = 30 * 24 * 3600.0
STALE = 24 * 3600.0
# Nothing else on a shelf is ever removed: LUTGEN_CACHE may name a folder that holds more.
OURS = re.compile(r"[0-9a-f]{64}(\.lock|\.o)?|part\.[0-9a-f.]+")
PART = re.compile(r"part\.[0-9a-f]+\.[0-9a-f]+")  # held by its maker
ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)

log = logging.getLogger("lutgen")
_places: dict[str, Path] = {}
_tidied: set[str] = set()


def root() -> Path:
    """``$LUTGEN_CACHE``, else ``$XDG_CACHE_HOME/lutgen``, else ``~/.cache/lutgen``.

    Where that can't be written it is a temporary folder, which goes when this process ends; the
    first call warns of it.
    """
    wanted, problem = _wanted()
    problem = problem or _problem(wanted)
    return wanted if problem is None else _stand_in(wanted, problem)


def _wanted() -> tuple[Path, str | None]:
    """Where the cache should be, and why that can't be said."""
    try:
        if place := os.environ.get("LUTGEN_CACHE"):
            return Path(place).absolute(), None
        # As the XDG specification says, a relative name there means nothing.
        base = os.environ.get("XDG_CACHE_HOME", "")
        if base.startswith("/"):
            return Path(base) / "lutgen", None
        return Path.home().absolute() / ".cache" / "lutgen", None
    except FileNotFoundError:
        return Path(os.environ.get("LUTGEN_CACHE", ".")), "the working folder is gone"
    except RuntimeError:
        return Path("~/.cache/lutgen"), "there is no home folder"


def _problem(place: Path) -> str | None:
    """Why a folder can't hold the cache."""
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return "is no folder" if isinstance(error, FileExistsError) else reason(error)
    if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
        return "can't be written"
    return None


def _stand_in(wanted: Path, problem: str) -> Path:
    """A temporary folder for what should be at ``wanted``."""
    if str(wanted) not in _places:
        stack = contextlib.ExitStack()
        _places[str(wanted)] = stack.enter_context(scratch.folder())
        atexit.register(stack.close)
        log.warning(
            "%s: can't keep results there: %s; a temporary folder takes its place, so that the "
            "next command makes everything again; set LUTGEN_CACHE to a folder that can be written",
            wanted,
            problem,
        )
    return _places[str(wanted)]


def digest(*parts: object) -> str:
    """A key of JSON data."""
    return hashlib.sha256(json.dumps((LAYOUT, parts), sort_keys=True).encode()).hexdigest()


@functools.cache
def machine() -> list[str]:
    """What machine code that was compiled here hangs on: for a key."""
    flags = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return [platform.system(), platform.machine(), hashlib.sha256(flags.encode()).hexdigest()]


def cached(kind: str, key: str, make: Callable[[Path], None]) -> tuple[Path, bool]:
    """The folder that ``make`` fills, made once for each ``key``.

    ``make`` works in a folder of its own, which gets its final name when it is whole: a killed run
    leaves nothing that a later one takes for good. A process that finds another one at work on the
    same key waits for it.

    Parameters
    ----------
    kind : str
        Name of the shelf.
    key : str
        From `digest`.
    make : callable
        Takes an empty folder.

    Returns
    -------
    tuple of Path and bool
        The folder, not to be written to, and whether it was there before.

    Raises
    ------
    LutgenError
        If the result can't be kept.
    """
    wanted = _wanted()[0] / kind / key
    if _checked(wanted) == "":  # even where nothing can be written
        with contextlib.suppress(OSError):
            os.utime(wanted)
            tidy(wanted.parent)
        return wanted, True
    shelf = _shelf(kind)
    place = shelf / key
    try:
        tidy(shelf)
        with _lock(shelf / f"{key}.lock"):
            said = _checked(place)
            if said == "":
                return place, True
            if said is not None:
                log.warning("%s: the cache's entry is damaged: %s; making it anew", place, said)
                _drop(place)
            part, held = scratch.claim(lambda: _part(shelf))
            try:
                make(part)
                _seal(part, key)
                part.rename(place)
            finally:
                os.close(held)
                if part.is_dir():
                    scratch.remove(part)
    except OSError as error:
        where = error.filename or shelf
        if error.errno not in ROOM and not str(where).startswith(str(shelf)):
            raise  # not of the cache
        raise LutgenError(
            f"{where}: can't keep results in the cache: {reason(error)}; make room, or set "
            "LUTGEN_CACHE to another folder"
        ) from error
    return place, False


def discard(kind: str, key: str) -> None:
    """Takes an entry off its shelf: what is in it can't be used."""
    shelf = _shelf(kind)
    with contextlib.suppress(OSError), _lock(shelf / f"{key}.lock"):
        _drop(shelf / key)


def tidy(shelf: Path) -> None:
    """Drops what nobody used for long, and what killed processes left, once in a process.

    Raises
    ------
    OSError
        If the shelf can't be read.
    """
    if str(shelf) in _tidied:
        return
    _tidied.add(str(shelf))
    now = time.time()
    parts = []
    with os.scandir(shelf) as found:
        entries = list(found)
    for entry in entries:
        with contextlib.suppress(OSError):
            age = now - entry.stat(follow_symlinks=False).st_mtime
            path = Path(entry.path)
            if PART.fullmatch(entry.name) and age < STALE:
                parts.append(path)
            elif OURS.fullmatch(entry.name) and age > (STALE if "part." in entry.name else MAX_AGE):
                scratch.remove(path)
    if gone := scratch.sweep(parts):
        word = "entries" if len(gone) > 1 else "entry"
        log.warning("%s: removed %d half-made %s of killed commands", shelf, len(gone), word)


def _shelf(kind: str) -> Path:
    """The folder of a kind of results."""
    shelf = root() / kind
    problem = _problem(shelf)
    return shelf if problem is None else _stand_in(shelf, problem)


def _part(shelf: Path) -> Path:
    part = shelf / f"part.{secrets.token_hex(4)}.{secrets.token_hex(4)}"
    part.mkdir()
    return part


def _drop(place: Path) -> None:
    """Removes an entry: it is gone for others at once."""
    gone = place.with_name(f"part.{secrets.token_hex(4)}.{secrets.token_hex(4)}")
    try:
        place.rename(gone)
    except FileNotFoundError:
        return
    scratch.remove(gone)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Holds a lock file, which the system lets go of when the process dies."""
    while True:
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            # Something else stands there. What can't be removed is an error.
            if not os.path.lexists(path) or not _foreign(path):
                raise
            log.warning("%s: is no lock file: %s; making it anew", path, reason(error))
            scratch.remove(path)
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _same(file, path):  # nobody has tidied it away meanwhile
                os.utime(file)
                yield
                return
        finally:
            os.close(file)


def _foreign(path: Path) -> bool:
    """Whether a path is no file that can be opened for writing."""
    info = path.lstat()
    return not stat.S_ISREG(info.st_mode) or not os.access(path, os.W_OK)


def _same(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _files(place: Path) -> dict[str, list[Any]]:
    """Digest and owner's mode of every file of a folder, but for the seal.

    Raises
    ------
    OSError
        If one can't be read, or is no plain file.
    """
    found: dict[str, list[Any]] = {}
    for folder, folders, names in os.walk(place, onerror=_complain):
        for name in folders + names:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            inner = path.relative_to(place).as_posix()
            if name in folders and stat.S_ISDIR(mode):
                continue
            if inner == SEAL:
                continue
            if not stat.S_ISREG(mode):
                raise OSError(f"{inner} is no plain file")
            with path.open("rb") as file:
                total = hashlib.file_digest(file, "sha256").hexdigest()
            found[inner] = [total, stat.S_IMODE(mode) & 0o700]
    return found


def _complain(error: OSError) -> None:
    raise error


def _seal(place: Path, key: str) -> None:
    """Writes down what an entry holds."""
    text = json.dumps({"format": "lutgen-cache", "key": key, "files": _files(place)}, indent=1)
    (place / SEAL).write_text(text, encoding="utf-8")


def _checked(place: Path) -> str | None:
    """What is wrong with an entry: empty if it is as it was made, None if there is none."""
    try:
        mode = place.lstat().st_mode
    except OSError:
        return None
    if not stat.S_ISDIR(mode):
        return "it is no folder"
    try:
        seal = place / SEAL
        if not stat.S_ISREG(seal.lstat().st_mode):
            return f"{SEAL} is no plain file"
        said = json.loads(seal.read_bytes())
        if not isinstance(said, dict) or said.get("key") != place.name:
            return f"{SEAL} is not that of this entry"
        files = said.get("files")
        if files == (found := _files(place)):
            return ""
        if not isinstance(files, dict):
            return f"{SEAL} names no files"
    except OSError as error:
        return reason(error)
    except (ValueError, RecursionError):
        return f"{SEAL} can't be read"
    wrong = sorted(name for name in {*files, *found} if files.get(name) != found.get(name))
    return f"{', '.join(wrong):.80} not as it was made"
