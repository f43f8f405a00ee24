"""Generated text is legal for those who read it strictly, whatever stands before it, and names are
such that every tool takes them.
"""

import dataclasses
import subprocess

import convnets
import linked
import numpy as np
import pytest
import simulation as sim
import toy

from lutgen import resources
from lutgen.cli.main import main
from lutgen.cli.picture import draw
from lutgen.flows import check, side_by_side, testbench, tools
from lutgen.flows.fpga import plan as fpga
from lutgen.gateware.build import build, build_loadable
from lutgen.host.build import build_engine
from lutgen.host.core_contract import check_core
from lutgen.model import Activation, Map, Model, save
from lutgen.spec import names
from lutgen.spec.engine import PRESETS, EngineSpec, preset

# Kinds of warnings of slang that are Verilog's own rules, as in rtl_templates/lint.vlt.
MEANT = ("width-trunc",)
NONE = "`default_nettype none\n"


def slang(text, standard):
    """Errors and warnings of slang, which knows no dialect unless it is asked for one."""
    driver = pytest.importorskip("pyslang.driver", reason="pip install 'lutgen[dev]'")
    reader = driver.Driver()
    reader.addStandardArgs()
    assert reader.parseCommandLine(f"slang --std {standard} -Wextra -Wpedantic {text}")
    assert reader.processOptions()
    read = reader.parseAllSources()
    found = reader.createCompilation().getAllDiagnostics()
    engine = reader.diagEngine
    said = []
    for each in found:
        severity = engine.getSeverity(each.code, each.location).name
        option = engine.getOptionName(each.code)
        if severity != "Ignored" and option not in MEANT:
            line = reader.sourceManager.getLineNumber(each.location)
            said.append(f"line {line}: {severity}: {engine.formatMessage(each)} [{option}]")
    return said if said or read else ["not read"]


def strictly(text, folder, *, verilog_2005=True):
    """What slang says of a text behind ``default_nettype none``."""
    path = folder / "text.v"
    path.write_text(NONE + text)
    said = slang(path, "1800-2023")
    return said + (slang(path, "1364-2005") if verilog_2005 else [])


def network():
    """Every kind of stage and memory, its memories for a device that has all forms."""
    model, folds = convnets.everything()
    return build(model, layers=folds, taps=True, target="ecp5").verilog


def bench():
    """A loadable core and its test bench."""
    core, (x, want) = linked.core(True), linked.samples(3)
    words = core.load_image(linked.model())
    text = testbench.render(core.contract, x, want, load_words=words)
    return f"{core.verilog}\n{text}"


def pins():
    """A core behind three pins."""
    core = linked.core()
    return f"{core.verilog}\n{fpga.pins(core.contract)[1]}"


def two_cores():
    """Cores side by side."""
    texts = [toy.variant(name) for name in ("a", "b")]
    return side_by_side("both", [(text, contract) for text, contract in texts])


KINDS = {
    "network": network,
    "large RAMs": lambda: build_loadable(codebooks=2, subvec=2, outputs=4, target="up5k").verilog,
    "bench": bench,
    "board": lambda: linked.board(True).verilog,
    "pins": pins,
    "side by side": two_cores,
    "engine": lambda: (
        build_engine(
            EngineSpec(codebooks=4, subvec=2, lanes=2, rows=8, two_clocks=True, has_map=True)
        ).verilog
    ),
}


def rams(family):
    """Models of a family's block RAMs."""
    return resources.render("block_rams.v.j2", family=family)


@pytest.mark.parametrize("kind", KINDS)
def test_legal_behind_any_file(tmp_path, kind):
    """No net without a type, in Verilog-2005 and in SystemVerilog."""
    text = KINDS[kind]()
    assert strictly(text, tmp_path) == []
    assert strictly(f"`define LUTGEN_CHECKS\n{text}", tmp_path, verilog_2005=False) == []


@pytest.mark.parametrize("kind", KINDS)
def test_legal_in_icarus(icarus, tmp_path, kind):
    for option in ("-g2005", "-g2012"):
        assert by_icarus(NONE + KINDS[kind](), tmp_path, option) == ""


