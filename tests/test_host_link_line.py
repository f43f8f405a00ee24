"""How long the driver waits, on lines of any rate: in simulated time."""

import boards
import numpy as np
import pytest

from lutgen.errors import LutgenError
from lutgen.host.link import Board
from lutgen.host.link_line import Line, Watch
from lutgen.spec.link import link_spec
from lutgen.spec.link_frames import Command


class SlowLine:
    """A transport to a board in Python whose bytes take their time both ways.

    Parameters
    ----------
    model : ModelBoard
    baud : int
    lost : set of int
        Which of the host's frames do not come through.
    """

    def __init__(self, model, baud, lost=()):
        self.model, self.byte, self.lost = model, 10 / baud, lost
        self.now, self.frames, self.kinds = 0.0, [], []
        self.ways = {"out": [0.0, []], "in": [0.0, []]}  # free from when on; what is under way

    def clock(self):
        return self.now

    def close(self):
        pass

    def _send(self, way, data):
        free, under_way = self.ways[way]
        self.ways[way][0] = max(self.now, free) + len(data) * self.byte
        under_way.append((self.ways[way][0], data))

    def write(self, data):
        self._send("out", data)
        self.frames.append(self.now)
        self.kinds.append(data[1])
        if len(self.frames) - 1 in self.lost:
            self.ways["out"][1].pop()

    def read(self, timeout):
        end = self.now + timeout
        while True:
            events = [
                (under_way[0][0], way) for way, (_, under_way) in self.ways.items() if under_way
            ]
            if not events or min(events)[0] > end:
                self.now = max(self.now, end)
                return b""
            self.now, way = min(events)
            data = self.ways[way][1].pop(0)[1]
            if way == "in":
                return data
            self.model.write(data)
            while self.model.buffer:
                self.model.work()
            for byte in self.model.out:
                self._send("in", bytes([byte]))
            self.model.out.clear()


def drive(baud, count, lost=()):
    contract = boards.contract()
    spec = link_spec(contract, clock_hz=12_000_000, baud=baud)
    line = SlowLine(boards.ModelBoard(spec, np.random.default_rng(1)), baud, lost)
    x, want = boards.samples(np.random.default_rng(2), count, spec)
    with Board(line, contract, baud=baud, clock=line.clock) as board:
        assert (board.run(x) == want).all()
    return line, board


@pytest.mark.parametrize("baud", [110, 300, 1200, 9600, 115_200])
def test_nothing_is_said_twice(baud):
    """What is still on its way is not lost: no byte is sent again, and no question asked twice."""
    line, board = drive(baud, 150)
    assert board.resent == board.repeated == 0
    for kind in (Command.INFO, Command.STATUS, Command.RESET):
        assert line.kinds.count(kind) == 1


@pytest.mark.parametrize("baud", [300, 115_200])
def test_what_is_lost_is_said_again(baud):
    line, board = drive(baud, 150, lost={0, 3, 9})
    assert board.resent
    assert line.kinds.count(Command.STATUS) < 5


@pytest.mark.parametrize(("baud", "growing"), [(300, True), (4800, True), (9600, False)])
def test_waits(baud, growing):
    """Below 9,600 baud each is twice the one before, up to four times the first; and the first is
    longer than what the longest answer takes.
    """
    contract = boards.contract()
    spec = link_spec(contract, clock_hz=12_000_000, baud=baud)
    model = boards.ModelBoard(spec, np.random.default_rng(1))
    model.handle = lambda body: None
    line = SlowLine(model, baud)
    with pytest.raises(LutgenError, match="nothing answers"):
        Board(line, contract, baud=baud, clock=line.clock)
    waits = np.diff(line.frames) - 9 * line.byte
    first = waits[0]
    assert first >= 0.25 + 2 * len(spec.info.body) * line.byte
    ratios = np.round(waits / first, 3).tolist()
    assert ratios == ([1, 2, *[4] * (len(ratios) - 2)] if growing else [1] * len(ratios))
    assert len(ratios) >= 5
    assert line.now >= 5


def test_progress():
    """Waits begin anew."""
    now = [0.0]
    line = Line(None, "x", 40, baud=300, patience=5, retry=0.25, clock=lambda: now[0])
    watch = Watch(line)
    for expected in (1, 2, 4, 4):
        assert watch.left() == pytest.approx(expected * line.retry)
        assert not watch.due()
        now[0] += watch.left() + 1e-9
        assert watch.due()
        assert not watch.over()
    watch.progress()
    assert watch.left() == pytest.approx(line.retry)
    now[0] += 2 * line.patience
    assert watch.due()
    assert watch.over()
