"""`lutgen train`: a data set in, an integer LUT model out."""

import argparse
import re
from collections.abc import Container
from pathlib import Path

from lutgen import model as models
from lutgen import scratch
from lutgen.cli import common, faults
from lutgen.cli.train_options import add_options
from lutgen.cli.train_report import Reporter, data_of, show
from lutgen.errors import LutgenError
from lutgen.files import absolute, check_writable
from lutgen.model.nodes import NAME
from lutgen.train import (
    Diverged,
    FloatNet,
    Options,
    TrainResult,
    check_picture,
    draw,
    import_onnx,
    load_data,
    train,
)

__all__ = ["add", "run"]

# How the library's complaints begin, and the option that mends them.
COMPLAINTS = {
    r"Layer '\w*'(:| does not exist| has no setting| is linear)": "--layer",
    "Layer size|Architecture|lenet5 |resnet8 ": "--arch",
    "Sub-vector length": "--subvec",
    "Centroids": "--centroids",
    "Metric": "--metric",
    "Table bits": "--table-bits",
    "Activation bits": "--activation-bits",
    "Encode": "--encode",
    "Order": "--order",
    "Tables": "--tables",
    "Setting |Stage of a setting": "--set",
    "Stages? must|Stage narrow": "--stages",
    "Augmentation": "--augment",
    "Seed": "--seed",
    "Float epochs": "--float-epochs",
    "Epochs": "--epochs",
}
CHOSEN = (
    *("arch", "subvec", "centroids", "metric", "table_bits", "activation_bits"),
    *("encode", "order", "tables", "stages", "seed", "float_epochs", "epochs"),
)


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "train",
        help="train a LUT model on a data set",
        description="Trains a float network, or takes one from an ONNX file, replaces its layers "
        "by lookups, and trains those. A run that was interrupted goes on where it stood when the "
        "same command is given again.",
        allow_abbrev=False,
    )
    add_options(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trains and saves; returns the exit status."""
    if args.name is not None and not NAME.match(args.name):
        raise LutgenError(
            f"--name: must be letters, digits and underscores, a letter first, not {args.name!r}"
        )
    chosen = {key: getattr(args, key) for key in CHOSEN}
    chosen["layers"] = common.assignments(args.layer, "--layer", "NAME.KEY=VALUE")
    chosen["settings"] = common.assignments(args.set, "--set", "STAGE.KEY=VALUE")
    checkpoint = args.checkpoint or f"{args.output}.ckpt"
    reporter = Reporter()
    try:
        Options(**chosen)  # before the data are read
        check_files(args, checkpoint)
        if args.epochs and "joint" not in args.stages:
            common.say(
                "lutgen: warning: --epochs: are those of the stage joint, which is not among the "
                f"stages {', '.join(args.stages)}; left unused"
            )
        net = None if args.onnx is None else imported(args, chosen["settings"])
        data = load_data(args.data, seed=args.seed)
        result = train(
            data,
            net=net,
            **chosen,
            augment=args.augment,
            name=args.name,
            argmax=args.argmax,
            threads=args.threads,
            checkpoint=checkpoint,
            start=args.start,
            progress=reporter.report,
            notice=lambda note: common.say(f"lutgen: warning: {place(note, args)}{note}"),
        )
    except Diverged as problem:
        reporter.close()
        if args.checkpoint is None:  # no other settings can go on from it
            Path(checkpoint).unlink(missing_ok=True)
        common.say(f"lutgen: error: {problem}{setting(str(problem))}")
        return 1
    except KeyboardInterrupt:
        reporter.close()
        if Path(checkpoint).exists():
            raise KeyboardInterrupt(f"the same command goes on from {checkpoint}") from None
        raise
    except MemoryError as error:
        reporter.close()
        if Path(checkpoint).exists():
            said = f"; the same command with more memory goes on from {checkpoint}"
            raise LutgenError(f"{faults.line(error)}{said}") from error
        raise
    except (TypeError, ValueError) as error:
        raise complaint(error, args.onnx, args.data) from error
    output = save(result, args.output)
    drawn = True
    if args.curves and (result.curves or result.float_losses):
        try:
            draw(result.curves, args.curves, float_losses=result.float_losses)
        except LutgenError as error:
            common.say(f"lutgen: error: {error}")
            drawn = False
    elif args.curves:
        common.say(f"lutgen: warning: {args.curves}: not drawn, as no stage had an epoch")
    for stage, found in result.kept.items():
        if not found.epoch:
            common.say(f"lutgen: warning: stage {stage}: {found.text()}")
    if args.json:
        common.print_json(data_of(result, output, data.x_test.size))
    else:
        show(result, output, len(data.x_test))
    if result.diverged:
        # Where the first epoch diverged that this run had, it has left none of its own.
        good = checkpoint if Path(checkpoint).exists() else args.start
        common.say(
            f"lutgen: warning: {result.diverged}{setting(result.diverged)}; {output} "
            f"holds the last good state, from which --start {good} --stages "
            f"{stage_of(result.diverged)} with another -o goes on"
        )
        return 1
    if output != args.output or not drawn:
        return 2
    if args.checkpoint is None:
        Path(checkpoint).unlink(missing_ok=True)
    return 0


def save(result: TrainResult, path: str) -> str:
    """Writes the model; where it can't be written any more, to a temporary folder, and says so.

    Returns
    -------
    str
        The file.
    """
    try:
        models.save(result.model, path)
        return path
    except LutgenError as error:
        kept = scratch.keep_folder() / "model.lut"
        try:
            models.save(result.model, kept)
        except LutgenError:
            scratch.remove(kept.parent)
            raise error from None
        common.say(f"lutgen: error: {error}; the model is in {kept}: move it")
        return str(kept)


def check_files(args: argparse.Namespace, checkpoint: str) -> None:
    """Complains now if a file can't be written, or would be written twice, or is read too."""
    if args.start is not None and absolute(args.start) == absolute(checkpoint):
        raise LutgenError(
            f"--start: {args.start} is the checkpoint that this run writes; name another with "
            "--checkpoint"
        )
    inputs = [path for path in (args.data, args.onnx, args.start) if path is not None]
    taken: dict[Path, str] = {}
    for option, path in (
        ("-o", args.output),
        ("--checkpoint", checkpoint),
        ("--curves", args.curves),
    ):
        if path is None:
            continue
        if option == "--curves":
            check_picture(path)
        check_writable(path, inputs=inputs)
        if (other := taken.setdefault(absolute(path), option)) != option:
            raise LutgenError(f"{option}: {path} is written by {other} too; name another file")


def imported(args: argparse.Namespace, settings: Container[str]) -> FloatNet:
    """The network of ``--onnx``."""
    if args.float_epochs is not None or "float" in settings:
        option = "--set" if "float" in settings else "--float-epochs"
        raise LutgenError(f"{option}: the network of --onnx comes trained; leave this out")
    return import_onnx(args.onnx)


def place(note: str, args: argparse.Namespace) -> str:
    """The files that a note on the samples is about, as they stand before it."""
    return f"{args.data}, " if note.startswith("array") else f"{args.onnx} and {args.data}: "


def stage_of(diverged: str) -> str:
    """The stage that diverged, by the complaint; empty if that names none."""
    stage = re.match(r"Stage (\w+):", diverged)
    return stage[1] if stage else ""


def setting(diverged: str) -> str:
    """How the learning rate of the stage that diverged is set."""
    stage = stage_of(diverged)
    return f" with --set {stage}.learning-rate=RATE" if stage else ""


def complaint(error: Exception, onnx: str | None, samples: str) -> LutgenError:
    """The library's words behind the option or the file that they are about; anything else is a
    defect.
    """
    for start, option in COMPLAINTS.items():
        if re.match(start, str(error)):
            # What Python calls learning_rate is learning-rate here.
            said = re.sub(r"\b([a-z]+)_(bits|rate|epochs)\b", r"\1-\2", str(error))
            return LutgenError(f"{option}: {said}")
    if re.match("Samples must", str(error)):
        return LutgenError(f"{samples}, array 'x_train': {error}")
    if onnx is not None and re.match("Network must (read|have an output)", str(error)):
        return LutgenError(f"{onnx} and {samples}: {error}")
    if onnx is not None and re.match("Layer '|Network ", str(error)):
        return LutgenError(f"{onnx}: {error}")
    raise error
