"""Whether a checkpoint's arrays are those of the network that it is said to be of.

`lutgen.train.checkpoint` checks every field on its own; what is here needs the network.
"""

import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.train.checkpoint import MEND, Checkpoint
from lutgen.train.floatnet import FloatNet
from lutgen.train.lookups import Vectors
from lutgen.train.lutnet import Average, Join, LookupNet
from lutgen.train.optim import moment_shapes
from lutgen.train.scales import LEFT, RIGHT
from lutgen.train.tune import PARAMETERS, Snapshot, State, Tuning, early

__all__ = ["check_float", "check_lookup", "check_progress"]

Path = str | os.PathLike[str]
Shapes = Mapping[str, tuple[int, ...]]

LEAST, LARGEST = 1e-36, 1e30  # of scales: float32 holds their products with integers


def check_float(known: Checkpoint, net: FloatNet, method: str, path: Path) -> None:
    """Complains if a checkpoint's float network is another than ``net``.

    Parameters
    ----------
    known : Checkpoint
    net : FloatNet
    method : str
        The optimiser that trains it.
    path : path
        Of the checkpoint, for the complaint.

    Raises
    ------
    LutgenError
    """
    shapes = {f"{i}": array.shape for i, array in enumerate(net.state())}
    if known.origin or known.stage != "float" or known.finished:
        _check_arrays(path, "origin", known.origin, shapes)
    if (state := known.float_state) is not None:
        _check_arrays(path, "float", state.arrays, shapes)
        moments = moment_shapes(method, [array.shape for array in net.parameters])
        _check_arrays(path, "float_moments", state.moments, moments)


def check_progress(known: Checkpoint, epochs: int, steps: int, path: Path) -> None:
    """Complains if a stage that is under way stands where it can't.

    Parameters
    ----------
    known : Checkpoint
    epochs : int
        The stage's.
    steps : int
        Of an epoch.
    path : path
        Of the checkpoint, for the complaint.

    Raises
    ------
    LutgenError
    """
    state = known.float_state or known.state
    if state is None:
        return
    where = f"{path}: manifest, field {'state' if known.float_state is None else 'float'!r}"
    if state.done > epochs:
        raise LutgenError(
            f"{where}, field 'done': must be at most the {epochs} epochs of the stage, not "
            f"{state.done}; {MEND}"
        )
    if state.steps != state.done * steps:
        raise LutgenError(
            f"{where}, field 'steps': must be {state.done * steps}, {steps} an epoch, not "
            f"{state.steps}; {MEND}"
        )
    if isinstance(state, State):
        first = early(epochs) + 1
        late = max(0, state.done - first + 1)
        if len(state.judged) != 1 + late:
            raise LutgenError(
                f"{where}, field 'judged': must have {1 + late} entries, that of the start and one "
                f"for each epoch from {first} on, not {len(state.judged)}; {MEND}"
            )
        if 0 < state.kept < first:
            raise LutgenError(
                f"{where}, field 'kept': must be 0 or an epoch from {first} on, not {state.kept}; "
                f"{MEND}"
            )


def check_lookup(known: Checkpoint, net: LookupNet, tuning: Tuning | None, path: Path) -> None:
    """Complains if a checkpoint's lookup network is another than ``net``.

    Parameters
    ----------
    known : Checkpoint
    net : LookupNet
    tuning : Tuning or None
        The settings of the stage, if it is one with gradients.
    path : path
        Of the checkpoint, for the complaint.

    Raises
    ------
    LutgenError
    """
    if known.measured["alone"] and {*known.measured["alone"]} != {"", *net.lookups}:
        raise LutgenError(
            f"{path}: manifest, field 'measured', field 'alone': must have an entry for each of "
            f"{', '.join(net.lookups)} and '', not others; {MEND}"
        )
    if known.net is not None:
        _check_snapshot(path, "net", "manifest, field 'net'", known.net, net)
    if (state := known.state) is None or tuning is None:
        return
    where = "manifest, field 'state'"
    for key, snapshot in (("now", state.now), ("best", state.best)):
        _check_snapshot(path, key, f"{where}, field {key!r}", snapshot, net)
    # In the order in which optimisers count them.
    every = [
        f"{name}.{part}" for name in net.lookups for part in PARAMETERS if part in tuning.train
    ]
    moved = [key for key in every if key in state.now.arrays]
    if {*state.rates} != {*moved}:
        raise LutgenError(
            f"{path}: {where}, field 'rates': must have an entry for each parameter that is "
            f"trained, not others; {MEND}"
        )
    shapes = [state.now.arrays[key].shape for key in moved]
    _check_arrays(path, "moments", state.moments, moment_shapes(tuning.optimiser, shapes))


