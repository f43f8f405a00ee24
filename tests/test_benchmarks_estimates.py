"""Estimates of memories and of families, against rows that were measured."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import estimates

from lutgen.cost.area import coefficients, memory_area
from lutgen.spec.memory import MemorySpec
from lutgen.spec.target import TARGETS, named_form, rom_points


@pytest.fixture(scope="module")
def rows():
    return json.loads(estimates.DATA.read_text("utf-8"))


def test_roms_made_of_logic_are_estimated_by_their_depth(rows):
    """Depths, widths and contents that the estimate is not made of."""
    tried = [row for row in rows if "rom" in row and tuple(row["rom"]) in estimates.TRIED]
    assert len(tried) >= 8
    for row in tried:
        depth, width, _ = row["rom"]
        guess = TARGETS[row["target"]].rom_luts(depth, width)
        assert abs(guess / row["luts"] - 1) < 0.25, row["rom"]


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_roms_grow_with_their_depth_and_width(name):
    target = TARGETS[name]
    depths = [2, 3, 4, 8, 16, 17, 40, 64, 100, 128, 200, 256, 300, 1000, 4096, 5000, 40_000]
    for width in (1, 8, 100):
        luts = [target.rom_luts(depth, width) for depth in depths]
        assert luts == sorted(luts)
    assert target.rom_luts(1024, 64) == pytest.approx(8 * target.rom_luts(1024, 8), rel=0.01)
    # As many functions of two rows are there, however many columns.
    assert target.rom_luts(2, 1000) <= 2
    assert rom_points(name) == tuple(sorted(rom_points(name)))


def test_a_core_of_deep_roms_is_estimated_by_what_it_takes():
    """Two of 4096 x 64, two of 512 x 32, in a core that takes 53,517 tables of an ECP5."""
    target, fit = TARGETS["ecp5"], coefficients("ecp5")
    shapes = [("table", 4096, 64, 2), ("codebook", 512, 32, 2), ("bias", 8, 112, 1)]
    luts = 0.0
    for name, depth, width, count in shapes:
        memory = MemorySpec(name, depth, width, "rom", count)
        luts += memory_area(memory, named_form(memory, target, "logic"), fit).luts
    assert 0.9 * 53_517 < luts < 1.1 * 53_517
    with pytest.raises(ValueError, match=r"^Form of a rom on ecp5 must not be 'single'$"):
        named_form(memory, target, "single")


def test_a_family_without_rows_keeps_its_coefficients(rows, tmp_path, monkeypatch):
    """And none is fitted to another's rows."""
    for name in ("FIT", "ROMS", "PAGE"):
        path = getattr(estimates, name)
        (tmp_path / path.name).write_text(path.read_text("utf-8"), "utf-8")
        monkeypatch.setattr(estimates, name, tmp_path / path.name)
    odd = dict.fromkeys(json.loads(estimates.FIT.read_text("utf-8"))["gowin"], 7)
    known = json.loads(estimates.FIT.read_text("utf-8")) | {"gowin": odd}
    estimates.FIT.write_text(json.dumps(known), "utf-8")
    estimates.write([row for row in rows if row["target"] != "gowin"])
    assert json.loads(estimates.FIT.read_text("utf-8"))["gowin"] == odd
    assert "- gowin: not fitted" in estimates.PAGE.read_text("utf-8")


def test_every_row_is_mapped_by_its_own_family(monkeypatch):
    asked = []

    def mapped(verilog, top, target):
        asked.append(target)
        raise RuntimeError

    monkeypatch.setattr(estimates, "map_core", mapped)
    for row in estimates.asked():
        if "rom" in row and row["rom"][0] < 100:
            with pytest.raises(RuntimeError):
                estimates.measure(row)
            assert asked[-1] == row["target"]
    assert set(asked) == set(TARGETS)
    with pytest.raises(KeyError):
        estimates.fit([], "stratix")


def test_least_squares_has_no_coefficient_below_zero():
    rng = np.random.default_rng(0)
    a = rng.random((12, 3))
    found = estimates.least_squares(a, a @ np.array([1.0, -0.5, 2.0]), np.ones(3))
    assert found.min() >= 0
