"""The solver: within the interval, no dearer for a longer one, and what it says when it can't."""

import re

import convnets
import numpy as np
import pytest
import simulation as sim
from hypothesis import given, settings
from hypothesis import strategies as st

import lutgen
from lutgen.cost.area import core_area
from lutgen.cost.solve import _Request, solve
from lutgen.model.fold import Fold
from lutgen.spec.memory import network_memories
from lutgen.spec.target import DEVICES, TARGETS, choose_forms

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
    solver = _Request(model, None, None, Fold(), {}, False, 0.2).solver(target)
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
        said = str(error)
    else:
        said = ""
    if said:
        assert re.search("ask(ed)? for", said)
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
    assert total.luts <= 0.5 * DEVICES["up5k"].luts
    assert total.blocks <= 0.5 * DEVICES["up5k"].blocks
    assert large.spec.timing.interval <= small.spec.timing.interval
    assert small.why


def test_what_does_not_fit_says_what_would():
    model = perceptron()
    with pytest.raises(lutgen.LutgenError) as caught:
        solve(model, device="up5k", margin=0.99)
    text = str(caught.value)
    assert text.startswith("device up5k: needs ")
    assert "alone takes" in text
    assert "\n" not in text


def test_what_is_too_fast_names_the_stage():
    model = perceptron(features=40)
    name = first(model)
    with pytest.raises(lutgen.LutgenError) as caught:
        solve(model, interval=3, layers={name: Fold(lanes=1, fan_in=1)})
    text = str(caught.value)
    assert "can't be faster than" in text
    assert "more than the 3 asked for" in text


def test_arguments():
    model = perceptron()
    with pytest.raises(ValueError, match=r"^An interval or a device must be given$"):
        solve(model)
    with pytest.raises(ValueError, match=r"^Device must be one of up5k, .*, not 'up6k'$"):
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
