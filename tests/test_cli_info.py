"""`lutgen info` of networks with convolutions and joins."""

import json

import numpy as np
from toy import ConvNet

from lutgen.cli.main import main
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
