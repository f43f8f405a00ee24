"""What became of a plan's wishes, and whether it is a model's at all."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from lutgen.model.fold import FOLD_FIELDS, Fold
from lutgen.model.network import Model
from lutgen.model.nodes import Flatten
from lutgen.model.plan import plan
from lutgen.spec.conv import Conv2dSpec
from lutgen.spec.network import NetworkSpec, Stage
from lutgen.spec.slide import EncodeSpec

__all__ = ["changed_folds", "check_plan", "stage_fold"]


def stage_fold(spec: NetworkSpec, stage: Stage) -> dict[str, int]:
    """The fold that a stage was given, as `Fold` takes it; empty where it has none."""
    row = stage.row
    fold: dict[str, int] = {}
    if row is not None:
        for key in ("lanes", "fan_in", "encoder_centroids", "encoder_dims"):
            fold[key] = getattr(row, key)
    elif stage.op not in ("regroup", "encode", "windows", "argmax"):
        fold["lanes"] = stage.o.lanes
    if stage.op == "lut_conv2d":
        fold["slide"] = int(not isinstance(stage.spec, Conv2dSpec))
        for before in spec.stages:  # the encoders are a stage of their own
            if isinstance(before.spec, EncodeSpec) and owner(before.name) == stage.name:
                fold["encoder_centroids"] = before.spec.row.encoder_centroids
                fold["encoder_dims"] = before.spec.row.encoder_dims
    if isinstance(stage.spec, Conv2dSpec) and stage.spec.encode == "window":
        fold["window_channels"] = stage.spec.word
    return fold


def owner(stage: str) -> str:
    """The node that a stage of its own name stands before."""
    return stage.rpartition("__")[0]


def changed_folds(model: Model, spec: NetworkSpec, layers: Mapping[str, Fold]) -> list[str]:
    """A line for every fold of a single layer that could not be had."""
    stages = {stage.name: stage for stage in spec.stages}
    said = []
    for name, wish in layers.items():
        fold = stage_fold(spec, stages[name])
        for key in FOLD_FIELDS:
            value = getattr(wish, key)
            if value is None or fold.get(key) == value:
                continue
            why = _why(stages[name], key, value, fold)
            if key in fold:
                text = f"{fold[key]} is used: {why}"
            elif key == "slide" and not value:
                continue  # there is nothing that could
            else:
                text = f"left out: {why}"
            said.append(f"layer {name!r}: {key.replace('_', '-')}={value}: {text}")
    return said


def _why(stage: Stage, key: str, value: int, fold: Mapping[str, int]) -> str:
    spec, row = stage.spec, stage.row
    what = key.replace("_", "-")
    if key not in fold:
        if key == "window_channels" and isinstance(spec, Conv2dSpec):
            return "a convolution by pixel keeps indices, not channels"
        if key == "window_channels" and fold.get("slide"):
            return "whole windows are in registers"
        return f"{stage.op} has no {what}"
    if key == "lanes" and row is not None and value < row.out_features:
        return f"lanes divide the {row.out_features} channels"
    if key == "lanes" and row is None and value < stage.o.elements:
        return "lanes divide the channels, and are no more than come in"
    if key == "fan_in" and isinstance(spec, Conv2dSpec) and spec.encode == "pixel":
        return f"more than the codebooks of a tap, {spec.row.codebooks}, need slide=1"
    if key == "fan_in" and isinstance(spec, Conv2dSpec):
        if value < spec.row.codebooks:
            return "what is read from the line buffer makes whole groups of codebooks"
        return f"there are {spec.row.codebooks} codebooks"
    if key == "window_channels":
        return "channels that are read at once divide those of a pixel, in whole sub-vectors"
    most = {"lanes": "outputs", "fan_in": "codebooks"}
    if row is not None and key in most:
        count = row.out_features if key == "lanes" else row.codebooks
        return f"there are {count} {most[key]}"
    return (
        "there are no more"
        if row is None or row.metric != "digit"
        else "digits are cut, not compared"
    )


def check_plan(model: Model, spec: NetworkSpec, loadable: bool) -> None:
    """Complains of a plan that was not made from this model.

    Raises
    ------
    ValueError
        Names the stage and the field that differ.
    """
    nodes = [node.name for node in model.nodes if not isinstance(node, Flatten)]
    made = [stage.name for stage in spec.stages if stage.op not in ("regroup", "encode", "windows")]
    if made != nodes:
        missing = [name for name in [*nodes, *made] if (name in nodes) != (name in made)]
        first = missing[0] if missing else made[0]
        raise ValueError(f"Plan must be one of this model, whose stages differ: see {first!r}")
    layers = {}
    for stage in spec.stages:
        if stage.name in nodes and (fold := stage_fold(spec, stage)):
            layers[stage.name] = Fold(**fold)
    shape = model.wires()["input"].size
    if spec.input.elements != shape or spec.input.element != model.input.format:
        raise ValueError(f"Plan must be one of this model, whose input differs: see {spec.input}")
    own = plan(
        model,
        name=spec.name,
        input_lanes=spec.input.lanes,
        layers=layers,
        loadable=loadable,
    )
    for mine, theirs in zip(own.stages, spec.stages, strict=False):
        for where, want, have in _differences(mine, theirs, ""):
            raise ValueError(
                f"Plan must be one of this model: stage {mine.name!r}, field {where!r} must be "
                f"{want}, not {have}"
            )
    if len(own.stages) != len(spec.stages):
        raise ValueError("Plan must be one of this model, which has other stages")


def _differences(want: Any, have: Any, where: str) -> Iterator[tuple[str, Any, Any]]:
    """Fields in which two specs differ."""
    if type(want) is type(have) and is_dataclass(want):
        for field in fields(want):
            name = f"{where}.{field.name}" if where else field.name
            yield from _differences(getattr(want, field.name), getattr(have, field.name), name)
    elif isinstance(want, np.ndarray):
        if not np.array_equal(want, have):
            yield where, want, have
    elif want != have:
        yield where, want, have
