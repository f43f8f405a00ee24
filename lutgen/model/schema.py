"""What JSON data may be, told as values: each check takes a piece of data and complains of the
first thing that is wrong, naming the field.

Only what a check says is let through. A truth value is no integer, nor is 1.0.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from lutgen.errors import LutgenError

__all__ = [
    "Check",
    "choice",
    "flag",
    "listing",
    "maybe",
    "number",
    "record",
    "wanted",
    "whole",
    "word",
]

# Takes the data, how errors speak of it, and what mends it.
Check = Callable[[object, str, str], None]


def wanted(where: str, what: str, data: object, mend: str) -> LutgenError:
    """The error for data that is not ``what``."""
    return LutgenError(f"{where}: must be {what}, not {data!r:.40}; {mend}")


def whole(low: int, high: int) -> Check:
    """An integer of ``low..high``."""

    def check(data: object, where: str, mend: str) -> None:
        if type(data) is not int or not low <= data <= high:
            raise wanted(where, f"an integer between {low} and {high}", data, mend)

    return check


def number(low: float, high: float) -> Check:
    """A number of ``low..high``."""

    def check(data: object, where: str, mend: str) -> None:
        if type(data) not in (int, float) or not low <= data <= high:  # type: ignore[operator]
            raise wanted(where, f"a number between {low:g} and {high:g}", data, mend)

    return check


def flag(data: object, where: str, mend: str) -> None:
    """True or false."""
    if not isinstance(data, bool):
        raise wanted(where, "true or false", data, mend)


def word(pattern: str, what: str) -> Check:
    """A string that is ``pattern`` as a whole, which a complaint calls ``what``."""
    whole_of = re.compile(pattern, re.ASCII)

    def check(data: object, where: str, mend: str) -> None:
        if not isinstance(data, str) or not whole_of.fullmatch(data):
            raise wanted(where, what, data, mend)

    return check


def choice(*values: str | int) -> Check:
    """One of some values."""

    def check(data: object, where: str, mend: str) -> None:
        if type(data) not in (str, int) or data not in values:
            raise wanted(where, " or ".join(map(repr, values)), data, mend)

    return check


def maybe(inner: Check) -> Check:
    """Null, or what ``inner`` takes."""

    def check(data: object, where: str, mend: str) -> None:
        if data is not None:
            inner(data, where, mend)

    return check


def listing(inner: Check, most: int, least: int = 0) -> Check:
    """A list of ``least..most`` entries that ``inner`` takes."""

    def check(data: object, where: str, mend: str) -> None:
        if not isinstance(data, list) or not least <= len(data) <= most:
            raise wanted(where, f"a list of {least} to {most} entries", data, mend)
        for entry, each in enumerate(data):
            inner(each, f"{where}, entry {entry}", mend)

    return check


def record(fields: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with all of ``fields``, any of ``optional``, and no others."""
    known: dict[str, Check] = {**fields, **(optional or {})}

    def check(data: object, where: str, mend: str) -> None:
        if not isinstance(data, dict):
            raise wanted(where, "a JSON object", data, mend)
        for key in fields:
            if key not in data:
                raise LutgenError(f"{where}, field {key!r}: is missing; {mend}")
        for key, value in data.items():
            if key not in known:
                raise LutgenError(f"{where}, field {key!r:.40}: is unknown to this version; {mend}")
            known[key](value, f"{where}, field {key!r}", mend)

    return check


def same(data: Mapping[str, Any], derived: Mapping[str, Any], where: str, mend: str) -> None:
    """Complains of a field that is not what follows from others: of every key of ``derived``."""
    for key, value in derived.items():
        if data[key] != value:
            raise LutgenError(
                f"{where}, field {key!r}: must be {value!r:.60}, as follows from the "
                f"other fields, not {data[key]!r:.40}; {mend}"
            )
