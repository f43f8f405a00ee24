"""`lutgen train`: statuses, messages, and what stays on disk."""

import json

import numpy as np
import pytest

from lutgen.cli import train as command
from lutgen.cli.main import main
from lutgen.model import load

QUICK = ["--arch", "12", "--centroids", "4", "--float-epochs", "4", "--epochs", "2"]


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = np.clip(y[:, None] * 100 + rng.integers(0, 100, (80, 8)), 0, 255).astype(np.uint8)
    path = tmp_path / "my-set.npz"
    np.savez(path, x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    return path


def refusal(capsys, *arguments):
    assert main(["train", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1
    return err.removeprefix("lutgen: error: ").rstrip("\n")


def test_trains_and_says_so(data, tmp_path, capsys):
    target = tmp_path / "m.lut"
    assert main(["train", str(data), *QUICK, "-o", str(target)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{target}: ")
    assert out.count("\n") == 1
    assert "joint 2/2" in err
    model = load(target)
    assert model.name == "my_set"
    assert model.provenance["settings"]["epochs"] == 2


def test_json_is_all_of_standard_output(data, tmp_path, capsys):
    target = tmp_path / "m.lut"
    options = ["--name", "tiny", "--argmax", "--metric", "l2", "--table-bits", "6"]
    assert main(["train", str(data), *QUICK, *options, "-o", str(target), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    model = load(target)
    assert report["name"] == model.name == "tiny"
    assert report["sha256"] == model.provenance["sha256"]
    assert report["accuracy"]["model"] == model.provenance["accuracy"]["model"]
    assert report["settings"]["table_bits"] == 6
    assert model.nodes[-1].name == "argmax"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--centroids", "1"], "--centroids: Centroids must be an integer of at least 2, not 1"),
        (
            ["--metric", "l3"],
            "--metric: Metric must be one of l1, l2, chebyshev, digit, not 'l3'",
        ),
        (
            ["--table-bits", "9"],
            "--table-bits: Table bits must be an integer between 2 and 8, not 9",
        ),
        (
            ["--activation-bits", "17"],
            "--activation-bits: Activation bits must be an integer between 2 and 16, not 17",
        ),
        (
            ["--subvec", "9"],
            "--subvec: Sub-vector length must not exceed the 8 inputs of layer 1, as 9 does",
        ),
        (["--arch", "0"], "--arch: Layer size must be an integer between 1 and 65536, not 0"),
        (["--seed", "-1"], "--seed: Seed must be a non-negative integer, not -1"),
        (["--epochs", "-1"], "--epochs: Epochs must be a non-negative integer, not -1"),
        (
            ["--float-epochs", "0"],
            "--float-epochs: Float epochs must be a positive integer, not 0",
        ),
        (
            ["--name", "a b"],
            "--name: must be letters, digits and underscores, a letter first, not 'a b'",
        ),
    ],
)
def test_refuses_options(data, tmp_path, capsys, options, text):
    assert refusal(capsys, data, *options, "-o", tmp_path / "m.lut") == text
    assert not (tmp_path / "m.lut").exists()


def test_refuses_layer_sizes_that_are_no_numbers(data, tmp_path, capsys):
    text = refusal(capsys, data, "--arch", "12,x", "-o", tmp_path / "m.lut")
    assert "--arch: must be layer sizes such as 256,128, not '12,x'" in text


def test_refuses_data_and_targets_before_work(data, tmp_path, capsys):
    absent = tmp_path / "absent" / "m.lut"
    assert refusal(capsys, data, "-o", absent) == (
        f"{absent}: the folder {absent.parent} does not exist; make it first"
    )
    missing = tmp_path / "no.npz"
    assert refusal(capsys, missing, "-o", tmp_path / "m.lut") == (
        f"{missing}: no such file; name an .npz file, or the built-in set 'digits'"
    )


def test_an_interrupted_run_leaves_nothing(data, tmp_path, capsys, monkeypatch):
    def interrupt(self, progress):
        if progress.stage == "joint":
            raise KeyboardInterrupt

    monkeypatch.setattr(command.Reporter, "report", interrupt)
    assert main(["train", str(data), *QUICK, "-o", str(tmp_path / "m.lut")]) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["my-set.npz"]


def test_a_defect_is_not_taken_for_bad_input(data, tmp_path, monkeypatch):
    def fail(*rest, **options):
        raise ValueError("operands could not be broadcast")

    monkeypatch.setattr(command, "train", fail)
    with pytest.raises(ValueError, match="operands"):
        main(["train", str(data), "-o", str(tmp_path / "m.lut")])


def test_a_terminal_gets_one_line_that_changes(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert main(["train", str(data), *QUICK, "-o", str(tmp_path / "m.lut")]) == 0
    err = capsys.readouterr().err
    assert err.count("\n") == 3  # one for each stage
    assert "\r\x1b[Kfloat 1/4" in err
