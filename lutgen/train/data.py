"""Data sets: the bundled digits, or an `.npz` file, checked before anything uses it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.archive import check_room, open_archive
from lutgen.errors import LutgenError
from lutgen.model.samples import alike, mend, shape_text
from lutgen.train.arrays import check_classes, check_labels, check_samples, check_sizes

__all__ = ["Dataset", "Samples", "load_data", "load_samples"]

KEYS = ("x_train", "y_train", "x_test", "y_test")

NUMBER = "number the classes from 0 and store them with .astype(int)"
PACKED = 200  # bytes of samples for each byte of a file: images are mostly of one colour
EACH = 8  # bytes that an element takes in use


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

    Raises
    ------
    ValueError
        If an array is none, does not go with the others, or can't be trained on; the text names it.
    """

    name: str
    x_train: NDArray[Any]
    y_train: NDArray[np.int64]
    x_test: NDArray[Any]
    y_test: NDArray[np.int64]
    seed: int = 0

    def __post_init__(self) -> None:
        for kind in ("train", "test"):
            key = f"x_{kind}"
            x: NDArray[Any] = getattr(self, key)
            check_samples(key, x)
            check_sizes(key, x)
            labels = check_labels(f"y_{kind}", getattr(self, f"y_{kind}"), key, x)
            object.__setattr__(self, f"y_{kind}", labels)
        have, want = self.x_test.shape, self.x_train.shape[1:]
        if not alike(have[1:], want):
            raise ValueError(
                f"array 'x_test': samples have the shape {shape_text(have[1:])}, those of x_train "
                f"{shape_text(want)}; {mend(have, want, 'x_test') or 'make them alike'}"
            )
        object.__setattr__(self, "x_test", self.x_test.reshape(len(self.x_test), *want))
        check_classes(self.y_train, self.y_test)

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

    Raises
    ------
    ValueError
        If an array is none, or they do not go together; the text names ``x_test`` or ``y_test``.
    """

    x: NDArray[Any]
    y: NDArray[np.int64] | None

    def __post_init__(self) -> None:
        check_samples("x_test", self.x)
        if self.y is not None:
            object.__setattr__(self, "y", check_labels("y_test", self.y, "x_test", self.x))


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
    try:
        return Dataset(
            path.stem, arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"]
        )
    except ValueError as error:
        raise LutgenError(f"{path}, {error}") from None


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
    try:
        return Samples(arrays["x_test"], arrays.get("y_test"))
    except ValueError as error:
        raise LutgenError(f"{file}, {error}") from None


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
