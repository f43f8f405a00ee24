"""`lutgen compile`: the folder, the listing, refusals."""

import dataclasses
import json

import convnets
import numpy as np
import pytest
from engines import engine_for

from lutgen.cli.main import main
from lutgen.host import jobfile
from lutgen.host.contract import engine_contract, engine_of
from lutgen.host.model_transport import ModelTransport
from lutgen.host.player import play
from lutgen.host.transport import run
from lutgen.model import save


@pytest.fixture
def files(tmp_path):
    model, _ = convnets.everything()
    save(model, tmp_path / "net.lut")
    engine = engine_for(model, rows=16, lanes=2, matchers=1, fan_in=2, table_beat=2)
    (tmp_path / "e.json").write_text(json.dumps(engine_contract(engine, "engine")))
    return model, tmp_path


def arguments(folder, *more):
    return [
        "compile",
        str(folder / "net.lut"),
        "--engine",
        str(folder / "e.json"),
        "-o",
        str(folder / "job"),
        *more,
    ]


def test_compiles(files, capsys):
    model, folder = files
    assert main(arguments(folder, "--batch", "10")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("node", "on", "does", "rows", "codebooks", "outputs", "passes"),
        *("activations", "centroids", "tables", "results"),
    ]
    assert lines[2].split()[:6] == ["pixels", "engine", "encode", "12", "1", "-"]
    assert lines[3].split()[:7] == ["pixels", "engine", "look", "up", "12", "9", "2"]
    assert "join         host    add" in lines[8]
    assert lines[-6:] == [
        "host      join: the engine adds nothing but table rows",
        "host      mapped: is not behind a lookup on the engine",
        "host      most: the engine compares nothing but distances",
        "host      mean: the engine adds nothing but table rows",
        "host      top: the engine compares nothing but distances",
        f"wrote     {folder / 'job'}",
    ]
    assert "batch     10 samples; passes and bytes are those of a batch" in lines
    job = jobfile.load(folder / "job")
    x = np.random.default_rng(0).integers(0, 16, (3, *model.shape))
    found = run(play(job, ModelTransport(job.engine), x))
    assert np.array_equal(found.outputs, model.predict(x).outputs)


def test_json(files, capsys):
    _, folder = files
    assert main(arguments(folder, "--json", "--host", "windows", "--batch", "10")) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["model"]["name"] == "everything"
    assert data["batch"] == 10
    encode, lookup, windows = data["steps"][:3]
    assert (encode["does"], encode["rows"], encode["outputs"]) == ("encode", 12, None)
    assert lookup["bytes"]["centroids"] == 0
    assert lookup["passes"] == lookup["blocks"] * lookup["tiles"] * lookup["groups"]
    assert lookup["lookups"] == 10 * 12 * 5
    assert windows == {
        "nodes": ["windows"],
        "gives": "windows",
        "on": "host",
        "does": "lut_conv2d",
        "why": "as asked",
    }
    tables = [step["bytes"]["tables"] for step in data["steps"] if step["on"] == "engine"]
    assert data["total"]["bytes"]["tables"] == sum(tables)


def with_parameters(folder, **changes):
    """Another engine: the contract of one with these parameters."""
    path = folder / "e.json"
    engine = dataclasses.replace(engine_of(path), **changes)
    path.write_text(json.dumps(engine_contract(engine, "engine")))


def test_refuses_and_leaves_nothing(files, capsys):
    _, folder = files
    with_parameters(folder, output_bits=3)
    hosts = ("--host", "windows", "--host", "slid", "--host", "slid_pixels")
    assert main(arguments(folder, *hosts)) == 2
    assert capsys.readouterr().err == (
        f"lutgen: error: {folder / 'net.lut'}: node 'pixels', field 'output': has 4 bits, more "
        "than the engine's 3; build an engine with --output-bits 4, or leave the node to the host "
        "with --host pixels\n"
    )
    assert not (folder / "job").exists()


def test_all_that_does_not_fit_at_once(files, capsys):
    _, folder = files
    with_parameters(folder, output_bits=3, centroids=2, encoder_centroids=1)
    assert main(arguments(folder, "--json")) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0].split() == ["layer", "parameter", "needs", "has"]
    rows = [line.split() for line in lines[2:-1]]
    assert ["pixels", "output-bits", "4", "3"] in rows
    assert ["pixels", "centroids", "4", "2"] in rows
    assert {row[0] for row in rows} == {"pixels", "windows", "slid", "slid_pixels", "head"}
    start, options, end = lines[-1].split("`")
    assert start == (
        f"lutgen: error: {folder / 'net.lut'}: 5 layers do not fit {folder / 'e.json'}; one that "
        "takes the whole model: "
    )
    hosts = [f"--host {name}" for name in ("pixels", "windows", "slid", "slid_pixels", "head")]
    assert end == f"; or leave to the host what does not fit: {' '.join(hosts)}"
    assert not (folder / "job").exists()
    # The engine of those options takes the model.
    command, build, *words = options.replace("ENGINE.v", str(folder / "e.v")).split()
    assert (command, build) == ("lutgen", "build")
    assert main(["build", *words]) == 0
    assert main(arguments(folder)) == 0


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (
            ("--host", "x"),
            "argument --host: the model has no node 'x'; it has pixels, windows, slid, "
            "slid_pixels, join, mapped, most, mean, head, top",
        ),
        (
            ("--batch", "0"),
            "argument --batch: must be an integer of at least 1, not '0'; see "
            "`lutgen compile --help`",
        ),
        (
            ("--batch", "10000000"),
            "argument --batch: Batch must be at most 87,380 samples, not 10,000,000: step "
            "'pixels.indices' has 12 rows a sample, and a job of the engine at most 1,048,560",
        ),
    ],
)
def test_wrong_options(files, more, text, capsys):
    _, folder = files
    assert main(arguments(folder, *more)) == 2
    assert capsys.readouterr().err == f"lutgen: error: {text}\n"
    assert not (folder / "job").exists()


def test_a_folder_of_others(files, capsys):
    _, folder = files
    (folder / "job").mkdir()
    (folder / "job" / "notes").write_text("mine")
    assert main(arguments(folder)) == 2
    assert capsys.readouterr().err == (
        f"lutgen: error: {folder / 'job'}: is a folder, but not a job; choose another path\n"
    )
