"""The solver: within the interval, no dearer for a longer one, and what it says when it can't."""

import dataclasses

import convnets
import numpy as np
import pytest
import simulation as sim
from hypothesis import given, settings
from hypothesis import strategies as st

import lutgen
from lutgen.cost.area import Area, core_area
from lutgen.cost.fit import RATES, Fit, Ladder
from lutgen.cost.solve import solve
from lutgen.cost.ways import Solver, Wishes
from lutgen.model import Activation, LutLinear, Model
from lutgen.model.check import changed_folds, check_plan
from lutgen.model.fold import Fold
from lutgen.model.plan import plan
from lutgen.numeric import Grid
from lutgen.spec.memory import MemorySpec, network_memories
from lutgen.spec.target import DEVICES, TARGETS, choose_forms, spend_forms, squeeze_forms

SEEDS = st.integers(0, 10_000)


def perceptron(seed=0, features=24):
    rng = np.random.default_rng(seed)
    return sim.random_model(rng, layers=2, features=features, metric="l1")


def first(model):
    """The name of the first lookup layer."""
    return next(node.name for node in model.nodes if node.op == "lut_linear")


def network(seed):
    """A random network whose last stage waits for the whole image."""
    rng = np.random.default_rng(seed)
    while True:
        model = convnets.random_model(rng) if rng.random() < 0.6 else sim.random_model(rng)
        kinds = [node.op for node in model.nodes]
        if "lut_linear" in kinds[-2:]:
            return model


def costs(model, target, intervals):
    """The least cost for each interval; None where there is no fold."""
    solver = Solver(model, target, Wishes())
    found = []
    for interval in intervals:
        try:
            found.append(solver.cheapest(interval).cost)
        except lutgen.LutgenError:
            found.append(None)
    return found


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 400))
def test_the_interval_is_met_exactly(seed, interval):
    model = network(seed)
    try:
        solution = solve(model, interval=interval)
    except lutgen.LutgenError as error:
        if "asked for" not in str(error) and "ask for" not in str(error):
            raise
        return
    assert solution.spec.timing.interval <= interval
    assert all(stage.interval <= solution.wanted for stage in solution.spec.stages)
    assert {stage.name for stage in solution.spec.stages} >= set(solution.folds)


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.sampled_from(sorted(TARGETS)))
def test_longer_intervals_never_cost_more(seed, name):
    model = network(seed)
    found = costs(model, TARGETS[name], [1, 2, 3, 5, 8, 16, 40, 100, 1000, 100_000])
    known = [cost for cost in found if cost is not None]
    assert known == sorted(known, reverse=True)
    assert found[: len(found) - len(known)] == [None] * (len(found) - len(known))


@settings(max_examples=15, deadline=None)
@given(SEEDS)
def test_chosen_folds_are_what_is_built(seed):
    model = network(seed)
    solution = solve(model, interval=100_000)
    by_name = {stage.name: stage for stage in solution.spec.stages}
    for name, fold in solution.folds.items():
        row = by_name[name].row
        if row is not None:
            assert (row.lanes, row.fan_in) == (fold.lanes, fold.fan_in)
            assert row.encoder_centroids == fold.encoder_centroids
            assert row.encoder_dims == fold.encoder_dims
        elif fold.lanes is not None and by_name[name].op.endswith("pool2d"):
            assert by_name[name].o.lanes == fold.lanes


def test_wishes_stay():
    model = perceptron()
    name = first(model)
    solution = solve(model, interval=10_000, layers={name: Fold(lanes=2)}, input_lanes=3)
    stage = next(stage for stage in solution.spec.stages if stage.name == name)
    assert stage.o.lanes == 2
    assert solution.spec.input.lanes == 3


def test_a_device_gets_the_fastest_that_fits():
    model = perceptron()
    small = solve(model, device="up5k", margin=0.5)
    large = solve(model, device="85k")
    total = small.area.total
    # A flip-flop that shares no cell with a lookup table takes one of its own.
    assert total.luts + 0.45 * total.ffs <= 0.5 * DEVICES["up5k"].luts
    assert total.blocks <= 0.5 * DEVICES["up5k"].blocks
    assert large.spec.timing.interval <= small.spec.timing.interval
    assert small.why


