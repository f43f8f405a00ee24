"""Learning curves as a picture: the same curves, the same file."""

import struct
import sys

import pytest
from training import QUICK, small

from lutgen.errors import LutgenError
from lutgen.train import Epoch, draw, train

pytest.importorskip(
    "matplotlib", reason="matplotlib is not installed; run: pip install 'lutgen[plot]'"
)

FALLING = [Epoch(1 / n, 1 - 0.3 / n, 1.2 / n, 0.9 - 0.3 / n) for n in range(1, 6)]
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def texts(path):
    """The comments of an SVG, which hold its texts where letters are drawn as paths."""
    return [part.split("-->")[0].strip() for part in path.read_text().split("<!--")[1:]]


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_curves_give_the_same_file(tmp_path, kind):
    first, second, other = (tmp_path / f"{name}.{kind}" for name in "abc")
    for path in (first, second):
        draw({"joint": FALLING}, path, float_losses=[2.0, 1.0])
    draw({"joint": FALLING[:4]}, other, float_losses=[2.0, 1.0])
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()
    assert b"<dc:date>" not in first.read_bytes()


def test_a_users_settings_of_matplotlib_do_not_matter(tmp_path):
    import matplotlib

    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    draw({"joint": FALLING}, first)
    with matplotlib.rc_context({"lines.linewidth": 9, "svg.fonttype": "none", "font.size": 30}):
        draw({"joint": FALLING}, second)
        assert matplotlib.rcParams["lines.linewidth"] == 9
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("curves", "losses", "want", "columns"),
    [
        ({"joint": FALLING}, [], ["joint", "loss", "accuracy, %", "training", "held out"], 1),
        (
            {"calibrate": FALLING[:1], "joint": FALLING * 20},
            [1.0] * 100,
            ["float", "calibrate", "joint", "loss", "accuracy, %", "training", "held out"],
            3,
        ),
        ({}, [3.0, 2.0], ["float", "loss", "training"], 1),
        ({"joint": []}, [3.0], ["float", "loss", "training"], 1),
    ],
)
def test_what_is_drawn(tmp_path, curves, losses, want, columns):
    path = tmp_path / "a.svg"
    draw(curves, path, float_losses=losses)
    found = texts(path)
    for word in ("float", "calibrate", "joint", "loss", "accuracy, %", "training", "held out"):
        assert (word in found) == (word in want), word
    draw(curves, tmp_path / "a.png", float_losses=losses)
    data = (tmp_path / "a.png").read_bytes()
    assert data.startswith(SIGNATURE)
    width = struct.unpack(">I", data[16:20])[0]
    assert width == round(120 * (1.6 + 3.6 * columns))


def test_curves_of_a_run(tmp_path):
    result = train(small(), **QUICK, stages=("replace", "calibrate", "joint"))
    draw(result.curves, tmp_path / "a.svg", float_losses=result.float_losses)
    assert {"float", "calibrate", "joint"} <= set(texts(tmp_path / "a.svg"))


def refusal(*args, **options):
    with pytest.raises(LutgenError) as caught:
        draw(*args, **options)
    return str(caught.value)


def test_refusals(tmp_path, monkeypatch):
    curves = {"joint": FALLING}
    path = tmp_path / "a.pdf"
    assert refusal(curves, path) == f"{path}: is no picture's name; end it in .png or .svg"
    path = tmp_path / "a.png"
    assert refusal({}, path) == f"{path}: there is nothing to draw, no stage had an epoch"
    absent = tmp_path / "no" / "a.png"
    assert refusal(curves, absent) == (
        f"{absent}: the folder {absent.parent} does not exist; make it first"
    )
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert refusal(curves, path) == (
        f"{path}: matplotlib, which draws it, is not installed; run `pip install 'lutgen[plot]'`"
    )
    assert not list(tmp_path.iterdir())
