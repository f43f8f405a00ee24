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
from lutgen.host.fit import MisfitError
from lutgen.host.job import EngineStep, HostStep
from lutgen.host.model_transport import ModelTransport
from lutgen.host.player import play
from lutgen.host.transport import run
from lutgen.model import LutLayer, Map, Model
from lutgen.spec.engine import EngineSpec
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
    fmt = model.input.format
    q = rng.integers(fmt.low, fmt.high + 1, (samples, *model.shape))
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


@given(seeds)
@settings(max_examples=15)
def test_trained_models(seed):
    rng = np.random.default_rng(seed)
    net, _, _ = networks.random_lookup_net(rng, samples=4)
    check(export(net, "net", networks.activation(net), {}), rng, samples=3)


def test_every_kind_of_node():
    model, _ = convnets.everything()
    job = check(model, np.random.default_rng(3))
    assert [(step.gives, type(step)) for step in job.steps] == [
        ("pixels.indices", EngineStep),
        ("pixels", EngineStep),
        ("windows", EngineStep),
        ("slid", EngineStep),
        ("slid_pixels.indices", EngineStep),
        ("slid_pixels", EngineStep),
        ("join", HostStep),
        ("mapped", HostStep),
        ("most", HostStep),
        ("mean", HostStep),
        ("head", EngineStep),
        ("top", HostStep),
    ]
    pixels, lookup = job.engine_steps[:2]
    assert (pixels.does, pixels.cut.count, pixels.codebooks) == ("encode", 12, 1)
    assert (lookup.does, lookup.cut.count, lookup.codebooks) == ("look up", 12, 9)
    assert {step.name: step.why for step in job.steps if isinstance(step, HostStep)} == {
        "join": "the engine adds nothing but table rows",
        "mapped": "is not behind a lookup on the engine",
        "most": "the engine compares nothing but distances",
        "mean": "the engine adds nothing but table rows",
        "top": "the engine compares nothing but distances",
    }


# Maps.


def mapped_model(rng, *, bits=4, out_bits=4, signed=True, users=1):
    """A lookup layer, a map behind it, and a lookup layer behind that."""
    wire = sim.Activation(4, False, 1.0)
    middle = sim.Activation(bits, signed, 1.0)
    output = sim.Activation(out_bits, not signed, 1.0)
    first = sim.random_layer(
        rng, "fc0", "input", wire, 6, 5, middle, metric="l1", subvec=2, centroids=4
    )
    fmt = output.format
    table = rng.integers(fmt.low, fmt.high + 1, 1 << bits)
    nodes = [first, Map(name="act", inputs=("fc0",), map=table, output=output)]
    if users > 1:
        nodes.append(Map(name="act1", inputs=("fc0",), map=table[::-1], output=output))
        nodes.append(
            convnets.Add(
                name="sum", inputs=("act", "act1"), left_shifts=(0, 0), shift=1, output=output
            )
        )
    nodes.append(
        sim.random_layer(
            rng, "fc1", nodes[-1].name, output, 5, 3, None, metric="l1", subvec=2, centroids=4
        )
    )
    return Model("mapped", (6,), wire, tuple(nodes))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "out_bits"), [(4, 4), (3, 6), (6, 3)])
def test_a_map_behind_a_lookup_is_the_engines(signed, bits, out_bits):
    rng = np.random.default_rng(bits)
    model = mapped_model(rng, bits=bits, out_bits=out_bits, signed=signed)
    engine = engine_for(model, rng, has_map=True, output_bits=7)
    job = compile_model(model, engine)
    assert [step.nodes for step in job.steps] == [("fc0", "act"), ("fc1",)]
    assert job.engine_steps[0].does == "encode, look up, map"
    x = rng.integers(0, 16, (20, 6))
    found = run(play(job, ModelTransport(engine), x))
    assert np.array_equal(found.outputs, model.predict(x).outputs)


