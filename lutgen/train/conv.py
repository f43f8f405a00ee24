"""Convolution as matrix products, forward and backward, for float layers and for lookups alike.

Arrays stand channels first with the batch inside, ``[C, batch, H, W]``: a matrix product then runs
along all pixels of all samples. `Rows` says which input rows a layer reads and how its products
are put together:

* `Dense`: each sample, or each kernel window, is one row of K inputs; one product.
* `Taps`: each pixel is one row of C inputs, shared by all taps of the kernel. Every tap's product
  is formed where the pixel is and added up where the output is, so nothing is copied per tap.

Both work on real inputs and on one-hot indices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import ceil_div
from lutgen.train.hot import Fetched, by_table, looked_up, one_hot
from lutgen.train.optim import Float32Array

__all__ = ["Dense", "Rows", "Taps", "Window", "gathered"]

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """Where a kernel reads.

    Parameters
    ----------
    kernel, stride : (int, int)
        Rows, columns.
    pad : (int, int, int, int)
        Zeros at the top, left, bottom, right.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)

    def out(self, height: int, width: int) -> Pair:
        """Height and width of the output; below 1 if the kernel does not fit."""
        (kh, kw), (sh, sw), (top, left, bottom, right) = self.kernel, self.stride, self.pad
        return (height + top + bottom - kh) // sh + 1, (width + left + right - kw) // sw + 1

    def slices(self, height: int, width: int) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
        """For every tap its number ``(ty, tx)`` and what it reads of the padded image."""
        rows, columns = self.out(height, width)
        sh, sw = self.stride
        for ty in range(self.kernel[0]):
            for tx in range(self.kernel[1]):
                yield (
                    ty,
                    tx,
                    (
                        slice(ty, ty + sh * (rows - 1) + 1, sh),
                        slice(tx, tx + sw * (columns - 1) + 1, sw),
                    ),
                )

    def padded(self, x: NDArray[np.generic]) -> NDArray[np.generic]:
        """An image array ``[..., H, W]`` with its zeros around it."""
        top, left, bottom, right = self.pad
        if not any(self.pad):
            return x
        return np.pad(x, [(0, 0)] * (x.ndim - 2) + [(top, bottom), (left, right)])

    def cropped(self, x: Float32Array) -> Float32Array:
        """What `padded` was made of."""
        top, left, bottom, right = self.pad
        return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


