"""`lutgen infer`: golden inference, the reference of everything built from a model."""

import argparse
import json
import time

import numpy as np

from lutgen import model as models
from lutgen.cli.samples import clamping, read
from lutgen.errors import LutgenError
from lutgen.files import check_writable, write_with
from lutgen.model import Model
from lutgen.words import counted

__all__ = ["add", "run"]


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser(
        "infer",
        help="run a model on samples, bit for bit",
        description="Runs a model on samples in integers, which every core made from it equals "
        "bit for bit. Prints the accuracy where the data have labels, and writes outputs and "
        "classes with -o.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL.lut", help="the model")
    parser.add_argument(
        "--data",
        required=True,
        metavar="DATA",
        help="an .npz file with x_test and, for the accuracy, y_test; or digits",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="P.npz",
        help="where outputs (int64, sample by output) and classes go",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="of the split of digits (default: that of the model's training)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the model; returns the exit status."""
    if args.seed is not None and args.seed < 0:
        raise LutgenError(f"--seed: Seed must be a non-negative integer, not {args.seed}")
    if args.output is not None:
        check_writable(args.output, inputs=[args.model, args.data])
    model = models.load(args.model)
    seed = split_seed(model) if args.seed is None else args.seed
    samples = read(args.data, model.shape, model.classes, seed=seed)
    start = time.monotonic()
    found = model.predict(samples.x)
    seconds = time.monotonic() - start
    said = clamping(samples, found.clamped, samples.x.size, model.input, model.provenance)
    accuracy = None
    if samples.labels is not None:
        accuracy = float(np.mean(found.classes == samples.labels))
    if args.output is not None:
        write_with(
            args.output,
            lambda file: np.savez_compressed(file, outputs=found.outputs, classes=found.classes),
        )
    if args.json:
        print(
            json.dumps(
                {
                    "model": args.model,
                    "data": args.data,
                    "output": args.output,
                    "samples": len(found.classes),
                    "accuracy": accuracy,
                    **said,
                    "seconds": round(seconds, 3),
                }
            )
        )
        return 0
    what = "no labels" if accuracy is None else f"accuracy {100 * accuracy:.2f} %"
    print(f"{args.model}: {counted(len(found.classes), 'sample')} of {args.data}, {what}")
    return 0


def split_seed(model: Model) -> int:
    """The seed of the split that the model was trained on: its test samples are new to it."""
    seed = model.provenance.get("split_seed", 0)
    return seed if type(seed) is int and seed >= 0 else 0