def test_maps_that_are_the_hosts():
    rng = np.random.default_rng(1)
    model = mapped_model(rng, out_bits=6)

    def why(model, host=(), **given):
        job = compile_model(model, engine_for(model, rng, **given), host=host)
        return {step.name: step.why for step in job.steps if isinstance(step, HostStep)}

    assert why(model, has_map=False) == {"act": "the engine was built without a map"}
    assert why(model, has_map=True, output_bits=4) == {
        "act": "gives 6 bits, more than the engine's output bits, 4"
    }
    assert why(model, ["act"], has_map=True, output_bits=6) == {"act": "as asked"}
    assert why(model, ["fc0"], has_map=True, output_bits=6) == {
        "fc0": "as asked",
        "act": "is not behind a lookup on the engine",
    }
    shared = mapped_model(rng, users=2)
    assert why(shared, has_map=True) == {
        "act": "others use 'fc0' too",
        "act1": "others use 'fc0' too",
        "sum": "the engine adds nothing but table rows",
    }


# Refusals.


def small_model(**changes):
    rng = np.random.default_rng(5)
    wire, output = sim.Activation(6, False, 1.0), sim.Activation(6, False, 1.0)
    node = sim.random_layer(
        rng, "fc", "input", wire, 12, 4, output, metric="l1", subvec=3, centroids=8
    )
    table = np.resize([7, 8], node.table.shape)
    node = dataclasses.replace(
        node, grid=sim.Grid("int", 4), table=table, bias=np.zeros(4, int), shift=0
    )
    return Model("small", (12,), wire, (dataclasses.replace(node, **changes),))


FIT = {
    "codebooks": 4,
    "subvec": 3,
    "centroids": 8,
    "activation_bits": 6,
    "table_bits": 4,
    "output_bits": 6,
    "rows": 8,
    "lanes": 4,
}


@pytest.mark.parametrize(
    ("given", "changes", "text"),
    [
        (
            {"metric": "l2"},
            {},
            "node 'fc', field 'metric': is l1, but the engine's is l2; build an engine with "
            "--metric l1",
        ),
        (
            {"subvec": 2},
            {},
            "node 'fc', field 'subvec': is 3, more than the engine's 2; build an engine with "
            "--subvec 3",
        ),
        (
            {"centroids": 4},
            {},
            "node 'fc', field 'centroids': is 8, more than the engine's 4; build an engine with "
            "--centroids 8",
        ),
        (
            {"activation_bits": 5},
            {},
            "node 'fc', field 'inputs': brings activations of 6 bits, more than the engine's 5; "
            "build an engine with --activation-bits 6",
        ),
        (
            {"codebooks": 3},
            {},
            "node 'fc', array 'table': has 4 codebooks, more than the engine's 3; build an engine "
            "with --codebooks 4",
        ),
        (
            {"output_bits": 5},
            {},
            "node 'fc', field 'output': has 6 bits, more than the engine's 5; build an engine "
            "with --output-bits 6",
        ),
        (
            {"table_bits": 3},
            {},
            "node 'fc', array 'table': stands for values of -8..7, more than the engine's 3 bits "
            "hold; build an engine with --table-bits 4",
        ),
        (
            {},
            {"bias": np.array([0, 0, 500, 0])},
            "node 'fc', array 'bias': and tables reach sums of 11 bits, more than the engine's "
            "accumulators of 7; build an engine with --codebooks 64, whose sums are wider",
        ),
        (
            {},
            {"bias": np.array([0, 0, 1 << 30, 0])},
            "node 'fc', array 'bias': and tables reach sums of 32 bits, more than the engine's "
            "accumulators of 7; train it with smaller biases",
        ),
        (
            {},
            {"grid": sim.Grid("levels", 4, np.full(16, -32768, np.int16))},
            "node 'fc', array 'table': stands for values of -32768..-32768, more than the "
            "engine's 4 bits hold; build an engine with --table-bits 16",
        ),
    ],
)
def test_refuses_what_does_not_fit(given, changes, text):
    model = small_model(**changes)
    engine = sim_engine(**given)
    with pytest.raises(LutgenError) as caught:
        compile_model(model, engine)
    assert str(caught.value) == f"{text}, or leave the node to the host with --host fc"
    job = compile_model(model, engine, host=["fc"])
    x = np.random.default_rng(0).integers(0, 64, (5, 12))
    found = run(play(job, ModelTransport(engine), x))
    assert np.array_equal(found.outputs, model.predict(x).outputs)


