"""Training from end to end: data in, integer model out."""

import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import lutgen
from lutgen.model import Activation, Model
from lutgen.model.nodes import NAME
from lutgen.numeric import format_for, quantise
from lutgen.train.augment import Augment, reach
from lutgen.train.data import Dataset
from lutgen.train.export import export
from lutgen.train.grouping import group
from lutgen.train.layers import IntArray
from lutgen.train.lookup import LookupNet, replace, tune
from lutgen.train.mlp import MLP, train_float
from lutgen.train.optim import Float32Array
from lutgen.train.options import Options

__all__ = ["Progress", "TrainResult", "input_activation", "model_name", "train"]

SAMPLES = 4096  # that k-means, refit and calibration look at
RATE = 2e-3  # of joint training
DECAY = 0.02  # of weights in joint training
MOST_HELD = 5000  # held-out samples; more would not tell epochs apart any better


@dataclass(frozen=True)
class Recipe:
    """What goes against overfitting.

    Attributes
    ----------
    noise, joint_noise : float
        On inputs of the float and of the lookup network, in parts of their range.
    beta : float
        Weight of the reconstruction terms.
    """

    noise: float
    joint_noise: float
    beta: float


PLAIN = Recipe(noise=0.15, joint_noise=0.1, beta=0.1)
SHIFTED = Recipe(noise=0.1, joint_noise=0.03, beta=0.3)  # shifts do most of it


@dataclass(frozen=True)
class Progress:
    """How far a stage of training has come.

    Attributes
    ----------
    stage : str
        ``float``, ``replace`` or ``joint``.
    done, total : int
        Epochs, or layers.
    seconds, seconds_left : float
        Spent in the stage, and an estimate of what it still takes.
    note : str
        What was measured, in words.
    """

    stage: str
    done: int
    total: int
    seconds: float
    seconds_left: float
    note: str

    def __str__(self) -> str:
        parts = [f"{self.stage} {self.done}/{self.total}", self.note]
        parts.append(f"{self.seconds:.0f} s, {self.seconds_left:.0f} s left")
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class TrainResult:
    """What training gives.

    Attributes
    ----------
    model : Model
        The integer model; its golden inference is what `network` computed.
    float_accuracy, replaced_accuracy, model_accuracy : float
        On the test samples: of the float network, of the lookup network before joint training, of
        the model.
    held_accuracy : float
        Of the model on the training samples that chose the epoch.
    network : LookupNet
        The float parameters behind the model.
    seconds : float
        Wall time.
    """

    model: Model
    float_accuracy: float
    replaced_accuracy: float
    model_accuracy: float
    held_accuracy: float
    network: LookupNet
    seconds: float


class _Clock:
    """Turns counts of one stage into `Progress`."""

    def __init__(self, report: Callable[[Progress], object] | None, stage: str, total: int):
        self._report, self._stage, self._total = report, stage, total
        self._start = time.monotonic()

    def __call__(self, done: int, note: str = "") -> None:
        if self._report is None:
            return
        spent = time.monotonic() - self._start
        left = spent / done * (self._total - done)
        self._report(Progress(self._stage, done, self._total, spent, left, note))


