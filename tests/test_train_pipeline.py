"""Training from end to end: accuracy, the same integers outside as inside, options."""

from pathlib import Path

import numpy as np
import pytest

from lutgen.model import Activation, Argmax, load, save
from lutgen.train import Dataset, Options, load_data, train
from lutgen.train.pipeline import input_activation, model_name

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist.npz"


@pytest.fixture(scope="module")
def digits():
    return load_data("digits")


def small(seed=0, low=0.0, high=1.0, shape=(10,)):
    """Three classes in a few samples."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 260)
    y[:3] = y[-3:] = (0, 1, 2)
    centres = rng.choice([low, high], (3, *shape))
    x = np.clip(centres[y] + rng.normal(0, 0.2 * (high - low), (260, *shape)), low, high)
    return Dataset("small set", x[:200], y[:200], x[200:], y[200:])


QUICK = {"arch": (12,), "centroids": 4, "float_epochs": 20, "epochs": 3}


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
    assert [node.name for node in result.model.nodes] == ["fc1", "fc2", "fc3"]
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


@pytest.mark.parametrize(
    "options",
    [
        {"metric": "l2", "table_bits": 4, "activation_bits": 4},
        {"metric": "chebyshev", "subvec": 3, "centroids": 5},
        {"metric": "l1", "subvec": 10, "activation_bits": 16, "table_bits": 2},
        {"metric": "digit", "centroids": 16},
        {"metric": "digit", "centroids": 2, "table_bits": 12, "activation_bits": 5},
        {"arch": (), "subvec": 7},
    ],
    ids=str,
)
@pytest.mark.parametrize("span", [(0.0, 3.7), (-2.0, 1.0)])
def test_every_kind_of_layer_exports_what_it_trained(options, span):
    data = small(low=span[0], high=span[1])
    result = train(data, **{**QUICK, "float_epochs": 200, **options})
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


def test_the_seed_fixes_everything():
    data = small()
    first, second, other = (train(data, **QUICK, seed=s).model for s in (1, 1, 2))
    assert first.nodes[0].table.tobytes() == second.nodes[0].table.tobytes()
    assert np.array_equal(first.predict(data.x_test).outputs, second.predict(data.x_test).outputs)
    assert first.nodes[0].table.tobytes() != other.nodes[0].table.tobytes()


def test_test_samples_do_not_steer():
    data = small()
    blind = Dataset(data.name, data.x_train, data.y_train, data.x_test, (data.y_test + 1) % 3)
    first, second = (train(d, **QUICK).model for d in (data, blind))
    assert np.array_equal(first.nodes[-1].table, second.nodes[-1].table)


def test_progress_counts_every_stage():
    seen = []
    train(small(), **QUICK, progress=seen.append)
    assert [(p.stage, p.done, p.total) for p in seen] == [
        *(("float", i, 20) for i in range(1, 21)),
        *(("replace", i, 2) for i in range(1, 3)),
        *(("joint", i, 3) for i in range(1, 4)),
    ]
    assert seen[-1].seconds_left == 0
    assert str(seen[-1]).startswith("joint 3/3, loss ")


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
    ],
)
def test_refuses_options_before_any_work(options, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole text is compared)
        train(small(), **options, progress=lambda p: pytest.fail("work was done"))
    assert str(caught.value) == text


def test_refuses_options_of_the_wrong_type():
    with pytest.raises(TypeError, match=r"^Centroids must be an integer, not 4\.5$"):
        Options(centroids=4.5)


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
