"""Compiles through a cache: a prefix of compiler commands for the Makefile variable OBJCACHE.

Nearly all the time of a small Verilator build goes into Verilator's own run-time library, the same
for every design; so is the harness of `lutgen.flows.harness`. Their objects are kept by a hash of
the compiler's version, the arguments and the whole content of the source folder. Everything else is
compiled as if this script were not there. It runs on its own, outside the package.

A kept file begins with a digest of its key and of the object behind it: one that is damaged, or
stands under another name, is made anew.
"""

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import subprocess
import sys
from pathlib import Path

FOLDER = "LUTGEN_OBJCACHE"
NOTE = "lutgen: "  # begins a line for whoever started the build
# Headers that mark a folder whose sources know nothing of the design.
LIBRARIES = ("verilated.h", "harness.h")
SEARCHED = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "GCC_EXEC_PREFIX")


def key(command: list[str], library: Path) -> str:
    """Everything that decides on the object's content."""
    version = subprocess.run([command[0], "--version"], capture_output=True, check=True)
    total = hashlib.sha256(b"sealed\0" + version.stdout)
    total.update("\0".join(command).encode(errors="surrogateescape"))
    total.update(repr([os.environ.get(name) for name in SEARCHED]).encode())
    for path in sorted(library.rglob("*")):
        if path.suffix in (".h", ".cpp"):
            total.update(f"\0{path.relative_to(library)}\0".encode())
            total.update(path.read_bytes())
    return total.hexdigest()


def seal(name: str, data: bytes) -> bytes:
    """What stands in front of an object that is kept under ``name``."""
    return hashlib.sha256(name.encode() + b"\0" + data).digest()


def take(kept: Path) -> bytes | None:
    """A kept object, or None if there is none that is as it was made."""
    try:
        mode = kept.lstat().st_mode
    except OSError:
        return None
    said = "is no plain file"
    if stat.S_ISREG(mode):
        try:
            content = kept.read_bytes()
            data = content[32:]
            if content[:32] == seal(kept.name, data):
                return data
            said = "is damaged"
        except OSError as error:
            said = str(error.strerror).lower()
    print(f"{NOTE}{kept}: the cache's entry {said}; making it anew", file=sys.stderr)
    return None


def keep(kept: Path, data: bytes) -> None:
    """Writes an object to the cache; where that can't be written it costs time, no more."""
    part = kept.with_name(f"part.{secrets.token_hex(4)}.{secrets.token_hex(4)}")
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("xb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # shows that its maker lives
                file.write(seal(kept.name, data) + data)
                file.flush()
                if kept.is_dir() and not kept.is_symlink():
                    shutil.rmtree(kept)
                part.replace(kept)
        finally:
            part.unlink(missing_ok=True)


def main(argv: list[str]) -> int:
    """Runs the command ``argv``, or takes its output from the cache."""
    folder = os.environ.get(FOLDER)
    source = Path(argv[-1])
    library = source.parent
    ours = source.suffix == ".cpp" and any((library / name).is_file() for name in LIBRARIES)
    if not folder or not ours or "-o" not in argv:
        return subprocess.run(argv, check=False).returncode
    output = Path(argv[argv.index("-o") + 1])
    kept = Path(folder) / f"{key(argv, library)}.o"
    if (data := take(kept)) is not None:
        output.write_bytes(data)
        with contextlib.suppress(OSError):
            os.utime(kept)
        return 0
    status = subprocess.run(argv, check=False).returncode
    if status == 0:
        keep(kept, output.read_bytes())
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
