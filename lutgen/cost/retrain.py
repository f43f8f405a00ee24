"""Models as other settings of training would make them, for estimates: their shapes, not their
contents.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lutgen.model import LutConv2d, LutLinear, Model
from lutgen.numeric import Format, Grid, ceil_div
from lutgen.spec.encoder import DigitSpec

__all__ = ["Changes", "proposals", "retrained", "spelled"]

Lookup = LutLinear | LutConv2d
Changes = dict[str, dict[str, int]]  # by layer, as `lutgen train --layer` takes them

BITS = 4  # of a table's codes, where they are to be few


def lookups(model: Model) -> list[Lookup]:
    """Its lookup layers."""
    return [node for node in model.nodes if isinstance(node, Lookup)]


def element_of(model: Model, node: Lookup) -> Format:
    """The format of what a layer reads."""
    return node.activation(model.wires()[node.inputs[0]]).format


def digit_bits(element: Format, centroids: int) -> int:
    """The fewest bits of table codes that hold the worth of every digit."""
    return 1 + int(np.abs(DigitSpec(element, centroids).weights()).max()).bit_length()


def proposals(model: Model, most: str) -> Iterator[Changes]:
    """Settings that make tables smaller, the gentlest first: of the layer ``most`` alone, then of
    all.
    """
    all_layers = [node.name for node in lookups(model)]
    tried: list[Changes] = []
    for names in ([most] if most in all_layers else [], all_layers):
        for number in range(4):
            found: Changes = {}
            for node in lookups(model):
                if node.name in names and (own := _smaller(model, node, number)):
                    found[node.name] = own
            if found and found not in tried:
                tried.append(found)
                yield found


def _smaller(model: Model, node: Lookup, number: int) -> dict[str, int]:
    """Narrower tables; longer sub-vectors; both; both, twice as long."""
    found: dict[str, int] = {}
    bits, v = node.grid.bits, node.subvec
    if node.metric == "digit":
        element = element_of(model, node)
        # Training takes a layer to have inputs of 8 bits, where nobody says another number.
        formats = (element, Format(max(8, element.bits), False))
        least = max(digit_bits(each, node.centroids) for each in formats)
        return {"table_bits": least} if least < bits else {}
    if number != 1 and bits > BITS:
        found["table_bits"] = BITS
    longer = min(node.row_features, v * (1, 2, 2, 4)[number])
    if longer > v:
        found["subvec"] = longer
    return found


def retrained(model: Model, changes: Mapping[str, Mapping[str, int]]) -> Model:
    """A model of the same network with other settings of some layers. Tables and codebooks are
    random over their whole formats, so that sums are as wide as any training makes them.

    Parameters
    ----------
    model : Model
    changes : mapping of layer name to a mapping
        ``subvec``, ``table_bits``, ``centroids``.
    """
    rng = np.random.default_rng(0)
    nodes = [
        _changed(rng, node, element_of(model, node), changes[node.name])
        if isinstance(node, Lookup) and node.name in changes
        else node
        for node in model.nodes
    ]
    return replace(model, nodes=tuple(nodes))


def _changed(
    rng: np.random.Generator, node: Lookup, element: Format, change: Mapping[str, int]
) -> Lookup:
    v = change.get("subvec", node.subvec)
    c = change.get("centroids", node.centroids)
    bits = change.get("table_bits", node.grid.bits)
    grid = node.grid if bits == node.grid.bits else Grid("int", bits)
    row = node.row_features
    digit = node.metric == "digit"
    books = row * DigitSpec(element, c).digits if digit else ceil_div(row, v)
    *taps, _, _, outputs = node.table.shape
    made: dict[str, Any] = {
        "subvec": v,
        "centroids": c,
        "grid": grid,
        "shift": max(0, node.shift - max(0, node.grid.bits - bits)),
        "table": rng.integers(0, 1 << bits, (*taps, books, c, outputs)),
    }
    if not digit:
        made["codebooks"] = rng.integers(element.low, element.high + 1, (books, c, v))
        made["codebooks"][-1, :, v - (books * v - row) :] = 0
    return replace(node, **made)


def spelled(changes: Mapping[str, Mapping[str, int]]) -> Sequence[str]:
    """The options of `lutgen train` that say it."""
    return [
        f"--layer {name}.{key.replace('_', '-')}={value}"
        for name, own in changes.items()
        for key, value in own.items()
    ]