def sim_engine(**given):
    return EngineSpec(**{**FIT, **given})


def test_what_fits_exactly():
    model = small_model()
    job = compile_model(model, sim_engine())
    assert [step.nodes for step in job.engine_steps] == [("fc",)]


def test_metrics_agree_on_single_elements():
    rng = np.random.default_rng(8)
    wire = sim.Activation(5, True, 1.0)
    node = sim.random_layer(
        rng, "fc", "input", wire, 4, 3, None, metric="l2", subvec=1, centroids=6
    )
    model = Model("single", (4,), wire, (node,))
    engine = engine_for(model, rng, metric="chebyshev", subvec=3)
    x = rng.integers(-16, 16, (30, 4))
    found = run(play(compile_model(model, engine), ModelTransport(engine), x))
    assert np.array_equal(found.outputs, model.predict(x).outputs)


def test_all_misfits_and_an_engine_for_them():
    model, _ = convnets.everything()
    small = engine_for(model, codebooks=8, fan_in=1, lanes=4, output_bits=2, index_rows=None)
    with pytest.raises(MisfitError) as caught:
        compile_model(model, small)
    error = caught.value
    taps = [each for each in error.misfits if each.parameter == "codebooks"]
    assert taps[0].text == (
        "node 'pixels', array 'table': has 9 codebooks, taps included, more than the engine's 8"
    )
    found = {(each.layer, each.parameter): (each.needs, each.has) for each in error.misfits}
    assert found["pixels", "codebooks"] == (9, 8)
    assert found["pixels", "output_bits"] == (4, 2)
    assert set(error.layers) == {name for name, _ in found}
    assert str(error).startswith(taps[0].text)
    assert str(error).endswith(" ".join(f"--host {layer}" for layer in error.layers))
    # Nothing else is changed, and what was derived is derived anew.
    most = max(each.needs for each in taps)
    wanted = EngineSpec(**{**small.stated, "codebooks": most, "output_bits": 4})
    assert error.engine == wanted
    assert error.engine.index_depth == error.engine.rows * error.engine.groups
    assert {step.name for step in compile_model(model, error.engine).engine_steps} == {
        *("pixels", "windows", "slid", "slid_pixels", "head"),
    }


def test_no_engine_for_two_metrics():
    first = small_model()
    (layer,) = first.nodes
    rng = np.random.default_rng(0)
    other = sim.random_layer(
        rng, "fc2", "fc", layer.output, 4, 3, None, metric="l2", subvec=2, centroids=4
    )
    model = dataclasses.replace(first, nodes=(layer, other))
    for metric, layers in (("l1", ("fc2",)), ("l2", ("fc",)), ("chebyshev", ("fc", "fc2"))):
        with pytest.raises(MisfitError) as caught:
            compile_model(model, sim_engine(metric=metric, table_bits=12))
        assert caught.value.layers == layers
        assert caught.value.engine is None


def test_an_engine_with_wider_sums():
    model = small_model(bias=np.array([0, 0, 500, 0]))
    with pytest.raises(MisfitError) as caught:
        compile_model(model, sim_engine(table_bits=3, subvec=2))
    engine = caught.value.engine
    assert {each.parameter for each in caught.value.misfits} == {"table_bits", "subvec"}
    assert engine.acc.bits >= 11
    assert (engine.table_bits, engine.subvec) == (4, 3)
    compile_model(model, engine)


def test_unknown_host_node():
    with pytest.raises(LutgenError) as caught:
        compile_model(small_model(), sim_engine(), host=["fc2"])
    assert str(caught.value) == "argument --host: the model has no node 'fc2'; it has fc"