def _check_snapshot(path: Path, group: str, where: str, snapshot: Snapshot, net: LookupNet) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    scales: dict[str, tuple[str, ...]] = {}
    for name, lookup in net.lookups.items():
        shapes |= {f"{name}.{key}": array.shape for key, array in lookup.parameters.items()}
        if isinstance(lookup, Vectors):
            shapes[f"{name}.moved"] = lookup.moved.shape
            if f"{name}.residual" in snapshot.arrays:
                shapes[f"{name}.residual"] = lookup.residual_shape
            else:
                shapes.pop(f"{name}.residual", None)
        scales[name] = ("positive", "positive", "shift")
    for op in net.ops:
        if isinstance(op, Join | Average):
            scales[op.name] = ("shift" if isinstance(op, Join) else "finer",)
    _check_arrays(path, group, snapshot.arrays, shapes)
    for name, lookup in net.lookups.items():
        if not isinstance(lookup, Vectors) or not lookup.spare:
            continue
        books, weight = (snapshot.arrays.get(f"{name}.{key}") for key in ("books", "weight"))
        padding = {
            "books": None if books is None else books[-1, :, lookup.subvec - lookup.spare :],
            "weight": None if weight is None else weight[:, lookup.rows.features :],
        }
        for key, part in padding.items():
            if part is not None and part.any():
                raise LutgenError(
                    f"{path}, array '{group}/{name}.{key}': must be 0 where the last sub-vector is "
                    f"padding; {MEND}"
                )
    if {*snapshot.scales} != {*scales}:
        raise LutgenError(
            f"{path}: {where}: must have an entry for each of {', '.join(scales)}, not others; "
            f"{MEND}"
        )
    for name, kinds in scales.items():
        entry = snapshot.scales[name]
        if len(entry) != len(kinds) or not all(map(_good, kinds, entry)):
            raise LutgenError(
                f"{path}: {where}, field {name!r}: must be scales and shifts of that layer, not "
                f"{entry!r:.60}; {MEND}"
            )
    before = Snapshot.of(net)
    snapshot.restore(net)
    try:
        for op in net.ops:
            if isinstance(op, Join) and not all(0 <= n <= LEFT for n in op.left_shifts):
                raise LutgenError(
                    f"{path}: {where}: the scales at the join {op.name!r} do not suit each other; "
                    f"{MEND}"
                )
    finally:
        before.restore(net)


def _good(kind: str, value: float) -> bool:
    if kind == "positive":
        return LEAST <= value <= LARGEST
    if kind == "shift":
        return value == int(value) and 0 <= value <= RIGHT
    return abs(value) <= RIGHT


def _check_arrays(
    path: Path, group: str, arrays: Mapping[str, NDArray[Any]], shapes: Shapes
) -> None:
    for key, shape in shapes.items():
        where = f"{path}, array '{group}/{key}'"
        if key not in arrays:
            raise LutgenError(f"{where}: is missing; {MEND}")
        if arrays[key].shape != shape:
            want, have = ("x".join(map(str, s)) or "a scalar" for s in (shape, arrays[key].shape))
            raise LutgenError(f"{where}: must have the shape {want}, not {have}; {MEND}")
    for key in arrays:
        if key not in shapes:
            raise LutgenError(f"{path}, array '{group}/{key}': belongs to no layer; {MEND}")
