"""Stages with gradients: centroids alone (calibrate), or everything (joint)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.train.augment import Augment
from lutgen.train.floatnet import FloatLayer, FloatNet, ReLU, columns, cross_entropy
from lutgen.train.kept import BOTH, HELD, Kept
from lutgen.train.lookups import Integers, Vectors
from lutgen.train.lutnet import Average, Join, LookupNet
from lutgen.train.optim import Float32Array, optimiser, rate
from lutgen.train.parallel import Workers
from lutgen.train.scales import SCALED, fit_all

__all__ = [
    "PARAMETERS",
    "Diverged",
    "Epoch",
    "Samples",
    "Snapshot",
    "Tuning",
    "kept",
    "score",
    "tune",
]

PARAMETERS = ("weight", "bias", "books", "residual")

Found = tuple[float, float, dict[str, dict[str, Float32Array]]]  # what `LookupNet.loss` gives

JUDGED = 1024  # samples that new scales have to suit
GROWTH = 1e6  # of a parameter, over what its root mean square was: more is no training


class Diverged(ValueError):  # noqa: N818 - it says what happened, as StopIteration does
    """The loss is no number, or has left all bounds; the network holds its last good state."""


@dataclass(frozen=True)
class Samples:
    """Input integers ``[sample, ...]`` and classes ``[sample]``."""

    q: NDArray[Any]
    y: NDArray[np.integer]


@dataclass(frozen=True)
class Tuning:
    """Settings of a stage with gradients.

    Parameters
    ----------
    epochs, batch : int
        Passes over the samples, and samples in one step.
    learning_rate : float
        Of a parameter in parts of its own root mean square, so that one rate serves layers and
        codebooks of any scale.
    decay : float
        Of weights and free tables; AdamW's, or SGD's.
    beta : float
        Weight of the reconstruction terms; see `lutgen.train.lookups.Lookup.backward`.
    distill : float
        0..1: how much of the loss is the cross-entropy towards the float network's probabilities
        in place of the classes.
    follow : float
        0..1: how far every step moves centroids to the means of what they serve; see
        `lutgen.train.lookups.Vectors.follow`.
    hint : float
        Weight of the mean squared differences between what residual joins and pools give here and
        in the float network, over the variances.
    soft : float
        0..1: how much of the gradient by a lookup's inputs is that of a soft choice of centroids;
        see `lutgen.train.soft`.
    temperature : float
        Of the float network's probabilities.
    optimiser : str
        ``adamw`` or ``sgd``.
    schedule : str
        ``cosine`` or ``linear``.
    train : tuple of str
        Which parameters move: of ``weight``, ``bias``, ``books``, ``residual``.
    """

    epochs: int
    batch: int = 128
    learning_rate: float = 5e-3
    decay: float = 0.0
    beta: float = 0.1
    distill: float = 0.0
    follow: float = 0.0
    hint: float = 0.0
    soft: float = 0.0
    temperature: float = 1.0
    optimiser: str = "adamw"
    schedule: str = "cosine"
    train: tuple[str, ...] = PARAMETERS


@dataclass(frozen=True)
class Epoch:
    """What one epoch measured: mean training loss and accuracy, held-out loss and accuracy."""

    loss: float
    accuracy: float
    held_loss: float
    held_accuracy: float


@dataclass
class Snapshot:
    """Parameters and scales of a lookup network.

    Attributes
    ----------
    arrays : dict of arrays
        By ``layer.parameter``.
    scales : dict of lists
        By operation: what its scale and shift hang on.
    """

    arrays: dict[str, Float32Array] = field(default_factory=dict)
    scales: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, net: LookupNet) -> "Snapshot":
        """A copy of a network's state."""
        arrays = {
            f"{name}.{key}": value.copy()
            for name, lookup in net.lookups.items()
            for key, value in lookup.parameters.items()
        }
        for name, lookup in net.lookups.items():
            if isinstance(lookup, Vectors):
                arrays[f"{name}.moved"] = lookup.moved.copy()
        scales: dict[str, list[float]] = {
            name: [lookup.in_scale, lookup.table_scale, lookup.shift]
            for name, lookup in net.lookups.items()
        }
        for op in net.ops:
            if isinstance(op, Join):
                scales[op.name] = [op.shift]
            elif isinstance(op, Average):
                scales[op.name] = [op.finer]
        return cls(arrays, scales)

    def restore(self, net: LookupNet) -> None:
        """Brings a network back to this state."""
        for name, lookup in net.lookups.items():
            if isinstance(lookup, Vectors):
                if f"{name}.residual" in self.arrays:
                    lookup.free()
                else:
                    lookup.tie()
                lookup.moved[:] = self.arrays[f"{name}.moved"]
            for key, value in lookup.parameters.items():
                value[:] = self.arrays[f"{name}.{key}"]
            lookup.in_scale, lookup.table_scale, shift = self.scales[name]
            lookup.shift = int(shift)
        for op in net.ops:
            if isinstance(op, Join):
                op.shift = int(self.scales[op.name][0])
            elif isinstance(op, Average):
                op.finer = float(self.scales[op.name][0])
        net.form()


