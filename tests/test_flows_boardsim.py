"""A simulated board: the Verilog that a board gets, driven as a board is, on good and bad lines."""

import linked
import pytest

from lutgen.errors import LutgenError
from lutgen.flows.boardsim import Faults, SimulatedBoard
from lutgen.host.link import Board
from lutgen.host.link_job import pack, unpack
from lutgen.host.serial_port import SerialPort
from lutgen.host.terminal import Terminal


def drive(board, count, *, loadable=False, way=Terminal, **options):
    """Samples through a simulated board; gives its driver's counters. All results must be right."""
    x, want = linked.samples(count)
    contract = linked.core(loadable).contract
    with SimulatedBoard(linked.board(loadable), **options) as simulated:
        transport = way(simulated.path)
        with Board(transport, contract, where="board", patience=60, retry=0.1) as driver:
            if loadable:
                driver.load(linked.core(True).load_image(linked.model()))
            got = unpack(driver.run(pack(x, contract["input"])), contract["output"])
            counters = driver.counters()
            counters["resent"], counters["repeated"] = driver.resent, driver.repeated
    assert (got == want).all()
    return counters, simulated.said


def test_a_good_line(verilator):
    counters, said = drive(linked.board(), 300)
    contract = linked.core().contract
    assert counters["samples"] == counters["results"] == 300
    assert counters["link_errors"] == counters["frame_errors"] == counters["resent"] == 0
    # No sample took longer than one that is fed byte by byte, and none was faster than the core.
    own = (counters["busy"] - counters["waits"]) / 300
    assert 0 < own <= contract["latency"]
    assert counters["busy"] / 300 >= contract["interval"]
    assert said["faults"] == said["broken"] == 0
    assert said["cycles"] >= counters["cycles"] > counters["busy"]


@pytest.mark.parametrize("skew", [-0.02, 0.02])
def test_another_clock(verilator, skew):
    """The host is two per cent too fast or too slow: bytes still come through."""
    counters, said = drive(linked.board(), 60, skew=skew)
    assert counters["link_errors"] == said["broken"] == 0


@pytest.mark.parametrize("kind", ["drop", "flip", "extra"])
def test_a_bad_line(verilator, kind):
    """A fault in about every 700th byte, either way: every result is there, and right."""
    counters, said = drive(linked.board(), 600, faults=Faults(**{kind: 0.0015}), seed=4)
    assert said["faults"] > 5
    assert counters["link_errors"]
    assert counters["resent"] + counters["repeated"]


@pytest.mark.parametrize("chance", [0, 0.001])
def test_loadable(verilator, chance):
    faults = Faults(chance, chance, chance)
    counters, said = drive(linked.board(True), 60, loadable=True, faults=faults, seed=1)
    assert counters["samples"] >= counters["results"] >= 60
    assert counters["image"] == int(linked.core(True).load_image(linked.model())[-1])
    assert bool(said["faults"]) == bool(chance)


def test_serial_port(verilator):
    """pyserial, on the pseudo-terminal."""
    drive(linked.board(), 20, way=lambda path: SerialPort(path, linked.BAUD))


def test_sessions(verilator):
    """One driver after another; what the one before was cut off in does not matter."""
    x, want = linked.samples(20)
    contract = linked.core().contract
    packed = pack(x, contract["input"])
    with SimulatedBoard(linked.board()) as simulated:
        for _ in range(3):
            transport = Terminal(simulated.path)
            driver = Board(transport, contract)
            transport.write(b"\x7e\x05\x00\x00" + packed.tobytes()[:100])  # and no end
            with pytest.raises(RuntimeError):
                driver.run(packed, stop_at(7))
            driver.close()
        with Board(Terminal(simulated.path), contract) as driver:
            assert (unpack(driver.run(packed), contract["output"]) == want).all()


def stop_at(count):
    def progress(done):
        if done >= count:
            raise RuntimeError("cut off")

    return progress


@pytest.mark.parametrize("way", [Terminal, lambda path: SerialPort(path, linked.BAUD)])
def test_unplugged(verilator, way):
    x, _ = linked.samples(50)
    contract = linked.core().contract
    with SimulatedBoard(linked.board()) as simulated:
        with Board(way(simulated.path), contract, where="board") as driver:

            def pull(done):
                if done == 10:
                    simulated.unplug()

            with pytest.raises(LutgenError) as caught:
                driver.run(pack(x, contract["input"]), pull)
    assert str(caught.value).startswith("board: the board is gone: ")
    assert str(caught.value).endswith("; plug it in and run again")


def test_wrong_bitstream(verilator):
    with SimulatedBoard(linked.board()) as simulated, pytest.raises(LutgenError) as caught:
        Board(Terminal(simulated.path), linked.core(True).contract, where="board")
    assert "holds another core than the contract's: its fingerprint is" in str(caught.value)


def test_faults_are_chances():
    with pytest.raises(ValueError, match=r"^Chance of a fault must be 0 to 1, not 2$"):
        Faults(drop=2)


def test_no_port(tmp_path):
    path = str(tmp_path / "tty")
    with pytest.raises(LutgenError) as caught:
        Terminal(path)
    assert str(caught.value) == f"{path}: can't be opened: no such file or directory"
    with pytest.raises(LutgenError) as caught:
        SerialPort(path, 9600)
    assert str(caught.value).startswith(f"{path}: can't be opened: ")
    assert "\n" not in str(caught.value)
