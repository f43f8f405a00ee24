"""The emitted Verilog: random cores in Verilator against golden, same text twice, structure."""

import functools
import os
import re
import subprocess
import sys

import convnets
import numpy as np
import pytest
import simulation as sim

from lutgen import LutgenError
from lutgen.flows import Job, check, side_by_side, simulate, simulate_batch
from lutgen.gateware.build import Core, build, build_loadable
from lutgen.model.plan import Fold

CORES = 26


def random_core(seed: int) -> tuple[Core, dict]:
    """A random network, built with a random fold, and vectors for it."""
    rng = np.random.default_rng(seed)
    model = sim.random_model(rng)
    layers = {}
    for node in model.nodes:
        if node.op == "lut_linear":
            fold = sim.random_fold(rng)
            layers[node.name] = {k: v for k, v in vars(fold).items() if v is not None}
    elements = int(np.prod(model.shape))
    loadable = bool(rng.random() < 0.25)
    core = build(
        model,
        name=f"core{seed}",
        input_lanes=int(rng.integers(1, elements + 1)),
        layers=layers,
        loadable=loadable,
    )
    inputs = sim.random_inputs(rng, model, 12)
    return core, {
        "contract": core.contract,
        "inputs": inputs,
        "expected": model.run(inputs)[model.nodes[-1].name],
        "load_words": core.load_image(model) if loadable else None,
        "prefix": f"core{seed}_",
    }


def test_names_do_not_look_like_bits():
    """What Amaranth calls an element of an array, yosys takes for a bit of it."""
    core, _ = random_core(3)
    assert re.search(r"\\\S+\.\d+ ", core.verilog)
    assert not re.search(r"\\\S+\[\S* ", core.verilog)


def test_more_samples_under_way_than_it_takes_to_find_the_pace(verilator):
    """13 at a time: the interval is constant from the third on."""
    model = sim.random_model(np.random.default_rng(5), layers=2, features=6, metric="l1")
    layers = {
        "fc0": {"lanes": 3, "fan_in": 6, "encoder_centroids": 1, "encoder_dims": 1},
        "fc1": {"lanes": 4, "fan_in": 5, "encoder_centroids": 2, "encoder_dims": 2},
    }
    core = build(model, layers=layers, input_lanes=2)
    assert core.contract["latency"] > 12 * core.contract["interval"]
    inputs = sim.random_inputs(np.random.default_rng(1), model, 12)
    golden = model.run(inputs)[model.nodes[-1].name]
    report = simulate(
        core.verilog, core.contract, inputs, golden, driver="compiled", timing_samples=120
    )
    assert report.passed, report.describe()


@pytest.mark.parametrize("batch", range(2))
def test_random_cores(verilator, batch):
    """52 networks: every word under random stalls, broken frames, timing to the cycle."""
    cores = [random_core(1000 * batch + number) for number in range(CORES)]
    text = side_by_side("all_cores", [(core.verilog, core.contract) for core, _ in cores])
    report = simulate_batch(
        text,
        "all_cores",
        [Job(**job) for _, job in cores],
        gaps=0.4,
        seed=batch,
        faults=True,
    )
    assert report.passed, report.describe()
    assert report.samples >= CORES * 12
    assert all(core.interval is not None for core in report.cores)


def test_one_sample_a_cycle(verilator):
    """A linear network folded out whole takes and gives a sample in every cycle."""
    rng = np.random.default_rng(5)
    model = sim.random_model(rng, layers=2, features=12, metric="l1")
    layers = [node for node in model.nodes if node.op == "lut_linear"]
    assert any(node.in_features % node.subvec for node in layers)  # with padding
    everything = Fold(99, 99, 99, 99)
    core = build(model, input_lanes=12, **vars(everything))
    assert core.contract["interval"] == 1
    inputs = sim.random_inputs(rng, model, 40)
    report = simulate(core.verilog, core.contract, inputs, model.run(inputs)[model.nodes[-1].name])
    assert report.passed, report.describe()
    assert report.interval == 1


