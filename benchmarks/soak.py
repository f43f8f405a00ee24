"""Long random tests: the engine's jobs with faults, a bad line to a board, mutated files.

    python benchmarks/soak.py                     all parts; chunks already run are kept
    python benchmarks/soak.py --only '"line"'     one part: engine, line or files
    python benchmarks/soak.py --seed 1            another random sequence, beside the first

Every part runs in chunks, each seeded and in a process of its own that is stopped after two
hours. A run that is killed goes on with the chunk it was in. Writes
``benchmarks/results/soak.json`` after every chunk, and ``docs/results/soak.md`` from it. The exit
status is 1 where anything failed: a wrong result, a hang, a traceback, a file left behind.
"""

import argparse
import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import _soak_engine
import _soak_files
import _soak_line
from _common import Row, conditions, cpu, play

PARTS = {"engine": _soak_engine, "line": _soak_line, "files": _soak_files}
UNITS = {"engine": "jobs", "line": "samples", "files": "files"}
LIMIT = 2 * 3600.0  # seconds a chunk

Outcome = tuple[dict[str, int], list[str]]

options = argparse.ArgumentParser(add_help=False)
options.add_argument("--seed", type=int, default=0, help="default: %(default)s")


def rows(_: Path) -> list[Row]:
    """The chunks of all parts."""
    seed = options.parse_known_args()[0].seed
    return [
        {"part": name, "seed": seed, "first": first, "count": min(part.CHUNK, part.TOTAL - first)}
        for name, part in PARTS.items()
        for first in range(0, part.TOTAL, part.CHUNK)
    ]


def _child(row: Row, answer: Connection) -> None:
    """Runs one chunk in a process group of its own."""
    os.setsid()
    with tempfile.TemporaryDirectory(prefix="lutgen-soak-") as folder:
        found: Outcome = PARTS[row["part"]].soak(
            row["first"], row["count"], row["seed"], Path(folder)
        )
    answer.send(found)


def _chunk(row: Row) -> Outcome:
    """What a chunk counted, and what failed in it, its own end included."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("spawn").Process(target=_child, args=(row, theirs))
    child.start()
    theirs.close()
    try:
        if not ours.poll(LIMIT):
            os.killpg(child.pid or 0, signal.SIGKILL)
            return {}, [f"the chunk had no end after {LIMIT:.0f} s"]
        found: Outcome = ours.recv()
    except EOFError:
        child.join()
        return {}, [f"the chunk's process ended with status {child.exitcode}"]
    finally:
        child.join()
    return found


def measure(row: Row, _: Path) -> Row:
    """One chunk."""
    start = time.perf_counter()
    counts, failures = _chunk(row)
    for text in failures:
        print(f"{row['part']}, from {row['first']}: {text}", file=sys.stderr, flush=True)
    return {
        **row,
        "counts": counts,
        "failures": failures,
        "seconds": round(time.perf_counter() - start),
        "cpu": cpu(),
        "cores": os.cpu_count(),
    }


def table(known: list[Row]) -> str:
    """The page."""
    lines = [
        "# Long random tests",
        "",
        "Written by `python benchmarks/soak.py`. *engine*: sequences of jobs, good, cut off,",
        "short, long and reset, on random engines in Verilator, every byte and the end of every",
        "packet compared. *line*: samples through the gateware of a board behind a line that",
        "corrupts, doubles, delays, cuts, lengthens and swaps frames. *files*: mutated files of",
        "every kind that lutgen reads, each given to the command that reads it. A failure is a",
        "wrong result, a hang, a traceback, more than 2 GB or 20 s for a file, or anything left",
        "behind.",
        "",
        "| part | seed | done | of | failures | seconds | counted |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, part in PARTS.items():
        for seed in sorted({row["seed"] for row in known if row["part"] == name}):
            mine = [row for row in known if (row["part"], row["seed"]) == (name, seed)]
            counts: Counter[str] = Counter()
            for row in mine:
                counts.update(row["counts"])
            done = sum(row["count"] for row in mine)
            lines.append(
                f"| {name} | {seed} | {done:,} {UNITS[name]} | {part.TOTAL:,} "
                f"| {sum(len(row['failures']) for row in mine)} "
                f"| {sum(row['seconds'] for row in mine):,} "
                f"| {', '.join(f'{key} {value:,}' for key, value in counts.items())} |"
            )
    return "\n".join(lines + conditions(f"{row['cores']} cores ({row['cpu']})" for row in known))


if __name__ == "__main__":
    known = play("soak", "Long random tests.", rows, measure, table, [options])
    sys.exit(any(row["failures"] for row in known))
