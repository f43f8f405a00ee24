"""Lookup layers in training: integers against loops over every window, gradients against
differences of what is stated to be differentiated.
"""

from copy import copy

import numpy as np
import pytest

from lutgen.numeric import Format, ceil_div
from lutgen.spec import METRICS, DigitSpec
from lutgen.train import lookups
from lutgen.train.conv import Dense, Taps, Window
from lutgen.train.lookups import Digits, Vectors, reachable

KINDS = ("linear", "hwc", "chw", "taps")


def geometry(rng, kind):
    """How a layer's inputs become rows, and the shape of its inputs."""
    channels = int(rng.integers(1, 5))
    if kind == "linear":
        features = int(rng.integers(1, 9))
        return Dense(features), (features, int(rng.integers(1, 6)))
    kernel, stride = (tuple(rng.integers(1, 4, size=2).tolist()) for _ in range(2))
    pad = tuple(int(rng.integers(0, k)) for k in (*kernel, *kernel))
    window = Window(kernel, stride, pad)
    size = [int(rng.integers(k, k + 4)) for k in kernel]
    shape = (channels, int(rng.integers(1, 4)), *size)
    if kind == "taps":
        return Taps(channels, window), shape
    return Dense(channels * kernel[0] * kernel[1], window, kind), shape


def random_format(rng):
    return Format(int(rng.integers(2, 10)), bool(rng.random() < 0.5))