@pytest.mark.parametrize("family", ["ecp5", "xilinx"])
def test_models_of_block_rams(tmp_path, family):
    assert strictly(rams(family), tmp_path) == []


@pytest.mark.parametrize("family", ["ecp5", "xilinx"])
def test_models_of_block_rams_in_icarus(icarus, tmp_path, family):
    assert by_icarus(NONE + rams(family), tmp_path, "-g2005") == ""


@pytest.mark.parametrize("name", PRESETS)
def test_presets(verilator, tmp_path, name):
    """The paper's engines are legal, and have no wires of no bits."""
    text = build_engine(preset(name)).verilog
    assert "[-1:0]" not in text
    assert strictly(text, tmp_path, verilog_2005=False) == []
    if name == "lut-dla-1":
        assert check.lint(text) == []


def test_slang_can_fail(tmp_path):
    port = "module core(input a, output q); assign q = a; endmodule\n"
    assert any("net type" in line or "nettype" in line for line in strictly(port, tmp_path))
    net = "module core(input wire a, output wire q); assign q = b; endmodule\n"
    assert any("undeclared" in line for line in strictly(net, tmp_path))


@pytest.mark.parametrize("signed", [False, True])
def test_constant_codebooks(verilator, signed):
    """A codebook of one row is a constant; what is nearest to it is found without comparisons that
    say always the same.
    """
    wire = Activation(4, signed, 1.0)
    low, high = wire.format.low, wire.format.high
    rng = np.random.default_rng(2)
    for metric, books in (
        ("l1", [[0, 0], [0, 0]]),
        ("l2", [[low, high], [high, low]]),
        ("chebyshev", [[0, high], [low, 1]]),
    ):
        choice = {"metric": metric, "subvec": 2, "centroids": 2}
        layer = sim.random_layer(rng, "fc1", "input", wire, 2, 2, None, **choice)
        layer = dataclasses.replace(layer, codebooks=np.array([books]), bias=0 * layer.bias)
        model = Model("constant", (2,), wire, (layer,))
        core = build(model, encoder_centroids=2, encoder_dims=2)
        assert check.lint(core.verilog) == []
        x = np.array([[a, b] for a in range(low, high + 1) for b in range(low, high + 1)])
        spec = core.spec
        run = sim.run_core(sim.network_core(model, spec), sim.good_frames(spec, x), results=len(x))
        assert run.outputs == model.run(x)["fc1"].tolist()


# Names.


def by_icarus(text, folder, option):
    """What Icarus says of a text."""
    (folder / "text.v").write_text(text)
    command = ["iverilog", option, "-Wall", "-Wno-timescale", "-t", "null", "text.v"]
    done = subprocess.run(
        command, cwd=folder, env=tools.environment(), capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


INSIDE = ("core", "cycle", "take", "inputs", "SAMPLES", "image")  # names in a test bench
WORDS = sorted(
    {*names.KEYWORDS, *names.TOOLS, *names.OUTER, *names.CPP}
    | {"clk", "rst", "frame_error", "s_axis_tdata", "m_axis_tlast", "tap_a_tvalid", "rx", "irq"}
    | {*INSIDE, "main", "std", "Vcore", "harness", "eval"}
)


def test_free_names():
    """They can be had, and are what was asked for where that can be had."""
    for word in WORDS:
        name = names.free_name(word)
        assert names.check_name(name, "a core") == name
        assert name in (word, f"{word}_core")
    assert names.free_name("digits") == "digits"
    assert names.free_name("uwire") == "uwire_core"
    long = names.free_name("a" * 300)
    assert names.check_name(long, "a core") == long


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("2a", "a Verilog identifier, not '2a'"),
        ("a\n", "a Verilog identifier, not 'a\\n'"),
        (7, "a Verilog identifier, not 7"),
        ("soft", "not be one that tools have for themselves, 'soft'; 'soft_core' would do"),
        ("TOP", "not be one that tools have for themselves, 'TOP'; 'TOP_core' would do"),
        ("s_axis_tdata", "not be one that tools have for themselves, 's_axis_tdata'; "),
        ("a" * 101, "have at most 100 characters, not 101: aaa"),
    ],
)
def test_names_that_cores_can_not_have(name, text):
    with pytest.raises(ValueError, match=r"^Name of a core must ") as caught:
        names.check_name(name, "a core")
    assert str(caught.value).startswith(
        f"Name of a core must {'be ' * text.startswith('a ')}{text}"
    )


