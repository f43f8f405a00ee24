"""The options of `lutgen train`."""

import argparse
from typing import Any

from lutgen.cli import common
from lutgen.spec import LAYER_METRICS
from lutgen.train import Augment, Options
from lutgen.train.arch import ARCHES
from lutgen.train.options import ENCODES, LAYER_FIELDS, ORDERS, STAGES, TABLES

__all__ = ["add_options"]


def arch(text: str) -> tuple[int, ...] | str:
    """An argparse type: ``256,128`` as integers, nothing as no layer, or a name."""
    if text in ARCHES:
        return text
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be layer sizes such as 256,128, or {' or '.join(ARCHES)}, not {text!r}"
        ) from None


def augment(text: str) -> Augment:
    """An argparse type: ``none``, or ``flip,shift=4,noise=0.1``."""
    kinds: dict[str, Any] = {"shift": int, "noise": float}
    chosen: dict[str, Any] = {}
    try:
        for part in [] if text == "none" else text.split(","):
            key, equals, value = part.partition("=")
            chosen[key] = kinds[key](value) if equals else {"flip": True}[key]
        return Augment(**chosen)
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(
            f"must be none, or any of flip, shift=PIXELS and noise=PART such as flip,shift=4, "
            f"not {text!r}"
        ) from None


def add_options(parser: argparse.ArgumentParser) -> None:
    """All of them."""
    put = parser.add_argument
    put(
        "data",
        metavar="DATA",
        help="digits, or an .npz file with x_train, y_train, x_test and y_test",
    )
    put("-o", "--output", required=True, metavar="MODEL.lut", help="where the model goes")
    _add_network(parser)
    _add_stages(parser)
    _add_run(parser)


def _add_network(parser: argparse.ArgumentParser) -> None:
    """The options that say what the network is, and how its layers become lookups."""
    group = parser.add_argument_group("the network and its layers")
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        "--arch",
        type=arch,
        default=Options.arch,
        metavar="SIZES",
        help=f"outputs of the hidden layers, or {', '.join(ARCHES)} (default: 256,128)",
    )
    either.add_argument("--onnx", metavar="NET.onnx", help="a trained float network instead")
    put = group.add_argument
    put("--subvec", type=int, metavar="V", help="sub-vector length (default: 4; digit: 1)")
    put(
        "--centroids",
        type=int,
        default=Options.centroids,
        metavar="C",
        help="entries of a codebook (default: %(default)s)",
    )
    put(
        "--metric",
        default=Options.metric,
        metavar="METRIC",
        help=f"{', '.join(LAYER_METRICS)} (default: %(default)s)",
    )
    put(
        "--table-bits",
        type=int,
        metavar="BITS",
        help="2 to 8 (default 8); for metric digit 2 to 16 (default 16)",
    )
    put(
        "--activation-bits",
        type=int,
        default=Options.activation_bits,
        metavar="BITS",
        help="of hidden layers, and the most for inputs, 2 to 16 (default: %(default)s)",
    )
    put(
        "--encode",
        default=Options.encode,
        metavar="HOW",
        help=f"of convolutions: {' or '.join(ENCODES)} (default: %(default)s)",
    )
    put(
        "--order",
        default=Options.order,
        metavar="ORDER",
        help=f"of a window's inputs: {' or '.join(ORDERS)} (default: %(default)s)",
    )
    put(
        "--layer",
        action="append",
        default=[],
        metavar="NAME.KEY=VALUE",
        help=f"for one layer: {', '.join(key.replace('_', '-') for key in LAYER_FIELDS)}; such as "
        "conv1.subvec=3; may be repeated",
    )


def _add_stages(parser: argparse.ArgumentParser) -> None:
    """The options that say what is done."""
    group = parser.add_argument_group("the stages")
    put = group.add_argument
    put(
        "--stages",
        type=lambda text: tuple(part for part in text.split(",") if part),
        default=Options.stages,
        metavar="STAGES",
        help=f"which of {','.join(STAGES)} are run (default: {','.join(Options.stages)})",
    )
    put(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.KEY=VALUE",
        help="a setting of one stage, float among them, such as joint.learning-rate=0.001; may be "
        "repeated",
    )
    put(
        "--tables",
        default=Options.tables,
        metavar="KIND",
        help=f"{' or '.join(TABLES)}: parameters of their own from the refit on, or codebooks "
        "times weights (default: %(default)s)",
    )
    put(
        "--augment",
        type=augment,
        metavar="WHAT",
        help="none, or any of flip, shift=PIXELS and noise=PART, with commas (default: by data)",
    )
    put(
        "--float-epochs",
        type=int,
        metavar="N",
        help="passes for the float network (default: by data)",
    )
    put("--epochs", type=int, metavar="N", help="passes of the stage joint (default: by data)")


def _add_run(parser: argparse.ArgumentParser) -> None:
    """The options of the run as a whole."""
    group = parser.add_argument_group("the run")
    group.add_argument(
        "--seed",
        type=int,
        default=Options.seed,
        metavar="N",
        help="fixes everything random, the split of digits too (default: %(default)s)",
    )
    group.add_argument(
        "--threads", type=common.integer(1), metavar="N", help="the result does not depend on it"
    )
    group.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="where the run stands, after every epoch; kept at the end (default: MODEL.lut.ckpt, "
        "removed at the end)",
    )
    group.add_argument(
        "--start",
        metavar="FILE",
        help="a kept checkpoint of a run with the same data, network, layers and seed, to begin "
        "the stages from",
    )
    group.add_argument(
        "--curves", metavar="FILE", help="draw the learning curves into this .png or .svg"
    )
    group.add_argument("--name", help="name of the model (default: the data set's)")
    group.add_argument(
        "--argmax", action="store_true", help="end the model in an argmax: it gives the class"
    )
    common.add_json(group)
