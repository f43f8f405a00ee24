"""Results of slow tools, kept by the content of all that made them."""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lutgen.errors import LutgenError
from lutgen.files import reason

__all__ = ["cached", "digest", "discard", "root"]

MAX_AGE = 30 * 24 * 3600.0
STALE = 24 * 3600.0


def root() -> Path:
    """``$LUTGEN_CACHE``, else ``$XDG_CACHE_HOME/lutgen``, else ``~/.cache/lutgen``."""
    if place := os.environ.get("LUTGEN_CACHE"):
        return Path(place).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").absolute() / "lutgen"


def digest(*parts: object) -> str:
    """A key of JSON data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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
    """
    shelf = root() / kind
    place = shelf / key
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            os.utime(place)
            return place, True
        with _lock(shelf / f"{key}.lock"):
            if place.is_dir():
                return place, True
            _tidy(shelf)
            part = shelf / f"part.{secrets.token_hex(8)}"
            part.mkdir()
            try:
                make(part)
                part.rename(place)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise LutgenError(
            f"{shelf}: can't keep results there: {reason(error)}; "
            "set LUTGEN_CACHE to another folder"
        ) from error
    return place, False


def discard(kind: str, key: str) -> None:
    """Takes an entry off its shelf: it was found to be damaged."""
    shelf = root() / kind
    with _lock(shelf / f"{key}.lock"):
        shutil.rmtree(shelf / key, ignore_errors=True)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the system lets go of it when the process dies
        yield


def _tidy(shelf: Path) -> None:
    """Drops what nobody used for long, and what killed runs left."""
    now = time.time()
    for entry in shelf.iterdir():
        limit = STALE if entry.name.startswith("part.") else MAX_AGE
        with contextlib.suppress(OSError):
            if now - entry.stat().st_mtime > limit:
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink()
