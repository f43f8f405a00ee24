"""The lookup network: replaces a float network's layers, then trains them together."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import Format, Int64Array, requantise
from lutgen.train.layers import DigitLayer, IntArray, Integers, Layer, Pass, VectorLayer
from lutgen.train.mlp import MLP, cross_entropy
from lutgen.train.optim import AdamW, Float32Array, rate

__all__ = ["LookupNet", "calibrate", "replace", "tune"]

CALIBRATION = 1024  # samples that scales are chosen on between epochs


class LookupNet:
    """Lookup layers with requantisation between them; gives accumulators.

    Parameters
    ----------
    layers : list of Layer
        Calibrated; the last has no output format.
    """

    def __init__(self, layers: list[Layer]):
        self.layers = layers

    def integers(self) -> list[Integers]:
        """The arrays of every node."""
        return [layer.integers() for layer in self.layers]

    def outputs(
        self, q: IntArray, ints: list[Integers] | None = None, *, batch: int = 1024
    ) -> Int64Array:
        """Accumulators ``[sample, classes]`` of integer inputs ``[sample, K]``."""
        arrays = self.integers() if ints is None else ints
        results = []
        for start in range(0, len(q), batch):
            part = q[start : start + batch]
            for layer, own in zip(self.layers, arrays, strict=True):
                part = advance(layer, layer.accumulate(part, own))
            results.append(part.astype(np.int64))
        return np.concatenate(results)

    def loss(
        self, q: IntArray, y: NDArray[np.integer], beta: float
    ) -> tuple[float, list[Float32Array]]:
        """The joint loss of a batch, and its gradients by all parameters, layer after layer.

        Cross-entropy of the looked-up outputs, and for every layer ``beta`` times
        ``mean((stopgrad(Q) - S)^2) + mean((Q - stopgrad(S))^2)``, divided by the variance of S. The
        task's gradient goes to weights and centroids as through Q, whose product is the table, and
        to inputs as through S: ``Q + S - stopgrad(S)`` with the inputs alone in the last two.
        """
        kept: list[Pass] = []
        open_: list[NDArray[np.bool_]] = []  # where requantisation lets gradients pass
        part = q
        for layer in self.layers:
            acc, memory = layer.forward(part, layer.integers())
            kept.append(memory)
            part = advance(layer, acc)
            if layer.output is not None:
                open_.append((acc > 0) & (acc < layer.output.high << layer.shift))
        value, gradient = cross_entropy(kept[-1].looked_up, y)
        gradients: list[Float32Array] = []
        for i in reversed(range(len(self.layers))):
            value += beta * self.layers[i].reconstruction(kept[i])
            own, back = self.layers[i].backward(kept[i], gradient, beta, i > 0)
            gradients[:0] = own
            if back is not None:
                gradient = back * open_[i - 1]
        return value, gradients

    def snapshot(self) -> list[tuple[list[Float32Array], float, float, int]]:
        """Copies of every layer's parameters, and its scales and shift."""
        return [
            ([p.copy() for p in layer.parameters], layer.in_scale, layer.table_scale, layer.shift)
            for layer in self.layers
        ]

    def restore(self, snapshot: list[tuple[list[Float32Array], float, float, int]]) -> None:
        """Goes back to a snapshot."""
        for layer, (parameters, in_scale, table_scale, shift) in zip(
            self.layers, snapshot, strict=True
        ):
            layer.in_scale, layer.table_scale, layer.shift = in_scale, table_scale, shift
            for mine, old in zip(layer.parameters, parameters, strict=True):
                mine[:] = old

    def recalibrate(self, q: IntArray) -> None:
        """Chooses all scales anew for the present parameters, on samples ``[sample, K]``.

        Weights grow in training; tables that clip would hold them back.
        """
        for i, layer in enumerate(self.layers):
            calibrate(layer, q, layer.ideal(q), layer.output)
            if i + 1 < len(self.layers):
                self.layers[i + 1].rescale(layer.out_scale)
            q = advance(layer, layer.accumulate(q, layer.integers()))

    def score(self, q: IntArray, y: NDArray[np.integer]) -> tuple[float, float]:
        """Accuracy and mean cross-entropy of samples."""
        outputs = self.outputs(q)
        logits = outputs.astype(np.float32) * np.float32(self.layers[-1].table_scale)
        return float(np.mean(outputs.argmax(axis=1) == y)), cross_entropy(logits, y)[0]


def advance(layer: Layer, acc: IntArray) -> IntArray:
    """What the next layer reads: requantised accumulators; after the last, the accumulators."""
    if layer.output is None:
        return acc
    return requantise(acc, layer.shift, layer.output).astype(np.int32)