def make(rng, rows, element, *, metric=None, v=None, c=None, bits=None, outputs=3):
    """A layer with random parameters; codebooks hold integers."""
    metric = metric or str(rng.choice(METRICS))
    v = v or int(rng.integers(1, rows.features + 2))
    weight = rng.standard_normal((rows.taps, rows.features, outputs)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    layer = Vectors(
        weight,
        bias,
        rows,
        element,
        0.25,
        bits or int(rng.integers(2, 9)),
        v,
        c or int(rng.integers(2, 8)),
        metric,
    )
    layer.books[:] = rng.integers(element.low, element.high + 1, layer.books.shape)
    if layer.spare:
        layer.books[-1, :, v - layer.spare :] = 0
    layer.table_scale = layer.largest() / layer.table.high
    return layer


def digits(rng, rows, element, *, c=4, bits=16, outputs=3):
    weight = rng.standard_normal((rows.taps, rows.features, outputs)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    layer = Digits(weight, bias, rows, element, 0.25, bits, c)
    layer.table_scale = layer.largest() / layer.table.high
    return layer


def inputs(rng, element, shape):
    return rng.integers(element.low, element.high + 1, shape).astype(np.float32)


def row_lists(rows, x):
    """For every output, in order, its input rows: pairs of tap and row. By loops over the rules."""
    if isinstance(rows, Dense) and rows.window is None:
        return [[(0, x[:, b])] for b in range(x.shape[1])]
    window = rows.window
    (kh, kw), (sh, sw), (top, left, _, _) = window.kernel, window.stride, window.pad
    channels, batch, height, width = x.shape
    result = []
    for b, oy, ox in np.ndindex(batch, *window.out(height, width)):
        pixels = {}
        for ty, tx in np.ndindex(kh, kw):
            y, z = oy * sh + ty - top, ox * sw + tx - left
            inside = 0 <= y < height and 0 <= z < width
            pixels[ty * kw + tx] = x[:, b, y, z] if inside else None
        if isinstance(rows, Taps):
            result.append([(tap, p) for tap, p in pixels.items() if p is not None])
            continue
        known = [np.zeros(channels, x.dtype) if p is None else p for p in pixels.values()]
        parts = np.stack(known, axis=1 if rows.order == "chw" else 0)
        result.append([(0, parts.reshape(-1))])
    return result


def closest(part, book, metric):
    """By Python's integers, ties to the lowest."""

    def distance(entry):
        terms = [abs(int(a) - int(b)) for a, b in zip(part, entry, strict=True)]
        if metric == "chebyshev":
            return max(terms)
        return sum(t if metric == "l1" else t * t for t in terms)

    return min(range(len(book)), key=lambda j: distance(book[j]))


def chosen(layer, x):
    """For every output its pairs of tap and indices."""
    books = layer.codebooks()
    result = []
    for rows in row_lists(layer.rows, x):
        found = []
        for tap, row in rows:
            padded = np.pad(row, (0, layer.spare)).reshape(layer.groups, layer.subvec)
            index = [closest(p, books[g], layer.metric) for g, p in enumerate(padded)]
            found.append((tap, np.array(index)))
        result.append(found)
    return result


def summed(tables, bias, picked, centroids):
    """Results ``[n, outputs]`` of tables ``[taps, g * c, n]`` at those indices."""
    result = np.tile(np.asarray(bias, dtype=tables.dtype)[:, None], (1, len(picked)))
    for at, pairs in enumerate(picked):
        for tap, index in pairs:
            places = index + centroids * np.arange(len(index))
            result[:, at] += tables[tap, places].sum(axis=0)
    return result


def products(weight, bias, rows, x):
    """Results ``[n, outputs]`` of a layer without lookups."""
    result = np.tile(np.asarray(bias)[:, None], (1, len(row_lists(rows, x))))
    for at, pairs in enumerate(row_lists(rows, x)):
        for tap, row in pairs:
            result[:, at] += row @ weight[tap, : rows.features]
    return result


# Forward.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(12))
def test_vectors_are_sums_of_table_rows(kind, seed):
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    rows, shape = geometry(rng, kind)
    element = random_format(rng)
    layer = make(rng, rows, element)
    if seed % 2:
        layer.free()
        layer.residual[:] = rng.standard_normal(layer.residual.shape)
    if seed % 3 == 0:  # accumulators that float32 does not hold
        layer.bias[:] = 3e7 * layer.table_scale * rng.standard_normal(layer.bias.shape)
    q = inputs(rng, element, shape)
    ints = layer.integers()
    assert ints.matrix.dtype == (np.float64 if seed % 3 == 0 else np.float32)
    matrix = ints.matrix.astype(np.int64)
    real = layer.tied_tables() + (0 if layer.residual is None else layer.residual)
    units = np.clip(real / layer.table_scale, layer.table.low, layer.table.high)
    assert np.abs(units - matrix).max() <= 0.5 + 1e-4
    expected = summed(matrix, ints.bias, chosen(layer, q), layer.centroids)
    acc = layer.accumulate(q, ints)
    np.testing.assert_array_equal(acc.reshape(layer.outputs, -1), expected)
    again = layer.forward(q, ints, layer.place(q, ints)).acc
    np.testing.assert_array_equal(again, acc)


def test_tied_tables_are_codebooks_times_weights():
    rng = np.random.default_rng(0)
    rows = Taps(5, Window((2, 1)))
    layer = make(rng, rows, Format(6, True), v=2, c=3)
    assert layer.spare == 1
    tables = layer.tied_tables().reshape(2, 3, 3, 3)
    for tap, group, j in np.ndindex(2, 3, 3):
        weight = np.pad(layer.weight[tap, :5], ((0, 1), (0, 0)))[2 * group : 2 * group + 2]
        want = layer.codebooks()[group, j] * 0.25 @ weight
        np.testing.assert_allclose(tables[tap, group, j], want, rtol=1e-5, atol=1e-5)
    layer.free()
    layer.residual[:] = 1
    np.testing.assert_allclose(layer.real_tables(), tables.reshape(2, 9, 3) + 1, rtol=1e-6)
    layer.free()
    assert (layer.residual == 1).all()  # tables that are free stay as they are


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wide", [False, True])
def test_digits_are_products_with_whole_weights(kind, wide):
    rng = np.random.default_rng((KINDS.index(kind), wide))
    rows, shape = geometry(rng, kind)
    element = Format(10, True) if wide else Format(6, False)
    layer = digits(rng, rows, element)
    if wide:
        layer.bias[:] = 2e7 * layer.table_scale * rng.standard_normal(3)
    q = inputs(rng, element, shape)
    ints = layer.integers()
    weights = layer.weights()
    np.testing.assert_array_equal(ints.matrix, weights)
    assert np.abs(weights).max() > 10
    assert ints.matrix.dtype == (np.float64 if wide else np.float32)
    expected = products(weights, ints.bias, rows, q.astype(np.int64))
    np.testing.assert_array_equal(layer.accumulate(q, ints).reshape(3, -1), expected)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("centroids", [2, 4, 16])
def test_digit_tables_hold_the_same_products(signed, centroids):
    rng = np.random.default_rng(centroids)
    element = Format(5, signed)
    layer = digits(rng, Dense(3), element, c=centroids, outputs=2)
    tables = layer.tables()
    assert tables.shape == (1, 3 * layer.digit.digits, centroids, 2)
    assert layer.table.low <= tables.min()
    assert tables.max() <= layer.table.high
    assert np.abs(tables).max() > 0.9 * layer.table.high  # as large as tables can hold
    q = rng.integers(element.low, element.high + 1, (40, 3))
    codes = layer.digit.compute(q).reshape(40, -1)
    sums = tables[0, np.arange(codes.shape[1]), codes].sum(axis=1)
    np.testing.assert_array_equal(sums, q @ layer.weights()[0])


def test_digit_rows_are_weights_times_worth():
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((1, 3, 2)).astype(np.float32)
    bias = np.zeros(2, dtype=np.float32)
    layer = Digits(weight, bias, Dense(3), Format(5, False), 1.0, 16, 16)
    layer.table_scale = 0.01
    values = layer.tables().reshape(3, 2, 16, 2)
    weights = layer.weights()[0]
    np.testing.assert_array_equal(weights, np.floor(weight[0].astype(np.float64) / 0.01 + 0.5))
    np.testing.assert_array_equal(values[:, 0], weights[:, None, :] * np.arange(16)[:, None])
    np.testing.assert_array_equal(values[:, 1, 1], weights * 16)
    assert not values[:, 1, 2:].any()  # 5 bits: the second digit is 0 or 1


@pytest.mark.parametrize("signed", [False, True])
def test_reachable_digits_rebuild_every_activation(signed):
    digit = DigitSpec(Format(6, signed), 16)
    q = np.arange(digit.element.low, digit.element.high + 1)
    codes = digit.compute(q).reshape(len(q), -1)
    worth = reachable(digit)
    np.testing.assert_array_equal(worth[np.arange(digit.digits), codes].sum(axis=1), q)


@pytest.mark.parametrize("kind", KINDS)
def test_ideal_results_are_not_rounded(kind):
    rng = np.random.default_rng(KINDS.index(kind))
    rows, shape = geometry(rng, kind)
    element = random_format(rng)
    layer = make(rng, rows, element, bits=2)
    q = inputs(rng, element, shape)
    real = layer.real_tables().astype(np.float64)
    want = summed(real, layer.bias, chosen(layer, q), layer.centroids)
    got = layer.ideal(q).reshape(layer.outputs, -1)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)
    exact = digits(rng, rows, element)
    want = products(exact.weight.astype(np.float64), exact.bias, rows, q * 0.25)
    np.testing.assert_allclose(exact.ideal(q).reshape(3, -1), want, rtol=1e-4, atol=1e-3)


def test_another_scale_of_the_inputs():
    rng = np.random.default_rng(3)
    layer = make(rng, Dense(4), Format(8, True), v=2)
    layer.books[:] = rng.integers(-60, 61, layer.books.shape)
    tables = layer.tied_tables()
    layer.rescale(0.125)  # half: all is twice as much
    np.testing.assert_allclose(layer.tied_tables(), tables, rtol=1e-6)
    assert layer.in_scale == 0.125
    layer.rescale(0.01)
    assert np.abs(layer.books).max() <= 128  # inputs end there too
    exact = digits(rng, Dense(4), Format(8, True))
    weight = exact.weight.copy()
    exact.rescale(0.125)
    assert exact.in_scale == 0.125
    np.testing.assert_array_equal(exact.weight, weight)


def test_settling_brings_centroids_back():
    layer = make(np.random.default_rng(4), Dense(3), Format(4, False), v=3, c=2)
    layer.books[:] = [[[-3, 2.4, 99], [0, 15, 15.2]]]
    layer.settle()
    assert layer.books.tolist() == [[[0, np.float32(2.4), 15], [0, 15, 15]]]
    assert layer.codebooks().tolist() == [[[0, 2, 15], [0, 15, 15]]]


@pytest.mark.parametrize("kind", KINDS)
def test_centroids_follow_what_they_serve(kind):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        rows, shape = geometry(rng, kind)
        layer = make(rng, rows, Format(5, True))
        x = inputs(rng, layer.element, shape)
        layer.counting = True
        kept = layer.forward(x, layer.integers())
        gradients = layer.finish(layer.backward(kept, np.ones_like(kept.acc), 0.0, False)[1])
        parts, books = layer.vectors(x), layer.books.copy()
        layer.follow(gradients["counts"], gradients["sums"], 0.5)
        usual = parts.shape[2] / layer.centroids
        for g in range(layer.groups):
            picked = [closest(p, books[g], layer.metric) for p in parts[g].T]
            for j in range(layer.centroids):
                mine = parts[g][:, [k == j for k in picked]]
                want = books[g, j]
                if mine.size:
                    gap = mine.mean(axis=1) - want
                    want = want + 0.5 * gap * mine.shape[1] / (mine.shape[1] + usual)
                np.testing.assert_allclose(layer.books[g, j], want, rtol=1e-5, atol=1e-5)


def test_the_first_parts_of_a_batch_are_followed(monkeypatch):
    rng = np.random.default_rng(3)
    rows, shape = geometry(rng, "linear")
    layer = make(rng, rows, Format(5, True))
    kept = layer.forward(inputs(rng, layer.element, shape), layer.integers())
    many = kept.index.shape[1]
    for enough, parts in ((1, 1), (many, 1), (many + 1, 2), (3 * many, 3)):
        monkeypatch.setattr(lookups, "ENOUGH", enough)
        for counting in (False, True):
            layer.counting = counting
            raws = [layer.backward(kept, kept.acc, 0.0, False, k)[1] for k in range(4)]
            assert ["counts" in raw for raw in raws] == [counting and k < parts for k in range(4)]
            assert ["sums" in raw for raw in raws] == ["counts" in raw for raw in raws]


# Backward.


def slopes(f, array, step=0.5):
    """Gradient by ``array`` (float64, changed and put back) by central differences: exact where
    ``f`` is a polynomial of second degree.
    """
    result = np.zeros(array.shape)
    for at in np.ndindex(array.shape):
        kept = array[at]
        array[at] = kept + step
        above = f()
        array[at] = kept - step
        below = f()
        array[at] = kept
        result[at] = (above - below) / (2 * step)
    return result


def close(got, want):
    want = np.asarray(want)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-4 * max(1.0, np.abs(want).max()))


