"""Training from end to end: data in, integer model out."""

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lutgen
from lutgen.errors import LutgenError
from lutgen.model import Activation, Model
from lutgen.model.nodes import NAME
from lutgen.numeric import format_for, quantise
from lutgen.train import refit as closed
from lutgen.train import report
from lutgen.train.arch import build
from lutgen.train.augment import Augment
from lutgen.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from lutgen.train.convert import convert
from lutgen.train.data import Dataset
from lutgen.train.export import export
from lutgen.train.floatfit import FloatState, fit_float
from lutgen.train.floatnet import Conv2d, FloatNet, columns
from lutgen.train.fold import fold_batch_norm
from lutgen.train.grouping import group
from lutgen.train.lutnet import LookupNet, Wire
from lutgen.train.options import STAGES, Options, StageOptions
from lutgen.train.parallel import Workers, one_blas_thread
from lutgen.train.progress import Clock, Progress
from lutgen.train.recipes import Recipe, recipe
from lutgen.train.tune import Diverged, Epoch, Samples, Snapshot, State, Tuning, score, tune

__all__ = ["TrainResult", "input_activation", "model_name", "train"]

MOST_HELD = 5000  # held-out samples; more would not tell epochs apart any better


@dataclass(frozen=True)
class TrainResult:
    """What training gives.

    Attributes
    ----------
    model : Model
        The integer model; its golden inference is what `network` computed.
    accuracy : dict of str to float
        On the test samples: of the ``float`` network, after each stage that ran, and of the
        ``model``.
    held_accuracy : float
        Of the model on the training samples that chose the epoch.
    curves : dict of str to list of Epoch
        What every epoch of the stages with gradients measured.
    layers : list of report.LayerReport
        A row for each lookup layer.
    network : LookupNet
        The float parameters behind the model.
    origin : FloatNet
        The float network.
    diverged : str
        Why training was broken off, empty if it was not; the model is then of the last good epoch.
    seconds : float
        Wall time.
    """

    model: Model
    accuracy: dict[str, float]
    held_accuracy: float
    curves: dict[str, list[Epoch]]
    layers: "list[report.LayerReport]"
    network: LookupNet
    origin: FloatNet
    diverged: str
    seconds: float

    @property
    def float_accuracy(self) -> float:
        """Of the float network on the test samples."""
        return self.accuracy["float"]

    @property
    def model_accuracy(self) -> float:
        """Of the model on the test samples."""
        return self.accuracy["model"]


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
    net: FloatNet | None = None,
    arch: Sequence[int] | str = (256, 128),
    subvec: int | None = None,
    centroids: int = 16,
    metric: str = "l1",
    table_bits: int | None = None,
    activation_bits: int = 8,
    encode: str = "pixel",
    order: str = "chw",
    tables: str = "free",
    layers: Mapping[str, Mapping[str, Any]] | None = None,
    stages: Sequence[str] = ("replace", "refit", "joint"),
    settings: Mapping[str, StageOptions] | None = None,
    augment: Augment | None = None,
    seed: int = 0,
    float_epochs: int | None = None,
    epochs: int | None = None,
    name: str | None = None,
    argmax: bool = False,
    threads: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    start: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], object] | None = None,
) -> TrainResult:
    """Trains a float network, replaces its layers by lookups, and trains those.

    One part in ten of the training samples (5,000 at most) is held out and chooses the epoch that
    is kept; test samples only measure. The same arguments give the same model on the same machine,
    on any number of threads.

    Parameters
    ----------
    data : Dataset
        See `lutgen.train.load_data`.
    net : FloatNet or None
        A network of your own, or an imported one. It is trained only if ``float_epochs`` says so,
        and must then read inputs of about unit range; it stays as it is.
    arch, subvec, centroids, metric, table_bits, activation_bits, encode, order, tables, layers
        See `lutgen.train.options.Options`.
    stages, settings, seed, float_epochs, epochs
        See `lutgen.train.options.Options`.
    augment : Augment or None
        What is done to samples in training; None for what suits the data.
    name : str or None
        Of the model; None for the data set's.
    argmax : bool
        Whether the model ends in an ``argmax`` node.
    threads : int or None
        None for one per core, four at most.
    checkpoint : path or None
        Written after every stage and epoch. If it is there already, the run goes on from it.
    start : path or None
        A checkpoint of a run of the same network and layers, to begin the first stage from.
    progress : callable or None
        Called with a `Progress` after every epoch and layer, and now and then within an epoch.

    Raises
    ------
    TypeError, ValueError
        If an option is wrong, before any work.
    LutgenError
        If a checkpoint can't be used.
    """
    options = Options(
        arch if isinstance(arch, str) else tuple(arch),
        subvec,
        centroids,
        metric,
        table_bits,
        activation_bits,
        encode,
        order,
        tables,
        dict(layers or {}),
        tuple(stage for stage in STAGES if stage in stages),
        dict(settings or {}),
        seed,
        float_epochs,
        epochs,
    )
    for stage in stages:
        if stage not in STAGES:
            raise ValueError(f"Stage must be one of {', '.join(STAGES)}, not {stage!r}")
    title = model_name(data.name) if name is None else name
    if not NAME.match(title):
        raise ValueError(f"Name must be letters, digits and underscores, not {title!r}")
    with one_blas_thread(), Workers(threads) as workers:
        run = Run(data, net, options, augment, workers, progress)
        return run.all(title, argmax, checkpoint, start)


