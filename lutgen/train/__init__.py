"""LUTBoost in numpy: a float network, its lookup replacement, joint training, export."""

from lutgen.train.data import Dataset, Samples, load_data, load_samples
from lutgen.train.options import Options
from lutgen.train.pipeline import Progress, TrainResult, train

__all__ = [
    "Dataset",
    "Options",
    "Progress",
    "Samples",
    "TrainResult",
    "load_data",
    "load_samples",
    "train",
]
