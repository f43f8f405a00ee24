"""Wherever integers enter, those that the format does not hold are refused: nothing wraps, nothing
is cut, nothing is rounded.
"""

import numpy as np
import pytest
import toy
from simulation import random_layer

import lutgen
from lutgen.flows import simulate, testbench
from lutgen.flows.board import scoreboard
from lutgen.flows.engine import product
from lutgen.gateware.tree import pack_rows
from lutgen.host import link_job
from lutgen.model import Activation, Model
from lutgen.numeric import Format, Grid, check_ints, requantise
from lutgen.spec.conv import Conv2dSpec
from lutgen.spec.encoder import DigitSpec, EncoderSpec
from lutgen.spec.engine import EngineSpec
from lutgen.spec.job import JobSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.matcher import BankSpec, TreeSpec
from lutgen.spec.pointwise import AddSpec, MapSpec
from lutgen.spec.pool import AvgPool2dSpec, MaxPool2dSpec
from lutgen.spec.window import WindowSpec

BYTE = Format(8, False)
BAD = {"300": 300, "-1": -1, "1.7": 1.7, "NaN": np.nan, "text": "7"}


def model():
    wire = Activation(8, False, 1.0)
    node = random_layer(np.random.default_rng(0), "fc", "input", wire, 6, 4, None, metric="l1")
    return Model("net", (3, 2, 1), wire, (node,))


NET = model()
CORE = toy.contract()
ENGINE = EngineSpec(codebooks=4, subvec=2, rows=4)
JOB = JobSpec(ENGINE, rows=2, codebooks=4, outputs=3, results="accumulators")
IMAGE = WindowSpec(2, 2, (2, 2), (1, 1), (0, 0, 0, 0))
LAYER = LinearSpec(
    in_features=4, out_features=3, subvec=2, centroids=4, metric="l1", element=BYTE,
    grid=Grid("int", 8), shift=0, output=None, acc=Format(12, True),
)  # fmt: skip
ENCODER = EncoderSpec(BYTE, 2, 4, "l2", 4, 2)
CONV = Conv2dSpec(
    IMAGE, in_channels=1, out_channels=3, element=BYTE, encode="window", order="hwc", subvec=4,
    centroids=4, metric="l1", grid=Grid("int", 8), acc=Format(12, True), shift=0, output=None,
)  # fmt: skip
BOOKS, TABLE = np.zeros((4, 16, 2), int), np.zeros((4, 16, 3), int)


def with_bad(shape, bad):
    """Zeros, with one value that is bad among them."""
    x = np.zeros(shape, type(bad) if isinstance(bad, float) else int).astype(object)
    x.flat[-1] = bad
    return np.array(x.tolist())