def mnist_like():
    """A network big enough to have every kind of memory."""
    rng = np.random.default_rng(3)
    wire = sim.Activation(8, False, 1.0)
    choice = {"subvec": 4, "centroids": 16}
    first = sim.random_layer(rng, "fc1", "input", wire, 62, 24, wire, metric="l1", **choice)
    second = sim.random_layer(rng, "fc2", "fc1", wire, 24, 10, None, metric="l2", **choice)
    digit = sim.random_layer(rng, "fc3", "fc1", wire, 24, 10, None, metric="digit")
    last = sim.Argmax(name="top", inputs=("fc2",))
    return (
        sim.Model("like_mnist", (62,), wire, (first, second, last)),
        sim.Model("like_mnist", (62,), wire, (first, digit)),
    )


KINDS = ["rom", "digit", "loadable", "everything", "everything_loadable"]


@functools.cache
def texts():
    """Verilog of a ROM core, a digit core, a convolutional one and loadable ones."""
    first, second = mnist_like()
    everything, folds = convnets.everything()
    return {
        "rom": build(first, lanes=8, fan_in=2, encoder_dims=3),
        "digit": build(second, lanes=4, fan_in=3),
        "loadable": build_loadable(codebooks=16, subvec=4),
        "everything": build(everything, layers=folds),
        "everything_loadable": build(everything, layers=folds, loadable=True),
    }


def test_same_text_on_every_run():
    """In another process, with another hash seed."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import hashlib, test_gateware_verilog as t\n"
        "print([hashlib.sha256(c.verilog.encode()).hexdigest() for c in t.texts().values()])\n"
    )
    outputs = set()
    for hash_seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", script, os.path.dirname(__file__)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        outputs.add(result.stdout)
    assert len(outputs) == 1


BAD = {
    "a latch": "always @* if (a) q = b;",
    "a loop": "wire x = ~y; wire y = x & a; always @* q = y;",
    "an undriven net": "wire x; always @* q = x & a;",
}


@pytest.mark.parametrize("kind", KINDS)
def test_lint(verilator, kind):
    """Nothing is waived but what rtl_templates/lint.vlt lists."""
    assert check.lint(texts()[kind].verilog) == []


def test_lint_can_fail(verilator):
    text = f"module core(input a, b, output reg q); {BAD['a latch']} endmodule\n"
    assert any("LATCH" in line for line in check.lint(text))


@pytest.fixture
def yosys():
    try:
        return check.find_yosys()
    except LutgenError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("kind", KINDS)
def test_structure(yosys, kind):
    """No latch, no combinational loop, no undriven net; tables are memories."""
    core = texts()[kind]
    problems, statistics = check.structure(core.verilog, core.spec.name)
    assert problems == []
    cells = statistics["design"]["num_cells_by_type"]
    assert any(name.startswith("$mem") for name in cells)


@pytest.mark.parametrize("kind", BAD)
def test_structure_can_fail(yosys, kind):
    text = f"module core(input a, b, output reg q); {BAD[kind]} endmodule"
    problems, _ = check.structure(text, "core")
    assert problems


def test_after_synthesis(verilator, yosys):
    """The netlist of gates and flip-flops gives the same words, with the same timing."""
    rng = np.random.default_rng(11)
    wire = sim.Activation(4, False, 1.0)
    choice = {"subvec": 2, "centroids": 5}
    first = sim.random_layer(rng, "fc1", "input", wire, 7, 5, wire, metric="l1", **choice)
    second = sim.random_layer(rng, "fc2", "fc1", wire, 5, 4, None, metric="chebyshev", **choice)
    top = sim.Argmax(name="top", inputs=("fc2",))
    model = sim.Model("gates", (7,), wire, (first, second, top))
    core = build(model, input_lanes=2, lanes=2, fan_in=2, encoder_centroids=2)
    text = check.netlist(core.verilog, "gates")
    assert text.count("\nmodule ") == 1  # flat: nothing of the original is left to pass the test
    inputs = sim.random_inputs(rng, model, 30)
    report = simulate(text, core.contract, inputs, model.run(inputs)["top"], faults=True)
    assert report.passed, report.describe()


def test_every_stage_after_synthesis(verilator, yosys):
    """The same for a network of every operation, encoding and kind of stage."""
    rng = np.random.default_rng(7)
    model, _ = convnets.everything()
    core = texts()["everything"]
    text = check.netlist(core.verilog, "everything")
    assert text.count("\nmodule ") == 1
    inputs = sim.random_inputs(rng, model, 8)
    report = simulate(text, core.contract, inputs, model.run(inputs)["top"], faults=True)
    assert report.passed, report.describe()
