"""Engine contracts and job folders: what is written is read; damage is named by file and field."""

import json
import zipfile
from dataclasses import asdict

import convnets
import numpy as np
import pytest
from engines import engine_for, random_engine
from hypothesis import given
from hypothesis import strategies as st

from lutgen.errors import LutgenError
from lutgen.host import jobfile
from lutgen.host.compiler import compile_model
from lutgen.host.contract import engine_contract, engine_of
from lutgen.host.model_transport import ModelTransport
from lutgen.host.player import play
from lutgen.host.transport import run
from lutgen.spec.engine import EngineSpec

ENGINE = EngineSpec(codebooks=8, subvec=2, rows=4)
AGAIN = "build the engine again with `lutgen build`"


def write(path, data):
    path.write_text(json.dumps(data))
    return path


# Contracts.


@given(st.integers(0, 1 << 32))
def test_contracts_are_read_back(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    try:
        engine = random_engine(rng)
    except ValueError:
        return
    path = tmp_path_factory.getbasetemp() / "engine.json"
    assert engine_of(write(path, engine_contract(engine, "engine", lutgen="1"))) == engine.resolved


def test_what_a_contract_says():
    data = engine_contract(ENGINE, "tiny", lutgen="1")
    assert data["parameters"] == asdict(ENGINE.resolved)
    assert None not in data["parameters"].values()
    assert data["parameters"]["index_rows"] == data["index_rows"] == ENGINE.index_depth
    assert data["streams"]["m_axis"] == {"direction": "out", "beat": 8, "bits": 64}
    assert data["lutgen"] == "1"
    assert data["operations_per_cycle"] == 2 * 2 * 16
    assert data["memory_bits"]["total"] == sum(ENGINE.bits.values())


def without(name):
    return {key: value for key, value in asdict(ENGINE).items() if key != name}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"format": "lutgen-core"},
            "is not the contract of an engine; name the .json that `lutgen build` wrote beside "
            "the engine's Verilog",
        ),
        (
            {"version": 2},
            f"field 'version': is 2, not 1; upgrade lutgen to read it, or {AGAIN}",
        ),
        ({"parameters": 3}, "field 'parameters': must be a JSON object, not 3"),
        (
            {"parameters": without("rows")},
            f"field 'parameters', field 'rows': is missing; {AGAIN}",
        ),
        (
            {"parameters": {**asdict(ENGINE), "rows": True}},
            f"field 'parameters', field 'rows': must be an integer, not True; {AGAIN}",
        ),
        (
            {"parameters": {**asdict(ENGINE), "index_rows": "4"}},
            f"field 'parameters', field 'index_rows': must be an integer or null, not '4'; {AGAIN}",
        ),
        (
            {"parameters": {**asdict(ENGINE), "has_map": 1}},
            f"field 'parameters', field 'has_map': must be true or false, not 1; {AGAIN}",
        ),
        (
            {"parameters": {**asdict(ENGINE), "metric": None}},
            f"field 'parameters', field 'metric': must be a string, not None; {AGAIN}",
        ),
        (
            {"parameters": {**asdict(ENGINE), "more": 1}},
            "field 'parameters', field 'more': is unknown to this version; a newer lutgen may "
            "have written it",
        ),
        (
            {"parameters": {**asdict(ENGINE), "rows": 1}},
            f"field 'parameters': Rows must be an integer between 3 and 65536, not 1; {AGAIN}",
        ),
    ],
)
def test_wrong_contracts(tmp_path, change, text):
    path = write(tmp_path / "e.json", {**engine_contract(ENGINE, "tiny"), **change})
    with pytest.raises(LutgenError) as caught:
        engine_of(path)
    assert str(caught.value) == f"{path}: {text}"


def test_contracts_that_are_none(tmp_path):
    path = tmp_path / "e.json"
    with pytest.raises(LutgenError) as caught:
        engine_of(path)
    assert str(caught.value) == f"{path}: can't be read: no such file or directory"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(LutgenError, match="is not the contract of an engine"):
        engine_of(path)
    data = engine_contract(ENGINE, "tiny")
    for key in ("version", "name", "parameters"):
        part = {name: value for name, value in data.items() if name != key}
        with pytest.raises(LutgenError) as caught:
            engine_of(write(path, part))
        assert str(caught.value) == f"{path}: field '{key}': is missing; {AGAIN}"


