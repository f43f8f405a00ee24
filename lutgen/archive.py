"""Reads `.npz` archives that anyone may have made: headers first, and arrays one by one.

Nothing of an archive is run, and nothing is unpacked before its header was checked against the
archive's own table and against what the caller expects.
"""

import ast
import math
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.files import reason
from lutgen.reading import JSON_BYTES, free_memory, megabytes, open_plain

__all__ = ["Archive", "ArchiveError", "Member", "Members", "check_room", "open_archive"]
__all__ += ["write_packed"]

TABLE_BYTES = 1 << 24  # of an archive's table of members: 100,000 arrays
HEADER_BYTES = 1 << 12  # of an array's header; numpy writes 128
AXES = 32
END = struct.Struct("<4s4H2LH")  # the record at the end of an archive
FAR = struct.Struct("<4sQ2H2L4Q")  # the one of archives above 4 GB
FAR_LINK = 20  # bytes of what links the two
LOCAL = 30  # bytes before each member, its name not counted
ENCRYPTED = 0x41  # flags of a member
DEFLATE = "store it with numpy.savez or numpy.savez_compressed"
SMALL = 1 << 25  # bytes of arrays that may be packed as they will


class ArchiveError(LutgenError):
    """What is wrong with an archive or an array in it; names the file."""


@dataclass(frozen=True)
class Member:
    """An array of an archive that is not read yet.

    Attributes
    ----------
    key : str
    dtype : numpy.dtype
    shape : tuple of int
    """

    key: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    archive: "Archive"
    fortran: bool
    start: int  # of the data in the member, behind its header

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def load(self) -> NDArray[Any]:
        """Reads the array."""
        return self.archive.load(self)


Members = dict[str, Member]


