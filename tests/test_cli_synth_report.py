"""Reports that were changed: `lutgen info` names the field, or shows the report."""

import copy
import json

import mutations
import pytest

from lutgen.cli.main import main

AGAIN = "run `lutgen synth` again"


def put(place, value):
    """A report with another value at a place; ``...`` drops it."""
    data = copy.deepcopy(mutations.REPORT)
    *way, last = place
    holder = data
    for step in way:
        holder = holder[step]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return data


EDITS = [
    (["version"], 2, "field 'version': must be 1"),
    (["version"], True, "field 'version': must be 1"),
    (["part"], ..., "field 'part': is missing"),
    (["part"], 3, "field 'part': must be a string of at most 4,096 characters, not 3"),
    (["tools"], "yosys", "field 'tools': must be a list of 0 to 64 entries, not 'yosys'"),
    (["estimate"], [], "field 'estimate': must be a JSON object, not []"),
    (
        ["estimate", "dsps"],
        {},
        "field 'estimate': must be of luts, ffs, blocks, single, not 'dsps'",
    ),
    (
        ["estimate", "luts", "error"],
        "x",
        "field 'estimate', field 'luts', field 'error': must be a number between -1e+18 and 1e+18, "
        "not 'x'",
    ),
    (["core", "carry_luts"], -1, "field 'core', field 'carry_luts': must be an integer between"),
    (["available", "luts"], None, "field 'available', field 'luts': must be an integer between"),
    (["interval"], 1.5, "field 'interval': must be an integer between"),
    (["placements"], [], "field 'placements': must be a list of 1 to 4096 entries, not []"),
    (
        ["placements", 0, "used", "LUTs"],
        [1],
        "field 'placements', entry 0, field 'used', field 'LUTs': must be a list of 2 to 2 entries",
    ),
    (
        ["placements", 0, "critical_path", "from"],
        ...,
        "field 'placements', entry 0, field 'critical_path', field 'from': is missing",
    ),
    (["fmax_mhz"], 3, "field 'fmax_mhz': must be a JSON object, not 3"),
    (["samples_per_second", "clock"], ..., "field 'samples_per_second', field 'clock': is missing"),
    (["clock_hz"], 0, "field 'clock_hz': must be a number between"),
    (["netlist"], True, "field 'netlist': must be a JSON object, not True"),
    (["energy", "nj", "middle"], 0, "field 'energy', field 'nj', field 'middle': must be a number"),
    (["energy", "parts_nj"], 1, "field 'energy', field 'parts_nj': must be a JSON object, not 1"),
    (["energy", "parts_nj", "x"], {}, "field 'energy', field 'parts_nj': must be of static, clock"),
    (["failed"], None, "field 'failed': must be a list of 0 to 64 entries, not None"),
    (["seconds", "all"], ..., "field 'seconds', field 'all': is missing"),
    (["bitstream"], {}, "field 'bitstream': must be a string"),
]


@pytest.mark.parametrize(("place", "value", "text"), EDITS)
def test_edited_reports(tmp_path, capsys, place, value, text):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(put(place, value)))
    assert main(["info", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"lutgen: error: {path}, {text}")
    assert said.endswith(f"; {AGAIN}\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize("key", ["estimate", "energy", "netlist", "program", "speed_grade"])
def test_what_may_be_null(tmp_path, capsys, key):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(put([key], None)))
    assert main(["info", str(path)]) == 0
    assert "part      iCE40HX8K" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("core", "line"),
    [
        (mutations.REPORT["core"], "carries   1,234 of the core's LUTs only bring a signal to a "),
        ({"carry_luts": None}, None),
        (..., None),  # of earlier versions
    ],
)
def test_carry_inputs_are_said_beside_the_luts(tmp_path, capsys, core, line):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(put(["core"], core)))
    assert main(["info", str(path)]) == 0
    said = [text for text in capsys.readouterr().out.splitlines() if text.startswith("carries")]
    assert [text[: len(line)] for text in said] == [line] if line else said == []


def test_fields_that_nobody_reads_stay(tmp_path, capsys):
    """Other versions of lutgen report other things."""
    path = tmp_path / "report.json"
    path.write_text(json.dumps(put(["more"], {"a": [1]})))
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["more"] == {"a": [1]}
