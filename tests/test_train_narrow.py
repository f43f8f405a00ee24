"""Trained tables brought to fewer bits."""

import numpy as np
import pytest
from training import image_net, small

from lutgen.errors import LutgenError
from lutgen.train import train
from lutgen.train.inputs import quantise_samples

DATA = small(shape=(6, 6, 2))
OPTIONS = {
    "net": image_net(),
    "subvec": 2,
    "centroids": 8,
    "encode": "window",
    "float_epochs": 2,
    "epochs": 2,
    "threads": 1,
}
FINE, COARSE = 8, 3


@pytest.fixture(scope="module")
def fine(tmp_path_factory):
    """A checkpoint of 8-bit tables, and what the run gave."""
    path = tmp_path_factory.mktemp("narrow") / "fine.ckpt"
    return path, train(DATA, **OPTIONS, checkpoint=path)


def inputs(result):
    q = quantise_samples(DATA.x_train[:200], result.model.input)
    return np.moveaxis(q, -1, 0).astype(np.float32)


def logits(net, q):
    return net.run(q) * net.last.wire.scale


def test_results_stay_nearer_than_by_the_nearest_entries(fine):
    path, before = fine
    start = {**OPTIONS, "start": path, "table_bits": COARSE}
    q = inputs(before)
    want = logits(before.network, q)
    fed = train(DATA, **start, stages=("narrow",))
    # A ridge of that weight holds the tables where they are, and rounding is all that is left.
    strict = {"narrow": {"ridge": 1e9}}
    held = train(DATA, **start, stages=("narrow",), settings=strict)
    errors = [np.mean((logits(net.network, q) - want) ** 2) for net in (fed, held)]
    assert errors[0] < errors[1] < np.var(want)
    for result in (fed, held):
        assert all(layer.table_bits == COARSE for layer in result.layers)
        limits = -(1 << COARSE - 1), (1 << COARSE - 1) - 1
        for ints in result.network.integers().values():
            assert limits[0] <= ints.matrix.min() < ints.matrix.max() <= limits[1]


def test_the_model_computes_what_was_measured(fine):
    path, _ = fine
    some = {"conv1": {"table_bits": 5}}
    result = train(
        DATA, **OPTIONS, start=path, table_bits=4, layers=some, stages=("narrow", "joint")
    )
    assert list(result.accuracy)[-3:] == ["narrow", "joint", "model"]
    trained = result.network.outputs(result.model.quantise(DATA.x_test))
    np.testing.assert_array_equal(result.model.predict(DATA.x_test).outputs, trained)
    bits = {layer.name: layer.table_bits for layer in result.layers}
    assert bits == {"conv1": 5, "fc1": 4}


def test_the_same_bits_change_next_to_nothing(fine):
    path, before = fine
    after = train(
        DATA, **OPTIONS, start=path, stages=("narrow",), settings={"narrow": {"ridge": 1e3}}
    )
    q = inputs(before)
    want, got = logits(before.network, q), logits(after.network, q)
    assert np.mean((got - want) ** 2) < 1e-2 * np.var(want)


def test_a_part_goes_on(fine, tmp_path):
    path, _ = fine
    start = {**OPTIONS, "start": path, "table_bits": COARSE}
    own = tmp_path / "own.ckpt"
    train(DATA, **start, stages=("narrow", "joint"), checkpoint=own)
    again = train(DATA, **start, stages=("narrow", "joint"), checkpoint=own)
    whole = train(DATA, **start, stages=("narrow", "joint"))
    assert again.accuracy == whole.accuracy
    for name, ints in whole.network.integers().items():
        np.testing.assert_array_equal(ints.matrix, again.network.integers()[name].matrix)


def test_bad_options(fine):
    path, _ = fine
    with pytest.raises(ValueError, match="Stage narrow must have a checkpoint of other"):
        train(DATA, **OPTIONS, stages=("narrow",))
    with pytest.raises(ValueError, match="Stages must hold replace and refit, or narrow, not both"):
        train(DATA, **OPTIONS, start=path, stages=("refit", "narrow"))
    with pytest.raises(LutgenError, match=r"\(other table_bits\); give the same, or stage narrow"):
        train(DATA, **OPTIONS, start=path, table_bits=4, stages=("joint",))
    one = {"conv1": {"table_bits": 4}}
    with pytest.raises(LutgenError, match=r"\(other table_bits\); give the same, or stage narrow"):
        train(DATA, **OPTIONS, start=path, layers=one, stages=("joint",))
    other = {"conv1": {"table_bits": 4, "subvec": 3}}
    with pytest.raises(LutgenError, match=r"does not go with this one \(other layers\)"):
        train(DATA, **OPTIONS, start=path, layers=other, stages=("narrow",))
