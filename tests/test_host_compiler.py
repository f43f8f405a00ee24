"""Whole models, compiled and played on the engine's model, give what golden inference gives."""

import dataclasses

import convnets
import networks
import numpy as np
import pytest
import simulation as sim
from engines import engine_for
from hypothesis import given, settings
from hypothesis import strategies as st

from lutgen.errors import LutgenError
from lutgen.host.compiler import compile_model
from lutgen.host.job import EngineStep, HostStep
from lutgen.host.model_transport import ModelTransport
from lutgen.host.player import play
from lutgen.host.transport import run
from lutgen.model import LutLayer, Map, Model
from lutgen.train.export import export

seeds = st.integers(0, 1 << 32)


def other_metrics(model):
    """Lookup layers that no engine of the first one's metric computes."""
    layers = [node for node in model.nodes if isinstance(node, LutLayer)]
    books = [layer for layer in layers if layer.codebooks is not None and layer.subvec > 1]
    return [layer.name for layer in books if layer.metric != books[0].metric]


def wide(model):
    """Lookup layers with values of more than 16 bits, and the like, which no engine computes."""
    return [
        node.name
        for node in model.nodes
        if isinstance(node, LutLayer) and np.abs(node.grid.decode(node.table)).max() >= 1 << 15
    ]


def check(model, rng, samples=5):
    engine = engine_for(model, rng)
    job = compile_model(model, engine, host={*other_metrics(model), *wide(model)})
    size = int(np.prod(model.shape))
    fmt = model.input.format
    q = rng.integers(fmt.low, fmt.high + 1, (samples, size))
    x = q * model.input.scale
    batch = int(rng.integers(1, samples + 1))
    found = run(play(job, ModelTransport(engine), x, batch=batch))
    golden = model.predict(x)
    assert np.array_equal(found.outputs, golden.outputs)
    assert np.array_equal(found.classes, golden.classes)
    assert found.outputs.dtype == np.int64
    assert [report.gives for report in found.steps] == [s.gives for s in job.engine_steps]
    return job


@given(seeds)
@settings(max_examples=40)
def test_convolutional_models(seed):
    rng = np.random.default_rng(seed)
    check(convnets.random_model(rng), rng)


@given(seeds)
@settings(max_examples=40)
def test_linear_models(seed):
    rng = np.random.default_rng(seed)
    check(sim.random_model(rng), rng)