class Surrogate:
    """What `Vectors.backward` differentiates, in float64.

    With S the products, Q the lookups: the task reads Q for parameters and S for inputs; both
    reconstruction terms stop the other's gradient; indices, rounding errors and the variance of S
    are held.
    """

    def __init__(self, layer, q, upstream, beta):
        self.layer, self.upstream, self.beta = layer, upstream.reshape(layer.outputs, -1), beta
        self.weight = layer.weight[:, : layer.rows.features].astype(np.float64)
        self.bias = layer.bias.astype(np.float64)
        self.books = layer.codebooks().astype(np.float64)
        free = layer.residual is not None
        shape = (layer.rows.taps, layer.groups * layer.centroids, layer.outputs)
        self.residual = layer.residual.astype(np.float64) if free else np.zeros(shape)
        self.x = q.astype(np.float64) * layer.in_scale
        self.picked = chosen(layer, q)
        acc = layer.accumulate(q, layer.integers()).reshape(layer.outputs, -1)
        self.q = acc.astype(np.float64) * layer.table_scale
        self.rest = self.q - self.lookups()
        self.s = self.products()
        self.variance = self.s.var()

    def tables(self):
        layer = self.layer
        weight = np.pad(self.weight, ((0, 0), (0, layer.spare), (0, 0)))
        weight = weight.reshape(layer.rows.taps, layer.groups, layer.subvec, -1)
        tied = self.books * layer.in_scale @ weight
        return tied.reshape(self.residual.shape) + self.residual

    def lookups(self):
        return summed(self.tables(), self.bias, self.picked, self.layer.centroids)

    def products(self):
        return products(self.weight, self.bias, self.layer.rows, self.x)

    def terms(self, q, s):
        return self.beta / self.variance * (np.mean((self.q - s) ** 2) + np.mean((q - self.s) ** 2))

    def by_parameters(self):
        q = self.lookups() + self.rest
        return (q * self.upstream).sum() + self.terms(q, self.products())

    def by_inputs(self):
        s = self.products()
        return (s * self.upstream).sum() + self.terms(self.q, s)


