"""``lutgen run``: on a simulated board, on a port that is one, and with wrong options."""

import json
from dataclasses import replace
from types import SimpleNamespace

import linked
import numpy as np
import pytest
import toy

import lutgen
from lutgen.cli.main import main
from lutgen.flows.boardsim import SimulatedBoard
from lutgen.gateware.link import board_core
from lutgen.model import Model


@pytest.fixture
def files(tmp_path):
    """Model, contract and Verilog of its core, data with half of the labels wrong."""
    model = linked.model()
    lutgen.save(model, tmp_path / "m.lut")
    linked.core().write(tmp_path / "m.v")
    x, want = linked.samples(30)
    y = want.argmax(axis=1)
    y[::2] = (y[::2] + 1) % want.shape[1]
    np.savez(tmp_path / "d.npz", x_test=x * model.input.scale, y_test=y)
    return tmp_path


def lines(text):
    """What is printed, by the first word of a line."""
    return {line.split()[0]: line for line in text.splitlines() if not line.startswith(" ")}


def error(capsys, *args):
    """The text after `lutgen: error: ` of a command that must end with status 2."""
    assert main(["run", *map(str, args)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()[-1].removeprefix("lutgen: error: ")


def test_simulate(capsys, verilator, files):
    args = ["run", str(files / "m.lut"), "--simulate", "--data", str(files / "d.npz")]
    assert main(args) == 0
    text = capsys.readouterr().out
    said = lines(text)
    assert "50.00 %, 30 samples" in said["accuracy"]
    assert said["results"] == "results   30, all equal to golden"
    assert "samples a second (of the simulation)" in said["link"]
    promised = linked.CLOCK_HZ / linked.core().contract["interval"]
    assert f"at 12 MHz; promised: {promised:,.0f}" in text

    contract = ["--contract", str(files / "m.json"), "--samples", "12", "--json"]
    assert main([*args, *contract]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["samples"], data["mismatches"], data["simulated"]) == (12, 0, True)
    assert data["counters"]["results"] == 12
    assert data["clamped"] == {"values": 0, "of": 12 * 16, "share": 0.0}
    assert data["core_samples_per_second"] <= data["promised_samples_per_second"]


def test_port(capsys, verilator, files):
    """The same command as for a board; the contract is one that knows of its link."""
    board = linked.board()
    (files / "board.json").write_text(json.dumps(board.contract))
    with SimulatedBoard(board) as simulated:
        args = ["run", "--port", simulated.path, "--data", str(files / "d.npz")]
        args += ["--contract", str(files / "board.json"), "--json"]
        assert main([*args, "--model", str(files / "m.lut")]) == 0
        data = json.loads(capsys.readouterr().out)
        assert data["port"] == simulated.path
        assert (data["mismatches"], data["accuracy"]) == (0, 0.5)
        assert main(args) == 0  # without a model
        data = json.loads(capsys.readouterr().out)
        assert (data["mismatches"], data["accuracy"]) == (None, 0.5)
        assert main(args[:-1]) == 0
        assert "compared with nothing: no MODEL.lut" in capsys.readouterr().out


def test_loadable(capsys, verilator, files):
    board = linked.board(True)
    (files / "board.json").write_text(json.dumps(board.contract))
    with SimulatedBoard(board) as simulated:
        args = ["--port", simulated.path, "--data", str(files / "d.npz"), "--contract"]
        args.append(str(files / "board.json"))
        assert main(["run", str(files / "m.lut"), *args]) == 0
        captured = capsys.readouterr()
        assert "bytes of tables ..." in captured.err
        assert "all equal to golden" in captured.out
        assert error(capsys, *args) == (
            f"{files}/board.json: the core is loadable: name a MODEL.lut to load"
        )
        wrong = [*args[:-1], files / "m.json", "--baud", "3000000"]
        assert "the board holds another core than the contract's" in error(capsys, *wrong)


def test_other_weights(capsys, verilator, files):
    """A loadable core takes another model of the same layers, and no other."""
    model, core = linked.model(), linked.core(True)
    core.write(files / "r.v")
    *first, last = model.nodes
    # Outputs and centroids the other way round: other tables, sums of the same width.
    turned = replace(last, bias=last.bias[::-1].copy(), table=last.table[:, ::-1, ::-1].copy())
    other = Model(model.name, model.shape, model.input, (*first, turned))
    x, want = linked.samples(30)
    assert (other.run(x)[last.name] != want).any()
    lutgen.save(other, files / "other.lut")
    args = ["--simulate", "--data", str(files / "d.npz"), "--contract", str(files / "r.json")]
    assert main(["run", str(files / "other.lut"), *args]) == 0
    assert "all equal to golden" in capsys.readouterr().out
    lutgen.save(Model("x", model.shape, model.input, tuple(first)), files / "x.lut")
    text = error(capsys, files / "x.lut", *args)
    assert text.startswith(f"{files}/r.json")
    assert f"{files}/x.lut" in text


def test_verilog_with_its_link(capsys, verilator, files):
    """What a board gets, simulated as it is."""
    board = linked.board()
    (files / "board.json").write_text(json.dumps(board.contract))
    (files / "board.v").write_text(board.verilog)
    args = ["run", str(files / "m.lut"), "--simulate", "--data", str(files / "d.npz")]
    args += ["--contract", str(files / "board.json"), "--samples", "5"]
    assert main(args) == 0
    assert "all equal to golden" in capsys.readouterr().out
    assert error(capsys, *args[1:], "--baud", "9600") == (
        f"argument --baud: is 3000000 in {files}/board.json"
    )


def test_an_older_link(capsys, files):
    """Its board is not even asked: the contract says what it speaks."""
    contract = linked.board().contract
    older = {**contract, "link": {**contract["link"], "protocol": 1}}
    (files / "board.json").write_text(json.dumps(older))
    (files / "board.v").write_text(linked.board().verilog)
    args = ["--data", files / "d.npz", "--contract", files / "board.json"]
    for place in (["--simulate"], ["--port", "/dev/null"]):
        assert error(capsys, *place, *args) == (
            f"{files}/board.json, field 'link.protocol': is 1, and this lutgen speaks 2; make the "
            "board's files again with `lutgen synth --board`"
        )


def test_other_tables(capsys, verilator, files):
    """A board whose tables were spoilt: what differs is counted, and the status is 1."""
    core = linked.core()
    (files / "m.v").write_text(toy.spoil(core.verilog))
    args = ["run", str(files / "m.lut"), "--simulate", "--data", str(files / "d.npz")]
    assert main([*args, "--contract", str(files / "m.json")]) == 1
    assert "of 30 results differ from golden, the first that of sample 0" in capsys.readouterr().out


def test_options(capsys, files, monkeypatch):
    data = ["--data", files / "d.npz"]
    assert error(capsys, "--simulate", *data) == (
        "a MODEL.lut is needed, or --contract OUT.json of a built core"
    )
    assert error(capsys, "--port", "/dev/null", *data) == (
        "argument --contract: is needed with --port: it says which core the board must hold"
    )
    contract = ["--contract", files / "m.json"]
    assert error(capsys, "--port", "/dev/null", *contract, *data) == (
        f"argument --contract: {files}/m.json is of a core without a link; name the core.json that "
        "was written with the board's bitstream, or say --baud"
    )
    assert error(capsys, files / "m.json", "--simulate", *data) == (
        f"{files}/m.json: is no model; for a core's contract say --contract {files}/m.json"
    )
    model = files / "m.lut"
    assert error(capsys, model, "--model", model, "--simulate", *data) == (
        "argument --model: the model is named twice"
    )
    assert "not allowed with argument" in error(capsys, "--simulate", "--port", "x", *data)
    assert error(capsys, model, "--simulate", "--baud", "4000000", *data) == (
        "Baud rate must be at most a quarter of the clock, 3000000, not 4000000"
    )
    nowhere = ["--port", files / "tty", "--baud", "9600", *contract, *data]
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    assert error(capsys, *nowhere) == (
        f"{files}/tty: can't be opened: no such file or directory; plug the board in, or name its "
        "port: no serial port was found"
    )
    ports = [SimpleNamespace(device=name) for name in ("/dev/ttyUSB1", "/dev/ttyUSB0")]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: ports)
    nothing = ["--port", "/dev/null", "--baud", "9600", *contract, *data]
    assert error(capsys, *nothing) == (
        "/dev/null: is no serial port; there are /dev/ttyUSB0, /dev/ttyUSB1"
    )
    (files / "m.v").unlink()
    assert f"{files}/m.v: can't be read" in error(capsys, "--simulate", *contract, *data)


def test_data_of_another_size(capsys, files):
    np.savez(files / "d.npz", x_test=np.zeros((3, 7)))
    args = [files / "m.lut", "--simulate", "--data", files / "d.npz"]
    assert error(capsys, *args) == (
        f"{files}/d.npz, array 'x_test': Samples must have the shape 16, as the model's input, "
        "not 7; give samples as the model was trained on"
    )


def test_board_options(files):
    """A link of another shape has another contract, but the same fingerprint: it is the core's."""
    core = linked.core()
    board = board_core(
        core.verilog, core.contract, clock_hz=48_000_000, baud=115_200, buffer=1024, results=128
    )
    link = board.contract["link"]
    assert link == {
        "module": "random_net_board",
        "protocol": 2,
        "fingerprint": linked.board().spec.mark,
        "clock_hz": 48_000_000,
        "baud": 115_200,
        "buffer": 1024,
        "results": 128,
    }
