"""Damaged files in numbers, for ``soak.py``: every kind that lutgen reads, through its commands."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import mutations  # noqa: E402

__all__ = ["CHUNK", "TOTAL", "soak"]

TOTAL = 10_000  # files
CHUNK = 1_000


def soak(first: int, count: int, seed: int, folder: Path) -> tuple[dict[str, int], list[str]]:
    """Reads damaged files ``first..first + count`` of a seed.

    Parameters
    ----------
    first, count, seed : int
    folder : path
        For files, empty.

    Returns
    -------
    counts : dict of str to int
        Files by kind; how many were ``refused`` and ``accepted``.
    failures : list of str
        A text for every file that was not dealt with in one line, in 2 GB and 20 s.
    """
    bases = mutations.make_bases(folder / "bases")
    return mutations.run(bases, seed, first, count, folder / "runs")
