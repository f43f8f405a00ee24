"""What goes wrong around a program, in one line: memory, disks, permissions, limits."""

import errno
import os
import sys
import traceback
import warnings
from pathlib import Path

from lutgen.errors import LutgenError
from lutgen.files import reason

__all__ = ["defect", "line", "printable", "tell"]

VARIABLE = "LUTGEN_TRACEBACK"
LONGEST = 6000  # characters of a line
MEMORY = (
    "free memory, raise the limit where there is one (ulimit -v), or take a smaller network or "
    "fewer samples"
)
MENDS = {
    errno.EACCES: "change its permissions, or name another",
    errno.EPERM: "change its permissions, or name another",
    errno.EROFS: "name a place that can be written",
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "end other programs: the system has no more open files",
    errno.EAGAIN: "raise the limit on processes (ulimit -u)",
    errno.ENOMEM: MEMORY,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "its links lead in a circle: name the file itself",
    errno.ENOENT: "make it, or name another",
    errno.ENOTDIR: "a folder on the way is a file: name another",
    errno.EISDIR: "name a file",
    errno.EIO: "the device fails: copy what is there elsewhere",
    errno.ESTALE: "the file server has lost it: name it anew",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
}


def line(error: BaseException) -> str | None:
    """What a fault of input or of surroundings is, with its mend; None for a defect of lutgen."""
    if isinstance(error, LutgenError):
        return str(error)
    if isinstance(error, MemoryError):
        said = f": {str(error).rstrip('.')}" if str(error) else ""
        return f"out of memory{said}; {MEMORY}"
    if isinstance(error, RecursionError):
        return (
            "ran out of stack: the input nests too deeply, or is too large; take a smaller one "
            f"({VARIABLE}=1 shows where)"
        )
    if isinstance(error, BrokenPipeError):
        return "a program that was started has ended early; run the command again"
    if isinstance(error, OSError):
        return _system(error)
    if isinstance(error, UnicodeEncodeError):
        return (
            f"{error.object!r:.120}: can't be written in {error.encoding}; choose a name of plain "
            "letters"
        )
    if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):
        said = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        return (
            f"{error.name or 'a package'}: can't be loaded: {said}; raise the memory limit where "
            "there is one (ulimit -v), or install lutgen again"
        )
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop"):
        return f"{str(error).rpartition(' from ')[2]}: {MENDS[errno.ELOOP]}"
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return "can't start a thread; raise the limits on processes and memory (ulimit -u, -v)"
    return None


def _system(error: OSError) -> str:
    where = ""
    if error.filename is not None:
        name = error.filename
        where = f"{os.fsdecode(name) if isinstance(name, bytes) else name}: "
    elif error.errno == errno.ENOENT:
        try:
            os.getcwd()
        except OSError:
            return "the working folder is gone; change to another, and run the command again"
    mend = MENDS.get(error.errno or 0, f"see what is wrong there ({VARIABLE}=1 shows where)")
    return f"{where}{reason(error)}; {mend}"


def defect(error: BaseException) -> str:
    """What is said of an error that nobody foresaw."""
    said = str(error).strip().splitlines()
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return (
        f"{type(error).__name__}{place}{': ' + said[0][:160] if said else ''}; this is a defect of "
        f"lutgen: {VARIABLE}=1 shows the traceback, which belongs in a report"
    )


def tell(error: BaseException, text: str) -> None:
    """Prints an error: one line, behind its traceback if that is asked for."""
    # Half a core may be left behind: amaranth would warn of each of its parts.
    warnings.filterwarnings("ignore", r"(?s).*created but never used$")
    if os.environ.get(VARIABLE):
        traceback.print_exception(error)
    line = printable(text)
    if len(line) > LONGEST:  # a name out of a file has no bound
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 3 :]}"
    print(f"lutgen: error: {line}", file=sys.stderr)


def printable(text: str) -> str:
    """``text`` on one line: control characters, which names of files may hold, as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in text
    )
