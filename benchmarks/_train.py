"""What the benchmarks of training share: conditions, and a pretrained ResNet-8 as lookups."""

import os
import platform
import resource
from collections.abc import Sequence
from typing import Any

import numpy as np
from _common import ROOT, Row, conditions, cpu

import lutgen
from lutgen.train import Dataset, TrainResult, train
from lutgen.train.onnx import import_onnx

THREADS = int(os.environ.get("LUTGEN_THREADS", "2"))
NETWORK = ROOT.parent / "shared" / "models" / "resnet8_cifar10.onnx"


def environment() -> Row:
    """What a row was measured with."""
    return {
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "lutgen": lutgen.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "cpu": cpu(),
        "cores": os.cpu_count(),
    }


def described(rows: list[Row]) -> list[str]:
    """The end of a page: `environment` of its rows."""
    return conditions(
        f"lutgen {r['lutgen']}, Python {r['python']}, numpy {r['numpy']}, {r['cores']} cores "
        f"({r['cpu']})"
        for r in rows
    )


def convert_resnet8(
    row: Row, data: Dataset, *, table_bits: int | Sequence[int] = 8, **options: Any
) -> TrainResult:
    """Trains with a row's ``subvec``, ``metric``, ``encode`` and ``seed``; the first and the last
    layer stay exact.

    Parameters
    ----------
    table_bits : int or sequence of int
        Of all other layers, or of one after the other.
    """
    net = import_onnx(NETWORK)
    weighted = [layer.name for layer in net.layers if hasattr(layer, "rows")]
    exact = {"metric": "digit", "centroids": 16}
    inner = weighted[1:-1]
    bits = [table_bits] * len(inner) if isinstance(table_bits, int) else list(table_bits)
    most = max(bits)
    own = {k: {"table_bits": n} for k, n in zip(inner, bits, strict=True) if n < most}
    encode, _, order = row["encode"].partition(" ")
    return train(
        data,
        net=net,
        subvec=row["subvec"],
        metric=row["metric"],
        encode=encode,
        order=order or "chw",
        table_bits=most,
        layers={weighted[0]: {**exact, "encode": "pixel"}, **own, weighted[-1]: exact},
        seed=row["seed"],
        **options,
    )


def needed() -> None:
    """Stops where the network is not there."""
    if not NETWORK.is_file():
        raise SystemExit(f"{NETWORK}: no such file; the pretrained network is needed")
