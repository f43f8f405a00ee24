"""Data sets: what is accepted, and every refusal by its full text."""

import builtins
import re

import numpy as np
import pytest

from lutgen.errors import LutgenError
from lutgen.train import Dataset, load_data, load_samples


def arrays(**changes):
    """A small valid set, with changes; None removes a key."""
    rng = np.random.default_rng(0)
    good = {
        "x_train": rng.integers(0, 256, (12, 4, 3), dtype=np.uint8),
        "y_train": np.arange(12, dtype=np.uint8) % 3,
        "x_test": rng.integers(0, 256, (5, 4, 3), dtype=np.uint8),
        "y_test": np.arange(5, dtype=np.int64) % 3,
    }
    good.update(changes)
    return {key: value for key, value in good.items() if value is not None}


def test_npz_keeps_units_and_gives_int64_labels(tmp_path):
    np.savez(tmp_path / "set.npz", **arrays())
    data = load_data(tmp_path / "set.npz")
    assert data.name == "set"
    assert data.x_train.dtype == np.uint8
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    assert data.shape == (4, 3, 1)
    assert data.classes == 3


@pytest.mark.parametrize(("shape", "want"), [((7,), (7,)), ((2, 2, 3), (2, 2, 3))])
def test_flat_and_coloured_samples(tmp_path, shape, want):
    np.savez(
        tmp_path / "set.npz",
        **arrays(x_train=np.ones((12, *shape)), x_test=np.zeros((5, *shape))),
    )
    assert load_data(tmp_path / "set.npz").shape == want


def test_digits_split_is_stratified_seeded_and_whole():
    data = load_data("digits")
    assert data.shape == (8, 8, 1)
    assert len(data.x_train) + len(data.x_test) == 1797
    for label in range(10):
        train, test = (np.sum(y == label) for y in (data.y_train, data.y_test))
        assert abs(test / (train + test) - 0.2) < 0.005
    assert np.array_equal(data.x_test, load_data("digits").x_test)
    assert not np.array_equal(data.x_test, load_data("digits", seed=1).x_test)
    assert np.array_equal(load_samples("digits", seed=1).x, load_data("digits", seed=1).x_test)


