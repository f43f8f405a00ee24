"""Lookup layers in training: float parameters outside, the integers of the exported model inside.

The forward pass computes with the very integers that `integers` gives to the model file, so that
training measures what the model will predict. The backward pass goes straight through rounding and
through the choice of centroids. Activations are integers held in float32, ``[C, batch, H, W]`` or
``[K, batch]``; all sums stay below 2^24 or are formed in float64, and so are exact.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import Format, Int64Array, ceil_div, quantise
from lutgen.spec import DigitSpec
from lutgen.train.conv import Rows, gathered
from lutgen.train.nearest import EXACT, nearest
from lutgen.train.optim import Float32Array
from lutgen.train.soft import soft_gradient

__all__ = ["Digits", "Integers", "Lookup", "Vectors", "reachable"]

ENOUGH = 1 << 12  # rows of a batch that tell centroids where to follow


@dataclass(frozen=True)
class Integers:
    """The arrays of one node.

    Attributes
    ----------
    matrix : float array ``[taps, rows, n]``
        Integers that the placed inputs are multiplied with: of `Vectors` the table, one row per
        centroid; of `Digits` the weights.
    bias : int64 array ``[n]``
    codebooks : int64 array ``[g, c, v]`` or None
    """

    matrix: NDArray[Any]
    bias: Int64Array
    codebooks: Int64Array | None
    hot: Any = None  # of `Vectors`, the table as `Rows.hot_product` takes it


@dataclass
class Pass:
    """What the forward pass keeps for the backward one."""

    shape: tuple[int, ...]  # of the inputs
    q: Float32Array  # the inputs
    placed: list[NDArray[Any]]  # as `Rows.product`, or `Rows.hot_product`, took them
    acc: Float32Array  # accumulators [n, ...]
    matrix: NDArray[Any]  # of `Integers`
    index: NDArray[np.intp] | None = None  # [g, L]
    rows: Float32Array | None = None  # what the indices are of


class Lookup:
    """One layer of products, as lookups.

    Parameters
    ----------
    weight : float32 array ``[taps, K, n]``
    bias : float32 array ``[n]``
        In real units.
    rows : Rows
        How inputs become rows.
    element : Format
        Of the input activations.
    in_scale : float
        Real value of an input of 1.
    table_bits : int

    Attributes
    ----------
    table_scale : float
        Real value of 1 in tables, bias and accumulators. Set with the shift by
        `lutgen.train.scales`.
    shift : int
        Of the requantiser; 0 where the accumulators are the result.
    output : Format or None
        Of the results; None where the accumulators are.
    """

    metric = "digit"

    def __init__(
        self,
        weight: Float32Array,
        bias: Float32Array,
        rows: Rows,
        element: Format,
        in_scale: float,
        table_bits: int,
    ):
        self.weight = np.array(weight, dtype=np.float32)
        self.bias = np.array(bias, dtype=np.float32)
        self.rows, self.element, self.in_scale = rows, element, in_scale
        self.worked = rows  # what products of real inputs are formed with
        self.table = Format(table_bits, True)
        self.table_scale = 1.0
        self.shift = 0
        self.output: Format | None = None

    @property
    def out_scale(self) -> float:
        """Real value of a result of 1."""
        return self.table_scale * float(1 << self.shift)

    @property
    def outputs(self) -> int:
        """n, results of one row."""
        return len(self.bias)

    @property
    def parameters(self) -> dict[str, Float32Array]:
        """The trained arrays by name; updated in place."""
        return {"weight": self.weight, "bias": self.bias}

    @property
    def width(self) -> int:
        """Rows of the placed inputs."""
        return self.rows.features

    def largest(self) -> float:
        """The greatest magnitude of a table entry, in real units."""
        raise NotImplementedError

    def integers(self) -> Integers:
        """The arrays of the node, from the parameters and the scales."""
        raise NotImplementedError

    def place(self, q: Float32Array, ints: Integers) -> list[NDArray[Any]]:
        """Inputs as `Rows.product` takes them."""
        raise NotImplementedError

    def accumulate(self, q: Float32Array, ints: Integers) -> Float32Array:
        """Accumulators ``[n, ...]`` of integer inputs."""
        return self.forward(q, ints).acc

    def forward(
        self, q: Float32Array, ints: Integers, placed: list[NDArray[Any]] | None = None
    ) -> Pass:
        """Accumulators, and what `backward` needs; ``placed`` is what `place` gave, if known."""
        if placed is None:
            placed = self.place(q, ints)
        acc = self._multiplied(ints, placed, q.shape)
        acc += ints.bias.astype(acc.dtype).reshape(-1, *[1] * (acc.ndim - 1))
        return Pass(q.shape, q, placed, acc, ints.matrix)

    def _multiplied(
        self, ints: Integers, placed: list[NDArray[Any]], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        """Integer sums of products, exact."""
        matrix = self._worked(ints.matrix)
        if matrix.dtype == np.float64:
            placed = [x.astype(np.float64) for x in placed]
        return self.worked.product(matrix, placed, shape)

    def backward(
        self, kept: Pass, gradient: Float32Array, beta: float, wanted: bool, number: int = 0
    ) -> tuple[float, dict[str, Float32Array], Float32Array | None]:
        """The reconstruction loss, raw gradients (see `finish`), and that by the inputs if
        ``wanted``.

        Parameters
        ----------
        gradient : float32 array ``[n, ...]``
            Of the task's loss by the layer's real results.
        beta : float
            Weight of the reconstruction terms
            ``mean((stopgrad(Q) - S)^2) + mean((Q - stopgrad(S))^2)``, over the variance of S. Where
            no gradient by the inputs is wanted, tables of their own have none.
        number : int
            Which part of a batch this is: the first ones suffice for `Vectors.follow`.
        """
        raise NotImplementedError

    def finish(self, raw: dict[str, Float32Array]) -> dict[str, Float32Array]:
        """Gradients by the parameters, from the sum of raw ones over a batch's parts; what
        `Vectors.follow` needs, ``counts`` and ``sums``, comes along.
        """
        return raw

    def settle(self) -> None:
        """Brings parameters back into their range after a step."""

    def rescale(self, in_scale: float) -> None:
        """Takes inputs of another scale from now on; what stands for the same real inputs stays."""
        self.in_scale = in_scale

    def ideal(self, q: Float32Array) -> Float32Array:
        """Real results ``[n, ...]`` if tables were not rounded or clipped."""
        raise NotImplementedError

    def _worked(self, weight: NDArray[Any]) -> NDArray[Any]:
        """A matrix ``[taps, K, n]`` as `worked` takes it."""
        return weight.reshape(self.worked.taps, -1, self.outputs)

    def _biased(self, y: Float32Array) -> Float32Array:
        y += self.bias.reshape(-1, *[1] * (y.ndim - 1))
        return y

    def _bias(self) -> Int64Array:
        return quantise(self.bias, self.table_scale, Format(32, True))


class Vectors(Lookup):
    """Nearest-centroid lookup: ``l1``, ``l2`` or ``chebyshev``.

    Takes `Lookup`'s parameters, and ``subvec``, ``centroids``, ``metric``. Tables are the product
    of codebooks and weights, plus `residual` once tables are free.

    Attributes
    ----------
    books : float32 array ``[g, c, v]``
        Codebooks, in units of the input's integers.
    residual : float32 array ``[taps, g * c, n]`` or None
        What the tables are beside the product, in real units; None where tables are tied to it.
    moved : float32 array ``[n]``
        How much of the bias was taken from the tables, and is none of what goes with the weights.
    moving : bool
        Whether `backward` gives the gradient by `residual`.
    moving_books : bool
        Whether `finish` gives the gradient by `books`.
    counting : bool
        Whether `backward` gives what `follow` needs.
    soft : float
        How much of the gradient by the inputs is that of a soft choice of centroids (see
        `lutgen.train.soft`); the rest goes straight through. Where there is any, `books` learn
        by that choice, and beside it only where tables are tied by these.
    """

    def __init__(
        self,
        weight: Float32Array,
        bias: Float32Array,
        rows: Rows,
        element: Format,
        in_scale: float,
        table_bits: int,
        subvec: int,
        centroids: int,
        metric: str,
    ):
        super().__init__(weight, bias, rows, element, in_scale, table_bits)
        self.worked = gathered(rows)
        self.groups = ceil_div(rows.features, subvec)
        self.spare = self.groups * subvec - rows.features
        self.weight = np.pad(self.weight, ((0, 0), (0, self.spare), (0, 0)))
        self.subvec, self.centroids, self.metric = subvec, centroids, metric
        self.books = np.zeros((self.groups, centroids, subvec), dtype=np.float32)
        self.residual: Float32Array | None = None
        self.moved = np.zeros_like(self.bias)
        self.moving = True
        self.moving_books = True
        self.counting = False
        self.soft = 0.0

    @property
    def parameters(self) -> dict[str, Float32Array]:
        own = {**super().parameters, "books": self.books}
        if self.residual is not None:
            own["residual"] = self.residual
        return own

    @property
    def width(self) -> int:
        return self.groups * self.centroids

    def tie(self) -> None:
        """Leaves the tables nothing of their own."""
        self.residual = None
        self.moved = np.zeros_like(self.bias)

    def free(self) -> None:
        """Gives the tables parameters of their own, 0 at first."""
        if self.residual is None:
            self.residual = np.zeros(self.residual_shape, dtype=np.float32)

    @property
    def residual_shape(self) -> tuple[int, ...]:
        """Shape of `residual` where there is one."""
        return (self.rows.taps, self.groups * self.centroids, self.outputs)

    def vectors(self, q: Float32Array) -> Float32Array:
        """Inputs as sub-vectors ``[g, v, L]``."""
        return self._cut(self.rows.rows(q))

    def _cut(self, rows: Float32Array) -> Float32Array:
        if self.spare:
            rows = np.pad(rows, ((0, self.spare), (0, 0)))
        return rows.reshape(self.groups, self.subvec, -1)

    def codebooks(self) -> Int64Array:
        """The codebooks as integers of the input's format."""
        return quantise(self.books, 1.0, self.element)

    def indices(self, q: Float32Array, codebooks: Int64Array) -> NDArray[np.intp]:
        """Indices ``[g, L]``."""
        return self._indices(self.rows.rows(q), codebooks)

    def _indices(self, rows: Float32Array, codebooks: Int64Array) -> NDArray[np.intp]:
        return nearest(self._cut(rows), codebooks, self.metric, self.element)

    def place(self, q: Float32Array, ints: Integers) -> list[NDArray[Any]]:
        assert ints.codebooks is not None
        index = self.indices(q, ints.codebooks)
        return self.rows.hot(index, self.centroids, q.shape)

    def _multiplied(
        self, ints: Integers, placed: list[NDArray[Any]], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        return self.rows.hot_product(ints.hot, placed, shape)

    def forward(
        self, q: Float32Array, ints: Integers, placed: list[NDArray[Any]] | None = None
    ) -> Pass:
        if placed is not None:
            return super().forward(q, ints, placed)
        assert ints.codebooks is not None
        rows = self.rows.rows(q)
        index = self._indices(rows, ints.codebooks)
        kept = super().forward(q, ints, self.rows.hot(index, self.centroids, q.shape))
        kept.index, kept.rows = index, rows
        return kept

    def tied_tables(self) -> Float32Array:
        """Codebooks times weights ``[taps, g * c, n]``, in real units."""
        books = self.codebooks().astype(np.float32) * np.float32(self.in_scale)
        weight = self.weight.reshape(self.rows.taps, self.groups, self.subvec, -1)
        tables: Float32Array = np.matmul(books, weight)
        return tables.reshape(self.rows.taps, self.groups * self.centroids, -1)

    def real_tables(self) -> Float32Array:
        """The tables ``[taps, g * c, n]`` in real units, before rounding."""
        tables = self.tied_tables()
        if self.residual is not None:
            tables += self.residual
        return tables

    def largest(self) -> float:
        return float(np.abs(self.real_tables()).max())

    def integers(self) -> Integers:
        # In float32, which holds a table's integers, since this is done at every step.
        values = self.real_tables()
        values *= np.float32(1 / self.table_scale)
        values += np.float32(0.5)
        np.floor(values, out=values)
        np.clip(values, self.table.low, self.table.high, out=values)
        bias = self._bias()
        reach = self.rows.taps * self.groups * -self.table.low + int(np.abs(bias).max())
        wide = 2 * reach >= EXACT
        matrix = values.astype(np.float64) if wide else values
        hot = self.rows.hot_table(matrix, self.centroids)
        return Integers(matrix, bias, self.codebooks(), hot)

    def backward(
        self, kept: Pass, gradient: Float32Array, beta: float, wanted: bool, number: int = 0
    ) -> tuple[float, dict[str, Float32Array], Float32Array | None]:
        loss, towards = 0.0, gradient
        raw: dict[str, Float32Array] = {}
        by_s: Float32Array | None = None
        assert kept.index is not None
        assert kept.rows is not None
        rows = kept.rows
        if self.counting and number * kept.index.shape[1] < ENOUGH:
            raw["counts"], raw["sums"] = self._by_centroid(kept, self._cut(rows))
        free = self.residual is not None and self.moving
        # They keep true the slope that goes straight through. The first layer passes none on, and
        # tables that move freely do better without.
        if beta and (wanted or not free):
            worked = self.worked
            exact = worked.place(rows if worked is self.rows else worked.rows(kept.q), kept.shape)
            weight = self.weight[:, : self.rows.features] * np.float32(self.in_scale)
            s = self._biased(worked.product(self._worked(weight), exact, kept.shape))
            s -= self.moved.reshape(-1, *[1] * (s.ndim - 1))
            error = kept.acc * np.float32(self.table_scale)
            error -= s
            spread_of_s = float(s.var()) + 1e-9
            loss = 2 * beta * float(np.mean(error * error)) / spread_of_s
            error *= np.float32(2 * beta / (error.size * spread_of_s))
            by_s = -error
            towards = gradient + error
            spread = worked.spread(by_s, kept.shape)
            by_weight = worked.by_matrix(exact, spread, worked.features, self.outputs)
            by_weight = by_weight.reshape(weight.shape) * np.float32(self.in_scale)
            raw["weight"] = np.pad(by_weight, ((0, 0), (0, self.spare), (0, 0)))
        raw["bias"] = gradient.reshape(len(gradient), -1).sum(axis=1)
        spread = self.rows.spread(towards, kept.shape)
        by_rows: Float32Array | None = None
        if free:
            raw["table"] = self.rows.hot_by_matrix(
                kept.placed, spread, self.groups * self.centroids, self.outputs
            )
        else:
            by_rows = self._through_centroids(kept, spread, raw)
        by_choice: Float32Array | None = None
        if self.soft and (wanted or self.moving_books):
            by_choice, by_books = self._softly(kept, gradient, wanted)
            if by_books is not None:
                raw["choice"] = by_books
        if not wanted:
            return loss, raw, None
        straight = gradient * np.float32(1 - self.soft) if self.soft else gradient
        if by_s is not None:
            straight = straight + by_s
        if by_s is not None or self.soft:
            spread = self.rows.spread(straight, kept.shape)
        if by_rows is None or by_s is not None or self.soft:
            by_rows = self.rows.by_rows(self.weight, spread, kept.shape)
        if by_choice is not None:
            by_rows += np.float32(self.soft) * by_choice
        return loss, raw, self.rows.back(by_rows[: self.rows.features], kept.shape)

    def _softly(
        self, kept: Pass, gradient: Float32Array, wanted: bool
    ) -> tuple[Float32Array | None, Float32Array | None]:
        """Gradients through a soft choice of centroids by the rows ``[g * v, L]``, if ``wanted``,
        and, if they move, by the centroids' integers ``[g, c, v]``.
        """
        assert kept.rows is not None
        x = self._cut(kept.rows)
        spread = self.rows.spread(gradient, kept.shape)
        tables = kept.matrix.astype(np.float32, copy=False)
        worth = self.rows.by_rows(tables, spread, kept.shape)
        worth = worth.reshape(self.groups, self.centroids, -1)
        by_x, by_books = soft_gradient(
            x, self.codebooks(), worth, self.metric, inputs=wanted, centroids=self.moving_books
        )
        if by_books is not None:
            by_books *= np.float32(self.table_scale)
        if by_x is None:
            return None, by_books
        by_x *= np.float32(self.table_scale / self.in_scale)
        return by_x.reshape(self.groups * self.subvec, -1), by_books

    def _through_centroids(
        self, kept: Pass, spread: list[Float32Array], raw: dict[str, Float32Array]
    ) -> Float32Array:
        """Raw gradients by weights and codebooks without the one by the tables, which is c / v
        times the work; gives that by the rows ``[g * v, L]``.
        """
        assert kept.index is not None
        books = self.codebooks().astype(np.float32) * np.float32(self.in_scale)
        near = np.take_along_axis(books.transpose(0, 2, 1), kept.index[:, None, :], axis=2)
        placed = self.rows.place(near.reshape(-1, kept.index.shape[1]), kept.shape)
        part = self.rows.by_matrix(placed, spread, self.groups * self.subvec, self.outputs)
        raw["weight"] = raw["weight"] + part if "weight" in raw else part
        by_rows = self.rows.by_rows(self.weight, spread, kept.shape)
        if self.moving_books:
            parts = by_rows.reshape(self.groups, self.subvec, -1)
            raw["books"] = self._by_centroid(kept, parts)[1]
        return by_rows

    def _by_centroid(self, kept: Pass, x: Float32Array) -> tuple[Float32Array, Float32Array]:
        """How many sub-vectors every centroid was nearest to ``[g, c]``, and the sums of what
        belongs to these sub-vectors, ``x`` ``[g, v, L]``, by centroid ``[g, c, v]``.
        """
        assert kept.index is not None
        count = self.groups * self.centroids
        flat = (kept.index + self.centroids * np.arange(self.groups)[:, None]).ravel()
        sums = [
            np.bincount(flat, weights=x[:, d].ravel(), minlength=count) for d in range(self.subvec)
        ]
        counts = np.bincount(flat, minlength=count).reshape(self.groups, self.centroids)
        stacked = np.stack(sums, axis=-1).reshape(self.books.shape)
        return counts.astype(np.float32), stacked.astype(np.float32)

    def follow(self, counts: Float32Array, sums: Float32Array, pace: float) -> None:
        """Moves centroids towards the means of the sub-vectors that they were nearest to.

        Online k-means, as VQ-VAE updates its dictionary (arXiv 1711.00937, appendix A.1): a
        codebook that only gradients move falls behind activations that training moves too. A
        centroid of average use goes half of ``pace`` of the way; one hardly used, whose mean is
        uncertain, goes less.

        Parameters
        ----------
        counts, sums : float32 array ``[g, c]``, ``[g, c, v]``
            Of one batch, up to a common factor.
        pace : float
            0..1.
        """
        count = counts[..., None]
        usual = count.mean(axis=1, keepdims=True)
        self.books += np.float32(pace) * (sums - count * self.books) / (count + usual)

    def finish(self, raw: dict[str, Float32Array]) -> dict[str, Float32Array]:
        by_choice = raw.get("choice")
        if "table" not in raw:
            result = {key: gradient for key, gradient in raw.items() if key != "choice"}
            if "books" in raw:
                result["books"] = raw["books"] * np.float32(self.in_scale)
                if by_choice is not None:
                    result["books"] += by_choice
            return self._kept_in_shape(result)
        by_table = raw["table"].reshape(self.rows.taps, self.groups, self.centroids, -1)
        books = self.codebooks().astype(np.float32)
        by_weight = np.matmul(books.transpose(0, 2, 1), by_table) * np.float32(self.in_scale)
        result = {"weight": by_weight.reshape(self.weight.shape), "bias": raw["bias"]}
        if self.moving_books and by_choice is not None:
            # What the tables hold they learn themselves; which of it is fetched, centroids do.
            result["books"] = by_choice
        elif self.moving_books:
            weight = self.weight.reshape(self.rows.taps, self.groups, self.subvec, -1)
            by_books = np.matmul(by_table, weight.transpose(0, 1, 3, 2)).sum(axis=0)
            result["books"] = by_books * np.float32(self.in_scale)
        if "weight" in raw:
            result["weight"] += raw["weight"]
        if self.residual is not None:
            result["residual"] = raw["table"]
        result |= {key: raw[key] for key in ("counts", "sums") if key in raw}
        return self._kept_in_shape(result)

    def _kept_in_shape(self, gradients: dict[str, Float32Array]) -> dict[str, Float32Array]:
        """No gradient where the last sub-vector is padding."""
        gradients["weight"][:, self.rows.features :] = 0
        if self.spare and "books" in gradients:
            gradients["books"][-1, :, self.subvec - self.spare :] = 0
        return gradients

    def settle(self) -> None:
        np.clip(self.books, self.element.low, self.element.high, out=self.books)

    def rescale(self, in_scale: float) -> None:
        self.books *= np.float32(self.in_scale / in_scale)
        self.in_scale = in_scale
        self.settle()

    def ideal(self, q: Float32Array) -> Float32Array:
        index = self.indices(q, self.codebooks())
        hot = self.rows.hot(index, self.centroids, q.shape)
        table = self.rows.hot_table(self.real_tables(), self.centroids)
        return self._biased(self.rows.hot_product(table, hot, q.shape))


class Digits(Lookup):
    """An exact layer: integer weights, each table row the weight times what the digit is worth.

    Takes `Lookup`'s parameters, and ``centroids``, the radix.
    """

    def __init__(
        self,
        weight: Float32Array,
        bias: Float32Array,
        rows: Rows,
        element: Format,
        in_scale: float,
        table_bits: int,
        centroids: int,
    ):
        super().__init__(weight, bias, rows, element, in_scale, table_bits)
        self.worked = gathered(rows)
        self.digit = DigitSpec(element, centroids)
        self.worth = reachable(self.digit)
        self.centroids, self.subvec = centroids, 1

    def largest(self) -> float:
        return float(np.abs(self.weight).max()) * self.in_scale * int(np.abs(self.worth).max())

    def weights(self) -> Int64Array:
        """The integer weights ``[taps, K, n]``: as large as the tables can hold."""
        limit = self.table.high // int(np.abs(self.worth).max())
        real = self.weight.astype(np.float64) * self.in_scale
        return np.clip(quantise(real, self.table_scale, Format(32, True)), -limit, limit)

    def tables(self) -> Int64Array:
        """The table values ``[taps, K * D, c, n]``."""
        weights = self.weights()
        values = weights[:, :, None, None, :] * self.worth[:, :, None]
        return values.reshape(len(weights), -1, self.digit.centroids, self.outputs)

    def integers(self) -> Integers:
        weights, bias = self.weights(), self._bias()
        input_reach = max(-self.element.low, self.element.high)
        reach = int(np.abs(weights).sum(axis=(0, 1)).max()) * input_reach + int(np.abs(bias).max())
        kind = np.float64 if 2 * reach >= EXACT else np.float32
        return Integers(weights.astype(kind), bias, None)

    def place(self, q: Float32Array, ints: Integers) -> list[NDArray[Any]]:
        return self.worked.place(self.worked.rows(q), q.shape)

    def backward(
        self, kept: Pass, gradient: Float32Array, beta: float, wanted: bool, number: int = 0
    ) -> tuple[float, dict[str, Float32Array], Float32Array | None]:
        # Rounded weights stand for the weights straight through: the reconstruction terms cancel.
        rows = self.worked
        spread = rows.spread(gradient, kept.shape)
        by_weight = rows.by_matrix(kept.placed, spread, rows.features, self.outputs)
        raw = {
            "weight": by_weight.reshape(self.weight.shape) * np.float32(self.in_scale),
            "bias": gradient.reshape(len(gradient), -1).sum(axis=1),
        }
        if not wanted:
            return 0.0, raw, None
        by_rows = rows.by_rows(self._worked(self.weight), spread, kept.shape)
        return 0.0, raw, rows.back(by_rows, kept.shape)

    def ideal(self, q: Float32Array) -> Float32Array:
        rows = self.worked
        placed = rows.place(rows.rows(q) * np.float32(self.in_scale), q.shape)
        return self._biased(rows.product(self._worked(self.weight), placed, q.shape))


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
