"""The stage that brings trained tables to fewer bits."""

from collections.abc import Callable, Mapping

import numpy as np

from lutgen.numeric import Format
from lutgen.train.lookups import Vectors
from lutgen.train.lutnet import LookupNet, LookupOp
from lutgen.train.optim import Float32Array
from lutgen.train.refit import regress
from lutgen.train.scales import Round
from lutgen.train.walk import Itself, walk

__all__ = ["narrow"]


def narrow(
    net: LookupNet,
    bits: Mapping[str, int],
    q: Float32Array,
    *,
    ridge: float | None = None,
    free: bool = True,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Tables of other bits that give most nearly what the network gives now; in place.

    Layer by layer, as the refit goes, with the network itself in the place of the float network.
    Codebooks stay. Gradients that train tables of few bits from the start hold worse: a step hardly
    moves such an entry, or by much.

    Parameters
    ----------
    bits : mapping of str to int
        Of the tables of every lookup operation, by name.
    q : float32 array ``[C, batch, H, W]`` or ``[K, batch]``
        Input integers.
    ridge, free, progress
        See `lutgen.train.refit.refit`.
    """

    was = {
        name: lookup.integers().matrix * np.float32(lookup.table_scale)
        for name, lookup in net.lookups.items()
        if isinstance(lookup, Vectors) and lookup.residual is not None
    }

    def each(op: LookupOp, x: Float32Array, target: Float32Array) -> Round | None:
        lookup = op.lookup
        lookup.table = Format(bits[op.name], True)
        if not isinstance(lookup, Vectors):
            return None
        if op.name in was:
            # As they were rounded and clipped, whatever another scale of the inputs makes of them.
            lookup.residual = was[op.name] - lookup.tied_tables()
        return regress(lookup, x, target, ridge, free)

    walk(net, Itself(net, q), q, each, progress)
