"""Lookup layers in training: float parameters outside, the integers of the exported model inside.

The forward pass computes with the very integers that `integers` gives to the model file, so that
training measures what the model will predict. The backward pass goes straight through rounding and
through the choice of centroids.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import Format, Int64Array, ceil_div, quantise
from lutgen.spec import DigitSpec, EncoderSpec
from lutgen.spec.encoder import narrowest
from lutgen.train.kmeans import kmeans
from lutgen.train.optim import Float32Array

__all__ = ["DigitLayer", "Integers", "Layer", "VectorLayer"]

IntArray = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True)
class Integers:
    """The arrays of one node.

    Attributes
    ----------
    values : int array ``[g, c, N]``
        Decoded tables.
    bias : int64 array ``[N]``
    codebooks : int64 array ``[g, c, v]`` or None
    """

    values: IntArray
    bias: Int64Array
    codebooks: Int64Array | None


@dataclass
class Pass:
    """What the forward pass keeps for the backward one."""

    inputs: Float32Array  # A, [batch, g * v]
    exact: Float32Array  # S = A W + b
    looked_up: Float32Array  # Q, what the tables give
    index: Int64Array | None  # [batch, g]
    nearest: Float32Array | None  # A^, the centroids in place of A


class Layer:
    """One linear layer with its calibration.

    Parameters
    ----------
    weight : float32 array ``[K, N]``
    bias : float32 array ``[N]``
        In real units.
    element : Format
        Format of the input activations.
    in_scale : float
        Real value of an input of 1.
    table_bits : int
        Bits of a table entry.

    Attributes
    ----------
    table_scale : float
        Real value of 1 in the tables, the bias and the accumulators. Set by calibration.
    shift : int
        Of the requantiser; 0 for the last layer.
    output : Format or None
        Of the results; None for the last layer.
    """

    def __init__(
        self,
        weight: Float32Array,
        bias: Float32Array,
        element: Format,
        in_scale: float,
        table_bits: int,
    ):
        self.weight = weight.copy()
        self.bias = bias.copy()
        self.element = element
        self.in_scale = in_scale
        self.table = Format(table_bits, True)
        self.metric = "digit"
        self.table_scale = 1.0
        self.shift = 0
        self.output: Format | None = None

    @property
    def out_scale(self) -> float:
        """Real value of a result of 1: of an accumulator of ``2**shift``."""
        return self.table_scale * float(1 << self.shift)

    def real_tables(self) -> Float32Array:
        """The tables ``[g, c, N]`` in real units, before rounding."""
        raise NotImplementedError

    def integers(self) -> Integers:
        """The arrays of the node, from the parameters and the calibration."""
        raise NotImplementedError

    def accumulate(self, q: IntArray, ints: Integers) -> IntArray:
        """Accumulators ``[batch, N]`` of integer inputs ``[batch, K]``."""
        raise NotImplementedError

    def forward(self, q: IntArray, ints: Integers) -> tuple[IntArray, Pass]:
        """Accumulators, and what `backward` needs."""
        raise NotImplementedError

    def backward(
        self, kept: Pass, gradient: Float32Array, beta: float, wanted: bool
    ) -> tuple[list[Float32Array], Float32Array | None]:
        """Gradients by the parameters, and by the inputs if ``wanted``.

        Parameters
        ----------
        gradient : float32 array ``[batch, N]``
            Of the task's loss by the layer's real results.
        beta : float
            Weight of the layer's reconstruction terms.
        """
        raise NotImplementedError

    def reconstruction(self, kept: Pass) -> float:
        """``2 mean((Q - S)^2) / var(S)``: the two terms are equal and differ in their gradients."""
        error = kept.looked_up - kept.exact
        return 2 * float(np.mean(error * error)) / variance(kept.exact)

    @property
    def parameters(self) -> list[Float32Array]:
        """The trained arrays, weight first, then bias; updated in place by the optimiser."""
        return [self.weight, self.bias]

    @property
    def rates(self) -> list[float]:
        """Factors on the learning rate of each parameter."""
        return [1.0, 1.0]

    def settle(self) -> None:
        """Brings parameters back into their range after a step."""

    def rescale(self, in_scale: float) -> None:
        """Takes inputs of another scale from now on; what stands for the same real inputs stays."""
        self.in_scale = in_scale

    def ideal(self, q: IntArray) -> Float32Array:
        """Real results ``[batch, N]`` of integer inputs if tables were not rounded or clipped."""
        raise NotImplementedError


class VectorLayer(Layer):
    """Nearest-centroid lookup: ``l1``, ``l2`` or ``chebyshev``.

    Takes `Layer`'s parameters, and ``subvec``, ``centroids``, ``metric``. Codebooks are float, in
    units of the input's integers, ``[g, c, v]``; weights are padded to whole sub-vectors with rows
    of 0.
    """

    def __init__(
        self,
        weight: Float32Array,
        bias: Float32Array,
        element: Format,
        in_scale: float,
        table_bits: int,
        subvec: int,
        centroids: int,
        metric: str,
    ):
        super().__init__(weight, bias, element, in_scale, table_bits)
        self.in_features = len(weight)
        self.groups = ceil_div(self.in_features, subvec)
        self.spare = self.groups * subvec - self.in_features
        self.weight = np.pad(self.weight, ((0, self.spare), (0, 0)))
        self.subvec, self.centroids, self.metric = subvec, centroids, metric
        self.books = np.zeros((self.groups, centroids, subvec), dtype=np.float32)
        self.encoder = EncoderSpec(element, subvec, centroids, metric, 1, 1)

    def padded(self, q: IntArray) -> IntArray:
        """Inputs ``[batch, K]`` as sub-vectors ``[batch, g, v]``."""
        if self.spare:
            q = np.pad(q, ((0, 0), (0, self.spare)))
        return q.reshape(len(q), self.groups, self.subvec)

    def replace(self, q: IntArray, rng: np.random.Generator, iterations: int = 20) -> None:
        """Sets the codebooks by k-means on inputs ``[sample, K]``."""
        self.books = kmeans(self.padded(q), self.centroids, self.metric, rng, iterations=iterations)

    def refit(self, q: IntArray, target: Float32Array, ridge: float) -> None:
        """Sets weight and bias so that lookups come nearest to ``target`` ``[sample, N]``.

        Ridge regression of the target on the nearest centroids, drawn towards the present weight
        with the strength ``ridge`` times the mean diagonal; the bias is not drawn.
        """
        index = self.encoder.compute(self.padded(q), self.codebooks())
        near = self._nearest(index, self.codebooks()).astype(np.float64)
        mean, centre = near.mean(axis=0), target.mean(axis=0, dtype=np.float64)
        near -= mean
        gram = near.T @ near
        strength = ridge * float(np.trace(gram)) / len(gram) + 1e-12
        residual = (target - centre) - near @ self.weight
        gram[np.diag_indices_from(gram)] += strength
        change = np.linalg.solve(gram, near.T @ residual)
        weight = self.weight + change
        weight[self.in_features :] = 0
        self.weight = weight.astype(np.float32)
        self.bias = (centre - mean @ weight).astype(np.float32)

    def codebooks(self) -> Int64Array:
        """The codebooks as integers of the input's format."""
        return quantise(self.books, 1.0, self.element)

    def real_tables(self) -> Float32Array:
        books = self.codebooks().astype(np.float32) * np.float32(self.in_scale)
        rows = self.weight.reshape(self.groups, self.subvec, -1)
        tables: Float32Array = np.matmul(books, rows)
        return tables

    def integers(self) -> Integers:
        values = quantise(self.real_tables(), self.table_scale, self.table)
        bias = quantise(self.bias, self.table_scale, Format(32, True))
        kind = narrowest(self.table.low, self.table.high)
        return Integers(values.astype(kind), bias, self.codebooks())

    def accumulate(self, q: IntArray, ints: Integers) -> IntArray:
        assert ints.codebooks is not None
        return self._lookup(self.encoder.compute(self.padded(q), ints.codebooks), ints)

    def _lookup(self, index: Int64Array, ints: Integers) -> IntArray:
        reach = self.groups * -self.table.low + int(np.abs(ints.bias).max())
        columns = np.ascontiguousarray(index.T)
        total = np.empty((len(index), len(ints.bias)), dtype=narrowest(-reach, reach))
        total[:] = ints.bias
        picked = np.empty(total.shape, dtype=ints.values.dtype)
        for rows, column in zip(ints.values, columns, strict=True):
            np.take(rows, column, axis=0, out=picked, mode="clip")
            total += picked
        return total

    def _flat(self, index: Int64Array) -> Int64Array:
        """Numbers ``[batch, g]`` of the rows of all codebooks, one above another."""
        return index + self.centroids * np.arange(self.groups)

    def _nearest(self, index: Int64Array, codebooks: Int64Array) -> Float32Array:
        """What stands for the inputs: real ``[batch, g * v]``."""
        rows = codebooks.astype(np.float32).reshape(-1, self.subvec) * np.float32(self.in_scale)
        near: Float32Array = rows[self._flat(index)].reshape(len(index), -1)
        return near

    def forward(self, q: IntArray, ints: Integers) -> tuple[IntArray, Pass]:
        assert ints.codebooks is not None
        parts = self.padded(q)
        index = self.encoder.compute(parts, ints.codebooks)
        acc = self._lookup(index, ints)
        inputs = parts.reshape(len(q), -1).astype(np.float32) * np.float32(self.in_scale)
        kept = Pass(
            inputs,
            (inputs @ self.weight + self.bias).astype(np.float32, copy=False),
            acc.astype(np.float32) * np.float32(self.table_scale),
            index,
            self._nearest(index, ints.codebooks),
        )
        return acc, kept

    def backward(
        self, kept: Pass, gradient: Float32Array, beta: float, wanted: bool
    ) -> tuple[list[Float32Array], Float32Array | None]:
        assert kept.index is not None
        assert kept.nearest is not None
        # d/dS of the first term; d/dQ of the second is its negative.
        pull = (kept.exact - kept.looked_up) * np.float32(
            2 * beta / (kept.exact.size * variance(kept.exact))
        )
        by_weight = kept.nearest.T @ (gradient - pull)
        by_weight += kept.inputs.T @ pull
        by_nearest = (gradient - pull) @ self.weight.T
        by_books = self._scatter(kept.index, by_nearest * np.float32(self.in_scale))
        back = None
        if wanted:
            back = ((gradient + pull) @ self.weight.T)[:, : self.in_features]
        # The bias is in S and in Q: what the two reconstruction terms ask of it cancels.
        return [by_weight, gradient.sum(axis=0), by_books], back

    def _scatter(self, index: Int64Array, values: Float32Array) -> Float32Array:
        """Sums ``[batch, g * v]`` into the centroids that ``index`` chose, ``[g, c, v]``."""
        flat = self._flat(index).ravel()
        columns = values.reshape(-1, self.subvec)
        size = self.groups * self.centroids
        sums = [np.bincount(flat, columns[:, d], minlength=size) for d in range(self.subvec)]
        return np.stack(sums, axis=-1).reshape(self.books.shape).astype(np.float32)

    @property
    def parameters(self) -> list[Float32Array]:
        return [self.weight, self.bias, self.books]

    @property
    def rates(self) -> list[float]:
        # Centroids are in integers: a step is to be the same part of the range in every format.
        return [1.0, 1.0, float(self.element.high - self.element.low)]

    def rescale(self, in_scale: float) -> None:
        self.books *= np.float32(self.in_scale / in_scale)
        self.in_scale = in_scale
        self.settle()

    def ideal(self, q: IntArray) -> Float32Array:
        books = self.codebooks()
        near = self._nearest(self.encoder.compute(self.padded(q), books), books)
        return (near @ self.weight + self.bias).astype(np.float32, copy=False)

    def settle(self) -> None:
        np.clip(self.books, self.element.low, self.element.high, out=self.books)


