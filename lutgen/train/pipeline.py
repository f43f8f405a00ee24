"""Training from end to end: data in, integer model out."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lutgen.files import absolute
from lutgen.model.nodes import NAME
from lutgen.numeric import as_int
from lutgen.train.augment import Augment
from lutgen.train.data import Dataset
from lutgen.train.floatnet import FloatNet
from lutgen.train.options import Options, StageOptions
from lutgen.train.parallel import Workers, one_blas_thread
from lutgen.train.progress import Progress
from lutgen.train.run import Run, TrainResult

__all__ = ["TrainResult", "model_name", "train"]


def model_name(text: str) -> str:
    """A model name made of ``text``: other characters become underscores."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", text)
    return name if NAME.match(name) else f"m_{name}"


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
    settings: Mapping[str, StageOptions | Mapping[str, Any]] | None = None,
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
    notice: Callable[[str], object] | None = None,
) -> TrainResult:
    """Trains a float network, replaces its layers by lookups, and trains those.

    One part in ten of the training samples (5,000 at most) is held out and chooses, with
    as many of the others where the network comes trained, the epoch that is kept; test samples only
    measure. The same arguments give the same model on the same machine,
    on any number of threads.

    Parameters
    ----------
    data : Dataset
        See `lutgen.train.load_data`.
    net : FloatNet or None
        A network of your own, or an imported one; it stays as it is. It is taken to be trained, and
        to read samples in the data's own units, unless ``float_epochs`` is given: then a copy is
        trained first, on samples divided by the greatest magnitude among them.
    arch, subvec, centroids, metric, table_bits, activation_bits, encode, order, tables, layers
        See `lutgen.train.options.Options`.
    stages, settings, seed, float_epochs, epochs
        See `lutgen.train.options.Options`.
    augment : Augment or None
        What is done to samples in training; None for what suits the data. Its noise is in parts of
        the greatest magnitude among them.
    name : str or None
        Of the model; None for the data set's.
    argmax : bool
        Whether the model ends in an ``argmax`` node.
    threads : int or None
        None for one per core, four at most.
    checkpoint : path or None
        Written after every stage and epoch. If it is there already, the run goes on from it.
    start : path or None
        A checkpoint of a run with the same data, network, layers and seed, to begin the first stage
        from.
    progress : callable or None
        Called with a `Progress` after every epoch and layer, and now and then within an epoch.
    notice : callable or None
        Called, before any step, with each of the result's ``notes``, a line on what speaks against
        the samples.

    Raises
    ------
    TypeError, ValueError
        If the data are none, or an option is wrong, before any work.
    Diverged
        If the float network's training diverges; where a later stage does, the result says so.
    LutgenError
        If a checkpoint can't be used.
    """
    if not isinstance(data, Dataset):
        raise TypeError(f"Data must be a Dataset, as load_data gives, not {data!r:.80}")
    options = Options(
        arch,
        subvec,
        centroids,
        metric,
        table_bits,
        activation_bits,
        encode,
        order,
        tables,
        layers or {},
        stages,
        settings or {},
        seed,
        float_epochs,
        epochs,
    )
    title = model_name(data.name) if name is None else name
    if not NAME.match(title):
        raise ValueError(f"Name must be letters, digits and underscores, not {title!r}")
    if threads is not None:
        as_int(threads, "Threads", low=1)
    if checkpoint and start and absolute(checkpoint) == absolute(start):
        raise ValueError("Start must be another file than the checkpoint that is written")
    with one_blas_thread(), Workers(threads) as workers:
        run = Run(data, net, options, augment, workers, progress, notice, checkpoint, start)
        return run.all(title, argmax)