def test_what_does_not_fit_says_what_would():
    model = perceptron()
    with pytest.raises(lutgen.LutgenError) as caught:
        solve(model, device="up5k", margin=0.99)
    text = str(caught.value)
    assert text.startswith("device up5k: the smallest core found takes ")
    assert "takes most" in text
    assert "\n" not in text


def test_what_is_too_fast_names_the_stage():
    model = perceptron(features=40)
    name = first(model)
    with pytest.raises(lutgen.LutgenError) as caught:
        solve(model, interval=3, layers={name: Fold(lanes=1, fan_in=1)})
    text = str(caught.value)
    assert text.startswith(f"layer {name!r}: can't be faster than ")
    assert "more than the 3 asked for" in text
    assert f"{name} is given lanes=1 fan-in=1, and could take " in text
    most = int(text.rpartition("ask for ")[2].partition(" ")[0])
    solve(model, interval=most, layers={name: Fold(lanes=1, fan_in=1)})
    with pytest.raises(lutgen.LutgenError):
        solve(model, interval=most - 1, layers={name: Fold(lanes=1, fan_in=1)})


def test_all_stages_that_are_too_slow_are_named_the_slowest_first():
    model = perceptron(features=40)
    with pytest.raises(lutgen.LutgenError) as caught:
        solve(model, interval=1, input_lanes=2, layers={first(model): Fold(lanes=1, fan_in=1)})
    text = str(caught.value)
    assert text.startswith(f"layer {first(model)!r}: can't be faster than ")
    assert "; too slow are also " in text
    assert "input (20)" in text


class Few:
    """A device that has just what a core takes."""

    def __init__(self, model, name, rate, interval):
        self.ladder = Ladder(Solver(model, DEVICES[name].target, Wishes()))
        area = self.ladder.way(rate, interval).area
        self.device = dataclasses.replace(
            DEVICES[name],
            luts=int(area.luts + DEVICES[name].target.bare * area.ffs) + 1,
            ffs=int(area.luts + area.ffs) + 1,
            blocks=area.blocks,
        )

    def fit(self):
        return Fit(self.ladder, self.device, 0.0, lambda text: None)


