"""Stages without gradients: codebooks by k-means, tables by regression, errors paid at joins."""

import numpy as np
import pytest
from networks import inside, random_inputs, random_lookup_net
from test_train_lookups import chosen, row_lists

from lutgen.numeric import Format
from lutgen.train import refit as closed
from lutgen.train import walk as walking
from lutgen.train.arch import build, he
from lutgen.train.conv import Dense, Taps, Window
from lutgen.train.convert import LayerOptions, convert
from lutgen.train.floatnet import (
    Add,
    Conv2d,
    Flatten,
    FloatNet,
    Linear,
    ReLU,
    Weighted,
)
from lutgen.train.fold import fold_batch_norm
from lutgen.train.kmeans import assign
from lutgen.train.lookups import Digits, Vectors
from lutgen.train.lutnet import LookupOp, Wire
from lutgen.train.refit import refit, regress, replace

UNSIGNED = Format(8, False)
SOURCE = Wire(UNSIGNED, 1 / 255)


def images(rng, count, shape):
    """A few shapes blended: inputs that hang together, as those of real data do."""
    parts = rng.random((6, *shape)) ** 2
    mixed = np.tensordot(rng.dirichlet(np.ones(6), count), parts, axes=1)
    mixed += 0.02 * rng.standard_normal(mixed.shape)
    return np.clip(np.round(255 * mixed / mixed.max()), 0, 255).astype(np.int64)


def error(net, origin, q):
    """Mean squared difference of the results, over the variance."""
    x = inside(q, net)
    want = origin.run(x * np.float32(net.source.scale))
    got = net.run(x) * net.last.wire.scale
    return float(np.mean((got - want) ** 2) / want.var())


def lookup_net(origin, **options):
    own = LayerOptions(**{"subvec": 4, "centroids": 8, "metric": "l2", "table_bits": 8, **options})
    return convert(origin, SOURCE, {k.name: own for k in origin.layers if isinstance(k, Weighted)})


def network(arch, rng):
    shape = {"lenet5": (12, 12, 1), "resnet8": (4, 4, 3)}.get(arch, (4, 4, 1))
    net = build((12, 10) if arch == "perceptron" else arch, shape, 4, rng)
    for layer in net.layers:
        if isinstance(layer, Weighted):
            layer.bias[:] = 0.1 * rng.standard_normal(layer.bias.shape)
    return fold_batch_norm(net)


def varied(layer, tables):
    """Tables less the mean of each codebook's entries, which is the bias's if all are summed up."""
    cut = tables.reshape(layer.rows.taps, layer.groups, layer.centroids, -1)
    return cut - cut.mean(axis=2, keepdims=True) if layer.rows.whole else cut


# Whole networks.


@pytest.mark.parametrize("arch", ["perceptron", "lenet5", "resnet8"])
def test_every_stage_brings_the_network_nearer(arch):
    rng = np.random.default_rng(1)
    origin = network(arch, rng)
    count = 400 if arch == "perceptron" else 60
    q = images(rng, count + 50, origin.shape)
    net = lookup_net(origin)
    seen = []
    x = inside(q[:count], net)
    # Few samples do not teach a convolution's tables much about others.
    judged = q[count:] if arch == "perceptron" else q[:count]
    replace(net, origin, x, rng, progress=seen.append)
    assert seen == list(range(1, len(net.lookups) + 1))
    first = error(net, origin, judged)
    assert all(k.residual is None for k in net.lookups.values())
    for name, lookup in net.lookups.items():
        layer = next(k for k in origin.layers if k.name == name)
        weight = lookup.weight[:, : lookup.rows.features]
        np.testing.assert_array_equal(weight, layer.weight)
    refit(net, origin, x, rng, free=False)
    tied = error(net, origin, judged)
    assert all(k.residual is None for k in net.lookups.values())
    seen.clear()
    refit(net, origin, x, rng, free=True, progress=seen.append)
    assert seen == list(range(1, len(net.lookups) + 1))
    free = error(net, origin, judged)
    assert all(k.residual is not None for k in net.lookups.values())
    assert tied < 0.7 * first
    assert free < 0.7 * first
    replace(net, origin, x, rng)
    assert all(k.residual is None for k in net.lookups.values())


