"""``lutgen sim`` with the compiled driver, ``lutgen build --testbench``: options, files, tables."""

import json
import subprocess

import numpy as np
import pytest
import toy
from simulation import random_model

from lutgen import build_loadable, save
from lutgen.cli import sim
from lutgen.cli.main import main
from lutgen.flows import tools


@pytest.fixture
def model(tmp_path):
    """A small network in a file."""
    path = tmp_path / "net.lut"
    save(random_model(np.random.default_rng(11), layers=2, features=6, metric="l1"), path)
    return str(path)


def error(capsys, *args):
    """The text after `lutgen: error: ` of a command that must end with status 2."""
    assert main([str(arg) for arg in args]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()[-1].removeprefix("lutgen: error: ")


def test_layers(capsys, verilator, model, tmp_path):
    """Right layers in a table; one whose table was spoilt is named."""
    assert main(["sim", model, "--samples", "12", "--layers"]) == 0
    captured = capsys.readouterr()
    assert "compiled driver" in captured.out
    rows = [line.split() for line in captured.out.splitlines() if line.startswith("fc")]
    assert [(row[0], row[2:]) for row in rows] == [
        ("fc0", ["0", "-", "-"]),
        ("fc1", ["0", "-", "-"]),
    ]
    assert int(rows[0][1]) % 5 == 0
    assert main(["sim", model, "--samples", "12", "--layers", "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["cores"][0]["layers"]
    assert [layer["name"] for layer in layers] == ["fc0", "fc1"]
    assert all(layer["words"] and layer["mismatches"] == 0 for layer in layers)

    import lutgen

    core = lutgen.build(lutgen.load(model), taps=True)
    out = tmp_path / "spoilt.v"
    core.write(out)
    out.write_text(toy.spoil(core.verilog))
    args = ["sim", model, "--samples", "12", "--layers", "--core", str(out.with_suffix(".json"))]
    assert main(args) == 1
    text = capsys.readouterr().out
    assert "FAILED    the first layer that differs: fc1, sample " in text


def test_layers_without_taps(capsys, model, tmp_path):
    out = tmp_path / "core.v"
    assert main(["build", model, "-o", str(out)]) == 0
    capsys.readouterr()
    core = out.with_suffix(".json")
    assert error(capsys, "sim", model, "--core", core, "--layers") == (
        f"{core}, field 'taps': is missing: the core shows no inner streams; leave --core out, "
        "and lutgen builds one that does"
    )


def test_waves(capsys, verilator, model, tmp_path):
    path = tmp_path / "w.vcd"
    args = ["sim", model, "--samples", "2", "--timing-samples", "0", "--vcd", str(path)]
    assert main(args) == 0
    assert "compiled driver" in capsys.readouterr().out
    assert "$enddefinitions $end" in path.read_text()
    assert {entry.name for entry in tmp_path.iterdir()} == {"net.lut", "w.vcd"}


def test_toggles(capsys, verilator, model, tmp_path):
    """Of all levels: what the core holds inside is there as well."""
    path = tmp_path / "w.saif"
    args = ["sim", model, "--samples", "2", "--timing-samples", "0", "--saif", str(path)]
    assert main(args) == 0
    capsys.readouterr()
    text = path.read_text()
    assert text.count("(INSTANCE ") > 2
    assert "(clk (T0 " in text
    assert error(capsys, "sim", model, "--saif", path, "--vcd", "w.vcd") == (
        "argument --saif: not allowed with --vcd; one format a run"
    )


def test_driver_by_length(capsys, verilator, model, monkeypatch):
    args = ["sim", model, "--samples", "5"]
    monkeypatch.setattr(sim, "PATIENCE", 1e-6)
    assert main(args) == 0
    captured = capsys.readouterr()
    assert "taking the compiled driver; --driver cocotb insists" in captured.err
    assert "compiled driver" in captured.out
    monkeypatch.undo()
    assert sim.PATIENCE == 120


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (
            ["--driver", "compiled", "--simulator", "icarus"],
            "argument --driver: compiled needs the simulator verilator",
        ),
        (
            ["--layers", "--driver", "cocotb"],
            "argument --layers: needs the compiled driver, not --driver cocotb",
        ),
        (
            ["--vcd", "w.vcd", "--driver", "cocotb"],
            "argument --vcd: needs the compiled driver, not --driver cocotb",
        ),
        (
            ["--fst", "w.fst", "--simulator", "icarus"],
            "argument --fst: needs the simulator verilator",
        ),
        (["--vcd", "w.txt"], "argument --vcd: the name must end in .vcd, not w.txt"),
        (
            ["--vcd", "no/w.vcd"],
            "no/w.vcd: the folder no does not exist; make it first",
        ),
        (
            ["--vcd", "w.vcd", "--fst", "w.fst"],
            "argument --fst: not allowed with --vcd; one format a run",
        ),
    ],
)
def test_options_of_the_driver(capsys, model, args, text):
    assert error(capsys, "sim", model, *args) == text


def test_testbench(capsys, icarus, model, tmp_path):
    out = tmp_path / "core.v"
    assert main(["build", model, "-o", str(out), "--testbench", "7", "--seed", "3", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    bench = tmp_path / "core_tb.v"
    assert data["testbench"] == str(bench)
    assert f"-o sim {out.name} {bench.name}" in bench.read_text()
    folder = {"cwd": tmp_path, "env": tools.environment(), "check": True}
    subprocess.run(["iverilog", "-g2005", "-o", "sim", out, bench], **folder)
    done = subprocess.run(["vvp", "sim"], **folder, capture_output=True, text=True)
    assert "PASS: 7 samples, " in done.stdout


def test_core_without_a_model(capsys, icarus, tmp_path):
    """A loadable core of one layer, made in Python: simulated with random tables."""
    core = build_loadable(codebooks=3, subvec=2, centroids=4, outputs=5, lanes=2, signed=True)
    core.write(tmp_path / "core.v")
    path = str(tmp_path / "core.json")
    assert main(["sim", "--core", path, "--samples", "8", "--simulator", "icarus"]) == 0
    text = capsys.readouterr().out
    assert "all equal to golden" in text
    assert "as the contract says" in text
    assert error(capsys, "sim", "--core", path, "--data", "digits") == (
        "argument --data: goes with a MODEL.lut; random tables need none"
    )


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--data", "digits"], "argument --data: goes with --testbench N"),
        (["--seed", "1"], "argument --seed: goes with --testbench N"),
    ],
)
def test_options_of_the_testbench(capsys, model, tmp_path, args, text):
    assert error(capsys, "build", model, "-o", tmp_path / "x.v", *args) == text


def test_testbench_with_other_data(capsys, model, tmp_path):
    """Nothing is written where the samples do not fit."""
    data = tmp_path / "d.npz"
    np.savez(data, x_test=np.zeros((4, 5)))
    args = ["build", model, "-o", tmp_path / "x.v", "--testbench", "2", "--data", data]
    assert "as the model's input, not 5" in error(capsys, *args)
    assert {entry.name for entry in tmp_path.iterdir()} == {"net.lut", "d.npz"}
