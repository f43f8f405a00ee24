"""What the benchmarks of training share: conditions, and a pretrained ResNet-8 as lookups."""

import os
import platform
import resource
from typing import Any

import numpy as np
from _common import ROOT, Row, conditions, cpu

import lutgen
from lutgen.train import Dataset, TrainResult, train
from lutgen.train.onnx import import_onnx

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


def convert_resnet8(row: Row, data: Dataset, **options: Any) -> TrainResult:
    """Trains with a row's ``subvec``, ``metric``, ``encode`` and ``seed``; the first and the last
    layer stay exact.
    """
    net = import_onnx(NETWORK)
    weighted = [layer.name for layer in net.layers if hasattr(layer, "rows")]
    exact = {"metric": "digit", "centroids": 16}
    encode, _, order = row["encode"].partition(" ")
    return train(
        data,
        net=net,
        subvec=row["subvec"],
        metric=row["metric"],
        encode=encode,
        order=order or "chw",
        layers={weighted[0]: {**exact, "encode": "pixel"}, weighted[-1]: exact},
        seed=row["seed"],
        **options,
    )


def needed() -> None:
    """Stops where the network is not there."""
    if not NETWORK.is_file():
        raise SystemExit(f"{NETWORK}: no such file; the pretrained network is needed")
