"""Verilog and contract of a network core."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.errors import LutgenError
from lutgen.files import check_writable, write_text
from lutgen.gateware import image
from lutgen.gateware.contract import contract_of, port_fields
from lutgen.gateware.network import NetworkCore
from lutgen.gateware.verilog import convert
from lutgen.model import Model
from lutgen.model.check import check_plan
from lutgen.model.plan import FOLD_FIELDS, Fold, default_fold, default_input_lanes, plan
from lutgen.numeric import Format, Grid, as_int
from lutgen.spec.encoder import DigitSpec
from lutgen.spec.linear import LAYER_METRICS, LinearSpec, format_acc_format
from lutgen.spec.memory import network_memories
from lutgen.spec.names import check_name
from lutgen.spec.network import NetworkSpec, PortSpec, Stage
from lutgen.spec.target import Form, choose_forms, memory_table, target_of

__all__ = ["Core", "build", "build_loadable", "port_fields"]


@dataclass(frozen=True)
class Core:
    """A generated core.

    Attributes
    ----------
    spec : NetworkSpec
    verilog : str
        The same text on every run of the same tools.
    contract : dict
        See docs/core-contract.md.
    """

    spec: NetworkSpec
    verilog: str
    contract: dict[str, Any]

    def write(self, path: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Writes the Verilog to ``path`` and the contract beside it, with the suffix ``.json``;
        gives both paths.
        """
        target = Path(path)
        beside = target.with_suffix(".json")
        if beside == target:
            raise LutgenError(f"{target}: the contract goes there; name the Verilog file *.v")
        check_writable(target)
        check_writable(beside)
        write_text(target, self.verilog)
        write_text(beside, json.dumps(self.contract, indent=1) + "\n")
        return target, beside

    def load_words(
        self, codebooks: ArrayLike | None, table: ArrayLike, bias: ArrayLike, *, stage: int = 0
    ) -> NDArray[np.uint32]:
        """A lookup layer's part of the load image; see `lutgen.gateware.image.layer_words`."""
        row = self.spec.stages[stage].row
        assert row is not None
        return image.layer_words(row, codebooks, table, bias)

    def load_image(self, model: Model) -> NDArray[np.uint32]:
        """The whole load image that makes a loadable core compute ``model``; see
        `lutgen.gateware.image.model_image`.

        Raises
        ------
        ValueError
            If the core is not loadable.
        """
        if self.contract.get("load", True) is None:
            raise ValueError("Core must be loadable to take an image: build it with loadable=True")
        return image.model_image(self.spec, model)


def build(
    model: Model,
    *,
    name: str | None = None,
    input_lanes: int | None = None,
    lanes: int | None = None,
    fan_in: int | None = None,
    encoder_centroids: int | None = None,
    encoder_dims: int | None = None,
    window_channels: int | None = None,
    slide: int | None = None,
    layers: Mapping[str, Mapping[str, int]] | None = None,
    loadable: bool = False,
    taps: bool = False,
    target: str | None = None,
    spec: NetworkSpec | None = None,
    forms: Mapping[tuple[str, int, int], Form] | None = None,
) -> Core:
    """The network core of a model.

    Parameters
    ----------
    model : Model
    name : str or None
        The Verilog module; by default the model's name, with ``_core`` behind it where that is
        reserved (`lutgen.spec.names`).
    input_lanes : int or None
        Elements of an input beat; by default up to 4 bytes of them.
    lanes, fan_in, encoder_centroids, encoder_dims, window_channels, slide : int or None
        Fold of every stage, cut to its size; see `lutgen.model.fold.Fold`.
    layers : mapping of node name to a mapping of those five
        Folds of single stages.
    loadable : bool
        Tables, centroids and biases in RAM, filled through ``l_axis``.
    taps : bool
        Outputs that show every beat between stages, for simulation.
    target : str or None
        A family or a device of `lutgen.spec.target`: every memory says what it is to be made of.
    spec : NetworkSpec or None
        A plan of this model, such as the one in a `lutgen.cost.solve.Solution`, in the place of
        folds.
    forms : mapping of memory key to Form or None
        What its memories are made of, such as in a `lutgen.cost.solve.Solution`; goes with
        ``target``. By default what is cheapest there.

    Raises
    ------
    LutgenError
        If a node can't be built.
    ValueError, TypeError
        If an option is out of range, or ``spec`` is no plan of this model.
    """
    if not isinstance(model, Model):
        raise TypeError(f"Model must be what lutgen.load gives, not {model!r:.80}")
    if forms is not None and (spec is None or target is None):
        raise ValueError("Forms of memories must come with their plan and target")
    folds = {}
    for key, wishes in (layers or {}).items():
        for field in wishes:
            if field not in FOLD_FIELDS:
                raise ValueError(
                    f"Fold of layer {key!r} must name {', '.join(FOLD_FIELDS)}, not {field!r}"
                )
        folds[key] = Fold(**wishes)
    fold = Fold(lanes, fan_in, encoder_centroids, encoder_dims, window_channels, slide)
    if spec is None:
        spec = plan(
            model,
            name=name,
            input_lanes=input_lanes,
            fold=fold,
            layers=folds,
            loadable=loadable,
        )
    elif folds or fold != Fold() or input_lanes is not None or name is not None:
        raise ValueError("Folds, name and input lanes are a plan's own: give them to its maker")
    else:
        check_plan(model, spec, loadable)
    contents = {} if loadable else image.contents_of(spec, model)
    return _generate(spec, contents, model, taps=taps, target=target, forms=forms)


