"""Convolutional and residual cores: random networks against golden, in Amaranth's simulator and,
as emitted Verilog, in Verilator.
"""

from dataclasses import replace

import convnets
import numpy as np
import pytest
import simulation as sim
from amaranth.hdl import Fragment

from lutgen.flows import Job, side_by_side, simulate_batch
from lutgen.gateware.build import build
from lutgen.gateware.contract import contract_of
from lutgen.gateware.image import contents_of, model_image
from lutgen.gateware.network import NetworkCore
from lutgen.model.plan import Fold, plan

CORES = 25


def random_case(seed):
    """A random network, a random fold of it, lanes of its input, and the generator for more."""
    rng = np.random.default_rng(seed)
    model = convnets.random_model(rng)
    lanes = int(rng.integers(1, int(np.prod(model.shape)) + 1))
    return model, convnets.random_folds(rng, model), lanes, rng


@pytest.mark.parametrize("seed", [1, 16])
def test_in_amaranths_simulator(seed):
    """Every output, under random stalls and without; latency and interval to the cycle."""
    model, layers, lanes, rng = random_case(seed)
    spec = plan(model, input_lanes=lanes, layers=layers)
    for gaps in (0.4, 0.0):
        count = 3 if gaps else 2 * len(spec.stages) + 4
        inputs = sim.random_inputs(rng, model, count)
        frames = sim.good_frames(spec, inputs)
        run = sim.run_core(sim.network_core(model, spec), frames, gaps=gaps, rng=rng, results=count)
        assert run.outputs == model.run(inputs)[model.nodes[-1].name].tolist()
        assert not run.frame_error
    assert run.ended[0] - run.began[0] == spec.timing.latency
    assert run.ended[-1] - run.ended[-2] == spec.timing.interval


def random_core(seed):
    """A random core, a quarter of them loadable, and vectors for it."""
    model, layers, lanes, rng = random_case(seed)
    loadable = bool(rng.random() < 0.25)
    wishes = {
        name: {key: value for key, value in vars(fold).items() if value is not None}
        for name, fold in layers.items()
    }
    name = f"core{seed}"
    core = build(model, name=name, input_lanes=lanes, layers=wishes, loadable=loadable)
    inputs = sim.random_inputs(rng, model, 10)
    return core, {
        "contract": core.contract,
        "inputs": inputs,
        "expected": model.run(inputs)[model.nodes[-1].name],
        "load_words": core.load_image(model) if core.contract["load"] else None,
        "prefix": f"{name}_",
    }


@pytest.mark.parametrize("batch", range(4))
def test_random_cores(verilator, batch):
    """100 networks: every word under random stalls, broken frames, timing to the cycle."""
    cores = [random_core(1000 * batch + number) for number in range(CORES)]
    text = side_by_side("all_cores", [(core.verilog, core.contract) for core, _ in cores])
    report = simulate_batch(
        text, "all_cores", [Job(**job) for _, job in cores], gaps=0.4, seed=batch, faults=True
    )
    assert report.passed, report.describe()
    assert report.samples >= CORES * 10
    assert all(core.interval is not None for core in report.cores)


def test_a_contract_says_how_its_core_was_folded():
    """The same plan comes out of the folds that a contract states."""
    for seed in range(15):
        model, layers, lanes, _ = random_case(seed)
        spec = plan(model, input_lanes=lanes, layers=layers)
        core = NetworkCore(spec, contents_of(spec, model))
        Fragment.get(core, None)  # or Amaranth complains that nobody did
        folds = {
            stage["name"]: Fold(**stage["fold"])
            for stage in contract_of(spec, core, model)["stages"]
            if "fold" in stage
        }
        assert plan(model, input_lanes=lanes, layers=folds) == spec, seed


def test_schedule_covers_what_networks_are_made_of():
    """Or the random networks above test less than they claim."""
    seen, exact, paced, deep = set(), 0, 0, 0
    for seed in range(200):
        model, layers, lanes, _ = random_case(seed)
        spec = plan(model, input_lanes=lanes, layers=layers)
        bound = max(spec.input.beats, *(stage.interval for stage in spec.stages))
        assert bound <= spec.timing.interval <= 3 * bound + 8, seed
        exact += bound == spec.timing.interval
        paced += bool(spec.timing.pace)
        deep += any(edge.fifo.in_memory for edge in spec.edges)
        for stage in spec.stages:
            encode = getattr(stage.spec, "encode", "")
            seen.add((stage.op, encode, getattr(stage.spec, "order", "")))
    assert exact >= 150
    assert paced
    assert deep
    assert {op for op, _, _ in seen} == {
        *("lut_linear", "lut_conv2d", "max_pool2d", "avg_pool2d", "add", "map", "argmax"),
        *("regroup", "encode", "windows"),
    }
    convs = {(encode, order) for op, encode, order in seen if op == "lut_conv2d" and encode}
    assert convs == {("pixel", "hwc"), ("window", "hwc"), ("window", "chw")}


@pytest.mark.parametrize(
    "names",
    [
        {"head": "output"},
        {"top": "output"},
        {"join": "output"},
        {"slid_pixels": "slid_"},
        {"slid_pixels": "slid__x"},
        {"mapped": "slid__windows"},
        {"mapped": "slid_pixels__codes"},
        {"head": "join__0", "mapped": "join__1"},
    ],
)
def test_nodes_may_be_called_anything(names):
    """Also as the output, or as stages that stand before others."""
    plain, folds = convnets.everything()

    def named(name):
        return names.get(name, name)

    model = replace(
        plain,
        nodes=tuple(
            replace(node, name=named(node.name), inputs=tuple(map(named, node.inputs)))
            for node in plain.nodes
        ),
    )
    cores = []
    for each, name in ((plain, str), (model, named)):
        layers = {name(key): Fold(**fold) for key, fold in folds.items()}
        spec = plan(each, layers=layers, loadable=True)
        core = NetworkCore(spec, {})
        Fragment.get(core, None)
        cores.append((spec, contract_of(spec, core, each), model_image(spec, each)))
    (before, plain_contract, words), (after, contract, same_words) = cores
    assert [stage.spec for stage in before.stages] == [stage.spec for stage in after.stages]
    assert before.schedule == after.schedule
    assert [s.get("fold") for s in plain_contract["stages"]] == [
        s.get("fold") for s in contract["stages"]
    ]
    assert words.tolist() == same_words.tolist()
