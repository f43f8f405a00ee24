"""Whole cores in Amaranth's simulator: random networks, timing, broken frames, loading."""

from dataclasses import replace

import numpy as np
import pytest
import simulation as sim

from lutgen import LutgenError
from lutgen.gateware.build import Core, build, build_loadable
from lutgen.gateware.load import read_back_cycles
from lutgen.gateware.network import NetworkCore
from lutgen.model.plan import Fold, plan
from lutgen.numeric import Grid


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


@pytest.mark.parametrize("fan_in", [2, 3])
def test_banks_without_a_codebook_add_nothing(fan_in):
    """Where fan-in does not divide the codebooks, and code 0 of the grid is not the value 0."""
    rng = np.random.default_rng(fan_in)
    wire = sim.Activation(4, False, 1.0)
    choice = {"metric": "l1", "subvec": 2, "centroids": 4}
    layer = sim.random_layer(rng, "fc", "input", wire, 10, 4, None, **choice)
    grid = Grid("levels", 2, np.array([77, -5, 3, 0], dtype=np.int16))
    layer = replace(layer, grid=grid, table=rng.integers(0, 4, layer.table.shape))
    model = sim.Model("net", (10,), wire, (layer,))
    spec = plan(model, fold=Fold(lanes=2, fan_in=fan_in))
    assert spec.stages[0].spec.last_group < fan_in
    inputs = sim.random_inputs(rng, model, 6)
    run = sim.run_core(sim.network_core(model, spec), sim.good_frames(spec, inputs), results=6)
    assert run.outputs == model.run(inputs)["fc"].tolist()


@pytest.mark.parametrize(("codes", "bias"), [([2, 3, 2, 3], 2), ([8, 9, 8, 10], 9)])
def test_a_bias_that_its_sums_alone_fit(codes, bias):
    """The accumulator is as wide as sums need, signed or not, and wraps on the way to them."""
    rng = np.random.default_rng(2)
    wire = sim.Activation(4, False, 1.0)
    choice = {"metric": "l1", "subvec": 2, "centroids": 4}
    layer = sim.random_layer(rng, "fc", "input", wire, 2, 1, None, **choice)
    bits = 2 if max(codes) < 4 else 4
    table = np.array(codes).reshape(layer.table.shape)  # of negative values
    layer = replace(layer, grid=Grid("int", bits), table=table, bias=np.array([bias]))
    model = sim.Model("net", (2,), wire, (layer,))
    spec = plan(model)
    acc = spec.stages[0].spec.acc
    assert not acc.holds(bias, bias)
    assert bits == 2 or bias >= 1 << acc.bits
    inputs = sim.random_inputs(rng, model, 6)
    run = sim.run_core(sim.network_core(model, spec), sim.good_frames(spec, inputs), results=6)
    assert run.outputs == model.run(inputs)["fc"].tolist()


def test_interval_is_the_slowest_stage_or_little_more():
    """The closed form is a bound; only bursts that a stage can't buffer keep the schedule above."""
    exact = paced = 0
    for seed in range(300):
        _, spec, _ = random_case(seed)
        bound = max(spec.input.beats, *(stage.interval for stage in spec.stages))
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


def loadable_case():
    """A model of one layer and its loadable core."""
    rng = np.random.default_rng(1)
    wire = sim.Activation(8, False, 1.0)
    choice = {"metric": "l1", "subvec": 2, "centroids": 4}
    layer = sim.random_layer(rng, "fc", "input", wire, 8, 4, wire, **choice)
    model = sim.Model("net", (8,), wire, (replace(layer, shift=3),))
    return model, model.nodes[0], build(model, loadable=True)


def test_load_image_refuses_other_models():
    """Whatever is not in the memories must be the same."""
    model, layer, core = loadable_case()
    signed = sim.Activation(8, True, 1.0)
    fewer = {"out_features": 3, "table": layer.table[:, :, :3], "bias": layer.bias[:3]}
    for change, text in [
        ({"shift": 5}, "node 'fc', field 'shift': must be 3, as the core was built, not 5"),
        ({"metric": "l2"}, "node 'fc', field 'metric': must be l1, as the core was built, not l2"),
        (
            {"output": signed},
            "node 'fc', field 'output': must be uint8, as the core was built, not int8",
        ),
        (fewer, "node 'fc', field 'out_features': must be 4, as the core was built, not 3"),
        (
            {"name": "fc9"},
            "model 'net', field 'nodes': must have the core's lookup layers, fc, not fc9",
        ),
    ]:
        other = replace(model, nodes=(replace(layer, **change),))
        with pytest.raises(LutgenError) as caught:
            core.load_image(other)
        assert str(caught.value) == text
    with pytest.raises(ValueError, match=r"^Table must hold values of 0..31$"):
        core.load_words(layer.codebooks, layer.table + 1000, layer.bias)
    with pytest.raises(ValueError, match=r"^Codebooks must have the shape \(4, 4, 2\), not "):
        core.load_words(layer.codebooks[:2], layer.table, layer.bias)