def build_loadable(
    *,
    codebooks: int,
    subvec: int,
    centroids: int = 16,
    metric: str = "l1",
    table_bits: int = 8,
    activation_bits: int = 8,
    signed: bool = False,
    outputs: int = 16,
    shift: int = 0,
    output_bits: int | None = None,
    lanes: int | None = None,
    fan_in: int | None = None,
    encoder_centroids: int | None = None,
    encoder_dims: int | None = None,
    input_lanes: int | None = None,
    name: str = "lutgen_core",
    target: str | None = None,
) -> Core:
    """A core of one lookup layer whose centroids, tables and biases are loaded by stream.

    Parameters
    ----------
    codebooks : int
        Sub-vectors of an input row; the layer has ``codebooks * subvec`` inputs (``digit``:
        digits).
    subvec, centroids, metric, table_bits, activation_bits, outputs
        The layer; ``signed`` is the signedness of its inputs.
    shift, output_bits
        Requantisation to unsigned activations; without ``output_bits`` the accumulators are the
        output.
    lanes, fan_in, encoder_centroids, encoder_dims, input_lanes, name, target
        See `build`.

    Raises
    ------
    ValueError, TypeError
        If an option makes no machine.
    """
    as_int(codebooks, "Codebooks", low=1)
    as_int(subvec, "Sub-vector length", low=1)
    as_int(centroids, "Centroids", low=2)
    as_int(outputs, "Outputs", low=1)
    if metric not in LAYER_METRICS:
        raise ValueError(f"Metric must be one of {', '.join(LAYER_METRICS)}, not {metric!r}")
    as_int(table_bits, "Table bits", low=2, high=16 if metric == "digit" else 8)
    element = Format(as_int(activation_bits, "Activation bits", low=2, high=16), signed)
    if output_bits is not None:
        as_int(output_bits, "Output bits", low=2, high=16)
    features = codebooks * subvec
    if metric == "digit":
        digits = DigitSpec(element, centroids).digits
        if codebooks % digits:
            raise ValueError(
                f"Codebooks of a digit layer must be a multiple of {digits}, the digits of an "
                f"input, not {codebooks}"
            )
        features = codebooks // digits
    grid = Grid("int", table_bits)
    wish = Fold(lanes, fan_in, encoder_centroids, encoder_dims)
    fold = default_fold(
        outputs=outputs,
        subvec=subvec,
        centroids=centroids,
        metric=metric,
        codebooks=codebooks,
        wish=wish,
    )
    layer = LinearSpec(
        in_features=features,
        out_features=outputs,
        element=element,
        subvec=subvec,
        centroids=centroids,
        metric=metric,
        grid=grid,
        acc=format_acc_format(codebooks, grid),
        shift=as_int(shift, "Shift", low=0, high=31),
        output=None if output_bits is None else Format(output_bits, False),
        memory="ram",
        **fold,
    )
    if input_lanes is None:
        input_lanes = default_input_lanes(features, element)
    o = PortSpec(outputs, layer.result, layer.lanes)
    spec = NetworkSpec(
        name,
        PortSpec(features, element, input_lanes),
        (Stage("layer", "lut_linear", ("input",), layer, input_lanes, o),),
    )
    return _generate(spec, {}, None, target=target)


def _generate(
    spec: NetworkSpec,
    contents: dict[str, Any],
    model: Model | None,
    *,
    taps: bool = False,
    target: str | None = None,
    forms: Mapping[tuple[str, int, int], Form] | None = None,
) -> Core:
    check_name(spec.name, "a core")
    core = NetworkCore(spec, contents, taps=taps)
    memories = list(network_memories(spec, loadable_maps=bool(core.rams)))
    if target is not None and forms is None:
        forms = choose_forms((memory for _, memory in memories), target_of(target))
    text = convert(core, spec.name, forms)
    table = memory_table(memories, forms)
    return Core(spec, text, contract_of(spec, core, model, table, target))