@settings(max_examples=15, deadline=None)
@given(SEEDS, st.integers(0, len(RATES) - 1), st.sampled_from(["hx8k", "85k", "xc7a35t"]))
def test_what_fits_is_found_whatever_a_block_is_worth(seed, rate, name):
    model = network(seed)
    intervals = Solver(model, DEVICES[name].target, Wishes()).intervals
    interval = intervals[len(intervals) // 2]
    try:
        few = Few(model, name, rate, interval)
    except AttributeError:  # no fold is as fast
        return
    found = few.fit().fit(interval)
    assert found is not None
    assert found.area.luts <= few.device.luts
    assert found.area.blocks <= few.device.blocks


def test_a_squeezed_core_keeps_to_its_blocks():
    """Where no worth of a block will do, single memories change their form."""
    memories = [MemorySpec("table", 512, 36, "rom", 3), MemorySpec("table", 1024, 18, "rom", 2)]
    target = TARGETS["ecp5"]
    forms = choose_forms(memories, target)
    for most in range(6):
        found = squeeze_forms(memories, target, forms, most)
        blocks = [m.count * found[m.key].blocks for m in memories]
        assert sum(blocks) <= most
        assert sum(blocks) == {0: 0, 1: 0, 2: 2, 3: 3, 4: 3, 5: 5}[most]


def test_blocks_that_are_left_go_to_what_is_dear_in_logic():
    """The dearest a block first, and nothing for less than a block is worth."""
    target = TARGETS["ice40"]
    wide = MemorySpec("bias", 16, 96, "ram")  # 2,496 tables, or 6 blocks
    deep = MemorySpec("bias", 16, 12, "ram", 2)  # 312 tables each, or a block
    small = MemorySpec("bias", 4, 8, "ram")
    memories = [small, deep, wide]
    forms = choose_forms(memories, dataclasses.replace(target, block_luts=3000))
    assert [forms[m.key].name for m in memories] == ["logic"] * 3
    taken = []
    for most in range(11):
        found = spend_forms(memories, target, forms, most)
        taken.append([m.count * found[m.key].blocks for m in memories])
    few, some, most = [0, 0, 0], [0, 2, 0], [0, 2, 6]
    assert taken == [few] * 2 + [some] * 4 + [[0, 0, 6]] * 2 + [most] * 3
    assert [forms[m.key].name for m in memories] == ["logic"] * 3


def wide_perceptron():
    """784-80-10: its tables of 804 kbit need a row of all single-port RAMs in every cycle."""
    rng = np.random.default_rng(3)
    wire, hidden = Activation(3, False, 1.0), Activation(2, False, 1.0)
    books = rng.integers(0, 8, (157, 16, 5))
    books[-1, :, 4:] = 0
    layers = [
        ("fc1", "input", 784, 80, "l1", 5, 16, 4, hidden, 157, books),
        ("fc2", "fc1", 80, 10, "digit", 1, 4, 6, None, 80, None),
    ]
    nodes = [
        LutLinear(
            name=name,
            inputs=(source,),
            in_features=inputs,
            out_features=outputs,
            subvec=v,
            centroids=c,
            metric=metric,
            grid=Grid("int", bits),
            shift=0 if output is None else 5,
            output=output,
            table=rng.integers(0, 1 << bits, (g, c, outputs)),
            bias=rng.integers(-500, 500, outputs),
            codebooks=codebooks,
        )
        for name, source, inputs, outputs, metric, v, c, bits, output, g, codebooks in layers
    ]
    return Model("wide", (28, 28, 1), wire, tuple(nodes))


def test_single_port_rams_take_what_has_no_room_in_blocks():
    solution = solve(wide_perceptron(), device="up5k", interval=800, margin=0.1, loadable=True)
    total = solution.area.total
    assert solution.spec.timing.interval <= 800
    assert total.single == 4
    assert total.blocks <= 27
    memories = [m for _, m in network_memories(solution.spec)]
    found = {m.name: solution.forms[m.key].name for m in memories if m.bits > 500}
    assert found["table"] == "block"  # of the second layer; the first one's are the largest
    largest = max(memories, key=lambda m: m.bits)
    assert solution.forms[largest.key].name == "single"
    assert all(form != "logic" for form in found.values())
    # Neither tables in RAMs of a single port nor blocks that are taken count as anything else.
    cells = total.luts + 0.45 * total.ffs
    priced = cells + total.blocks * solution.target.block_luts + 4 * solution.target.single_luts
    assert abs(solution.cost - priced) < 0.2 * priced


def test_what_only_the_margin_is_in_the_way_of_is_said(monkeypatch):
    model = perceptron()
    total = solve(model, interval=100_000, target="ice40").area.total
    cells = total.luts + 0.45 * total.ffs
    small = dataclasses.replace(DEVICES["hx8k"], luts=int(cells / 0.93), blocks=100)
    monkeypatch.setitem(DEVICES, "hx8k", small)
    with pytest.raises(lutgen.LutgenError, match=r"; with --margin 0\.3 it fits \("):
        solve(model, device="hx8k", interval=100_000, margin=0.5)
    found = solve(model, device="hx8k", interval=100_000, margin=0.3)
    assert found.area.total.luts <= 0.7 * small.luts


@pytest.mark.parametrize("name", ["up5k", "85k"])
def test_what_is_built_is_what_was_estimated(name):
    model = perceptron()
    solution = solve(model, device=name, margin=0.6)
    core = lutgen.build(model, spec=solution.spec, forms=solution.forms, target=name)
    blocks = sum(m["cells"] for m in core.contract["memories"] if m["form"] == "block")
    assert blocks == solution.area.total.blocks


def lookup(model, change):
    """The model with another first lookup layer."""
    name = first(model)
    nodes = [change(node) if node.name == name else node for node in model.nodes]
    return dataclasses.replace(model, nodes=tuple(nodes))


def test_a_plan_of_another_model_is_refused():
    model = perceptron()
    name = first(model)
    spec = solve(model, interval=60).spec
    lutgen.build(model, spec=spec)
    shift = next(node.shift for node in model.nodes if node.name == name)
    for field, value in (("metric", "l2"), ("shift", shift + 1)):
        other = lookup(model, lambda node, f=field, v=value: dataclasses.replace(node, **{f: v}))
        with pytest.raises(ValueError, match=rf"^Plan must be one of this model: stage '{name}'"):
            lutgen.build(other, spec=spec)
    with pytest.raises(ValueError, match=r"^Plan must be one of this model"):
        lutgen.build(perceptron(features=30), spec=spec)
    with pytest.raises(ValueError, match=r"field '.*memory' must be ram, not rom$"):
        lutgen.build(model, spec=spec, loadable=True)
    with pytest.raises(TypeError, match=r"^Model must be what lutgen.load gives, not 'x.lut'$"):
        lutgen.build("x.lut")
    with pytest.raises(ValueError, match=r"^Core must be loadable to take an image"):
        lutgen.build(model, spec=spec).load_image(model)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_every_plan_of_a_model_is_its_own(seed):
    rng = np.random.default_rng(seed)
    model = convnets.random_model(rng) if rng.random() < 0.7 else sim.random_model(rng)
    fold = Fold(*(int(rng.choice([1, 2, 5, 16, 99])) for _ in range(5)), int(rng.integers(2)))
    try:
        spec = plan(model, fold=fold, loadable=bool(seed % 2))
    except lutgen.LutgenError:
        return
    check_plan(model, spec, bool(seed % 2))


def test_folds_that_could_not_be_had_are_named():
    model = perceptron()
    name = first(model)
    node = next(node for node in model.nodes if node.name == name)
    wish = {name: Fold(lanes=999, slide=1, window_channels=1, fan_in=1)}
    assert changed_folds(model, plan(model, layers=wish), wish) == [
        f"layer {name!r}: lanes=999: {node.out_features} is used: there are "
        f"{node.out_features} outputs",
        f"layer {name!r}: window-channels=1: left out: lut_linear has no window-channels",
        f"layer {name!r}: slide=1: left out: lut_linear has no slide",
    ]


def test_arguments():
    model = perceptron()
    with pytest.raises(ValueError, match=r"^An interval or a device must be given$"):
        solve(model)
    with pytest.raises(ValueError, match=r"^Device must be one of .*up5k, .*, not 'up6k'$"):
        solve(model, device="up6k")
    with pytest.raises(ValueError, match=r"^Margin must be at least 0 and less than 1, not 1$"):
        solve(model, device="up5k", margin=1)
    with pytest.raises(ValueError, match=r"^Interval must be a positive integer, not 0$"):
        solve(model, interval=0)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_areas_add_up(name):
    spec = solve(perceptron(), interval=60, target=name).spec
    area = core_area(spec, TARGETS[name])
    assert area.total.luts == pytest.approx(
        sum(part.luts for part in area.stages.values()) + area.ports.luts
    )
    memories = [memory for _, memory in network_memories(spec)]
    forms = choose_forms(memories, TARGETS[name])
    assert area.total.blocks == sum(m.count * forms[m.key].blocks for m in memories)


def test_build_takes_the_plan():
    model = perceptron()
    solution = solve(model, interval=60)
    core = lutgen.build(model, spec=solution.spec, target="ecp5")
    assert core.contract["interval"] <= 60
    assert core.contract["target"] == "ecp5"
    with pytest.raises(ValueError, match=r"^Folds, name and input lanes are a plan's own"):
        lutgen.build(model, spec=solution.spec, lanes=2)


def test_what_stands_beside_the_core_counts_once(monkeypatch):
    """A margin is proposed that does; and of devices, only those on offer."""
    model = perceptron()
    total = solve(model, interval=100_000, target="ice40").area.total
    cells = total.luts + 0.45 * total.ffs
    beside = Area(luts=2000)
    small = dataclasses.replace(DEVICES["hx8k"], luts=int(2000 + cells / 0.93), blocks=100)
    monkeypatch.setitem(DEVICES, "hx8k", small)
    with pytest.raises(lutgen.LutgenError, match=r"; with --margin 0\.3 it fits \("):
        solve(model, device="hx8k", interval=100_000, margin=0.5, reserve=beside)
    with pytest.raises(lutgen.LutgenError, match=r"smallest device that does is 45k$"):
        solve(model, device="hx8k", margin=0, reserve=Area(luts=30_000), offer=["hx8k", "45k"])