@dataclass
class State:
    """Where a stage stands after an epoch: all that is needed to go on as if nothing happened.

    Attributes
    ----------
    done : int
        Epochs.
    now, best : Snapshot
        The network after them, and the one that is kept so far.
    best_loss : float
        Of the latter on the held-out samples.
    rates : dict of float
        Those that the stage began with: parameters grow in training, and their rates would with
        them.
    before : (float, float)
        Loss and accuracy of the network before the stage, on the held-out samples.
    judged : list of float
        The losses that choose between the network before the stage, which comes first, and those
        after the epochs of the last quarter.
    kept : int
        The epoch that ``best`` is of; 0 for the network before the stage.
    """

    done: int
    now: Snapshot
    best: Snapshot
    best_loss: float
    moments: dict[str, Float32Array]
    steps: int
    history: list[Epoch]
    rates: dict[str, float]
    before: tuple[float, float]
    judged: list[float]
    kept: int


def score(
    net: LookupNet, samples: Samples, workers: Workers, ints: dict[str, Integers] | None = None
) -> tuple[float, float]:
    """Accuracy and mean cross-entropy of samples."""
    arrays = net.integers() if ints is None else ints
    size = 4 * net.part
    starts = range(0, len(samples.q), size)
    outputs = np.concatenate(
        workers.map(
            lambda s: net.outputs(samples.q[s : s + size], arrays, batch=net.part), list(starts)
        )
    )
    logits = (outputs.T * net.last.wire.scale).astype(np.float32)
    accuracy = float(np.mean(outputs.argmax(axis=1) == samples.y))
    return accuracy, cross_entropy(logits, samples.y)[0]


def rates(net: LookupNet, train: tuple[str, ...]) -> dict[str, float]:
    """How far a step of 1 moves each parameter that is trained, by ``layer.parameter``."""
    result = {}
    for name, lookup in net.lookups.items():
        for key, value in lookup.parameters.items():
            if key not in train:
                continue
            if key == "bias":
                top = lookup.output.high if lookup.output else 1 << (lookup.table.bits - 1)
                size = lookup.out_scale * top / 4
            elif key == "residual":
                assert isinstance(lookup, Vectors)
                size = _rms(lookup.real_tables())
            else:
                size = _rms(value)
            result[f"{name}.{key}"] = max(size, 1e-12)
    return result


def _bounded(parameters: dict[str, Float32Array], sizes: dict[str, float]) -> bool:
    """Whether all parameters still are of the order that they began with."""
    return all(np.abs(value).max() < GROWTH * sizes[key] for key, value in parameters.items())