ENTRIES = {
    "golden": lambda bad: NET.run(with_bad((5, 3, 2, 1), bad)),
    "golden, flat": lambda bad: NET.run(with_bad((5, 6), bad)),
    "distance": lambda bad: ENCODER.whole_distance.compute(with_bad((2,), bad), [0, 0]),
    "sums": lambda bad: TreeSpec(3, BYTE, Format(9, True)).compute(with_bad((3,), bad)),
    "addresses": lambda bad: BankSpec(4, 1, Grid("int", 8)).compute(
        np.zeros((4, 1), int), with_bad((3,), bad)
    ),
    "encoder": lambda bad: ENCODER.compute(
        with_bad((5, 1, 2), bad), np.zeros((1, 4, 2), int)
    ),
    "encoder, codebooks": lambda bad: ENCODER.compute(
        np.zeros((5, 1, 2), int), with_bad((1, 4, 2), bad)
    ),
    "encoder, rows": lambda bad: ENCODER.rows(with_bad((1, 4, 2), bad)),
    "digits": lambda bad: DigitSpec(BYTE, 16).compute(with_bad((5, 3), bad)),
    "layer": lambda bad: LAYER.compute(
        with_bad((5, 4), bad), np.zeros((2, 4, 2), int), np.zeros((2, 4, 3), int), [0, 0, 0]
    ),
    "table": lambda bad: LAYER.compute(
        np.zeros((5, 4), int), np.zeros((2, 4, 2), int), with_bad((2, 4, 3), bad), [0, 0, 0]
    ),
    "convolution": lambda bad: CONV.compute(
        with_bad((5, 2, 2, 1), bad), np.zeros((1, 4, 4), int), np.zeros((1, 4, 3), int), [0, 0, 0]
    ),
    "max pool": lambda bad: MaxPool2dSpec(IMAGE, BYTE).compute(with_bad((1, 2, 2, 1), bad)),
    "average pool": lambda bad: AvgPool2dSpec(
        IMAGE, BYTE, multiplier=1, shift=2, output=BYTE
    ).compute(with_bad((1, 2, 2, 1), bad)),
    "sum": lambda bad: AddSpec((BYTE, BYTE), (0, 0), 0, BYTE).compute(
        [np.zeros(3, int), with_bad((3,), bad)]
    ),
    "map": lambda bad: MapSpec(BYTE, BYTE).compute(with_bad((3,), bad), np.arange(256)),
    "entries of a map": lambda bad: MapSpec(Format(2, False), BYTE).compute(
        np.zeros(1, int), with_bad((4,), bad)
    ),
    "codes": lambda bad: Grid("int", 8).decode(with_bad((3,), bad)),
    "link": lambda bad: link_job.pack(
        with_bad((5, 5), bad), {**CORE["input"], "lane_bits": 16, "bits": 8}
    ),
    "bench": lambda bad: scoreboard().check(with_bad((5, 5), bad), CORE["input"], "Inputs"),
    "simulation": lambda bad: simulate(
        toy.TEXT, CORE, with_bad((5, 5), bad), np.zeros((5, 3), int)
    ),
    "test bench": lambda bad: testbench.render(CORE, with_bad((5, 5), bad), np.zeros((5, 3), int)),
    "memory": lambda bad: pack_rows(with_bad((5, 3), bad if bad != -1 else -129), 8),
    "engine, activations": lambda bad: JOB.activation_stream(with_bad((2, 8), bad)),
    "engine, codebooks": lambda bad: JOB.centroid_stream(with_bad((4, 16, 2), bad)),
    "engine, tables": lambda bad: JOB.table_stream(
        with_bad((4, 16, 3), bad if bad != -1 else -129), [0, 0, 0]
    ),
    "engine, biases": lambda bad: JOB.table_stream(
        TABLE, with_bad((3,), 1 << 31 if bad in (300, -1) else bad)
    ),
    "engine, product": lambda bad: product(
        JOB, x=with_bad((2, 8), bad), codebooks=BOOKS, table=TABLE, bias=[0, 0, 0]
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("entry", ENTRIES)
def test_refused(entry, bad):
    kind = ValueError if bad in ("300", "-1") else TypeError
    with pytest.raises(kind, match=r" must (lie in|be integers)"):
        ENTRIES[entry](BAD[bad])


@pytest.mark.parametrize("entry", ENTRIES)
def test_zeros_are_taken(entry):
    """It is the value that is refused, not the rest of the call."""
    if entry != "simulation":
        ENTRIES[entry](0)


def test_the_words_of_the_complaint():
    with pytest.raises(ValueError, match=r"^Pixels must lie in 0\.\.255, as uint8 does, not -3$"):
        check_ints([0, -3, 300], "Pixels", BYTE)
    with pytest.raises(TypeError, match=r"^Pixels must be integers, not float64$"):
        check_ints([0.0, 1.0], "Pixels", BYTE)
    with pytest.raises(TypeError, match=r"^Pixels must be integers, not bool$"):
        check_ints([True], "Pixels", BYTE)
    with pytest.raises(ValueError, match=r"^Pixels must lie in 0\.\.9223372036854775807, "):
        check_ints(np.array([1 << 63], np.uint64), "Pixels")
    assert check_ints([], "Pixels", BYTE).shape == (0,)


def test_float_accumulators_are_refused():
    with pytest.raises(TypeError, match=r"^Accumulators must be integers, not float64$"):
        requantise(np.array([1.5]), 0, BYTE)


@pytest.mark.parametrize("shape", [(5, 7), (5, 3, 3), (6,), (5, 2, 3, 1)])
def test_golden_takes_whole_samples(shape):
    with pytest.raises(ValueError, match=r"^Samples must have the shape 3x2x1 "):
        NET.run(np.zeros(shape, int))


def test_one_sample_is_not_repeated():
    """numpy would make one row, or one column, as many as there is room for."""
    port = CORE["input"]
    for shape in ((5, 1), (5,), (5, 6)):
        with pytest.raises(ValueError, match=r"^Samples must have the shape \(samples, 5\), not"):
            link_job.pack(np.zeros(shape, int), port)
    with pytest.raises(ValueError, match=r"^Input rows must have the shape \(2, up to 8\), not"):
        JOB.activation_stream(np.zeros((1, 8), int))


def test_predictions_count_what_is_clamped():
    x = np.zeros((5, 3, 2))
    x[2] = 1e6
    found = lutgen.Model.predict(NET, x)
    assert found.clamped == 6
    assert np.array_equal(found.outputs[2], NET.predict(np.full((1, 3, 2), 255)).outputs[0])