def test_digits_without_scikit_learn(monkeypatch):
    plain = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return plain(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    text = (
        "digits: scikit-learn, which brings this data set, is not installed; "
        "run `pip install 'lutgen[explore]'`"
    )
    with pytest.raises(LutgenError, match=f"^{re.escape(text)}$"):
        load_data("digits")


def test_samples_need_no_labels_and_no_training_part(tmp_path):
    np.savez(tmp_path / "a.npz", x_test=np.zeros((2, 4)))
    assert load_samples(tmp_path / "a.npz").y is None
    np.savez(tmp_path / "b.npz", x_test=np.zeros((2, 4)), y_test=[0, 1])
    assert load_samples(tmp_path / "b.npz").y.tolist() == [0, 1]


NAN = np.ones((12, 4, 3))
NAN[7, 1, 1] = np.nan

REFUSALS = {
    "missing key": ({"y_test": None}, "F: has no array 'y_test'; it must hold x_train, y_train, "
                    "x_test, y_test"),
    "objects": ({"x_train": np.array([{}] * 12, dtype=object)},
                "F, array 'x_train': holds Python objects; save it as an array of numbers"),
    "text": ({"x_train": np.array(["a"] * 12)},
             "F, array 'x_train': must hold real numbers, not <U1; convert it"),
    "complex": ({"x_test": np.ones((5, 4, 3), dtype=complex)},
                "F, array 'x_test': must hold real numbers, not complex128; convert it"),
    "rank": ({"x_train": np.ones(12)},
             "F, array 'x_train': must have the shape n x K, n x H x W or n x H x W x C, not 12"),
    "empty": ({"x_train": np.ones((0, 4, 3)), "y_train": np.ones(0, dtype=int)},
              "F, array 'x_train': is empty (0x4x3); give at least one sample"),
    "nan": ({"x_train": NAN}, "F, array 'x_train': sample 7 holds NaN or infinity; remove or "
            "replace such samples"),
    "inf": ({"x_test": np.full((5, 4, 3), np.inf)},
            "F, array 'x_test': sample 0 holds NaN or infinity; remove or replace such samples"),
    "shapes": ({"x_test": np.ones((5, 4, 2))},
               "F, array 'x_test': samples have the shape 4x2, those of x_train 4x3; make them "
               "alike"),
    "lengths": ({"y_train": np.arange(11) % 3},
                "F, array 'y_train': has 11 labels for the 12 samples of x_train; give one label "
                "a sample"),
    "float labels": ({"y_train": np.zeros(12)},
                     "F, array 'y_train': must hold integer class labels, not float64; number "
                     "the classes from 0 and store them with .astype(int)"),
    "one-hot labels": ({"y_train": np.eye(12, dtype=int)},
                       "F, array 'y_train': must have one dimension, not the shape 12x12"),
    "negative": ({"y_train": np.arange(12) % 3 - 1},
                 "F, array 'y_train': holds the label -1; number the classes from 0"),
    "huge": ({"y_train": np.arange(12) * 10000},
             "F, array 'y_train': holds the label 110000, more than 65535; number the classes "
             "from 0 without gaps"),
    "one class": ({"y_train": np.full(12, 2)},
                  "F, array 'y_train': every label is 2; give samples of two classes at least"),
    "gap": ({"y_train": np.arange(12) % 2 * 3},
            "F, array 'y_train': no sample has the label 1, though labels reach 3; number the "
            "classes from 0 without gaps"),
    "unseen": ({"y_test": np.array([0, 1, 2, 3, 0])},
               "F, array 'y_test': holds the label 3, which y_train never has; its labels are "
               "0..2"),
}  # fmt: skip


@pytest.mark.parametrize("which", ["x_train", "y_train", "x_test", "y_test"])
def test_refuses_masked_arrays(which):
    y = np.arange(12) % 3
    arrays = {"x_train": np.ones((12, 4)), "y_train": y, "x_test": np.ones((12, 4)), "y_test": y}
    masked = np.ma.array(arrays[which])
    Dataset("set", **arrays | {which: masked})
    masked[3] = np.ma.masked
    with pytest.raises(ValueError, match=rf"^array '{which}': must not be masked; "):
        Dataset("set", **arrays | {which: masked})


@pytest.mark.parametrize("case", REFUSALS)
def test_refuses_arrays(tmp_path, case):
    changes, text = REFUSALS[case]
    path = tmp_path / "set.npz"
    np.savez(path, allow_pickle=True, **arrays(**changes))
    with pytest.raises(LutgenError) as caught:
        load_data(path)
    assert str(caught.value) == text.replace("F", str(path), 1)


def refusal(path):
    with pytest.raises(LutgenError) as caught:
        load_data(path)
    return str(caught.value).replace(str(path), "F")


def test_refuses_files(tmp_path):
    path = tmp_path / "set.npz"
    assert refusal(path) == "F: no such file; name an .npz file, or the built-in set 'digits'"
    path.write_bytes(b"not an archive")
    no_archive = (
        "F: is not a data set: it is no .npz archive; copy or make it again with numpy.savez"
    )
    assert refusal(path) == no_archive
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    assert refusal(path) == no_archive
    assert refusal(tmp_path) == "F: can't be read: is a directory"


def test_refuses_damaged_files(tmp_path):
    path = tmp_path / "set.npz"
    np.savez_compressed(path, **arrays(x_train=np.random.default_rng(0).random((12, 40, 30))))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path) == "F: is damaged or cut short; copy or make it again with numpy.savez"
    for place in range(100, len(whole) - 600, len(whole) // 7):
        broken = bytearray(whole)
        broken[place : place + 40] = bytes(40)
        path.write_bytes(broken)
        assert refusal(path) == (
            "F, array 'x_train': is damaged; copy or make it again with numpy.savez"
        )
