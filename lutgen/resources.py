"""Files that are not Python packages, in a checkout or inside an installed wheel: where they lie,
and what is made of the templates among them.
"""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutgen.errors import LutgenError

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["Text", "folder", "render", "rtl_templates", "sim"]

# What can stand anywhere in Verilog, C++ and scripts of tools without meaning anything else.
WORD = re.compile(r"[A-Za-z0-9_.]*")


class Text(str):
    """Code that lutgen itself has written, for a template that takes more than words."""

    __slots__ = ()


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


def render(template: str, /, **values: Any) -> str:
    """The text of a template (``*.j2``) of `rtl_templates` or `sim`, to its last newline.

    Parameters
    ----------
    template : str
        The file's name.
    **values
        What it asks for: numbers, words of letters, digits, underscores and dots, `Text`, and lists
        and dicts of these. Nothing else gets into generated code.

    Raises
    ------
    ValueError
        If a value is neither.
    jinja2.TemplateNotFound
        If there is none of that name.
    jinja2.UndefinedError
        If a value that it asks for is missing.
    ValueError
        If it is not made for a value, and calls ``refuse``.
    """
    _check(values, f"Value for {template}")
    return _templates().get_template(template).render(values)


def _check(value: Any, what: str) -> None:
    """Complains of a value, or one inside it, that is no plain word."""
    if isinstance(value, str):
        if not isinstance(value, Text) and not WORD.fullmatch(value):
            raise ValueError(f"{what} must be a word, not {value!r:.40}")
    elif isinstance(value, dict):
        for key, each in value.items():
            _check(key, f"{what}, key")
            _check(each, f"{what}, {key!r}")
    elif isinstance(value, list | tuple):
        for each in value:
            _check(each, what)
    elif not isinstance(value, int | float | None):
        raise ValueError(f"{what} must be a word or a number, not {value!r:.40}")


@cache
def _templates() -> "Environment":
    """Made once: it keeps the templates that it has read, and a core renders hundreds."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([rtl_templates(), sim()]),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.globals["refuse"] = _refuse
    return environment


def _refuse(text: str) -> str:
    """What a template calls where a choice has no other branch."""
    raise ValueError(text)
