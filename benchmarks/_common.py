"""What benchmarks share: rows that are kept as they come, and the page that is made of them."""

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from lutgen.files import write_text

ROOT = Path(__file__).parents[1]

Row = dict[str, Any]


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def conditions(texts: Iterable[str]) -> list[str]:
    """The end of a page: every combination of tools and machine, once."""
    heading = "Conditions (times on a shared machine; expect less on an idle one):"
    return ["", heading, "", *(f"- {text}" for text in sorted(set(texts))), ""]


def cifar10() -> Path:
    """The unpacked CIFAR-10 set, made from the folder beside the repository if need be."""
    unpacked = ROOT / "build" / "cifar10.npz"
    if not unpacked.is_file():
        loader = ROOT.parent / "shared" / "data" / "load.py"
        unpacked.parent.mkdir(exist_ok=True)
        part = unpacked.with_suffix(".part.npz")
        subprocess.run([sys.executable, str(loader), "cifar10", str(part)], check=True)
        part.rename(unpacked)
    return unpacked


def same(old: Row, row: Row) -> bool:
    """Whether a measured row is of what ``row`` asks for."""
    return all(old.get(key) == value for key, value in row.items())


def play(
    name: str,
    description: str,
    rows: Callable[[Path], list[Row]],
    measure: Callable[[Row, Path], Row],
    table: Callable[[list[Row]], str],
    parents: Sequence[argparse.ArgumentParser] = (),
) -> list[Row]:
    """Measures what is missing; gives all rows.

    Parameters
    ----------
    name : str
        Of ``benchmarks/results/<name>.json`` and ``docs/results/<name>.md``, written after every
        row: a run that is killed goes on where it was.
    description : str
        For ``--help``.
    rows : callable
        What to measure, given the path of MNIST, which may be absent.
    measure : callable
        A row with what was measured.
    table : callable
        The page.
    parents : sequence of ArgumentParser
        Options of the benchmark's own, which the caller reads.
    """
    parser = argparse.ArgumentParser(description=description, parents=list(parents))
    parser.add_argument("--again", action="store_true", help="measure every row anew")
    parser.add_argument("--only", metavar="TEXT", help="only rows whose JSON holds this text")
    default = ROOT.parent / "shared" / "data" / "mnist.npz"
    parser.add_argument("--mnist", type=Path, default=default, help="default: %(default)s")
    args = parser.parse_args()
    data, page = (
        ROOT / "benchmarks" / "results" / f"{name}.json",
        ROOT / "docs" / "results" / f"{name}.md",
    )
    for path in (data, page):
        path.parent.mkdir(parents=True, exist_ok=True)
    if args.again and not args.only:
        data.unlink(missing_ok=True)
    known: list[Row] = json.loads(data.read_text("utf-8")) if data.is_file() else []
    for row in rows(args.mnist):
        if args.only and args.only not in json.dumps(row):
            continue
        if not args.again and any(same(old, row) for old in known):
            continue
        found = measure(row, args.mnist)
        if data.is_file():  # another process may have measured other rows meanwhile
            known = json.loads(data.read_text("utf-8"))
        known = [old for old in known if not same(old, row)] + [found]
        write_text(data, json.dumps(known, indent=1) + "\n")
        write_text(page, table(known))
        print(json.dumps(known[-1]), file=sys.stderr, flush=True)
    write_text(page, table(known))
    return known
