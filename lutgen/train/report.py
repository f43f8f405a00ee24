"""What each layer of a lookup network is like, and what its conversion costs."""

from copy import copy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lutgen.numeric import ceil_div
from lutgen.train.conv import Dense, Taps
from lutgen.train.convert import by_window
from lutgen.train.floatnet import FloatNet, Weighted, columns
from lutgen.train.lookups import Digits, Integers, Lookup, Vectors
from lutgen.train.lutnet import LookupNet, LookupOp, Op
from lutgen.train.optim import Float32Array
from lutgen.train.parallel import Workers
from lutgen.train.scales import Bases, fit_lookup
from lutgen.train.tune import Samples

__all__ = ["SAMPLES", "LayerReport", "alone", "layers"]

SAMPLES = 1000  # held-out samples that layers are measured on


@dataclass(frozen=True)
class LayerReport:
    """One lookup layer.

    Attributes
    ----------
    name : str
    shape : str
        ``K x n`` of a linear layer, ``kh x kw x C x n`` of a convolution.
    encode : str
        ``linear``, ``pixel`` or ``window``.
    metric : str
    subvec, centroids, table_bits : int
    table_bytes : int
    encoded : int
        Sub-vectors that one sample's indices are found for; 0 of exact layers.
    error : float
        Mean squared distance of inputs and their centroids, over the inputs' variance; 0 of exact
        layers.
    usage : float
        How evenly centroids are used: the perplexity of the indices over the number of centroids,
        mean over codebooks; 1 if all are used alike.
    lost : float or None
        Accuracy that the float network loses on held-out samples if this layer alone is
        converted, by `replace`; None where that was not measured.
    share : float or None
        Of the sum of what all layers lose.
    """

    name: str
    shape: str
    encode: str
    metric: str
    subvec: int
    centroids: int
    table_bits: int
    table_bytes: int
    encoded: int
    error: float
    usage: float
    lost: float | None
    share: float | None

    def to_manifest(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)


def plain(net: LookupNet, origin: FloatNet, name: str, q: Float32Array) -> Lookup:
    """A layer with the float network's weights: its tables codebooks times weights.

    A refit makes good what the layers before it lack, which the float network's layers do not.

    Parameters
    ----------
    q : float32 array
        Input integers of the layer; its scale is chosen on them.
    """
    lookup = copy(net.lookups[name])
    layer = next(layer for layer in origin.layers if layer.name == name)
    assert isinstance(layer, Weighted)
    lookup.weight = np.zeros_like(lookup.weight)
    rows, weight = lookup.rows, layer.weight
    if isinstance(rows, Dense) and rows.window is not None:
        weight = by_window(layer, rows.order)
    lookup.weight[:, : rows.features] = weight
    lookup.bias = layer.bias.copy()
    if isinstance(lookup, Vectors):
        lookup.tie()
    fit_lookup(lookup, q, lookup.ideal(q), None, Bases(net), name)
    return lookup


def alone(net: LookupNet, origin: FloatNet, samples: Samples, workers: Workers) -> dict[str, float]:
    """Accuracy of the float network with one layer converted, by that layer's name.

    The entry ``""`` is the float network's own. Tables are those of the stage ``replace``, see
    `plain`.
    """
    size = 32

    def accuracy(name: str) -> float:
        swap = {}
        if name:
            known: list[tuple[Lookup, Integers]] = []

            def converted(x: Float32Array) -> Float32Array:
                own = net.lookups[name]
                q = np.floor(x * np.float32(1 / own.in_scale) + np.float32(0.5))
                np.clip(q, own.element.low, own.element.high, out=q)
                if not known:
                    own = plain(net, origin, name, q)
                    known.append((own, own.integers()))
                lookup, ints = known[0]
                acc = lookup.forward(q, ints).acc
                return (acc * lookup.table_scale).astype(np.float32)

            swap[name] = converted
        right = 0
        for start in range(0, len(samples.q), size):
            q = columns(samples.q[start : start + size], net.inside).astype(np.float32)
            logits = origin.run(q * np.float32(net.source.scale), swap=swap)
            right += int((logits.argmax(axis=0) == samples.y[start : start + size]).sum())
        return right / len(samples.q)

    names = ["", *net.lookups]
    return dict(zip(names, workers.map(accuracy, names), strict=True))


