"""Data sets: the bundled digits, or an `.npz` file, checked before anything uses it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.archive import check_room, open_archive
from lutgen.errors import LutgenError

__all__ = ["Dataset", "Samples", "load_data", "load_samples"]

KEYS = ("x_train", "y_train", "x_test", "y_test")

NUMBER = "number the classes from 0 and store them with .astype(int)"
PACKED = 200  # bytes of samples for each byte of a file: images are mostly of one colour
EACH = 8  # bytes that an element takes in use
MOST_CLASSES = (
    1 << 16
)  # labels above are numbers of another kind; an output each would exhaust the memory


@dataclass(frozen=True)
class Dataset:
    """Samples to train on and samples to test with.

    Attributes
    ----------
    name : str
    x_train, x_test : real array ``[sample, H, W]``, ``[sample, H, W, C]`` or ``[sample, K]``
        In the data set's own units.
    y_train, y_test : int64 array ``[sample]``
        Classes from 0.
    seed : int
        Of the split into training and test samples, where lutgen made it.
    """

    name: str
    x_train: NDArray[Any]
    y_train: NDArray[np.int64]
    x_test: NDArray[Any]
    y_test: NDArray[np.int64]
    seed: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a model's input: ``(H, W, C)`` or ``(K,)``."""
        shape = self.x_train.shape[1:]
        return (*shape, 1) if len(shape) == 2 else shape

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.y_train.max()) + 1


@dataclass(frozen=True)
class Samples:
    """Samples to run a model on.

    Attributes
    ----------
    x : real array ``[sample, ...]``
    y : int64 array ``[sample]`` or None
        Classes, where the file has them.
    """

    x: NDArray[Any]
    y: NDArray[np.int64] | None


def load_data(name_or_path: str | os.PathLike[str], *, seed: int = 0) -> Dataset:
    """The data set of that name, ``digits``, or in that `.npz` file.

    Parameters
    ----------
    name_or_path : str or path
        A file holds ``x_train``, ``y_train``, ``x_test`` and ``y_test``.
    seed : int
        Of the split of ``digits`` into four parts to train on and one to test with, each class
        alike. Files come split.

    Raises
    ------
    LutgenError
        One line that names the file, the array, and the mend.
    """
    if os.fspath(name_or_path) == "digits":
        return _digits(seed)
    path = Path(name_or_path)
    arrays = _read(path, KEYS, ())
    data = Dataset(
        path.stem,
        _samples(path, "x_train", arrays),
        _labels(path, "y_train", "x_train", arrays),
        _samples(path, "x_test", arrays),
        _labels(path, "y_test", "x_test", arrays),
    )
    if data.x_train.shape[1:] != data.x_test.shape[1:]:
        have, want = (_text(x.shape[1:]) for x in (data.x_test, data.x_train))
        raise LutgenError(
            f"{path}, array 'x_test': samples have the shape {have}, those of x_train {want}; "
            "make them alike"
        )
    _check_classes(path, data)
    return data


def load_samples(path: str | os.PathLike[str], *, seed: int = 0) -> Samples:
    """``x_test`` of an `.npz` file, with ``y_test`` if it is there; or the test part of ``digits``.

    Parameters
    ----------
    path : str or path
    seed : int
        See `load_data`.

    Raises
    ------
    LutgenError
        One line that names the file, the array, and the mend.
    """
    if os.fspath(path) == "digits":
        data = _digits(seed)
        return Samples(data.x_test, data.y_test)
    file = Path(path)
    arrays = _read(file, ("x_test",), ("y_test",))
    x = _samples(file, "x_test", arrays)
    y = _labels(file, "y_test", "x_test", arrays) if "y_test" in arrays else None
    return Samples(x, y)


def _digits(seed: int) -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise LutgenError(
            "digits: scikit-learn, which brings this data set, is not installed; "
            "run `pip install 'lutgen[explore]'`"
        ) from None
    bundle = load_digits()
    x = bundle.images.astype(np.uint8)[..., None]
    y = bundle.target.astype(np.int64)
    rng = np.random.default_rng(seed)
    test = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        test[members[: round(len(members) / 5)]] = True
    return Dataset("digits", x[~test], y[~test], x[test], y[test], seed)