@dataclass
class Run:
    """One run, checked before any work; `all` does it."""

    data: Dataset
    given: FloatNet | None
    options: Options
    augment: Augment | None
    workers: Workers
    progress: Callable[[Progress], object] | None
    accuracy: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[Epoch]] = field(default_factory=dict)
    alone: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        data, options = self.data, self.options
        self.began = time.monotonic()
        self.source = input_activation(data.x_train, options.activation_bits)
        rng = np.random.default_rng(options.seed)
        order = rng.permutation(len(data.x_train))
        self.held = order[: min(MOST_HELD, max(1, len(order) // 10))]
        self.rest = order[len(self.held) :]
        if self.given is None:
            self.net = build(options.arch, data.shape, data.classes, rng)
        else:
            self.net = self.given.copy()
            fits(self.net, data)
        # Unit range: the optimiser's steps then suit any data set. A network that comes trained has
        # its own idea of its inputs.
        largest = float(np.abs(data.x_train.astype(np.float64)).max()) or 1.0
        trained = self.given is not None and options.float_epochs is None
        self.unit = 1.0 if trained else 1.0 / largest
        self.float_epochs = 0 if trained else options.float_epochs
        self.layers = options.for_network(fold_batch_norm(self.net), self.source.format)
        self.convolves = any(isinstance(layer, Conv2d) for layer in self.net.layers)
        self.recipe: Recipe = recipe(data.shape, self.convolves, len(self.rest), trained)
        if self.augment is None:
            self.augment = self.recipe.augment
        self.identity = {
            "data": {"name": data.name, "sha256": _digest([data.x_train, data.y_train])},
            "network": _digest([] if self.given is None else self.given.state()),
            "options": {**options.to_manifest(), "seed": options.seed},
            "augment": [self.augment.flip, self.augment.shift, self.augment.noise],
        }

    # The samples.

    def samples(self, chosen: NDArray[np.int64]) -> Samples:
        """Training samples as input integers."""
        return Samples(self._q(self.data.x_train[chosen]), self.data.y_train[chosen])

    def _q(self, x: NDArray[Any]) -> NDArray[Any]:
        return quantise_samples(x.reshape(len(x), *self.net.shape), self.source)

    def _few(self, count: int) -> NDArray[np.float32]:
        x = self._q(self.data.x_train[self.rest[:count]])
        return columns(x, self.net.inside).astype(np.float32)

    # The stages.

    def all(
        self,
        name: str,
        argmax: bool,
        path: str | os.PathLike[str] | None,
        start: str | os.PathLike[str] | None,
    ) -> TrainResult:
        """Runs what the options ask for, from where the checkpoint stands."""
        self.path = path
        old = self._resume(path)
        begun = self._start(start) if start is not None and old is None else None
        if old is None and begun is None and not {"replace", "refit"} & set(self.options.stages):
            raise ValueError(
                "Stages must hold replace or refit where no checkpoint is started from"
            )
        known = old or begun
        if known is not None and known.origin:
            for i, array in enumerate(self.net.state()):
                array[:] = known.origin[f"{i}"]
            self._recall(known)
        else:
            self._train_float(known.float_state if known else None)
        self.test = Samples(self._q(self.data.x_test), self.data.y_test)
        self.origin = fold_batch_norm(self.net)
        if not self.convolves:
            few = self.data.x_train[self.rest[:4096]].reshape(-1, *self.net.shape)
            group(
                self.origin,
                columns(few, self.net.inside).astype(np.float32) * np.float32(self.unit),
                {key: own.subvec for key, own in self.layers.items()},
            )
        if "float" not in self.accuracy:
            x = self.data.x_test.reshape(-1, *self.net.shape)
            self.accuracy["float"] = accuracy(self._logits(x), self.data.y_test)
        wire = Wire(self.source.format, self.source.scale * self.unit)
        self.lookup = convert(
            self.origin, wire, self.layers, activation_bits=self.options.activation_bits
        )
        diverged = ""
        todo = list(self.options.stages)
        if known is not None and known.net is not None:
            known.net.restore(self.lookup)
        if old is not None and old.stage in todo:
            todo = todo[todo.index(old.stage) + old.finished :]
        try:
            for stage in todo:
                resumed = old is not None and old.stage == stage and not old.finished
                self._stage(stage, old.state if resumed and old is not None else None)
        except Diverged as problem:
            diverged = str(problem)
        return self._result(name, argmax, diverged)

    def _logits(self, x: NDArray[Any]) -> NDArray[Any]:
        starts = list(range(0, len(x), 256))
        parts = self.workers.map(
            lambda s: self.origin.logits(x[s : s + 256], unit=self.unit, batch=32), starts
        )
        return np.concatenate(parts)

    def _train_float(self, state: FloatState | None) -> None:
        passes = self.recipe.float_epochs if self.float_epochs is None else self.float_epochs
        if not passes:
            return
        clock = Clock(self.progress, "float", passes, state.done if state else 0)
        x = self.data.x_train[self.rest].reshape(-1, *self.net.shape)
        augment = self.augment
        assert augment is not None
        fit_float(
            self.net,
            Samples(x, self.data.y_train[self.rest]),
            self.unit,
            epochs=passes,
            batch=self.recipe.batch,
            seed=(self.options.seed, 0),
            workers=self.workers,
            augment=replace(augment, noise=self.recipe.float_noise),
            state=state,
            saved=lambda s: self._save("float", s.done == passes, float_state=s),
            progress=lambda done, loss: clock(done, "" if loss is None else f"loss {loss:.4f}"),
        )

    def _stage(self, stage: str, state: State | None) -> None:
        number = STAGES.index(stage) + 1
        wish = self.options.stage(stage)
        if stage in ("replace", "refit"):
            rng = np.random.default_rng((self.options.seed, number))
            clock = Clock(self.progress, stage, len(self.layers))
            q = self._few(wish.samples or self.recipe.samples)
            restarts = wish.restarts or 1
            if stage == "replace":
                closed.replace(self.lookup, self.origin, q, rng, restarts=restarts, progress=clock)
            else:
                closed.refit(
                    self.lookup,
                    self.origin,
                    q,
                    rng,
                    ridge=self.recipe.ridge if wish.ridge is None else wish.ridge,
                    free=self.options.tables == "free",
                    restarts=restarts,
                    progress=clock,
                )
            self._alone(stage)
        else:
            self._tune(stage, number, self._tuning(stage, wish), state)
        self.accuracy[stage] = score(self.lookup, self.test, self.workers)[0]
        self._save(stage, True, net=Snapshot.of(self.lookup))

    def _alone(self, stage: str) -> None:
        later = self.options.stages[self.options.stages.index(stage) + 1 :]
        if "refit" in later:
            return
        held = self.samples(self.held[: report.SAMPLES])
        self.alone = report.alone(self.lookup, self.origin, held, self.workers)

    def _tuning(self, stage: str, wish: StageOptions) -> Tuning:
        base = self.recipe.calibrate if stage == "calibrate" else self.recipe.joint
        chosen = wish.chosen()
        if stage == "joint" and self.options.epochs is not None:
            chosen.setdefault("epochs", self.options.epochs)
        return replace(base, **chosen)

    def _tune(self, stage: str, number: int, tuning: Tuning, state: State | None) -> None:
        if not tuning.epochs:
            return
        clock = Clock(self.progress, stage, tuning.epochs, state.done if state else 0)

        def progress(done: float, epoch: Epoch | None) -> None:
            clock(
                done,
                ""
                if epoch is None
                else f"loss {epoch.loss:.4f}, held-out {100 * epoch.held_accuracy:.2f} %",
            )

        def saved(state: State) -> None:
            self.curves[stage] = state.history
            self._save(stage, False, state=state)

        tune(
            self.lookup,
            self.samples(self.rest),
            self.samples(self.held),
            tuning,
            (self.options.seed, number),
            self.workers,
            origin=self.origin,
            augment=self._integer_augment(),
            state=state,
            saved=saved,
            progress=progress,
        )

    def _integer_augment(self) -> Augment:
        """Noise is given in parts of the inputs' range; integers have a range of their own."""
        assert self.augment is not None
        largest = float(np.abs(self.data.x_train.astype(np.float64)).max()) or 1.0
        return replace(self.augment, noise=self.augment.noise * largest / self.source.scale)

    # Checkpoints.

    def _save(self, stage: str, finished: bool, **parts: Any) -> None:
        if self.path is None:
            return
        origin = {} if stage == "float" and not finished else self.net.state()
        save_checkpoint(
            Checkpoint(
                self.identity,
                stage,
                finished,
                {
                    "accuracy": self.accuracy,
                    "alone": self.alone,
                    "curves": {k: [vars(e) for e in v] for k, v in self.curves.items()},
                },
                {f"{i}": array for i, array in enumerate(origin)},
                **parts,
            ),
            self.path,
        )

    def _recall(self, known: Checkpoint) -> None:
        self.accuracy.update(known.measured["accuracy"])
        self.alone.update(known.measured["alone"])
        for stage, epochs in known.measured["curves"].items():
            self.curves[stage] = [Epoch(**epoch) for epoch in epochs]

    def _resume(self, path: str | os.PathLike[str] | None) -> Checkpoint | None:
        if path is None or not Path(path).exists():
            return None
        old = load_checkpoint(path)
        for what, mine in self.identity.items():
            if old.run.get(what) == mine:
                continue
            detail = what
            if what == "options" and isinstance(mine, dict):
                theirs = old.run.get(what, {})
                detail = ", ".join(k for k in mine if theirs.get(k) != mine[k]) or what
            raise LutgenError(
                f"{path}: is the checkpoint of another run ({detail} differs); delete it to start "
                "anew, or name another"
            )
        return old

    def _start(self, path: str | os.PathLike[str]) -> Checkpoint:
        begun = load_checkpoint(path)
        theirs, mine = begun.run["options"], self.identity["options"]
        assert isinstance(mine, dict)
        free = ("stages", "settings", "seed", "epochs", "float_epochs", "tables")
        wrong = [key for key in mine if key not in free and theirs.get(key) != mine[key]]
        wrong += [key for key in ("network", "data") if begun.run[key] != self.identity[key]]
        if wrong:
            raise LutgenError(
                f"{path}: is a checkpoint of another network or data ({', '.join(wrong)} differs); "
                "give the same, or name another"
            )
        if begun.net is None and begun.state is None:
            raise LutgenError(
                f"{path}: holds no lookup network yet; let its run finish the stage replace"
            )
        if begun.net is None and begun.state is not None:
            begun.net = begun.state.best
        return begun

    def _result(self, name: str, argmax: bool, diverged: str) -> TrainResult:
        held = self.samples(self.held)
        self.accuracy["model"] = score(self.lookup, self.test, self.workers)[0]
        provenance = {
            "lutgen": lutgen.__version__,
            "data": self.data.name,
            "seed": self.options.seed,
            "split_seed": self.data.seed,
            "settings": self.options.to_manifest(),
            "accuracy": {
                "float": self.accuracy["float"],
                "model": self.accuracy["model"],
            },
        }
        model = export(self.lookup, name, self.source, provenance, argmax=argmax)
        few = Samples(held.q[: report.SAMPLES], held.y[: report.SAMPLES])
        return TrainResult(
            model,
            self.accuracy,
            score(self.lookup, held, self.workers)[0],
            self.curves,
            report.layers(self.lookup, self.origin, few, self.alone, self.workers),
            self.lookup,
            self.origin,
            diverged,
            time.monotonic() - self.began,
        )


def fits(net: FloatNet, data: Dataset) -> None:
    """Complains of data that do not go with a network."""
    shape = data.shape
    if net.shape != shape and (len(net.shape) != 1 or np.prod(shape) != net.shape[0]):
        want, have = ("x".join(map(str, s)) for s in (net.shape, shape))
        raise ValueError(f"Network must read samples of the data's shape {have}, not {want}")
    outputs = int(np.prod(net.shapes[net.layers[-1].name]))
    if outputs < data.classes:
        raise ValueError(
            f"Network must have an output for each of the data's {data.classes} classes, "
            f"not {outputs}"
        )


def _digest(arrays: Sequence[NDArray[Any]]) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def quantise_samples(x: NDArray[Any], source: Activation) -> NDArray[Any]:
    """Input integers, as narrow as they are; in blocks, as quantising goes through float64."""
    result = np.empty(x.shape, dtype=np.int32 if source.bits > 8 or source.signed else np.uint8)
    for start in range(0, len(x), 4096):
        part = x[start : start + 4096]
        result[start : start + 4096] = quantise(part, source.scale, source.format)
    return result


def accuracy(outputs: NDArray[Any], y: NDArray[np.int64]) -> float:
    """The share of samples whose greatest output is their class."""
    return float(np.mean(outputs.argmax(axis=1) == y))
