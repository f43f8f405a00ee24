"""What a user may choose: what is taken, what it becomes, and every refusal by its text."""

import json

import numpy as np
import pytest

from lutgen.numeric import Format
from lutgen.train import Conv2d, Flatten, FloatNet, Linear, Options, StageOptions
from lutgen.train.options import STAGE_FIELDS, STAGES

TUNED = (
    "epochs, batch, learning_rate, decay, optimiser, schedule, beta, distill, follow, hint, "
    "soft, temperature, train"
)


def net(channels=3):
    """A convolution of 2x2 and a linear layer behind it."""
    return FloatNet(
        (4, 4, channels),
        [
            Conv2d("conv1", ["input"], np.zeros((2, 2, channels, 5), np.float32)),
            Flatten("flatten", ["conv1"]),
            Linear("fc1", ["flatten"], np.zeros((45, 4), np.float32)),
        ],
    )


def settings(**options):
    return Options(**options).for_network(net(), Format(8, False))


def test_a_layer_has_its_own_settings_and_those_of_all():
    found = settings(
        centroids=8,
        metric="l2",
        layers={"conv1": {"subvec": 3, "encode": "window", "order": "hwc"}},
    )
    assert (found["conv1"].subvec, found["fc1"].subvec) == (3, 4)
    assert (found["conv1"].encode, found["conv1"].order) == ("window", "hwc")
    assert (found["fc1"].encode, found["fc1"].order) == ("pixel", "chw")
    assert {own.centroids for own in found.values()} == {8}
    assert {own.metric for own in found.values()} == {"l2"}


def test_exact_layers_among_others_have_defaults_of_their_own():
    found = settings(subvec=2, table_bits=5, layers={"conv1": {"metric": "digit"}})
    assert (found["conv1"].subvec, found["conv1"].table_bits) == (1, 16)
    assert (found["fc1"].subvec, found["fc1"].table_bits) == (2, 5)
    found = settings(metric="digit", table_bits=12, layers={"fc1": {"metric": "l1"}})
    assert (found["conv1"].subvec, found["conv1"].table_bits) == (1, 12)
    assert (found["fc1"].subvec, found["fc1"].table_bits) == (4, 8)


def test_convolutions_of_few_channels_have_shorter_sub_vectors():
    assert settings(subvec=4)["conv1"].subvec == 3
    assert settings(subvec=12, encode="window")["conv1"].subvec == 12
    assert settings(subvec=13, encode="window")["conv1"].subvec == 12


def test_stages_come_in_their_order_and_once():
    assert Options(stages=["joint", "replace", "joint"]).stages == ("replace", "joint")
    assert Options().stages == ("replace", "refit", "joint")


def test_epochs_are_settings_too():
    options = Options(settings={"joint": {"epochs": 3}, "float": StageOptions(epochs=7)})
    assert (options.epochs, options.float_epochs) == (3, 7)
    options = Options(epochs=5, float_epochs=6, settings={"joint": {"epochs": 3, "batch": 2}})
    assert options.stage("joint") == StageOptions(epochs=5, batch=2)
    assert options.stage("float") == StageOptions(epochs=6)
    assert options.stage("refit") == StageOptions()
    assert Options(settings={"joint": {"epochs": 0}}).epochs == 0


