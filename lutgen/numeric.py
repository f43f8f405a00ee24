"""Integer formats, rounding, saturation and requantisation: the only place where these are written
down.

Every function takes and returns numpy arrays, computes in int64 unless it says otherwise, and never
wraps.
"""

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Format",
    "Grid",
    "Int64Array",
    "as_int",
    "ceil_div",
    "check_ints",
    "clog2",
    "format_for",
    "quantise",
    "requantise",
    "round_half_up",
    "unmasked",
]

Int64Array = NDArray[np.int64]


def as_int(value: object, what: str, *, low: int | None = None, high: int | None = None) -> int:
    """``value`` as a Python integer between ``low`` and ``high``.

    Raises
    ------
    TypeError
        If it is not an integer (booleans are not).
    ValueError
        If it is out of range.
    """
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{what} must be an integer, not {value!r:.40}")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{what} must be an integer, not {value!r:.40}") from None
    if low is not None and number < low:
        kind = {0: "a non-negative integer", 1: "a positive integer"}.get(
            low, f"an integer of at least {low}"
        )
        if high is not None:
            kind = f"an integer between {low} and {high}"
        raise ValueError(f"{what} must be {kind}, not {number!r:.40}")
    if high is not None and number > high:
        raise ValueError(f"{what} must be an integer between {low} and {high}, not {number!r:.40}")
    return number


def ceil_div(a: int, b: int) -> int:
    """The least integer not below ``a / b``, for positive ``b``."""
    return -(-a // b)


def clog2(n: int) -> int:
    """Bits that number ``n`` different things: the least b with ``2**b >= n``."""
    return (n - 1).bit_length()


@dataclass(frozen=True)
class Format:
    """A two's complement or unsigned integer format.

    Parameters
    ----------
    bits : int
        Width, at least 1.
    signed : bool
        Whether the top bit weighs ``-2**(bits - 1)``.
    """

    bits: int
    signed: bool

    def __post_init__(self) -> None:
        as_int(self.bits, "Bits of a format", low=1)
        if not isinstance(self.signed, bool):
            raise TypeError(f"Signedness of a format must be a boolean, not {self.signed!r}")

    @property
    def low(self) -> int:
        """The least value."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """The greatest value."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    def holds(self, low: int, high: int) -> bool:
        """Whether every integer of ``low..high`` has a code."""
        return self.low <= low and high <= self.high

    def __str__(self) -> str:
        return f"{'int' if self.signed else 'uint'}{self.bits}"


def unmasked(values: ArrayLike, what: str) -> NDArray[Any]:
    """``values`` as an array, once it is sure that none is masked: what computes with an array of
    ``numpy.ma`` would take what lies under the mask for a value.

    Parameters
    ----------
    values : array_like
    what : str
        What they are, plural, for the complaint.

    Raises
    ------
    TypeError
        If one is masked.
    """
    parts = values if isinstance(values, list | tuple) else (values,)
    if any(isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part) for part in parts):
        raise TypeError(
            f"{what} must not be masked; give the values to compute with in place of masked ones, "
            "as numpy.ma.filled does"
        )
    return np.asarray(values)


def check_ints(values: ArrayLike, what: str, fmt: Format | None = None) -> NDArray[Any]:
    """``values`` as an array of their own dtype, once it is sure that they are integers of a
    format: what takes integers neither wraps nor cuts them.

    Parameters
    ----------
    values : array_like
    what : str
        What they are, plural, for the complaint.
    fmt : Format or None
        None for any integers that int64 holds.

    Raises
    ------
    TypeError
        If the dtype is none of integers, even where all values are whole, or some are masked.
    ValueError
        If ``fmt`` does not hold all of them.
    """
    array = unmasked(values, what)
    if not array.size:
        return array if array.dtype.kind in "iu" else array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{what} must be integers, not {array.dtype}")
    if fmt is None:
        if array.dtype == np.uint64:
            check_ints(array, what, Format(63, False))
        return array
    low, high = int(array.min()), int(array.max())
    if not fmt.holds(low, high):
        raise ValueError(
            f"{what} must lie in {fmt.low}..{fmt.high}, as {fmt} does, "
            f"not {low if low < fmt.low else high}"
        )
    return array


