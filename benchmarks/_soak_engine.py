"""Random engines under random sequences of right, failed, aborted and reset jobs, for soak.py.

Each chunk has an engine of its own, as emitted Verilog in a compiled program, and plays its jobs
one after the other: see tests/engine_jobs.py. Compared are every byte of every result packet, that
each job gives exactly one packet, its errors, and with one clock the cycles of right jobs.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from _common import ROOT

from lutgen.host.build import build_engine

sys.path.insert(0, str(ROOT / "tests"))
from engine_jobs import PERIODS, play, program, sequence, some_engine

__all__ = ["CHUNK", "TOTAL", "soak"]

TOTAL = 10_000
CHUNK = 500


def soak(first: int, count: int, seed: int, folder: Path) -> tuple[dict[str, int], list[str]]:
    """Plays jobs ``first`` up to ``first + count`` on an engine of their own.

    Parameters
    ----------
    first, count : int
    seed : int
        Of engines, jobs and stalls, with ``first``.
    folder : Path
        For plans; nothing stays there where all is right.

    Returns
    -------
    counts : dict of int
        Engines, by their clocks, and jobs by kind.
    wrong : list of str
        What is wrong, in words; a job that hangs too. Empty where all is right.
    """
    rng = np.random.default_rng([seed, first])
    engine = some_engine(rng)
    near, far = (int(period) for period in PERIODS[int(rng.integers(len(PERIODS)))])
    jobs = sequence(rng, engine, count)
    executable = program(engine, build_engine(engine).verilog)
    stalls = int(rng.integers(1 << 31))
    wrong = play(executable, engine, jobs, folder, seed=stalls, periods=(near, far), first=first)
    clocks = "two clocks" if engine.two_clocks else "one clock"
    counts = Counter({f"engines, {clocks}": 1, "jobs": len(jobs)})
    counts.update(job.kind for job in jobs)
    return dict(counts), [f"{text}; {engine}, periods {near} and {far}" for text in wrong]
