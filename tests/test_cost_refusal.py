"""Whether a core fits: one answer, and mends that are accepted when they are followed."""

import dataclasses
import re

import convnets
import numpy as np
import pytest
import simulation as sim

import lutgen
from lutgen.cli.solving import in_throughput
from lutgen.cost.fit import excess
from lutgen.cost.refusal import MisfitError
from lutgen.cost.request import Request
from lutgen.cost.retrain import proposals, retrained
from lutgen.cost.solve import solve
from lutgen.cost.ways import UnmetError, Wishes
from lutgen.spec.target import DEVICES
from lutgen.train import Dataset, train

MARGINS = (0.0, 0.02, 0.1, 0.2, 0.33, 0.5)


def network(rng):
    """A random network whose last stage waits for the whole image."""
    while True:
        model = convnets.random_model(rng) if rng.random() < 0.4 else sim.random_model(rng)
        if "lut_linear" in [node.op for node in model.nodes][-2:]:
            return model


def shrunk(rng, model, monkeypatch):
    """Three small devices, about as large as the model's cheapest core, and no others."""
    for name in set(DEVICES) - {"up5k", "25k", "gw1n9"}:
        monkeypatch.delitem(DEVICES, name)
    for name in list(DEVICES):
        device = DEVICES[name]
        total = solve(model, interval=100_000, target=device.target.name).area.total
        cells = total.luts + device.target.bare * total.ffs
        some = dataclasses.replace(
            device,
            luts=round(cells * rng.uniform(0.5, 2.5)),
            ffs=round(total.ffs * rng.uniform(0.8, 3)),
            blocks=round(rng.uniform(0, 2) * total.blocks + rng.integers(3)),
        )
        monkeypatch.setitem(DEVICES, name, some)


def follow(model, mend):
    """What the solver says when a mend is followed."""
    return solve(
        retrained(model, mend.changes),
        device=mend.device,
        interval=mend.interval,
        margin=mend.margin,
        loadable=mend.loadable,
        mends=False,
    )


