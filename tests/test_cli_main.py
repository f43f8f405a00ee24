"""The command line: every mistake is one line and status 2, every failed check is status 1."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from caches import fresh
from simulation import random_model

from lutgen import __version__, load, save
from lutgen.cli import main as cli
from lutgen.cli.main import main
from lutgen.flows import tools
from lutgen.formal.claims import CLAIMS

ENGINE = ["--codebooks", "3", "--subvec", "2", "--centroids", "4", "--rows", "4", "--lanes", "2"]


@pytest.fixture
def model(tmp_path):
    """A small network in a file."""
    rng = np.random.default_rng(11)
    path = tmp_path / "net.lut"
    save(random_model(rng, layers=2, features=6, metric="l1"), path)
    return str(path)


def error(capsys, *args):
    """The text after `lutgen: error: ` of a command that must end with status 2."""
    assert main([str(arg) for arg in args]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("lutgen: error: ")
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("lutgen: error: ").rstrip("\n")


def answer(capsys, *args, status=0):
    """The JSON object that a command prints, and nothing else."""
    assert main([*map(str, args), "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_help_and_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lutgen {__version__}\n"
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for command in cli.COMMANDS:
        assert f"    {command}" in text
        assert main([command, "--help"]) == 0
        assert f"usage: lutgen {command}" in capsys.readouterr().out


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_says_what_a_command_does(command, capsys):
    assert main([command, "--help"]) == 0
    usage, about, *_ = capsys.readouterr().out.split("\n\n")
    assert about[0].isupper()
    assert about.endswith(".")
    # A number is N wherever one is asked for, not the option's name again.
    assert "--seed SEED" not in usage


def test_help_names_the_parts_that_can_be_proven(capsys):
    assert main(["prove", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"\b{part}\b", text) for part in CLAIMS)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "the following arguments are required: COMMAND; see `lutgen --help`"),
        (
            ["info"],
            "the following arguments are required: FILE; see `lutgen info --help`",
        ),
        (["info", "a", "--colour"], "unrecognized arguments: --colour; see `lutgen info --help`"),
        (
            ["build", "-o", "x.v", "--lanes", "0"],
            "argument --lanes: must be an integer of at least 1, not '0'; "
            "see `lutgen build --help`",
        ),
        (
            ["build", "-o", "x.v", "--lanes", "two"],
            "argument --lanes: must be an integer of at least 1, not 'two'; "
            "see `lutgen build --help`",
        ),
        (
            ["sim", "x.lut", "--gaps", "1"],
            "argument --gaps: must be a number between 0 and 0.95, not '1'; "
            "see `lutgen sim --help`",
        ),
        (
            ["sim", "x.lut", "--interval", "1000"],
            "unrecognized arguments: --interval 1000; `lutgen build` chooses folds: build first, "
            "then simulate with --core OUT.json; see `lutgen sim --help`",
        ),
        (
            ["build", "no.lut", "-o", "x.v", "--layer", "fc1.lanes=0"],
            "argument --layer: fc1.lanes must be a positive integer, not 0",
        ),
        (
            ["build", "no.lut", "-o", "x.v", "--clock", "25", "--throughput", "10"],
            "argument --clock: 25 was read as Hz; write 25MHz; see `lutgen build --help`",
        ),
        (["info", "no.lut"], "no.lut: can't be read: no such file or directory"),
        (["sim"], "a MODEL.lut is needed, or --core OUT.json of a built core"),
        (
            ["sim", "--core", "no.json"],
            "no.json: can't be read: no such file or directory",
        ),
        (
            ["sim", "--core", "no.json", "--fan-in", "2"],
            "argument --fan-in: goes with a core to be built; no.json is built already",
        ),
        (
            ["build", "-o", "out.v"],
            "a MODEL.lut is needed; or --codebooks and --subvec, or --preset, for the engine",
        ),
        (
            ["build", "-o", "out.json"],
            "out.json: another file goes there; name the Verilog file *.v",
        ),
        (
            ["build", "no.lut", "-o", "no/out.v"],
            "no/out.v: the folder no does not exist; make it first",
        ),
        (["build", "no.lut", "-o", "out.v"], "no.lut: can't be read: no such file or directory"),
        (
            ["build", "no.lut", "-o", "out.v", "--codebooks", "4"],
            "argument --codebooks: is for an engine, which is built without a model; leave it out, "
            "or leave out no.lut",
        ),
        (
            ["build", "no.lut", "-o", "out.v", "--map"],
            "argument --map: is for an engine, which is built without a model; leave it out, or "
            "leave out no.lut",
        ),
        (
            ["build", "no.lut", "-o", "out.v", "--layer", "fc1.lanes"],
            "argument --layer: must be NODE.FOLD=N with a fold of lanes, fan-in, "
            "encoder-centroids, encoder-dims, window-channels, slide, not 'fc1.lanes'",
        ),
        (
            ["build", *ENGINE, "-o", "out.v", "--layer", "fc1.lanes=2"],
            "argument --layer: goes with a MODEL.lut, not with the engine",
        ),
        (
            ["build", *ENGINE, "-o", "out.v", "--testbench", "2"],
            "argument --testbench: goes with a MODEL.lut, not with the engine",
        ),
        (
            ["build", *ENGINE, "-o", "out.v", "--metric", "cosine"],
            "argument --metric: Metric must be one of l1, l2, chebyshev, not 'cosine'",
        ),
        (
            ["build", *ENGINE, "-o", "out.v", "--table-bits", "17"],
            "argument --table-bits: Table bits must be an integer between 2 and 16, not 17",
        ),
        (
            ["build", *ENGINE, "-o", "out.v", "--encoders", "2"],
            "argument --encoders: Encoders must be a divisor of the fan-in, 1, not 2; give a "
            "--fan-in that is a multiple of --encoders",
        ),
        (
            ["build", *ENGINE, "-o", "out.v", "--fan-in", "4"],
            "argument --fan-in: Fan-in must be an integer between 1 and 3, not 4; give a smaller "
            "--fan-in or more --codebooks",
        ),
        (
            ["build", *ENGINE, "-o", "out.v", "--encoder-dims", "8"],
            "argument --encoder-dims: Encoder dimensions per cycle must be an integer between 1 "
            "and 2, not 8; give at most as many as --subvec",
        ),
        (
            ["build", *ENGINE, "-o", "out.v", "--map", "--output-bits", "12"],
            "argument --map: Output bits must be at most 10 where there is a map, not 12; give "
            "fewer --output-bits, or leave out --map",
        ),
        (
            ["build", "--preset", "lut-dla-1", "-o", "out.v", "--index-rows", "2"],
            "argument --index-rows: Rows of the index buffer must be an integer between 3 and "
            "16777216, not 2; it holds a block's indices, --rows times --codebooks over --fan-in, "
            "unless --index-rows says otherwise",
        ),
        (
            ["build", *ENGINE, "-o", "out.v", "--name", "1st"],
            "argument --name: Name of an engine must be a Verilog identifier, not '1st'",
        ),
    ],
)
def test_bad_input(args, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert error(capsys, *args) == text
    assert list(tmp_path.iterdir()) == []


def test_bad_layer(capsys, model, tmp_path):
    text = error(capsys, "build", model, "-o", tmp_path / "x.v", "--layer", "fc9.lanes=2")
    assert text == "layer 'fc9': is no layer with a fold; there are fc0, fc1"
    assert [path.name for path in tmp_path.iterdir()] == ["net.lut"]


def test_info_of_other_files(capsys, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"\x00hello")
    assert (
        error(capsys, "info", path)
        == f"{path}: is neither a .lut model, nor the .json of a core or an engine, nor a JOB of "
        "`lutgen compile`"
    )
    path.write_text('{"format": "lutgen-core", "version": 2}')
    assert error(capsys, "info", path) == (
        f"{path}, field 'version': is 2, not 1; upgrade lutgen to read it, or build the core again"
    )
    path.write_text('{"format": "lutgen-core", "version": 1, "name": "x"}')
    assert error(capsys, "info", path) == f"{path}, field 'clock': is missing; build the core again"


def test_info_of_a_model(capsys, model):
    assert main(["info", model]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("model     random_net, ")
    assert any(line.startswith("fc0 ") for line in lines)
    data = answer(capsys, "info", model)
    assert [node["name"] for node in data["nodes"] if node["op"] == "lut_linear"] == ["fc0", "fc1"]


def test_build_a_model(capsys, model, tmp_path):
    out = tmp_path / "core.v"
    data = answer(capsys, "build", model, "-o", out, "--lanes", "2", "--layer", "fc1.lanes=1")
    contract = json.loads((tmp_path / "core.json").read_text())
    assert data["contract"] == str(tmp_path / "core.json")
    assert (data["latency"], data["interval"]) == (contract["latency"], contract["interval"])
    lanes = {s["name"]: s["fold"]["lanes"] for s in data["stages"] if "fold" in s}
    assert lanes == {"fc0": 2, "fc1": 1}
    assert f"module {contract['name']}" in out.read_text()
    first = out.read_text()
    assert main(["build", model, "-o", str(out), "--lanes", "2", "--layer", "fc1.lanes=1"]) == 0
    printed = capsys.readouterr().out
    assert f"interval  {contract['interval']} cycles" in printed
    assert out.read_text() == first
    assert main(["info", str(tmp_path / "core.json")]) == 0
    assert f"latency   {contract['latency']} cycles" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["core.json", "core.v", "net.lut"]


@pytest.mark.parametrize("loadable", [False, True])
def test_sim_of_a_model(capsys, model, verilator, loadable):
    args = ["--samples", "10", "--faults", *(["--loadable"] if loadable else [])]
    data = answer(capsys, "sim", model, *args)
    assert data["passed"]
    (core,) = data["cores"]
    assert core["latency"] == core["expected_latency"]
    assert core["interval"] == core["expected_interval"]
    assert core["mismatches"] == 0


def test_contracts_in_the_place_of_others(capsys, tmp_path):
    path, out = tmp_path / "x.json", tmp_path / "x.v"
    path.write_text('{"format": "lutgen-engine"}')
    assert error(capsys, "build", path, "-o", out) == (
        f"{path}: is the contract of an engine, not a model; an engine is built from options "
        f"alone, and its models are compiled: `lutgen compile MODEL.lut --engine {path} -o JOB`"
    )
    path.write_text('{"format": "lutgen-core"}')
    assert error(capsys, "build", path, "-o", out) == (
        f"{path}: is the contract of a core, not a model; give the MODEL.lut that it was built from"
    )
    path.write_text('{"format": "other"}')
    assert error(capsys, "sim", "--core", path) == (
        f"{path}: is not the contract of a core or an engine; name the .json that `lutgen build` "
        "wrote"
    )


def test_names_of_engines(capsys, tmp_path):
    """Headers of two engines go into one C program."""
    texts = {}
    for name in ("One", "two"):
        out = tmp_path / f"{name}.v"
        assert main(["build", *ENGINE, "-o", str(out), "--name", name]) == 0
        assert f"module {name}(" in out.read_text()
        texts[name] = (tmp_path / f"{name}.h").read_text()
    assert capsys.readouterr().err == ""
    for name, text in texts.items():
        guard, first = f"{name.upper()}_REGISTERS_H", text.splitlines()[:2]
        assert first == [f"#ifndef {guard}", f"#define {guard}"]
        defined = re.findall(r"^#define (\w+)|^static inline \w+ (\w+)\(", text, re.MULTILINE)
        assert all("".join(found).lower().startswith(f"{name.lower()}_") for found in defined)


@pytest.mark.parametrize(
    ("options", "mend"),
    [
        (["--subvec", "64"], "--encoder-dims 16"),
        (["--subvec", "2", "--centroids", "512"], "--encoder-dims 1"),
        (["--subvec", "1", "--centroids", "1024"], "--encoder-centroids 256"),
    ],
)
def test_large_encoders_are_said_before_they_are_built(
    capsys, tmp_path, monkeypatch, options, mend
):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("lutgen.host.build.build_engine", stop)
    assert main(["build", "--codebooks", "4", "-o", str(tmp_path / "x.v"), *options]) == 130
    assert capsys.readouterr().err == (
        "lutgen: note: encoders that compare 1,024 elements in a cycle take a minute or more to "
        f"build, and are large; {mend} makes them smaller, and slower\nlutgen: interrupted\n"
    )


def test_sim_of_an_engine(capsys, verilator, tmp_path):
    out, core = tmp_path / "engine.v", str(tmp_path / "engine.json")
    data = answer(capsys, "build", *ENGINE, "-o", str(out))
    assert data["parameters"]["codebooks"] == 3
    assert {path.suffix for path in tmp_path.iterdir()} == {".v", ".json", ".h", ".md"}
    assert answer(capsys, "info", core)["parameters"] == data["parameters"]
    assert main(["info", core]) == 0
    assert "engine    lutgen_engine: 1 x 2 outputs" in capsys.readouterr().out
    found = answer(capsys, "sim", "--core", core, "--samples", "3")
    assert found["passed"]
    assert [outcome["wrong"] for outcome in found["outcomes"]] == [[], [], []]
    assert error(capsys, "sim", "--core", core, "--data", "digits") == (
        "argument --data: goes with a JOB folder of `lutgen compile`"
    )
    assert error(capsys, "sim", "--core", core, "--faults") == (
        "argument --faults: goes with the core of a model, not an engine"
    )
    other = tmp_path / "other.v"
    assert main(["build", *ENGINE, "--index-rows", "7", "-o", str(other)]) == 0
    capsys.readouterr()
    out.write_text(other.read_text())
    text = error(capsys, "sim", "--core", core, "--samples", "1")
    assert text.startswith(
        f"{out}: is not the engine of {core}: register FINGERPRINT, field 'fingerprint': is 0x"
    )
    two = tmp_path / "two.v"
    assert main(["build", *ENGINE, "--two-clocks", "-o", str(two)]) == 0
    capsys.readouterr()
    two.write_text(other.read_text())
    assert error(capsys, "sim", "--core", two.with_suffix(".json"), "--samples", "1") == (
        f"{two}: is not the engine of {two.with_suffix('.json')}: port enc_clk: is missing; build "
        "both again with `lutgen build`"
    )
    out.unlink()
    assert error(capsys, "sim", "--core", core) == (
        f"{out}: can't be read: no such file or directory; it goes with {core}"
    )


def test_sim_with_a_built_core(capsys, verilator, model, tmp_path):
    out, core = tmp_path / "core.v", tmp_path / "core.json"
    assert main(["build", model, "-o", str(out)]) == 0
    capsys.readouterr()
    assert answer(capsys, "sim", model, "--core", core, "--samples", "5")["passed"]
    assert error(capsys, "sim", "--core", core) == (
        "a MODEL.lut is needed: only a loadable core of one layer works without"
    )
    other = tmp_path / "other.lut"
    save(random_model(np.random.default_rng(12), layers=1), other)
    assert error(capsys, "sim", other, "--core", core) == (
        f"{core}, field 'model': is not {other}; build the core again from it"
    )


def test_sim_names_a_mismatch(capsys, verilator, model, tmp_path):
    """A core whose text was spoilt, and one whose contract promises too much."""
    out, core = tmp_path / "core.v", tmp_path / "core.json"
    assert main(["build", model, "-o", str(out)]) == 0
    capsys.readouterr()
    contract = json.loads(core.read_text())
    core.write_text(json.dumps({**contract, "latency": contract["latency"] + 1}))
    assert main(["sim", model, "--core", str(core), "--samples", "5"]) == 1
    text = capsys.readouterr().out
    assert f"FAILED: the contract says {contract['latency'] + 1}" in text

    core.write_text(json.dumps(contract))
    verilog = out.read_text()
    spoilt = verilog.replace(f"module {contract['name']}(", f"module {contract['name']}_right(")
    names = [port["name"] for port in contract["ports"]]
    ports = ", ".join(
        f"{p['direction']} [{p['width'] - 1}:0] {p['name']}" for p in contract["ports"]
    )
    pins = ", ".join(f".{n}({n if n != 'm_axis_tdata' else 'right'})" for n in names)
    width = next(p["width"] for p in contract["ports"] if p["name"] == "m_axis_tdata")
    spoilt += (
        f"\nmodule {contract['name']}({ports});\n  wire [{width - 1}:0] right;\n"
        f"  {contract['name']}_right core({pins});\n  assign m_axis_tdata = right ^ 1;\nendmodule\n"
    )
    out.write_text(spoilt)
    assert main(["sim", model, "--core", str(core), "--samples", "5"]) == 1
    text = capsys.readouterr().out
    assert "FAILED" in text
    assert "output words differ; the first: sample 0, element 0: got " in text
    data = answer(capsys, "sim", model, "--core", core, "--samples", "5", status=1)
    assert data["passed"] is False
    assert data["cores"][0]["first_mismatch"]["sample"] == 0


def test_data_of_another_shape(capsys, model, tmp_path):
    data = tmp_path / "d.npz"
    np.savez(data, x_test=np.zeros((4, 5)))
    assert error(capsys, "sim", model, "--data", data) == (
        f"{data}, array 'x_test': Samples must have the shape 6, as the model's input, not 5; "
        "give samples as the model was trained on"
    )


def test_doctor(capsys, monkeypatch):
    data = answer(capsys, "doctor")
    assert data["ok"]
    names = [tool["name"] for tool in data["tools"]]
    assert {"python", "numpy", "amaranth", "verilator", "cocotb", "iverilog"} <= set(names)
    assert main(["doctor"]) == 0
    assert "numpy" in capsys.readouterr().out
    real = tools.package_version
    monkeypatch.setattr(
        tools, "package_version", lambda name: None if name == "amaranth" else real(name)
    )
    data = answer(capsys, "doctor", status=1)
    assert not data["ok"]
    assert main(["doctor"]) == 1
    assert "pip install 'amaranth[builtin-yosys]'    # amaranth" in capsys.readouterr().out


def test_interrupted(capsys, monkeypatch):
    def stop(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.doctor, "run", stop)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "lutgen: interrupted\n"


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [(signal.SIGINT, 130, "lutgen: interrupted\n"), (signal.SIGTERM, 143, "")],
)
def test_interrupt_ends_a_build(tmp_path, monkeypatch, verilator, model, sent, status, text):
    """Ctrl-C or a kill in a build: no traceback, no compiler left running, nothing half made."""
    fresh(monkeypatch, tmp_path / "cache")
    (tmp_path / "tmp").mkdir()
    env = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    command = [sys.executable, "-m", "lutgen", "sim", model]
    process = subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the suite in the background may have SIGINT ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    shelf = tmp_path / "cache" / "sim"
    for _ in range(600):
        if list(shelf.glob("part.*/build/*.cpp")):
            break
        time.sleep(0.1)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (status, "")
    said = "building and running the simulation; a large core takes a minute or two ...\n"
    assert err == said + text
    assert not [path for path in shelf.iterdir() if path.is_dir()]
    assert not list((tmp_path / "tmp").iterdir())


def test_reader_that_leaves(model):
    """`lutgen info | head` ends without a word."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lutgen", "info", model, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0


