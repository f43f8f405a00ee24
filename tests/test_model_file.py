"""`.lut` files: what is written is what is read, and whatever else is read makes one clear line."""

import json
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulation import random_model

from lutgen import LutgenError, __version__
from lutgen.model import digest, load, save
from lutgen.model.file import to_parts


def model_of(seed, **choices):
    return random_model(np.random.default_rng(seed), **choices)


@pytest.fixture
def file(tmp_path):
    """A model with two layers, in a file."""
    path = tmp_path / "net.lut"
    save(model_of(3, layers=2, metric="l1"), path)
    return path


def rewrite(path, change):
    """Writes the file again after ``change(manifest, arrays)``, without the digest."""
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files}
    manifest = json.loads(str(arrays.pop("manifest")))
    manifest["provenance"].pop("sha256", None)
    changed = change(manifest, arrays)
    text = changed if isinstance(changed, str) else json.dumps(manifest)
    with path.open("wb") as out:
        np.savez(out, manifest=np.array(text), **arrays)


def message(path):
    with pytest.raises(LutgenError) as caught:
        load(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith((f"{path}: ", f"{path}, array "))
    return text.removeprefix(f"{path}: ").removeprefix(f"{path}, ")


@given(st.integers(0, 10**6))
def test_round_trip(tmp_path_factory, seed):
    model = model_of(seed)
    path = tmp_path_factory.mktemp("lut") / "net.lut"
    save(model, path)
    again = load(path)
    assert again == model
    assert digest(again) == digest(model)
    ours, theirs = to_parts(model)[1], to_parts(again)[1]
    assert ours.keys() == theirs.keys()
    for key, array in ours.items():
        assert np.array_equal(array, theirs[key])
    assert [p.name for p in path.parent.iterdir()] == ["net.lut"]


def test_digest_follows_contents(file):
    before = digest(load(file))
    rewrite(file, lambda manifest, arrays: manifest.update(provenance={"note": "other"}))
    assert digest(load(file)) == before

    def change(manifest, arrays):
        arrays["fc0.bias"] = arrays["fc0.bias"] + 1

    rewrite(file, change)
    assert digest(load(file)) != before


def test_written_by_numpy_as_documented(file):
    with np.load(file, allow_pickle=False) as archive:
        manifest = json.loads(str(archive["manifest"]))
        assert archive["manifest"].ndim == 0
    assert (manifest["format"], manifest["version"]) == ("lutgen-model", 1)
    assert [node["name"] for node in manifest["nodes"]][-2:] == ["fc0", "fc1"]
    assert __version__


def test_missing(tmp_path):
    assert message(tmp_path / "no.lut") == "can't be read: no such file or directory"
    assert message(tmp_path) == "can't be read: is a directory"


@pytest.mark.parametrize("part", range(40))
def test_cut_short(file, part):
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * part // 40])
    text = message(file)
    assert "damaged" in text or "no .npz archive" in text or "cut short" in text


@pytest.mark.parametrize("part", range(40))
def test_a_flipped_byte_is_noticed(file, part):
    """Archives have checksums and models a digest, so that no flip changes a model in silence."""
    before = digest(load(file))
    data = bytearray(file.read_bytes())
    data[len(data) * part // 40] ^= 0xFF
    file.write_bytes(data)
    try:
        after = digest(load(file))
    except LutgenError:
        after = None
    assert after in (None, before)  # before: a byte of the archive that means nothing


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"\x7fELF" + bytes(500),
        b"PK\x03\x04" + bytes(100),
        json.dumps({"format": "lutgen-core"}).encode(),
        pickle.dumps({"a": 1}),
    ],
)
def test_foreign(tmp_path, data):
    path = tmp_path / "x.lut"
    path.write_bytes(data)
    assert "not a lutgen model" in message(path) or "damaged" in message(path)


def test_what_is_no_model_says_what_to_name(tmp_path):
    """Another file, and what training writes beside a model."""
    path = tmp_path / "digits.v"
    path.write_text("module digits; endmodule")
    assert message(path) == "is not a lutgen model: it is no .npz archive; name a .lut file"
    path = tmp_path / "digits.lut.ckpt"
    manifest = json.dumps({"format": "lutgen-checkpoint", "version": 1})
    with path.open("wb") as file:
        np.savez(file, manifest=np.array(manifest))
    assert message(path) == (
        "is a checkpoint of training, not a model; name the .lut that the training wrote, or go "
        "on from here with `lutgen train --start`"
    )