@pytest.mark.parametrize("seed", range(25))
def test_refitting_any_network_does_it_little_harm(seed):
    """Also those whose inputs hardly vary behind a clip or a pool."""
    rng = np.random.default_rng(seed)
    net, origin, q = random_lookup_net(rng, steps=int(rng.integers(1, 6)), samples=40, bits=(6, 9))
    x = inside(q, net)
    replace(net, origin, x, rng, iterations=4)
    want = origin.run(x * np.float32(net.source.scale))

    def off():
        return np.mean((net.run(x) * net.last.wire.scale - want) ** 2) / (want.var() + 1e-3)

    before = off()
    refit(net, origin, x, rng, iterations=4, free=bool(seed % 2))
    assert off() < 1.2 * before + 0.05
    for lookup in net.lookups.values():
        for array in lookup.parameters.values():
            assert np.isfinite(array).all()


@pytest.mark.parametrize("free", [False, True])
def test_inputs_that_never_vary_move_nothing(free):
    rng = np.random.default_rng(2)
    origin = FloatNet((6,), [Linear("fc", ["input"], he(rng, (6, 3)))])
    net = lookup_net(origin)
    x = np.full((6, 300), 77, dtype=np.float32)
    refit(net, origin, x, rng, free=free)
    lookup = net.lookups["fc"]
    weight = lookup.weight[:, :6] - origin.layers[0].weight
    moved = varied(lookup, lookup.residual) if free else weight
    assert np.abs(moved).max() < 1e-3
    want = origin.run(x / np.float32(255))
    np.testing.assert_allclose(net.run(x) * net.last.wire.scale, want, atol=0.02)


@pytest.mark.parametrize("free", [False, True])
def test_targets_that_vary_where_inputs_do_not(free):
    """Rounding errors of large inputs are no inputs."""
    rng = np.random.default_rng(2)
    layer = one_layer(rng, Dense(5))
    layer.in_scale = 777.7
    layer.books[:] = 29
    start = layer.weight.copy()
    x = np.full((5, 1000), 29, dtype=np.float32)
    target = rng.standard_normal((2, 1000)).astype(np.float32)
    target += layer.rows.product(start[:, :5], [x * np.float32(777.7)], x.shape)
    regress(layer, x, target, 1e-3, free)
    moved = varied(layer, layer.residual) if free else (layer.weight - start) * 777.7 * 29
    assert np.abs(moved).max() < 1e-2


@pytest.mark.parametrize("flat", [False, True])
def test_exact_layers_on_the_input_stay_as_they_are(flat, monkeypatch):
    rng = np.random.default_rng(3)
    layers = [
        Linear("fc1", ["flatten" if flat else "input"], he(rng, (6, 5))),
        Linear("fc2", ["fc1"], he(rng, (5, 3))),
    ]
    shape = (6,)
    if flat:
        layers.insert(0, Flatten("flatten", ["input"]))
        shape = (2, 3, 1)
    origin = FloatNet(shape, layers)
    net = lookup_net(origin, subvec=1, centroids=4, metric="digit", table_bits=16)
    x = inside(rng.integers(0, 256, (50, *shape)), net)
    weight = net.lookups["fc1"].weight.copy()
    solved = []
    whole = closed.regress
    monkeypatch.setattr(closed, "regress", lambda k, *more: solved.append(k) or whole(k, *more))
    refit(net, origin, x, rng)
    assert solved == [net.lookups["fc2"]]
    np.testing.assert_array_equal(net.lookups["fc1"].weight, weight)


def test_tables_too_many_to_solve_for_are_refitted_tied(monkeypatch):
    rng = np.random.default_rng(4)
    origin = network("perceptron", rng)
    q = images(rng, 100, origin.shape)
    net = lookup_net(origin)
    monkeypatch.setattr(closed, "UNKNOWNS", 8 * 3)  # fc1 has 4 codebooks of 8, fc2 and fc3 have 3
    refit(net, origin, inside(q, net), rng, free=True)
    assert [k.residual is None for k in net.lookups.values()] == [True, False, False]


