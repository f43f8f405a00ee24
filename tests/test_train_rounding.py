"""Rounding with error feedback, against plain loops and exhaustive search."""

import itertools

import numpy as np
import pytest

from lutgen.numeric import Format
from lutgen.train import rounding
from lutgen.train.rounding import Feedback, centred


def hessian(rng, unknowns, rows=None, ridge=0.1):
    """A Gram matrix whose regressors hang together."""
    mixed = rng.standard_normal((rows or 3 * unknowns, unknowns))
    mixed += 2 * mixed[:, rng.permutation(unknowns)] + mixed[:, :1]
    return mixed.T @ mixed / len(mixed) + ridge * np.eye(unknowns)


def costs(matrix, errors):
    return np.einsum("in,ij,jn->n", errors, matrix, errors)


def nearest(values, fmt):
    return np.clip(np.floor(values + 0.5), fmt.low, fmt.high)


def test_centred_tables_reach_equally_far_both_ways():
    tables = np.array([[1.0, 0.0], [3.0, -8.0], [2.0, 2.0], [7.0, 5.0], [7.0, 5.0], [7.0, 5.0]])
    want = [[-1, 3], [1, -5], [0, 5], [0, 0], [0, 0], [0, 0]]
    np.testing.assert_array_equal(centred(tables, 3), want)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("block", [1, 3, 64])
def test_every_entry_goes_where_those_to_come_can_mend_it_best(bits, block, monkeypatch):
    """By loops: with the errors so far given, the others free, the best real value is rounded."""
    monkeypatch.setattr(rounding, "BLOCK", block)
    rng = np.random.default_rng(bits)
    fmt = Format(bits, True)
    matrix = hessian(rng, 7)
    values = rng.standard_normal((7, 3)) * fmt.high * 0.7
    feedback = Feedback(matrix, fmt)
    order = sorted(range(7), key=lambda i: -matrix[i, i])
    assert feedback.order.tolist() == order
    want = np.zeros((7, 3))
    for n in range(3):
        for at, i in enumerate(order):
            done, free = order[:at], order[at:]
            errors = values[done, n] - want[done, n]
            best = -np.linalg.solve(matrix[np.ix_(free, free)], matrix[np.ix_(free, done)] @ errors)
            want[i, n] = nearest(values[i, n] - best[0], fmt)
    got = feedback._fed(values[order].astype(np.float32))
    np.testing.assert_array_equal(got, want[order])


@pytest.mark.parametrize("block", [2, 64])
def test_single_entries_move_where_that_helps(block, monkeypatch):
    monkeypatch.setattr(rounding, "BLOCK", block)
    monkeypatch.setattr(rounding, "SWEEPS", 1)
    rng = np.random.default_rng(1)
    fmt = Format(4, True)
    matrix = hessian(rng, 9)
    values = 4 * rng.standard_normal((9, 4))
    feedback = Feedback(matrix, fmt)
    ordered = matrix[np.ix_(feedback.order, feedback.order)]
    want = nearest(values, fmt)
    got = want.astype(np.float32)
    feedback._moved(values.astype(np.float32), got)
    for i in range(9):
        tried = np.arange(fmt.low, fmt.high + 1)
        for n in range(4):
            column = np.repeat(want[:, n : n + 1], len(tried), axis=1)
            column[i] = tried
            want[i, n] = tried[costs(ordered, values[:, n : n + 1] - column).argmin()]
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("bits", range(2, 9))
def test_costs_are_never_above_those_of_the_nearest(bits):
    fmt = Format(bits, True)
    for seed in range(20):
        rng = np.random.default_rng((bits, seed))
        unknowns = int(rng.integers(1, 30))
        # Also where samples are fewer than unknowns, and where much is clipped.
        matrix = hessian(rng, unknowns, int(rng.integers(1, 60)), 10.0 ** rng.uniform(-6, 0))
        values = rng.standard_normal((unknowns, 6)) * fmt.high * rng.uniform(0.2, 1.5)
        feedback = Feedback(matrix, fmt)
        got = feedback.rounded(values)
        assert got.min() >= fmt.low
        assert got.max() <= fmt.high
        cost = costs(matrix, values - got)
        limit = costs(matrix, values - nearest(values, fmt))
        assert (cost <= limit * 1.001 + 1e-4).all(), (seed, cost, limit)
        np.testing.assert_allclose(feedback.cost(values - got), cost, rtol=2e-2, atol=1e-3)


def test_errors_of_entries_that_are_seen_together_cancel():
    rng = np.random.default_rng(3)
    fmt = Format(4, True)
    index = rng.integers(0, 4, (12, 600))
    index[1::2] = np.where(rng.random((6, 600)) < 0.8, index[::2], index[1::2])
    hot = np.concatenate([index == j for j in range(4)]).astype(float)
    hot -= hot.mean(axis=1, keepdims=True)
    values = 3 * rng.standard_normal((48, 20))
    got = Feedback(hot @ hot.T + 0.1 * np.eye(48), fmt).rounded(values)

    def left(tables):
        return np.mean((hot.T @ (tables - values)) ** 2)

    assert left(got) < 0.5 * left(nearest(values, fmt))


def test_few_entries_come_close_to_the_best_there_is():
    rng = np.random.default_rng(4)
    fmt = Format(2, True)
    total, best = 0.0, 0.0
    for _ in range(20):
        matrix = hessian(rng, 5)
        values = rng.standard_normal((5, 1))
        every = np.array(list(itertools.product(range(fmt.low, fmt.high + 1), repeat=5))).T
        best += costs(matrix, values - every).min()
        total += costs(matrix, values - Feedback(matrix, fmt).rounded(values))[0]
    assert total < 1.15 * best


def test_many_outputs_go_in_parts(monkeypatch):
    rng = np.random.default_rng(5)
    values = 3 * rng.standard_normal((9, 11))
    feedback = Feedback(hessian(rng, 9), Format(3, True))
    whole = feedback.rounded(values)
    monkeypatch.setattr(rounding, "WORKED", 20)
    np.testing.assert_array_equal(feedback.rounded(values), whole)


def test_a_matrix_that_rounding_made_indefinite():
    rng = np.random.default_rng(6)
    some = rng.standard_normal((40, 3))
    matrix = some @ some.T
    matrix -= 1e-5 * np.mean(np.diag(matrix)) * np.eye(40)
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(matrix)
    values = 2 * rng.standard_normal((40, 5))
    fmt = Format(4, True)
    got = Feedback(matrix, fmt).rounded(values)
    # Where three directions count, forty entries can make good nearly all.
    gap = np.mean((some.T @ (values - got)) ** 2)
    assert gap < 0.05 * np.mean((some.T @ (values - nearest(values, fmt))) ** 2)
