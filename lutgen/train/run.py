"""One training run: the float network, the stages, and the checkpoints between them."""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lutgen
from lutgen.errors import LutgenError
from lutgen.files import plain
from lutgen.model import Model
from lutgen.model.units import Summary
from lutgen.numeric import Format, ceil_div
from lutgen.train import notes, report
from lutgen.train import refit as closed
from lutgen.train.arch import build
from lutgen.train.augment import Augment
from lutgen.train.checkpoint import MEND, Checkpoint, load_checkpoint, save_checkpoint
from lutgen.train.convert import convert
from lutgen.train.data import Dataset
from lutgen.train.export import export
from lutgen.train.floatfit import FloatState, fit_float
from lutgen.train.floatnet import Conv2d, FloatNet, columns
from lutgen.train.fold import fold_batch_norm
from lutgen.train.grouping import group
from lutgen.train.identity import (
    check_same,
    check_start,
    digest,
    file_digest,
    network_digest,
)
from lutgen.train.inputs import (
    check_augment,
    check_fit,
    check_layout,
    count_clamped,
    input_activation,
    quantise_samples,
)
from lutgen.train.kept import Kept
from lutgen.train.lutnet import LookupNet, Wire
from lutgen.train.magnitude import check_values
from lutgen.train.narrow import narrow
from lutgen.train.options import LAYER_FIELDS, Options
from lutgen.train.parallel import Workers
from lutgen.train.progress import Clock, Progress
from lutgen.train.recipes import Recipe, recipe
from lutgen.train.resume import check_float, check_lookup, check_progress
from lutgen.train.tune import (
    Diverged,
    Epoch,
    Samples,
    Snapshot,
    State,
    Tuning,
    kept,
    score,
    tune,
)
from lutgen.train.weighing import weigh

__all__ = ["Run", "TrainResult"]

log = logging.getLogger("lutgen")