@pytest.mark.parametrize("tables", ["tied", "free", "resting"])
@pytest.mark.parametrize("beta", [0.0, 0.7])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_vectors(kind, beta, tables):
    rng = np.random.default_rng((KINDS.index(kind), beta > 0, len(tables)))
    rows, shape = geometry(rng, kind)
    element = Format(4, bool(rng.random() < 0.5))
    layer = make(rng, rows, element, c=3, v=min(3, rows.features + 1), bits=4, outputs=2)
    if tables != "tied":
        layer.free()
        layer.residual[:] = rng.standard_normal(layer.residual.shape)
        layer.moving = tables == "free"
    q = inputs(rng, element, shape)
    ints = layer.integers()
    kept = layer.forward(q, ints)
    upstream = rng.standard_normal(kept.acc.shape).astype(np.float32)
    loss, raw, back = layer.backward(kept, upstream.copy(), beta, True)
    gradients = layer.finish(raw)
    model = Surrogate(layer, q, upstream, beta)
    assert loss == pytest.approx(model.terms(model.q, model.s), rel=1e-3)
    close(gradients["weight"][:, : rows.features], slopes(model.by_parameters, model.weight))
    assert not gradients["weight"][:, rows.features :].any()
    close(gradients["bias"], slopes(model.by_parameters, model.bias))
    by_books = slopes(model.by_parameters, model.books)
    if layer.spare:
        assert not by_books[-1, :, layer.subvec - layer.spare :].any()
    close(gradients["books"], by_books)
    assert set(gradients) - {"residual"} == {"weight", "bias", "books"}
    assert ("residual" in gradients) == (tables == "free")
    if tables == "free":
        close(gradients["residual"], slopes(model.by_parameters, model.residual))
    close(back, slopes(model.by_inputs, model.x))
    assert layer.backward(layer.forward(q, ints), upstream, beta, False)[2] is None