def _read(path: Path, keys: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The arrays under ``keys``, and those of ``optional`` that are there."""
    try:
        return _chosen(path, keys, optional)
    except LutgenError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise LutgenError(
            f"{path}: no such file; name an .npz file, or the built-in set 'digits'"
        ) from None


def _chosen(
    path: Path, keys: tuple[str, ...], optional: tuple[str, ...]
) -> dict[str, NDArray[Any]]:
    with open_archive(path, "a data set", "copy or make it again with numpy.savez") as archive:
        for key in keys:
            if key not in archive.keys:
                raise LutgenError(f"{path}: has no array {key!r}; it must hold {', '.join(keys)}")
        members = {key: archive.member(key) for key in (*keys, *optional) if key in archive.keys}
        for key, member in members.items():
            kinds, what, mend = (
                ("ui", "integer class labels", NUMBER)
                if key.startswith("y")
                else ("buif", "real numbers", "convert it")
            )
            if member.dtype.kind not in kinds:
                raise LutgenError(
                    f"{path}, array {key!r}: must hold {what}, not {member.dtype}; {mend}"
                )
        check_room(members.values(), archive, packed=PACKED, each=EACH, what="use fewer samples")
        return {key: member.load() for key, member in members.items()}


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a scalar"


def _samples(path: Path, key: str, arrays: dict[str, NDArray[Any]]) -> NDArray[Any]:
    x = arrays[key]
    where = f"{path}, array {key!r}"
    if not 2 <= x.ndim <= 4:
        raise LutgenError(
            f"{where}: must have the shape n x K, n x H x W or n x H x W x C, not {_text(x.shape)}"
        )
    if not x.size:
        raise LutgenError(f"{where}: is empty ({_text(x.shape)}); give at least one sample")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        bad = int(np.argmin(np.isfinite(x.reshape(len(x), -1)).all(axis=1)))
        raise LutgenError(
            f"{where}: sample {bad} holds NaN or infinity; remove or replace such samples"
        )
    return x


def _labels(
    path: Path, key: str, samples: str, arrays: dict[str, NDArray[Any]]
) -> NDArray[np.int64]:
    y = arrays[key]
    where = f"{path}, array {key!r}"
    if y.ndim != 1:
        raise LutgenError(f"{where}: must have one dimension, not the shape {_text(y.shape)}")
    if len(y) != len(arrays[samples]):
        raise LutgenError(
            f"{where}: has {len(y)} labels for the {len(arrays[samples])} samples of {samples}; "
            "give one label a sample"
        )
    if int(y.min()) < 0:
        raise LutgenError(f"{where}: holds the label {int(y.min())}; number the classes from 0")
    if int(y.max()) >= MOST_CLASSES:
        raise LutgenError(
            f"{where}: holds the label {int(y.max())}, more than {MOST_CLASSES - 1}; "
            "number the classes from 0 without gaps"
        )
    return y.astype(np.int64)


def _check_classes(path: Path, data: Dataset) -> None:
    seen = np.unique(data.y_train)
    if len(seen) == 1:
        raise LutgenError(
            f"{path}, array 'y_train': every label is {int(seen[0])}; give samples of two classes "
            "at least"
        )
    if len(seen) != data.classes:
        gap = int(np.flatnonzero(np.isin(np.arange(data.classes), seen, invert=True))[0])
        raise LutgenError(
            f"{path}, array 'y_train': no sample has the label {gap}, though labels reach "
            f"{data.classes - 1}; number the classes from 0 without gaps"
        )
    if int(data.y_test.max()) >= data.classes:
        raise LutgenError(
            f"{path}, array 'y_test': holds the label {int(data.y_test.max())}, which y_train "
            f"never has; its labels are 0..{data.classes - 1}"
        )