def test_demo(capsys, verilator, tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr("lutgen.cli.demo.LAYERS", (16,))  # the whole of it takes a minute
    data = answer(capsys, "demo", "-o", tmp_path / "out")
    assert data["simulation"]["passed"]
    assert data["samples"] > 300
    assert data["accuracy"]["model"] > 0.8
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "digits.json",
        "digits.lut",
        "digits.v",
    ]
    (tmp_path / "file").write_text("")
    assert error(capsys, "demo", "-o", tmp_path / "file") == (
        f"{tmp_path / 'file'}: can't be made: file exists; choose another"
    )


def test_no_output_over_an_input(capsys, model, tmp_path):
    """Whatever a command reads stays as it is."""
    data = tmp_path / "d.npz"
    np.savez(data, x_train=np.eye(4), y_train=[0, 1, 0, 1], x_test=np.eye(4), y_test=[0, 1, 0, 1])
    before = data.read_bytes(), Path(model).read_bytes()
    for argv in (
        ["train", data, "-o", data],
        ["infer", model, "--data", data, "-o", data],
        ["infer", model, "--data", data, "-o", model],
        ["build", model, "-o", model],
    ):
        assert error(capsys, *argv) == f"{argv[-1]}: is read here too; choose another path"
    assert before == (data.read_bytes(), Path(model).read_bytes())
    assert error(capsys, "build", model, "-o", "-").startswith("-: standard output is no place")
    assert (
        error(capsys, "build", model, "-o", "/dev/null")
        == "/dev/null: is no plain file; name another"
    )


