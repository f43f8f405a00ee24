"""Contracts that strangers have edited: every field that is not what it was is refused or without
effect, and nothing of it gets into generated code or runs.
"""

import json
from copy import deepcopy

import convnets
import linked
import numpy as np
import pytest
import toy

import lutgen
from lutgen import LutgenError
from lutgen.cli.main import main
from lutgen.flows import harness, simulate, testbench
from lutgen.gateware.build import build
from lutgen.host.build import build_engine
from lutgen.host.contract import read_engine
from lutgen.host.core_contract import check_core, read_core
from lutgen.spec.engine import EngineSpec

MARK = "Marked"
TEXTS = (
    f'x"; system("touch {MARK}"); //',
    f'clk) = 0; std::system("touch {MARK}"); (void)(top->clk',
    f"a\n!touch {MARK}\n",
    f"a; touch {MARK}",
    f"$(touch {MARK})",
    f"`touch {MARK}`",
    f"../{MARK}",
    f"\\{MARK} ",
    f"{MARK}\x1b[2J",
    f"{MARK}\N{LATIN SMALL LETTER E WITH ACUTE}",
    f"{MARK}\n",
    "",
    "-" + MARK,
)
OTHERS = (
    -1,
    0,
    1 << 40,
    1.5,
    1.0,
    float("nan"),
    float("inf"),
    True,
    None,
    "x",
    [],
    {},
    [1],
    10**400,
)
CORES = {
    "everything": lambda: (
        build(
            convnets.everything()[0], layers=convnets.everything()[1], taps=True, target="ecp5"
        ).contract
    ),
    "loadable": lambda: linked.core(True).contract,
    "board": lambda: {**linked.board().contract, "board": "icebreaker"},
}


def places(data, path=()):
    """The paths of all that is in JSON data."""
    entries = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in entries:
        yield (*path, key)
        if isinstance(value, dict | list):
            # Entries of long lists are alike.
            yield from places(value[:3] if isinstance(value, list) else value, (*path, key))


def holder(data, path):
    """What holds the last step of a path."""
    for key in path[:-1]:
        data = data[key]
    return data


def edited(data, path, value):
    """JSON data with one place changed."""
    copy = deepcopy(data)
    holder(copy, path)[path[-1]] = value
    return copy


def edits(data, texts):
    """Every place of JSON data with each value that it must not or need not have; the data is
    changed while this runs, and is what it was afterwards.
    """
    for path in list(places(data)):
        inner = holder(data, path)
        own = inner[path[-1]]
        more = [own[:-1], own * 2] if isinstance(own, list) and own else []
        for value in (*texts, *OTHERS, *more):
            if repr(value) != repr(own):
                inner[path[-1]] = value
                yield path, value
        inner[path[-1]] = own


@pytest.mark.parametrize("kind", CORES)
def test_every_field_of_a_core(kind):
    """What is let through holds no hostile text; a right contract is let through."""
    contract = json.loads(json.dumps(CORES[kind]()))
    check_core(contract, "core.json")
    said = []
    for path, value in edits(contract, TEXTS):
        try:
            check_core(contract, "core.json")
        except LutgenError as error:
            said.append(str(error))
        else:
            assert not isinstance(value, str) or value == "x", (path, value)
            assert type(value) is not bool or path[-1] in ("signed", "memory"), (path, value)
            nullable = ("model", "load", "scale", "target", "fill")
            assert value is not None or path[-1] in nullable, (path, value)
            assert not isinstance(value, float) or path[-1] in ("scale", "fill"), (path, value)
            assert value != 1 << 40 or path[-1] == "scale", (path, value)
    for path in places(contract):
        if isinstance(path[-1], str):
            inner = deepcopy(contract)
            part = holder(inner, path)
            part[MARK] = part.pop(path[-1])
            with pytest.raises(LutgenError, match=r"is missing|is unknown to this version"):
                check_core(inner, "core.json")
    assert len(said) > 1000
    assert all(text.startswith("core.json, field ") and "; " in text for text in said)
    assert all("\n" not in text and len(text) < 400 for text in said)