class DigitLayer(Layer):
    """An exact layer: integer weights, each table row the weight times what the digit is worth.

    Takes `Layer`'s parameters, and ``centroids``, the radix.
    """

    def __init__(
        self,
        weight: Float32Array,
        bias: Float32Array,
        element: Format,
        in_scale: float,
        table_bits: int,
        centroids: int,
    ):
        super().__init__(weight, bias, element, in_scale, table_bits)
        self.digit = DigitSpec(element, centroids)
        self.worth = reachable(self.digit)

    def real_tables(self) -> Float32Array:
        scaled = self.weight * np.float32(self.in_scale)
        tables = scaled[:, None, None, :] * self.worth[:, :, None].astype(np.float32)
        return tables.reshape(-1, self.digit.centroids, scaled.shape[1])

    def weights(self) -> Int64Array:
        """The integer weights ``[K, N]``: as large as the tables can hold."""
        limit = self.table.high // int(np.abs(self.worth).max())
        real = self.weight.astype(np.float64) * self.in_scale
        return np.clip(quantise(real, self.table_scale, Format(32, True)), -limit, limit)

    def integers(self) -> Integers:
        weights = self.weights()
        values = weights[:, None, None, :] * self.worth[:, :, None]
        values = values.reshape(-1, self.digit.centroids, weights.shape[1])
        return Integers(values, quantise(self.bias, self.table_scale, Format(32, True)), None)

    def accumulate(self, q: IntArray, ints: Integers) -> IntArray:
        # Sums of digits times weights are inputs times weights. float64 holds every such integer
        # exactly.
        exact = q.astype(np.float64) @ self.weights().astype(np.float64)
        return exact.astype(np.int64) + ints.bias

    def ideal(self, q: IntArray) -> Float32Array:
        inputs = q.astype(np.float32) * np.float32(self.in_scale)
        return (inputs @ self.weight + self.bias).astype(np.float32, copy=False)

    def forward(self, q: IntArray, ints: Integers) -> tuple[IntArray, Pass]:
        acc = self.accumulate(q, ints)
        inputs = q.astype(np.float32) * np.float32(self.in_scale)
        exact = (inputs @ self.weight + self.bias).astype(np.float32, copy=False)
        looked_up = acc.astype(np.float32) * np.float32(self.table_scale)
        return acc, Pass(inputs, exact, looked_up, None, None)

    def backward(
        self, kept: Pass, gradient: Float32Array, beta: float, wanted: bool
    ) -> tuple[list[Float32Array], Float32Array | None]:
        # Rounded weights stand for the weights straight through: the reconstruction terms cancel.
        back = gradient @ self.weight.T if wanted else None
        return [kept.inputs.T @ gradient, gradient.sum(axis=0)], back


def reachable(digit: DigitSpec) -> Int64Array:
    """`DigitSpec.weights` ``[D, c]`` with 0 for digit values that no activation has.

    Their table rows are never read; at 0 they widen neither tables nor accumulators.
    """
    codes = digit.compute(np.arange(digit.element.low, digit.element.high + 1))
    codes = codes.reshape(-1, digit.digits)
    worth = np.zeros((digit.digits, digit.centroids), dtype=np.int64)
    for d in range(digit.digits):
        seen = np.unique(codes[:, d])
        worth[d, seen] = digit.weights()[d, seen]
    return worth


def variance(s: Float32Array) -> float:
    """Variance over a whole batch of results, kept from 0."""
    return float(s.var()) + 1e-9
