"""Where the files that are not Python packages lie: in a checkout, or inside an installed wheel."""

from pathlib import Path

from lutgen.errors import LutgenError

__all__ = ["folder", "rtl_templates", "sim"]


def folder(name: str) -> Path:
    """The folder ``name`` beside the package in a checkout, or under ``_shipped`` in an installed
    wheel.

    Raises
    ------
    LutgenError
        If neither is there.
    """
    package = Path(__file__).resolve().parent
    for place in (package / "_shipped" / name, package.parent / name):
        if place.is_dir():
            return place
    raise LutgenError(f"{package}: the folder {name!r} is missing; install lutgen again")


def sim() -> Path:
    """The cocotb bench."""
    return folder("sim")


def rtl_templates() -> Path:
    """Memory wrappers and scripts for tools."""
    return folder("rtl_templates")
