"""The page of cores in FPGAs and its pictures, from the rows that were measured."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import _fpga_pictures as pictures
import fpga

ROOT = Path(__file__).parents[1]
matplotlib = pytest.importorskip("matplotlib", reason="needs lutgen[plot]")


@pytest.fixture(scope="module")
def rows():
    return json.loads((ROOT / "benchmarks" / "results" / "fpga.json").read_text("utf-8"))


def test_the_same_rows_give_the_same_files(rows, tmp_path):
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False}):
        first = pictures.draw(rows, tmp_path)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert pictures.draw(rows[::-1], tmp_path) == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept
    for lines, name in zip(first, ("fpga_speed.svg", "fpga_area.svg"), strict=True):
        assert f"({name})" in lines[0]
        assert kept[name].startswith(b"<?xml")
        assert b"dc:date" not in kept[name]


def test_what_is_drawn(rows):
    """Every number comes from the rows: rates, frequencies, and shares of the part."""
    figure = matplotlib.figure.Figure()
    pictures.fill_speed(figure, rows)
    left, right = figure.axes
    for r in (r for r in rows if r.get("placements")):
        at = [100 * r["accuracy"], 1e6 * r["fmax_mhz"]["median"] / r["interval"]]
        marks = [line.get_xydata()[0].tolist() for line in left.lines if line.get_ls() != ":"]
        assert (at in marks) == (r["device"] != pictures.LARGE)  # whose accuracy is on CIFAR-10
        speeds = [one["fmax_mhz"] for one in r["placements"]]
        assert speeds in [list(line.get_xdata()) for line in right.lines]
    figure = matplotlib.figure.Figure()
    pictures.fill_area(figure, rows)
    (axes,) = figure.axes
    widths = [bar.get_width() for bar in axes.patches]
    for r in (r for r in rows if r["what"] == "core"):
        for key, has in r["available"].items():
            assert 100 * r["core"][key] / has in widths
            assert f"{r['core'][key]:,} of {has:,}" in [text.get_text() for text in axes.texts]
    assert "4 of 4" in [text.get_text() for text in axes.texts]  # the large RAMs of an UP5K


def test_a_page_without_matplotlib(rows, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fpga, "ROOT", tmp_path)
    (tmp_path / "docs" / "results").mkdir(parents=True)
    assert fpga.table(rows).count("![") == 2
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(pictures, "matplotlib", None)
    page = fpga.table(rows)
    assert "![" not in page
    assert "\n\n\n" not in page
    assert "| iCE40UP5K (sg48) |" in page
    assert "no pictures: matplotlib is not installed; run `pip install" in capsys.readouterr().err
