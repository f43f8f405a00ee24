"""The table of layers, against what the model and plain arithmetic say."""

import json
from copy import deepcopy

import numpy as np
import pytest
from training import QUICK, image_net, small

from lutgen.cli.info import describe
from lutgen.train import Conv2d, Flatten, FloatNet, Linear, MaxPool2d, ReLU, he, train
from lutgen.train.floatnet import columns
from lutgen.train.parallel import Workers
from lutgen.train.report import alone, layers
from lutgen.train.tune import Samples

LAYERS = {"conv1": {"subvec": 2}, "conv2": {"encode": "window", "subvec": 5}}


def deep_net():
    """Two convolutions, two linear layers."""
    rng = np.random.default_rng(5)
    return FloatNet(
        (6, 6, 2),
        [
            Conv2d("conv1", ["input"], he(rng, (3, 2, 2, 4)), pad=(1, 1, 1, 0)),
            ReLU("relu1", ["conv1"]),
            MaxPool2d("pool1", ["relu1"], (2, 2), (2, 2)),
            Conv2d("conv2", ["pool1"], he(rng, (2, 2, 4, 6))),
            ReLU("relu2", ["conv2"]),
            Flatten("flatten", ["relu2"]),
            Linear("fc1", ["flatten"], he(rng, (24, 7))),
            ReLU("relu3", ["fc1"]),
            Linear("fc2", ["relu3"], he(rng, (7, 3))),
        ],
    )


@pytest.fixture(scope="module")
def run():
    data = small(shape=(6, 6, 2))
    own = {**LAYERS, "fc2": {"metric": "digit"}}
    return data, train(data, net=deep_net(), **QUICK, layers=own, threads=1)


