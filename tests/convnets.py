"""Random convolutional models, small, with every operation, odd sizes, strides, and joins."""

import numpy as np
import simulation as sim

from lutgen.model import Add, Argmax, AvgPool2d, Flatten, LutConv2d, Map, MaxPool2d, Model
from lutgen.model.plan import Fold
from lutgen.numeric import Grid


class Grower:
    """Nodes one after another; ``at`` names the last one."""

    def __init__(self, rng, shape, wire):
        self.rng, self.nodes, self.at = rng, [], "input"
        self.shape, self.wire = shape, wire
        self.model_shape, self.input = shape, wire

    def put(self, node, shape, wire):
        self.nodes.append(node)
        self.at, self.shape, self.wire = node.name, shape, wire

    def name(self, what):
        return f"{what}{len(self.nodes)}"

    def conv(self, *, outputs=None, stride=None, same=False, source=None):
        rng = self.rng
        if source is not None:
            self.at, self.shape, self.wire = source
        height, width, channels = self.shape
        kernel = [int(rng.integers(1, min(3, size) + 1)) for size in (height, width)]
        pad = [int(rng.integers(0, k)) for k in (*kernel, *kernel)]
        strides = stride or [int(rng.integers(1, 3)), int(rng.integers(1, 3))]
        if same:
            strides = [1, 1]
            pad = [(k - 1) // 2 for k in kernel] + [k // 2 for k in kernel]
        encode = str(rng.choice(["window", "pixel"]))
        order = "chw" if encode == "window" and rng.random() < 0.5 else "hwc"
        area = kernel[0] * kernel[1]
        features = channels * (area if encode == "window" else 1)
        outputs = outputs or int(rng.integers(1, 7))
        row = sim.random_layer(rng, "x", "input", self.wire, features, outputs, None)
        metric = row.metric
        output = sim.random_activation(rng)
        taps = kernel if encode == "pixel" else []
        codes = rng.integers(0, row.grid.codes, (*taps, *row.table.shape))
        node = LutConv2d(
            name=self.name("conv"),
            inputs=(self.at,),
            in_channels=channels,
            out_channels=outputs,
            kernel=tuple(kernel),
            stride=tuple(strides),
            pad=tuple(pad),
            encode=encode,
            order=order,
            subvec=row.subvec,
            centroids=row.centroids,
            metric=metric,
            grid=row.grid,
            shift=int(rng.integers(0, 8)),
            output=output,
            table=codes,
            bias=row.bias,
            codebooks=row.codebooks,
        )
        top, left, bottom, right = pad
        rows = (height + top + bottom - kernel[0]) // strides[0] + 1
        columns = (width + left + right - kernel[1]) // strides[1] + 1
        self.put(node, (rows, columns, outputs), output)

    def pool(self):
        rng = self.rng
        height, width, channels = self.shape
        kernel = tuple(int(rng.integers(1, min(3, size) + 1)) for size in (height, width))
        if rng.random() < 0.2:
            kernel = (height, width)
        stride = tuple(int(rng.integers(1, 4)) for _ in range(2))
        rows = (height - kernel[0]) // stride[0] + 1
        columns = (width - kernel[1]) // stride[1] + 1
        where = {"inputs": (self.at,), "kernel": kernel, "stride": stride}
        if rng.random() < 0.5:
            node, wire = MaxPool2d(name=self.name("max"), **where), self.wire
        else:
            wire = sim.random_activation(rng)
            numbers = {"multiplier": int(rng.integers(1, 300)), "shift": int(rng.integers(0, 12))}
            node = AvgPool2d(name=self.name("avg"), **where, **numbers, output=wire)
        self.put(node, (rows, columns, channels), wire)

    def map(self):
        rng = self.rng
        output = sim.random_activation(rng)
        if self.wire.bits > 8:
            return
        table = rng.integers(output.format.low, output.format.high + 1, 1 << self.wire.bits)
        node = Map(name=self.name("map"), inputs=(self.at,), map=table, output=output)
        self.put(node, self.shape, output)

    def join(self):
        """Two or three ways from one place to an addition."""
        rng = self.rng
        start = self.at, self.shape, self.wire
        ends = []
        for way in range(int(rng.integers(2, 4))):
            self.at, self.shape, self.wire = start
            for _ in range(way if rng.random() < 0.8 else 1):
                self.conv(same=True, outputs=start[1][2])
            ends.append((self.at, self.wire))
        output = sim.random_activation(rng)
        node = Add(
            name=self.name("add"),
            inputs=tuple(name for name, _ in ends),
            left_shifts=tuple(int(rng.integers(0, 4)) for _ in ends),
            shift=int(rng.integers(0, 6)),
            output=output,
        )
        self.put(node, start[1], output)


def random_model(rng):
    """A convolutional network of two to five steps, some with a linear layer and argmax."""
    wire = sim.random_activation(rng)
    shape = (int(rng.integers(1, 7)), int(rng.integers(1, 7)), int(rng.integers(1, 5)))
    grower = Grower(rng, shape, wire)
    for _ in range(int(rng.integers(1, 5))):
        step = rng.choice(["conv", "conv", "pool", "map", "join"])
        getattr(grower, str(step))()
    if not grower.nodes:
        grower.conv()
    if rng.random() < 0.6:
        if rng.random() < 0.5:
            size = int(np.prod(grower.shape))
            grower.put(Flatten(name="flat", inputs=(grower.at,)), (size,), grower.wire)
        size, outputs = int(np.prod(grower.shape)), int(rng.integers(1, 8))
        node = sim.random_layer(rng, "head", grower.at, grower.wire, size, outputs, None)
        grower.put(node, (outputs,), None)
        if rng.random() < 0.3:
            grower.put(Argmax(name="top", inputs=(grower.at,)), (1,), None)
    return Model("random_net", grower.model_shape, grower.input, tuple(grower.nodes))


def random_folds(rng, model):
    """A wish for every node that takes one."""
    if rng.random() < 0.15:
        return {}

    def pick(high):
        return None if rng.random() < 0.3 else int(rng.integers(1, high))

    return {
        node.name: Fold(
            *(pick(6), pick(4), pick(4), pick(4), pick(5)),
            slide=int(rng.random() < 0.5) if rng.random() < 0.6 else None,
        )
        for node in model.nodes
        if not isinstance(node, Flatten | Argmax)
    }


def everything():
    """A model with every operation and encoding, and folds that give every kind of stage."""
    rng = np.random.default_rng(12)
    grower = Grower(rng, (4, 3, 2), sim.Activation(4, False, 1.0))
    small = {"metric": "l1", "subvec": 2, "centroids": 4}
    start = None
    for name, encode, order in [
        ("pixels", "pixel", "hwc"),
        ("windows", "window", "chw"),
        ("slid", "window", "hwc"),
        ("slid_pixels", "pixel", "hwc"),
    ]:
        features = grower.shape[2] * (9 if encode == "window" else 1)
        row = sim.random_layer(rng, "x", "input", grower.wire, features, 2, None, **small)
        taps = [3, 3] if encode == "pixel" else []
        output = sim.Activation(4, False, 1.0)
        node = LutConv2d(
            name=name,
            inputs=(grower.at,),
            in_channels=grower.shape[2],
            out_channels=2,
            kernel=(3, 3),
            stride=(1, 1),
            pad=(1, 1, 1, 1),
            encode=encode,
            order=order,
            subvec=2,
            centroids=4,
            metric="l1",
            grid=Grid("int", 4),
            shift=2,
            output=output,
            table=rng.integers(0, 16, (*taps, *row.table.shape)),
            bias=rng.integers(-20, 20, 2),
            codebooks=row.codebooks,
        )
        grower.put(node, (4, 3, 2), output)
        start = start or grower.at
    output = sim.Activation(5, True, 1.0)
    join = Add(name="join", inputs=(start, grower.at), left_shifts=(0, 1), shift=2, output=output)
    grower.put(join, (4, 3, 2), output)
    mapped = Map(name="mapped", inputs=("join",), map=rng.integers(-16, 16, 32), output=output)
    grower.put(mapped, (4, 3, 2), output)
    grower.put(
        MaxPool2d(name="most", inputs=("mapped",), kernel=(2, 2), stride=(1, 1)), (3, 2, 2), output
    )
    mean = AvgPool2d(
        name="mean",
        inputs=("most",),
        kernel=(2, 2),
        stride=(2, 2),
        multiplier=5,
        shift=4,
        output=output,
    )
    grower.put(mean, (1, 1, 2), output)
    grower.put(sim.random_layer(rng, "head", "mean", output, 2, 3, None, **small), (3,), None)
    grower.put(Argmax(name="top", inputs=("head",)), (1,), None)
    folds = {
        "pixels": {"lanes": 2},
        "windows": {"lanes": 1, "window_channels": 2},
        "slid": {"slide": 1, "fan_in": 3},
        "slid_pixels": {"slide": 1, "fan_in": 4, "lanes": 1},
        "join": {"lanes": 2},
    }
    return Model("everything", grower.model_shape, grower.input, tuple(grower.nodes)), folds
