"""What is done to inputs in training so that networks do not learn them by heart."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import Format

__all__ = ["Augment"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Augment:
    """Changes every sample of a batch in its own way.

    Parameters
    ----------
    flip : bool
        Whether every other image is mirrored left to right.
    shift : int
        Images move by up to so many rows and columns; what comes in repeats the edge, as black
        margins would be new to a network that comes trained.
    noise : float
        Standard deviation of the noise, in inputs' units.
    """

    flip: bool = False
    shift: int = 0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.shift < 0 or self.noise < 0:
            raise ValueError("Shift and noise of an augmentation must not be negative")

    def __call__(self, x: Array, rng: np.random.Generator, fmt: Format | None = None) -> Array:
        """A batch ``[batch, H, W, C]`` or ``[batch, K]``; ``fmt`` is the format of integers."""
        if x.ndim == 4 and (self.flip or self.shift):
            x = self._moved(x, rng)
        if not self.noise:
            return x
        added: Array = x + np.float32(self.noise) * rng.standard_normal(x.shape, dtype=np.float32)
        if fmt is None:
            return added
        clipped: Array = np.clip(np.floor(added + np.float32(0.5)), fmt.low, fmt.high)
        return clipped

    def _moved(self, x: Array, rng: np.random.Generator) -> Array:
        batch, height, width = x.shape[:3]
        s = self.shift
        mirrored = rng.random((batch,)) < (0.5 if self.flip else 0.0)
        down, right = rng.integers(0, 2 * s + 1, size=(2, batch))
        padded: Array = np.pad(x, ((0, 0), (s, s), (s, s), (0, 0)), mode="edge")
        result = np.empty_like(x)
        for i in range(batch):
            part: Array = padded[i, down[i] : down[i] + height, right[i] : right[i] + width]
            result[i] = part[:, ::-1] if mirrored[i] else part
        return result
