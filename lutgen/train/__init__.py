"""LUTBoost in numpy: a float network, its lookup replacement, joint training, export."""

from lutgen.train.augment import Augment
from lutgen.train.data import Dataset, Samples, load_data, load_samples
from lutgen.train.options import Options, StageOptions
from lutgen.train.pipeline import TrainResult, train
from lutgen.train.progress import Progress

__all__ = [
    "Augment",
    "Dataset",
    "Options",
    "Progress",
    "Samples",
    "StageOptions",
    "TrainResult",
    "load_data",
    "load_samples",
    "train",
]