def model_name(text: str) -> str:
    """A model name made of ``text``: other characters become underscores."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return name if NAME.match(name) else f"m_{name}"


def input_activation(x: NDArray[Any], bits: int) -> Activation:
    """The format that holds samples, and its scale.

    Integers that fit ``bits`` are their own codes: scale 1 and the narrowest format, of 2 bits at
    least. Other samples get all the bits, and the scale that just holds their range. Signed only if
    a sample is negative.
    """
    low, high = float(x.min()), float(x.max())
    whole = x.dtype.kind in "bui" or bool(np.all(np.floor(x) == x))
    if whole and max(-low, high) < 2.0**bits:
        fmt = format_for(int(min(low, 0)), int(max(high, 0)))
        if fmt.bits <= bits:
            return Activation(max(2, fmt.bits), fmt.signed, 1.0)
    signed = low < 0
    top = (1 << (bits - signed)) - 1
    scale = max(high / top, -low / (top + 1) if signed else 0.0)
    return Activation(bits, signed, scale)


def train(
    data: Dataset,
    *,
    arch: Sequence[int] = (256, 128),
    subvec: int | None = None,
    centroids: int = 16,
    metric: str = "l1",
    table_bits: int | None = None,
    activation_bits: int = 8,
    seed: int = 0,
    float_epochs: int | None = None,
    epochs: int | None = None,
    name: str | None = None,
    argmax: bool = False,
    progress: Callable[[Progress], object] | None = None,
) -> TrainResult:
    """Trains a float network, replaces its layers by lookups, and trains those.

    One part in ten of the training samples (5,000 at most) is held out and chooses the epoch that
    is kept; test samples only measure. The same arguments give the same model on the same machine.

    Parameters
    ----------
    data : Dataset
        See `lutgen.train.load_data`.
    arch, subvec, centroids, metric, table_bits, activation_bits, seed, float_epochs, epochs
        See `lutgen.train.options.Options`.
    name : str or None
        Of the model; None for the data set's.
    argmax : bool
        Whether the model ends in an ``argmax`` node.
    progress : callable or None
        Called with a `Progress` after every epoch and layer.

    Raises
    ------
    TypeError, ValueError
        If an option is wrong, before any work.
    """
    options = Options(
        tuple(arch),
        subvec,
        centroids,
        metric,
        table_bits,
        activation_bits,
        seed,
        float_epochs,
        epochs,
    )
    title = model_name(data.name) if name is None else name
    if not NAME.match(title):
        raise ValueError(f"Name must be letters, digits and underscores, not {title!r}")
    source = input_activation(data.x_train, options.activation_bits)
    features = int(np.prod(data.x_train.shape[1:]))
    options.check(features, source.format)
    with one_blas_thread():
        return _run(data, options, source, title, argmax, progress)


def _run(
    data: Dataset,
    options: Options,
    source: Activation,
    name: str,
    argmax: bool,
    progress: Callable[[Progress], object] | None,
) -> TrainResult:
    start = time.monotonic()
    rng = np.random.default_rng(options.seed)
    order = rng.permutation(len(data.x_train))
    held = order[: min(MOST_HELD, max(1, len(order) // 10))]
    rest = order[len(held) :]
    x = data.x_train.reshape(len(order), -1)
    q = quantise_samples(x, source)
    y = data.y_train
    # Unit range: the optimiser's steps then suit any data set. The model's integers do not see it.
    unit = 1.0 / (float(np.abs(x.astype(np.float64)).max()) or 1.0)

    batch = 64 if len(rest) < 10_000 else 128
    steps = -(-len(rest) // batch)
    suited = min(300, max(16, 1200 // steps))  # few samples take more passes to as many steps
    passes = suited if options.float_epochs is None else options.float_epochs
    recipe = SHIFTED if any(reach(data.shape)) else PLAIN
    noise = recipe.joint_noise / (source.scale * unit)
    clock = _Clock(progress, "float", passes)
    net = MLP.initial((x.shape[1], *options.arch, data.classes), rng)
    train_float(
        net,
        (x[rest] * unit).astype(np.float32),
        y[rest],
        epochs=passes,
        batch=batch,
        rng=rng,
        augment=Augment(data.shape, None, recipe.noise),
        progress=lambda done, loss: clock(done, f"loss {loss:.4f}"),
    )
    test_x = data.x_test.reshape(len(data.x_test), -1)
    float_accuracy = accuracy(net.logits((test_x * unit).astype(np.float32)), data.y_test)

    if options.metric != "digit":
        group(net, (x[rest[:SAMPLES]] * unit).astype(np.float32), options.v)
    layers = _Clock(progress, "replace", len(net.weights))
    lookup = replace(
        net,
        q[rest[:SAMPLES]],
        source.format,
        source.scale * unit,
        subvec=options.v,
        centroids=options.centroids,
        metric=options.metric,
        table_bits=options.bits,
        activation_bits=options.activation_bits,
        rng=rng,
        progress=lambda done: layers(done),
    )
    test_q = quantise_samples(test_x, source)
    replaced = accuracy(lookup.outputs(test_q), data.y_test)

    passes = suited if options.epochs is None else options.epochs
    tuning = _Clock(progress, "joint", passes)
    tune(
        lookup,
        q[rest],
        y[rest],
        q[held],
        y[held],
        epochs=passes,
        batch=batch,
        rng=rng,
        augment=Augment(data.shape, source.format, noise),
        beta=recipe.beta,
        decay=DECAY,
        learning_rate=RATE,
        progress=lambda done, loss, held: tuning(
            done, f"loss {loss:.4f}, held-out {100 * held:.2f} %"
        ),
    )
    model_accuracy = accuracy(lookup.outputs(test_q), data.y_test)
    provenance = {
        "lutgen": lutgen.__version__,
        "data": data.name,
        "seed": options.seed,
        "split_seed": data.seed,
        "settings": options.to_manifest(),
        "accuracy": {"float": float_accuracy, "model": model_accuracy},
    }
    model = export(lookup, name, data.shape, source, provenance, argmax=argmax)
    return TrainResult(
        model,
        float_accuracy,
        replaced,
        model_accuracy,
        lookup.score(q[held], y[held])[0],
        lookup,
        time.monotonic() - start,
    )


def one_blas_thread() -> AbstractContextManager[object]:
    """Keeps matrix products on one thread.

    The products are small: more threads gain nothing, and on a busy machine their waiting for each
    other has cost a factor of eight. Sums also come out alike on any number of cores.
    """
    limit: AbstractContextManager[object] = threadpool_limits(limits=1, user_api="blas")
    return limit


def quantise_samples(x: NDArray[Any], source: Activation) -> IntArray:
    """Input integers ``[sample, K]``; in blocks, as quantising goes through float64."""
    result = np.empty(x.shape, dtype=np.int32)
    for start in range(0, len(x), 4096):
        part = x[start : start + 4096]
        result[start : start + 4096] = quantise(part, source.scale, source.format)
    return result


def accuracy(outputs: Float32Array | NDArray[np.int64], y: NDArray[np.int64]) -> float:
    """The share of samples whose greatest output is their class."""
    return float(np.mean(outputs.argmax(axis=1) == y))
