"""`lutgen info` of networks with convolutions and joins."""

import json

import convnets
import numpy as np
import pytest
from engines import engine_for
from toy import ConvNet

from lutgen.cli.main import main
from lutgen.host import jobfile
from lutgen.host.compiler import compile_model
from lutgen.model import save


def network():
    """Two convolutions, a join, a pool, a map, a classifier."""
    net = ConvNet(np.random.default_rng(4), shape=(6, 5, 2), metric="l1", encode="pixel")
    net.conv("input", same=True, channels=3)
    net.conv("conv0", same=True, channels=3)
    net.add("conv1", "conv0")
    net.max_pool("add2")
    net.map("max3")
    net.linear("map4", 4)
    return net.model()


def test_table(capsys, tmp_path):
    model = network()
    save(model, tmp_path / "net.lut")
    assert main(["info", str(tmp_path / "net.lut")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"input     6x5x2 {model.input.format}, scale 1"
    header = lines[2]
    assert header.split()[:7] == ["node", "op", "inputs", "shape", "output", "kernel", "encode"]
    rows = {line.split()[0]: line for line in lines[4:]}
    assert list(rows) == [node.name for node in model.nodes]

    def cell(node, column):
        return rows[node][header.index(column) :].split("  ")[0].strip()

    conv = model.nodes[0]
    assert cell("conv0", "shape") == "6x5x3"
    assert cell("conv0", "output") == str(conv.output.format)
    assert cell("conv0", "kernel") == "{}x{}/1x1".format(*conv.kernel)
    assert cell("conv0", "encode") == "pixel"
    assert cell("conv0", "inputs") == "-"
    assert cell("add2", "inputs") == "conv1 conv0"
    assert cell("map4", "kernel") == "-"


def test_json(capsys, tmp_path):
    model = network()
    save(model, tmp_path / "net.lut")
    assert main(["info", str(tmp_path / "net.lut"), "--json"]) == 0
    nodes = {node["name"]: node for node in json.loads(capsys.readouterr().out)["nodes"]}
    conv, added, mapped = model.nodes[0], model.nodes[2], model.nodes[4]
    entry = nodes["conv0"]
    assert entry["shape"] == [6, 5, 3]
    assert entry["encode"] == "pixel"
    assert entry["codebooks"] == conv.codebooks.shape[0]
    assert entry["table_memory_bits"] == conv.table.size * conv.grid.bits
    assert entry["codebook_memory_bits"] == conv.codebooks.size * model.input.bits
    assert nodes["add2"]["left_shifts"] == list(added.left_shifts)
    assert nodes["map4"]["table_memory_bits"] == len(mapped.map) * mapped.output.bits


@pytest.fixture
def job(tmp_path):
    model, _ = convnets.everything()
    job = compile_model(model, engine_for(model, has_map=False))
    jobfile.save(job, tmp_path / "job")
    return job, tmp_path / "job"


def test_jobs(capsys, job):
    compiled, folder = job
    assert main(["info", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"job       everything, {compiled.sha256}"
    assert lines[1].startswith("engine    --codebooks ")
    assert lines[2].split()[:3] == ["node", "on", "does"]
    assert "host      join: the engine adds nothing but table rows" in lines
    for name in jobfile.FILES:
        assert main(["info", str(folder / name)]) == 0
        assert capsys.readouterr().out.splitlines() == lines
    assert main(["info", str(folder), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["job"], data["batch"]) == (str(folder), compiled.batch)
    whys = {step["gives"]: step["why"] for step in data["steps"] if step["on"] == "host"}
    assert whys["mapped"] == "is not behind a lookup on the engine"


def test_other_folders_and_pictures_of_jobs(capsys, job):
    _, folder = job
    assert main(["info", str(folder), "--svg", str(folder.parent / "x.svg")]) == 2
    assert main(["info", str(folder.parent)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"lutgen: error: argument --svg: {folder} is a job; pictures are of cores of models",
        f"lutgen: error: {folder.parent}: is a folder, but not a job; give a .lut model, the .json "
        "of a core or an engine, or a JOB of `lutgen compile`",
    ]