def test_a_link_stays_a_link(capsys, model, tmp_path):
    (tmp_path / "link.v").symlink_to(tmp_path / "real.v")
    answer(capsys, "build", model, "-o", tmp_path / "link.v")
    assert (tmp_path / "link.v").is_symlink()
    assert (tmp_path / "real.v").read_text().startswith("/* Generated")


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("stages", 5, "field 'stages': must be a list of 1 to 4096 entries, not 5"),
        ("model", 7, "field 'model': must be a JSON object, not 7"),
        ("latency", "x", "field 'latency': must be an integer between 1 and 4294967296, not 'x'"),
        ("output", {}, "field 'output', field 'port': is missing"),
    ],
)
def test_contracts_that_were_edited(capsys, model, tmp_path, field, value, text):
    answer(capsys, "build", model, "-o", tmp_path / "core.v")
    path = tmp_path / "core.json"
    contract = json.loads(path.read_text())
    path.write_text(json.dumps({**contract, field: value}))
    for argv in (["info", path], ["sim", model, "--core", path]):
        assert error(capsys, *argv) == f"{path}, {text}; build the core again"


def test_a_contract_of_other_streams(capsys, model, tmp_path):
    """It holds together, but is not that of the model."""
    answer(capsys, "build", model, "-o", tmp_path / "core.v", "--input-lanes", "1")
    path = tmp_path / "core.json"
    contract = json.loads(path.read_text())
    contract["input"]["signed"] ^= True
    path.write_text(json.dumps(contract))
    signed = contract["input"]["signed"]
    assert error(capsys, "sim", model, "--core", path) == (
        f"{path}, field 'input', field 'signed': must be {not signed}, not {signed}; build the "
        "core again"
    )


