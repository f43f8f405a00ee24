"""Whatever is wrong with a convolutional network in a file makes one line that names node and
field.
"""

import numpy as np
import pytest
from test_model_file import message, rewrite
from toy import ConvNet

from lutgen import LutgenError
from lutgen.model import Activation, Add, Argmax, Flatten, Model, load, save


@pytest.fixture
def file(tmp_path):
    """Every operation once: two convolutions, join, pools, map, classifier."""
    rng = np.random.default_rng(2)
    net = ConvNet(rng, shape=(6, 5, 2), metric="l2", encode="window")
    net.conv("input", same=True, channels=3)
    net.encode = "pixel"
    net.conv("conv0", same=True, channels=3)
    net.add("conv1", "conv0")
    net.max_pool("add2")
    net.avg_pool("max3")
    net.map("avg4")
    net.linear("map5", 4)
    net.put(Argmax(name="top", inputs=("fc6",)))
    path = tmp_path / "net.lut"
    save(net.model(), path)
    return path


MANIFESTS = {
    "kernel": (
        lambda n: n["conv0"].update(kernel=[3]),
        "node 'conv0', field 'kernel': must be a list of 2 integers between 1 and 65535, not [3]",
    ),
    "kernel type": (
        lambda n: n["max3"].update(kernel=[2, True]),
        "node 'max3', field 'kernel': must be a list of 2 integers between 1 and 65535, "
        "not [2, True]",
    ),
    "kernel missing": (
        lambda n: n["avg4"].pop("kernel"),
        "node 'avg4', field 'kernel': is missing",
    ),
    "large kernel": (
        lambda n: n["max3"].update(kernel=[7, 1]),
        "node 'max3', field 'kernel': must fit the image of 6x5, not be 7x1",
    ),
    "stride": (
        lambda n: n["conv1"].update(stride=[0, 1]),
        "node 'conv1', field 'stride': must be a list of 2 integers between 1 and 65535, "
        "not [0, 1]",
    ),
    "pad": (
        lambda n: n["conv1"].update(pad=[0, 0]),
        "node 'conv1', field 'pad': must be a list of 4 integers between 0 and 65534, not [0, 0]",
    ),
    "large pad": (
        lambda n: n["conv0"].update(pad=[9, 0, 0, 0]),
        "node 'conv0', field 'pad': must be less than the kernel of ",
    ),
    "pad of a pool": (
        lambda n: n["max3"].update(pad=[0, 0, 0, 0]),
        "node 'max3', field 'pad': is unknown to this version",
    ),
    "encode": (
        lambda n: n["conv0"].update(encode="tap"),
        "node 'conv0', field 'encode': must be one of window, pixel, not 'tap'",
    ),
    "order": (
        lambda n: n["conv0"].update(order="cwh"),
        "node 'conv0', field 'order': must be one of hwc, chw, not 'cwh'",
    ),
    "order missing": (lambda n: n["conv0"].pop("order"), "node 'conv0', field 'order': is missing"),
    "order of pixels": (
        lambda n: n["conv1"].update(order="chw"),
        "node 'conv1', field 'order': must be hwc or absent for encode 'pixel', not 'chw'",
    ),
    "channels": (
        lambda n: n["conv1"].update(in_channels=4),
        "node 'conv1', field 'in_channels': must be 3, the channels that arrive, not 4",
    ),
    "subvec": (
        lambda n: n["conv1"].update(subvec=4),
        "node 'conv1', field 'subvec': must be an integer between 1 and 3, not 4",
    ),
    "grid": (
        lambda n: n["conv1"]["grid"].update(bits=9),
        "node 'conv1', field 'grid', field 'bits': must be an integer between 2 and 8, not 9",
    ),
    "shift of accumulators": (
        lambda n: n["conv1"].update(output=None, shift=3),
        "node 'conv1', field 'shift': must be 0 where output is null, not 3",
    ),
    "accumulators": (
        lambda n: n["conv1"].update(output=None, shift=0),
        "node 'add2', field 'inputs': must name a node with an activation format, not accumulators",
    ),
    "classes": (
        lambda n: n["top"].update(op="max_pool2d", inputs=["fc6"], kernel=[1, 1], stride=[1, 1]),
        "node 'top', field 'inputs': must name a node with ",
    ),
    "multiplier": (
        lambda n: n["avg4"].update(multiplier=0),
        "node 'avg4', field 'multiplier': must be an integer between 1 and 65535, not 0",
    ),
    "shift": (
        lambda n: n["avg4"].update(shift=32),
        "node 'avg4', field 'shift': must be an integer between 0 and 31, not 32",
    ),
    "no output": (
        lambda n: n["avg4"].update(output=None),
        "node 'avg4', field 'output': must be a JSON object, not None",
    ),
    "output": (
        lambda n: n["map5"]["output"].update(bits=1),
        "node 'map5', field 'output', field 'bits': must be an integer between 2 and 16, not 1",
    ),
    "one input": (
        lambda n: n["add2"].update(inputs=["conv1"], left_shifts=[0]),
        "node 'add2', field 'inputs': must name 2 nodes or more, not 1",
    ),
    "left shifts": (
        lambda n: n["add2"].update(left_shifts=[0]),
        "node 'add2', field 'left_shifts': must be a list of 2 integers between 0 and 15, not [0]",
    ),
    "large left shift": (
        lambda n: n["add2"].update(left_shifts=[0, 16]),
        "node 'add2', field 'left_shifts': must be a list of 2 integers between 0 and 15, "
        "not [0, 16]",
    ),
    "shapes": (
        lambda n: n["add2"].update(inputs=["conv1", "input"]),
        "node 'add2', field 'inputs': must name nodes of one shape, but 'input' has 6x5x2 and "
        "'conv1' 6x5x3",
    ),
    "later node": (
        lambda n: n["add2"].update(inputs=["conv1", "max3"]),
        "node 'add2', field 'inputs': names 'max3', which no earlier node has",
    ),
    "two inputs": (
        lambda n: n["conv1"].update(inputs=["conv0", "input"]),
        "node 'conv1', field 'inputs': must name 1 node, not 2",
    ),
    "unused": (
        lambda n: n["add2"].update(inputs=["conv0", "conv0"]),
        "node 'conv1', field 'name': no later node uses its result",
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_bad_manifest(file, case):
    change, text = MANIFESTS[case]

    def apply(manifest, arrays):
        change({node["name"]: node for node in manifest["nodes"]})

    rewrite(file, apply)
    assert message(file).startswith(text)


ARRAYS = {
    "taps": (
        lambda a: a.update({"conv1.table": a["conv1.table"][None, 0]}),
        "node 'conv1', array 'table': must have the shape ",
    ),
    "rank": (
        lambda a: a.update({"conv0.table": a["conv0.table"][None, None]}),
        "node 'conv0', array 'table': must have the shape anyx",
    ),
    "groups": (
        lambda a: a.update({"conv1.table": np.repeat(a["conv1.table"], 2, axis=2)}),
        "node 'conv1', array 'table': must have ",
    ),
    "codebooks": (
        lambda a: a.update({"conv0.codebooks": a["conv0.codebooks"][:-1]}),
        "node 'conv0', array 'codebooks': must have ",
    ),
    "code": (
        lambda a: a["conv1.table"].__setitem__(..., 1 << 20),
        "node 'conv1', array 'table': must hold values of 0..",
    ),
    "map missing": (lambda a: a.pop("map5.map"), "node 'map5', array 'map': is missing"),
    "map short": (
        lambda a: a.update({"map5.map": a["map5.map"][:-1]}),
        "node 'map5', array 'map': must have ",
    ),
    "map value": (
        lambda a: a["map5.map"].__setitem__(0, 1 << 17),
        "node 'map5', array 'map': must hold values of ",
    ),
    "map of reals": (
        lambda a: a.update({"map5.map": a["map5.map"] / 2}),
        "node 'map5', array 'map': must hold integers, not float64",
    ),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_bad_array(file, case):
    change, text = ARRAYS[case]

    def apply(manifest, arrays):
        change(arrays)

    rewrite(file, apply)
    assert message(file).startswith(text)


def test_order_of_pixels_may_be_absent(file):
    before = load(file)

    def apply(manifest, arrays):
        assert manifest["nodes"][1].pop("order") == "hwc"

    rewrite(file, apply)
    assert load(file) == before


def test_images_are_needed():
    net = ConvNet(np.random.default_rng(0), shape=(4, 4, 1))
    name = net.put(Flatten(name="flat", inputs=("input",)))
    for grow in (net.conv, net.max_pool, net.avg_pool):
        node_of = ConvNet(np.random.default_rng(0), shape=(4, 4, 1))
        getattr(node_of, grow.__name__)("input")
        node = type(node_of.nodes[0])(**{**vars(node_of.nodes[0]), "inputs": (name,)})
        with pytest.raises(LutgenError) as caught:
            Model("net", (4, 4, 1), net.input, (*net.nodes, node))
        assert str(caught.value) == (
            f"node {node.name!r}, field 'inputs': must name a node with height, width and "
            "channels, not of the shape 16"
        )


def test_one_node_may_join_itself():
    wire = Activation(8, True, 1.0)
    twice = Add(name="a", inputs=("input", "input"), left_shifts=(0, 1), shift=0, output=wire)
    model = Model("net", (3,), wire, (twice,))
    assert model.run(np.array([[1, -2, 60]]))["a"].tolist() == [[3, -6, 127]]
