"""Every example runs, at a small size."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import lutgen
from lutgen.cost.solve import solve

EXAMPLES = Path(__file__).parents[1] / "examples"
RESULTS = EXAMPLES.parent / "benchmarks" / "results" / "fpga_models.json"


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


LARGE = "cifar10_85k"  # of another data set
MODELS = {row["device"]: row for row in json.loads(RESULTS.read_text("utf-8"))}


def test_every_kept_model_is_described():
    files = {path.stem for path in (EXAMPLES / "models").glob("*.lut")}
    assert files == {f"mnist_{device}" for device in MODELS} | {LARGE}
    page = (EXAMPLES / "models" / "README.md").read_text("utf-8")
    for name in files:
        model = lutgen.load(EXAMPLES / "models" / f"{name}.lut")
        assert f"({name}.lut)" in page
        assert model.provenance["sha256"] in page


@pytest.mark.parametrize("device", MODELS)
def test_kept_models_are_those_that_were_measured(device):
    model = lutgen.load(EXAMPLES / "models" / f"mnist_{device}.lut")
    row = MODELS[device]
    assert model.provenance["sha256"] == row["sha256"]
    blank, full = np.zeros((1, 28, 28), np.uint8), np.full((1, 28, 28), 255, np.uint8)
    assert (model.predict(blank).outputs != model.predict(full).outputs).any()


@pytest.mark.parametrize("device", MODELS)
def test_kept_models_fit_their_devices(device):
    model = lutgen.load(EXAMPLES / "models" / f"mnist_{device}.lut")
    asked = MODELS[device]["asked"]
    loadable = device == "up5k"
    found = solve(model, device=device, interval=asked, margin=0.1, loadable=loadable)
    assert found.spec.timing.interval <= asked
    assert found.area.total.blocks <= 0.9 * found.device.blocks
    if loadable:  # 828 kbit of tables, which blocks have no room for
        assert found.area.total.single == 4


def test_the_large_network_fits_its_device():
    model = lutgen.load(EXAMPLES / "models" / f"{LARGE}.lut")
    found = solve(model, device="85k", interval=36_864, margin=0.01)
    assert found.spec.timing.interval <= 36_864
    assert found.area.total.luts <= 0.98 * found.device.luts
    assert found.area.total.blocks <= 0.99 * found.device.blocks
