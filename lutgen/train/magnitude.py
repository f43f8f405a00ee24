"""How large the numbers of a float network may be."""

import numpy as np

from lutgen.train.floatnet import FloatLayer, FloatNet
from lutgen.train.optim import Float32Array

__all__ = ["LARGEST", "check_values"]

LARGEST = 1e15  # float32 holds sums of squares of such numbers


def check_values(net: FloatNet, x: Float32Array) -> None:
    """Complains of a network whose results could not be worked with.

    Parameters
    ----------
    net : FloatNet
    x : float32 array
        Samples as the network reads them, the batch inside.

    Raises
    ------
    ValueError
        If a layer's results are no numbers, or too large.
    """

    def visit(layer: FloatLayer, values: Float32Array) -> None:
        peak = float(np.abs(values).max())
        if not peak <= LARGEST:
            raise ValueError(
                f"Network gives {peak:.2g} at layer {layer.name!r}, more than {LARGEST:g}; scale "
                "its weights down, and train it again"
            )

    with np.errstate(all="ignore"):
        net.run(x, visit)
