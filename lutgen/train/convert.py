"""A float network as operations of a lookup network."""

from collections.abc import Mapping
from dataclasses import dataclass

from lutgen.numeric import Format
from lutgen.train import floatnet as fl
from lutgen.train.conv import Dense
from lutgen.train.lookups import Digits, Lookup, Vectors
from lutgen.train.lutnet import (
    Average,
    Flat,
    Join,
    LookupNet,
    LookupOp,
    Maximum,
    Op,
    Pointwise,
    Wire,
)
from lutgen.train.optim import Float32Array

__all__ = ["LayerOptions", "convert"]


@dataclass(frozen=True)
class LayerOptions:
    """How one layer becomes lookups.

    Parameters
    ----------
    subvec, centroids, metric, table_bits
        See `lutgen.train.options.Options`.
    activation_bits : int
        Of its results.
    encode : str
        ``window`` or ``pixel``; of convolutions.
    order : str
        ``hwc`` or ``chw``: how a window's inputs follow each other.
    """

    subvec: int
    centroids: int
    metric: str
    table_bits: int
    activation_bits: int = 8
    encode: str = "pixel"
    order: str = "chw"


def convert(
    net: fl.FloatNet,
    source: Wire,
    options: Mapping[str, LayerOptions],
    *,
    activation_bits: int = 8,
) -> LookupNet:
    """The lookup network of a float network, codebooks and scales still unset.

    Parameters
    ----------
    net : FloatNet
        Without batch norms (`lutgen.train.fold`).
    source : Wire
        Format of the inputs, and the real value of 1 for ``net``.
    options : mapping of layer name to LayerOptions
        For every `Linear` and `Conv2d`.
    activation_bits : int
        Of what other operations give.
    """
    # What only a clamp at 0 reads needs no codes below; a ReLU then has nothing left to do.
    after = {
        layer.inputs[0]: layer
        for layer in net.layers
        if isinstance(layer, fl.Clip) and layer.low >= 0 and len(net.users[layer.inputs[0]]) == 1
    }
    fused = {layer.name for layer in after.values() if isinstance(layer, fl.ReLU)}
    formats: dict[str, Format | None] = {"input": source.format}
    stands: dict[str, str] = {"input": "input"}  # which operation gives a layer's result
    ops: list[Op] = []
    for layer in net.layers:
        before = [stands[name] for name in layer.inputs]
        if layer.name in fused and isinstance(_named(ops, before[0]), LookupOp | Join | Average):
            stands[layer.name] = before[0]
            continue
        relu = layer.name in after
        bits = activation_bits
        op: Op
        if isinstance(layer, fl.Weighted):
            own = options[layer.name]
            element = formats[before[0]]
            assert element is not None
            last = layer is net.layers[-1]
            output = None if last else Format(own.activation_bits, not relu)
            op = LookupOp(layer.name, before, _lookup(layer, element, own), output)
        elif isinstance(layer, fl.MaxPool2d):
            op, output = Maximum(layer.name, before, layer), formats[before[0]]
        elif isinstance(layer, fl.AvgPool2d):
            first = formats[before[0]]
            output = Format(bits, bool(first and first.signed) and not relu)
            op = Average(layer.name, before, layer, output)
        elif isinstance(layer, fl.Add):
            signed = any(f is not None and f.signed for f in (formats[n] for n in before))
            output = Format(bits, signed and not relu)
            op = Join(layer.name, before, output)
        elif isinstance(layer, fl.Flatten):
            op, output = Flat(layer.name, before, layer), formats[before[0]]
        elif isinstance(layer, fl.Clip):
            first = formats[before[0]]
            assert first is not None
            output = Format(first.bits, first.signed and layer.low < 0)
            op = Pointwise(layer.name, before, layer.low, layer.high, output)
        else:
            raise ValueError(f"Layer {layer.name!r} must be folded before it is converted")
        ops.append(op)
        formats[layer.name], stands[layer.name] = output, layer.name
    return LookupNet(net.shape, source, ops)


def _named(ops: list[Op], name: str) -> Op | None:
    return next((op for op in ops if op.name == name), None)


def by_window(layer: fl.Weighted, order: str) -> Float32Array:
    """A convolution's weights for windows as rows, ``[1, kh * kw * C, n]``."""
    assert layer.window is not None
    taps, channels, outputs = layer.weight.shape
    shaped = layer.weight.reshape(*layer.window.kernel, channels, outputs)
    if order == "chw":
        shaped = shaped.transpose(2, 0, 1, 3)
    return shaped.reshape(1, taps * channels, outputs)


def _lookup(layer: fl.Weighted, element: Format, own: LayerOptions) -> Lookup:
    weight, rows = layer.weight, layer.rows
    window = layer.window
    if window is not None:
        (kh, kw), (top, left, bottom, right) = window.kernel, window.pad
        if max(top, bottom) >= kh or max(left, right) >= kw:
            raise ValueError(
                f"Layer {layer.name!r} must have pads less than its kernel of {kh}x{kw}, "
                f"not {window.pad}"
            )
    if window is not None and own.encode == "window":
        weight = by_window(layer, own.order)
        rows = Dense(weight.shape[1], window, own.order)
    if own.metric == "digit":
        return Digits(weight, layer.bias, rows, element, 1.0, own.table_bits, own.centroids)
    return Vectors(
        weight,
        layer.bias,
        rows,
        element,
        1.0,
        own.table_bits,
        own.subvec,
        own.centroids,
        own.metric,
    )