class Rows:
    """How a layer's inputs become the rows ``[K, L]`` of matrix products.

    Attributes
    ----------
    features : int
        K, inputs in one row.
    taps : int
        How many matrices ``[K, n]`` the layer has.
    whole : bool
        Whether every output sums up a product of every tap: none reads outside the image.
    window : Window or None
        Of a convolution.
    """

    features: int
    taps: int
    whole: bool
    window: Window | None = None

    def rows(self, x: Float32Array) -> Float32Array:
        """Inputs ``[C, batch, H, W]`` or ``[K, batch]`` as rows ``[K, L]``."""
        raise NotImplementedError

    def back(self, gradient: Float32Array, shape: tuple[int, ...]) -> Float32Array:
        """The gradient by inputs of that shape, of one by rows."""
        raise NotImplementedError

    def place(self, x: Float32Array, shape: tuple[int, ...]) -> list[Float32Array]:
        """Rows ``[K', L]`` (of inputs of that shape) as `product` takes them."""
        raise NotImplementedError

    def place_hot(
        self, index: NDArray[np.integer], centroids: int, shape: tuple[int, ...]
    ) -> list[Float32Array]:
        """`place` of one-hot rows ``[g * c, L]``, given the indices ``[g, L]``."""
        raise NotImplementedError

    def hot(
        self, index: NDArray[np.integer], centroids: int, shape: tuple[int, ...]
    ) -> list[NDArray[Any]]:
        """What `hot_product` and `hot_by_matrix` take in place of `place_hot`."""
        return list(self.place_hot(index, centroids, shape))

    def hot_table(self, table: NDArray[Any], centroids: int) -> Any:
        """What `hot_product` takes for a table ``[taps, g * c, n]``."""
        return table

    def hot_product(
        self, table: Any, hot: list[NDArray[Any]], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        """`product` of a table and one-hot rows; of integers in float arrays the exact sums."""
        if table.dtype == np.float64:
            hot = [x.astype(np.float64) for x in hot]
        return self.product(table, hot, shape)

    def hot_by_matrix(
        self, hot: list[NDArray[Any]], spread: list[Float32Array], features: int, outputs: int
    ) -> Float32Array:
        """`by_matrix` of one-hot rows."""
        return self.by_matrix(hot, spread, features, outputs)

    def product(
        self, matrix: Float32Array, placed: list[Float32Array], shape: tuple[int, ...]
    ) -> Float32Array:
        """Outputs ``[n, batch, ...]`` of ``matrix`` ``[taps, K', n]``."""
        raise NotImplementedError

    def spread(self, gradient: Float32Array, shape: tuple[int, ...]) -> list[Float32Array]:
        """The gradient by outputs as `by_matrix` and `by_rows` take it."""
        raise NotImplementedError

    def by_matrix(
        self, placed: list[Float32Array], spread: list[Float32Array], features: int, outputs: int
    ) -> Float32Array:
        """Gradient ``[taps, K', n]`` by the matrix."""
        raise NotImplementedError

    def by_rows(
        self, matrix: Float32Array, spread: list[Float32Array], shape: tuple[int, ...]
    ) -> Float32Array:
        """Gradient ``[K', L]`` by the rows."""
        raise NotImplementedError

    def columns(
        self, placed: list[Float32Array], shape: tuple[int, ...]
    ) -> Iterator[tuple[int, Float32Array]]:
        """What every tap multiplies, ``[K', outputs]``, tap by tap: for regressions."""
        raise NotImplementedError


class Dense(Rows):
    """One product of a row per sample (``window`` None) or per kernel window.

    Parameters
    ----------
    features : int
        Inputs in one row.
    window : Window or None
    order : str
        ``hwc`` or ``chw``: how a window's inputs follow each other.
    """

    taps, whole = 1, True

    def __init__(self, features: int, window: Window | None = None, order: str = "hwc"):
        self.features, self.window, self.order = features, window, order

    def out(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the outputs behind inputs of that shape, without the channels."""
        if self.window is None:
            return shape[1:2]
        return (shape[1], *self.window.out(shape[2], shape[3]))

    def rows(self, x: Float32Array) -> Float32Array:
        if self.window is None:
            return x
        kh, kw = self.window.kernel
        outside = self.out(x.shape)
        padded = self.window.padded(x)
        if self.order == "chw":
            result = np.empty((x.shape[0], kh, kw, *outside), dtype=x.dtype)
            for ty, tx, where in self.window.slices(x.shape[2], x.shape[3]):
                result[:, ty, tx] = padded[(..., *where)]
        else:
            result = np.empty((kh, kw, x.shape[0], *outside), dtype=x.dtype)
            for ty, tx, where in self.window.slices(x.shape[2], x.shape[3]):
                result[ty, tx] = padded[(..., *where)]
        return result.reshape(self.features, -1)

    def back(self, gradient: Float32Array, shape: tuple[int, ...]) -> Float32Array:
        if self.window is None:
            return gradient.reshape(shape)
        (kh, kw), (top, left, bottom, right) = self.window.kernel, self.window.pad
        channels, batch, height, width = shape
        total = np.zeros(
            (channels, batch, height + top + bottom, width + left + right), dtype=np.float32
        )
        outside = self.out(shape)
        if self.order == "chw":
            parts = gradient.reshape(channels, kh, kw, *outside).transpose(1, 2, 0, 3, 4, 5)
        else:
            parts = gradient.reshape(kh, kw, channels, *outside)
        for ty, tx, where in self.window.slices(height, width):
            total[(..., *where)] += parts[ty, tx]
        return self.window.cropped(total)

    def place(self, x: Float32Array, shape: tuple[int, ...]) -> list[Float32Array]:
        return [x]

    def place_hot(
        self, index: NDArray[np.integer], centroids: int, shape: tuple[int, ...]
    ) -> list[Float32Array]:
        return [one_hot(index, centroids)]

    def hot(
        self, index: NDArray[np.integer], centroids: int, shape: tuple[int, ...]
    ) -> list[NDArray[Any]]:
        return [index]

    def hot_table(self, table: NDArray[Any], centroids: int) -> Fetched:
        return Fetched(table.reshape(-1, centroids, table.shape[2]))

    def hot_product(
        self, table: Any, hot: list[NDArray[Any]], shape: tuple[int, ...]
    ) -> NDArray[Any]:
        return looked_up(table, hot[0]).reshape(-1, *self.out(shape))

    def hot_by_matrix(
        self, hot: list[NDArray[Any]], spread: list[Float32Array], features: int, outputs: int
    ) -> Float32Array:
        index = hot[0]
        return by_table(index, spread[0], features // len(index))[None]

    def product(
        self, matrix: Float32Array, placed: list[Float32Array], shape: tuple[int, ...]
    ) -> Float32Array:
        result: Float32Array = matrix[0].T @ placed[0]
        return result.reshape(-1, *self.out(shape))

    def spread(self, gradient: Float32Array, shape: tuple[int, ...]) -> list[Float32Array]:
        return [gradient.reshape(len(gradient), -1)]

    def by_matrix(
        self, placed: list[Float32Array], spread: list[Float32Array], features: int, outputs: int
    ) -> Float32Array:
        result: Float32Array = (placed[0] @ spread[0].T)[None]
        return result

    def by_rows(
        self, matrix: Float32Array, spread: list[Float32Array], shape: tuple[int, ...]
    ) -> Float32Array:
        result: Float32Array = matrix[0] @ spread[0]
        return result

    def columns(
        self, placed: list[Float32Array], shape: tuple[int, ...]
    ) -> Iterator[tuple[int, Float32Array]]:
        yield 0, placed[0]


class Taps(Rows):
    """A product per tap of a row per pixel.

    With stride s the taps fall into s x s phases; a phase reads every s-th row and column of the
    padded image. Its pixels are laid on a grid as large as the outputs and a margin for the taps,
    on which a tap is a fixed offset.

    Parameters
    ----------
    features : int
        Channels.
    window : Window
    """

    window: Window

    def __init__(self, features: int, window: Window):
        self.features, self.window = features, window
        self.taps = window.kernel[0] * window.kernel[1]
        self.whole = not any(window.pad)

    def _grid(self, shape: tuple[int, ...]) -> Pair:
        rows, columns = self.window.out(shape[2], shape[3])
        (kh, kw), (sh, sw) = self.window.kernel, self.window.stride
        return rows + ceil_div(kh, sh) - 1, columns + ceil_div(kw, sw) - 1

    def _phases(self, shape: tuple[int, ...]) -> Iterator["Phase"]:
        (kh, kw), (sh, sw) = self.window.kernel, self.window.stride
        grid = self._grid(shape)
        for py in range(min(sh, kh)):
            for px in range(min(sw, kw)):
                y = _reach(py, sh, self.window.pad[0], shape[2], grid[0])
                x = _reach(px, sw, self.window.pad[1], shape[3], grid[1])
                numbers, offsets = [], []
                for uy in range(ceil_div(kh - py, sh)):
                    for ux in range(ceil_div(kw - px, sw)):
                        numbers.append((py + sh * uy) * kw + px + sw * ux)
                        offsets.append(uy * grid[1] + ux)
                yield Phase(numbers, offsets, (y[0], x[0]), (y[1], x[1]))

    def rows(self, x: Float32Array) -> Float32Array:
        return x.reshape(len(x), -1)

    def back(self, gradient: Float32Array, shape: tuple[int, ...]) -> Float32Array:
        return gradient.reshape(shape)

    def place(self, x: Float32Array, shape: tuple[int, ...]) -> list[Float32Array]:
        grid = self._grid(shape)
        image = x.reshape(len(x), *shape[1:])
        result = []
        for phase in self._phases(shape):
            placed = np.zeros((len(x), shape[1], *grid), dtype=x.dtype)
            placed[(..., *phase.on_grid)] = image[(..., *phase.in_image)]
            result.append(placed.reshape(len(x), -1))
        return result

    def place_hot(
        self, index: NDArray[np.integer], centroids: int, shape: tuple[int, ...]
    ) -> list[Float32Array]:
        grid = self._grid(shape)
        groups, length = len(index), shape[1] * grid[0] * grid[1]
        image = index.reshape(groups, *shape[1:])
        cells = np.arange(length).reshape(shape[1], *grid)
        below = (centroids * length) * np.arange(groups)[:, None]
        result = []
        for phase in self._phases(shape):
            hot = np.zeros((groups * centroids, length), dtype=np.float32)
            part = image[(..., *phase.in_image)].reshape(groups, -1)
            flat = part * length + (below + cells[(..., *phase.on_grid)].reshape(-1))
            hot.reshape(-1)[flat.reshape(-1)] = 1
            result.append(hot)
        return result

    def product(
        self, matrix: Float32Array, placed: list[Float32Array], shape: tuple[int, ...]
    ) -> Float32Array:
        outputs, length = matrix.shape[2], placed[0].shape[1]
        total = np.zeros((outputs, length), dtype=placed[0].dtype)
        for phase, x in zip(self._phases(shape), placed, strict=True):
            stacked = matrix[phase.numbers].transpose(0, 2, 1).reshape(-1, matrix.shape[1])
            parts = (stacked @ x).reshape(len(phase.numbers), outputs, length)
            for part, offset in zip(parts, phase.offsets, strict=True):
                total[:, : length - offset] += part[:, offset:]
        rows, columns = self.window.out(shape[2], shape[3])
        grid = self._grid(shape)
        on_grid = total.reshape(outputs, shape[1], *grid)
        return np.ascontiguousarray(on_grid[:, :, :rows, :columns])

    def spread(self, gradient: Float32Array, shape: tuple[int, ...]) -> list[Float32Array]:
        grid = self._grid(shape)
        rows, columns = gradient.shape[2:]
        laid = np.zeros((len(gradient), shape[1], *grid), dtype=np.float32)
        laid[:, :, :rows, :columns] = gradient
        flat = laid.reshape(len(gradient), -1)
        length = flat.shape[1]
        result = []
        for phase in self._phases(shape):
            moved = np.zeros((len(phase.numbers), *flat.shape), dtype=np.float32)
            for part, offset in zip(moved, phase.offsets, strict=True):
                part[:, offset:] = flat[:, : length - offset]
            result.append(moved.reshape(-1, length))
        return result

    def by_matrix(
        self, placed: list[Float32Array], spread: list[Float32Array], features: int, outputs: int
    ) -> Float32Array:
        total = np.zeros((self.taps, features, outputs), dtype=np.float32)
        for numbers, x, moved in zip(self._numbers(), placed, spread, strict=True):
            part = (x @ moved.T).reshape(features, len(numbers), outputs)
            total[numbers] = part.transpose(1, 0, 2)
        return total

    def by_rows(
        self, matrix: Float32Array, spread: list[Float32Array], shape: tuple[int, ...]
    ) -> Float32Array:
        grid = self._grid(shape)
        features = matrix.shape[1]
        total = np.zeros((features, *shape[1:]), dtype=np.float32)
        for phase, moved in zip(self._phases(shape), spread, strict=True):
            stacked = matrix[phase.numbers].transpose(1, 0, 2).reshape(features, -1)
            part = (stacked @ moved).reshape(features, shape[1], *grid)
            total[(..., *phase.in_image)] = part[(..., *phase.on_grid)]
        return total.reshape(features, -1)

    def columns(
        self, placed: list[Float32Array], shape: tuple[int, ...]
    ) -> Iterator[tuple[int, Float32Array]]:
        rows, columns = self.window.out(shape[2], shape[3])
        grid = self._grid(shape)
        for phase, x in zip(self._phases(shape), placed, strict=True):
            image = x.reshape(len(x), shape[1], *grid)
            for number, offset in zip(phase.numbers, phase.offsets, strict=True):
                uy, ux = divmod(offset, grid[1])
                yield number, image[:, :, uy : uy + rows, ux : ux + columns].reshape(len(x), -1)

    def _numbers(self) -> Iterator[list[int]]:
        (kh, kw), (sh, sw) = self.window.kernel, self.window.stride
        for py in range(min(sh, kh)):
            for px in range(min(sw, kw)):
                yield [ty * kw + tx for ty in range(py, kh, sh) for tx in range(px, kw, sw)]


@dataclass(frozen=True)
class Phase:
    """The taps of one phase: their numbers and offsets, and where its pixels stand."""

    numbers: list[int]
    offsets: list[int]
    on_grid: tuple[slice, slice]
    in_image: tuple[slice, slice]


def _reach(phase: int, stride: int, before: int, size: int, grid: int) -> tuple[slice, slice]:
    """Which grid rows lie in the image, and which image rows they are."""
    first = max(0, ceil_div(before - phase, stride))
    last = min(grid, (size - 1 + before - phase) // stride + 1)
    count = max(0, last - first)
    start = first * stride + phase - before
    if not count:
        return slice(0, 0), slice(0, 0)
    return slice(first, first + count), slice(start, start + stride * (count - 1) + 1, stride)


THIN = 8


def gathered(rows: Rows) -> Rows:
    """Rows that give the same products sooner, for real inputs.

    With few channels the products of `Taps` are so thin that gathering each window's inputs into
    one row, as ``hwc``, costs less. Matrices are then one, ``[1, taps * K, n]``.
    """
    if isinstance(rows, Taps) and rows.features < THIN and rows.taps > 1:
        return Dense(rows.taps * rows.features, rows.window)
    return rows
