"""Golden inference against loops in plain Python, written from the rules of the format alone."""

from math import floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import random_inputs, random_layer, random_model

from lutgen.model import Activation, Argmax, LutLinear, Model
from lutgen.numeric import Grid


def nearest(x, centroids, metric):
    """The index of the nearest centroid; the lowest of several."""
    best = None
    for j, c in enumerate(centroids):
        apart = [abs(a - b) for a, b in zip(x, c, strict=True)]
        if metric == "l1":
            distance = sum(apart)
        elif metric == "l2":
            distance = sum(d * d for d in apart)
        else:
            distance = max(apart)
        if best is None or distance < best[0]:
            best = (distance, j)
    return best[1]


def digits_of(value, bits, radix_bits, signed):
    """Digits of a two's complement number, sign-extended to whole digits, lowest first."""
    count = -(-bits // radix_bits)
    assert signed or value >= 0
    code = value % (1 << (count * radix_bits))
    return [(code >> (radix_bits * d)) % (1 << radix_bits) for d in range(count)]


def value_of(code, grid):
    """What a table code stands for."""
    if grid.values is not None:
        return int(grid.values[code])
    return code - (1 << grid.bits) if code >= 1 << (grid.bits - 1) else code


def layer(node, x, wire):
    """One sample through a lookup layer."""
    v, c = node.subvec, node.centroids
    if node.metric == "digit":
        radix_bits = c.bit_length() - 1
        indices = [d for q in x for d in digits_of(q, wire.bits, radix_bits, wire.signed)]
    else:
        padded = x + [0] * (-len(x) % v)
        parts = [padded[i : i + v] for i in range(0, len(padded), v)]
        books = node.codebooks.tolist()
        indices = [nearest(p, books[g], node.metric) for g, p in enumerate(parts)]
    table = node.table.tolist()
    result = []
    for n in range(node.out_features):
        acc = int(node.bias[n])
        for g, j in enumerate(indices):
            acc += value_of(table[g][j][n], node.grid)
        if node.output is not None:
            if node.shift:
                acc = floor((acc + (1 << (node.shift - 1))) / (1 << node.shift))
            low = -(1 << (node.output.bits - 1)) if node.output.signed else 0
            acc = min(max(acc, low), low + (1 << node.output.bits) - 1)
        result.append(acc)
    return result


def reference(model, x):
    """Every node's result on one sample."""
    results = {"input": x}
    wires = {"input": model.input}
    for node in model.nodes:
        source = results[node.inputs[0]]
        if isinstance(node, LutLinear):
            results[node.name] = layer(node, source, wires[node.inputs[0]])
            wires[node.name] = node.output
        elif isinstance(node, Argmax):
            results[node.name] = [source.index(max(source))]
        else:
            results[node.name] = source
            wires[node.name] = wires[node.inputs[0]]
    return results


def check(model, q):
    got = model.run(q.reshape(len(q), *model.shape))
    for number, x in enumerate(q.tolist()):
        for name, want in reference(model, x).items():
            assert got[name][number].tolist() == want, (name, number)


@given(st.integers(0, 10**6))
def test_random_networks(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    check(model, random_inputs(rng, model, 4))


@pytest.mark.parametrize("metric", ["l1", "l2", "chebyshev", "digit"])
@pytest.mark.parametrize("bits", [2, 3, 7, 8, 15, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_metrics_and_widths(metric, bits, signed):
    """All metrics on every kind of width, with the corners of the format among the inputs."""
    rng = np.random.default_rng([bits, signed])
    wire = Activation(bits, signed, 1.0)
    node = random_layer(
        rng, "fc", "input", wire, 7, 5, Activation(bits, not signed, 1.0), metric=metric
    )
    model = Model("net", (7,), wire, (node,))
    fmt = wire.format
    corners = [[fmt.low] * 7, [fmt.high] * 7, [0] * 7, [fmt.low, fmt.high] * 3 + [fmt.low]]
    check(model, np.concatenate([np.array(corners), random_inputs(rng, model, 8)]))


@pytest.mark.parametrize("features", range(1, 12))
def test_padding(features):
    """Every remainder of inputs over sub-vectors."""
    rng = np.random.default_rng(features)
    wire = Activation(5, True, 1.0)
    v = min(4, features)
    node = random_layer(
        rng, "fc", "input", wire, features, 3, None, metric="l2", subvec=v, centroids=5
    )
    model = Model("net", (features,), wire, (node,))
    check(model, random_inputs(rng, model, 10))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_grids(bits):
    rng = np.random.default_rng(bits)
    wire = Activation(4, False, 1.0)
    values = rng.integers(-(1 << 15), 1 << 15, 1 << bits).astype(np.int16)
    values[:2] = -(1 << 15), (1 << 15) - 1
    node = random_layer(rng, "fc", "input", wire, 9, 4, None, metric="l1")
    g, c, n = node.table.shape
    node = LutLinear(
        **{
            **vars(node),
            "grid": Grid("levels", bits, values),
            "table": rng.integers(0, 1 << bits, (g, c, n)),
        }
    )
    model = Model("net", (9,), wire, (node,))
    check(model, random_inputs(rng, model, 10))


def test_ties_go_to_the_lowest():
    wire = Activation(4, True, 1.0)
    books = np.array([[[3], [-3], [3], [0]]])
    table = np.arange(4).reshape(1, 4, 1)
    for metric in ("l1", "l2", "chebyshev"):
        node = LutLinear(
            name="fc",
            inputs=("input",),
            in_features=1,
            out_features=1,
            subvec=1,
            centroids=4,
            metric=metric,
            grid=Grid("int", 8),
            shift=0,
            output=None,
            table=table,
            bias=np.zeros(1, dtype=np.int32),
            codebooks=books,
        )
        model = Model("net", (1,), wire, (node, Argmax(name="top", inputs=("fc",))))
        outputs = model.run(np.array([[3], [-3], [0], [7]]))["fc"]
        assert outputs.ravel().tolist() == [0, 1, 3, 0]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("radix_bits", [1, 2, 3, 4, 5])
def test_digits_are_exact(signed, radix_bits):
    """A digit layer whose tables hold weight times digit value computes the product itself."""
    rng = np.random.default_rng(radix_bits)
    wire = Activation(7, signed, 1.0)
    weights = rng.integers(-8, 8, (4, 3))
    count = -(-7 // radix_bits)
    worth = np.arange(1 << radix_bits)[None] << (radix_bits * np.arange(count)[:, None])
    if signed:
        top = np.arange(1 << radix_bits) >= 1 << (radix_bits - 1)
        worth[-1, top] -= 1 << (radix_bits * count)
    values = (worth[None, :, :, None] * weights[:, None, None, :]).reshape(-1, 1 << radix_bits, 3)
    grid = Grid("int", 16)
    node = LutLinear(
        name="fc",
        inputs=("input",),
        in_features=4,
        out_features=3,
        subvec=1,
        centroids=1 << radix_bits,
        metric="digit",
        grid=grid,
        shift=0,
        output=None,
        table=grid.encode(values),
        bias=np.array([1, -2, 3], dtype=np.int32),
    )
    model = Model("net", (4,), wire, (node,))
    q = random_inputs(rng, model, 50)
    assert np.array_equal(model.run(q)["fc"], q @ weights + [1, -2, 3])


def test_predict_quantises_and_batches():
    rng = np.random.default_rng(5)
    wire = Activation(6, True, 0.125)
    node = random_layer(rng, "fc", "input", wire, 6, 4, None, metric="l1")
    model = Model("net", (3, 2, 1), wire, (node, Argmax(name="top", inputs=("fc",))))
    x = rng.normal(size=(33, 3, 2)) * 3
    q = np.clip(np.floor(x / 0.125 + 0.5), -32, 31).astype(int)
    prediction = model.predict(x, batch=7)
    assert prediction.outputs.dtype == np.int64
    assert np.array_equal(prediction.outputs, model.run(q)["fc"])
    assert np.array_equal(prediction.classes, model.run(q)["top"].ravel())
    assert model.predict(x[:0]).outputs.shape == (0, 4)
    with pytest.raises(ValueError, match=r"^Samples must have the shape 3x2x1 \(rows, "):
        model.predict(x[:, :2])
    for batch in (0, -1):
        with pytest.raises(ValueError, match=r"^Batch must be a positive integer, not "):
            model.predict(x, batch=batch)
    masked = np.ma.masked_greater(x, 1)
    with pytest.raises(TypeError, match=r"^Samples must not be masked; "):
        model.predict(masked)
    with pytest.raises(TypeError, match=r"^Input integers must not be masked; "):
        model.run(np.ma.masked_greater(q, 1))


def test_large_sums_do_not_wrap():
    """The narrow arithmetic inside must hold the worst case, here near 32 bits."""
    wire = Activation(16, False, 1.0)
    books = np.array([[[0, 0], [65535, 65535]]] * 2)
    for metric in ("l1", "l2", "chebyshev"):
        node = LutLinear(
            name="fc",
            inputs=("input",),
            in_features=4,
            out_features=2,
            subvec=2,
            centroids=2,
            metric=metric,
            grid=Grid("int", 8),
            shift=0,
            output=None,
            table=np.array([[[127, 128], [128, 127]]] * 2),
            bias=np.array([(1 << 31) - 1, -(1 << 31)]),
            codebooks=books,
        )
        model = Model("net", (4,), wire, (node,))
        check(model, np.array([[0, 0, 65535, 65535], [65535, 0, 0, 65534], [32767] * 4]))
