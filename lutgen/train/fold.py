"""Batch norms become part of the weights beside them."""

import copy
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lutgen.train.floatnet import (
    AvgPool2d,
    BatchNorm,
    Clip,
    Conv2d,
    Flatten,
    FloatLayer,
    FloatNet,
    Linear,
    MaxPool2d,
    Weighted,
)

__all__ = ["fold_batch_norm"]

Float64Array = NDArray[np.float64]


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # see magnitude.check_values
def fold_batch_norm(net: FloatNet) -> FloatNet:
    """A network with the same results and without batch norms.

    A batch norm goes into the `Linear` or `Conv2d` that it alone reads, an average pool between
    them or not; or else into the ones that read it, through average pools and `Flatten` or not,
    where no zeros are padded between. Layers that only pass on disappear too: a `Flatten` of a
    vector, a pool of one pixel, a `Clip` without bounds.

    Parameters
    ----------
    net : FloatNet
        Stays as it is; the result shares no array with it.

    Raises
    ------
    ValueError
        Where a batch norm can't be folded; the text names it and says why.
    """
    while spare := next((x for x in net.layers if _passes(net, x)), None):
        net = _without(net, spare, net.layers)
    while any(isinstance(x, BatchNorm) for x in net.layers):
        net = _fold_one(net)
    return _without(net, None, net.layers)


def _passes(net: FloatNet, layer: FloatLayer) -> bool:
    if layer is net.layers[-1] and layer.inputs == ("input",):
        return False
    if isinstance(layer, Flatten):
        return len(net.shapes[layer.inputs[0]]) == 1
    if isinstance(layer, MaxPool2d | AvgPool2d):
        return layer.window.kernel == (1, 1) == layer.window.stride
    return isinstance(layer, Clip) and layer.low == -np.inf and layer.high == np.inf


def _without(net: FloatNet, spare: FloatLayer | None, layers: Sequence[FloatLayer]) -> FloatNet:
    """The network of those layers, copied, less one; what read that reads its source."""
    result = []
    for layer in layers:
        if layer is spare:
            continue
        layer = copy.deepcopy(layer)
        if spare is not None:
            layer.inputs = tuple(spare.inputs[0] if n == spare.name else n for n in layer.inputs)
        result.append(layer)
    return FloatNet(net.shape, result)


def _fold_one(net: FloatNet) -> FloatNet:
    """One batch norm less."""
    reasons = {}
    for norm in net.layers:
        if not isinstance(norm, BatchNorm):
            continue
        factor, offset = _affine(norm)
        changed: dict[str, Weighted] = {}
        before, behind = _before(net, norm), _behind(net, norm, bool(offset.any()))
        if isinstance(before, Weighted):
            changed[before.name] = _scaled(before, factor, offset)
        elif isinstance(behind, list):
            changed = {x.name: _moved(net, x, factor, offset) for x in behind}
        else:
            reasons[norm.name] = f"{before}, and {behind}"
            continue
        return _without(net, norm, [changed.get(x.name, x) for x in net.layers])
    name, text = next(iter(reasons.items()))
    raise ValueError(
        f"Layer {name!r} is a batch norm that can't be folded: {text}; "
        "put it right behind a Linear or Conv2d that nothing else reads"
    )


def _affine(norm: BatchNorm) -> tuple[Float64Array, Float64Array]:
    factor = norm.gain.astype(np.float64) / np.sqrt(norm.variance.astype(np.float64) + norm.epsilon)
    return factor, norm.offset - norm.mean * factor


def _before(net: FloatNet, norm: BatchNorm) -> Weighted | str:
    """The layer that the norm scales the outputs of; or why there is none."""
    layers = {x.name: x for x in net.layers}
    source = norm.inputs[0]
    while True:
        if source == "input":
            return "it reads the input"
        layer = layers[source]
        if len(net.users[source]) > 1:
            return f"{source!r} before it has other readers"
        if isinstance(layer, Weighted):
            return layer
        if not isinstance(layer, AvgPool2d):
            return f"{source!r} before it is no Linear or Conv2d"
        source = layer.inputs[0]


def _behind(net: FloatNet, layer: FloatLayer, moves: bool) -> list[Weighted] | str:
    """The layers that the norm scales the inputs of; or why there are none.

    ``moves`` says that zeros are not zeros before the norm.
    """
    layers = {x.name: x for x in net.layers}
    if layer is net.layers[-1]:
        return "it is the last" if isinstance(layer, BatchNorm) else f"{layer.name!r} is the last"
    found: list[Weighted] = []
    for name in net.users[layer.name]:
        user = layers[name]
        if isinstance(user, Conv2d) and any(user.window.pad) and moves:
            return f"{name!r} behind it pads with zeros"
        if isinstance(user, Weighted):
            found.append(user)
        elif isinstance(user, AvgPool2d | Flatten):
            more = _behind(net, user, moves)
            if isinstance(more, str):
                return more
            found += more
        else:
            return f"{name!r} behind it is no Linear or Conv2d"
    return found


def _scaled(layer: Weighted, factor: Float64Array, offset: Float64Array) -> Weighted:
    """The layer with its outputs scaled and shifted."""
    layer = copy.deepcopy(layer)
    layer.weight = (layer.weight * factor).astype(np.float32)
    layer.bias = (layer.bias * factor + offset).astype(np.float32)
    return layer


def _moved(net: FloatNet, layer: Weighted, factor: Float64Array, offset: Float64Array) -> Weighted:
    """The layer with its inputs scaled and shifted; an image that was flattened repeats both."""
    layer = copy.deepcopy(layer)
    if isinstance(layer, Linear):
        repeats = layer.weight.shape[1] // len(factor)
        factor, offset = np.tile(factor, repeats), np.tile(offset, repeats)
    weight = layer.weight.astype(np.float64)
    layer.bias = (layer.bias + np.einsum("tkn,k->n", weight, offset)).astype(np.float32)
    layer.weight = (weight * factor[:, None]).astype(np.float32)
    return layer