def format_for(low: int, high: int) -> Format:
    """The narrowest format that holds every integer of ``low..high``; signed only if ``low`` is
    negative.
    """
    if low > high:
        raise ValueError(f"A range must not be empty, as {low}..{high} is")
    if low >= 0:
        return Format(max(1, int(high).bit_length()), False)
    return Format(1 + max(max(int(high), 0).bit_length(), (-int(low) - 1).bit_length()), True)


def round_half_up(x: ArrayLike) -> NDArray[np.float64]:
    """``floor(x + 0.5)`` in float64."""
    return np.floor(np.asarray(x, dtype=np.float64) + 0.5)


def quantise(x: ArrayLike, scale: float, fmt: Format) -> Int64Array:
    """``clamp(floor(x / scale + 0.5))``, in float64, as int64 of the same shape."""
    q = round_half_up(np.asarray(x, dtype=np.float64) / scale)
    return np.asarray(np.clip(q, fmt.low, fmt.high), dtype=np.int64)


def requantise(acc: ArrayLike, shift: int, fmt: Format) -> Int64Array:
    """``clamp((acc + half) >> shift)`` with an arithmetic shift; half is ``1 << (shift - 1)``, or 0
    for shift 0.
    """
    half = 1 << (shift - 1) if shift else 0
    shifted = (check_ints(acc, "Accumulators").astype(np.int64, copy=False) + half) >> shift
    return np.asarray(np.clip(shifted, fmt.low, fmt.high), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Grid:
    """What integer a table code stands for.

    Parameters
    ----------
    kind : str
        ``int`` for two's complement codes; any other name goes with ``values``.
    bits : int
        Width of a code, 2..16.
    values : int16 array ``[2**bits]`` or None
        The value of each code; None exactly when the kind is ``int``.
    """

    kind: str
    bits: int
    values: NDArray[np.int16] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or not self.kind:
            raise TypeError(f"Kind of a grid must be a name, not {self.kind!r}")
        as_int(self.bits, "Bits of a grid", low=2, high=16)
        if (self.values is None) != (self.kind == "int"):
            raise ValueError(
                f"Grid kind {self.kind!r} must "
                + ("not have values" if self.kind == "int" else "come with values")
            )
        if self.values is not None and self.values.shape != (1 << self.bits,):
            raise ValueError(
                f"Grid values must have the shape ({1 << self.bits},), not {self.values.shape}"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        same = (self.kind, self.bits) == (other.kind, other.bits)
        if self.values is None or other.values is None:
            return same and self.values is other.values
        return same and bool(np.array_equal(self.values, other.values))

    def __hash__(self) -> int:
        return hash((self.kind, self.bits))

    @property
    def codes(self) -> int:
        """How many codes there are, ``2**bits``."""
        return 1 << self.bits

    @property
    def low(self) -> int:
        """The least value of any code."""
        return -(1 << (self.bits - 1)) if self.values is None else int(self.values.min())

    @property
    def high(self) -> int:
        """The greatest value of any code."""
        return (1 << (self.bits - 1)) - 1 if self.values is None else int(self.values.max())

    def decode(self, codes: ArrayLike) -> Int64Array:
        """Values of unsigned ``codes`` (each below ``2**bits``), int64 of the same shape."""
        codes = check_ints(codes, "Codes", Format(self.bits, False)).astype(np.int64)
        if self.values is not None:
            return np.asarray(self.values.astype(np.int64)[codes], dtype=np.int64)
        return np.asarray(codes - ((codes >> (self.bits - 1)) << self.bits), dtype=np.int64)

    def encode(self, values: ArrayLike) -> Int64Array:
        """Codes of ``values``: exact for kind ``int``, the nearest value otherwise (ties to the
        lower code).
        """
        values = check_ints(values, "Values").astype(np.int64)
        if self.values is None:
            if values.size and (values.min() < self.low or values.max() > self.high):
                raise ValueError(f"Values must lie in {self.low}..{self.high} to have an int code")
            return values & (self.codes - 1)
        order = np.argsort(self.values, kind="stable")
        ladder = self.values.astype(np.int64)[order]
        right = np.clip(np.searchsorted(ladder, values), 1, len(ladder) - 1)
        nearer_left = values - ladder[right - 1] <= ladder[right] - values
        return order[np.where(nearer_left, right - 1, right)].astype(np.int64)