def reload_case(seed):
    """Two models of the same layers, and their loadable core with a random fold."""
    rng = np.random.default_rng(seed)
    model = sim.random_model(rng, layers=int(rng.integers(1, 3)))

    def shuffle(node):
        if node.op != "lut_linear":
            return node
        books = node.codebooks
        return replace(
            node,
            table=rng.permutation(node.table, axis=1),
            codebooks=None if books is None else np.ascontiguousarray(books[:, ::-1]),
        )

    other = replace(model, nodes=tuple(shuffle(node) for node in model.nodes))
    unfolded = rng.random() < 0.4
    layers = {
        node.name: Fold(99, 99, 99, 99) if unfolded else sim.random_fold(rng)
        for node in model.nodes
        if node.op == "lut_linear"
    }
    lanes = int(np.prod(model.shape)) if unfolded else 1
    spec = plan(model, input_lanes=lanes, layers=layers, loadable=True)
    core = NetworkCore(spec, {})
    return (model, other), core, Core(spec, "", {}), rng


@pytest.mark.parametrize("seed", [1, 2, 4, 5, 8, 9])
def test_new_tables_between_samples(seed):
    """Images at any time, whole or cut short; every result is of the tables its sample met."""
    models, core, built, rng = reload_case(seed)
    images = [built.load_image(model).tolist() for model in models]
    inputs = sim.random_inputs(rng, models[0], 30)
    wanted = [model.run(inputs)[model.nodes[-1].name].tolist() for model in models]
    frames = sim.good_frames(core.spec, inputs)
    state = {"tables": None, "sent": 0, "loads": True}
    want, got = [], []

    async def send(ctx, port, beats):
        for word, last in beats:
            while rng.random() < 0.2:
                await ctx.tick()
            ctx.set(getattr(core, f"{port}_tvalid"), 1)
            ctx.set(getattr(core, f"{port}_tdata"), word)
            ctx.set(getattr(core, f"{port}_tlast"), last)
            await ctx.tick().until(getattr(core, f"{port}_tready"))
            ctx.set(getattr(core, f"{port}_tvalid"), 0)
            yield

    async def load(ctx):
        for turn in range(4):
            image = images[turn % 2]
            if turn == 2:  # one that is cut short
                async for _ in send(ctx, "l_axis", [(word, True) for word in image[:1]]):
                    state["tables"] = None
                assert not ctx.get(core.loaded)
            count = len(image) - 1
            beats = [(word, k == count) for k, word in enumerate(image)]
            async for _ in send(ctx, "l_axis", beats):
                state["tables"] = turn % 2
            # To the cycle: all that was written is read back.
            for _ in range(read_back_cycles(core.rams)):
                assert not ctx.get(core.loaded)
                assert not ctx.get(core.l_axis_tready)
                await ctx.tick()
            assert ctx.get(core.loaded)
            for _ in range(int(rng.integers(1, 3 * core.spec.timing.latency + 10))):
                await ctx.tick()
        state["loads"] = False

    async def source(ctx):
        for number, frame in enumerate(frames):
            if rng.random() < 0.2:  # a sample without an end, before the right one
                async for _ in send(ctx, "s_axis", [*((w, False) for w, _ in frame), (0, True)]):
                    pass
            begun = False
            async for _ in send(ctx, "s_axis", frame):
                if not begun:
                    want.append(wanted[state["tables"]][number])
                begun = True

    async def sink(ctx):
        words = []
        while len(got) < len(frames) or state["loads"]:
            ctx.set(core.m_axis_tready, int(rng.random() < 0.6))
            if ctx.get(core.m_axis_tvalid) and ctx.get(core.m_axis_tready):
                words.append(ctx.get(core.m_axis_tdata))
                if ctx.get(core.m_axis_tlast):
                    got.append(sim.from_beats(core.spec, words))
                    words = []
            await ctx.tick()

    sim.simulate(core, [load, source, sink])
    assert got == want


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
    (
        {"name": "module"},
        "Name of a core must not be one that tools have for themselves, 'module'; 'module_core' "
        "would do",
    ),
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
    with pytest.raises(LutgenError, match=r"^layer 'fc9': is no layer with a fold; there are fc0"):
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
