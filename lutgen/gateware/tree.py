"""Small things that several components are made of: balanced registered trees, delay lines, packed
memory rows.
"""

from contextlib import nullcontext

import numpy as np
from amaranth.hdl import Module, Mux, Signal

from lutgen.numeric import Format, check_ints, clog2

__all__ = ["around", "delay", "pack_rows", "position_bits", "registered_tree"]


def position_bits(count: int) -> int:
    """Width of a signal that numbers ``count`` things: at least one bit, as Verilog has no empty
    vectors.
    """
    return max(1, clog2(count))


def around(value, step: int, size: int):
    """``value + step`` on a ring of ``size`` places, for values below ``size``."""
    step %= size
    if not step:
        return value
    return Mux(value >= size - step, value - (size - step), value + step)


def registered_tree(m, en, values, combine, *, name):
    """Combines ``values`` pairwise, level by level; every level is a register that loads while
    ``en`` is high.

    Parameters
    ----------
    m : Module
    en : Signal
    values : list of expressions
        At least one. An odd one out is carried to the next level.
    combine : callable(left, right, name) -> expression
        The left operand always comes before the right one in ``values``.
    name : str
        Prefix of the registers.

    Returns
    -------
    An expression, ``clog2(len(values))`` cycles after ``values``.
    """
    level = 0
    while len(values) > 1:
        level += 1
        pairs = [values[i : i + 2] for i in range(0, len(values), 2)]
        values = []
        for number, pair in enumerate(pairs):
            result = combine(*pair) if len(pair) == 2 else pair[0]
            register = Signal.like(result, name=f"{name}_{level}_{number}", reset_less=True)
            with m.If(en):
                m.d.sync += register.eq(result)
            values.append(register)
    return values[0]


def delay(m: Module, en, value, cycles: int, *, name: str, reset_less: bool = False):
    """``value`` as it was ``cycles`` cycles ago, of those with ``en`` high unless that is None; 0
    before that.
    """
    for number in range(1, cycles + 1):
        register = Signal.like(value, name=f"{name}_{number}", reset_less=reset_less)
        with nullcontext() if en is None else m.If(en):
            m.d.sync += register.eq(value)
        value = register
    return value


def pack_rows(values, bits: int) -> list[int]:
    """Rows of integers ``[row, ...]`` as one Python integer a row, ``bits`` each, the first lowest.

    Negative values go in as two's complement.

    Raises
    ------
    TypeError, ValueError
        If a value is no integer, or has no code of so many bits, signed or unsigned.
    """
    data = check_ints(values, "Contents of a memory")
    negative = bool(data.size) and bool(data.min() < 0)
    check_ints(data, "Contents of a memory", Format(bits, negative))
    flat = data.astype(np.int64).reshape(len(data), -1)
    rows = []
    for start in range(0, len(flat), 4096):  # bounds the memory that the bits take
        block = flat[start : start + 4096, :, None]
        cells = ((block >> np.arange(bits)) & 1).astype(np.uint8).reshape(len(block), -1)
        packed = np.packbits(cells, axis=1, bitorder="little")
        rows += [int.from_bytes(row.tobytes(), "little") for row in packed]
    return rows
