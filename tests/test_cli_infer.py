"""`lutgen infer`: the golden outputs in a file, the accuracy, refusals."""

import json

import numpy as np
import pytest

from lutgen.cli.main import main
from lutgen.model import load, save
from lutgen.train import load_data, train


@pytest.fixture(scope="module")
def digits_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("infer") / "digits.lut"
    data = load_data("digits", seed=3)
    save(train(data, arch=(), centroids=4, float_epochs=4, epochs=1).model, path)
    return path


@pytest.fixture
def data(tmp_path):
    x = load_data("digits").x_test[:20]
    path = tmp_path / "d.npz"
    np.savez(path, x_test=x, y_test=np.zeros(20, dtype=int))
    return path


def test_writes_outputs_and_classes(digits_model, data, tmp_path, capsys):
    target = tmp_path / "p.npz"
    assert main(["infer", str(digits_model), "--data", str(data), "-o", str(target)]) == 0
    found = load(digits_model).predict(np.load(data)["x_test"])
    with np.load(target) as written:
        assert sorted(written.files) == ["classes", "outputs"]
        assert written["outputs"].dtype == np.int64
        assert np.array_equal(written["outputs"], found.outputs)
        assert np.array_equal(written["classes"], found.classes)
    accuracy = 100 * np.mean(found.classes == 0)
    line = f"{digits_model}: 20 samples of {data}, accuracy {accuracy:.2f} %\n"
    assert capsys.readouterr().out == line


def test_digits_are_split_as_in_the_training(digits_model, capsys):
    assert main(["infer", str(digits_model), "--data", "digits", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["accuracy"] == load(digits_model).provenance["accuracy"]["model"]
    assert main(["infer", str(digits_model), "--data", "digits", "--seed", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] != report["accuracy"]


def test_no_labels(digits_model, data, tmp_path, capsys):
    np.savez(data, x_test=np.load(data)["x_test"])
    assert main(["infer", str(digits_model), "--data", str(data)]) == 0
    assert capsys.readouterr().out.endswith(", no labels\n")
    assert main(["infer", str(digits_model), "--data", str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] is None


def refusal(capsys, *arguments):
    assert main(["infer", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    return err.removeprefix("lutgen: error: ").rstrip("\n")


def test_refuses(digits_model, data, tmp_path, capsys):
    np.savez(tmp_path / "small.npz", x_test=np.zeros((3, 7)))
    small = tmp_path / "small.npz"
    assert refusal(capsys, digits_model, "--data", small, "-o", tmp_path / "p.npz") == (
        f"{small}, array 'x_test': Samples must have the shape 8x8x1 (rows, columns, channels), as "
        "the model's input, not 7; give samples as the model was trained on"
    )
    assert refusal(capsys, digits_model, "--data", data, "--seed", "-2") == (
        "--seed: Seed must be a non-negative integer, not -2"
    )
    assert refusal(capsys, data, "--data", data) == (
        f"{data}: is not a lutgen model: it has no manifest; `lutgen train` makes one"
    )
    absent = tmp_path / "absent" / "p.npz"
    assert refusal(capsys, digits_model, "--data", data, "-o", absent) == (
        f"{absent}: the folder {absent.parent} does not exist; make it first"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.npz", "small.npz"]


def test_labels_of_other_data(digits_model, tmp_path, capsys):
    path = tmp_path / "other.npz"
    np.savez(path, x_test=load_data("digits").x_test[:3], y_test=[0, 1, 12])
    assert main(["infer", str(digits_model), "--data", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"lutgen: error: {path}, array 'y_test': Labels must be classes 0..9, which the "
        "model tells apart, not 12; take the data that it was trained for\n"
    )
