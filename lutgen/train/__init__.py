"""LUTBoost in numpy: a float network, its lookup replacement, joint training, export."""

from lutgen.train.data import Dataset, Samples, load_data, load_samples

__all__ = ["Dataset", "Samples", "load_data", "load_samples"]
