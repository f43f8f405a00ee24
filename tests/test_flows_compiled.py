"""The compiled driver: what it does beyond the bench's plan, which test_flows_simulate.py plays on
it.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import toy
from caches import fresh
from simulation import random_inputs, random_model

from lutgen import LutgenError, build
from lutgen.flows import contents, harness, simbuild, simulate
from lutgen.flows.fpga.activity import parse_saif

ROM = """module rom (input clk);
    reg [11:0] rows [0:2];
    initial begin
        rows[0] = 12'h001;
        rows[1] = 12'hfed;
    end
    initial begin
        rows[2] = 12'h0a0;
    end
    reg [3:0] mem [7:0];
  initial begin
    mem[4] = 4'h3;
    mem[1] = 4'hf;
  end
    initial begin
        other[0] = 4'h1;
        another[1] = 4'h1;
    end
    initial begin
        flag = 1'h1;
    end
endmodule
"""


def test_contents_of_memories():
    """Rows in order, rows in any order; what is anything else stays."""
    text, files = contents.split(ROM)
    assert files == {"memory0.hex": "001\nfed\n0a0\n", "memory1.hex": "@4 3\n@1 f\n"}
    assert text.count("$readmemh") == 2
    assert '    initial $readmemh("memory0.hex", rows);\n    reg [3:0] mem [7:0];\n' in text
    kept = ROM[ROM.index("    initial begin\n        other") :]
    assert text.endswith(f'    initial $readmemh("memory1.hex", mem);\n{kept}')


def small_core():
    rng = np.random.default_rng(11)
    model = random_model(rng, layers=2, features=6, metric="l1")
    x = random_inputs(rng, model, 30)
    return build(model), x, model.run(x.reshape(-1, *model.shape))[model.nodes[-1].name]


def test_generated_core(verilator):
    """Every memory is a file, one build serves all contents, and flipped bits show."""
    core, x, expected = small_core()
    text, files = contents.split(core.verilog)
    assert files
    assert "initial begin" not in text.partition("_memory_0 (")[2]
    right = simulate(core.verilog, core.contract, x, expected, driver="compiled", faults=True)
    assert right.passed, right.describe()
    assert right.driver == "compiled"
    assert right.data()["cycles_per_second"] > 0
    wrong = simulate(toy.spoil(core.verilog), core.contract, x, expected, driver="compiled")
    assert wrong.cached
    assert wrong.mismatches


def test_nothing_may_rely_on_memories_after_reset(verilator):
    """Where other simulators start with zeros, this one starts with anything."""
    text = toy.TEXT.replace("sum + (", "sum + never[beat] + (").replace(
        "  reg bad;", "  reg bad;\n  reg [7:0] never [0:3];"
    )
    assert text.count("never") == 2
    report = simulate(text, toy.contract(), *toy.vectors(5), driver="compiled")
    assert report.mismatches


def test_result_without_end(verilator):
    text = toy.TEXT.replace("? state == SEND0 : state == SEND1;", "? 1'b0 : 1'b0;")
    report = simulate(text, toy.contract(), *toy.vectors(20), driver="compiled")
    assert report.describe() == "gaps: a result has no tlast in 20 beats"


def test_seeds_and_gaps(verilator):
    runs = [
        simulate(
            toy.TEXT, toy.contract(), *toy.vectors(30), driver="compiled", gaps=gaps, seed=seed
        )
        for gaps, seed in ((0.5, 1), (0.5, 1), (0.5, 2), (0.9, 1), (0, 1))
    ]
    assert all(run.passed for run in runs)
    cycles = [run.cycles for run in runs]
    assert cycles[0] == cycles[1] != cycles[2]
    assert cycles[4] < cycles[0] < cycles[3]
    assert all(run.latency == 4 and run.interval == 5 for run in runs)


def test_keep(verilator, tmp_path):
    folder = tmp_path / "run"
    simulate(toy.TEXT, toy.contract(), *toy.vectors(3), driver="compiled", keep=folder)
    names = {path.name for path in (folder / "core0").iterdir()}
    assert {"script.txt", "s_axis.bin", "result.txt", "m_axis.bin", "run.log"} <= names
    assert (folder / "core0" / "script.txt").read_text().splitlines()[:3] == [
        "gaps 0 0 0",
        "limit 2036",
        "reset",
    ]


def test_waves(verilator, tmp_path):
    path = tmp_path / "toy.vcd"
    report = simulate(
        toy.TEXT, toy.contract(), *toy.vectors(3), driver="compiled", waves=path, timing_samples=0
    )
    assert report.passed
    text = path.read_text()
    assert "$timescale 1ns $end" in text
    assert " sum [15:0] $end" in text
    assert text.count("\n#") >= 2 * report.cycles
    assert [entry.name for entry in tmp_path.iterdir()] == ["toy.vcd"]


def test_toggles_of_steady_samples(verilator, tmp_path):
    """Of samples behind those that fill the core, and of its own signals only."""
    path = tmp_path / "toy.saif"
    report = simulate(
        toy.TEXT,
        toy.contract(),
        *toy.vectors(4),
        driver="compiled",
        waves=path,
        timing_samples=0,
        record=(3, 5),
    )
    assert report.passed
    # The four with stalls, then three, the five, and three more to keep the source busy.
    assert report.samples == 4 + 3 + 5 + 3
    beats = toy.contract()["input"]["beats"]
    assert report.cores[0].window == (5 * toy.contract()["interval"], 5 * beats)
    saif = parse_saif(path.read_text())
    cycles, _ = report.cores[0].window
    assert saif.duration == pytest.approx(10 * cycles, abs=10)
    assert saif.toggles["clk", 0] == pytest.approx(2 * cycles, abs=2)
    # It gives a result for so many beats, each marked once.
    assert saif.toggles["s_axis_tlast", 0] == pytest.approx(2 * 5, abs=1)
    assert saif.high["rst", 0] == 0


def test_fst_needs_libraries(verilator, monkeypatch, tmp_path):
    monkeypatch.setattr(simbuild, "run_logged", lambda command, *rest: int("-llz4" in command))
    with pytest.raises(LutgenError) as caught:
        harness.build(toy.TEXT, "toy_core", [("", toy.contract())], "fst")
    assert str(caught.value) == (
        "lz4.h, which wave files in FST take, is not installed; "
        "run: apt-get install liblz4-dev, or write a VCD"
    )


def test_program_that_dies(verilator, monkeypatch, tmp_path):
    text = toy.TEXT.replace("endmodule", "always @(posedge s_axis_tvalid) $fatal;\nendmodule")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(LutgenError, match=r"ended without a result \(status .*\); see .*run\.log"):
        simulate(text, toy.contract(), *toy.vectors(3), driver="compiled")


def test_a_program_that_was_damaged_is_built_anew(verilator, monkeypatch, tmp_path, caplog):
    cores = [("", toy.contract())]
    program, _ = harness.build(toy.TEXT, "toy_core", cores)
    fresh(monkeypatch, tmp_path)
    # What is in the cache of the suite is not ours to damage.
    place = tmp_path / "harness" / program.parent.name
    shutil.copytree(program.parent, place)
    shutil.copytree(program.parents[2] / "objects", tmp_path / "objects")
    (place / program.name).write_bytes(program.read_bytes()[:-100])
    report = simulate(toy.TEXT, toy.contract(), *toy.vectors(3), driver="compiled")
    assert report.passed
    assert not report.cached
    assert f"{place}: the cache's entry is damaged: {program.name} not as it was" in caplog.text
    assert simulate(toy.TEXT, toy.contract(), *toy.vectors(3), driver="compiled").cached


def test_text_that_does_not_build(verilator, monkeypatch, tmp_path):
    monkeypatch.setenv("LUTGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(LutgenError, match=r"^verilator can't build toy_core: .*design\.v:1"):
        simulate("module toy_core(", toy.contract(), *toy.vectors(1), driver="compiled")
    assert not [p for p in (tmp_path / "cache" / "harness").iterdir() if p.is_dir()]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"driver": "spice"}, "driver must be one of cocotb, compiled, not 'spice'"),
        (
            {"driver": "compiled", "simulator": "icarus"},
            "the compiled driver needs the simulator verilator, not 'icarus'",
        ),
        (
            {"driver": "compiled", "waves": "x.wav"},
            "x.wav: wave files are named *.vcd, *.fst or *.saif",
        ),
        (
            {"waves": "x.vcd"},
            "waves and inner streams need the driver 'compiled', not 'cocotb'",
        ),
    ],
)
def test_wrong_options(options, text):
    if "waves" in options:
        options = {**options, "waves": Path(options["waves"])}
    with pytest.raises(LutgenError) as caught:
        simulate(toy.TEXT, toy.contract(), *toy.vectors(1), **options)
    assert str(caught.value) == text
