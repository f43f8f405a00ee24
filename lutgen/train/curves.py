"""Learning curves as a picture."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lutgen import store
from lutgen.errors import LutgenError
from lutgen.files import write_bytes
from lutgen.train.tune import Epoch

__all__ = ["check_picture", "draw"]

KINDS = ("png", "svg")
TRAINING = {"color": "#4477aa", "label": "training"}
HELD = {"color": "#cc6677", "linestyle": "--", "label": "held out"}
# Nothing of the user's own settings, no dates, no random names: the same curves, the same file.
STYLE = {"svg.hashsalt": "lutgen", "axes.grid": True, "grid.alpha": 0.3, "legend.frameon": False}
METADATA = {"png": {"Software": None}, "svg": {"Date": None}}


def check_picture(path: str | os.PathLike[str]) -> None:
    """Complains now, before long work, if a picture of that name can't be drawn.

    Raises
    ------
    LutgenError
    """
    if Path(path).suffix.lower().lstrip(".") not in KINDS:
        raise LutgenError(f"{path}: is no picture's name; end it in .png or .svg")
    _matplotlib(path)


def draw(
    curves: Mapping[str, Sequence[Epoch]],
    path: str | os.PathLike[str],
    *,
    float_losses: Sequence[float] = (),
) -> None:
    """Draws loss and accuracy, on training and held-out samples, over the epochs of all stages.

    Parameters
    ----------
    curves : mapping of str to sequence of Epoch
        By stage, as in `lutgen.train.TrainResult.curves`.
    path : path
        A ``.png`` or ``.svg``; the same curves give the same file.
    float_losses : sequence of float
        Of the float network's training; they come first.

    Raises
    ------
    LutgenError
        If matplotlib is missing, the file can't be written, or there is no epoch to draw.
    """
    check_picture(path)
    columns = {stage: list(epochs) for stage, epochs in curves.items() if epochs}
    if float_losses:
        columns = {"float": [], **columns}
    if not columns:
        raise LutgenError(f"{path}: there is nothing to draw, no stage had an epoch")
    matplotlib = _matplotlib(path)
    kind = Path(path).suffix.lower().lstrip(".")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = matplotlib.figure.Figure(layout="constrained")
        _fill(figure, columns, float_losses)
        picture = io.BytesIO()
        figure.savefig(picture, format=kind, metadata=METADATA[kind], dpi=120)
    write_bytes(path, picture.getvalue())


def _fill(figure: Any, columns: Mapping[str, Sequence[Epoch]], losses: Sequence[float]) -> None:
    """A column for each stage: loss above, accuracy below; float training has the loss alone."""
    measured = [stage for stage, epochs in columns.items() if epochs]
    rows = 2 if measured else 1
    figure.set_size_inches(1.6 + 3.6 * len(columns), 2.8 * rows)
    cells = figure.subplots(rows, len(columns), squeeze=False, sharex="col", sharey="row")
    for number, (stage, epochs) in enumerate(columns.items()):
        loss, bottom = cells[0, number], cells[-1, number]
        loss.set_title(stage)
        loss.xaxis.get_major_locator().set_params(integer=True)
        if epochs:
            _line(loss, [epoch.loss for epoch in epochs], TRAINING)
            _line(loss, [epoch.held_loss for epoch in epochs], HELD)
            _line(bottom, [100 * epoch.accuracy for epoch in epochs], TRAINING)
            _line(bottom, [100 * epoch.held_accuracy for epoch in epochs], HELD)
        else:
            _line(loss, losses, TRAINING)
            bottom.set_visible(bottom is loss)
            bottom = loss
        bottom.set_xlabel("epoch")
        bottom.tick_params(labelbottom=True)
        if measured and stage == measured[0]:
            bottom.set_ylabel("accuracy, %")
            bottom.tick_params(labelleft=True)
    cells[0, 0].set_ylabel("loss")
    kinds = [TRAINING, HELD] if measured else [TRAINING]
    handles = [cells[0, 0].plot([], [], **kind)[0] for kind in kinds]
    figure.legend(handles=handles, loc="outside right upper")


def _line(axes: Any, values: Sequence[float], kind: Mapping[str, Any]) -> None:
    own = {key: value for key, value in kind.items() if key != "label"}
    axes.plot(range(1, len(values) + 1), values, marker="." if len(values) < 40 else "", **own)


def _matplotlib(path: str | os.PathLike[str]) -> Any:
    try:
        # Its own place is in the home folder, which need not be there.
        os.environ.setdefault("MPLCONFIGDIR", str(store.root() / "matplotlib"))
        import matplotlib
        import matplotlib.figure
    except ImportError:
        raise LutgenError(
            f"{path}: matplotlib, which draws it, is not installed; "
            "run `pip install 'lutgen[plot]'`"
        ) from None
    return matplotlib