def test_what_was_left_out_may_be_null(tmp_path):
    """In files that people write."""
    data = engine_contract(ENGINE, "tiny")
    data["parameters"] |= {"index_rows": None, "table_beat": None}
    assert engine_of(write(tmp_path / "e.json", data)) == ENGINE.resolved


# Jobs.


@pytest.fixture
def job(tmp_path):
    model, _ = convnets.everything()
    job = compile_model(model, engine_for(model, has_map=True), host=["slid"])
    path = tmp_path / "job"
    jobfile.save(job, path)
    return model, job, path


@given(st.integers(0, 1 << 32))
def test_jobs_are_read_back(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    model = convnets.random_model(rng)
    engine = engine_for(model, rng)
    try:
        job = compile_model(model, engine)
    except LutgenError:
        return
    path = tmp_path_factory.getbasetemp() / "job"
    jobfile.save(job, path)
    found = jobfile.load(path)
    assert found == job
    for one, other in zip(found.engine_steps, job.engine_steps, strict=True):
        for key in ("books", "table", "bias", "map"):
            assert np.array_equal(getattr(one, key), getattr(other, key))


def test_a_job_needs_no_model(job):
    model, _, path = job
    x = np.random.default_rng(0).integers(0, 16, (3, *model.shape))
    loaded = jobfile.load(path)
    found = run(play(loaded, ModelTransport(loaded.engine), x))
    assert np.array_equal(found.outputs, model.predict(x).outputs)
    assert sorted(each.name for each in path.iterdir()) == ["arrays.npz", "job.json"]


def test_a_job_takes_the_place_of_a_job_alone(job):
    _, one, path = job
    jobfile.save(one, path)
    assert [each.name for each in path.parent.iterdir()] == ["job"]
    (path / "notes").write_text("mine")
    with pytest.raises(LutgenError) as caught:
        jobfile.save(one, path)
    assert str(caught.value) == f"{path}: is a folder, but not a job; choose another path"
    assert (path / "notes").read_text() == "mine"
    for name, text in (
        ("job/job.json", "is a file; name a folder"),
        ("no/job", f"the folder {path.parent / 'no'} does not exist; make it first"),
    ):
        with pytest.raises(LutgenError) as caught:
            jobfile.save(one, path.parent / name)
        assert str(caught.value) == f"{path.parent / name}: {text}"


def engine_step(data, gives):
    return next(step for step in data["steps"] if step.get("gives") == gives)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d.update(format="x"), "is not a job; `lutgen compile` makes one"),
        (
            lambda d: d.update(version=7),
            "job, field 'version': is 7, not 1; upgrade lutgen to read it, or compile the model "
            "again",
        ),
        (lambda d: d.pop("engine"), "job, field 'engine': is missing"),
        (
            lambda d: d["engine"]["parameters"].update(lanes=0),
            "job, field 'engine', field 'parameters': Lanes must be an integer between 1 and "
            "4096, not 0; compile the model again",
        ),
        (lambda d: d.update(steps=3), "job, field 'steps': must be a list, not 3"),
        (lambda d: d.update(output="x"), "field 'output': names 'x', which no step gives"),
        (
            lambda d: d.update(more=1),
            "job, field 'more': is unknown to this version; a newer lutgen may have written it",
        ),
        (
            lambda d: d["steps"][0].update(on="cloud"),
            "step number 0, field 'on': must be one of host, engine, not 'cloud'",
        ),
        (
            lambda d: engine_step(d, "pixels").update(source="later"),
            "step 'pixels', field 'source': names 'later', which no earlier step gives",
        ),
        (
            lambda d: engine_step(d, "pixels")["cut"]["window"].update(kernel=[2, 3]),
            "step 'pixels', field 'shape': must have 30 elements, not 24",
        ),
        (
            lambda d: engine_step(d, "pixels")["cut"].update(window=None),
            "step 'pixels', field 'shape': must have 2 elements, not 24",
        ),
        (
            lambda d: engine_step(d, "pixels")["cut"]["window"].update(kernel=[9, 3]),
            "step 'pixels', field 'cut': Kernel must fit the padded image of 6x5, not be 9x3",
        ),
        (
            lambda d: engine_step(d, "pixels").update(high=1 << 15),
            "step 'pixels': High limit of results must be an integer between -8 and 15, not 32768",
        ),
        (
            lambda d: engine_step(d, "pixels").update(arrays=["books"]),
            "step 'pixels', array 'books': is missing",
        ),
        (
            lambda d: engine_step(d, "pixels").update(arrays=["tables"]),
            "step 'pixels', field 'arrays': must be some of books, table, bias, map, not "
            "['tables']",
        ),
        (
            lambda d: engine_step(d, "pixels").update(arrays=["table"]),
            "step 'pixels', field 'arrays': must hold table and bias, except for indices",
        ),
        (
            lambda d: d["steps"].append(d["steps"][0]),
            "step 'pixels.indices', array 'books': is missing",
        ),
    ],
)
def test_wrong_jobs(job, change, text):
    *_, path = job
    data = json.loads((path / "job.json").read_text())
    change(data)
    write(path / "job.json", data)
    with pytest.raises(LutgenError) as caught:
        jobfile.load(path)
    assert str(caught.value) == f"{path / 'job.json'}: {text}"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda a: a.pop("pixels.bias"), "step 'pixels', array 'bias': is missing"),
        (
            lambda a: a.update({"pixels.bias": a["pixels.bias"][:1]}),
            "step 'pixels', array 'bias': must have the shape 2, not 1",
        ),
        (
            lambda a: a.update({"pixels.bias": a["pixels.bias"] * 0.5}),
            "step 'pixels', array 'bias': must hold integers in 1 dimensions",
        ),
        (
            lambda a: a.update({"pixels.table": a["pixels.table"] + 100}),
            "step 'pixels', array 'table': must hold values of {low}..{high}",
        ),
        (lambda a: a.update(more=np.zeros(1, int)), "array 'more': belongs to no step"),
        (lambda a: a.pop("mapped.map"), "node 'mapped', array 'map': is missing"),
    ],
)
def test_wrong_arrays(job, change, text):
    _, one, path = job
    with np.load(path / "arrays.npz") as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(path / "arrays.npz", **arrays)
    with pytest.raises(LutgenError) as caught:
        jobfile.load(path)
    grid = one.engine.grid
    text = text.replace("{low}", str(grid.low)).replace("{high}", str(grid.high))
    assert str(caught.value) == f"{path / 'job.json'}: {text}"


