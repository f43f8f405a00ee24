"""Sequences of right, failed, aborted and reset jobs on engines' Verilog: see engine_jobs.py."""

import functools

import numpy as np
import pytest
from engine_jobs import BARE, ENGINES, KINDS, PERIODS, play, program, sequence

from lutgen import LutgenError
from lutgen.host.build import build_engine

COUNT = 300


@functools.cache
def built(name):
    engine = ENGINES[name]
    try:
        return program(engine, build_engine(engine).verilog)
    except LutgenError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("name", "periods"),
    [
        (name, periods)
        for name, engine in ENGINES.items()
        for periods in (PERIODS if engine.two_clocks else PERIODS[:1])
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value[0]}-{value[1]}",
)
def test_sequences(verilator, name, periods, tmp_path):
    """Each job gives one packet with the right bytes and the right errors, whatever came before
    it; with one clock and streams that keep up, right jobs take the cycles that are foretold.
    """
    seed = PERIODS.index(periods)
    jobs = sequence(np.random.default_rng([11, seed]), ENGINES[name], COUNT)
    kinds = {job.kind for job in jobs}
    assert kinds >= {*KINDS, BARE} - {"overflow"}, "the sequence leaves kinds of jobs out"
    assert sum(job.kind == "good" for job in jobs) > COUNT // 4
    wrong = play(built(name), ENGINES[name], jobs, tmp_path, seed=seed, periods=periods)
    assert wrong == []


def test_a_start_right_behind_a_reset(verilator, tmp_path):
    """Nothing of the job before is seen in the next one, though the encoders' clock is slow to
    reset it: with the registers as they are, it may start within few cycles.
    """
    name, periods = "two clocks", (1, 10)
    chances = [0.9 * (kind == "reset") + 0.1 * (kind == "good") for kind in KINDS]
    jobs = sequence(np.random.default_rng(1), ENGINES[name], 1500, chances)
    for job in jobs:
        job.flags |= {"lite_gap": 0}
    assert sum(job.kind == BARE for job in jobs) > 400
    assert play(built(name), ENGINES[name], jobs, tmp_path, periods=periods) == []


def test_differences_are_found(verilator, tmp_path):
    """Or the test above says nothing: of bytes, of errors, of cycles, and of a job that hangs."""
    name = "one clock"
    rng = np.random.default_rng(3)
    jobs = [job for job in sequence(rng, ENGINES[name], 60) if job.kind == "good"][:8]
    for job in jobs:
        job.flags |= {"hammer": 0, "eager": 0}
    place = int(np.argmax(jobs[1].expected >= 0))
    jobs[1].expected[place] ^= 1
    jobs[3].must = 1
    jobs[5].cycles = 3
    del jobs[7].packets["activations"]
    wrong = play(built(name), ENGINES[name], jobs, tmp_path)
    numbers = {int(line.split()[1]) for line in wrong}
    assert numbers == {1, 3, 5, 7}, wrong
    assert any(line.startswith("job 7 ") and "does not end" in line for line in wrong)
