"""Every example runs, at a small size."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    """The example as a module."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_has_a_test():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"digits", "own_network"}


def test_digits(verilator, tmp_path):
    pytest.importorskip("sklearn", reason="needs lutgen[explore]")
    accuracy = load("digits").main(tmp_path / "out", arch=(32,), samples=20, epochs=1)
    assert accuracy > 0.8
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "digits.lut",
        "digits.v",
        "digits.json",
    }


def test_own_network(tmp_path, capsys):
    pytest.importorskip("sklearn", reason="needs lutgen[explore]")
    accuracy = load("own_network").main(tmp_path / "out", float_epochs=8, epochs=1)
    assert accuracy > 0.75
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"own.lut", "own.v", "own.json"}
    ends = ["small", "fast"]
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert words == ["float", "replace", "refit", "joint", "model", "conv1", "conv2", "fc1", *ends]
