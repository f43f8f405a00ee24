"""Whole cores in Amaranth's simulator: random networks, timing, broken frames, loading."""

import numpy as np
import pytest
import simulation as sim

from lutgen import LutgenError
from lutgen.gateware.build import build, build_loadable
from lutgen.model.plan import Fold, plan


def random_case(seed):
    """A random network, its spec with a random fold, and the generator for more."""
    rng = np.random.default_rng(seed)
    model = sim.random_model(rng)
    layers = {n.name: sim.random_fold(rng) for n in model.nodes if n.op == "lut_linear"}
    elements = int(np.prod(model.shape))
    spec = plan(model, input_lanes=int(rng.integers(1, elements + 1)), layers=layers)
    return model, spec, rng


@pytest.mark.parametrize("seed", range(10))
def test_random_networks(seed):
    """Every output, under random stalls and without; latency and interval to the cycle."""
    model, spec, rng = random_case(seed)
    for gaps in (0.4, 0.0):
        count = 6 if gaps else 3 * len(spec.stages) + 4
        inputs = sim.random_inputs(rng, model, count)
        frames = sim.good_frames(spec, inputs)
        run = sim.run_core(sim.network_core(model, spec), frames, gaps=gaps, rng=rng, results=count)
        assert run.outputs == model.run(inputs)[model.nodes[-1].name].tolist()
        assert set(run.beats) == {spec.output.beats}
        assert not run.frame_error
    assert run.ended[0] - run.began[0] == spec.timing.latency
    assert run.ended[-1] - run.ended[-2] == spec.timing.interval


@pytest.mark.parametrize("seed", range(20, 24))
def test_broken_frames_are_dropped_whole(seed):
    """In stages with and without an index buffer; the next sample is right every time."""
    model, spec, rng = random_case(seed)
    if spec.input.beats == 1:
        spec = plan(model, input_lanes=1, fold=Fold(lanes=2))
    inputs = sim.random_inputs(rng, model, 6)
    good = sim.good_frames(spec, inputs)
    beats = spec.input.beats
    early = [(good[1][0][0], True)]
    late = [(word, False) for word, _ in good[2]] + [(0, False), (0, True)]
    frames = [good[0], early if beats > 1 else late, good[3], late, late, good[4], good[5]]
    run = sim.run_core(sim.network_core(model, spec), frames, gaps=0.3, rng=rng, results=4)
    want = model.run(inputs[[0, 3, 4, 5]])[model.nodes[-1].name].tolist()
    assert run.outputs == want
    assert run.frame_error


def test_interval_is_the_slowest_stage_or_little_more():
    """The closed form is a bound; only bursts that a stage can't buffer keep the schedule above."""
    exact = paced = 0
    for seed in range(300):
        _, spec, _ = random_case(seed)
        stages = [spec.stage_interval(k) for k in range(len(spec.stages))]
        bound = max(*stages, spec.input.beats)
        assert bound <= spec.timing.interval <= 2 * bound, seed
        exact += bound == spec.timing.interval
        paced += bool(spec.timing.pace)
    assert exact >= 285
    assert paced  # or nothing here tests that


def test_paced_cores_keep_time():
    """Where bursts make the interval vary, samples are held back until it does not."""
    checked = 0
    for seed in range(300):
        model, spec, rng = random_case(seed)
        if not spec.timing.pace:
            continue
        count = 4 * len(spec.stages) + 12
        inputs = sim.random_inputs(rng, model, count)
        run = sim.run_core(
            sim.network_core(model, spec), sim.good_frames(spec, inputs), results=count
        )
        steps = np.diff(run.ended)[count // 2 :]
        assert set(steps.tolist()) == {spec.timing.interval}, seed
        checked += 1
        if checked == 3:
            break
    assert checked


def test_load_words_refuse_what_could_overflow():
    core = build_loadable(codebooks=4, subvec=2, outputs=3)
    books, table = np.zeros((4, 16, 2), int), np.zeros((4, 16, 3), int)
    with pytest.raises(ValueError, match=r"^Accumulators of these tables need 14 bits, but the"):
        core.load_words(books, table, [5000, 0, 0])


LOADABLE_ERRORS = [
    ({"codebooks": 0}, "Codebooks must be a positive integer, not 0"),
    ({"subvec": -1}, "Sub-vector length must be a positive integer, not -1"),
    ({"centroids": 1}, "Centroids must be an integer of at least 2, not 1"),
    ({"metric": "dot"}, "Metric must be one of l1, l2, chebyshev, digit, not 'dot'"),
    ({"lanes": 0}, "lanes must be a positive integer, not 0"),
    ({"fan_in": -2}, "fan-in must be a positive integer, not -2"),
    ({"table_bits": 9}, "Table bits must be an integer between 2 and 8, not 9"),
    ({"activation_bits": 1}, "Activation bits must be an integer between 2 and 16, not 1"),
    ({"output_bits": 17}, "Output bits must be an integer between 2 and 16, not 17"),
    ({"outputs": 0}, "Outputs must be a positive integer, not 0"),
    ({"shift": 3}, "Shift must be 0 where accumulators are the output, not 3"),
    ({"input_lanes": 99}, "Input lanes must be an integer between 1 and 16, not 99"),
    ({"name": "module"}, "Name of a core must be a Verilog identifier, not 'module'"),
    ({"name": "1st"}, "Name of a core must be a Verilog identifier, not '1st'"),
    (
        {"metric": "digit", "subvec": 1, "codebooks": 3},
        "Codebooks of a digit layer must be a multiple of 2, the digits of an input, not 3",
    ),
]


@pytest.mark.parametrize(("changes", "text"), LOADABLE_ERRORS)
def test_options_that_make_no_machine(changes, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole text is compared)
        build_loadable(**{"codebooks": 8, "subvec": 2, **changes})
    assert str(caught.value) == text


def test_layers_that_are_not_there():
    model, _, _ = random_case(0)
    with pytest.raises(LutgenError, match=r"^layer 'fc9': is no lookup layer; there are fc0"):
        build(model, layers={"fc9": {"lanes": 2}})
    with pytest.raises(ValueError, match=r"^Fold of layer 'fc0' must name lanes, fan_in, "):
        build(model, layers={"fc0": {"width": 2}})


def test_write_puts_both_files_or_complains(tmp_path):
    core = build_loadable(codebooks=2, subvec=2, outputs=2)
    verilog, contract = core.write(tmp_path / "core.v")
    assert sorted(tmp_path.iterdir()) == [contract, verilog]
    with pytest.raises(LutgenError, match=r"core.json: the contract goes there; name the Verilog"):
        core.write(tmp_path / "core.json")
    with pytest.raises(LutgenError, match=r"does not exist; make it first$"):
        core.write(tmp_path / "none" / "core.v")
    assert len(list(tmp_path.iterdir())) == 2
