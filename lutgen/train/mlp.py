"""The float network that lookup training starts from: a multilayer perceptron in numpy."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutgen.train.optim import AdamW, Float32Array, rate

__all__ = ["MLP", "cross_entropy", "train_float"]


def cross_entropy(logits: Float32Array, y: NDArray[np.integer]) -> tuple[float, Float32Array]:
    """Softmax cross-entropy, mean over the batch, and its gradient by the logits.

    Parameters
    ----------
    logits : float array ``[batch, classes]``
    y : int array ``[batch]``
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    gradient = np.exp(shifted)
    total = gradient.sum(axis=1, keepdims=True)
    rows = np.arange(len(y))
    loss = float(np.mean(np.log(total[:, 0]) - shifted[rows, y]))
    gradient /= total
    gradient[rows, y] -= 1
    gradient /= len(y)
    return loss, gradient


@dataclass(frozen=True)
class MLP:
    """Linear layers with ReLU between them.

    Attributes
    ----------
    weights : list of float32 arrays ``[K, N]``
    biases : list of float32 arrays ``[N]``
    """

    weights: list[Float32Array]
    biases: list[Float32Array]

    @classmethod
    def initial(cls, sizes: tuple[int, ...], rng: np.random.Generator) -> "MLP":
        """He's initialisation: variance ``2 / K``; biases 0."""
        pairs = list(itertools.pairwise(sizes))
        return cls(
            [(rng.standard_normal((k, n)) * np.sqrt(2.0 / k)).astype(np.float32) for k, n in pairs],
            [np.zeros(n, dtype=np.float32) for _, n in pairs],
        )

    def activations(self, x: Float32Array) -> list[Float32Array]:
        """The input and every layer's result ``[batch, N]``, after ReLU; the last is the logits."""
        results = [x]
        for i, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            z = results[-1] @ w + b
            if i + 1 < len(self.weights):
                np.maximum(z, 0, out=z)
            results.append(z)
        return results

    def logits(self, x: Float32Array) -> Float32Array:
        """Logits ``[batch, classes]`` of inputs ``[batch, K]``."""
        return self.activations(x)[-1]

    def loss(
        self, x: Float32Array, y: NDArray[np.integer]
    ) -> tuple[float, list[Float32Array], list[Float32Array]]:
        """The mean cross-entropy and its gradients by the weights and by the biases."""
        results = self.activations(x)
        value, gradient = cross_entropy(results[-1], y)
        by_weight: list[Float32Array] = []
        by_bias: list[Float32Array] = []
        for i in reversed(range(len(self.weights))):
            by_weight.insert(0, results[i].T @ gradient)
            by_bias.insert(0, gradient.sum(axis=0))
            if i:
                gradient = (gradient @ self.weights[i].T) * (results[i] > 0)
        return value, by_weight, by_bias


def train_float(
    net: MLP,
    x: Float32Array,
    y: NDArray[np.integer],
    *,
    epochs: int,
    batch: int,
    rng: np.random.Generator,
    learning_rate: float = 2e-3,
    decay: float = 0.02,
    schedule: str = "cosine",
    augment: Callable[[Float32Array, np.random.Generator], Float32Array] | None = None,
    progress: Callable[[int, float], object] | None = None,
) -> None:
    """Trains ``net`` in place.

    Parameters
    ----------
    x : float32 array ``[sample, K]``
        Scaled to about unit range.
    y : int array ``[sample]``
    epochs, batch : int
        Passes over the samples, and samples in one step.
    rng : numpy.random.Generator
        Order of the samples.
    learning_rate, decay, schedule
        See `lutgen.train.optim`; biases do not decay.
    augment : callable or None
        Changes a batch before it is trained on, against overfitting.
    progress : callable or None
        Called with the epochs done and the mean training loss after each.
    """
    layers = len(net.weights)
    optimiser = AdamW(
        [*net.weights, *net.biases],
        [learning_rate] * (2 * layers),
        [decay] * layers + [0.0] * layers,
    )
    starts = range(0, len(x), batch)
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        total = 0.0
        for start in starts:
            chosen = order[start : start + batch]
            part = x[chosen] if augment is None else augment(x[chosen], rng)
            loss, by_weight, by_bias = net.loss(part, y[chosen])
            factor = rate(schedule, optimiser.steps, epochs * len(starts))
            optimiser.step([*by_weight, *by_bias], factor)
            total += loss * len(chosen)
        if progress is not None:
            progress(epoch + 1, total / len(x))
