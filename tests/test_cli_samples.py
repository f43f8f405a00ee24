"""Samples on the command line: every command that takes them checks their shape and labels, counts
what it clamps, and notices other units.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from simulation import random_layer

import lutgen
from lutgen.cli import common, engine_sim, sim
from lutgen.cli.main import main, parser
from lutgen.host.contract import engine_of
from lutgen.model import Activation, Flatten, Model

SHAPE = (4, 3, 2)


def network(provenance=None):
    wire = Activation(8, False, 1 / 255)
    node = random_layer(
        np.random.default_rng(0),
        "fc",
        "flat",
        wire,
        24,
        3,
        None,
        metric="l1",
        subvec=4,
        centroids=16,
    )
    nodes = (Flatten(name="flat", inputs=("input",)), node)
    return Model("net", SHAPE, wire, nodes, provenance or {})


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model, a core, an engine and a job."""
    folder = tmp_path_factory.mktemp("samples")
    seen = {"low": 0.0, "high": 1.0, "mean": 0.5, "deviation": 0.29, "samples": 100}
    lutgen.save(network({"inputs": seen}), folder / "net.lut")
    lutgen.build(network()).write(folder / "core.v")
    engine = ["--codebooks", "16", "--subvec", "4", "-o", str(folder / "engine.v")]
    assert main(["build", *engine, "--rows", "8"]) == 0
    args = ["--engine", str(folder / "engine.json"), "-o", str(folder / "job")]
    assert main(["compile", str(folder / "net.lut"), *args]) == 0
    return folder


def commands(folder):
    """Every command that takes samples for a model, a core or a job."""
    net, core = folder / "net.lut", folder / "core.json"
    return {
        "infer": ["infer", net],
        "sim": ["sim", net],
        "sim --core --model": ["sim", "--core", core, "--model", net],
        "sim JOB": ["sim", folder / "job", "--core", folder / "engine.json"],
        "build": ["build", net, "--testbench", 5, "-o", folder / "new.v"],
        "run": ["run", net, "--simulate"],
        "run --contract": ["run", "--simulate", "--contract", core],
        "synth": ["synth", net, "--device", "hx8k", "-o", folder / "synth"],
    }


COMMANDS = list(commands(Path()))


def arrays(path, x, y=None):
    np.savez(path, x_test=x, **({} if y is None else {"y_test": y}))
    return path


def error(capsys, args):
    """The text after `lutgen: error: ` of a command that must end with status 2."""
    assert main(list(map(str, args))) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()[-1].removeprefix("lutgen: error: ")


@pytest.mark.parametrize("command", COMMANDS)
def test_shapes_and_labels(capsys, files, tmp_path, command):
    """Before any work: nothing is built, and nothing is written."""
    args = [*commands(files)[command], "--data"]
    rng, before = np.random.default_rng(0), sorted(files.iterdir())
    data = arrays(tmp_path / "first.npz", rng.random((5, 2, 4, 3)))
    assert error(capsys, [*args, data]) == (
        f"{data}, array 'x_test': Samples must have the shape 4x3x2 (rows, columns, channels), as "
        "the model's input, not 2x4x3; channels come first, and must come last: "
        "x_test.transpose(0, 2, 3, 1)"
    )
    data = arrays(tmp_path / "flat.npz", rng.random((5, 24)))
    assert "x_test.reshape(-1, 4, 3, 2)" in error(capsys, [*args, data])
    data = arrays(tmp_path / "labels.npz", rng.random((5, *SHAPE)), np.array([0, 1, 2, 3, 0]))
    assert error(capsys, [*args, data]) == (
        f"{data}, array 'y_test': Labels must be classes 0..2, which the model tells apart, not 3; "
        "take the data that it was trained for"
    )
    data = arrays(tmp_path / "few.npz", rng.random((5, *SHAPE)), np.array([0, 1, 2, 1]))
    assert error(capsys, [*args, data]) == (
        f"{data}, array 'y_test': has 4 labels for the 5 samples of x_test; give one label a sample"
    )
    assert sorted(files.iterdir()) == before