@pytest.mark.parametrize("arch", ["perceptron", "lenet5"])
def test_weights_and_refitted_tables_still_mean_the_same(arch):
    """What the bias takes from the tables must not stand between them in joint training."""
    rng = np.random.default_rng(15)
    origin = network(arch, rng)
    net = lookup_net(origin, encode="window", subvec=2)
    x = inside(images(rng, 100, origin.shape), net)
    refit(net, origin, x, rng)
    arrived = {"input": x}
    net.run(x, visit=lambda op, y: arrived.update({op.name: y}))
    for op in net.ops:
        if isinstance(op, LookupOp):
            assert np.abs(op.lookup.moved).max() > 10 * op.lookup.table_scale
            kept = op.lookup.forward(arrived[op.inputs[0]], op.lookup.integers())
            apart = op.lookup.backward(kept, np.zeros_like(kept.acc), 0.5, False)[0]
            assert apart < 0.3, op.name  # of the variance of the products


def join_net(rng):
    """A skip path that costs much, and a block that can pay for it."""
    return FloatNet(
        (6, 6, 4),
        [
            Conv2d("stem", ["input"], he(rng, (3, 3, 4, 4)), pad=(1, 1, 1, 1)),
            Conv2d("skip", ["stem"], he(rng, (1, 1, 4, 4))),
            Conv2d("block", ["stem"], he(rng, (3, 3, 4, 4)), pad=(1, 1, 1, 1)),
            Add("join", ["skip", "block"]),
            ReLU("relu", ["join"]),
        ],
    )


def test_what_the_skip_path_lacks_is_paid_back_at_the_join(monkeypatch):
    rng = np.random.default_rng(5)
    origin = join_net(rng)
    q = images(rng, 120, origin.shape)
    results = {}
    for paid in (False, True):
        net = convert(
            origin,
            SOURCE,
            {
                "stem": LayerOptions(1, 4, "digit", 16),
                "skip": LayerOptions(4, 2, "l2", 8),
                "block": LayerOptions(2, 16, "l2", 8),
            },
        )
        with monkeypatch.context() as patch:
            if not paid:
                patch.setattr(walking, "_owed", lambda *_: 0.0)
            refit(net, origin, inside(q[:80], net), np.random.default_rng(6))
        results[paid] = error(net, origin, q[80:])
    assert results[True] < 0.6 * results[False]


def owed_of(origin, name, ready):
    """What `_owed` says of a layer when the ``ready`` ones hold 1 too little."""
    net = lookup_net(origin, subvec=2)
    teacher = walking.Floats(net, origin, np.zeros((4, 1), np.float32))
    teacher.real |= {k.name: np.full((1, 1), 5.0) for k in origin.layers}
    values = {name: np.full((1, 1), 8.0) for name in ready}  # of 0.5: 4
    wires = {name: Wire(UNSIGNED, 0.5) for name in ready}
    op = next(op for op in net.ops if op.name == name)
    return float(np.sum(walking._owed(net, teacher, op, values, wires)))


def test_only_the_last_to_arrive_pays():
    rng = np.random.default_rng(7)

    def fc(name, before):
        return Linear(name, [before], he(rng, (4, 4)))

    origin = FloatNet(
        (4,),
        [
            fc("fc1", "input"),
            ReLU("relu1", ["fc1"]),
            fc("fc2", "relu1"),
            fc("fc3", "relu1"),
            Add("join", ["relu1", "fc2", "fc3"]),
            fc("fc4", "join"),
            Add("join2", ["fc4", "fc4"]),
            fc("fc5", "join2"),
        ],
    )
    assert owed_of(origin, "fc1", []) == 0  # three read it
    assert owed_of(origin, "fc2", ["fc1"]) == 0  # fc3 is still to come
    assert owed_of(origin, "fc3", ["fc1", "fc2"]) == 2
    assert owed_of(origin, "fc4", ["join"]) == 0  # twice itself
    assert owed_of(origin, "fc5", ["join2"]) == 0  # the end


# One layer.