def test_other_numpy_files(tmp_path):
    path = tmp_path / "x.lut"
    with path.open("wb") as out:
        np.save(out, np.arange(4))
    again = "copy or train it again"
    assert message(path) == f"is not a lutgen model: it is no .npz archive; {again}"
    with path.open("wb") as out:
        np.savez(out, x_train=np.arange(4))
    assert message(path) == "is not a lutgen model: it has no manifest; `lutgen train` makes one"
    with path.open("wb") as out:
        np.savez(out, manifest=np.arange(4))
    assert message(path) == f"manifest: must be one unicode string; {again}"
    with path.open("wb") as out:
        np.savez(out, manifest=np.array({"a": 1}, dtype=object))
    objects = "holds Python objects; save it as an array of numbers"
    assert message(path) == f"array 'manifest': {objects}"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "not a lutgen model" in message(path)


def test_tampered(file):
    def change(manifest, arrays):
        manifest["provenance"]["sha256"] = "0" * 64

    rewrite(file, change)
    assert message(file) == (
        "manifest, field 'provenance': sha256 does not match the contents, the file was changed; "
        "train it again, or delete sha256 if the change is yours"
    )


MANIFESTS = {
    "text": (lambda m: "{", "manifest: is not JSON ("),
    "deep": (lambda m: "[" * 100000, "manifest: is JSON of more than 64 levels; write it anew"),
    "list": (lambda m: "[]", "manifest: must be a JSON object, not []"),
    "format": (
        lambda m: m.update(format="other"),
        "manifest, field 'format': must be 'lutgen-model', not 'other'",
    ),
    "newer": (
        lambda m: m.update(version=2),
        "manifest, field 'version': is 2, newer than 1; upgrade lutgen to read it",
    ),
    "version": (
        lambda m: m.update(version="1"),
        "manifest, field 'version': must be a positive integer, not '1'",
    ),
    "unknown": (
        lambda m: m.update(extra=1),
        "manifest, field 'extra': is unknown to this version; a newer lutgen may have written it",
    ),
    "no nodes": (lambda m: m.pop("nodes") and None, "manifest, field 'nodes': is missing"),
    "nodes": (
        lambda m: m.update(nodes={}),
        "manifest, field 'nodes': must be a list, not {}",
    ),
    "name": (
        lambda m: m.update(name="a b"),
        "field 'name': must be letters, digits and underscores, not 'a b'",
    ),
    "bits": (
        lambda m: m["input"].update(bits=17),
        "manifest, field 'input', field 'bits': must be an integer between 2 and 16, not 17",
    ),
    "bool bits": (
        lambda m: m["input"].update(bits=True),
        "manifest, field 'input', field 'bits': must be an integer between 2 and 16, not True",
    ),
    "scale": (
        lambda m: m["input"].update(scale=float("nan")),
        "manifest: holds NaN, which is no number in JSON; write it anew",
    ),
    "shape": (
        lambda m: m["input"].update(shape=[0]),
        "manifest, field 'input', field 'shape': must be a list of 1 to 3 positive integers, "
        "not [0]",
    ),
    "op": (
        lambda m: m["nodes"][-1].update(op="conv"),
        "node 'fc1', field 'op': must be one of ",
    ),
    "metric": (
        lambda m: m["nodes"][-1].update(metric="cosine"),
        "node 'fc1', field 'metric': must be one of l1, l2, chebyshev, digit, not 'cosine'",
    ),
    "shift": (
        lambda m: m["nodes"][-1].update(shift=32),
        "node 'fc1', field 'shift': must be an integer between 0 and 31, not 32",
    ),
    "features": (
        lambda m: m["nodes"][-1].update(in_features=999),
        "node 'fc1', field 'in_features': must be ",
    ),
    "inputs": (
        lambda m: m["nodes"][-1].update(inputs=["nowhere"]),
        "node 'fc1', field 'inputs': names 'nowhere', which no earlier node has",
    ),
    "two inputs": (
        lambda m: m["nodes"][-1].update(inputs=["fc0", "fc0"]),
        "node 'fc1', field 'inputs': must name 1 node, not 2",
    ),
    "unused": (
        lambda m: m["nodes"].append({"name": "spare", "op": "flatten", "inputs": ["fc0"]}),
        "node 'fc1', field 'name': no later node uses its result",
    ),
    "node name": (
        lambda m: m["nodes"][-1].update(name="../x"),
        "node number ",
    ),
    "grid": (
        lambda m: m["nodes"][-1]["grid"].update(bits=9),
        "node 'fc1', field 'grid', field 'bits': must be an integer between 2 and 8, not 9",
    ),
    "grid kind": (
        lambda m: m["nodes"][-1]["grid"].update(kind=""),
        "node 'fc1', field 'grid', field 'kind': must be a name, not an empty string",
    ),
    "node field": (
        lambda m: m["nodes"][-1].update(colour="red"),
        "node 'fc1', field 'colour': is unknown to this version",
    ),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_bad_manifest(file, case):
    change, text = MANIFESTS[case]
    rewrite(file, lambda manifest, arrays: change(manifest))
    assert message(file).startswith(text)


ARRAYS = {
    "missing": (lambda a: a.pop("fc1.table") * 0, "node 'fc1', array 'table': is missing"),
    "extra": (
        lambda a: a.update({"fc9.table": np.zeros(1, dtype=int)}),
        "array 'fc9.table': belongs to no node",
    ),
    "float": (
        lambda a: a.update({"fc1.table": a["fc1.table"].astype(float)}),
        "node 'fc1', array 'table': must hold integers, not float64",
    ),
    "rank": (
        lambda a: a.update({"fc1.bias": a["fc1.bias"][None]}),
        "node 'fc1', array 'bias': must have the shape ",
    ),
    "scalar": (
        lambda a: a.update({"fc1.bias": a["fc1.bias"][0]}),
        "node 'fc1', array 'bias': must have the shape ",
    ),
    "long": (
        lambda a: a.update({"fc1.bias": np.append(a["fc1.bias"], 0)}),
        "node 'fc1', array 'bias': must have the shape ",
    ),
    "codebooks": (
        lambda a: a.update({"fc1.table": np.concatenate([a["fc1.table"]] * 2)}),
        "node 'fc1', array 'table': must have ",
    ),
    "negative code": (
        lambda a: a.update({"fc1.table": a["fc1.table"].astype(np.int64) - 1000}),
        "node 'fc1', array 'table': must hold values of 0..",
    ),
    "large code": (
        lambda a: a.update({"fc1.table": a["fc1.table"].astype(np.int64) + 1000}),
        "node 'fc1', array 'table': must hold values of 0..",
    ),
    "bias": (
        lambda a: a.update({"fc1.bias": a["fc1.bias"].astype(np.int64) + (1 << 32)}),
        "node 'fc1', array 'bias': must hold values of -2147483648..2147483647, not ",
    ),
    "centroid": (
        lambda a: a.update({"fc1.codebooks": a["fc1.codebooks"].astype(np.int64) + (1 << 20)}),
        "node 'fc1', array 'codebooks': must hold values of ",
    ),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_bad_array(file, case):
    change, text = ARRAYS[case]

    def apply(manifest, arrays):
        change(arrays)

    rewrite(file, apply)
    assert message(file).startswith(text)


def test_padding_of_centroids_must_be_zero(tmp_path):
    rng = np.random.default_rng(0)
    model = next(
        m
        for m in (random_model(rng, layers=1, features=7, metric="l2") for _ in range(100))
        if 7 % m.nodes[-1 if m.nodes[-1].op != "argmax" else -2].subvec
    )
    path = tmp_path / "x.lut"
    save(model, path)

    def change(manifest, arrays):
        arrays["fc0.codebooks"][-1, 0, -1] = 1

    rewrite(path, change)
    assert message(path) == (
        "node 'fc0', array 'codebooks': must be 0 where the last sub-vector is padding"
    )


def test_writing_leaves_the_old_file_or_none(tmp_path, monkeypatch):
    model = model_of(1)
    with pytest.raises(LutgenError, match=r"the folder .* does not exist; make it first$"):
        save(model, tmp_path / "no" / "net.lut")
    with pytest.raises(LutgenError, match=r"is a folder; name a file to write$"):
        save(model, tmp_path)

    path = tmp_path / "net.lut"
    path.write_text("old")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(LutgenError, match="can't be written: no space left on device"):
        save(model, path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["net.lut"]
