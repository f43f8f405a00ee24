"""What tests of training share: a data set of three classes, and networks that learn it at once."""

import numpy as np

from lutgen.train import BatchNorm, Conv2d, Dataset, Flatten, FloatNet, Linear, MaxPool2d, ReLU, he

QUICK = {"arch": (12,), "centroids": 4, "float_epochs": 20, "epochs": 3}


def small(seed=0, low=0.0, high=1.0, shape=(10,)):
    """Three classes in a few samples."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 260)
    y[:3] = y[-3:] = (0, 1, 2)
    centres = rng.choice([low, high], (3, *shape))
    x = np.clip(centres[y] + rng.normal(0, 0.2 * (high - low), (260, *shape)), low, high)
    return Dataset("small set", x[:200], y[:200], x[200:], y[200:])


def image_net(seed=1):
    """A convolution with a batch norm, a pool and a linear layer, for images of 6x6x2."""
    rng = np.random.default_rng(seed)
    one, zero = np.ones(4, np.float32), np.zeros(4, np.float32)
    return FloatNet(
        (6, 6, 2),
        [
            Conv2d("conv1", ["input"], he(rng, (3, 3, 2, 4)), pad=(1, 1, 1, 1)),
            BatchNorm("norm1", ["conv1"], one, zero, zero, one),
            ReLU("relu1", ["norm1"]),
            MaxPool2d("pool1", ["relu1"], (2, 2), (2, 2)),
            Flatten("flatten", ["pool1"]),
            Linear("fc1", ["flatten"], he(rng, (36, 3))),
        ],
    )
