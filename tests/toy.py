"""Things to test with: a core by hand, for the bench and the simulation flow without the generator;
random convolutional networks.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.model import (
    Activation,
    Add,
    Argmax,
    AvgPool2d,
    Flatten,
    LutConv2d,
    LutLinear,
    Map,
    MaxPool2d,
    Model,
    Node,
    Wire,
)
from lutgen.numeric import Grid, ceil_div
from lutgen.spec.encoder import DigitSpec

TEXT = (Path(__file__).parent / "toy_core.v").read_text(encoding="utf-8")


def contract(name: str = "toy_core", *, loadable: bool = False) -> dict[str, Any]:
    """The fields of docs/core-contract.md that the bench reads."""
    ports: list[tuple[str, str, int]] = [("clk", "input", 1), ("rst", "input", 1)]
    for bus, width, master in (("s_axis", 16, False), ("m_axis", 32, True), ("l_axis", 32, False)):
        there, back = ("output", "input") if master else ("input", "output")
        ports += [
            (f"{bus}_tdata", there, width),
            (f"{bus}_tvalid", there, 1),
            (f"{bus}_tready", back, 1),
            (f"{bus}_tlast", there, 1),
        ]
    ports += [(flag, "output", 1) for flag in ("frame_error", "loaded", "load_error")]
    return {
        "format": "lutgen-core",
        "version": 1,
        "name": name,
        "clock": "clk",
        "reset": "rst",
        "ports": [{"name": n, "direction": d, "width": w} for n, d, w in ports],
        "input": {
            "elements": 5,
            "bits": 8,
            "signed": False,
            "lanes": 2,
            "lane_bits": 8,
            "beats": 3,
        },
        "output": {
            "elements": 3,
            "bits": 13,
            "signed": True,
            "lanes": 2,
            "lane_bits": 16,
            "beats": 2,
        },
        "load": {"port": "l_axis", "word_bits": 32, "words": 2} if loadable else None,
        "latency": 4,
        "interval": 5,
        "stages": [{}],
    }


def variant(name: str, *, bug: int = 0, loadable: bool = False) -> tuple[str, dict[str, Any]]:
    """Text and contract of the core under another name, with one of its bugs."""
    text = TEXT.replace("module toy_core", f"module {name}").replace("BUG = 0", f"BUG = {bug}")
    text = text.replace("LOADABLE = 0", f"LOADABLE = {int(loadable)}")
    return text, contract(name, loadable=loadable)


def vectors(
    samples: int, *, seed: int = 0, offset: int = 100
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random inputs and what the core without a bug answers."""
    x = np.random.default_rng(seed).integers(0, 256, (samples, 5))
    return x, x.sum(axis=1)[:, None] * np.arange(1, 4) - offset


def spoil(verilog: str) -> str:
    """A core's text with all bits flipped in every row of the last memory that has several, a
    table; requantised outputs hide smaller changes.
    """
    at = verilog.rindex("\nmodule ", 0, verilog.rindex("rows[1] = "))

    def flip(row: re.Match[str]) -> str:
        return f"{row[1]}{row[2]}'h{int(row[3], 16) ^ ((1 << int(row[2])) - 1):x};"

    return verilog[:at] + re.sub(r"(rows\[\d+\] = )(\d+)'h([0-9a-f]+);", flip, verilog[at:])


METRICS = ("l1", "l2", "chebyshev", "digit")


def random_wire(rng: np.random.Generator) -> Activation:
    """A format of 2 to 8 bits, now and then of up to 16."""
    bits = int(rng.integers(2, 17 if rng.random() < 0.1 else 9))
    return Activation(bits, bool(rng.random() < 0.5), 1.0)