def test_numbers_of_numpy_and_their_manifest():
    """Everything in the manifest is JSON, and reads back as it was."""
    options = Options(
        arch=[np.int64(5)],
        subvec=np.int8(2),
        centroids=np.uint16(8),
        layers={"fc1": {"table_bits": np.int32(4)}},
        settings={
            "joint": {"learning_rate": np.float32(0.5), "train": ["books", "bias"]},
            "refit": StageOptions(ridge=1, samples=np.int64(9)),
        },
        seed=np.int64(3),
        epochs=np.int64(2),
    )
    manifest = options.to_manifest()
    assert json.loads(json.dumps(manifest)) == manifest
    assert manifest["settings"] == {
        "joint": {"epochs": 2, "learning_rate": 0.5, "train": ["books", "bias"]},
        "refit": {"samples": 9, "ridge": 1.0},
    }
    assert (manifest["arch"], manifest["layers"]) == ([5], {"fc1": {"table_bits": 4}})
    assert type(options.seed) is type(options.centroids) is int


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"arch": "vgg"}, "Architecture must be one of lenet5, resnet8, not 'vgg'"),
        ({"encode": "tile"}, "Encode must be one of pixel, window, not 'tile'"),
        ({"order": "cwh"}, "Order must be one of hwc, chw, not 'cwh'"),
        ({"tables": "bound"}, "Tables must be one of free, tied, not 'bound'"),
        (
            {"stages": ["train"]},
            "Stage must be one of replace, refit, narrow, calibrate, joint, not 'train'",
        ),
        (
            {"layers": {"fc1": {"lanes": 2}}},
            "Layer 'fc1' has no setting 'lanes'; there are subvec, centroids, metric, table_bits, "
            "activation_bits, encode, order",
        ),
        (
            {"layers": {"fc1": {"table_bits": 9}}},
            "Layer 'fc1': Table bits must be an integer between 2 and 8, not 9",
        ),
        (
            {"layers": {"fc1": {"metric": "digit", "table_bits": 4}}},
            "Layer 'fc1': Table bits must be at least 9 for digit layers of 16 centroids on 8-bit "
            "activations, not 4",
        ),
        ({"layers": {"fc9": {}}}, "Layer 'fc9' does not exist; there are conv1, fc1"),
        (
            {"layers": {"fc1": {"encode": "window"}}},
            "Layer 'fc1' is linear and has no setting 'encode'",
        ),
        (
            {"layers": {"conv1": {"subvec": 4}}},
            "Layer 'conv1': Sub-vector length must not exceed its 3 inputs, as 4 does",
        ),
        (
            {"layers": {"conv1": {"subvec": 13, "encode": "window"}}},
            "Layer 'conv1': Sub-vector length must not exceed its 12 inputs, as 13 does",
        ),
        ({"subvec": 46}, "Sub-vector length must not exceed the 45 inputs of layer 2, as 46 does"),
        (
            {"settings": {"train": {}}},
            "Stage of a setting must be one of float, replace, refit, narrow, calibrate, joint, "
            "not 'train'",
        ),
        (
            {"settings": {"replace": {"ridge": 0.1}}},
            "Setting 'ridge' of stage 'replace' does not exist; there are samples, restarts",
        ),
        (
            {"settings": {"refit": StageOptions(epochs=2)}},
            "Setting 'epochs' of stage 'refit' does not exist; there are samples, restarts, ridge",
        ),
        (
            {"settings": {"float": {"beta": 0.1}}},
            "Setting 'beta' of stage 'float' does not exist; there are epochs, batch, "
            "learning_rate, decay, optimiser, schedule",
        ),
        (
            {"settings": {"joint": {"rate": 1}}},
            f"Setting 'rate' of stage 'joint' does not exist; there are {TUNED}",
        ),
        (
            {"settings": {"joint": {"batch": 0}}},
            "Setting 'batch' of stage 'joint' must be a positive integer, not 0",
        ),
        (
            {"settings": {"float": {"epochs": 0}}},
            "Setting 'epochs' of stage 'float' must be a positive integer, not 0",
        ),
        (
            {"settings": {"joint": {"learning_rate": 0.0}}},
            "Setting 'learning_rate' of stage 'joint' must be positive, not 0.0",
        ),
        (
            {"settings": {"joint": {"decay": float("nan")}}},
            "Setting 'decay' of stage 'joint' must be a number from 0 to 1000, not nan",
        ),
        (
            {"settings": {"joint": {"beta": float("inf")}}},
            "Setting 'beta' of stage 'joint' must be a number from 0 to 1e+09, not inf",
        ),
        (
            {"settings": {"joint": {"distill": 1.5}}},
            "Setting 'distill' of stage 'joint' must be a number from 0 to 1, not 1.5",
        ),
        *(
            (
                {"settings": {stage: {name: value}}},
                f"Setting {name!r} of stage {stage!r} must be a number from {low} to {high}, not "
                f"{value}",
            )
            for stage, name, value, low, high in (
                ("joint", "learning_rate", 1e300, "0", "1e+30"),
                ("float", "learning_rate", 1e39, "0", "1e+30"),
                ("float", "decay", 1e300, "0", "1000"),
                ("calibrate", "beta", 1e300, "0", "1e+09"),
                ("joint", "hint", 10**400, "0", "1e+09"),
                ("refit", "ridge", 1e300, "0", "1e+12"),
                ("narrow", "ridge", 1e308, "0", "1e+12"),
                ("joint", "temperature", 1e300, "1e-06", "1e+06"),
                ("joint", "temperature", 1e-300, "1e-06", "1e+06"),
                ("joint", "temperature", 0.0, "1e-06", "1e+06"),
            )
        ),
        (
            {"settings": {"joint": {"optimiser": "adam"}}},
            "Setting 'optimiser' of stage 'joint' must be one of adamw, sgd, not 'adam'",
        ),
        (
            {"settings": {"joint": {"train": "books,all"}}},
            "Setting 'train' of stage 'joint' must be one of weight, bias, books, residual, "
            "not 'all'",
        ),
    ],
)
def test_refusals(options, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole text is compared)
        settings(**options)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"centroids": 4.5}, "Centroids must be an integer, not 4.5"),
        ({"arch": 12}, "Architecture must be a sequence of layer sizes, not 12"),
        ({"stages": "joint"}, "Stages must be a sequence of names, not 'joint'"),
        (
            {"layers": {"fc1": {"subvec": "2"}}},
            "Layer 'fc1': Sub-vector length must be an integer, not '2'",
        ),
        (
            {"settings": {"joint": {"batch": 2.0}}},
            "Setting 'batch' of stage 'joint' must be an integer, not 2.0",
        ),
        (
            {"settings": {"joint": {"beta": True}}},
            "Setting 'beta' of stage 'joint' must be a number, not True",
        ),
        (
            {"settings": {"refit": {"ridge": "small"}}},
            "Setting 'ridge' of stage 'refit' must be a number, not 'small'",
        ),
    ],
)
def test_refusals_of_the_wrong_type(options, text):
    with pytest.raises(TypeError) as caught:
        settings(**options)
    assert str(caught.value) == text


def test_every_stage_has_settings():
    assert tuple(STAGE_FIELDS) == ("float", *STAGES)
    known = set(StageOptions.__dataclass_fields__)
    assert known == {field for own in STAGE_FIELDS.values() for field in own}