@pytest.mark.parametrize("seed", [0, 1, 4, 6])
def test_every_mend_is_accepted_when_it_is_followed(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    model = network(rng)
    shrunk(rng, model, monkeypatch)
    for name in DEVICES:
        margin = float(rng.choice(MARGINS))
        interval = None if rng.random() < 0.4 else int(rng.choice([8, 60, 1000, 100_000]))
        where = f"seed {seed}, {name}, interval {interval}, margin {margin}"
        try:
            found = solve(model, device=name, interval=interval, margin=margin)
        except MisfitError as error:
            text = str(error)
            assert "\n" not in text
            for mend in error.mends:
                assert mend.text in text, where
                solution = follow(model, mend)
                assert not excess(solution.area.total, DEVICES[mend.device], mend.margin), where
                assert mend.interval is None or solution.spec.timing.interval <= mend.interval
            if "no smaller margin does, and no device" in text:
                for other in DEVICES:
                    with pytest.raises((MisfitError, UnmetError)):
                        solve(model, device=other, interval=interval, margin=0, mends=False)
        except lutgen.LutgenError as error:  # too fast for any size
            if ask := re.search(r"ask for (\d+) or more$", str(error)):
                solve(model, device=name, interval=int(ask.group(1)), margin=margin, mends=False)
        else:
            assert not excess(found.area.total, DEVICES[name], margin), where
            less = margin * float(rng.random())
            solve(model, device=name, interval=interval, margin=less, mends=False)
            longer = found.spec.timing.interval + int(rng.integers(100))
            solve(model, device=name, interval=longer, margin=margin, mends=False)


def wide(features=96, outputs=64, seed=0):
    """A perceptron whose tables are most of it."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (60, features)).astype(np.float32)
    y = rng.integers(0, 3, 60)
    return Dataset("random", x, y, x[:20], y[:20])


def trained(data, **options):
    return train(data, arch=(64,), stages=("replace",), float_epochs=1, **options).model


def test_a_change_of_training_that_is_named_fits_when_it_is_trained(monkeypatch):
    """Sub-vectors twice as long, or narrower tables, of the layer that takes most."""
    data = wide()
    model = trained(data)
    first = model.nodes[0].name
    total = solve(model, interval=2000, target="ecp5").area.total
    few = total.blocks // 2
    small = dataclasses.replace(DEVICES["25k"], luts=round(1.2 * total.luts), blocks=few)
    for name in set(DEVICES) - {"25k"}:
        monkeypatch.delitem(DEVICES, name)
    monkeypatch.setitem(DEVICES, "25k", small)
    with pytest.raises(MisfitError, match=f"; trained with --layer {first}") as caught:
        solve(model, device="25k", interval=2000, margin=0)
    (mend,) = caught.value.mends
    assert mend.changes
    other = trained(data, layers=mend.changes)
    for node in other.nodes:
        for key, value in mend.changes.get(node.name, {}).items():
            assert (node.grid.bits if key == "table_bits" else getattr(node, key)) == value
    found = solve(other, device="25k", interval=2000, margin=0)
    assert not excess(found.area.total, small, 0)


@pytest.mark.parametrize("seed", range(6))
def test_changed_models_are_models(seed):
    rng = np.random.default_rng(seed)
    model = network(rng)
    names = [node.name for node in model.nodes if node.op.startswith("lut_")]
    some = list(proposals(model, names[0]))
    assert len(some) == len({str(changes) for changes in some})
    for changes in some:
        other = retrained(model, changes)
        assert other.wires().keys() == model.wires().keys()
        for node in other.nodes:
            own = changes.get(node.name, {})
            assert own.get("subvec", 0) <= getattr(node, "subvec", 0)
            if "table_bits" in own:
                assert node.grid.bits == own["table_bits"]


def test_what_takes_most_is_true_of_what_fits_with_less_margin(monkeypatch):
    """The core that is named is the one that the smaller margin gets."""
    model = sim.random_model(np.random.default_rng(3), layers=2, features=24, metric="l1")
    total = solve(model, interval=1000, target="ecp5").area.total
    small = dataclasses.replace(
        DEVICES["25k"], luts=round(total.luts / 0.93), blocks=max(1, total.blocks)
    )
    monkeypatch.setitem(DEVICES, "25k", small)
    with pytest.raises(MisfitError) as caught:
        solve(model, device="25k", interval=1000, margin=0.3)
    found = re.search(
        r"takes ([\d,]+) (\D+) of ([\d,]+) that are free with a margin of 30%.*--margin (0\.?\d*)",
        str(caught.value),
    )
    need, what, most, margin = found.groups()
    assert int(need.replace(",", "")) > int(most.replace(",", ""))
    whole = {"LUTs": small.luts, "block RAMs": small.blocks, "flip-flops": small.ffs}[what]
    assert int(need.replace(",", "")) <= whole * (1 - float(margin)) + 1
    solve(model, device="25k", interval=1000, margin=float(margin))


def test_a_slower_core_is_proposed_as_it_was_asked_for():
    text = in_throughput("a slower core fits: --interval 784", 25e6)
    rate = float(text.rpartition(" ")[2])
    assert text == "a slower core fits: --throughput 31887.755"
    assert 784 <= int(25e6 / rate) <= 785


def test_an_answer_does_not_depend_on_what_was_asked_before():
    model = sim.random_model(np.random.default_rng(3), layers=2, features=24, metric="l1")
    asked = [("hx1k", 60, 0.2), ("hx1k", None, 0.0), ("25k", 60, 0.2), ("hx1k", 60, 0.0)]

    def request():
        return Request(model, Wishes(), lambda text: None, lutgen.cost.area.Area(), None)

    one = request()
    together = [one.attempt(*what) for what in asked[::-1]][::-1]
    for what, found in zip(asked, together, strict=True):
        alone = request().attempt(*what)
        assert (alone is None) == (found is None)
        assert alone is None or alone.spec == found.spec
