"""Training from end to end: accuracy, the same integers outside as inside, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from training import QUICK, image_net, small

from lutgen.model import Activation, Argmax, LutConv2d, digest, load, save
from lutgen.train import (
    Augment,
    Dataset,
    Diverged,
    Flatten,
    FloatNet,
    Linear,
    load_data,
    train,
)
from lutgen.train.inputs import input_activation
from lutgen.train.pipeline import model_name
from lutgen.train.progress import Clock

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist.npz"


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


def agrees(result, data):
    """Golden inference of the model gives what the training network gives, number for number."""
    found = result.model.predict(data.x_test)
    q = result.model.quantise(data.x_test).reshape(len(data.x_test), -1)
    same = np.array_equal(found.outputs, result.network.outputs(q))
    return same and np.mean(found.classes == data.y_test) == result.model_accuracy


def test_digits_reach_95_percent_and_the_file_says_the_same(digits, tmp_path):
    result = train(digits, epochs=25)
    assert result.model_accuracy >= 0.95
    assert agrees(result, digits)
    assert result.model.input == Activation(5, False, 1.0)
    assert [node.name for node in result.model.nodes] == ["flatten", "fc1", "fc2", "fc3"]
    assert list(result.accuracy) == ["float", "replace", "refit", "joint", "model"]
    assert result.accuracy["model"] == result.accuracy["joint"] >= result.accuracy["refit"]
    save(result.model, tmp_path / "m.lut")
    again = load(tmp_path / "m.lut")
    assert np.array_equal(
        again.predict(digits.x_test).outputs, result.model.predict(digits.x_test).outputs
    )
    provenance = again.provenance
    assert provenance["accuracy"] == {
        "float": result.float_accuracy,
        "model": result.model_accuracy,
    }
    assert provenance["seed"] == 0
    assert provenance["settings"]["subvec"] == 4
    assert provenance["settings"]["augment"] == {"flip": False, "shift": 0, "noise": 0.1}


@pytest.mark.parametrize(
    "options",
    [
        {"metric": "l2", "table_bits": 4, "activation_bits": 4},
        {"metric": "chebyshev", "subvec": 3, "centroids": 5},
        {"metric": "l1", "subvec": 10, "activation_bits": 16, "table_bits": 2},
        {"metric": "digit", "centroids": 16},
        {"metric": "digit", "centroids": 2, "table_bits": 12, "activation_bits": 5},
        {"arch": (), "subvec": 7},
        {"tables": "tied", "stages": ("refit", "calibrate")},
        {"layers": {"fc1": {"metric": "digit", "centroids": 4}, "fc2": {"subvec": 5}}},
    ],
    ids=str,
)
@pytest.mark.parametrize("span", [(0.0, 3.7), (-2.0, 1.0)])
def test_every_kind_of_layer_exports_what_it_trained(options, span):
    data = small(low=span[0], high=span[1])
    # A codebook of the whole input has few ways to be right: k-means needs more than one try.
    settings = {"refit": {"restarts": 5}}
    result = train(data, **{**QUICK, "float_epochs": 200, "settings": settings, **options})
    assert agrees(result, data)
    assert result.model.input.signed == (span[0] < 0)
    assert result.model_accuracy >= 0.8


def test_images_and_argmax(tmp_path):
    data = small(shape=(2, 3, 2))
    result = train(data, **QUICK, argmax=True, name="m")
    assert result.model.shape == (2, 3, 2)
    assert result.model.name == "m"
    assert isinstance(result.model.nodes[-1], Argmax)
    assert agrees(result, data)


@pytest.mark.parametrize("encode", ["pixel", "window"])
def test_convolutions(encode):
    data = small(shape=(6, 6, 2))
    result = train(
        data, net=image_net(), **QUICK, encode=encode, layers={"conv1": {"subvec": 2}}, threads=2
    )
    conv = result.model.nodes[0]
    assert isinstance(conv, LutConv2d)
    assert (conv.encode, conv.subvec) == (encode, 2)
    assert agrees(result, data)
    assert result.model_accuracy >= 0.8
    assert set(result.curves) == {"joint"}
    assert len(result.curves["joint"]) == QUICK["epochs"]
    assert len(result.float_losses) == QUICK["float_epochs"]


def test_hidden_channels_of_perceptrons_weigh_the_same():
    perceptron = train(small(), **{**QUICK, "arch": (12, 8)}).origin
    for layer in [k for k in perceptron.layers if isinstance(k, Linear)][1:]:
        size = np.sqrt((layer.weight**2).sum(axis=(0, 2)))
        np.testing.assert_allclose(size, size[0], rtol=1e-4)
    images = train(small(shape=(6, 6, 2)), net=image_net(), **QUICK).origin
    size = np.sqrt((images.layers[-1].weight ** 2).sum(axis=(0, 2)))
    assert size.max() > 1.01 * size.min()


def test_a_network_that_comes_trained_stays_as_it_is():
    data = small(shape=(6, 6, 2))
    first = train(data, net=image_net(), **QUICK)
    net = first.origin
    before = [array.copy() for array in net.state()]
    result = train(data, net=net, **{**QUICK, "float_epochs": None})
    assert all(np.array_equal(*pair) for pair in zip(before, net.state(), strict=True))
    assert not result.float_losses
    assert result.model.provenance["settings"]["arch"] is None
    assert result.model_accuracy >= 0.8
    assert agrees(result, data)


def test_the_seed_fixes_everything_and_threads_nothing():
    for data, more in ((small(), {}), (small(shape=(6, 6, 2)), {"net": image_net()})):
        runs = [
            train(data, **QUICK, **more, seed=seed, threads=threads)
            for seed, threads in ((1, 1), (1, 1), (1, 3), (2, 1))
        ]
        first, second, third, other = (digest(run.model) for run in runs)
        assert first == second == third != other
        assert runs[0].curves == runs[1].curves == runs[2].curves
        assert runs[0].layers == runs[2].layers


def test_test_samples_do_not_steer():
    data = small()
    blind = Dataset(data.name, data.x_train, data.y_train, data.x_test, (data.y_test + 1) % 3)
    first, second = (train(d, **QUICK).model for d in (data, blind))
    assert np.array_equal(first.nodes[-1].table, second.nodes[-1].table)


def test_progress_counts_every_stage():
    seen = []
    stages = ("joint", "calibrate", "refit", "replace")  # their order is ours
    train(small(), **QUICK, stages=stages, progress=seen.append)
    assert [(p.stage, p.done, p.total) for p in seen] == [
        *(("float", i, 20) for i in range(1, 21)),
        *(("replace", i, 2) for i in range(1, 3)),
        *(("refit", i, 2) for i in range(1, 3)),
        *(("calibrate", i, 2) for i in range(1, 3)),
        *(("joint", i, 3) for i in range(1, 4)),
    ]
    assert seen[-1].seconds_left == 0
    assert str(seen[-1]).startswith("joint 3/3, loss ")


def test_progress_in_words(monkeypatch):
    now, seen = [100.0], []
    monkeypatch.setattr("lutgen.train.progress.time.monotonic", lambda: now[0])
    clock = Clock(seen.append, "joint", 40, before=10)
    for seconds, done, note in (
        (1, 10.2, ""),  # too soon to be of interest
        (3, 10.25, ""),
        (4, 10.5, ""),
        (12, 11, "loss 0.5000"),
        (12.5, 12, "loss 0.2500"),
        (400, 20, ""),
        (7200, 21, ""),
    ):
        now[0] = 100.0 + seconds
        clock(done, note)
    assert [str(progress) for progress in seen] == [
        "joint 10.25/40, 3 s, 6 min left",
        "joint 11/40, loss 0.5000, 12 s, 6 min left",
        "joint 12/40, loss 0.2500, 12 s, 3 min left",
        "joint 20/40, 7 min, 13 min left",
        "joint 21/40, 2 h 0 min, 3 h 27 min left",
    ]
    Clock(None, "joint", 2)(1)


def test_stages_alone_and_what_they_are_told():
    data = small()
    result = train(data, **QUICK, stages=["replace"])
    assert list(result.accuracy) == ["float", "replace", "model"]
    assert not result.curves
    told = train(data, **QUICK, stages=["replace"], settings={"replace": {"samples": 20}})
    assert digest(told.model) != digest(result.model)
    assert told.model.provenance["settings"]["settings"] == {"replace": {"samples": 20}}
    quick = {**QUICK, "epochs": None, "float_epochs": None}
    own = {"float": {"epochs": 4, "batch": 100}, "joint": {"epochs": 1, "train": "books,bias"}}
    result = train(data, **quick, settings=own)
    assert (len(result.float_losses), len(result.curves["joint"])) == (4, 1)
    residual = train(data, **quick, settings=own, stages=("refit",)).network.lookups["fc1"]
    np.testing.assert_array_equal(
        result.network.lookups["fc1"].weight, residual.weight, "weights were not to move"
    )


def test_augmentation_is_used_and_seeded():
    data = small(shape=(6, 6, 2))
    flipped, plain, again = (
        train(data, net=image_net(), **QUICK, augment=augment)
        for augment in (Augment(flip=True, shift=1), Augment(), Augment(flip=True, shift=1))
    )
    assert digest(flipped.model) == digest(again.model) != digest(plain.model)
    assert flipped.float_losses != plain.float_losses
    assert flipped.model.provenance["settings"]["augment"] == {
        "flip": True,
        "shift": 1,
        "noise": 0.0,
    }


@pytest.mark.parametrize("threads", [1, 2])
def test_a_diverging_run_keeps_the_last_good_state(threads):
    data = small()
    options = {**QUICK, "threads": threads}
    good = train(data, **options, stages=("replace", "refit"))
    result = train(data, **options, settings={"joint": {"learning_rate": 1e8}})
    assert result.diverged.startswith("Stage joint: Training diverged in epoch 1: ")
    assert result.diverged.endswith("; lower its learning rate")
    assert result.model_accuracy == good.model_accuracy
    assert np.array_equal(result.model.nodes[0].table, good.model.nodes[0].table)
    assert agrees(result, data)


@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_a_diverging_float_network_leaves_nothing(rate):
    settings = {"float": {"learning_rate": rate}}
    with pytest.raises(Diverged, match=r"^Stage float: Training diverged in epoch \d+: .*"):
        train(small(), **QUICK, settings=settings)


@pytest.mark.parametrize(
    ("x", "bits", "want"),
    [
        (np.array([0, 255], dtype=np.uint8), 8, Activation(8, False, 1.0)),
        (np.array([0, 16], dtype=np.uint8), 8, Activation(5, False, 1.0)),
        (np.array([0.0, 1.0]), 8, Activation(2, False, 1.0)),
        (np.array([3, 3]), 8, Activation(2, False, 1.0)),
        (np.array([-5, 4]), 8, Activation(4, True, 1.0)),
        (np.array([0, 256]), 8, Activation(8, False, 256 / 255)),
        (np.array([0.0, 0.5]), 8, Activation(8, False, 0.5 / 255)),
        (np.array([-1.0, 0.5]), 8, Activation(8, True, 1 / 128)),
        (np.array([-0.5, 1.0]), 8, Activation(8, True, 1 / 127)),
        (np.array([0.0, 1e30]), 8, Activation(8, False, 1e30 / 255)),
    ],
)
def test_input_format(x, bits, want):
    assert input_activation(x, bits) == want


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"centroids": 1}, "Centroids must be an integer of at least 2, not 1"),
        ({"centroids": 1 << 17}, "Centroids must be at most 65536, not 131072"),
        ({"metric": "l3"}, "Metric must be one of l1, l2, chebyshev, digit, not 'l3'"),
        ({"table_bits": 9}, "Table bits must be an integer between 2 and 8, not 9"),
        ({"table_bits": 1}, "Table bits must be an integer between 2 and 8, not 1"),
        (
            {"table_bits": 17, "metric": "digit"},
            "Table bits must be an integer between 2 and 16, not 17",
        ),
        (
            {"table_bits": 8, "metric": "digit"},
            "Table bits must be at least 9 for digit layers of 16 centroids on 8-bit "
            "activations, not 8",
        ),
        (
            {"centroids": 12, "metric": "digit"},
            "Centroids of a digit layer must be a power of two, not 12",
        ),
        (
            {"subvec": 2, "metric": "digit"},
            "Sub-vector length of a digit layer must be 1, not 2",
        ),
        ({"activation_bits": 1}, "Activation bits must be an integer between 2 and 16, not 1"),
        ({"activation_bits": 17}, "Activation bits must be an integer between 2 and 16, not 17"),
        ({"subvec": 0}, "Sub-vector length must be a positive integer, not 0"),
        (
            {"arch": (40, 6), "subvec": 7},
            "Sub-vector length must not exceed the 6 inputs of layer 3, as 7 does",
        ),
        (
            {"subvec": 11},
            "Sub-vector length must not exceed the 10 inputs of layer 1, as 11 does",
        ),
        ({"arch": (0,)}, "Layer size must be an integer between 1 and 65536, not 0"),
        ({"seed": -1}, "Seed must be a non-negative integer, not -1"),
        ({"float_epochs": 0}, "Float epochs must be a positive integer, not 0"),
        ({"epochs": -1}, "Epochs must be a non-negative integer, not -1"),
        ({"name": "9x"}, "Name must be letters, digits and underscores, not '9x'"),
        ({"threads": 0}, "Threads must be a positive integer, not 0"),
        ({"arch": "lenet5"}, "lenet5 reads images (H, W, C), not vectors of 10"),
        ({"stages": ()}, "Stages must hold replace or refit where no checkpoint is started from"),
        (
            {"stages": ("calibrate", "joint")},
            "Stages must hold replace or refit where no checkpoint is started from",
        ),
        (
            {"augment": Augment(flip=True)},
            "Augmentation by flip or shift must have images, but the network reads vectors",
        ),
        (
            {"augment": Augment(noise=float("inf"))},
            "Augmentation must have noise from 0 to 10 times the greatest input, not inf",
        ),
        (
            {"checkpoint": "a.ckpt", "start": "./a.ckpt"},
            "Start must be another file than the checkpoint that is written",
        ),
    ],
)
def test_refuses_options_before_any_work(options, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole text is compared)
        train(small(), **options, progress=lambda p: pytest.fail("work was done"))
    assert str(caught.value) == text


def linear(outputs=3, weight=0.0):
    return Linear("fc", ["flatten"], np.full((72, outputs), weight, np.float32))


@pytest.mark.parametrize(
    ("layers", "more", "text"),
    [
        (
            [linear(2)],
            {},
            "Network must have an output for each of the 3 classes that labels tell apart, not 2; "
            "the first sample with a greater label is y_train[2], y_test[4]",
        ),
        ([], {}, "Network must have a linear layer or a convolution, it has none"),
        (
            [linear(weight=np.nan)],
            {},
            "Network must have numbers for weights, layer 'fc' holds NaN or infinity",
        ),
        (
            [linear()],
            {"augment": Augment(shift=6)},
            "Augmentation must shift by less than the 6 pixels of a side, not 6",
        ),
        (
            [linear()],
            {"settings": {"float": {"batch": 4}}},
            "Stage of a setting must not be float where the network comes trained; give "
            "float_epochs to train it",
        ),
        (
            [linear()],
            {"layers": {"fc1": {"subvec": 2}}},
            "Layer 'fc1' does not exist; there are fc",
        ),
    ],
)
def test_refuses_networks_before_any_work(layers, more, text):
    net = FloatNet((6, 6, 2), [Flatten("flatten", ["input"]), *layers])
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole text is compared)
        train(
            small(shape=(6, 6, 2)),
            net=net,
            **more,
            progress=lambda p: pytest.fail("work was done"),
        )
    assert str(caught.value) == text


def test_refuses_what_is_no_data_set():
    text = "Data must be a Dataset, as load_data gives, not 'digits'"
    with pytest.raises(TypeError, match=f"^{text}$"):
        train("digits")


def test_refuses_data_of_another_shape():
    text = r"^Network must read samples of the shape 10, as x_train holds, not 6x6x2 \(rows, "
    with pytest.raises(ValueError, match=text):
        train(small(), net=image_net())
    with pytest.raises(
        ValueError, match=r"channels come first, and must come last: x\.transpose\(0, 2, 3, 1\)$"
    ):
        train(small(shape=(2, 6, 6)), net=image_net())
    vectors = FloatNet((72,), [Linear("fc", ["input"], np.zeros((72, 3), np.float32))])
    with pytest.raises(ValueError, match=r"x\.reshape\(len\(x\), -1\) gives pixel after pixel, "):
        train(small(shape=(6, 6, 2)), net=vectors)
    data = small(shape=(9, 8))
    assert train(data, net=vectors, stages=["replace"]).model.shape == (72,)  # images as vectors


def test_model_names():
    assert model_name("digits") == "digits"
    assert model_name("my-set 2") == "my_set_2"
    assert model_name("2ü") == "m_2_"


@pytest.mark.skipif(not MNIST.is_file(), reason="the shared MNIST is not beside this checkout")
def test_a_slice_of_mnist():
    data = load_data(MNIST)
    part = Dataset(
        "mnist", data.x_train[:3000], data.y_train[:3000], data.x_test[:500], data.y_test[:500]
    )
    result = train(part, arch=(64,), float_epochs=6, epochs=2)
    assert result.model.input == Activation(8, False, 1.0)
    assert agrees(result, part)
    assert result.model_accuracy >= 0.85
