"""The optimisers: AdamW, and SGD with momentum, with a learning rate that falls over the run."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "OPTIMISERS",
    "SCHEDULES",
    "SGD",
    "AdamW",
    "Float32Array",
    "Optimiser",
    "moment_shapes",
    "optimiser",
    "rate",
]

Float32Array = NDArray[np.float32]

OPTIMISERS = ("adamw", "sgd")
SCHEDULES = ("linear", "cosine")


def rate(schedule: str, step: int, steps: int) -> float:
    """The factor on the learning rate at ``step`` of ``steps``: from 1 down to nearly 0."""
    part = step / max(1, steps)
    if schedule == "linear":
        return 1.0 - part
    if schedule == "cosine":
        return 0.5 * (1.0 + float(np.cos(np.pi * part)))
    raise ValueError(f"Schedule must be one of {', '.join(SCHEDULES)}, not {schedule!r}")


class Optimiser:
    """Updates parameters in place.

    Parameters
    ----------
    parameters : sequence of float32 arrays
    rates : sequence of float
        Learning rate of each parameter, before the schedule.
    decays : sequence of float
        Decoupled weight decay of each parameter.
    """

    kept: tuple[str, ...] = ()  # attributes that hold one moment array a parameter

    def __init__(
        self,
        parameters: Sequence[Float32Array],
        rates: Sequence[float],
        decays: Sequence[float],
    ):
        self.parameters = list(parameters)
        self.rates, self.decays = list(rates), list(decays)
        self.steps = 0

    def step(self, gradients: Sequence[Float32Array], factor: float) -> None:
        """One update; ``factor`` scales every learning rate (see `rate`)."""
        raise NotImplementedError

    def save(self) -> dict[str, Float32Array]:
        """Copies of the moments, for `load`."""
        return {
            f"{name}{i}": moment.copy()
            for name in self.kept
            for i, moment in enumerate(getattr(self, name))
        }

    def load(self, moments: Mapping[str, Float32Array], steps: int) -> None:
        """Goes on where another optimiser of the same parameters stood."""
        self.steps = steps
        for name in self.kept:
            for i, moment in enumerate(getattr(self, name)):
                moment[:] = moments[f"{name}{i}"]


class AdamW(Optimiser):
    """Adam with decoupled weight decay.

    Takes `Optimiser`'s parameters, and ``betas``, the decay of the two running moments.
    """

    kept = ("first", "second")

    def __init__(
        self,
        parameters: Sequence[Float32Array],
        rates: Sequence[float],
        decays: Sequence[float],
        betas: tuple[float, float] = (0.9, 0.999),
    ):
        super().__init__(parameters, rates, decays)
        self.betas = betas
        self.first = [np.zeros_like(p) for p in self.parameters]
        self.second = [np.zeros_like(p) for p in self.parameters]

    def step(self, gradients: Sequence[Float32Array], factor: float) -> None:
        self.steps += 1
        b1, b2 = self.betas
        first_fix = 1.0 - b1**self.steps
        second_fix = 1.0 - b2**self.steps
        for i, (p, g) in enumerate(zip(self.parameters, gradients, strict=True)):
            pace = np.float32(self.rates[i] * factor / first_fix)
            left = np.float32(1.0 - factor * self.decays[i])
            m, s = self.first[i], self.second[i]
            change = g - m
            change *= np.float32(1.0 - b1)
            m += change
            np.multiply(g, g, out=change)
            change -= s
            change *= np.float32(1.0 - b2)
            s += change
            if self.decays[i]:
                p *= left
            root = np.sqrt(s)
            root *= np.float32(1.0 / np.sqrt(second_fix))
            root += np.float32(1e-8)
            np.multiply(m, pace, out=change)
            change /= root
            p -= change


class SGD(Optimiser):
    """Stochastic gradient descent with momentum.

    Takes `Optimiser`'s parameters, and ``momentum``.
    """

    kept = ("velocity",)

    def __init__(
        self,
        parameters: Sequence[Float32Array],
        rates: Sequence[float],
        decays: Sequence[float],
        momentum: float = 0.9,
    ):
        super().__init__(parameters, rates, decays)
        self.momentum = momentum
        self.velocity = [np.zeros_like(p) for p in self.parameters]

    def step(self, gradients: Sequence[Float32Array], factor: float) -> None:
        self.steps += 1
        for i, (p, g) in enumerate(zip(self.parameters, gradients, strict=True)):
            v = self.velocity[i]
            v *= np.float32(self.momentum)
            v += g
            if self.decays[i]:
                p *= np.float32(1.0 - factor * self.decays[i])
            p -= np.float32(self.rates[i] * factor) * v


def moment_shapes(name: str, shapes: Sequence[tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes of what `Optimiser.save` gives, of parameters of these shapes."""
    kind = SGD if name == "sgd" else AdamW
    return {f"{kept}{i}": shape for kept in kind.kept for i, shape in enumerate(shapes)}


def optimiser(
    name: str,
    parameters: Sequence[Float32Array],
    rates: Sequence[float],
    decays: Sequence[float],
) -> Optimiser:
    """The optimiser of that name, one of `OPTIMISERS`."""
    if name == "adamw":
        return AdamW(parameters, rates, decays)
    if name == "sgd":
        return SGD(parameters, rates, decays)
    raise ValueError(f"Optimiser must be one of {', '.join(OPTIMISERS)}, not {name!r}")