class Archive:
    """An archive whose table was checked.

    Parameters
    ----------
    file : binary file
        Open as long as the archive is used.
    where : str
        How errors speak of the file.
    what : str
        What the file should be, such as ``a lutgen model``.
    mend : str
        What errors say is to be done.
    foreign : str or None
        What they say where the file is no archive at all; None for ``mend``.

    Raises
    ------
    LutgenError
        Where the file is no archive, or one that numpy does not write.
    """

    def __init__(
        self, file: BinaryIO, where: str, what: str, mend: str, foreign: str | None = None
    ):
        self.where, self.mend = where, mend
        self.bytes = os.fstat(file.fileno()).st_size
        if file.read(2) != b"PK":
            raise ArchiveError(f"{where}: is not {what}: it is no .npz archive; {foreign or mend}")
        try:
            _check_table(file, self.bytes)
            self._zip = zipfile.ZipFile(file)
            self._infos = _checked(self._zip)
        except WrongError as error:
            raise ArchiveError(f"{where}: {error}; {mend}") from None
        except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError):
            raise ArchiveError(f"{where}: is damaged or cut short; {mend}") from None

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the arrays."""
        return tuple(self._infos)

    def fail(self, key: str, text: str, mend: str | None = None) -> ArchiveError:
        """The error for one array."""
        return ArchiveError(f"{self.where}, array {key!r:.80}: {text}; {mend or self.mend}")

    def member(self, key: str) -> Member:
        """An array by its header.

        Raises
        ------
        LutgenError
            If it is damaged, encrypted, packed in a way that numpy does not use, or holds Python
            objects.
        """
        info = self._infos[key]
        if info.flag_bits & ENCRYPTED:
            raise self.fail(key, "is encrypted", "decrypt it, or make the file again")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise self.fail(key, "is compressed by another method than deflate", DEFLATE)
        with self._reading(key), self._zip.open(info) as file:
            dtype, shape, fortran, start = _header(file)
            found = Member(key, dtype, shape, self, fortran, start)
            if found.nbytes + start != info.file_size:
                raise WrongError("is damaged")
            return found

    def members(self) -> Members:
        """All arrays by their headers.

        Raises
        ------
        LutgenError
            See `member`; and if the archive holds anything else.
        """
        for info in self._zip.infolist():
            if not info.filename.endswith(".npy"):
                raise ArchiveError(
                    f"{self.where}: holds {info.filename!r:.80}, which is no array; {self.mend}"
                )
        return {key: self.member(key) for key in self._infos}

    def load(self, member: Member) -> NDArray[Any]:
        """Reads an array, its checksum included."""
        shape = member.shape[::-1] if member.fortran else member.shape
        with self._reading(member.key), self._zip.open(self._infos[member.key]) as file:
            file.read(member.start)
            array = np.empty(shape, member.dtype)
            into = array.reshape(-1).view(np.uint8)
            done = 0
            while done < array.nbytes:
                part = file.read(min(1 << 20, array.nbytes - done))
                if not part:
                    raise WrongError("is damaged")
                into[done : done + len(part)] = np.frombuffer(part, np.uint8)
                done += len(part)
            if file.read(1):
                raise WrongError("is damaged")
        return array.T if member.fortran else array

    def text(self, key: str) -> str:
        """A text, which is an array of one unicode string.

        Raises
        ------
        LutgenError
            If it is none, or longer than any JSON that is read.
        """
        member = self.member(key)
        if member.shape != () or member.dtype.kind != "U":
            raise ArchiveError(f"{self.where}: {key}: must be one unicode string; {self.mend}")
        if member.nbytes > 4 * JSON_BYTES:
            raise ArchiveError(
                f"{self.where}: {key}: is more than {megabytes(JSON_BYTES)} of text; {self.mend}"
            )
        try:
            return str(self.load(member))
        except ValueError:
            raise ArchiveError(f"{self.where}: {key}: is no unicode string; {self.mend}") from None

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except WrongError as error:
            raise self.fail(key, str(error), error.mend) from None
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, struct.error):
            raise self.fail(key, "is damaged") from None
        except MemoryError:
            raise self.fail(key, "does not fit the memory") from None
        except (NotImplementedError, RuntimeError):
            raise self.fail(
                key, "is packed or encrypted in a way that numpy does not use"
            ) from None


class WrongError(Exception):
    """What is wrong with an archive or a member, without its name."""

    def __init__(self, text: str, mend: str | None = None):
        super().__init__(text)
        self.mend = mend


@contextmanager
def open_archive(
    path: str | os.PathLike[str], what: str, mend: str, foreign: str | None = None
) -> Iterator[Archive]:
    """Opens an archive.

    Parameters
    ----------
    path : path
    what, mend, foreign : str
        See `Archive`.

    Raises
    ------
    LutgenError
        One line that names the file, and the array if it is one that is wrong.
    """
    try:
        with open_plain(path) as file:
            yield Archive(file, os.fspath(path), what, mend, foreign)
    except OSError as error:
        raise ArchiveError(f"{path}: can't be read: {reason(error)}") from error


def check_room(
    members: Iterable[Member], archive: Archive, *, packed: int, each: int, what: str
) -> None:
    """Complains before arrays are read that would not fit the memory.

    Parameters
    ----------
    members : iterable of Member
        What is to be read.
    archive : Archive
    packed : int
        The most bytes of arrays for each byte of the file; deflate reaches 1,000.
    each : int
        Bytes that an element takes in use, if more than in the file.
    what : str
        What is to be done where the machine is too small.

    Raises
    ------
    LutgenError
        One line that says how much it would take.
    """
    chosen = list(members)
    total = sum(member.nbytes for member in chosen)
    if total > _most(packed, archive.bytes):
        raise ArchiveError(
            f"{archive.where}: holds {megabytes(total)} of arrays in {megabytes(archive.bytes)}, "
            f"more than {packed} times as much; {archive.mend}, or store it without compression"
        )
    needed = sum(math.prod(m.shape) * max(each, m.dtype.itemsize) for m in chosen)
    if needed > (room := free_memory()):
        raise ArchiveError(
            f"{archive.where}: takes about {megabytes(needed)} of memory, of which "
            f"{megabytes(room)} are free; {what}"
        )


def write_packed(file: BinaryIO, contents: dict[str, Any], packed: int) -> None:
    """Writes arrays, compressed where `check_room` takes them so: what was written can be read.

    Parameters
    ----------
    file : binary file
        Open for writing, empty.
    contents : dict of str to array
    packed : int
        See `check_room`.
    """
    np.savez_compressed(file, **contents)
    if sum(np.asarray(each).nbytes for each in contents.values()) > _most(packed, file.tell()):
        file.seek(0)
        file.truncate()
        np.savez(file, **contents)


def _most(packed: int, size: int) -> int:
    """Bytes of arrays that a file of ``size`` bytes may hold."""
    return max(SMALL, packed * size)


def _check_table(file: BinaryIO, size: int) -> None:
    """Complains of an archive without an end, or with a far larger table than numpy writes."""
    start = max(0, size - (1 << 16) - END.size - FAR_LINK - FAR.size)
    file.seek(start)
    tail = file.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or place + END.size > len(tail):
        raise WrongError("is damaged or cut short")
    table = END.unpack_from(tail, place)[5]
    link = place - FAR_LINK
    if link >= FAR.size and tail[link : link + 4] == b"PK\x06\x07":
        far = FAR.unpack_from(tail, link - FAR.size)
        if far[0] == b"PK\x06\x06":
            table = far[8]
    file.seek(0)
    if table > min(TABLE_BYTES, size):
        raise WrongError("is damaged or cut short")


def _checked(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Members by the names of their arrays; complains of what numpy does not write."""
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    names = [info.filename for info in infos]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise WrongError(f"holds {twice!r:.80} twice")
    place = 0
    for info in infos:
        if info.header_offset < place:
            raise WrongError(f"is damaged: {info.filename!r:.80} lies within another array")
        if not place and info.header_offset:
            raise WrongError("has other data in front of the archive")
        place = info.header_offset + LOCAL + len(info.filename) + info.compress_size
    if place > archive.start_dir:
        raise WrongError("is damaged or cut short")
    return {
        name.removesuffix(".npy"): info
        for name, info in zip(names, infos, strict=True)
        if name.endswith(".npy")
    }


