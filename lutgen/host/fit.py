"""Whether a lookup layer fits an engine, and if not, why, and which engine it would fit."""

from dataclasses import replace
from typing import NoReturn

from lutgen.model.base import Wire
from lutgen.model.lookup import LutConv2d, LutLayer, LutLinear
from lutgen.numeric import Format, format_for
from lutgen.spec.engine import EngineSpec

__all__ = ["accumulator", "check_fit", "lookups"]


def accumulator(layer: LutLayer, wire: Wire) -> Format:
    """The format that all sums of a layer behind that wire fit, by its actual tables."""
    if isinstance(layer, LutConv2d):
        return layer.spec(wire).acc
    assert isinstance(layer, LutLinear)
    return layer.spec(layer.activation(wire).format).acc


def lookups(layer: LutLayer) -> int:
    """Table rows that one result adds up: codebooks, for every tap of encode ``pixel``."""
    return int(layer.table.size // (layer.table.shape[-1] * layer.table.shape[-2]))


def check_fit(layer: LutLayer, wire: Wire, engine: EngineSpec) -> None:
    """Complains of a lookup layer behind that wire which the engine can't compute.

    Raises
    ------
    LutgenError
        One line that names the node and the field, and the engine that would do.
    """

    def refuse(what: str, text: str, mend: str) -> NoReturn:
        raise layer.fail(
            what, f"{text}; {mend}, or leave the node to the host with --host {layer.name}"
        )

    def build(option: str, value: object) -> str:
        return f"build an engine with --{option} {value}"

    activation = layer.activation(wire)
    exact = layer.metric == "digit"
    # The metrics order single elements alike.
    if not exact and layer.subvec > 1 and layer.metric != engine.metric:
        refuse(
            "field 'metric'",
            f"is {layer.metric}, but the engine's is {engine.metric}",
            build("metric", layer.metric),
        )
    if not exact and layer.subvec > engine.subvec:
        refuse(
            "field 'subvec'",
            f"is {layer.subvec}, more than the engine's {engine.subvec}",
            build("subvec", layer.subvec),
        )
    if layer.centroids > engine.centroids:
        refuse(
            "field 'centroids'",
            f"is {layer.centroids}, more than the engine's {engine.centroids}",
            build("centroids", layer.centroids),
        )
    if not exact and activation.bits > engine.activation_bits:
        refuse(
            "field 'inputs'",
            f"brings activations of {activation.bits} bits, more than the engine's "
            f"{engine.activation_bits}",
            build("activation-bits", activation.bits),
        )
    count, most = lookups(layer), engine.groups * engine.fan_in
    if count > most:
        taps = ", taps included" if layer.table.ndim > 3 else ""
        refuse(
            "array 'table'",
            f"has {count} codebooks{taps}, more than the engine's {most}",
            build("codebooks", count),
        )
    if layer.output is not None and layer.output.bits > engine.output_bits:
        refuse(
            "field 'output'",
            f"has {layer.output.bits} bits, more than the engine's {engine.output_bits}",
            build("output-bits", layer.output.bits),
        )
    values = layer.grid.decode(layer.table)
    low, high = int(values.min()), int(values.max())
    if not engine.grid.low <= low <= high <= engine.grid.high:
        bits = format_for(min(low, -1), high).bits
        refuse(
            "array 'table'",
            f"stands for values of {low}..{high}, more than the engine's {engine.table_bits} bits "
            "hold",
            build("table-bits", bits) if bits <= 16 else "train it with a narrower grid",
        )
    acc = accumulator(layer, wire)
    if acc.bits > engine.acc.bits:
        refuse(
            "array 'bias'",
            f"and tables reach sums of {acc.bits} bits, more than the engine's accumulators of "
            f"{engine.acc.bits}",
            _wider(engine, acc.bits),
        )


def _wider(engine: EngineSpec, bits: int) -> str:
    """How to build an engine with accumulators of so many bits: with room for more codebooks."""
    codebooks = engine.codebooks
    while codebooks < 1 << 16:
        codebooks = min(2 * codebooks, 1 << 16)
        try:
            wider = replace(engine, codebooks=codebooks)
        except ValueError:
            break
        if wider.acc.bits >= bits:
            return f"build an engine with --codebooks {codebooks}, whose sums are wider"
    return "train it with smaller biases"