MOST_HELD = 5000  # held-out samples; more would not tell epochs apart any better
SEEDED = ("replace", "refit", "calibrate", "joint")  # stages with chance in them, in this order
BEYOND = 5.0  # a loss so many times that of guessing is no hard start but a divergence


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
    float_losses : list of float
        Mean training loss of every epoch of the float network; empty if it came trained.
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
        Wall time of this run, that before it was interrupted included, up to its last checkpoint.
    kept : dict of str to Kept
        Of the stages with gradients that came to their end: which state was kept, and why. Where
        ``kept["joint"].epoch`` is 0, all that the stage did was thrown away.
    notes : list of str
        What spoke against the samples: other units of the test samples, values far out, a network
        that comes trained and knows them better in other units.
    clamped : int
        Values of the test samples outside the input's format.
    """

    model: Model
    accuracy: dict[str, float]
    held_accuracy: float
    float_losses: list[float]
    curves: dict[str, list[Epoch]]
    layers: "list[report.LayerReport]"
    network: LookupNet
    origin: FloatNet
    diverged: str
    seconds: float
    kept: dict[str, Kept] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    clamped: int = 0

    @property
    def float_accuracy(self) -> float:
        """Of the float network on the test samples."""
        return self.accuracy["float"]

    @property
    def model_accuracy(self) -> float:
        """Of the model on the test samples."""
        return self.accuracy["model"]


@dataclass
class Run:
    """One run, checked before any work; `all` does it."""

    data: Dataset
    given: FloatNet | None
    options: Options
    asked: Augment | None
    workers: Workers
    progress: Callable[[Progress], object] | None
    notice: Callable[[str], object] | None = None
    path: str | os.PathLike[str] | None = None
    start: str | os.PathLike[str] | None = None
    accuracy: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[Epoch]] = field(default_factory=dict)
    float_losses: list[float] = field(default_factory=list)
    alone: dict[str, float] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    earlier: float = 0.0  # seconds before it was interrupted

    def __post_init__(self) -> None:
        data, options = self.data, self.options
        self.unsaved = False  # whether the last checkpoint could not be written
        self.began = time.monotonic()
        self.source = input_activation(data.x_train, options.activation_bits)
        rng = np.random.default_rng(options.seed)
        order = rng.permutation(len(data.x_train))
        self.held = order[: min(MOST_HELD, max(1, len(order) // 10))]
        self.rest = order[len(self.held) :]
        if self.given is None:
            check_layout(data)
            self.net = build(options.arch, data.shape, data.classes, rng)
        else:
            self.net = self.given.copy()
        check_fit(self.net, data)
        # Unit range: the optimiser's steps then suit any data set. A network that comes trained has
        # its own idea of its inputs.
        self.largest = max(abs(float(data.x_train.max())), abs(float(data.x_train.min()))) or 1.0
        self.trained = self.given is not None and options.float_epochs is None
        if self.trained and "float" in options.settings:
            raise ValueError(
                "Stage of a setting must not be float where the network comes trained; give "
                "float_epochs to train it"
            )
        self.unit = 1.0 if self.trained else 1.0 / self.largest
        self.layers = options.for_network(fold_batch_norm(self.net), self.source.format)
        self.convolves = any(isinstance(layer, Conv2d) for layer in self.net.layers)
        self.recipe: Recipe = recipe(
            data.shape,
            self.convolves,
            len(self.rest),
            self.trained,
            max(own.subvec for own in self.layers.values()),
        )
        self.augment = self.recipe.augment if self.asked is None else self.asked
        if self.asked is not None:
            check_augment(self.asked, self.net)
        if self.start is None and "narrow" in options.stages:
            raise ValueError("Stage narrow must have a checkpoint of other table bits as its start")
        if self.start is None and not {"replace", "refit"} & set(options.stages):
            raise ValueError(
                "Stages must hold replace or refit where no checkpoint is started from"
            )
        self.settings = options.to_manifest() | {"augment": asdict(self.augment)}
        if self.given is not None:
            self.settings["arch"] = None
        self.identity = {
            "lutgen": lutgen.__version__,
            "data": digest([data.x_train, data.y_train, data.x_test, data.y_test]),
            "network": "" if self.given is None else network_digest(self.given),
            "unit": self.unit,
            "settings": {**self.settings, "seed": options.seed},
            "start": None if self.start is None else file_digest(self.start),
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

    def all(self, name: str, argmax: bool) -> TrainResult:
        """Runs what the options ask for, from where the checkpoint stands."""
        self._look()
        old = self._old()
        known = old if old is not None or self.start is None else self._begun(self.start)
        if known is not None:
            self._recall(known)
        if old is not None:
            self.earlier = old.measured.get("seconds", 0.0)  # older checkpoints know none
        if known is None or not known.origin:
            self._train_float(known.float_state if known else None)
        self.test = Samples(self._q(self.data.x_test), self.data.y_test)
        self.origin = fold_batch_norm(self.net)
        if self.trained or known is not None:
            scale = np.float32(self.source.scale * self.unit)
            try:
                check_values(self.origin, self._few(256) * scale)
            except ValueError as error:
                if self.trained:
                    raise
                raise LutgenError(f"{self.path if old else self.start}: {error}; {MEND}") from None
        if not self.convolves:
            subvecs = {key: own.subvec for key, own in self.layers.items()}
            weigh(self.origin, subvecs)
            few = self.data.x_train[self.rest[:4096]].reshape(-1, *self.net.shape)
            group(
                self.origin,
                columns(few, self.net.inside).astype(np.float32) * np.float32(self.unit),
                subvecs,
            )
        if "float" not in self.accuracy:
            right = self._logits(self.origin, self.data.x_test).argmax(axis=1) == self.data.y_test
            self.accuracy["float"] = float(np.mean(right))
        wire = Wire(self.source.format, self.source.scale * self.unit)
        self.lookup = convert(
            self.origin, wire, self.layers, activation_bits=self.options.activation_bits
        )
        if known is not None:
            place = self.start if old is None else self.path
            assert place is not None
            tuning = None if known.state is None else self.tuning(known.stage)
            check_lookup(known, self.lookup, tuning, place)
        anew = old is None and self.options.stages[0] in ("replace", "refit")
        if known is not None and known.net is not None and not anew:
            known.net.restore(self.lookup)
            if old is None:
                self._as_begun(known)
        todo = list(self.options.stages)
        state = None
        if old is not None and old.stage in todo:
            todo = todo[todo.index(old.stage) + old.finished :]
            state = None if old.finished else old.state
        diverged = ""
        try:
            for stage in todo:
                self._stage(stage, state)
                state = None
        except Diverged as problem:
            diverged = str(problem)
        return self._result(name, argmax, diverged)

    def _look(self) -> None:
        """Finds and says what speaks against the samples."""
        self.clamped = count_clamped(self.data.x_test, self.source)
        self.notes = list(notes.of_samples(self.data, self.source, self.clamped))
        if self.trained:
            found = notes.of_network(lambda x: self._logits(self.net, x), self.data)
            self.notes += list(found)
        if self.notice is not None:
            for note in self.notes:
                self.notice(note)

    def _logits(self, net: FloatNet, x: NDArray[Any]) -> NDArray[Any]:
        samples = x.reshape(-1, *net.shape)
        starts = list(range(0, len(x), 256))
        parts = self.workers.map(
            lambda s: net.logits(samples[s : s + 256], unit=self.unit, batch=32), starts
        )
        return np.concatenate(parts)

    @property
    def float_epochs(self) -> int:
        """Passes over the data for the float network."""
        asked = self.options.stage("float").epochs
        return 0 if self.trained else self.recipe.float_epochs if asked is None else asked

    def _train_float(self, state: FloatState | None) -> None:
        passes = self.float_epochs
        if not passes:
            return
        clock = Clock(self.progress, "float", passes, state.done if state else 0)
        chosen = {"batch": self.recipe.batch, **self.options.stage("float").chosen()}
        chosen |= {"epochs": passes, "method": chosen.pop("optimiser", "adamw")}
        noise = self.recipe.float_noise if self.asked is None else self.augment.noise
        bound = BEYOND * math.log(self.data.classes)

        def saved(state: FloatState) -> None:
            check_loss(state.losses[-1], max(bound, BEYOND * min(state.losses)), state)
            self.float_losses = state.losses
            self._save("float", state.done == passes, float_state=state)

        with explained("float"):
            fit_float(
                self.net,
                Samples(
                    self.data.x_train[self.rest].reshape(-1, *self.net.shape),
                    self.data.y_train[self.rest],
                ),
                self.unit,
                seed=(self.options.seed, 0),
                workers=self.workers,
                augment=replace(self.augment, noise=noise),
                state=state,
                saved=saved,
                progress=lambda done, loss: clock(done, "" if loss is None else f"loss {loss:.4f}"),
                **chosen,
            )

    def _stage(self, stage: str, state: State | None) -> None:
        number = SEEDED.index(stage) + 1 if stage in SEEDED else 0
        wish = self.options.stage(stage)
        if stage == "narrow":
            narrow(
                self.lookup,
                {name: own.table_bits for name, own in self.layers.items()},
                self._few(wish.samples or self.recipe.samples),
                ridge=wish.ridge,
                free=self.options.tables == "free",
                progress=Clock(self.progress, stage, len(self.layers)),
            )
        elif stage in ("replace", "refit"):
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
                    ridge=wish.ridge,
                    free=self.options.tables == "free",
                    restarts=restarts,
                    progress=clock,
                )
            if stage == "refit" or "refit" not in self.options.stages:
                held = self.samples(self.held[: report.SAMPLES])
                self.alone = report.alone(self.lookup, self.origin, held, self.workers)
        else:
            self._tune(stage, number, self.tuning(stage), state)
        # One that was started from may know this stage: they stand in the order that they ran in.
        self.accuracy.pop(stage, None)
        self.accuracy[stage] = score(self.lookup, self.test, self.workers)[0]
        self._save(stage, True, net=Snapshot.of(self.lookup))

    def tuning(self, stage: str) -> Tuning:
        """All settings of a stage with gradients."""
        base = self.recipe.calibrate if stage == "calibrate" else self.recipe.joint
        return replace(base, **self.options.stage(stage).chosen())

    def _tune(self, stage: str, number: int, tuning: Tuning, state: State | None) -> None:
        if not tuning.epochs:
            return
        clock = Clock(self.progress, stage, tuning.epochs, state.done if state else 0)
        guess = math.log(self.data.classes)

        def progress(done: float, epoch: Epoch | None) -> None:
            text = ""
            if epoch is not None:
                text = f"loss {epoch.loss:.4f}, held-out {100 * epoch.held_accuracy:.2f} %"
            clock(done, text)

        def saved(state: State) -> None:
            try:
                bound = BEYOND * max(guess, state.best_loss)
                check_loss(state.history[-1].held_loss, bound, state)
            except Diverged:
                state.best.restore(self.lookup)
                raise
            self.curves[stage] = state.history
            self._save(stage, False, state=state)

        # Noise is given in parts of the inputs' range; integers have a range of their own.
        noise = self.augment.noise * self.largest / self.source.scale
        seen = self._seen(number, noise) if self.trained else None
        with explained(stage):
            end = tune(
                self.lookup,
                self.samples(self.rest),
                self.samples(self.held),
                tuning,
                (self.options.seed, number),
                self.workers,
                origin=self.origin,
                augment=replace(self.augment, noise=noise),
                state=state,
                saved=saved,
                progress=progress,
                seen=seen,
            )
        self.kept[stage] = found = kept(end, self.trained)
        if not found.epoch:
            clock(tuning.epochs, found.text())

    def _seen(self, number: int, noise: float) -> Samples:
        """As many training samples as are held out, each changed as in training, in a way of its
        own: a network that comes trained has seen all of them, and this form of none.
        """
        count = min(len(self.held), len(self.rest))
        chosen = self.rest[np.linspace(0, len(self.rest) - 1, count).astype(np.int64)]
        samples = self.samples(chosen)
        change = replace(self.augment, noise=noise)
        rng = np.random.default_rng((self.options.seed, number, len(self.rest)))
        return Samples(change(samples.q, rng, self.source.format), samples.y)

    # Checkpoints.

    def _save(self, stage: str, finished: bool, **parts: Any) -> None:
        if self.path is None:
            return
        origin = {} if stage == "float" and not finished else self.net.state()
        measured = {
            "accuracy": self.accuracy,
            "alone": self.alone,
            "float_losses": self.float_losses,
            "curves": {k: [asdict(e) for e in v] for k, v in self.curves.items()},
            "kept": {stage: found.data() for stage, found in self.kept.items()},
            "seconds": self._seconds(),
        }
        arrays = {f"{i}": array for i, array in enumerate(origin)}
        checkpoint = Checkpoint(self.identity, stage, finished, measured, arrays, **parts)
        try:
            save_checkpoint(checkpoint, self.path)
            self.unsaved = False
        except LutgenError as error:  # what is trained so far is worth more than its copy
            if not self.unsaved:
                log.warning("%s; training goes on without a checkpoint", error)
            self.unsaved = True

    def _seconds(self) -> float:
        return self.earlier + time.monotonic() - self.began

    def _recall(self, known: Checkpoint) -> None:
        """Takes over what a checkpoint knows beside the lookup network."""
        if known.origin:
            for i, array in enumerate(self.net.state()):
                array[:] = known.origin[f"{i}"]
        self.accuracy |= known.measured["accuracy"]
        self.alone |= known.measured["alone"]
        self.float_losses = list(known.measured["float_losses"])
        for stage, epochs in known.measured["curves"].items():
            self.curves[stage] = [Epoch(**epoch) for epoch in epochs]
        for stage, found in known.measured["kept"].items():
            self.kept[stage] = Kept(**found)

    def _old(self) -> Checkpoint | None:
        """The checkpoint that this run goes on from."""
        if self.path is None or not Path(self.path).exists():
            return None
        old = load_checkpoint(self.path)
        check_same(old, self.identity, self.path)
        if old.stage not in ("float", *self.options.stages):
            raise LutgenError(
                f"{self.path}: manifest, field 'stage': must be a stage of the run, not "
                f"{old.stage!r}; {MEND}"
            )
        own = self.options.stage("float").chosen()
        check_float(old, self.net, own.get("optimiser", "adamw"), self.path)
        total = done = len(self.layers)
        batch = 1
        if old.stage == "float":
            total = done = self.float_epochs
            batch = own.get("batch", self.recipe.batch)
        elif old.stage not in ("replace", "refit", "narrow"):
            tuning = self.tuning(old.stage)
            total, done, batch = tuning.epochs, tuning.epochs, tuning.batch
        check_progress(old, total, ceil_div(len(self.rest), batch), self.path)
        if (state := old.state or old.float_state) is not None:
            done = state.done
        if self.progress is not None:
            self.progress(Progress(old.stage, done, total, 0.0, None, f"going on from {self.path}"))
        return old

    def _begun(self, path: str | os.PathLike[str]) -> Checkpoint:
        """The checkpoint of another run that this one starts from."""
        begun = load_checkpoint(path)
        check_start(begun, self.identity, path)
        check_float(begun, self.net, "", path)
        if begun.net is None and begun.state is not None:
            begun.net, begun.state = begun.state.best, None
        return begun

    def _as_begun(self, known: Checkpoint) -> None:
        """Gives tables the bits that they have in the checkpoint that this run starts from."""
        settings = known.run["settings"]
        try:
            theirs = Options(**{key: settings[key] for key in (*LAYER_FIELDS, "layers")})
            bits = {name: theirs.layer(name).table_bits for name in self.lookup.lookups}
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise LutgenError(
                f"{self.start}: manifest, field 'run', field 'settings': {error!s:.80}; {MEND}"
            ) from None
        for name, lookup in self.lookup.lookups.items():
            lookup.table = Format(bits[name], True)

    def _result(self, name: str, argmax: bool, diverged: str) -> TrainResult:
        held = self.samples(self.held)
        self.accuracy["model"] = score(self.lookup, self.test, self.workers)[0]
        provenance = {
            "lutgen": lutgen.__version__,
            "data": plain(self.data.name),
            "seed": self.options.seed,
            "split_seed": self.data.seed,
            "inputs": Summary.of(self.data.x_train).data(),
            "settings": self.settings,
            "accuracy": {key: self.accuracy[key] for key in ("float", "model")},
            "kept": {stage: found.data() for stage, found in self.kept.items()},
        }
        model = export(self.lookup, name, self.source, provenance, argmax=argmax)
        few = Samples(held.q[: report.SAMPLES], held.y[: report.SAMPLES])
        return TrainResult(
            model,
            self.accuracy,
            score(self.lookup, held, self.workers)[0],
            self.float_losses,
            self.curves,
            report.layers(self.lookup, self.origin, few, self.alone, self.workers),
            self.lookup,
            self.origin,
            diverged,
            self._seconds(),
            self.kept,
            self.notes,
            self.clamped,
        )


def check_loss(loss: float, bound: float, state: FloatState | State) -> None:
    """Complains of an epoch that led away from all sense, even if the loss is a number."""
    arrays = state.arrays if isinstance(state, FloatState) else state.now.arrays
    if loss > bound:
        raise Diverged(f"Training diverged in epoch {state.done}: the loss is {loss:.4g}")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise Diverged(f"Training diverged in epoch {state.done}: parameters are no numbers")


@contextmanager
def explained(stage: str) -> Iterator[None]:
    """Says which stage diverged, and the mend; until that is noticed, numpy keeps quiet."""
    try:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            yield
    except Diverged as problem:
        raise Diverged(f"Stage {stage}: {problem}; lower its learning rate") from None
