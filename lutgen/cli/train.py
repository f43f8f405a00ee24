"""`lutgen train`: a data set in, an integer LUT model out."""

import argparse
import json
import sys
import time

from lutgen import model as models
from lutgen.errors import LutgenError
from lutgen.files import check_writable
from lutgen.model.nodes import NAME
from lutgen.spec import LAYER_METRICS
from lutgen.train import Options, Progress, TrainResult, load_data, train

__all__ = ["add", "run"]

# How the library's complaints begin, and the option that mends them.
OPTIONS = {
    "Layer size": "--arch",
    "Sub-vector length": "--subvec",
    "Centroids": "--centroids",
    "Metric": "--metric",
    "Table bits": "--table-bits",
    "Activation bits": "--activation-bits",
    "Seed": "--seed",
    "Float epochs": "--float-epochs",
    "Epochs": "--epochs",
}


def layer_sizes(text: str) -> tuple[int, ...]:
    """``256,128`` as integers; nothing between the commas is no layer."""
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be layer sizes such as 256,128, not {text!r}"
        ) from None


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("train", help="train a LUT model on a data set")
    parser.add_argument(
        "data",
        metavar="DATA",
        help="digits, or an .npz file with x_train, y_train, x_test and y_test",
    )
    parser.add_argument(
        "--arch",
        type=layer_sizes,
        default=Options.arch,
        metavar="SIZES",
        help="outputs of the hidden layers (default: 256,128)",
    )
    parser.add_argument(
        "--subvec", type=int, metavar="V", help="sub-vector length (default: 4; digit: 1)"
    )
    parser.add_argument(
        "--centroids",
        type=int,
        default=Options.centroids,
        metavar="C",
        help="entries of a codebook (default: %(default)s)",
    )
    parser.add_argument(
        "--metric",
        default=Options.metric,
        metavar="METRIC",
        help=f"{', '.join(LAYER_METRICS)} (default: %(default)s)",
    )
    parser.add_argument(
        "--table-bits",
        type=int,
        metavar="BITS",
        help="2 to 8 (default 8); for metric digit 2 to 16 (default 16)",
    )
    parser.add_argument(
        "--activation-bits",
        type=int,
        default=Options.activation_bits,
        metavar="BITS",
        help="of hidden layers, and the most for inputs, 2 to 16 (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=Options.seed,
        help="fixes everything random, the split of digits too (default: %(default)s)",
    )
    parser.add_argument(
        "--float-epochs",
        type=int,
        metavar="N",
        help="passes for the float network (default: by data)",
    )
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="passes for the LUT network (default: by data)"
    )
    parser.add_argument("--name", help="name of the model (default: the data set's)")
    parser.add_argument(
        "--argmax", action="store_true", help="end the model in an argmax: it gives the class"
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="MODEL.lut", help="where the model goes"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Trains and saves; returns the exit status."""
    if args.name is not None and not NAME.match(args.name):
        raise LutgenError(
            f"--name: must be letters, digits and underscores, a letter first, not {args.name!r}"
        )
    chosen = {
        key: getattr(args, key)
        for key in (
            "arch",
            "subvec",
            "centroids",
            "metric",
            "table_bits",
            "activation_bits",
            "seed",
            "float_epochs",
            "epochs",
        )
    }
    try:
        Options(**chosen)  # before the data are read
        check_writable(args.output, inputs=[args.data])
        data = load_data(args.data, seed=args.seed)
        result = train(
            data, **chosen, name=args.name, argmax=args.argmax, progress=Reporter().report
        )
    except (TypeError, ValueError) as error:
        raise complaint(error) from error
    models.save(result.model, args.output)
    if args.json:
        print(json.dumps(summary(result, args.output)))
    else:
        print(
            f"{args.output}: {100 * result.model_accuracy:.2f} % on {len(data.x_test)} "
            f"test samples (float {100 * result.float_accuracy:.2f} %), {result.seconds:.0f} s"
        )
    return 0


def complaint(error: Exception) -> LutgenError:
    """The library's words behind the option that they are about; anything else is a defect."""
    for start, option in OPTIONS.items():
        if str(error).startswith(start):
            return LutgenError(f"{option}: {error}")
    raise error


def summary(result: TrainResult, path: str) -> dict[str, object]:
    """What ``--json`` prints."""
    return {
        "model": path,
        "name": result.model.name,
        "sha256": models.digest(result.model),
        "accuracy": {
            "float": result.float_accuracy,
            "replaced": result.replaced_accuracy,
            "model": result.model_accuracy,
            "held_out": result.held_accuracy,
        },
        "seed": result.model.provenance["seed"],
        "settings": result.model.provenance["settings"],
        "seconds": round(result.seconds, 3),
    }


class Reporter:
    """Progress on standard error: rewritten in place on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = float("-inf")

    def report(self, progress: Progress) -> None:
        """Shows one step."""
        final = progress.done == progress.total
        now = time.monotonic()
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{progress}" + ("\n" if final else ""))
            sys.stderr.flush()
        elif final or now - self._last >= 5:
            self._last = now
            print(progress, file=sys.stderr, flush=True)
