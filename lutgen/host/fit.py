"""Whether lookup layers fit an engine, and if not, why, and which engine they would fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lutgen.errors import LutgenError
from lutgen.model.base import Wire
from lutgen.model.lookup import LutConv2d, LutLayer, LutLinear
from lutgen.numeric import Format, format_for
from lutgen.spec.engine import EngineSpec

__all__ = ["Misfit", "MisfitError", "accumulator", "check_fit", "engine_for", "lookups", "misfits"]

# Parameters that widen the accumulators: where they do not suffice, sums are not looked at yet.
WIDENING = ("codebooks", "table_bits")


@dataclass(frozen=True)
class Misfit:
    """Something of a lookup layer that an engine can't do.

    Parameters
    ----------
    layer : str
    parameter : str
        Of the engine, a field of `EngineSpec`; or ``accumulator_bits``, which follow from others.
    needs, has : int or str
        What the layer needs of it, and what the engine has.
    text : str
        One line that names node and field.
    mend : str
        The engine that would do, or what else is to be done.
    """

    layer: str
    parameter: str
    needs: int | str
    has: int | str
    text: str
    mend: str


class MisfitError(LutgenError):
    """Lookup layers do not fit an engine.

    Parameters
    ----------
    misfits : sequence of Misfit
    engine : EngineSpec or None
        One that all lookup layers would fit, with nothing changed that need not be; None where
        there is none.
    """

    def __init__(self, misfits: Sequence[Misfit], engine: EngineSpec | None) -> None:
        layers = dict.fromkeys(each.layer for each in misfits)
        whom = "the node" if len(layers) == 1 else "the nodes"
        hosts = " ".join(f"--host {layer}" for layer in layers)
        said = "; ".join(each.text for each in misfits)
        mends = dict.fromkeys(each.mend for each in misfits)
        mend = next(iter(mends)) if len(mends) == 1 else "build an engine that has them"
        super().__init__(f"{said}; {mend}, or leave {whom} to the host with {hosts}")
        self.misfits = tuple(misfits)
        self.layers = tuple(layers)
        self.engine = engine


def accumulator(layer: LutLayer, wire: Wire) -> Format:
    """The format that all sums of a layer behind that wire fit, by its actual tables."""
    if isinstance(layer, LutConv2d):
        return layer.spec(wire).acc
    assert isinstance(layer, LutLinear)
    return layer.spec(layer.activation(wire).format).acc


def lookups(layer: LutLayer) -> int:
    """Table rows that one result adds up: codebooks, for every tap of encode ``pixel``."""
    return int(layer.table.size // (layer.table.shape[-1] * layer.table.shape[-2]))


def check_fit(layers: Sequence[tuple[LutLayer, Wire]], engine: EngineSpec) -> None:
    """Complains of lookup layers behind their wires which the engine can't compute.

    Raises
    ------
    MisfitError
    """
    found = [misfit for layer, wire in layers for misfit in misfits(layer, wire, engine)]
    if found:
        raise MisfitError(found, engine_for(layers, engine))


def misfits(layer: LutLayer, wire: Wire, engine: EngineSpec) -> list[Misfit]:
    """All that a lookup layer behind that wire has and the engine has not."""
    found: list[Misfit] = []

    def add(parameter: str, needs: int | str, has: int | str, what: str, text: str) -> None:
        mend = f"build an engine with --{parameter.replace('_', '-')} {needs}"
        if parameter == "table_bits" and int(needs) > 16:
            mend = "train it with a narrower grid"
        line = str(layer.fail(what, text))
        found.append(Misfit(layer.name, parameter, needs, has, line, mend))

    def limit(parameter: str, needs: int, has: int, what: str, text: str) -> None:
        if needs > has:
            add(parameter, needs, has, what, f"{text}, more than the engine's {has}")

    activation = layer.activation(wire)
    if layer.metric != "digit":
        # The metrics order single elements alike.
        if layer.subvec > 1 and layer.metric != engine.metric:
            text = f"is {layer.metric}, but the engine's is {engine.metric}"
            add("metric", layer.metric, engine.metric, "field 'metric'", text)
        limit("subvec", layer.subvec, engine.subvec, "field 'subvec'", f"is {layer.subvec}")
        bits = activation.bits
        text = f"brings activations of {bits} bits"
        limit("activation_bits", bits, engine.activation_bits, "field 'inputs'", text)
    text = f"is {layer.centroids}"
    limit("centroids", layer.centroids, engine.centroids, "field 'centroids'", text)
    count, most = lookups(layer), engine.groups * engine.fan_in
    taps = ", taps included" if layer.table.ndim > 3 else ""
    limit("codebooks", count, most, "array 'table'", f"has {count} codebooks{taps}")
    if layer.output is not None:
        bits = layer.output.bits
        limit("output_bits", bits, engine.output_bits, "field 'output'", f"has {bits} bits")
    values = layer.grid.decode(layer.table)
    low, high = int(values.min()), int(values.max())
    if not engine.grid.low <= low <= high <= engine.grid.high:
        bits = format_for(min(low, -1), high).bits
        text = (
            f"stands for values of {low}..{high}, more than the engine's {engine.table_bits} bits "
            "hold"
        )
        add("table_bits", bits, engine.table_bits, "array 'table'", text)
    need = accumulator(layer, wire).bits
    if need > engine.acc.bits and not any(m.parameter in WIDENING for m in found):
        wider = _wider(engine, need)
        mend = "train it with smaller biases"
        if wider is not None:
            mend = f"build an engine with --codebooks {wider}, whose sums are wider"
        text = (
            f"and tables reach sums of {need} bits, more than the engine's accumulators of "
            f"{engine.acc.bits}"
        )
        line = str(layer.fail("array 'bias'", text))
        found.append(Misfit(layer.name, "accumulator_bits", need, engine.acc.bits, line, mend))
    return found


def engine_for(layers: Sequence[tuple[LutLayer, Wire]], engine: EngineSpec) -> EngineSpec | None:
    """The engine with nothing changed but what layers behind their wires need, or None if there is
    no engine that all of them fit.
    """
    needs: dict[str, Any] = {}
    for layer, wire in layers:
        for misfit in misfits(layer, wire, engine):
            name, value = misfit.parameter, misfit.needs
            if isinstance(value, int):
                needs[name] = max(value, needs.get(name, 0))
            elif needs.setdefault(name, value) != value:
                return None  # two metrics
    needs.pop("accumulator_bits", None)
    try:
        # What was derived from the parameters that change is derived anew.
        found = EngineSpec(**{**engine.stated, **needs})
    except ValueError:
        return None
    need = max((accumulator(layer, wire).bits for layer, wire in layers), default=1)
    if need > found.acc.bits:
        wider = _wider(found, need)
        if wider is None:
            return None
        found = EngineSpec(**{**found.stated, "codebooks": wider})  # type: ignore[arg-type]
    return None if any(misfits(layer, wire, found) for layer, wire in layers) else found


def _wider(engine: EngineSpec, bits: int) -> int | None:
    """Codebooks of an engine whose accumulators have so many bits."""
    codebooks = engine.codebooks
    while codebooks < 1 << 16:
        codebooks = min(2 * codebooks, 1 << 16)
        try:
            wider = EngineSpec(**{**engine.stated, "codebooks": codebooks})  # type: ignore[arg-type]
        except ValueError:
            break
        if wider.acc.bits >= bits:
            return codebooks
    return None