def test_a_contract_in_place_of_a_model(capsys, tmp_path):
    path = tmp_path / "out.json"
    assert error(capsys, "sim", path) == f"{path}: is no model; for a built core say --core {path}"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (
            ["--device", "nosuch"],
            "argument --device: must be one of hx1k, hx4k, lp8k, up5k, hx8k, 12k, 25k, 45k, 85k, "
            "xc7a35t, gw1n9, gw2a18, not 'nosuch'",
        ),
        (["--margin", "0.1"], "argument --margin: goes with --device"),
    ],
)
def test_bad_wishes_of_the_solver(capsys, model, tmp_path, args, text):
    assert error(capsys, "build", model, "-o", tmp_path / "x.v", *args) == text
    assert [path.name for path in tmp_path.iterdir()] == ["net.lut"]


def test_folds_that_could_not_be_had_are_said(capsys, model, tmp_path):
    node = next(node for node in load(model).nodes if node.name == "fc1")
    args = ["build", model, "-o", tmp_path / "x.v", "--layer", "fc1.lanes=99"]
    for more in ([], ["--interval", "1000"]):
        assert main([*map(str, args), *more, "--json"]) == 0
        captured = capsys.readouterr()
        outputs = node.out_features
        note = f"layer 'fc1': lanes=99: {outputs} is used: there are {outputs} outputs"
        assert json.loads(captured.out)["notes"] == [note]
        assert captured.err == f"lutgen: note: {note}\n"


def test_a_fold_that_makes_no_machine_names_the_layer(capsys, model, tmp_path):
    name = load(model).nodes[-1 if load(model).nodes[-1].op == "lut_linear" else -2].name
    said = error(capsys, "build", model, "-o", tmp_path / "o.v", "--layer", f"{name}.lanes=0")
    assert said == f"argument --layer: {name}.lanes must be a positive integer, not 0"
    assert not list(tmp_path.glob("o.*"))