def layers(
    net: LookupNet,
    origin: FloatNet,
    samples: Samples,
    measured: dict[str, float],
    workers: Workers,
) -> list[LayerReport]:
    """A row for every lookup layer.

    Parameters
    ----------
    measured : dict of str to float
        What `alone` gave; may be empty.
    """
    inputs: dict[str, Float32Array] = {}
    q = columns(samples.q[:256], net.inside).astype(np.float32)
    net.run(q, visit=lambda op, y: inputs.update({op.name: y}) if _read(net, op) else None)
    inputs["input"] = q
    lost = {name: measured[""] - measured[name] for name in net.lookups if name in measured}
    total = sum(max(value, 0.0) for value in lost.values())
    result = []
    for op in net.ops:
        if not isinstance(op, LookupOp):
            continue
        own = lost.get(op.name)
        error, usage, encoded = _quality(op.lookup, inputs[op.inputs[0]])
        result.append(
            LayerReport(
                name=op.name,
                shape=_shape(op.lookup),
                encode=_encode(op.lookup),
                metric=op.lookup.metric,
                subvec=getattr(op.lookup, "subvec", 1),
                centroids=getattr(op.lookup, "centroids", 0),
                table_bits=op.lookup.table.bits,
                table_bytes=table_bytes(op.lookup),
                encoded=encoded,
                error=error,
                usage=usage,
                lost=own,
                share=None if own is None else (max(own, 0.0) / total if total else 0.0),
            )
        )
    return result


def _read(net: LookupNet, op: Op) -> bool:
    return any(isinstance(user, LookupOp) and op.name in user.inputs for user in net.ops)


def _shape(lookup: Lookup) -> str:
    rows, taps = lookup.rows, lookup.rows.taps
    window = rows.window
    if window is None:
        return f"{rows.features}x{lookup.outputs}"
    kh, kw = window.kernel
    channels = rows.features if taps == kh * kw else rows.features // (kh * kw)
    if isinstance(rows, Taps):
        channels = rows.features
    return f"{kh}x{kw}x{channels}x{lookup.outputs}"


def _encode(lookup: Lookup) -> str:
    if isinstance(lookup.rows, Taps):
        return "pixel"
    return "linear" if lookup.rows.window is None else "window"


def table_bytes(lookup: Lookup) -> int:
    """Bytes of a layer's tables, packed."""
    groups = (
        lookup.groups
        if isinstance(lookup, Vectors)
        else lookup.rows.features * len(getattr(lookup, "worth", ()))
    )
    centroids = getattr(lookup, "centroids", 0)
    entries = lookup.rows.taps * groups * centroids * lookup.outputs
    return ceil_div(entries * lookup.table.bits, 8)


def _quality(lookup: Lookup, q: Float32Array) -> tuple[float, float, int]:
    """Distance error, evenness of use, and encoded sub-vectors a sample."""
    if isinstance(lookup, Digits):
        return 0.0, 1.0, 0
    assert isinstance(lookup, Vectors)
    vectors, books = lookup.vectors(q), lookup.codebooks()
    index = lookup.indices(q, books)
    near = np.take_along_axis(books.transpose(0, 2, 1), index[:, None, :], axis=2)
    squares = float(np.mean((vectors - near) ** 2, dtype=np.float64))
    spread = float(vectors.var(axis=2, dtype=np.float64).mean())
    flat = index + lookup.centroids * np.arange(len(index))[:, None]
    count = np.bincount(flat.ravel(), minlength=len(index) * lookup.centroids)
    part = count.reshape(len(index), -1) / index.shape[1]
    entropy = -(part * np.log(np.maximum(part, 1e-300))).sum(axis=1)
    usage = float(np.mean(np.exp(entropy)) / lookup.centroids)
    return squares / (spread + 1e-12), usage, index.size // q.shape[1]
