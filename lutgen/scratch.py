"""Temporary files and folders that go when their maker does, however it ends.

A living process holds a lock on each of its own, and the system lets go of the lock when the
process dies. What nobody holds was left by a process that was killed: the next one that comes by
removes it, and says so.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from lutgen.errors import LutgenError

__all__ = ["claim", "folder", "keep_folder", "remove", "sweep"]

PREFIX = "lutgen-tmp-"
KEPT = ".kept"  # in a folder that stays for people to look at
MAX_AGE = 30 * 24 * 3600.0

log = logging.getLogger("lutgen")
_swept: set[str] = set()


def claim(make: Callable[[], Path]) -> tuple[Path, int]:
    """A new file or folder that no other process removes while this one lives.

    Parameters
    ----------
    make : callable
        Makes one under a new name.

    Returns
    -------
    tuple of Path and int
        And a file descriptor, to be closed once the path is gone or has its final name.
    """
    while True:
        path = make()
        try:
            held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:  # swept before it was held
            continue
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(held, fcntl.LOCK_EX)
        if path.exists():
            return path, held
        os.close(held)


def remove(path: Path) -> None:
    """Removes a file, a link, or a folder with all that is in it, whatever their modes."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    with contextlib.suppress(OSError):
        os.chmod(path, 0o700)
    with contextlib.suppress(FileNotFoundError):  # another process is at it too
        with os.scandir(path) as entries:
            inside = [Path(entry.path) for entry in entries]
        for each in inside:
            remove(each)
        path.rmdir()


def sweep(paths: Iterable[Path]) -> list[Path]:
    """Removes those of ``paths`` that no living process holds; gives what it has removed."""
    gone = []
    for path in paths:
        try:
            held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)  # under the lock, so that a maker that waits for it sees that it is gone
            gone.append(path)
        except OSError:
            pass
        finally:
            os.close(held)
    return gone


@contextlib.contextmanager
def folder(*, keep: tuple[type[BaseException], ...] = ()) -> Iterator[Path]:
    """A temporary folder for a ``with`` statement.

    Parameters
    ----------
    keep : tuple of exception types
        After one of these the folder stays, as what is said names files in it.

    Raises
    ------
    LutgenError
        If there is no place for temporary files.
    """
    path, held = _new()
    try:
        yield path
    except keep:
        keep_folder(path)
        raise
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    else:
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(held)


def keep_folder(path: Path | None = None) -> Path:
    """Marks a folder of `folder`, or a new one, as one that stays for people to look at."""
    held = -1
    if path is None:
        path, held = _new()
    with contextlib.suppress(OSError):
        (path / KEPT).touch()
    if held >= 0:
        os.close(held)
    return path


def _new() -> tuple[Path, int]:
    try:
        _sweep_all(Path(tempfile.gettempdir()))
        return claim(lambda: Path(tempfile.mkdtemp(prefix=PREFIX)))
    except OSError as error:
        place = tempfile.tempdir or os.environ.get("TMPDIR", "/tmp")
        said = (error.strerror or "none of the usual folders can be written").lower()
        raise LutgenError(
            f"{place}: can't make temporary files: {said}; make room there, or set TMPDIR to "
            "another folder"
        ) from error


def _sweep_all(place: Path) -> None:
    """Removes temporary folders of killed processes, once in a process."""
    if str(place) in _swept:
        return
    _swept.add(str(place))
    left = []
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        left = [Path(entry.path) for entry in entries if _ours(entry)]
    gone = sweep(left)
    if gone:
        log.warning(
            "%s: removed %d temporary folder%s of commands that were killed",
            place,
            len(gone),
            "s" if len(gone) > 1 else "",
        )


def _ours(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a temporary folder of this user, and none that stays."""
    if not entry.name.startswith(PREFIX) or not entry.is_dir(follow_symlinks=False):
        return False
    try:
        info = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    kept = os.path.lexists(os.path.join(entry.path, KEPT))
    return info.st_uid == os.getuid() and (not kept or time.time() - info.st_mtime > MAX_AGE)
