"""LUTBoost in numpy: a float network, its lookup replacement, joint training, export."""

from lutgen.train.arch import he, same
from lutgen.train.augment import Augment
from lutgen.train.curves import check_picture, draw
from lutgen.train.data import Dataset, Samples, load_data, load_samples
from lutgen.train.floatnet import (
    Add,
    AvgPool2d,
    BatchNorm,
    Clip,
    Conv2d,
    Flatten,
    FloatNet,
    Linear,
    MaxPool2d,
    ReLU,
)
from lutgen.train.onnx import import_onnx
from lutgen.train.options import Options, StageOptions
from lutgen.train.pipeline import TrainResult, train
from lutgen.train.progress import Progress
from lutgen.train.report import LayerReport
from lutgen.train.tune import Diverged, Epoch

__all__ = [
    "Add",
    "Augment",
    "AvgPool2d",
    "BatchNorm",
    "Clip",
    "Conv2d",
    "Dataset",
    "Diverged",
    "Epoch",
    "Flatten",
    "FloatNet",
    "LayerReport",
    "Linear",
    "MaxPool2d",
    "Options",
    "Progress",
    "ReLU",
    "Samples",
    "StageOptions",
    "TrainResult",
    "check_picture",
    "draw",
    "he",
    "import_onnx",
    "load_data",
    "load_samples",
    "same",
    "train",
]
