"""Reads what ``lutgen synth`` reported, from files that anyone may have changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lutgen.errors import LutgenError
from lutgen.model.schema import Check, flag, listing, maybe, number, wanted, whole
from lutgen.reading import read_json

__all__ = ["FORMAT", "VERSION", "read_report"]

FORMAT = "lutgen-synth"
VERSION = 1
MEND = "run `lutgen synth` again"

COUNT = whole(0, 1 << 40)
REAL = number(-1e18, 1e18)
POSITIVE = number(1e-18, 1e18)
RESOURCES = ("luts", "ffs", "blocks", "single")
PARTS = ("static", "clock", "logic", "flipflop", "ram")


def text(data: object, where: str, mend: str) -> None:
    """Any string of a line's length; what prints it sees to its characters."""
    if not isinstance(data, str) or len(data) > 1 << 12:
        raise wanted(where, "a string of at most 4,096 characters", data, mend)


def part(fields: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """An object with all of ``fields``, any of ``optional``, and others that nobody reads here:
    versions of lutgen add to what is reported.
    """

    def check(data: object, where: str, mend: str) -> None:
        if not isinstance(data, dict):
            raise wanted(where, "a JSON object", data, mend)
        for key in fields:
            if key not in data:
                raise LutgenError(f"{where}, field {key!r}: is missing; {mend}")
        for key, each in {**fields, **(optional or {})}.items():
            if key in data:
                each(data[key], f"{where}, field {key!r}", mend)

    return check


def by_name(inner: Check, names: tuple[str, ...] | None = None) -> Check:
    """An object of what ``inner`` takes, under some of ``names``, or under any."""

    def check(data: object, where: str, mend: str) -> None:
        if not isinstance(data, dict):
            raise wanted(where, "a JSON object", data, mend)
        for key, value in data.items():
            if names is not None and key not in names:
                raise LutgenError(
                    f"{where}: must be of {', '.join(names)}, not {key!r:.40}; {mend}"
                )
            inner(value, f"{where}, field {key!r:.40}", mend)

    return check


TRIO = part(dict.fromkeys(("low", "middle", "high"), POSITIVE))
SHARES = part(dict.fromkeys(("low", "middle", "high"), REAL))
PLACEMENT = part(
    {
        "used": by_name(listing(COUNT, 2, 2)),
        "critical_path": part({"from": text, "to": text, "logic_levels": COUNT}),
    }
)
ENERGY = part(
    {
        "nj": TRIO,
        "power_mw": maybe(TRIO),
        "parts_nj": by_name(SHARES, PARTS),
        "static_known": flag,
        "clock_hz": maybe(POSITIVE),
    }
)
ESTIMATE = part({"estimate": REAL, "synthesis": REAL}, {"error": maybe(REAL)})
REPORT = part(
    {
        "part": text,
        "package": maybe(text),
        "speed_grade": maybe(text),
        "tools": listing(text, 1 << 6),
        "estimate": maybe(by_name(ESTIMATE, RESOURCES)),
        "available": by_name(COUNT),
        "interval": COUNT,
        "netlist": maybe(part({"samples": COUNT, "passed": flag})),
        "failed": listing(text, 1 << 6),
        "seconds": part({"all": REAL}, {"steps": REAL}),
    },
    {
        "whole": part({}, dict.fromkeys(RESOURCES, COUNT)),
        "core": part({}, {"carry_luts": maybe(COUNT)}),
        "energy": maybe(ENERGY),
        "bitstream": text,
        "program": maybe(text),
        "run": text,
    },
)
RATES = part({"median": REAL, "best": REAL})
PLACED = part(
    {
        "placements": listing(PLACEMENT, 1 << 12, 1),
        "fmax_mhz": RATES,
        "samples_per_second": RATES,
    }
)
ON_BOARD = part(
    {
        "board": text,
        "clock_hz": POSITIVE,
        "clock_spare": REAL,
        "samples_per_second": part({"clock": REAL}),
    }
)


def read_report(path: Path) -> dict[str, Any] | None:
    """A report that an earlier run wrote; None for any other file.

    Raises
    ------
    LutgenError
        One line that names the file and the field: of a report that says what none can say.
    """
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return None
    except LutgenError as error:
        raise LutgenError(f"{path}: {error}") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return None
    version = found.get("version")
    if type(version) is not int or version != VERSION:
        raise LutgenError(f"{path}, field 'version': must be {VERSION}; {MEND}")
    REPORT(found, str(path), MEND)
    if "placements" in found:
        PLACED(found, str(path), MEND)
    if "board" in found:
        ON_BOARD(found, str(path), MEND)
    return found
