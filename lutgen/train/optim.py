"""The optimiser: AdamW with a learning rate that falls to zero over the run."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCHEDULES", "AdamW", "Float32Array", "rate"]

Float32Array = NDArray[np.float32]

SCHEDULES = ("linear", "cosine")


def rate(schedule: str, step: int, steps: int) -> float:
    """The factor on the learning rate at ``step`` of ``steps``: from 1 down to nearly 0."""
    part = step / max(1, steps)
    if schedule == "linear":
        return 1.0 - part
    if schedule == "cosine":
        return 0.5 * (1.0 + float(np.cos(np.pi * part)))
    raise ValueError(f"Schedule must be one of {', '.join(SCHEDULES)}, not {schedule!r}")


class AdamW:
    """Adam with decoupled weight decay; updates the parameters in place.

    Parameters
    ----------
    parameters : sequence of float32 arrays
    rates : sequence of float
        Learning rate of each parameter, before the schedule.
    decays : sequence of float
        Weight decay of each parameter.
    betas : (float, float)
        Decay of the two running moments.
    """

    def __init__(
        self,
        parameters: Sequence[Float32Array],
        rates: Sequence[float],
        decays: Sequence[float],
        betas: tuple[float, float] = (0.9, 0.999),
    ):
        self.parameters = list(parameters)
        self.rates = list(rates)
        self.decays = list(decays)
        self.betas = betas
        self.steps = 0
        self._first = [np.zeros_like(p) for p in self.parameters]
        self._second = [np.zeros_like(p) for p in self.parameters]

    def step(self, gradients: Sequence[Float32Array], factor: float) -> None:
        """One update; ``factor`` scales every learning rate (see `rate`)."""
        self.steps += 1
        b1, b2 = self.betas
        first_fix = 1.0 - b1**self.steps
        second_fix = 1.0 - b2**self.steps
        for i, (p, g) in enumerate(zip(self.parameters, gradients, strict=True)):
            m, s = self._first[i], self._second[i]
            m += np.float32(1.0 - b1) * (g - m)
            s += np.float32(1.0 - b2) * (g * g - s)
            lr = self.rates[i] * factor
            if self.decays[i]:
                p *= np.float32(1.0 - lr * self.decays[i])
            root = np.sqrt(s)
            root *= np.float32(1.0 / np.sqrt(second_fix))
            root += np.float32(1e-8)
            p -= np.float32(lr / first_fix) * m / root