def random_lookup(
    rng: np.random.Generator,
    wire: Activation,
    row: int,
    outputs: int,
    output: Activation | None,
    *,
    taps: tuple[int, ...] = (),
    metric: str | None = None,
) -> dict[str, Any]:
    """What lookup layers share: on input rows of ``row`` elements, with a table ``[*taps, g, c,
    outputs]``.
    """
    metric = metric or str(rng.choice(METRICS))
    books = None
    if metric == "digit":
        v, c = 1, 2 ** int(rng.integers(1, 5))
        g = row * DigitSpec(wire.format, c).digits
    else:
        v, c = int(rng.integers(1, min(row, 5) + 1)), int(rng.integers(2, 9))
        g = ceil_div(row, v)
        fmt = wire.format
        books = rng.integers(fmt.low, fmt.high + 1, (g, c, v))
        if rng.random() < 0.3:  # close centroids make ties
            books = np.clip(books, 0, 1)
        books[-1, :, v - (g * v - row) :] = 0
    bits = int(rng.integers(2, 17 if metric == "digit" else 9))
    grid = Grid("int", bits)
    if rng.random() < 0.2 and bits <= 8:
        values = rng.integers(-(1 << 15), 1 << 15, 1 << bits) >> int(rng.integers(0, 13))
        grid = Grid("levels", bits, values.astype(np.int16))
    spread = int(max(-grid.low, grid.high) * (g * np.prod(taps, dtype=int)) ** 0.5)
    shift = 0
    if output is not None:  # mostly a shift that neither saturates nor zeroes everything
        shift = max(0, spread.bit_length() - output.bits + int(rng.integers(0, 3)))
    return {
        "subvec": v,
        "centroids": c,
        "metric": metric,
        "grid": grid,
        "shift": min(shift, 31),
        "output": output,
        "table": rng.integers(0, grid.codes, (*taps, g, c, outputs)),
        "bias": rng.integers(-spread, spread + 1, outputs),
        "codebooks": books,
    }


