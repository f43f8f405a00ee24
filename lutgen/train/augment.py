"""What is done to inputs in training so that networks do not learn them by heart."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import Format, quantise

__all__ = ["Augment", "reach"]

Array = NDArray[Any]

PIXELS_A_STEP = 16  # sides shorter than this do not shift: a pixel of an 8x8 digit is a stroke


def reach(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many rows and columns samples of that shape shift by at most; nothing but for images."""
    return tuple(n // PIXELS_A_STEP for n in shape[:2]) if len(shape) == 3 else ()


class Augment:
    """Shifts images by a little, and adds noise.

    Parameters
    ----------
    shape : tuple of int
        Of one sample; only images, ``(H, W, C)``, shift: by up to a pixel for every 16 of a side.
    fmt : Format or None
        Of the inputs; None for real ones.
    noise : float
        Standard deviation of the noise, in inputs' units.
    """

    def __init__(self, shape: tuple[int, ...], fmt: Format | None, noise: float):
        self.shape, self.fmt, self.noise = shape, fmt, noise
        self.reach = reach(shape)

    def __call__(self, q: Array, rng: np.random.Generator) -> Array:
        """A batch ``[batch, K]``, all shifted alike, each with noise of its own."""
        if any(self.reach):
            steps = [int(rng.integers(-n, n + 1)) for n in self.reach]
            q = shifted(q.reshape(len(q), *self.shape), steps).reshape(len(q), -1)
        added = q + np.float32(self.noise) * rng.standard_normal(q.shape, dtype=np.float32)
        if self.fmt is None:
            return np.asarray(added, dtype=q.dtype)
        return quantise(added, 1.0, self.fmt).astype(q.dtype)


def shifted(images: Array, steps: list[int]) -> Array:
    """Images ``[batch, H, W, C]`` moved by that many rows and columns; what comes in is 0."""
    result = np.roll(images, steps, axis=(1, 2))
    for axis, step in zip((1, 2), steps, strict=True):
        gone = slice(0, step) if step >= 0 else slice(step, None)
        result[(slice(None),) * axis + (gone,)] = 0
    return result
