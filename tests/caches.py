"""Caches of their own for tests."""

import shutil
from pathlib import Path

from lutgen.flows import tools
from lutgen.gateware import yosys


def fresh(monkeypatch, folder: Path, *programs: str) -> Path:
    """A cache at ``folder`` that holds nothing but the machine code of Amaranth's yosys and of
    ``programs``, which takes a minute to make.
    """
    places = [yosys.machine_code()]
    places += [tools.machine_code(path) for each in programs if (path := tools.which(each))]
    for place in places:
        shutil.copytree(place, folder / place.parent.name / place.name)
    monkeypatch.setenv("LUTGEN_CACHE", str(folder))
    return folder


DAMAGE = ("flip", "truncate", "empty", "delete", "chmod", "folder", "link", "dangling", "loop")


def damage(path: Path, how: str) -> None:
    """Does to a file what disks, people and other programs do."""
    data = path.read_bytes()
    if how == "flip" and data:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif how == "truncate":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "chmod":
        path.chmod(0)
    elif how == "delete":
        path.unlink()
    elif how == "folder":
        path.unlink()
        path.mkdir()
        (path / "file").write_bytes(data)
    elif how in ("link", "dangling", "loop"):
        path.unlink()
        other = path.with_name("other")
        if how == "link":
            other.write_bytes(data)
        path.symlink_to(path if how == "loop" else other)
