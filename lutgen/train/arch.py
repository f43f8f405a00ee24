"""Float networks by name: perceptrons, LeNet-5, ResNet-8.

A network of your own is a list of layers, each with its name and the names it reads::

    rng = np.random.default_rng(0)
    net = FloatNet(
        (28, 28, 1),
        [
            Conv2d("conv1", ["input"], he(rng, (3, 3, 1, 8)), pad=(1, 1, 1, 1)),
            ReLU("relu1", ["conv1"]),
            MaxPool2d("pool1", ["relu1"], (2, 2), (2, 2)),
            Flatten("flatten", ["pool1"]),
            Linear("fc1", ["flatten"], he(rng, (14 * 14 * 8, 10))),
        ],
    )
"""

import itertools
from collections.abc import Sequence
from math import prod

import numpy as np

from lutgen.train.floatnet import (
    Add,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Flatten,
    FloatLayer,
    FloatNet,
    Linear,
    MaxPool2d,
    ReLU,
)
from lutgen.train.optim import Float32Array

__all__ = ["ARCHES", "build", "he", "same"]

ARCHES = ("lenet5", "resnet8")


def build(
    arch: str | Sequence[int], shape: tuple[int, ...], classes: int, rng: np.random.Generator
) -> FloatNet:
    """An untrained network: He's weights, biases 0, batch norms that change nothing.

    Parameters
    ----------
    arch : str or sequence of int
        One of `ARCHES`; or the sizes of a perceptron's hidden layers, which may be none.
    shape : tuple of int
        Of one sample: ``(H, W, C)`` or ``(K,)``.
    classes : int
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        If there is no such architecture, or samples of that shape do not fit it.
    """
    if classes < 2:
        raise ValueError(f"A network must have 2 classes or more, not {classes}")
    if not isinstance(arch, str):
        return _perceptron(tuple(arch), shape, classes, rng)
    if arch not in ARCHES:
        raise ValueError(
            f"Architecture must be {', '.join(ARCHES)} or sizes of hidden layers, not {arch!r}"
        )
    if len(shape) != 3:
        raise ValueError(f"{arch} reads images (H, W, C), not vectors of {prod(shape)}")
    return (_lenet5 if arch == "lenet5" else _resnet8)(shape, classes, rng)


def he(rng: np.random.Generator, shape: tuple[int, ...]) -> Float32Array:
    """He's initialisation: variance ``2 / inputs``, where all axes but the last are inputs."""
    result: Float32Array = rng.standard_normal(shape) * np.sqrt(2.0 / prod(shape[:-1]))
    return result.astype(np.float32)


def same(
    size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], *, lower: bool = False
) -> tuple[int, int, int, int]:
    """The pad with which an output has ``ceil(size / stride)`` pixels, as TensorFlow lays it.

    Parameters
    ----------
    lower : bool
        Puts an odd zero at the top and left, not at the bottom and right.
    """
    total = [
        max(0, (-(-n // s) - 1) * s + k - n) for n, k, s in zip(size, kernel, stride, strict=True)
    ]
    first = [-(-t // 2) if lower else t // 2 for t in total]
    return first[0], first[1], total[0] - first[0], total[1] - first[1]


def _perceptron(
    hidden: tuple[int, ...], shape: tuple[int, ...], classes: int, rng: np.random.Generator
) -> FloatNet:
    for size in hidden:
        if size < 1:
            raise ValueError(f"A hidden layer must have 1 output or more, not {size}")
    layers: list[FloatLayer] = []
    before = "input"
    if len(shape) == 3:
        layers.append(Flatten("flatten", [before]))
        before = "flatten"
    sizes = (prod(shape), *hidden, classes)
    for number, pair in enumerate(itertools.pairwise(sizes), 1):
        if number > 1:
            layers.append(ReLU(f"relu{number - 1}", [before]))
            before = layers[-1].name
        layers.append(Linear(f"fc{number}", [before], he(rng, pair)))
        before = layers[-1].name
    return FloatNet(shape, layers)


def _lenet5(shape: tuple[int, ...], classes: int, rng: np.random.Generator) -> FloatNet:
    """The first convolution pads, so that images of 28x28 give the 400 features of the original,
    whose images were 32x32.
    """
    height, width, channels = shape
    if min(height, width) < 12:
        raise ValueError(f"lenet5 needs images of 12x12 or more, not {height}x{width}")
    features = (height // 2 - 4) // 2 * ((width // 2 - 4) // 2) * 16
    return FloatNet(
        shape,
        [
            Conv2d("conv1", ["input"], he(rng, (5, 5, channels, 6)), pad=(2, 2, 2, 2)),
            ReLU("relu1", ["conv1"]),
            MaxPool2d("pool1", ["relu1"], (2, 2), (2, 2)),
            Conv2d("conv2", ["pool1"], he(rng, (5, 5, 6, 16))),
            ReLU("relu2", ["conv2"]),
            MaxPool2d("pool2", ["relu2"], (2, 2), (2, 2)),
            Flatten("flatten", ["pool2"]),
            Linear("fc1", ["flatten"], he(rng, (features, 120))),
            ReLU("relu3", ["fc1"]),
            Linear("fc2", ["relu3"], he(rng, (120, 84))),
            ReLU("relu4", ["fc2"]),
            Linear("fc3", ["relu4"], he(rng, (84, classes))),
        ],
    )


def _resnet8(shape: tuple[int, ...], classes: int, rng: np.random.Generator) -> FloatNet:
    """The network of MLPerf Tiny's image classification."""
    layers: list[FloatLayer] = []
    channels = {"input": shape[2]}
    size = (shape[0], shape[1])

    def put(layer: FloatLayer, outputs: int | None = None) -> str:
        layers.append(layer)
        channels[layer.name] = outputs or channels[layer.inputs[0]]
        return layer.name

    def conv(name: str, before: str, kernel: int, outputs: int, stride: int = 1) -> str:
        weight = he(rng, (kernel, kernel, channels[before], outputs))
        pad = same(size, (kernel, kernel), (stride, stride))
        return put(Conv2d(name, [before], weight, stride=(stride, stride), pad=pad), outputs)

    def norm(name: str, before: str) -> str:
        one = np.ones(channels[before], np.float32)
        return put(BatchNorm(name, [before], one, 0 * one, 0 * one, one))

    x = put(ReLU("relu1", [norm("bn1", conv("conv1", "input", 3, 16))]))
    for stage, outputs in enumerate((16, 32, 64), 1):
        at, stride = f"s{stage}_", 1 if stage == 1 else 2
        skip = x if stage == 1 else conv(f"{at}skip", x, 1, outputs, stride)
        y = norm(f"{at}bn1", conv(f"{at}conv1", x, 3, outputs, stride))
        y = put(ReLU(f"{at}relu1", [y]))
        size = (-(-size[0] // stride), -(-size[1] // stride))
        y = norm(f"{at}bn2", conv(f"{at}conv2", y, 3, outputs))
        x = put(ReLU(f"{at}relu2", [put(Add(f"{at}add", [skip, y]))]))
    layers += [
        AvgPool2d("pool", [x], size, size),
        Flatten("flatten", ["pool"]),
        Linear("fc", ["flatten"], he(rng, (64, classes))),
    ]
    return FloatNet(shape, layers)