def one_layer(rng, rows, **options):
    weight = rng.standard_normal((rows.taps, rows.features, 2)).astype(np.float32)
    own = {"subvec": 2, "centroids": 3, "metric": "l2", **options}
    layer = Vectors(
        weight, np.zeros(2, np.float32), rows, Format(5, False), 0.5, 8,
        own["subvec"], own["centroids"], own["metric"],
    )  # fmt: skip
    layer.books[:] = rng.integers(0, 32, layer.books.shape)
    if layer.spare:
        layer.books[-1, :, layer.subvec - layer.spare :] = 0
    return layer


ROWS = {
    "linear": (Dense(5), (5, 90)),
    "window": (Dense(8, Window((2, 2), (1, 1), (0, 1, 0, 0)), "chw"), (2, 20, 3, 4)),
    "taps": (Taps(3, Window((2, 2), (1, 2), (1, 0, 0, 1))), (3, 20, 3, 4)),
}


def design(layer, q, free):
    """The regressors ``[outputs, unknowns]``, by loops: one-hot indices, or nearest centroids."""
    books = layer.codebooks() * layer.in_scale
    picked = chosen(layer, q)
    width = layer.centroids if free else layer.subvec
    result = np.zeros((len(picked), layer.rows.taps, layer.groups, width))
    for at, pairs in enumerate(picked):
        for tap, index in pairs:
            for group, j in enumerate(index):
                if free:
                    result[at, tap, group, j] = 1
                else:
                    result[at, tap, group] = books[group, j]
    return result.reshape(len(picked), -1)


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("kind", ROWS)
def test_the_solution_is_that_of_ridge_regression(kind, free):
    rng = np.random.default_rng(len(kind))
    rows, shape = ROWS[kind]
    layer = one_layer(rng, rows)
    q = rng.integers(0, 32, shape).astype(np.float32)
    a = design(layer, q, free)
    target = 3 * rng.standard_normal((2, *rows.product(layer.weight[:, :rows.features],
        rows.place(rows.rows(q), q.shape), q.shape).shape[1:])).astype(np.float32)  # fmt: skip
    start = layer.tied_tables() if free else layer.weight.copy()
    regress(layer, q, target, 0.03, free)
    b = target.reshape(2, -1).T - a @ start.reshape(a.shape[1], 2)
    centred = a - a.mean(axis=0)
    gram = centred.T @ centred
    gram += 0.03 * np.trace(gram) / len(gram) * np.eye(len(gram))
    change = np.linalg.solve(gram, centred.T @ (b - b.mean(axis=0)))
    bias = b.mean(axis=0) - a.mean(axis=0) @ change
    if free:
        shape = (layer.rows.taps, layer.groups, layer.centroids, 2)
        want = start.reshape(change.shape) + change
        if rows.whole:
            between = want.reshape(shape).max(axis=2) + want.reshape(shape).min(axis=2)
            want = (want.reshape(shape) - between[:, :, None] / 2).reshape(change.shape)
            bias = bias + between.sum(axis=(0, 1)) / 2
            np.testing.assert_allclose(
                layer.moved, between.sum(axis=(0, 1)) / 2, rtol=1e-3, atol=1e-3
            )
        tables = layer.real_tables().reshape(change.shape)
        np.testing.assert_allclose(tables, want, rtol=2e-3, atol=2e-3)
    else:
        np.testing.assert_allclose(
            (layer.weight - start).reshape(change.shape), change, rtol=2e-3, atol=2e-3
        )
    np.testing.assert_allclose(layer.bias, bias, rtol=2e-3, atol=4e-3)
    if not free:
        assert layer.residual is None
        assert not layer.weight[:, rows.features :].any()


