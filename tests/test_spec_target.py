"""The memories of cores, and what they are made of."""

import re

import convnets
import numpy as np
import pytest
import simulation as sim
from hypothesis import given, settings
from hypothesis import strategies as st

import lutgen
from lutgen.model.plan import plan
from lutgen.spec.memory import KINDS, MemorySpec, network_memories
from lutgen.spec.target import DEVICES, FORMS, TARGETS, Target, choose_forms, form_of, target_of

MEMORIES = st.builds(
    MemorySpec,
    name=st.just("table"),
    depth=st.integers(2, 20_000),
    width=st.integers(1, 600),
    kind=st.sampled_from(KINDS),
)


@given(MEMORIES, st.sampled_from(sorted(TARGETS)))
def test_a_form_holds_the_memory_at_the_least_cost(memory: MemorySpec, name: str):
    target: Target = TARGETS[name]
    form = form_of(memory, target)
    if form.cells:
        assert form.capacity >= memory.depth * memory.width
    if memory.kind == "rom":
        assert form.cost <= target.rom_luts(memory.depth, memory.width)
        assert form.name in ("logic", "block")
    # Blocks less than half full are taken only where nothing else is smaller.
    if form.name == "block" and memory.depth * memory.width < form.capacity / 2:
        others = target.rom_luts(memory.depth, memory.width)
        assert memory.kind != "rom" or others >= form.cells * target.block_luts


@pytest.mark.parametrize(
    ("name", "kind", "depth", "width", "form", "cells"),
    [
        ("ice40", "rom", 16, 128, "logic", 0),
        ("ice40", "rom", 1024, 64, "block", 16),
        ("ice40", "ram", 1024, 64, "block", 16),
        ("ice40", "buffer", 256, 16, "block", 1),
        ("ice40", "ram", 3, 8, "logic", 0),
        ("ecp5", "rom", 2048, 9, "block", 1),
        ("ecp5", "ram", 1024, 64, "block", 4),
        ("ecp5", "buffer", 16, 8, "distributed", 2),
        ("ecp5", "ram", 64, 128, "distributed", 128),
        ("xilinx", "buffer", 64, 4, "distributed", 2),
        ("xilinx", "rom", 4096, 36, "block", 8),
    ],
)
def test_forms(name, kind, depth, width, form, cells):
    found = form_of(MemorySpec("x", depth, width, kind), TARGETS[name])
    assert (found.name, found.cells) == (form, cells)


def test_single_port_rams_are_few():
    target = DEVICES["up5k"].target
    large = MemorySpec("table", 16384, 16, "ram", 4)
    other = MemorySpec("table", 16384, 17, "ram", 2)
    forms = choose_forms([large, other], target)
    used = sum(
        m.count * forms[m.key].cells for m in (large, other) if forms[m.key].name == "single"
    )
    assert forms[large.key].name == "single"
    assert used <= target.single_count
    rom = MemorySpec("table", 16384, 16, "rom")
    assert choose_forms([rom], target)[rom.key].name == "block"


def test_unknown_targets():
    with pytest.raises(ValueError, match=r"^Target must be one of ice40, .*, not 'ice50'$"):
        target_of("ice50")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_memories_are_those_of_the_verilog(seed):
    """Every memory that is listed stands in the text, and no other."""
    rng = np.random.default_rng(seed)
    model = convnets.random_model(rng) if rng.random() < 0.5 else sim.random_model(rng)
    try:
        spec = plan(model, layers=convnets.random_folds(rng, model))
        _ = spec.schedule
    except RuntimeError:  # its last stage gives results before the sample is judged
        return
    core = lutgen.build(model, spec=spec, target="ecp5")
    shapes = re.findall(r"reg \[(\d+):0\] rows \[0:(\d+)\];", core.verilog)
    found = sorted((int(high) + 1, int(width) + 1) for width, high in shapes)
    listed = sorted((m.depth, m.width) for _, m in network_memories(spec) for _ in range(m.count))
    assert found == listed
    styles = set(re.findall(r'r[ao]m_style = "(\w+)"', core.verilog))
    assert styles <= set(FORMS.values())
    assert len(re.findall(r"r[ao]m_style", core.verilog)) == len(found)


def test_generic_cores_say_nothing():
    model = sim.random_model(np.random.default_rng(1))
    core = lutgen.build(model)
    assert "_style" not in core.verilog
    assert core.contract["target"] is None
    assert all("form" not in memory for memory in core.contract["memories"])