def _rms(x: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


@np.errstate(all="ignore")  # numbers that leave all bounds are found where they are looked for
def tune(
    net: LookupNet,
    samples: Samples,
    held: Samples,
    tuning: Tuning,
    seed: tuple[int, ...],
    workers: Workers,
    *,
    origin: FloatNet | None = None,
    augment: Augment | None = None,
    state: State | None = None,
    saved: Callable[[State], object] | None = None,
    progress: Callable[[float, Epoch | None], object] | None = None,
    seen: Samples | None = None,
) -> State:
    """Trains in place.

    Of the epochs of the last quarter, the one with the least loss on the held-out samples is kept,
    of those that are better than the start. What they are compared with the start by is this loss
    too, unless the start has seen the held-out samples, as a network that comes trained has. Their
    loss then favours the start, and that of samples which both have seen favours what was trained
    on them just now: the mean of both decides.

    Parameters
    ----------
    seen : Samples or None
        Those, where the start has seen the held-out samples; None where it has not.
    seed : tuple of int
        With the epoch and the step it fixes everything random, so that a run can go on where it
        was interrupted.
    origin : FloatNet or None
        What is distilled from.
    augment : Augment or None
    state : State or None
        Where to go on.
    saved : callable or None
        Called with the state after each epoch.
    progress : callable or None
        Called with the epochs done, a fraction of the way too, and what a whole one measured.

    Raises
    ------
    Diverged
        The network is then as it was after its best epoch.
    """
    if state is not None:
        state.now.restore(net)
    for lookup in net.lookups.values():
        if isinstance(lookup, Vectors):
            lookup.moving = "residual" in tuning.train
            lookup.moving_books = "books" in tuning.train
            lookup.counting = tuning.follow > 0
            lookup.soft = tuning.soft
    moved = rates(net, tuning.train) if state is None else state.rates
    parameters = {
        key: value
        for name, lookup in net.lookups.items()
        for part, value in lookup.parameters.items()
        if (key := f"{name}.{part}") in moved
    }
    # A step of Adam is as long as its rate; one of SGD is also as long as the gradient, which
    # shrinks as the parameter grows.
    power = 2 if tuning.optimiser == "sgd" else 1
    decayed = {key for key in moved if key.endswith((".weight", ".residual"))}
    step = optimiser(
        tuning.optimiser,
        list(parameters.values()),
        [tuning.learning_rate * moved[key] ** power for key in parameters],
        [tuning.learning_rate * tuning.decay * (key in decayed) for key in parameters],
    )
    if state is None:
        first = Snapshot.of(net)
        accuracy, loss = score(net, held, workers)
        judged = [_judged(net, loss, seen, workers)]
        state = State(0, first, first, loss, {}, 0, [], moved, (loss, accuracy), judged, 0)
    else:
        step.load(state.moments, state.steps)
    starts = range(0, len(samples.q), tuning.batch)
    hinted = {} if origin is None else hint_layers(net, origin)
    fmt = net.source.format
    soft_scale = np.float32(net.source.scale)
    size = net.part
    scaled = max(size, SCALED // int(np.prod(net.inside[1:], dtype=int)))

    def work(part: tuple[NDArray[np.int64], tuple[int, ...], dict[str, Integers], int]) -> Found:
        chosen, own, ints, batch = part
        number = own[-1] // size
        x = samples.q[chosen]
        if augment is not None:
            x = augment(x, np.random.default_rng(own), fmt)
        q = columns(x, net.inside).astype(np.float32)
        soft = None
        hints: dict[str, Float32Array] = {}
        if (tuning.distill or tuning.hint) and origin is not None:

            def visit(layer: FloatLayer, value: Float32Array) -> None:
                if tuning.hint and layer.name in hinted:
                    hints[hinted[layer.name]] = value

            soft = _softmax(origin.run(q * soft_scale, visit), tuning.temperature)
        found = net.loss(
            q,
            samples.y[chosen],
            ints,
            tuning.beta,
            soft,
            tuning.distill,
            hints,
            tuning.hint,
            number,
        )
        return _scaled(found, len(chosen) / batch)

    for epoch in range(state.done, tuning.epochs):
        order = np.random.default_rng((*seed, epoch)).permutation(len(samples.q))
        if epoch:
            refresh(net, samples, order, scaled, workers)
        total, right = 0.0, 0.0
        for number, start in enumerate(starts):
            chosen = order[start : start + tuning.batch]
            ints = net.integers()
            parts = [
                (chosen[s : s + size], (*seed, epoch, number, s), ints, len(chosen))
                for s in range(0, len(chosen), size)
            ]
            loss, hits, gradients = _merged(net, workers.map(work, parts))
            if not np.isfinite(loss):
                state.best.restore(net)
                raise Diverged(f"Training diverged in epoch {epoch + 1}: the loss is {loss}")
            factor = rate(tuning.schedule, step.steps, tuning.epochs * len(starts))
            step.step([gradients[key] for key in parameters], factor)
            for name, lookup in net.lookups.items():
                if isinstance(lookup, Vectors) and lookup.counting:
                    counts, sums = gradients[f"{name}.counts"], gradients[f"{name}.sums"]
                    lookup.follow(counts, sums, tuning.follow)
                lookup.settle()
            total += loss * len(chosen)
            right += hits
            if progress is not None:
                progress(epoch + (number + 1) / len(starts) * 0.97, None)
        if not _bounded(parameters, moved):
            state.best.restore(net)
            raise Diverged(f"Training diverged in epoch {epoch + 1}: parameters grow out of bounds")
        accuracy, loss = score(net, held, workers)
        measured = Epoch(total / len(samples.q), right / len(samples.q), loss, accuracy)
        now, judged, better = Snapshot.of(net), state.judged, False
        # At a high rate epochs differ by luck, which a small held-out set takes for merit.
        if epoch + 1 > early(tuning.epochs):
            judged = [*judged, _judged(net, loss, seen, workers)]
            better = judged[-1] < judged[0] and (not state.kept or loss < state.best_loss)
        state = State(
            epoch + 1,
            now,
            now if better else state.best,
            loss if better else state.best_loss,
            step.save(),
            step.steps,
            [*state.history, measured],
            moved,
            state.before,
            judged,
            epoch + 1 if better else state.kept,
        )
        if not np.isfinite(loss):
            state.best.restore(net)
            raise Diverged(f"Training diverged in epoch {epoch + 1}: the held-out loss is {loss}")
        if saved is not None:
            saved(state)
        if progress is not None:
            progress(epoch + 1, measured)
    state.best.restore(net)
    return state


def early(epochs: int) -> int:
    """The epochs before the last quarter, of which none is kept."""
    return 3 * epochs // 4


def _judged(net: LookupNet, loss: float, seen: Samples | None, workers: Workers) -> float:
    """What a state is compared with the start by, if ``loss`` is that of the held-out samples."""
    return loss if seen is None else (loss + score(net, seen, workers)[1]) / 2


def kept(state: State, seen: bool) -> Kept:
    """Which state a stage with all its epochs done has kept, and why.

    Parameters
    ----------
    state : State
    seen : bool
        Whether samples that both have seen took part.
    """
    best = early(state.done) + 1 + int(np.argmin(state.judged[1:]))
    return Kept(
        state.kept,
        state.done,
        BOTH if seen else HELD,
        state.judged[0],
        min(state.judged[1:]),
        state.before[1],
        state.history[(state.kept or best) - 1].held_accuracy,
    )


def refresh(
    net: LookupNet, samples: Samples, order: NDArray[np.integer], count: int, workers: Workers
) -> None:
    """Chooses scales anew for what training has made of the parameters, if that lowers the loss.

    Weights grow, and tables that clip hold them back. But a scale that is hardly another rounds
    every entry anew, and undoes what a refit and training have made of the roundings.

    Parameters
    ----------
    order : int array
        Samples in random order: scales are chosen on the first ``count`` of them, 1,024 at most,
        and judged on the first 1,024.
    """
    some = order[:JUDGED]
    judged = Samples(samples.q[some], samples.y[some])
    before, loss = Snapshot.of(net), score(net, judged, workers)[1]
    chosen = np.sort(order[: min(count, JUDGED)])
    fit_all(net, columns(samples.q[chosen], net.inside).astype(np.float32))
    if score(net, judged, workers)[1] > loss:
        before.restore(net)


def hint_layers(net: LookupNet, origin: FloatNet) -> dict[str, str]:
    """The float layers that residual joins and pools should do like, and those operations."""
    kinds = {layer.name: type(layer) for layer in origin.layers}
    result = {}
    for op in net.ops:
        if isinstance(op, Join | Average):
            users = origin.users[op.name]
            fused = len(users) == 1 and kinds[users[0]] is ReLU
            result[users[0] if fused else op.name] = op.name
    return result


def _scaled(found: Found, share: float) -> Found:
    """Loss, right samples and raw gradients of a part of a batch, of which it is that share."""
    loss, right, raw = found
    if share < 1:
        for own in raw.values():
            for gradient in own.values():
                gradient *= np.float32(share)
    return loss * share, right, raw


def _merged(net: LookupNet, results: list[Found]) -> tuple[float, float, dict[str, Float32Array]]:
    """Loss, right samples and gradients of a batch, sums of those of its parts."""
    loss, right = 0.0, 0.0
    total: dict[str, dict[str, Float32Array]] = {}
    for value, hits, raw in results:
        loss += value
        right += hits
        for name, own in raw.items():
            into = total.setdefault(name, {})
            for key, gradient in own.items():
                if key in into:
                    into[key] += gradient
                else:
                    into[key] = gradient
    lookups = net.lookups
    return (
        loss,
        right,
        {
            f"{name}.{key}": gradient
            for name, own in total.items()
            for key, gradient in lookups[name].finish(own).items()
        },
    )


def _softmax(logits: Float32Array, temperature: float) -> Float32Array:
    scaled = (logits - logits.max(axis=0)) / np.float32(temperature)
    result: Float32Array = np.exp(scaled)
    result /= result.sum(axis=0)
    return result