@pytest.mark.parametrize("noise", [0.0, 500.0])
@pytest.mark.parametrize("kind", ["linear", "window"])
def test_the_ridge_is_what_explains_samples_left_out_best(kind, noise):
    rng = np.random.default_rng(8 + len(kind))
    rows, shape = ROWS[kind]
    first = one_layer(rng, rows)
    shape = (shape[0], 5 * closed.FEW, *shape[2:])
    q = rng.integers(0, 32, shape).astype(np.float32)
    truth = design(first, q, True) @ rng.standard_normal((first.tied_tables().size // 2, 2))
    sizes = rows.product(first.weight[:, : rows.features], rows.place(rows.rows(q), q.shape),
        q.shape).shape  # fmt: skip
    target = (truth.T.reshape(sizes) + noise * rng.standard_normal(sizes)).astype(np.float32)

    def solved(ridge, x, wanted):
        layer = one_layer(np.random.default_rng(8 + len(kind)), rows)
        regress(layer, x, wanted, ridge, True)
        return layer

    few = shape[1] - shape[1] // closed.JUDGES
    left = {}
    for power in range(closed.MILDEST, closed.STRONGEST + 1):
        layer = solved(4.0**power, q[:, :few], target[:, :few])
        gap = layer.ideal(q[:, few:]) - target[:, few:]
        left[power] = np.var(gap.reshape(2, -1), axis=1).sum()
    found = solved(None, q, target).ideal(q)
    scale = few / shape[1]  # as strong in all, over more rows
    gaps = [np.abs(solved(scale * 4.0**p, q, target).ideal(q) - found).max() for p in left]
    power = min(left) + int(np.argmin(gaps))
    assert min(gaps) < 1e-3 * np.abs(found).max()
    assert left[power] <= 1.001 * min(left.values())
    assert (power >= -3) == bool(noise)


def test_few_samples_choose_no_ridge():
    rng = np.random.default_rng(9)
    q = rng.integers(0, 32, (5, closed.FEW - 1)).astype(np.float32)
    target = rng.standard_normal((2, closed.FEW - 1)).astype(np.float32)
    layers = [one_layer(np.random.default_rng(10), ROWS["linear"][0]) for _ in range(2)]
    for layer, ridge in zip(layers, (None, closed.CAUTIOUS), strict=True):
        regress(layer, q, target, ridge, True)
    np.testing.assert_array_equal(layers[0].residual, layers[1].residual)


def test_many_samples_go_in_parts(monkeypatch):
    rng = np.random.default_rng(8)
    rows, shape = ROWS["taps"]
    q = rng.integers(0, 32, (3, 60, *shape[2:])).astype(np.float32)
    layers = [one_layer(np.random.default_rng(9), rows) for _ in range(2)]
    target = rng.standard_normal((2, 60, 3, 2)).astype(np.float32)
    regress(layers[0], q, target, 1e-3, True)
    split = Taps.columns
    parts = []

    def columns(self, placed, shape):
        parts.append(shape[1])
        return split(self, placed, shape)

    monkeypatch.setattr(Taps, "columns", columns)
    monkeypatch.setattr(closed, "PART", 24 * 6 * 7)
    regress(layers[1], q, target, 1e-3, True)
    assert parts == [7] * 8 + [4]
    results = [layer.ideal(q) for layer in layers]
    assert np.abs(results[1] - results[0]).max() < 1e-3 * np.abs(results[0]).max()


def test_a_digit_layer_makes_good_what_its_inputs_lack():
    rng = np.random.default_rng(10)
    weight = rng.standard_normal((1, 4, 2)).astype(np.float32)
    layer = Digits(weight, np.zeros(2, np.float32), Dense(4), UNSIGNED, 0.5, 16, 4)
    q = rng.integers(0, 256, (4, 300)).astype(np.float32)
    wanted = rng.standard_normal((4, 2))
    target = (wanted.T @ (0.5 * q) + 7).astype(np.float32)
    regress(layer, q, target, 1e-6, True)
    np.testing.assert_allclose(layer.weight[0], wanted, atol=1e-3)
    np.testing.assert_allclose(layer.bias, 7, atol=0.05)


@pytest.mark.parametrize("metric", ["l1", "l2", "chebyshev"])
def test_codebooks_suit_what_arrives(metric):
    """No worse than twice as many rounds from samples; padding stays 0."""
    rng = np.random.default_rng(11)
    layer = one_layer(rng, Dense(5), centroids=6, metric=metric)
    q = rng.integers(0, 32, (5, 400)).astype(np.float32)
    random = assign(metric, layer.vectors(q), layer.books)[1].mean()
    books = closed.clustered(layer, q, np.random.default_rng(0), 20, 1)
    assert books.shape == layer.books.shape
    assert not books[-1, :, 1:].any()
    once = assign(metric, layer.vectors(q), books)[1].mean()
    assert once < 0.8 * random
    books = closed.clustered(layer, q, np.random.default_rng(0), 20, 5)
    assert assign(metric, layer.vectors(q), books)[1].mean() <= once


def test_codebooks_look_at_so_many_windows():
    rng = np.random.default_rng(12)
    layer = one_layer(rng, Taps(3, Window((2, 2))), centroids=2)
    seen = []
    real = layer.vectors
    layer.vectors = lambda q: seen.append(q.shape) or real(q)
    closed.clustered(layer, np.zeros((3, 900, 9, 9), np.float32), rng, 1, 1)
    assert seen == [(3, (1 << 14) // 81 * 2, 9, 9)]


def test_the_same_numbers_give_the_same_network():
    rng = np.random.default_rng(13)
    origin = network("perceptron", rng)
    q = images(rng, 60, origin.shape)
    results = []
    for _ in range(2):
        net = lookup_net(origin)
        own = np.random.default_rng(1)
        replace(net, origin, inside(q, net), own)
        refit(net, origin, inside(q, net), own)
        results.append(net.outputs(q))
    np.testing.assert_array_equal(*results)


def test_every_layer_meets_its_inputs_and_what_it_should_give():
    rng = np.random.default_rng(14)
    origin = network("resnet8", rng)
    net = lookup_net(origin)
    x = inside(random_inputs(rng, net, UNSIGNED, 6), net)
    arrived = {}
    teacher = walking.Floats(net, origin, x)
    walking.walk(net, teacher, x, lambda op, q, target: arrived.update({op.name: (q, target)}))
    assert list(arrived) == list(net.lookups)
    for name, (q, target) in arrived.items():
        lookup = net.lookups[name]
        assert len(target) == lookup.outputs
        assert len(row_lists(lookup.rows, q[:, :1])) == target[:, :1].size // lookup.outputs


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("kind", ROWS)
def test_rounded_tables_serve_the_samples_no_worse_than_the_nearest(kind, bits):
    rng = np.random.default_rng((bits, len(kind)))
    rows, shape = ROWS[kind]
    layer = one_layer(rng, rows)
    layer.table = Format(bits, True)
    q = rng.integers(0, 32, shape).astype(np.float32)
    q[1::2] = np.clip(q[: 2 * (len(q) // 2) : 2] + rng.integers(-2, 3, q[1::2].shape), 0, 31)
    a = design(layer, q, True)
    wide = rows.product(layer.tied_tables(), rows.place_hot(
        layer.indices(q, layer.codebooks()), 3, shape), shape).shape  # fmt: skip
    target = (3 * rng.standard_normal(wide)).astype(np.float32)
    settle = regress(layer, q, target, 1e-3, True)
    wanted = target.reshape(2, -1).T
    real = layer.real_tables().reshape(-1, 2).astype(np.float64)
    for scale in (1.0, 0.5, 0.6):
        layer.table_scale = scale * np.abs(real).max() / layer.table.high
        settle()
        exact = layer.real_tables().reshape(-1, 2) / layer.table_scale
        whole = layer.integers().matrix.reshape(-1, 2)
        np.testing.assert_allclose(exact, whole, atol=1e-3)
        near = np.floor(real / layer.table_scale + 0.5)
        near = layer.table_scale * np.clip(near, layer.table.low, layer.table.high)
        gaps = [wanted - a @ tables for tables in (whole * layer.table_scale, near)]
        fed, plain = (np.var(gap, axis=0) for gap in gaps)
        assert (fed <= 1.002 * plain).all()
        if bits < 8:
            assert fed.sum() < plain.sum()
        mean = gaps[0].mean(axis=0)
        np.testing.assert_allclose(layer.bias, mean, rtol=1e-3, atol=1e-3)
