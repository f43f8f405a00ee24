"""The picture of a core, and the solver's options."""

import json
import xml.etree.ElementTree as ET

import convnets
import numpy as np
import pytest
import simulation as sim

import lutgen
from lutgen.cli import main as cli
from lutgen.cli.picture import HIGH, WIDE, draw
from lutgen.model.plan import plan

SVG = "{http://www.w3.org/2000/svg}"


def contracts():
    for seed in range(40):
        model = convnets.random_model(np.random.default_rng(seed))
        try:
            spec = plan(model)
            _ = spec.schedule
        except RuntimeError:
            continue
        yield seed, lutgen.build(model, spec=spec).contract
        if seed > 12:
            return


@pytest.mark.parametrize(("seed", "contract"), list(contracts()))
def test_boxes_do_not_overlap(seed, contract):
    root = ET.fromstring(draw(contract))
    boxes = [
        (float(box.get("x")), float(box.get("y")))
        for box in root.iter(f"{SVG}rect")
        if box.get("rx") == "8"
    ]
    assert len(boxes) == len(contract["stages"]) + 2
    width, height = float(root.get("width")), float(root.get("height"))
    for number, (x, y) in enumerate(boxes):
        assert 0 <= x <= width - WIDE
        assert 0 <= y <= height - HIGH
        for a, b in boxes[number + 1 :]:
            assert abs(x - a) >= WIDE or abs(y - b) >= HIGH
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {stage["name"] for stage in contract["stages"]} <= set(texts)
    assert len(list(root.iter(f"{SVG}path"))) == len(contract["queues"]) + 1  # the arrow's tip


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.lut"
    rng = np.random.default_rng(0)
    lutgen.save(sim.random_model(rng, layers=2, features=24, metric="l1"), path)
    return path


def run(capsys, *args):
    status = cli.main([str(arg) for arg in args])
    return status, *capsys.readouterr()


def test_build_and_draw(capsys, tmp_path, model):
    core = tmp_path / "c.v"
    status, out, _ = run(
        capsys, "build", model, "-o", core, "--interval", 200, "--target", "ice40", "--json"
    )
    assert status == 0
    data = json.loads(out)
    assert data["interval"] <= 200
    assert data["solver"]["target"] == "ice40"
    assert data["solver"]["estimate"]["total"]["luts"] > 0
    status, out, _ = run(capsys, "build", model, "-o", core, "--device", "hx8k")
    assert status == 0
    assert "not faster:" in out
    picture = tmp_path / "c.svg"
    status, out, _ = run(capsys, "info", core.with_suffix(".json"), "--svg", picture)
    assert status == 0
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--throughput", 5], "argument --throughput: goes with --clock"),
        (["--throughput", 5, "--clock", "2Hz"], "more than one a cycle"),
        (["--clock", "fast"], "argument --clock: must be a frequency"),
        (["--interval", 9, "--throughput", 5, "--clock", "1MHz"], "leave one out"),
        (["--device", "up6k"], "argument --device: must be one of"),
        (["--target", "up6k"], "argument --target: must be one of"),
        (["--device", "up5k", "--target", "ecp5"], "leave one of them out"),
        (["--device", "up5k", "--margin", 2], "argument --margin"),
        (["--interval", 1, "--lanes", 1, "--fan-in", 1], "can't be faster than"),
    ],
)
def test_bad_input(capsys, tmp_path, model, args, text):
    target = tmp_path / "c.v"
    status, out, err = run(capsys, "build", model, "-o", target, *args)
    assert (status, out) == (2, "")
    assert text in err
    assert err.count("\n") == 1
    assert not target.exists()


def test_a_model_has_no_picture(capsys, tmp_path, model):
    status, _, err = run(capsys, "info", model, "--svg", tmp_path / "c.svg")
    assert status == 2
    assert "is a model" in err
