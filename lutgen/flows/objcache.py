"""Compiles through a cache: a prefix of compiler commands for the Makefile variable OBJCACHE.

Nearly all the time of a small Verilator build goes into Verilator's own run-time library, the same
for every design; so is the harness of `lutgen.flows.harness`. Their objects are kept by a hash of
the compiler's version, the arguments and the whole content of the source folder. Everything else is
compiled as if this script were not there. It runs on its own, outside the package.
"""

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = "LUTGEN_OBJCACHE"
# Headers that mark a folder whose sources know nothing of the design.
LIBRARIES = ("verilated.h", "harness.h")
SEARCHED = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "GCC_EXEC_PREFIX")


def key(command: list[str], library: Path) -> str:
    """Everything that decides on the object's content."""
    version = subprocess.run([command[0], "--version"], capture_output=True, check=True)
    total = hashlib.sha256(version.stdout)
    total.update("\0".join(command).encode())
    total.update(repr([os.environ.get(name) for name in SEARCHED]).encode())
    for path in sorted(library.rglob("*")):
        if path.suffix in (".h", ".cpp"):
            total.update(f"\0{path.relative_to(library)}\0".encode())
            total.update(path.read_bytes())
    return total.hexdigest()


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
    if kept.is_file():
        shutil.copyfile(kept, output)
        return 0
    status = subprocess.run(argv, check=False).returncode
    if status == 0:
        part = kept.with_name(f"part.{secrets.token_hex(8)}")
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(output, part)
            part.replace(kept)
        except OSError:
            part.unlink(missing_ok=True)  # a cache that can't be written costs time, no more
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
