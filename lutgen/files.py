"""Files and folders that appear whole or not at all."""

import contextlib
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from lutgen import scratch
from lutgen.errors import LutgenError

__all__ = [
    "absolute",
    "check_folder",
    "check_writable",
    "plain",
    "reason",
    "write_bytes",
    "write_folder",
    "write_text",
    "write_with",
]

log = logging.getLogger("lutgen")


def reason(error: OSError) -> str:
    """What the operating system says, without the file name that the caller adds."""
    return (error.strerror or str(error)).lower()


def plain(name: str) -> str:
    """A file's name as text that any file can hold: bytes that are no UTF-8 become escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def absolute(path: str | os.PathLike[str]) -> Path:
    """``path`` from the root on, without links.

    Raises
    ------
    LutgenError
        If the working folder is gone, or links lead in a circle.
    """
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError) as error:
        said = reason(error) if isinstance(error, OSError) else "its links lead in a circle"
        if isinstance(error, FileNotFoundError):
            said = "the working folder is gone; change to another, or name files from the root on"
        raise LutgenError(f"{path}: {said}") from error


def check_writable(
    path: str | os.PathLike[str], *, inputs: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Complains now, before long work, if ``path`` can't be written, or is one of ``inputs``."""
    target = Path(path)
    with _writing(target):
        if target.name == "-":
            raise LutgenError("-: standard output is no place for files; name a file to write")
        if target.is_dir():
            raise LutgenError(f"{target}: is a folder; name a file to write")
        if not target.parent.is_dir():
            raise LutgenError(f"{target}: the folder {target.parent} does not exist; make it first")
        if not os.access(target.parent, os.W_OK) or (
            target.exists() and not os.access(target, os.W_OK)
        ):
            raise LutgenError(f"{target}: can't be written: permission denied; choose another path")
        if target.exists():
            if not target.is_file():
                raise LutgenError(f"{target}: is no plain file; name another")
            for source in inputs:
                if os.path.exists(source) and target.samefile(source):
                    raise LutgenError(f"{target}: is read here too; choose another path")
        # Some file systems allow by their modes what they refuse when it is done.
        part, held = _claim(absolute(target), lambda path: path.touch(exist_ok=False))
        part.unlink()
        os.close(held)


def _claim(target: Path, make: Callable[[Path], object]) -> tuple[Path, int]:
    """Makes a file or folder beside ``target``, for what becomes it once it is whole; removes those
    that killed commands left there. See `lutgen.scratch.claim`.
    """
    start = _beside(target, "")
    with contextlib.suppress(OSError), os.scandir(target.parent) as entries:
        pattern = re.compile(rf"{re.escape(start)}[0-9a-f]{{8}}\.part")
        left = [Path(entry.path) for entry in entries if pattern.fullmatch(entry.name)]
        if gone := scratch.sweep(left):
            log.warning("%s: removed what a killed command left half written", gone[0])

    def new() -> Path:
        path = target.with_name(f"{start}{secrets.token_hex(4)}.part")
        make(path)
        return path

    return scratch.claim(new)


def _beside(target: Path, end: str) -> str:
    """A name to be used beside a file, as long as names may be."""
    return f".{os.fsdecode(os.fsencode(target.name)[:230])}.{end}"


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turns what the system says of writing ``target`` into one line."""
    try:
        yield
    except OSError as error:
        raise LutgenError(
            f"{target}: can't be written: {reason(error)}; choose another path"
        ) from error


def write_with(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Calls ``write`` on a file beside ``path``, then renames it: readers see the old file or the
    new one.

    Raises
    ------
    LutgenError
        If the file can't be written; nothing is left behind then.
    """
    check_writable(path)
    target = absolute(path)  # a link stays, and what it points to is replaced
    with _writing(target):
        part, held = _claim(target, lambda path: path.touch(exist_ok=False))
        try:
            with part.open("wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
            os.close(held)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes ``data`` whole."""
    write_with(path, lambda file: file.write(data))


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes ``text`` whole, as UTF-8."""
    write_bytes(path, text.encode())


def check_folder(path: str | os.PathLike[str], names: Iterable[str], what: str) -> None:
    """Complains now, before long work, if ``path`` can't become a folder of these files.

    Parameters
    ----------
    path : path
    names : iterable of str
        The files. A folder that exists may be replaced if it holds just these.
    what : str
        What such a folder is, for the complaint, such as ``a job``.
    """
    target = Path(path)
    with _writing(target):
        if target.name in ("", "..", "-"):
            raise LutgenError(f"{target}: names no new folder; name one")
        if target.is_dir():
            if {each.name for each in target.iterdir()} not in (set(), set(names)):
                raise LutgenError(f"{target}: is a folder, but not {what}; choose another path")
        elif target.exists() or target.is_symlink():
            raise LutgenError(f"{target}: is a file; name a folder")
        if not target.parent.is_dir():
            raise LutgenError(f"{target}: the folder {target.parent} does not exist; make it first")
        if not os.access(target.parent, os.W_OK):
            raise LutgenError(f"{target}: can't be written: permission denied; choose another path")


def write_folder(
    path: str | os.PathLike[str], files: Mapping[str, Callable[[BinaryIO], object]], what: str
) -> None:
    """Writes files into a folder beside ``path``, then renames it.

    Parameters
    ----------
    path, what
        See `check_folder`.
    files : dict of callables
        What writes each file, by its name.

    Raises
    ------
    LutgenError
        If the folder can't be written, or one is there that holds other files; what was there
        stays then, and nothing else is left behind.
    """
    check_folder(path, files, what)
    target = absolute(path)
    # Not swept: it is all there is of the former folder if this process is killed right here.
    old = target.with_name(_beside(target, f"{secrets.token_hex(4)}.old"))
    with _writing(target):
        part, held = _claim(target, Path.mkdir)
        try:
            for name, write in files.items():
                with (part / name).open("wb") as file:
                    write(file)
                    file.flush()
                    os.fsync(file.fileno())
            if target.exists():
                target.rename(old)
            try:
                part.rename(target)
            except OSError:
                if old.exists():
                    old.rename(target)
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
            os.close(held)
