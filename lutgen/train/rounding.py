"""Rounding a layer's tables so that the errors of its entries cancel in its results.

Rounded to the nearest, every entry errs on its own, and what a layer sums up errs by all of them.
Here entries are rounded one after the other, and what each lacks is made good by those still to
come, as far as the samples of the refit say that they are looked up together. That is optimal brain
quantisation (Frantar and Alistarh, arXiv 2208.11580) in the fixed order of GPTQ (Frantar et al.,
arXiv 2210.17323), formed as error feedback with one triangular factor, LDLQ (Chee et al., arXiv
2307.13304), which is the same; then single entries move by a step where that helps, as in QuantEase
(Behdin et al., arXiv 2309.01885). A lookup layer's regressors are one-hot indices, so that the
Hessian is the Gram matrix of the refit.
"""

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import Format
from lutgen.train.optim import Float32Array

__all__ = ["Feedback", "centred"]

BLOCK = 64  # unknowns that are rounded before the others hear of it
SWEEPS = 2  # over all entries, to move single ones
WORKED = 1 << 24  # values of tables that are rounded at once

Float64Array = NDArray[np.float64]


def centred(tables: Float64Array, centroids: int) -> Float64Array:
    """Tables ``[unknowns, n]`` less the middle of every codebook's entries.

    As every row fetches one entry of each codebook, that is a constant, which the bias takes over:
    entries then reach half as far, and as many bits round them twice as finely.
    """
    cut = tables.reshape(-1, centroids, tables.shape[1])
    middle = (cut.max(axis=1, keepdims=True) + cut.min(axis=1, keepdims=True)) / 2
    result: Float64Array = (cut - middle).reshape(tables.shape)
    return result


def _root(matrix: Float64Array) -> Float64Array:
    """The lower triangular root; of sums of float32 products, which may be a little indefinite."""
    mean = float(np.mean(np.diag(matrix)))
    for more in (0.0, 1e-6, 1e-4):
        try:
            return np.asarray(np.linalg.cholesky(matrix + more * mean * np.eye(len(matrix))))
        except np.linalg.LinAlgError:
            pass
    return np.asarray(np.linalg.cholesky(matrix + 1e-2 * mean * np.eye(len(matrix))))


class Feedback:
    """Rounds tables with the least error of the results, as samples tell it.

    Parameters
    ----------
    hessian : float64 array ``[unknowns, unknowns]``
        Positive definite: what an error of the tables costs, as a quadratic form.
    table : Format
        What entries are rounded to.
    """

    def __init__(self, hessian: Float64Array, table: Format):
        self.table = table
        # Those that weigh most go first, as all others can make good what they lack.
        self.order = np.argsort(-np.diag(hessian), kind="stable")
        ordered = hessian[np.ix_(self.order, self.order)]
        # Of the reversed matrix, so that an entry hears of those before it.
        root = _root(ordered[::-1, ::-1])[::-1, ::-1]
        self.hessian: Float32Array = ordered.astype(np.float32)
        scale = np.diag(root)
        self.weights = scale**2
        self.factor: Float32Array = (root / scale).astype(np.float32)

    def rounded(self, values: Float64Array) -> NDArray[np.int32]:
        """Integers of ``table`` for real ``values`` ``[unknowns, n]``, in table entries of 1.

        In no output do they cost more than the nearest ones.
        """
        some = max(1, WORKED // len(values))
        parts = [
            self._part(values[self.order, start : start + some].astype(np.float32))
            for start in range(0, values.shape[1], some)
        ]
        result = np.empty(values.shape, dtype=np.int32)
        result[self.order] = np.concatenate(parts, axis=1)
        return result

    def cost(self, errors: NDArray[np.floating]) -> Float64Array:
        """What errors ``[unknowns, n]`` of the tables cost in each output."""
        return self._cost(errors[self.order].astype(np.float32))

    def _cost(self, errors: Float32Array) -> Float64Array:
        seen = (self.factor.T @ errors).astype(np.float64)
        return np.asarray(self.weights @ (seen * seen))

    def _part(self, values: Float32Array) -> Float32Array:
        near = self._near(values)
        result = self._fed(values)
        self._moved(values, result)
        worse = self._cost(values - result) > self._cost(values - near)
        result[:, worse] = near[:, worse]
        return result

    def _near(self, values: Float32Array) -> Float32Array:
        result: Float32Array = np.floor(values + np.float32(0.5))
        return np.clip(result, self.table.low, self.table.high, out=result)

    def _fed(self, values: Float32Array) -> Float32Array:
        count = len(values)
        result = np.empty_like(values)
        owed = np.zeros_like(values)
        for start in range(0, count, BLOCK):
            end = min(count, start + BLOCK)
            factor = self.factor[start:end]
            errors = np.empty((end - start, values.shape[1]), dtype=np.float32)
            for i in range(start, end):
                result[i] = self._near(values[i] + owed[i])
                errors[i - start] = values[i] - result[i]
                owed[i + 1 : end] += factor[i - start, i + 1 : end, None] * errors[i - start]
            owed[end:] += factor[:, end:].T @ errors
        return result

    def _moved(self, values: Float32Array, result: Float32Array) -> None:
        """Moves entries one after the other to where they cost least, the others given."""
        slope = self.hessian @ (values - result)
        own = np.diag(self.hessian)
        for _ in range(SWEEPS):
            for start in range(0, len(values), BLOCK):
                end = min(len(values), start + BLOCK)
                moves = np.empty((end - start, values.shape[1]), dtype=np.float32)
                for i in range(start, end):
                    better = self._near(result[i] + slope[i] / own[i])
                    moves[i - start] = better - result[i]
                    result[i] = better
                    slope[start:end] -= self.hessian[start:end, i, None] * moves[i - start]
                slope[:start] -= self.hessian[:start, start:end] @ moves
                slope[end:] -= self.hessian[end:, start:end] @ moves