def test_every_field_of_an_engine(tmp_path):
    """Beside its parameters, a contract says nothing but what follows from them."""
    spec = EngineSpec(codebooks=2, subvec=2, lanes=2, rows=8, two_clocks=True)
    contract = json.loads(json.dumps(build_engine(spec).contract))
    path = tmp_path / "engine.json"
    path.write_text(json.dumps(contract))
    assert read_engine(path) == (spec.resolved, contract)
    said = []
    for place, value in edits(contract, TEXTS[:3]):
        path.write_text(json.dumps(contract))
        try:
            found, _ = read_engine(path)
        except LutgenError as error:
            said.append(str(error))
            continue
        assert found == spec.resolved
        assert not isinstance(value, str) or value == "x", (place, value)
        if place[0] != "ports":
            assert place[0] in ("lutgen", "name", "parameters"), (place, value)
    assert len(said) > 1000
    assert all(text.startswith(f"{path}: ") and "\n" not in text for text in said)
    assert max(map(len, said)) < len(str(path)) + 400


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A loadable core, its model and samples; the working folder is beside them."""
    model = linked.model()
    lutgen.save(model, tmp_path / "m.lut")
    linked.core().write(tmp_path / "m.v")
    np.savez(tmp_path / "d.npz", x_test=np.zeros((2, *model.shape)))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


HOSTILE = [
    (("clock",), TEXTS[1]),
    (("reset",), TEXTS[1]),
    (("name",), TEXTS[2]),
    (("ports", 2, "name"), TEXTS[0]),
    (("ports", 2, "width"), TEXTS[0]),
    (("input", "lanes"), 1.5),
    (("link",), {"module": TEXTS[2]}),
]


@pytest.mark.parametrize(("place", "value"), HOSTILE, ids=lambda v: str(v)[:20])
def test_every_command_refuses(capsys, folder, monkeypatch, place, value):
    """Before any tool is called, with one line that names the file and the field."""
    for name in ("harness.build", "simbuild.build", "boardsim.build"):
        monkeypatch.setattr(f"lutgen.flows.{name}", None)
    path = folder / "m.json"
    path.write_text(json.dumps(edited(json.loads(path.read_text()), place, value)))
    model, data = str(folder / "m.lut"), ["--data", str(folder / "d.npz")]
    for argv in (
        ["sim", model, "--core", str(path), "--driver", "compiled"],
        ["sim", "--core", str(path)],
        ["run", model, "--simulate", "--contract", str(path), *data],
        ["run", "--port", "/dev/null", "--contract", str(path), *data],
        ["info", str(path)],
        ["info", str(path), "--svg", str(folder / "x.svg")],
    ):
        assert main(argv) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert said.err.startswith(f"lutgen: error: {path}, field {place[0]!r}")
    assert not list((folder / "work").iterdir())
    assert not (folder / "x.svg").exists()


def test_generated_code_takes_words_only():
    """Whatever comes into a program of ours past the reader stops at the text."""
    contract, (x, expected) = toy.contract(), toy.vectors(2)
    for place in (("clock",), ("reset",), ("ports", 3, "name")):
        for text in TEXTS[:-1]:
            if not text:
                continue
            bad = edited(contract, place, text)
            with pytest.raises(ValueError, match="must be a"):
                harness.pins("toy_core", [("", bad)])
    for text in TEXTS[:-2]:
        if text:
            with pytest.raises(ValueError, match="must be a"):
                testbench.render({**contract, "name": text}, x, expected)
            with pytest.raises(ValueError, match="must be a"):
                simulate(toy.TEXT, {**contract, "name": text}, x, expected, driver="compiled")
            with pytest.raises(ValueError, match="must be a"):
                simulate(toy.TEXT, {**contract, "name": text}, x, expected)


@pytest.mark.parametrize("name", [f'a\n$system("touch {MARK}");.v', "a b.v", "a\\", "-a.v", "$a.v"])
def test_names_of_files_in_a_comment(name):
    """A test bench tells the command that plays it, with names that mean only themselves."""
    bench = testbench.render(
        toy.contract(), *toy.vectors(2), core_file=name, bench_file=name.replace(".v", "_tb.v")
    )
    assert name not in bench
    assert MARK not in bench
    assert "iverilog -g2005 -o sim out.v out_tb.v" in bench


def test_contracts_of_before(tmp_path):
    """Fields that came later may be absent."""
    contract = json.loads(json.dumps(CORES["loadable"]()))
    for key in ("taps", "bottleneck", "queues", "target", "memories"):
        contract.pop(key)
    for key in ("read_back", "check", "segments", "word_bits"):
        contract["load"].pop(key)
    path = tmp_path / "core.json"
    path.write_text(json.dumps(contract))
    assert read_core(path) == contract
