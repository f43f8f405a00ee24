"""Trains a float network from the start."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutgen.train.augment import Augment
from lutgen.train.conv import Taps
from lutgen.train.floatnet import FloatNet, Weighted, columns
from lutgen.train.optim import Float32Array, optimiser, rate
from lutgen.train.parallel import Workers
from lutgen.train.tune import Diverged, Samples

__all__ = ["FloatState", "fit_float"]


@dataclass
class FloatState:
    """Where float training stands after an epoch."""

    done: int
    arrays: dict[str, Float32Array]
    moments: dict[str, Float32Array]
    steps: int
    losses: list[float]


def part_size(net: FloatNet) -> int:
    """Samples that are worked on at once; batch norms see as many."""
    convolves = any(isinstance(k, Weighted) and isinstance(k.rows, Taps) for k in net.layers)
    return 32 if convolves else 256


def fit_float(
    net: FloatNet,
    samples: Samples,
    unit: float,
    *,
    epochs: int,
    batch: int,
    seed: tuple[int, ...],
    workers: Workers,
    learning_rate: float = 2e-3,
    decay: float = 0.02,
    schedule: str = "cosine",
    method: str = "adamw",
    augment: Augment | None = None,
    state: FloatState | None = None,
    saved: Callable[[FloatState], object] | None = None,
    progress: Callable[[float, float | None], object] | None = None,
) -> FloatState:
    """Trains ``net`` in place.

    Parameters
    ----------
    samples : Samples
        In the data's own units.
    unit : float
        Factor that brings them to about unit range.
    epochs, batch, schedule, method
        See `lutgen.train.tune.Tuning`.
    learning_rate : float
    decay : float
        AdamW's, of weights; biases and batch norms do not decay.
    augment : Augment or None
    state, saved, seed
        See `lutgen.train.tune.tune`.
    progress : callable or None
        Called with the epochs done, a fraction of the way too, and the mean loss of a whole one.

    Raises
    ------
    Diverged
        If the loss is no number.
    """
    parameters = net.parameters
    weights = {id(k.weight) for k in net.layers if isinstance(k, Weighted)}
    step = optimiser(
        method,
        parameters,
        [learning_rate] * len(parameters),
        [learning_rate * decay * (id(p) in weights) for p in parameters],
    )
    if state is None:
        state = FloatState(0, {}, {}, 0, [])
    else:
        for i, array in enumerate(net.state()):
            array[:] = state.arrays[f"{i}"]
        step.load(state.moments, state.steps)
    starts = range(0, len(samples.q), batch)
    size = part_size(net)

    def work(
        part: tuple[NDArray[np.int64], tuple[int, ...]],
    ) -> tuple[float, list[Float32Array], list[object]]:
        chosen, own = part
        x = samples.q[chosen].astype(np.float32) * np.float32(unit)
        if augment is not None:
            x = augment(x, np.random.default_rng(own))
        return net.loss(columns(x, net.inside), samples.y[chosen])

    for epoch in range(state.done, epochs):
        order = np.random.default_rng((*seed, epoch)).permutation(len(samples.q))
        total = 0.0
        for number, start in enumerate(starts):
            chosen = order[start : start + batch]
            parts = [
                (chosen[s : s + size], (*seed, epoch, number, s))
                for s in range(0, len(chosen), size)
            ]
            gradients = [np.zeros_like(p) for p in parameters]
            loss = 0.0
            for (mine, _), (value, own, memories) in zip(
                parts, workers.map(work, parts), strict=True
            ):
                share = len(mine) / len(chosen)
                loss += share * value
                for into, gradient in zip(gradients, own, strict=True):
                    into += np.float32(share) * gradient
                net.absorb(memories)
            if not np.isfinite(loss):
                raise Diverged(f"Training diverged in epoch {epoch + 1}: the loss is {loss}")
            step.step(gradients, rate(schedule, step.steps, epochs * len(starts)))
            total += loss * len(chosen)
            if progress is not None:
                progress(epoch + (number + 1) / len(starts) * 0.99, None)
        state = FloatState(
            epoch + 1,
            {f"{i}": array.copy() for i, array in enumerate(net.state())},
            step.save(),
            step.steps,
            [*state.losses, total / len(samples.q)],
        )
        if saved is not None:
            saved(state)
        if progress is not None:
            progress(epoch + 1, state.losses[-1])
    return state
