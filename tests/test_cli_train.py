"""`lutgen train`: statuses, messages, and what stays on disk."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lutgen.cli import train as command
from lutgen.cli.main import main
from lutgen.cli.train_report import LAYER_HEADERS
from lutgen.model import load
from lutgen.train import Augment, train

QUICK = ["--arch", "12", "--centroids", "4", "--float-epochs", "4", "--epochs", "2"]


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = np.clip(y[:, None] * 100 + rng.integers(0, 100, (80, 8)), 0, 255).astype(np.uint8)
    path = tmp_path / "my-set.npz"
    np.savez(path, x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    return path


@pytest.fixture
def images(tmp_path):
    """Two classes of 4x6 grey images."""
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    x = np.clip(y[:, None, None] * 60 + rng.integers(0, 200, (80, 4, 6)), 0, 255).astype(np.uint8)
    path = tmp_path / "images.npz"
    np.savez(path, x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    return path


@pytest.fixture
def network(tmp_path):
    """A network for them: a convolution, a pool and a linear layer of 2 classes."""
    onnx = pytest.importorskip(
        "onnx", reason="onnx is not installed; run: pip install 'lutgen[onnx]'"
    )
    rng = np.random.default_rng(1)
    weights = {
        "w1": rng.standard_normal((4, 1, 3, 3)) / 100,
        "w2": np.vstack([np.full(24, -1.0), np.full(24, 1.0)]),
        "b2": np.array([3.0, -3.0]),
    }
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            node("Conv", ["x", "w1"], ["a"], name="conv1", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"], name="relu1"),
            node("MaxPool", ["b"], ["c"], name="pool1", kernel_shape=[2, 2], strides=[2, 2]),
            node("Flatten", ["c"], ["d"], name="flatten"),
            node("Gemm", ["d", "w2", "b2"], ["y"], name="fc1", transB=1),
        ],
        "g",
        [info("x", onnx.TensorProto.FLOAT, ["n", 1, 4, 6])],
        [info("y", onnx.TensorProto.FLOAT, None)],
        [
            onnx.numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in weights.items()
        ],
    )
    path = tmp_path / "net.onnx"
    path.write_bytes(
        onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
        ).SerializeToString()
    )
    return path


def files(folder):
    return sorted(path.name for path in folder.iterdir())


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
    lines = out.splitlines()
    assert lines[0].startswith(f"{target}: ")
    assert lines[1].split("  ")[0] == LAYER_HEADERS[0] == "layer"
    assert [line.split()[:8] for line in lines[3:5]] == [
        ["fc1", "8x12", "linear", "l1", "4", "4", "8", "96"],
        ["fc2", "12x2", "linear", "l1", "4", "4", "8", "24"],
    ]
    names = [line.split()[1] for line in lines[5:]]
    assert names == ["float", "replace", "refit", "joint", "model"]
    assert all(re.match(r"accuracy  \w+ [\d.]+ %(, (kept|thrown) .+)?$", x) for x in lines[5:])
    assert "joint 2/2" in err
    model = load(target)
    assert model.name == "my_set"
    assert model.provenance["settings"]["epochs"] == 2
    assert files(tmp_path) == ["m.lut", "my-set.npz"]


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
    assert report["settings"] == model.provenance["settings"]
    assert model.nodes[-1].name == "argmax"
    assert list(report["accuracy"]) == ["float", "replace", "refit", "joint", "model", "held_out"]
    assert [layer["name"] for layer in report["layers"]] == ["fc1", "fc2"]
    assert [len(report["curves"][stage]) for stage in ("float", "joint")] == [4, 2]
    assert set(report["curves"]["joint"][0]) == {
        *("loss", "accuracy", "held_loss", "held_accuracy")
    }
    assert report["diverged"] is None


def test_every_option_reaches_the_library(data, tmp_path, monkeypatch):
    """Nothing is lost or renamed between the command line and `lutgen.train.train`."""
    seen = {}

    def spy(*args, **options):
        seen.update(options)
        return train(*args, **options)

    monkeypatch.setattr(command, "train", spy)
    options = (
        "--arch 12 --subvec 2 --centroids 8 --metric l2 --table-bits 6 --activation-bits 7 "
        "--encode window --order hwc --tables tied --stages joint,refit --layer fc1.table-bits=5 "
        "--layer fc1.metric=chebyshev --layer fc2.subvec=3 --set joint.learning-rate=1e-4 "
        "--set joint.train=books,bias --set refit.ridge=1 --set float.batch=7 --augment noise=0.2 "
        "--threads 2 --seed 4 --float-epochs 2 --epochs 1"
    )
    assert main(["train", str(data), *options.split(), "-o", str(tmp_path / "m.lut")]) == 0
    for name in ("progress", "notice", "net", "checkpoint", "start", "name"):
        del seen[name]
    assert seen == {
        "arch": (12,),
        "subvec": 2,
        "centroids": 8,
        "metric": "l2",
        "table_bits": 6,
        "activation_bits": 7,
        "encode": "window",
        "order": "hwc",
        "tables": "tied",
        "stages": ("joint", "refit"),
        "layers": {"fc1": {"table_bits": 5, "metric": "chebyshev"}, "fc2": {"subvec": 3}},
        "settings": {
            "joint": {"learning_rate": 1e-4, "train": "books,bias"},
            "refit": {"ridge": 1},
            "float": {"batch": 7},
        },
        "augment": Augment(noise=0.2),
        "threads": 2,
        "seed": 4,
        "float_epochs": 2,
        "epochs": 1,
        "argmax": False,
    }


def test_curves(data, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="needs lutgen[plot]")
    picture, target = tmp_path / "c.svg", tmp_path / "m.lut"
    assert main(["train", str(data), *QUICK, "-o", str(target), "--curves", str(picture)]) == 0
    assert "<!-- joint -->" in picture.read_text()
    capsys.readouterr()
    assert refusal(capsys, data, "-o", target, "--curves", tmp_path / "c.jpg") == (
        f"{tmp_path / 'c.jpg'}: is no picture's name; end it in .png or .svg"
    )


# ONNX.


def test_a_network_from_onnx(images, network, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="needs lutgen[plot]")
    target, picture = tmp_path / "m.lut", tmp_path / "c.png"
    options = ["--onnx", network, "--layer", "conv1.encode=window", "--layer", "conv1.subvec=3"]
    options += ["--centroids", "8", "--stages", "replace,refit", "--curves", picture, "--json"]
    assert main(["train", str(images), *map(str, options), "-o", str(target)]) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert [(x["name"], x["encode"]) for x in report["layers"]] == [
        *(("conv1", "window"), ("fc1", "linear"))
    ]
    assert [x["subvec"] for x in report["layers"]] == [3, 4]
    assert report["settings"]["arch"] is None
    assert report["curves"] == {"float": []}
    # Nobody trained it.
    assert err.splitlines()[0] == (
        f"lutgen: warning: {network} and {images}: Network is hardly better than guessing on these "
        "test samples; they must come as they did in its training, in the same units"
    )
    assert err.splitlines()[-1] == (
        f"lutgen: warning: {picture}: not drawn, as no stage had an epoch"
    )
    assert [node.name for node in load(target).nodes] == ["conv1", "pool1", "flatten", "fc1"]


def test_networks_and_data_that_do_not_go_together(images, data, network, tmp_path, capsys):
    target = tmp_path / "m.lut"

    def said(samples, *options, net=network):
        return refusal(capsys, samples, "--onnx", net, *options, "-o", target)

    assert said(data) == (
        f"{network} and {data}: Network must read samples of the shape 8, as x_train holds, not "
        "4x6x1 (rows, columns, channels); give samples as the network reads them"
    )
    with np.load(images) as file:
        arrays = dict(file)
    arrays["y_train"][:3] = 2
    np.savez(tmp_path / "three.npz", **arrays)
    assert said(tmp_path / "three.npz") == (
        f"{network} and {tmp_path / 'three.npz'}: Network must have an output for each of the 3 "
        "classes that labels tell apart, not 2; the first sample with a greater label is y_train[0]"
    )
    whole = network.read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(whole[:150])
    assert said(images, net=cut) == (
        f"{cut}: is no ONNX file, or is damaged or cut short; copy or export it again"
    )
    cut.write_bytes(whole.replace(b"Relu", b"Selu"))
    assert said(images, net=cut) == (
        f"{cut}: 1 node can't be converted: 'relu1' (Selu): is not supported - train it with "
        "ReLU instead"
    )
    assert said(images, "--layer", "conv2.subvec=2") == (
        "--layer: Layer 'conv2' does not exist; there are conv1, fc1"
    )
    assert said(images, "--float-epochs", "2") == (
        "--float-epochs: the network of --onnx comes trained; leave this out"
    )
    assert said(images, "--set", "float.batch=2") == (
        "--set: the network of --onnx comes trained; leave this out"
    )
    assert said(images, "--arch", "12") == (
        "argument --arch: not allowed with argument --onnx; see `lutgen train --help`"
    )
    assert said(images, "--augment", "shift=4") == (
        "--augment: Augmentation must shift by less than the 4 pixels of a side, not 4"
    )
    weights = np.frombuffer(whole, np.uint8).copy()
    at = whole.index(np.array([3.0, -3.0], np.float32).tobytes())
    weights[at : at + 4] = np.frombuffer(np.float32(np.nan).tobytes(), np.uint8)
    cut.write_bytes(weights.tobytes())
    assert said(images, net=cut) == (
        f"{cut}: 1 node can't be converted: 'fc1' (Gemm): its bias 'b2' holds NaN or infinity - "
        "train and export it again"
    )
    assert not target.exists()
    assert not (tmp_path / "m.lut.ckpt").exists()


# Refusals.


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
        (["--arch", "lenet5"], "--arch: lenet5 reads images (H, W, C), not vectors of 8"),
        (["--encode", "tile"], "--encode: Encode must be one of pixel, window, not 'tile'"),
        (["--order", "cwh"], "--order: Order must be one of hwc, chw, not 'cwh'"),
        (["--tables", "bound"], "--tables: Tables must be one of free, tied, not 'bound'"),
        (["--layer", "fc1"], "--layer: must be NAME.KEY=VALUE, not 'fc1'"),
        (["--layer", "fc1.subvec"], "--layer: must be NAME.KEY=VALUE, not 'fc1.subvec'"),
        (
            ["--layer", "fc1.subvec=two"],
            "--layer: Layer 'fc1': Sub-vector length must be an integer, not 'two'",
        ),
        (
            ["--layer", "fc1.lanes=2"],
            "--layer: Layer 'fc1' has no setting 'lanes'; there are subvec, centroids, metric, "
            "table-bits, activation-bits, encode, order",
        ),
        (
            ["--layer", "fc9.subvec=2"],
            "--layer: Layer 'fc9' does not exist; there are fc1, fc2, fc3",
        ),
        (
            ["--layer", "fc1.encode=window"],
            "--layer: Layer 'fc1' is linear and has no setting 'encode'",
        ),
        (["--set", "joint=2"], "--set: must be STAGE.KEY=VALUE, not 'joint=2'"),
        (
            ["--set", "train.batch=2"],
            "--set: Stage of a setting must be one of float, replace, refit, narrow, calibrate, "
            "joint, not 'train'",
        ),
        (
            ["--set", "refit.epochs=2"],
            "--set: Setting 'epochs' of stage 'refit' does not exist; there are samples, restarts, "
            "ridge",
        ),
        (
            ["--set", "joint.learning-rate=fast"],
            "--set: Setting 'learning-rate' of stage 'joint' must be a number, not 'fast'",
        ),
        (
            ["--set", "joint.learning-rate=nan"],
            "--set: Setting 'learning-rate' of stage 'joint' must be a number from 0 to 1e+30, not "
            "nan",
        ),
        (
            ["--stages", "train"],
            "--stages: Stage must be one of replace, refit, narrow, calibrate, joint, not 'train'",
        ),
        (
            ["--stages", "narrow"],
            "--stages: Stage narrow must have a checkpoint of other table bits as its start",
        ),
        (
            ["--stages", "joint"],
            "--stages: Stages must hold replace or refit where no checkpoint is started from",
        ),
        (
            ["--augment", "flip"],
            "--augment: Augmentation by flip or shift must have images, but the network reads "
            "vectors",
        ),
        (
            ["--augment", "noise=nan"],
            "--augment: Augmentation must have noise from 0 to 10 times the greatest input, not "
            "nan",
        ),
        (
            ["--augment", "noise=1e300"],
            "--augment: Augmentation must have noise from 0 to 10 times the greatest input, not "
            "1e+300",
        ),
        (
            ["--threads", "0"],
            "argument --threads: must be an integer of at least 1, not '0'; see `lutgen train "
            "--help`",
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
    assert text == (
        "argument --arch: must be layer sizes such as 256,128, or lenet5 or resnet8, not '12,x'; "
        "see `lutgen train --help`"
    )


@pytest.mark.parametrize("what", ["flop", "flip=2", "shift=1.5", "shift=-1", "noise", "flip,,", ""])
def test_refuses_augmentations_that_are_none(data, tmp_path, capsys, what):
    assert refusal(capsys, data, "--augment", what, "-o", tmp_path / "m.lut") == (
        "argument --augment: must be none, or any of flip, shift=PIXELS and noise=PART such as "
        f"flip,shift=4, not {what!r}; see `lutgen train --help`"
    )


def test_refuses_data_and_targets_before_work(data, tmp_path, capsys):
    absent = tmp_path / "absent" / "m.lut"
    assert refusal(capsys, data, "-o", absent) == (
        f"{absent}: the folder {absent.parent} does not exist; make it first"
    )
    missing = tmp_path / "no.npz"
    assert refusal(capsys, missing, "-o", tmp_path / "m.lut") == (
        f"{missing}: no such file; name an .npz file, or the built-in set 'digits'"
    )


def test_no_file_is_written_twice_or_read_too(data, tmp_path, capsys):
    target = tmp_path / "m.lut"
    same = ["--checkpoint", tmp_path / "." / "m.lut"]
    assert refusal(capsys, data, "-o", target, *same) == (
        f"--checkpoint: {target} is written by -o too; name another file"
    )
    assert refusal(capsys, data, "-o", target, "--checkpoint", data) == (
        f"{data}: is read here too; choose another path"
    )
    for _ in range(2):  # whether it is there or not
        assert refusal(capsys, data, "-o", target, "--start", f"{target}.ckpt") == (
            f"--start: {target}.ckpt is the checkpoint that this run writes; name another with "
            "--checkpoint"
        )
        (tmp_path / "m.lut.ckpt").write_text("")


# Checkpoints.


def interrupt_at(monkeypatch, stage, done):
    """Ctrl-C when that step is reported; gives the switch to take it away again."""
    real = command.Reporter.report

    def report(self, progress):
        real(self, progress)
        if (progress.stage, progress.done) == (stage, done) and progress.seconds_left is not None:
            raise KeyboardInterrupt

    monkeypatch.setattr(command.Reporter, "report", report)
    return lambda: monkeypatch.setattr(command.Reporter, "report", real)


def test_an_interrupted_run_says_how_to_go_on(data, tmp_path, capsys, monkeypatch):
    argv = ["train", str(data), *QUICK, "-o", str(tmp_path / "m.lut")]
    allow = interrupt_at(monkeypatch, "joint", 1)
    assert main(argv) == 130
    mark = tmp_path / "m.lut.ckpt"
    out, err = capsys.readouterr()
    assert out == ""
    said = f"lutgen: interrupted; the same command goes on from {mark}"
    assert err.splitlines()[-1] == said
    assert files(tmp_path) == ["m.lut.ckpt", "my-set.npz"]
    allow()
    assert refusal(capsys, *argv[1:], "--seed", "1") == (
        f"{mark}: is the checkpoint of another run (other seed); delete it to start anew, or name "
        "another with --checkpoint"
    )
    assert main(argv) == 0
    err = capsys.readouterr().err
    assert err.splitlines()[0] == f"joint 1/2, going on from {mark}"
    assert files(tmp_path) == ["m.lut", "my-set.npz"]
    assert main([*argv[:-1], str(tmp_path / "n.lut")]) == 0
    assert (tmp_path / "m.lut").read_bytes() == (tmp_path / "n.lut").read_bytes()


def test_interrupted_before_there_is_a_checkpoint(data, tmp_path, capsys, monkeypatch):
    def load(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "load_data", load)
    assert main(["train", str(data), *QUICK, "-o", str(tmp_path / "m.lut")]) == 130
    assert capsys.readouterr().err == "lutgen: interrupted\n"


def test_a_named_checkpoint_is_kept_and_started_from(data, tmp_path, capsys):
    mark = tmp_path / "kept.ckpt"
    start = [*QUICK, "--stages", "replace,refit", "--checkpoint", str(mark)]
    assert main(["train", str(data), *start, "-o", str(tmp_path / "a.lut")]) == 0
    assert files(tmp_path) == ["a.lut", "kept.ckpt", "my-set.npz"]
    joint = [*QUICK, "--stages", "joint", "--start", str(mark), "-o", str(tmp_path / "b.lut")]
    assert main(["train", str(data), *joint]) == 0
    assert main(["train", str(data), *QUICK, "-o", str(tmp_path / "c.lut")]) == 0
    capsys.readouterr()
    tables = [load(tmp_path / f"{name}.lut").nodes[0].table for name in "abc"]
    assert np.array_equal(tables[1], tables[2])
    other = ["--arch", "13", *QUICK[2:], "--start", mark, "-o", tmp_path / "d.lut"]
    assert refusal(capsys, data, *other) == (
        f"{mark}: is a checkpoint of a run that does not go with this one (other arch); give the "
        "same, or name another"
    )


def test_killed_it_goes_on_when_the_command_is_given_again(data, tmp_path):
    """A real kill, wherever the run then stands behind its first epoch of the stage joint."""
    options = ["--arch", "12", "--centroids", "4", "--float-epochs", "3", "--epochs", "60"]

    def start(name):
        return subprocess.Popen(
            [sys.executable, "-m", "lutgen", "train", str(data), *options, "-o", name],
            cwd=tmp_path,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stage():
        try:
            with np.load(tmp_path / "killed.lut.ckpt") as file:
                known = json.loads(str(file["manifest"]))
        except FileNotFoundError:
            return ""
        return known["stage"]

    process = start("killed.lut")
    deadline = time.monotonic() + 60
    while stage() != "joint":
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed.lut").exists()
    again, whole = start("killed.lut"), start("whole.lut")
    _, err = again.communicate(timeout=60)
    # A kill in the middle of a checkpoint leaves a part of one, which is swept first.
    first = next(line for line in err.splitlines() if "left half written" not in line)
    assert first.startswith("joint ")
    assert first.endswith("/60, going on from killed.lut.ckpt")
    whole.communicate(timeout=60)
    assert again.returncode == whole.returncode == 0
    assert (tmp_path / "killed.lut").read_bytes() == (tmp_path / "whole.lut").read_bytes()
    assert not list(tmp_path.glob("*.ckpt"))


# Divergence.


def test_a_diverged_run_saves_the_last_good_state_and_says_so(data, tmp_path, capsys):
    target = tmp_path / "m.lut"
    wild = [*QUICK, "--set", "joint.learning-rate=1e9", "-o", str(target)]
    for _ in range(2):  # it goes on from the last good state, and diverges again
        assert main(["train", str(data), *wild]) == 1
        out, err = capsys.readouterr()
        assert out.startswith(f"{target}: ")
        assert err.splitlines()[-1].startswith(
            "lutgen: warning: Stage joint: Training diverged in epoch 1: "
        )
        assert err.splitlines()[-1].endswith(
            "; lower its learning rate with --set joint.learning-rate=RATE; "
            f"{target} holds the last good state, from which --start {target}.ckpt --stages joint "
            "with another -o goes on"
        )
    assert files(tmp_path) == ["m.lut", "m.lut.ckpt", "my-set.npz"]
    mended = [*QUICK, "--stages", "joint", "--start", f"{target}.ckpt"]
    assert main(["train", str(data), *mended, "-o", str(tmp_path / "n.lut"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["diverged"] is None
    assert main(["train", str(data), *wild, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["diverged"].startswith("Stage joint: ")
    other = str(tmp_path / "o.lut")  # one whose first epoch diverges has no state of its own
    again = [*mended, "--set", "joint.learning-rate=1e9", "-o", other]
    assert main(["train", str(data), *again]) == 1
    assert f"from which --start {target}.ckpt --stages joint" in capsys.readouterr().err
    assert files(tmp_path) == ["m.lut", "m.lut.ckpt", "my-set.npz", "n.lut", "o.lut"]


def test_a_diverged_float_network_leaves_nothing(data, tmp_path, capsys):
    wild = [*QUICK, "--set", "float.learning-rate=1e30", "-o", str(tmp_path / "m.lut")]
    assert main(["train", str(data), *wild]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "lutgen: error: Stage float: Training diverged in epoch 2: the loss is nan; lower its "
        "learning rate with --set float.learning-rate=RATE"
    )
    assert files(tmp_path) == ["my-set.npz"]


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
    assert err.count("\n") == 4  # one for each stage
    assert "\r\x1b[Kfloat 1/4" in err


def test_what_is_said_on_a_terminal_stands_on_a_line_of_its_own(
    data, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    interrupt_at(monkeypatch, "float", 2)
    assert main(["train", str(data), *QUICK, "-o", str(tmp_path / "m.lut")]) == 130
    lines = capsys.readouterr().err.split("\n")
    assert lines[-3].split("\x1b[K")[-1].startswith("float 2/4, loss ")
    assert lines[-2].startswith("lutgen: interrupted; ")


def test_a_place_that_refuses_files_is_found_before_any_work(data, tmp_path, capsys, monkeypatch):
    """Where the folder's mode allows what the file system does not."""

    def refused(path, **_):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(command.Path, "touch", refused)
    monkeypatch.setattr(command, "load_data", lambda *_, **__: pytest.fail("data were read"))
    target = tmp_path / "m.lut"
    assert refusal(capsys, data, *QUICK, "-o", target) == (
        f"{target}: can't be written: read-only file system; choose another path"
    )
    assert files(tmp_path) == ["my-set.npz"]


@pytest.mark.parametrize("stages", ["replace,refit", "replace,joint"])
def test_epochs_without_a_joint_stage_are_said_to_be_unused(data, tmp_path, capsys, stages):
    options = [str(data), *QUICK, "--stages", stages, "-o", str(tmp_path / "m.lut")]
    assert main(["train", *options]) == 0
    warning = (
        "lutgen: warning: --epochs: are those of the stage joint, which is not among the stages "
        "replace, refit; left unused\n"
    )
    assert (warning in capsys.readouterr().err) == (stages == "replace,refit")
