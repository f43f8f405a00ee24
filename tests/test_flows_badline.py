"""The driver, and the gateware, on a line that repeats, holds back, cuts, lengthens and bends whole
frames.
"""

from collections import Counter

import boards
import linked
import numpy as np
import pytest

from lutgen.flows.badline import BadLine, FrameFaults
from lutgen.flows.boardsim import SimulatedBoard
from lutgen.gateware.image import checked
from lutgen.host.link import Board
from lutgen.host.link_job import pack, unpack
from lutgen.host.terminal import Terminal
from lutgen.spec.link import link_spec
from lutgen.spec.link_frames import Deframer, frame

ALL = FrameFaults(drop=0.01, truncate=0.01, lengthen=0.01, corrupt=0.01, repeat=0.05, delay=0.05)


class Echo:
    """A transport whose other end says what it hears."""

    def __init__(self):
        self.data = b""

    def read(self, timeout):
        data, self.data = self.data, b""
        return data

    def write(self, data):
        self.data += data

    def close(self):
        pass


def heard(faults, seed, count=400):
    """What comes back of so many numbered frames, with what was counted."""
    line, deframer, got = BadLine(Echo(), faults, seed), Deframer(3000), []
    for number in range(count):
        line.write(frame(number.to_bytes(2, "little")))
        got += [int.from_bytes(body, "little") for body in deframer.push(line.read(0))]
    return got, deframer.errors, line.counts


@pytest.mark.parametrize("kind", ["drop", "truncate", "lengthen", "corrupt", "repeat", "delay"])
def test_the_line(kind):
    """Each fault is what it is called, and comes at the same places again."""
    got, errors, counts = heard(FrameFaults(**{kind: 0.1}, longest=20), 1)
    assert set(counts) == {kind}
    assert heard(FrameFaults(**{kind: 0.1}, longest=20), 1) == (got, errors, counts)
    assert heard(FrameFaults(**{kind: 0.1}, longest=20), 2)[0] != got
    times = Counter(got)
    if kind in ("repeat", "delay"):
        assert errors == 0
        assert got != sorted(got)
        assert len(times) >= 400 - 5  # but for what is still held back
        assert (max(times.values()) > 1) == (kind == "repeat")
    else:
        assert max(times.values()) == 1
        assert got == sorted(got)
        assert len(got) < 400
        assert bool(errors) == (kind != "drop")


def test_no_faults():
    assert heard(FrameFaults(), 1) == (list(range(400)), 0, Counter())
    with pytest.raises(ValueError, match=r"^Chance of a fault must be 0 to 1, not 2$"):
        FrameFaults(repeat=2)
    with pytest.raises(ValueError, match=r"^Longest delay must be a positive integer, not 0$"):
        FrameFaults(longest=0)


def test_results_that_come_twice_in_a_long_run():
    """Far more of them to come than two bytes count: one that comes again is known as such."""
    contract = boards.contract(beats=1)
    spec = link_spec(contract, clock_hz=12_000_000, baud=1_000_000)
    model = boards.ModelBoard(spec, np.random.default_rng(1))
    x, want = boards.samples(np.random.default_rng(2), 70_000, spec)
    line = BadLine(model, FrameFaults(repeat=0.002), 3)
    with Board(line, contract, clock=model.clock) as board:
        assert (board.run(x) == want).all()
        assert board.sessions == 1
    assert line.counts["repeat"] > 50


@pytest.mark.parametrize("loadable", [False, True])
@pytest.mark.parametrize("session_bytes", [3000, (1 << 24) - 1])
def test_the_driver(loadable, session_bytes):
    """Against a board in Python: all results, in order, through many sessions."""
    rng = np.random.default_rng(session_bytes + loadable)
    words = 40 if loadable else 0
    contract = boards.contract(beats=3, words=words)
    spec = link_spec(contract, clock_hz=12_000_000, baud=1_000_000)
    model = boards.ModelBoard(spec, rng)
    x, want = boards.samples(rng, 2500, spec)
    line = BadLine(model, ALL, 1)
    with Board(
        line, contract, where="port", clock=model.clock, session_bytes=session_bytes
    ) as board:
        if loadable:
            board.load(checked(rng.integers(0, 2**32, words - 1).astype(np.uint32)))
        for part in (slice(0, 1), slice(1, 1500), slice(1500, 2500)):
            assert (board.run(x[part]) == want[part]).all()
        counters = board.counters()
        assert (board.sessions > 4) == (session_bytes == 3000)
        assert counters["samples"] == counters["results"] == 2500 + board.repeated
        assert counters["busy"] == 100 * counters["results"]
    assert min(line.counts.values()) > 10


@pytest.mark.parametrize("loadable", [False, True])
def test_the_gateware(verilator, loadable):
    """A real driver, Verilog in Verilator: offsets beyond 2 ** 16, and several sessions."""
    count = 400 if loadable else 3000
    x, want = linked.samples(count)
    contract = linked.core(loadable).contract
    with SimulatedBoard(linked.board(loadable), seed=3) as simulated:
        line = BadLine(Terminal(simulated.path), ALL, 2)
        size = pack(x[:1], contract["input"]).shape[1]
        image = linked.core(True).load_image(linked.model()) if loadable else []
        session = 4 * len(image) + count // 2 * size if loadable else 70_000
        with Board(line, contract, patience=60, retry=0.05, session_bytes=session) as driver:
            if loadable:
                driver.load(image)
            got = unpack(driver.run(pack(x, contract["input"])), contract["output"])
            assert driver.sessions > 1
            assert driver.counters()["results"] >= count
    assert (got == want).all()
    assert sum(line.counts.values()) > 20