def test_shapes_settings_and_bytes_are_the_models(run):
    _, result = run
    rows = result.layers
    assert [(r.name, r.shape, r.encode) for r in rows] == [
        ("conv1", "3x2x2x4", "pixel"),
        ("conv2", "2x2x4x6", "window"),
        ("fc1", "24x7", "linear"),
        ("fc2", "7x3", "linear"),
    ]
    assert [(r.metric, r.subvec, r.centroids, r.table_bits) for r in rows] == [
        *(("l1", 2, 4, 8), ("l1", 5, 4, 8), ("l1", 4, 4, 8), ("digit", 1, 4, 16))
    ]
    nodes = {node["name"]: node for node in describe(result.model)["nodes"]}
    for row in rows:
        node = nodes[row.name]
        assert row.table_bytes == -(-node["table_memory_bits"] // 8)
        assert (row.subvec, row.centroids) == (node["subvec"], node["centroids"])
    # One index a sub-vector and pixel of the input, or a window of the output.
    assert [r.encoded for r in rows] == [36, 2 * 2 * 4, 6, 0]
    assert json.loads(json.dumps([r.to_manifest() for r in rows]))[0]["shape"] == "3x2x2x4"


def test_distances_and_use_of_centroids_by_plain_loops(run):
    data, result = run
    rng = np.random.default_rng(0)
    held = rng.permutation(len(data.x_train))[: len(data.x_train) // 10]
    q = result.model.quantise(data.x_train[held])
    wires = result.model.run(q) | {"input": q}
    for name in ("conv1", "fc1"):
        node = next(node for node in result.model.nodes if node.name == name)
        x = wires[node.inputs[0]].astype(float)
        x = x.reshape(-1, x.shape[-1])
        x = np.pad(x, ((0, 0), (0, -x.shape[1] % node.subvec)))
        squares, spread, perplexity = [], [], []
        for g, book in enumerate(node.codebooks.astype(float)):
            vectors = x[:, g * node.subvec : (g + 1) * node.subvec]
            index = [int(np.argmin(np.abs(v - book).sum(axis=1))) for v in vectors]
            squares.append(np.mean((vectors - book[index]) ** 2))
            spread.append(vectors.var(axis=0).mean())
            part = np.bincount(index, minlength=len(book)) / len(index)
            perplexity.append(np.exp(-sum(p * np.log(p) for p in part if p)))
        row = next(row for row in result.layers if row.name == name)
        assert row.error == pytest.approx(np.mean(squares) / np.mean(spread), rel=1e-4)
        assert row.usage == pytest.approx(np.mean(perplexity) / node.centroids, rel=1e-4)
    exact = result.layers[-1]
    assert (exact.error, exact.usage) == (0.0, 1.0)


def test_what_a_layer_alone_loses(run):
    """The float network with one layer's results from centroids in its inputs' place."""
    data, result = run
    samples = Samples(result.model.quantise(data.x_test), data.y_test)
    net, origin = deepcopy(result.network), result.origin
    for lookup in net.lookups.values():  # what later stages made of them does not count
        lookup.weight *= 3
        lookup.bias += 1
    with Workers(1) as workers:
        found = alone(net, origin, samples, workers)
    x = columns(samples.q, net.inside).astype(np.float32) * np.float32(net.source.scale)
    assert found[""] == np.mean(origin.run(x).argmax(axis=0) == samples.y)
    for name, lookup in net.lookups.items():
        values = {"input": x}
        for layer in origin.layers:
            if layer.name == name:
                q = np.floor(values[layer.inputs[0]] / lookup.in_scale + 0.5)
                q = np.clip(q, lookup.element.low, lookup.element.high).astype(np.float32)
                own = deepcopy(lookup)
                weight = layer.weight
                if name == "conv2":  # by window
                    weight = weight.reshape(2, 2, 4, 6).transpose(2, 0, 1, 3).reshape(1, 16, 6)
                own.weight[:, : own.rows.features] = weight
                own.bias[:] = layer.bias
                own.residual = None
                values[name] = own.ideal(q)
            else:
                values[layer.name] = layer.forward([values[n] for n in layer.inputs], False)[0]
        logits = values[origin.layers[-1].name]
        # Tables are rounded to 8 bits, which may tip samples over that are nearly undecided.
        right, ranked = logits.argmax(axis=0) == samples.y, np.sort(logits, axis=0)
        sure = ranked[-1] - ranked[-2] > 0.015 * np.abs(logits).max()
        assert sure.mean() > 0.7, name
        assert np.sum(right & sure) <= found[name] * len(right) + 1e-6, name
        assert np.sum(right | ~sure) >= found[name] * len(right) - 1e-6, name


def test_shares_are_of_what_is_lost(run):
    data, result = run
    samples = Samples(result.model.quantise(data.x_test), data.y_test)
    measured = {"": 0.9, "conv1": 0.6, "conv2": 0.95, "fc1": 0.8, "fc2": 0.9}
    with Workers(1) as workers:
        rows = layers(result.network, result.origin, samples, measured, workers)
        blank = layers(result.network, result.origin, samples, {}, workers)
        alike = layers(
            result.network, result.origin, samples, dict.fromkeys(measured, 0.9), workers
        )
    assert [row.lost for row in rows] == pytest.approx([0.3, -0.05, 0.1, 0.0])
    assert [row.share for row in rows] == pytest.approx([0.75, 0.0, 0.25, 0.0])
    assert {(row.lost, row.share) for row in blank} == {(None, None)}
    assert {(row.lost, row.share) for row in alike} == {(0.0, 0.0)}


def test_losses_are_measured_where_gradients_have_not_moved_layers_yet():
    data = small(shape=(6, 6, 2))
    stages = ("replace", "joint")  # from a start that training mends
    short = train(data, net=image_net(), **{**QUICK, "epochs": 0}, stages=stages)
    whole = train(data, net=image_net(), **QUICK, stages=stages)
    assert [r.lost for r in short.layers] == [r.lost for r in whole.layers]
    assert {r.error for r in short.layers} != {r.error for r in whole.layers}
