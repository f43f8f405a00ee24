"""One of many bytes, by its number."""

from collections.abc import Sequence

from amaranth.hdl import Const, Mux

__all__ = ["pick"]


def pick(values: Sequence, index):
    """``values[index]``; anything where there is none, or where it is None.

    A tree of two-way multiplexers by the bits of ``index``, which synthesis packs well: two lookup
    tables of four inputs for four values of a bit. Equal halves cost nothing.

    Parameters
    ----------
    values : sequence of Value or None
    index : Value
    """
    level = list(values)
    bit = 0
    while len(level) > 1:
        level = [_either(index[bit], *level[i : i + 2]) for i in range(0, len(level), 2)]
        bit += 1
    return level[0]


def _either(bit, low, high=None):
    if low is None or high is None or high is low:
        return high if low is None else low
    if isinstance(low, Const) and isinstance(high, Const) and low.value == high.value:
        return low
    return Mux(bit, high, low)