def modules():
    """Modules of all these names, each as a test bench has it."""
    text = "".join(
        f"module {name} (input wire clk, output wire q); assign q = clk; endmodule\n"
        f"module {name}_tb;\n    wire clk, q;\n    assign clk = 0;\n"
        f"    {name} core (.clk(clk), .q(q));\nendmodule\n"
        for name in map(names.free_name, sorted({*WORDS} - {*INSIDE}))
    )
    for name in INSIDE:
        variant, contract = toy.variant(name, loadable=True)
        text += variant + testbench.render(contract, *toy.vectors(1), load_words=[1, 2])
    return text


def test_every_tool_takes_the_names(verilator, tmp_path):
    text = modules()
    assert strictly(text, tmp_path) == []
    (tmp_path / "text.v").write_text(text)
    command = ["verilator", "--lint-only", "--timing", "-Wno-fatal", "-Wno-MULTITOP", "text.v"]
    done = subprocess.run(
        command, cwd=tmp_path, env=tools.environment(), capture_output=True, text=True, check=False
    )
    assert "%Error" not in done.stderr


def test_icarus_takes_the_names(icarus, tmp_path):
    for option in ("-g2005", "-g2012"):
        assert by_icarus(modules(), tmp_path, option) == ""


def chain(words, name="keywords"):
    """A network with a node of each name."""
    wire, before, nodes = Activation(2, False, 1.0), "input", []
    for word in words:
        table = np.array([1, 2, 3, 0])
        nodes.append(Map(name=word, inputs=(before,), map=table, output=wire))
        before = word
    return Model(name, (1,), wire, tuple(nodes))


def all_names():
    """A core whose nodes have all these names."""
    return build(chain(sorted({*names.KEYWORDS, *names.TOOLS} - {"input"})))


def test_nodes_of_all_names(verilator, tmp_path):
    """A model may call its nodes by any word."""
    core = all_names()
    check_core(core.contract, "core.json")
    assert "<svg" in draw(core.contract)
    assert strictly(core.verilog, tmp_path, verilog_2005=False) == []
    few = [*sorted(names.TOOLS), "clk", "double", "output", "soft", "until", "uwire"]
    assert check.lint(build(chain(few)).verilog) == []


def test_icarus_takes_nodes_of_all_names(icarus, tmp_path):
    assert by_icarus(all_names().verilog, tmp_path, "-g2005") == ""


@pytest.mark.parametrize("name", ["uwire", "clk", "TOP"])
def test_models_of_such_names(capsys, tmp_path, name):
    """Their cores are called otherwise, and the command says so."""
    save(chain(["a"], name), tmp_path / "m.lut")
    argv = ["build", str(tmp_path / "m.lut"), "-o", str(tmp_path / "m.v"), "--testbench", "2"]
    assert main(argv) == 0
    said = capsys.readouterr().err
    assert f"lutgen: note: the core is called {name}_core: tools can't have a module {name}" in said
    assert f"module {name}_core(" in (tmp_path / "m.v").read_text()
    text = (tmp_path / "m.v").read_text() + (tmp_path / "m_tb.v").read_text()
    assert strictly(text, tmp_path) == []
    assert main([*argv, "--name", name]) == 2
    assert capsys.readouterr().err == (
        "lutgen: error: Name of a core must not be one that tools have for themselves, "
        f"{name!r}; '{name}_core' would do\n"
    )
    assert main([*argv, "--name", "mine"]) == 0
    assert "note" not in capsys.readouterr().err
