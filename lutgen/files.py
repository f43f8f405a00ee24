"""Files that appear whole or not at all."""

import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from lutgen.errors import LutgenError

__all__ = ["check_writable", "reason", "write_bytes", "write_text", "write_with"]


def reason(error: OSError) -> str:
    """What the operating system says, without the file name that the caller adds."""
    return (error.strerror or str(error)).lower()


def check_writable(
    path: str | os.PathLike[str], *, inputs: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Complains now, before long work, if ``path`` can't be written, or is one of ``inputs``."""
    target = Path(path)
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
            if Path(source).exists() and target.samefile(source):
                raise LutgenError(f"{target}: is read here too; choose another path")
    # Some file systems allow by their modes what they refuse when it is done.
    part = _part(target.resolve())
    try:
        part.touch()
    except OSError as error:
        raise LutgenError(
            f"{target}: can't be written: {reason(error)}; choose another path"
        ) from error
    part.unlink()


def _part(target: Path) -> Path:
    """A name beside a file, for what becomes the file once it is whole."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")


def write_with(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Calls ``write`` on a file beside ``path``, then renames it: readers see the old file or the
    new one.

    Raises
    ------
    LutgenError
        If the file can't be written; nothing is left behind then.
    """
    check_writable(path)
    target = Path(path).resolve()  # a link stays, and what it points to is replaced
    part = _part(target)
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except OSError as error:
        raise LutgenError(f"{target}: can't be written: {reason(error)}") from error
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes ``data`` whole."""
    write_with(path, lambda file: file.write(data))


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes ``text`` whole, as UTF-8."""
    write_bytes(path, text.encode())