@pytest.mark.parametrize("kind", ["linear", "hwc", "chw"])
def test_what_the_bias_takes_from_the_tables_changes_nothing(kind):
    """Neither results nor losses nor gradients: the weights know nothing of it."""
    rng = np.random.default_rng(KINDS.index(kind))
    rows, shape = geometry(rng, kind)
    layer = make(rng, rows, Format(4, True), c=3, v=min(3, rows.features + 1))
    layer.free()
    q = inputs(rng, layer.element, shape)
    upstream, results = None, []
    for taken in (0, layer.table_scale * rng.integers(-3, 4, (layer.groups, layer.outputs))):
        cut = layer.residual.reshape(layer.groups, layer.centroids, -1)
        cut -= np.reshape(taken, (-1, 1, np.size(taken) // layer.groups or 1))
        total = np.sum(taken, axis=0)
        layer.bias += total
        layer.moved += total
        kept = layer.forward(q, layer.integers())
        upstream = rng.standard_normal(kept.acc.shape) if upstream is None else upstream
        loss, raw, back = layer.backward(kept, upstream.astype(np.float32), 0.7, True)
        results.append((kept.acc, loss, *layer.finish(raw).values(), back))
    assert np.any(layer.moved)
    for plain, moved in zip(*results, strict=True):
        np.testing.assert_allclose(moved, plain, rtol=1e-3, atol=1e-4 * np.abs(plain).max())
    other = copy(layer)  # shares its arrays
    other.tie()
    assert other.residual is None
    assert not other.moved.any()
    assert layer.residual is not None
    assert layer.moved.any()


def test_gradients_where_the_last_sub_vector_is_padding():
    """Even if the padding of weights and codebooks were not 0, nothing must move there."""
    rng = np.random.default_rng(5)
    layer = make(rng, Dense(5), Format(4, True), v=3, c=3)
    layer.weight[:] = 1
    layer.books[:] = 2
    q = inputs(rng, layer.element, (5, 6))
    for free in (False, True):
        if free:
            layer.free()
        kept = layer.forward(q, layer.integers())
        gradients = layer.finish(layer.backward(kept, np.ones_like(kept.acc), 0.5, False)[1])
        assert not gradients["weight"][:, 5:].any()
        assert not gradients["books"][-1, :, 2:].any()
        assert gradients["books"][-1, :, :2].any()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_parts_add_up(kind):
    rng = np.random.default_rng(KINDS.index(kind))
    rows, shape = geometry(rng, kind)
    shape = (shape[0], 4, *shape[2:])
    element = Format(5, False)
    for layer in (make(rng, rows, element), digits(rng, rows, element)):
        q = inputs(rng, element, shape)
        ints = layer.integers()
        kept = layer.forward(q, ints)
        upstream = rng.standard_normal(kept.acc.shape).astype(np.float32)
        whole = layer.finish(layer.backward(kept, upstream, 0.0, False)[1])
        halves = [
            layer.backward(layer.forward(q[:, s], ints), upstream[:, s], 0.0, False)[1]
            for s in (slice(0, 1), slice(1, 4))
        ]
        total = layer.finish({key: halves[0][key] + halves[1][key] for key in halves[0]})
        assert total.keys() == whole.keys()
        for key, gradient in total.items():
            close(gradient, whole[key])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_digits(kind):
    rng = np.random.default_rng((1, KINDS.index(kind)))
    rows, shape = geometry(rng, kind)
    element = Format(4, True)
    layer = digits(rng, rows, element, outputs=2)
    q = inputs(rng, element, shape)
    kept = layer.forward(q, layer.integers())
    upstream = rng.standard_normal(kept.acc.shape).astype(np.float32)
    loss, raw, back = layer.backward(kept, upstream, 0.7, True)
    assert loss == 0
    gradients = layer.finish(raw)
    weight, bias = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
    x = q.astype(np.float64) * layer.in_scale

    def task():
        return (products(weight, bias, rows, x) * upstream.reshape(2, -1)).sum()

    close(gradients["weight"], slopes(task, weight))
    close(gradients["bias"], slopes(task, bias))
    close(back, slopes(task, x))
    assert layer.backward(kept, upstream, 0.0, False)[2] is None


def test_padding_of_the_last_codebook_is_as_long_as_it_must_be():
    rng = np.random.default_rng(6)
    for features, v in [(1, 3), (4, 4), (5, 4), (3, 7)]:
        layer = make(rng, Dense(features), Format(4, False), v=v)
        assert layer.groups == ceil_div(features, v)
        assert layer.weight.shape[1] == layer.groups * v