def test_damaged_files(job):
    *_, path = job
    whole = (path / "arrays.npz").read_bytes()
    for data in (b"", b"PK\x03\x04", whole[:200], b"\x93NUMPY\x01\x00v\x00{"):
        (path / "arrays.npz").write_bytes(data)
        with pytest.raises(LutgenError, match=r"arrays\.npz: is .*; compile the model again$"):
            jobfile.load(path)
    (path / "arrays.npz").unlink()
    with pytest.raises(LutgenError) as caught:
        jobfile.load(path)
    assert str(caught.value) == (f"{path / 'arrays.npz'}: can't be read: no such file or directory")
    (path / "job.json").write_text("[")
    with pytest.raises(LutgenError) as caught:
        jobfile.load(path)
    assert str(caught.value) == (f"{path / 'job.json'}: is not a job; `lutgen compile` makes one")


def test_arrays_never_run_code(job):
    *_, path = job
    with zipfile.ZipFile(path / "arrays.npz", "w") as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array(file, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(LutgenError, match="array 'x': holds Python objects"):
        jobfile.load(path)


def test_a_job_that_can_not_be_written_leaves_the_old_one(job, monkeypatch):
    _, one, path = job
    before = {each.name: each.read_bytes() for each in path.iterdir()}

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(LutgenError) as caught:
        jobfile.save(one, path)
    assert (
        str(caught.value)
        == f"{path}: can't be written: no space left on device; choose another path"
    )
    assert {each.name: each.read_bytes() for each in path.iterdir()} == before
    assert [each.name for each in path.parent.iterdir()] == ["job"]