def _header(file: Any) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Dtype, shape and order of an array, and where its data start."""
    start = file.read(10)
    if start[:6] != b"\x93NUMPY":
        raise WrongError("is no array of numpy")
    version = (start[6], start[7])
    if version == (1, 0):
        length = int.from_bytes(start[8:10], "little")
    elif version == (2, 0):
        start += file.read(2)
        length = int.from_bytes(start[8:12], "little")
    else:
        raise WrongError(f"is an array of the format {version[0]}.{version[1]}, not 1.0 or 2.0")
    if length > HEADER_BYTES:
        raise WrongError("is damaged")
    text = file.read(length)
    if len(text) != length:
        raise WrongError("is damaged")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fields = ast.literal_eval(text.decode("latin-1"))
            descr, shape = fields["descr"], fields["shape"]
            fortran = fields["fortran_order"]
            plain = isinstance(descr, str) and set(fields) == {"descr", "shape", "fortran_order"}
            dtype = np.dtype(descr) if plain else None
    except (ValueError, TypeError, SyntaxError, KeyError, tokenize.TokenError) as error:
        raise WrongError("is damaged") from error
    except (MemoryError, RecursionError, OverflowError, IndexError, AttributeError) as error:
        raise WrongError("is damaged") from error
    if isinstance(descr, list):
        raise WrongError("holds records", "save each of their fields as an array of numbers")
    if dtype is not None and dtype.hasobject:
        raise WrongError("holds Python objects", "save it as an array of numbers")
    sized = dtype is not None and dtype.itemsize > 0
    good = sized and isinstance(shape, tuple) and len(shape) <= AXES and isinstance(fortran, bool)
    if dtype is None or not good or any(type(n) is not int or n < 0 for n in shape):
        raise WrongError("is damaged")
    return dtype, shape, fortran, len(start) + length
