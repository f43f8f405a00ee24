"""What the arrays of a data set must be, whoever made them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.model.samples import mend, shape_text

__all__ = ["check_classes", "check_labels", "check_samples", "check_sizes"]

MOST_CLASSES = 1 << 16  # labels above are of another kind; an output each would exhaust the memory
# Training computes in float32, whose sums of products of samples and weights must stay numbers.
LEAST, MOST = 1e-30, 1e30


def check_samples(key: str, x: NDArray[Any]) -> None:
    """Complains of an array that holds no samples."""
    where = f"array {key!r}"
    if not isinstance(x, np.ndarray):
        raise ValueError(f"{where}: must be an array, not {type(x).__name__}")
    _check_mask(where, x)
    if x.dtype.kind not in "buif":
        raise ValueError(f"{where}: must hold real numbers, not {x.dtype}; convert it")
    if not 2 <= x.ndim <= 4:
        raise ValueError(
            f"{where}: must have the shape n x K, n x H x W or n x H x W x C, "
            f"not {shape_text(x.shape)}"
        )
    if not x.size:
        raise ValueError(f"{where}: is empty ({shape_text(x.shape)}); give at least one sample")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        bad = int(np.argmin(np.isfinite(x.reshape(len(x), -1)).all(axis=1)))
        raise ValueError(
            f"{where}: sample {bad} holds NaN or infinity; remove or replace such samples"
        )


def _check_mask(where: str, array: NDArray[Any]) -> None:
    if np.ma.is_masked(array):
        raise ValueError(f"{where}: must not be masked; leave out or fill what is")


def check_sizes(key: str, x: NDArray[Any]) -> None:
    """Complains of samples that float32, which training computes in, can't hold."""
    if x.dtype.kind != "f":
        return
    low, high = float(x.min()), float(x.max())
    size = max(-low, high)
    if size > MOST or 0 < size < LEAST:
        end = f"more than {MOST:g}" if size > MOST else f"less than {LEAST:g}"
        bad = int(np.argmax(np.abs(x).reshape(len(x), -1).max(axis=1)))
        raise ValueError(
            f"array {key!r}: sample {bad} reaches {size:.3g}, {end}, which float32 can't compute "
            "with; divide all samples by one number, or remove such samples"
        )


def check_labels(key: str, y: NDArray[Any], of: str, x: NDArray[Any]) -> NDArray[np.int64]:
    """The labels ``key`` of the samples ``of``, once it is sure that they are some."""
    where = f"array {key!r}"
    if not isinstance(y, np.ndarray):
        raise ValueError(f"{where}: must be an array, not {type(y).__name__}")
    _check_mask(where, y)
    if y.dtype.kind not in "ui":
        raise ValueError(
            f"{where}: must hold integer class labels, not {y.dtype}; number the classes from 0 "
            "and store them with .astype(int)"
        )
    if y.ndim != 1:
        raise ValueError(f"{where}: must have one dimension, not the shape {shape_text(y.shape)}")
    if len(y) != len(x):
        last = len(x) < len(y) == x.shape[-1]
        cure = mend(x.shape, x.shape[:-1], of) if last else "give one label a sample"
        raise ValueError(f"{where}: has {len(y)} labels for the {len(x)} samples of {of}; {cure}")
    if int(y.min()) < 0:
        raise ValueError(f"{where}: holds the label {int(y.min())}; number the classes from 0")
    if int(y.max()) >= MOST_CLASSES:
        raise ValueError(
            f"{where}: holds the label {int(y.max())}, more than {MOST_CLASSES - 1}; "
            "number the classes from 0 without gaps"
        )
    return y.astype(np.int64)


def check_classes(train: NDArray[np.int64], test: NDArray[np.int64]) -> None:
    """Complains of classes that can't be learnt, or not be told."""
    seen, most = np.unique(train), int(train.max())
    if len(seen) == 1:
        raise ValueError(
            f"array 'y_train': every label is {int(seen[0])}; give samples of two classes at least"
        )
    if len(seen) != most + 1:
        gap = int(np.flatnonzero(np.isin(np.arange(most + 1), seen, invert=True))[0])
        raise ValueError(
            f"array 'y_train': no sample has the label {gap}, though labels reach {most}; "
            "number the classes from 0 without gaps"
        )
    if int(test.max()) > most:
        raise ValueError(
            f"array 'y_test': holds the label {int(test.max())}, which y_train never has; "
            f"its labels are 0..{most}"
        )
