"""Samples as the integers that a model reads, and whether they go with a network."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.model import Activation
from lutgen.model.samples import alike, mend, shape_text, take_samples
from lutgen.numeric import format_for
from lutgen.train.augment import Augment
from lutgen.train.data import Dataset
from lutgen.train.floatnet import FloatNet, Weighted

__all__ = [
    "check_augment",
    "check_fit",
    "check_layout",
    "count_clamped",
    "input_activation",
    "quantise_samples",
]


NOISE = 10.0  # times the greatest input; nothing is left of samples long before
CHANNELS = 4  # of images; a first axis that is no longer, before two that are, holds them


def input_activation(x: NDArray[Any], bits: int) -> Activation:
    """The format that holds samples, and its scale.

    Integers that fit ``bits`` are their own codes: scale 1 and the narrowest format, of 2 bits at
    least. Other samples get all the bits, and the scale that just holds their range. Signed only if
    a sample is negative.
    """
    low, high = float(x.min()), float(x.max())
    whole = x.dtype.kind in "bui" or bool(np.all(np.floor(x) == x))
    if whole and max(-low, high) < 2.0**bits:
        fmt = format_for(int(min(low, 0)), int(max(high, 0)))
        if fmt.bits <= bits:
            return Activation(max(2, fmt.bits), fmt.signed, 1.0)
    signed = low < 0
    top = (1 << (bits - signed)) - 1
    scale = max(high / top, -low / (top + 1) if signed else 0.0)
    return Activation(bits, signed, scale)


def count_clamped(x: NDArray[Any], source: Activation) -> int:
    """How many values of samples lie outside an input's format."""
    parts = (x[start : start + 4096] for start in range(0, len(x), 4096))
    return sum(take_samples(part, part.shape[1:], source).clamped for part in parts)


def quantise_samples(x: NDArray[Any], source: Activation) -> NDArray[Any]:
    """Input integers, as narrow as they are; in blocks, as quantising goes through float64."""
    result = np.empty(x.shape, dtype=np.int32 if source.bits > 8 or source.signed else np.uint8)
    for start in range(0, len(x), 4096):
        part = x[start : start + 4096]
        result[start : start + 4096] = take_samples(part, part.shape[1:], source).q
    return result


def check_layout(data: Dataset) -> None:
    """Complains of images whose channels come first: a network made for them would take channels
    for rows.
    """
    shape = data.shape
    if len(shape) == 3 and shape[0] <= CHANNELS < min(shape[1:]):
        raise ValueError(
            f"Samples must be n x H x W x C, but x_train is n x {shape_text(shape)}, which looks "
            "like channels first; put them last with x_train.transpose(0, 2, 3, 1), or give "
            f"x_train.reshape(len(x_train), -1) if images have {shape[0]} rows in fact"
        )


def check_fit(net: FloatNet, data: Dataset) -> None:
    """Complains of data that do not go with a network."""
    shape = data.shape
    if not alike(shape, net.shape):
        cure = mend((len(data.x_train), *shape), net.shape)
        raise ValueError(
            f"Network must read samples of the shape {shape_text(shape)}, as x_train holds, not "
            f"{shape_text(net.shape)} (rows, columns, channels); "
            f"{cure or 'give samples as the network reads them'}"
        )
    outputs = math.prod(net.shapes[net.layers[-1].name])
    if outputs < data.classes:
        odd = ", ".join(
            f"{name}[{int(np.argmax(y >= outputs))}]"
            for name, y in (("y_train", data.y_train), ("y_test", data.y_test))
            if (y >= outputs).any()
        )
        raise ValueError(
            f"Network must have an output for each of the {data.classes} classes that labels "
            f"tell apart, not {outputs}; the first sample with a greater label is "
            f"{odd}"
        )
    if not any(isinstance(layer, Weighted) for layer in net.layers):
        raise ValueError("Network must have a linear layer or a convolution, it has none")
    for layer in net.layers:
        arrays = [value for value in vars(layer).values() if isinstance(value, np.ndarray)]
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError(
                f"Network must have numbers for weights, layer {layer.name!r} holds NaN or infinity"
            )


def check_augment(augment: Augment, net: FloatNet) -> None:
    """Complains of a change that samples of a network can't go through."""
    if (augment.flip or augment.shift) and len(net.shape) != 3:
        raise ValueError(
            "Augmentation by flip or shift must have images, but the network reads vectors"
        )
    if not 0 <= augment.noise <= NOISE:
        raise ValueError(
            f"Augmentation must have noise from 0 to {NOISE:g} times the greatest input, not "
            f"{augment.noise}"
        )
    if augment.shift and augment.shift >= min(net.shape[:2]):
        raise ValueError(
            f"Augmentation must shift by less than the {min(net.shape[:2])} pixels of a side, "
            f"not {augment.shift}"
        )
