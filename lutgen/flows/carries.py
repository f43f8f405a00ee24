"""Lookup tables that only bring a signal to a carry chain of an Artix-7, found in a netlist."""

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

__all__ = ["carry_luts"]

# Cells that a lookup table's O6 gives the output of.
TABLES = frozenset([*(f"LUT{k}" for k in range(1, 7)), "INV"])


def carry_luts(netlist: str) -> int:
    """Counts the tables that carry inputs need and that the netlist does not hold.

    In a slice of the 7 series, input ``S[i]`` of a CARRY4 has one source: output O6 of the table
    beside it. A table of the netlist takes that place for one carry input. Every other carry input
    needs a table of its own, as a route-through or as a constant: one whose signal comes from a
    flip-flop, a port, a RAM, a multiplexer or another carry; one that is 0 or 1; and each
    further one that shares a table's output. ``S[i]`` of a bit above the last one that is read
    changes nothing, and takes no table. ``DI`` comes from O5 of the same place or around the table
    (AX to DX), ``CYINIT`` from AX, and ``CI`` from the slice below: they need none.

    Parameters
    ----------
    netlist : str
        What ``write_json`` of yosys writes of a flat design in Xilinx's cells.

    Raises
    ------
    ValueError
        If no module, or more than one, is the top.
    """
    modules: dict[str, Any] = json.loads(netlist)["modules"]
    tops = [module for module in modules.values() if "top" in module["attributes"]]
    if len(tops) != 1:
        raise ValueError(f"Netlist must have one top module, not {len(tops)}")
    drivers: dict[int, str] = {}
    read: set[int | str] = set()
    for port in tops[0]["ports"].values():
        if port["direction"] != "input":
            read.update(port["bits"])
    cells = list(tops[0]["cells"].values())
    for cell in cells:
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] == "input":
                read.update(bits)
            else:
                drivers.update(dict.fromkeys(bits, cell["type"]))
    read -= {"0", "1", "x", "z"}
    inputs = [bit for cell in cells if cell["type"] == "CARRY4" for bit in _needed(cell, read)]
    tables = {bit for bit in inputs if drivers.get(bit) in TABLES}  # each beside one input
    return len(inputs) - len(tables)


def _needed(cell: dict[str, Any], read: set[int | str]) -> Iterator[Any]:
    """What the inputs S of a CARRY4 are connected to, up to the last bit that is read."""
    pins = cell["connections"]
    outputs = [{*pair} for pair in zip_longest(pins.get("O", ()), pins.get("CO", ()))]
    last = max((at for at, pair in enumerate(outputs) if pair & read), default=-1)
    yield from (bit for bit in pins["S"][: last + 1] if bit not in ("x", "z"))
