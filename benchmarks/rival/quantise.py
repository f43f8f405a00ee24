"""A float perceptron in 8 bits, and its golden inference: the law for the gateware."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.numeric import Format, Int64Array, requantise, round_half_up
from lutgen.train import FloatNet
from lutgen.train.floatnet import Flatten, Linear, ReLU

__all__ = ["ACTIVATION", "Layer", "Network", "quantise"]

ACTIVATION = Format(8, False)
WEIGHT = Format(8, True)
BIAS = Format(32, True)

# Parts of the greatest weight that the scale of a layer may reach to.
REACHES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)


@dataclass(frozen=True, eq=False)
class Layer:
    """Products with an integer matrix.

    Parameters
    ----------
    weight : int array ``[K, n]``
        From -128 to 127.
    bias : int array ``[n]``
        32 bits, in units of the products.
    shift : int or None
        Of the requantisation to unsigned 8 bits, which is the ReLU too; None where the sums are
        the result.
    """

    weight: Int64Array
    bias: Int64Array
    shift: int | None

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[1:]:
            raise ValueError("Layer must have weights [K, n] and biases [n]")
        for array, fmt, what in ((self.weight, WEIGHT, "Weights"), (self.bias, BIAS, "Biases")):
            if not fmt.holds(int(array.min()), int(array.max())):
                raise ValueError(f"{what} must be {fmt}")

    def sums(self, x: NDArray[Any]) -> Int64Array:
        """Exact sums of products and the bias ``[sample, n]``."""
        # Exact in float64: sums stay far below 2^53.
        products = np.asarray(x, np.float64) @ self.weight.astype(np.float64)
        return products.astype(np.int64) + self.bias

    def compute(self, x: NDArray[Any]) -> Int64Array:
        """Activations, or the sums of the last layer."""
        sums = self.sums(x)
        return sums if self.shift is None else requantise(sums, self.shift, ACTIVATION)


@dataclass(frozen=True, eq=False)
class Network:
    """Layers one after the other; the last has no shift, the others have one.

    Parameters
    ----------
    layers : tuple of Layer
    scale : float
        What an integer of the input stands for.
    result_scale : float
        What an integer of the result stands for.
    """

    layers: tuple[Layer, ...]
    scale: float = 1.0
    result_scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.layers or any((k.shift is None) != (k is self.layers[-1]) for k in self.layers):
            raise ValueError("Layers must have a shift, all but the last")
        for before, after in zip(self.layers, self.layers[1:], strict=False):
            if before.weight.shape[1] != after.weight.shape[0]:
                raise ValueError("Layers must read what the layers before them give")

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Inputs, outputs of the hidden layers, outputs."""
        return (self.layers[0].weight.shape[0], *(k.weight.shape[1] for k in self.layers))

    def outputs(self, q: ArrayLike) -> Int64Array:
        """Sums of the last layer ``[sample, n]`` for input integers ``[sample, K]``, 0 to 255."""
        x = np.asarray(q).reshape(len(np.asarray(q)), -1)
        for layer in self.layers:
            x = layer.compute(x)
        return np.asarray(x, np.int64)

    def classes(self, q: ArrayLike) -> NDArray[np.int64]:
        """The greatest output of each sample, ties to the lowest."""
        return np.asarray(self.outputs(q).argmax(axis=1), np.int64)


def quantise(net: FloatNet, calibration: NDArray[Any], *, unit: float = 1.0) -> Network:
    """Eight bits for every weight and activation; a scale per layer, none left at run time.

    The scale of activations is free, so that it is taken to be the products' times a power of two:
    a shift is then all of the requantisation. How far the weights' scale reaches, and the shift,
    are what gives the least squared error of the layer's activations on the calibration samples.

    Parameters
    ----------
    net : FloatNet
        A perceptron: `Linear` layers with `ReLU` between them.
    calibration : array ``[sample, ...]``
        Training samples, integers from 0 to 255.
    unit : float
        What the float network was trained on is samples times this.

    Raises
    ------
    ValueError
        If the network is no perceptron.
    """
    x = np.asarray(calibration).reshape(len(calibration), -1).astype(np.int64)
    if not ACTIVATION.holds(int(x.min()), int(x.max())):
        raise ValueError(f"Samples must be integers in {ACTIVATION}")
    linears = _linears(net)
    real, scale = x * unit, unit
    layers = []
    for number, linear in enumerate(linears):
        weight = linear.weight[0].astype(np.float64)
        bias = linear.bias.astype(np.float64)
        real = real @ weight + bias
        final = number == len(linears) - 1
        if not final:
            real = np.maximum(real, 0)
        _, layer, scale = min(
            (_try(weight, bias, x, real, scale, reach, final) for reach in REACHES),
            key=lambda choice: choice[0],
        )
        layers.append(layer)
        x = layer.compute(x)
    return Network(tuple(layers), unit, scale)


def _linears(net: FloatNet) -> Sequence[Linear]:
    layers = [k for k in net.layers if not isinstance(k, Flatten)]
    linears = [k for k in layers[::2] if isinstance(k, Linear)]
    between = [k for k in layers[1::2] if isinstance(k, ReLU)]
    if len(linears) + len(between) != len(layers) or len(linears) != len(between) + 1:
        raise ValueError("Network must be Linear layers with ReLU between them")
    return linears


def _try(
    weight: NDArray[np.float64],
    bias: NDArray[np.float64],
    x: Int64Array,
    real: NDArray[np.float64],
    scale: float,
    reach: float,
    final: bool,
) -> tuple[float, Layer, float]:
    """Squared error, layer and scale of its result at one reach, for the best of its shifts."""
    step = reach * float(np.abs(weight).max()) / WEIGHT.high or 1.0
    codes = np.clip(round_half_up(weight / step), -WEIGHT.high, WEIGHT.high).astype(np.int64)
    unit = scale * step
    offset = round_half_up(bias / unit).astype(np.int64)
    exact = Layer(codes, offset, None)
    sums = exact.sums(x)
    if final:
        return float(np.mean((sums * unit - real) ** 2)), exact, unit
    most = max(0, int(sums.max()).bit_length() - ACTIVATION.bits)
    choices = []
    for shift in range(max(0, most - 2), most + 1):
        given = requantise(sums, shift, ACTIVATION) * (unit * 2.0**shift)
        choices.append((float(np.mean((given - real) ** 2)), shift))
    error, shift = min(choices)
    return error, Layer(codes, offset, shift), unit * 2.0**shift
