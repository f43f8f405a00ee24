"""``lutgen doctor``: what is installed, what is missing, and how to get it."""

import argparse
from typing import Any

from lutgen.cli import common

__all__ = ["add", "run"]


def add(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "doctor",
        help="show which tools are installed",
        description="Shows which programs and packages are installed, and the commands that "
        "install the missing ones. Status 1 if lutgen itself lacks one.",
        allow_abbrev=False,
    )
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Looks and prints."""
    from lutgen.flows import cache, tools

    survey = tools.survey()
    missing = [tool for tool in survey if tool.version is None]
    broken = any(tool.required for tool in missing)
    if args.json:
        entries = [
            {**vars(tool), "required": tool.required, "present": tool.version is not None}
            for tool in survey
        ]
        common.print_json({"ok": not broken, "cache": str(cache.root()), "tools": entries})
        return int(broken)
    common.print_table(
        ("tool", "needed for", "version", "where"),
        [(t.name, t.needed_for, t.version or "missing", t.where) for t in survey],
    )
    print(f"cache: {cache.root()}")
    if missing:
        print("\nto install what is missing:")
        for command in dict.fromkeys(tool.install for tool in missing):
            names = ", ".join(tool.name for tool in missing if tool.install == command)
            print(f"  {command}    # {names}")
    return int(broken)