def replace(
    net: MLP,
    q: IntArray,
    element: Format,
    in_scale: float,
    *,
    subvec: int,
    centroids: int,
    metric: str,
    table_bits: int,
    activation_bits: int,
    rng: np.random.Generator,
    ridge: float = 1e-2,
    progress: Callable[[int], object] | None = None,
) -> LookupNet:
    """Turns a float network into lookups, layer by layer, each on what those before it now give.

    Codebooks by k-means, then weights refitted to the float layer's results, then scales.

    Parameters
    ----------
    q : int array ``[sample, K]``
        Input samples.
    element, in_scale
        Format of the inputs, and the real value of 1 for ``net``.
    ridge : float
        See `VectorLayer.refit`.
    progress : callable or None
        Called with the layers done after each.
    """
    layers: list[Layer] = []
    wanted = q.astype(np.float32) * np.float32(in_scale)
    hidden = Format(activation_bits, False)
    for i, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        last = i + 1 == len(net.weights)
        target: Float32Array = (wanted @ weight + bias).astype(np.float32, copy=False)
        layer: Layer
        if metric == "digit":
            layer = DigitLayer(weight, bias, element, in_scale, table_bits, centroids)
        else:
            layer = VectorLayer(
                weight, bias, element, in_scale, table_bits, subvec, centroids, metric
            )
            layer.replace(q, rng)
            layer.refit(q, target, ridge)
        calibrate(layer, q, target, None if last else hidden)
        q = advance(layer, layer.accumulate(q, layer.integers()))
        wanted = np.maximum(target, 0)
        element, in_scale = hidden, layer.out_scale
        layers.append(layer)
        if progress is not None:
            progress(i + 1)
    return LookupNet(layers)


def calibrate(layer: Layer, q: IntArray, target: Float32Array, output: Format | None) -> None:
    """Chooses table scale and shift: results on ``q`` nearest to ``target`` after ReLU.

    Clipped large entries and rounded small ones are weighed against each other by what comes out of
    the layer. The output's scale is the table's times a power of two, so both are chosen together.
    """
    layer.output, layer.shift = None, 0
    largest = float(np.abs(layer.real_tables()).max()) or 1.0
    limit = layer.table.high
    wanted = target if output is None else np.maximum(target, 0)
    found: list[tuple[float, float, int]] = []
    for quarter in range(13):
        layer.table_scale = largest / limit * 2.0 ** (-quarter / 4)
        acc = layer.accumulate(q, layer.integers())
        if output is None:
            found.append((error(acc * layer.table_scale, wanted), layer.table_scale, 0))
            continue
        reach = max(1, int(acc.max()))
        most = max(0, reach.bit_length() - output.bits) + 1
        for shift in range(max(0, most - 4), most + 1):
            real = requantise(acc, shift, output) * (layer.table_scale * 2.0**shift)
            found.append((error(real, wanted), layer.table_scale, shift))
    _, layer.table_scale, layer.shift = min(found)
    layer.output = output


def error(real: NDArray[np.floating], wanted: Float32Array) -> float:
    """Mean squared difference."""
    return float(np.mean((real - wanted) ** 2))


def tune(
    net: LookupNet,
    q: IntArray,
    y: NDArray[np.integer],
    held_q: IntArray,
    held_y: NDArray[np.integer],
    *,
    epochs: int,
    batch: int,
    rng: np.random.Generator,
    learning_rate: float = 1e-3,
    decay: float = 0.0,
    beta: float = 0.3,
    schedule: str = "linear",
    augment: Callable[[IntArray, np.random.Generator], IntArray] | None = None,
    progress: Callable[[int, float, float], object] | None = None,
) -> None:
    """Trains weights and centroids together, in place.

    Of the start and the last quarter of the epochs, the one with the least loss on the held-out
    samples is kept.

    Parameters
    ----------
    q, y
        Integer inputs ``[sample, K]`` and classes ``[sample]``.
    held_q, held_y
        The same of samples that are not trained on.
    beta : float
        Weight of the reconstruction terms.
    augment : callable or None
        Changes a batch before it is trained on; see `lutgen.train.augment`.
    progress : callable or None
        Called with the epochs done, the mean training loss and the held-out accuracy after each.
    """
    parameters = [p for layer in net.layers for p in layer.parameters]
    optimiser = AdamW(
        parameters,
        [learning_rate * r for layer in net.layers for r in layer.rates],
        [decay if i == 0 else 0.0 for layer in net.layers for i in range(len(layer.parameters))],
    )
    best, kept = net.score(held_q, held_y)[1], net.snapshot()
    starts = range(0, len(q), batch)
    for epoch in range(epochs):
        order = rng.permutation(len(q))
        if epoch:
            net.recalibrate(q[order[:CALIBRATION]])
        total = 0.0
        for start in starts:
            chosen = order[start : start + batch]
            part = q[chosen] if augment is None else augment(q[chosen], rng)
            value, gradients = net.loss(part, y[chosen], beta)
            optimiser.step(gradients, rate(schedule, optimiser.steps, epochs * len(starts)))
            for layer in net.layers:
                layer.settle()
            total += value * len(chosen)
        accuracy, loss = net.score(held_q, held_y)
        # At a high rate epochs differ by luck, which a small held-out set takes for merit.
        if 4 * (epoch + 1) > 3 * epochs and loss < best:
            best, kept = loss, net.snapshot()
        if progress is not None:
            progress(epoch + 1, total / len(q), accuracy)
    net.restore(kept)