def test_clamped_inputs(capsys, files, tmp_path):
    x = np.random.default_rng(0).random((50, *SHAPE))
    x[3, 0, 0] = 1.5, -0.25
    data = arrays(tmp_path / "d.npz", x)
    said = (
        f"lutgen: note: {data}, array 'x_test': 0.167 % of the values (2 of 1200) lie outside 0 to "
        "1, which the model takes, and are clamped\n"
    )
    for command in ("infer", "build"):
        args = [*map(str, commands(files)[command]), "--data", str(data)]
        args[args.index("5") if "5" in args else 0] = "50" if "5" in args else command
        assert main([*args, "--json"]) == 0
        captured = capsys.readouterr()
        assert captured.err == said
        found = json.loads(captured.out)
        assert found["clamped"] == {"values": 2, "of": 1200, "share": 2 / 1200}
        assert found["units"] is None
    arrays(data, x[:3])
    assert main(["infer", str(files / "net.lut"), "--data", str(data), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out)["clamped"] == {"values": 0, "of": 72, "share": 0.0}


def test_other_units(capsys, files, tmp_path):
    """By what the model was trained on, else by its input's format."""
    x = np.random.default_rng(0).random((50, *SHAPE))
    data = arrays(tmp_path / "d.npz", x * 255)
    unknown = tmp_path / "unknown.lut"
    lutgen.save(network(), unknown)
    assert main(["infer", str(files / "net.lut"), "--data", str(data), "--json"]) == 0
    captured = capsys.readouterr()
    first, second = captured.err.splitlines()
    assert first.startswith(
        f"lutgen: warning: {data}, array 'x_test': 99.5 % of the values (1194 of 1200)"
    )
    assert second.startswith(
        f"lutgen: warning: {data}, array 'x_test': samples seem to be in other units than the "
        "model's training samples: they reach from 0."
    )
    assert second.endswith("; x_test / 255 would be like them")
    assert json.loads(captured.out)["units"] in second
    assert main(["infer", str(unknown), "--data", str(data)]) == 0
    assert "in other units than the model's: " in capsys.readouterr().err


def test_a_model_named_twice(capsys, files):
    net = files / "net.lut"
    assert error(capsys, ["sim", net, "--model", net, "--core", files / "core.json"]) == (
        "argument --model: the model is named twice"
    )


def test_simulations_count_too(capsys, files, tmp_path):
    """What `lutgen sim` says of a core's and a job's samples, before it simulates them."""
    x = np.random.default_rng(0).random((5, *SHAPE))
    x[1] = 2.0
    data = arrays(tmp_path / "d.npz", x)
    for command in ("sim --core --model", "sim JOB"):
        args = parser().parse_args([*map(str, commands(files)[command]), "--data", str(data)])
        args.model = common.model_of(args)
        if command == "sim JOB":
            found, said = engine_sim.whole(args, engine_of(args.core))
            assert len(found.inputs) == 4
        else:
            case = sim.prepare(args)
            said = case.said
            assert case.inputs[1].tolist() == [255] * 24
        of = 96 if command == "sim JOB" else 120
        assert said["clamped"] == {"values": 24, "of": of, "share": 24 / of}
        assert f"({24} of {of}) lie outside 0 to 1, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["sim", "net.lut", "--samples"], "--samples"),
        (["build", "net.lut", "-o", "out.v", "--testbench"], "--testbench"),
    ],
)
def test_more_samples_than_the_memory_holds(capsys, files, tmp_path, monkeypatch, command, option):
    monkeypatch.setattr("lutgen.cli.cases.free_memory", lambda: 10_000_000)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.lut").write_bytes((files / "net.lut").read_bytes())
    assert main([*command, "30000000"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    # The input, what flattens it, and three results: 51 integers a sample, each in four copies.
    assert said == (
        f"lutgen: error: argument {option}: 30,000,000 samples take about 49.0 GB of memory, of "
        "which 10.0 MB are free; ask for at most 6,127"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.lut"]