class ConvNet:
    """A random network that grows node by node.

    Parameters
    ----------
    rng : np.random.Generator
    shape : triple of int or None
        Of the input; by default a small image.
    metric, encode : str or None
        Of all lookup layers and convolutions; by default each has its own.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        shape: tuple[int, int, int] | None = None,
        metric: str | None = None,
        encode: str | None = None,
    ):
        self.rng, self.metric, self.encode = rng, metric, encode
        image = (*(int(n) for n in rng.integers(2, 8, 2)), int(rng.integers(1, 4)))
        self.input = random_wire(rng)
        self.wires = {"input": Wire(shape or image, self.input)}
        self.nodes: list[Node] = []

    def put(self, node: Node) -> str:
        """Appends a node; gives its name."""
        self.nodes.append(node)
        self.wires[node.name] = node.infer([self.wires[name] for name in node.inputs])
        return node.name

    def _new(self, op: str) -> str:
        return f"{op}{len(self.nodes)}"

    def _pair(self, low: int, *high: int) -> tuple[int, ...]:
        return tuple(int(self.rng.integers(low, h + 1)) for h in high)

    def conv(self, source: str, *, same: bool = False, channels: int | None = None) -> str:
        """A convolution, with ``same`` one that keeps height and width."""
        rng, wire = self.rng, self.wires[source]
        height, width, cin = wire.shape
        kernel = self._pair(1, 3, 3)
        kh, kw = kernel
        if same:
            top, left = self._pair(0, kh - 1, kw - 1)
            pad = (top, left, kh - 1 - top, kw - 1 - left)
        else:
            pad = self._pair(0, kh - 1, kw - 1, kh - 1, kw - 1)
            pad = (max(pad[0], kh - height), max(pad[1], kw - width), *pad[2:])
        encode = self.encode or str(rng.choice(["window", "pixel"]))
        pixel = encode == "pixel"
        outputs = channels or int(rng.integers(1, 5))
        assert wire.activation is not None
        return self.put(
            LutConv2d(
                name=self._new("conv"),
                inputs=(source,),
                in_channels=cin,
                out_channels=outputs,
                kernel=kernel,
                stride=(1, 1) if same else self._pair(1, 3, 3),
                pad=pad,
                encode=encode,
                order="hwc" if pixel else str(rng.choice(["hwc", "chw"])),
                **random_lookup(
                    rng,
                    wire.activation,
                    cin if pixel else cin * kh * kw,
                    outputs,
                    random_wire(rng),
                    taps=kernel if pixel else (),
                    metric=self.metric,
                ),
            )
        )

    def max_pool(self, source: str) -> str:
        """A maximum over windows that overlap, touch or leave gaps."""
        height, width, _ = self.wires[source].shape
        kernel, stride = self._pair(1, min(3, height), min(3, width)), self._pair(1, 3, 3)
        name = self._new("max")
        return self.put(MaxPool2d(name=name, inputs=(source,), kernel=kernel, stride=stride))

    def avg_pool(self, source: str) -> str:
        """About the average of windows."""
        height, width, _ = self.wires[source].shape
        kernel = self._pair(1, min(3, height), min(3, width))
        shift = int(self.rng.integers(0, 12))
        area = kernel[0] * kernel[1]
        return self.put(
            AvgPool2d(
                name=self._new("avg"),
                inputs=(source,),
                kernel=kernel,
                stride=self._pair(1, 3, 3),
                multiplier=max(1, round((1 << shift) / area)),
                shift=shift,
                output=random_wire(self.rng),
            )
        )

    def add(self, *sources: str) -> str:
        """A join."""
        return self.put(
            Add(
                name=self._new("add"),
                inputs=sources,
                left_shifts=tuple(int(n) for n in self.rng.integers(0, 4, len(sources))),
                shift=int(self.rng.integers(0, 5)),
                output=random_wire(self.rng),
            )
        )

    def map(self, source: str) -> str:
        """A random function."""
        wire = self.wires[source].activation
        assert wire is not None
        output = random_wire(self.rng)
        fmt = output.format
        table = self.rng.integers(fmt.low, fmt.high + 1, 1 << wire.bits)
        return self.put(Map(name=self._new("map"), inputs=(source,), output=output, map=table))

    def residual(self, source: str) -> str:
        """Two or three branches from one node into a join: convolutions, and at times the node."""
        channels = self.wires[source].shape[2]
        branches = [self.conv(source, same=True, channels=channels)]
        if self.rng.random() < 0.5:
            branches.append(self.conv(self.map(branches[0]), same=True, channels=channels))
        if self.rng.random() < 0.3:
            branches.append(self.conv(source, same=True, channels=channels))
        if len(branches) == 1 or self.rng.random() < 0.5:
            branches.insert(int(self.rng.integers(0, len(branches) + 1)), source)
        return self.add(*branches)

    def linear(self, source: str, outputs: int) -> str:
        """A layer whose accumulators are the result."""
        wire = self.wires[source]
        assert wire.activation is not None
        return self.put(
            LutLinear(
                name=self._new("fc"),
                inputs=(source,),
                in_features=wire.size,
                out_features=outputs,
                **random_lookup(
                    self.rng, wire.activation, wire.size, outputs, None, metric=self.metric
                ),
            )
        )

    def model(self, name: str = "conv_net") -> Model:
        """The network so far."""
        return Model(name, self.wires["input"].shape, self.input, tuple(self.nodes))


def random_conv_model(
    rng: np.random.Generator,
    *,
    blocks: int | None = None,
    metric: str | None = None,
    encode: str | None = None,
) -> Model:
    """A small network of all operations: blocks in any order, then a classifier or none."""
    net = ConvNet(rng, metric=metric, encode=encode)
    source = net.conv("input")
    for _ in range(int(rng.integers(0, 4)) if blocks is None else blocks):
        grow = rng.choice([net.conv, net.max_pool, net.avg_pool, net.map, net.residual])
        source = grow(source)
    if rng.random() < 0.7:
        if rng.random() < 0.5:
            source = net.put(Flatten(name="flat", inputs=(source,)))
        source = net.linear(source, int(rng.integers(2, 6)))
    if rng.random() < 0.5:
        net.put(Argmax(name="top", inputs=(source,)))
    return net.model()
