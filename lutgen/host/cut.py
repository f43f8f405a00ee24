"""How a node's input is cut into input rows of the engine: pixels, windows, digits. Wiring only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.model.base import Fields, Shape
from lutgen.numeric import Format, Int64Array, check_ints
from lutgen.spec.conv import ORDERS
from lutgen.spec.encoder import DigitSpec
from lutgen.spec.job import NOTHING
from lutgen.spec.window import WindowSpec

__all__ = ["Cut"]


@dataclass(frozen=True)
class Cut:
    """How samples become input rows.

    Parameters
    ----------
    shape : tuple of int
        Of one sample.
    positions : int
        Rows of one sample, which share its elements evenly; where windows make rows, 1.
    window : WindowSpec or None
        The windows that rows are made of, of a sample of height, width and channels.
    order : str
        How a window is flattened: ``hwc`` or ``chw``.
    outside : int
        What stands outside the image: 0, or `NOTHING` among indices.
    digits : DigitSpec or None
        How elements are cut into digits, which are indices.
    """

    shape: Shape
    positions: int = 1
    window: WindowSpec | None = None
    order: str = "hwc"
    outside: int = 0
    digits: DigitSpec | None = None

    def __post_init__(self) -> None:
        if self.window is None:
            size = int(np.prod(self.shape))
            if self.positions < 1 or size % self.positions:
                raise ValueError(f"Positions must share {size} elements, not be {self.positions}")
        elif len(self.shape) != 3 or self.shape[:2] != (self.window.height, self.window.width):
            raise ValueError("Windows must lie on an image of the sample's height and width")
        if self.order not in ORDERS:
            raise ValueError(f"Order must be one of {', '.join(ORDERS)}, not {self.order!r}")

    @property
    def count(self) -> int:
        """Rows of one sample, M."""
        return self.positions if self.window is None else self.window.count

    @property
    def width(self) -> int:
        """Elements of a row, or its digits."""
        each = 1 if self.digits is None else self.digits.digits
        if self.window is None:
            return int(np.prod(self.shape)) // self.positions * each
        return self.window.area * self.shape[2] * each

    def rows(self, x: NDArray[Any]) -> Int64Array:
        """Rows ``[samples * count, width]`` of samples ``[samples, elements]``."""
        data = check_ints(x, "Samples").astype(np.int64).reshape(len(x), *self.shape, 1)
        if self.digits is not None:
            data = self.digits.compute(data).reshape(len(x), *self.shape, -1)
        if self.window is not None:
            taps = [tap for _, _, tap in self.window.taps(self.window.surround(data, self.outside))]
            # [samples, rows, columns, channels, digits]: taps before channels, or behind them
            data = np.stack(taps, axis=3 if self.order == "hwc" else 4)
        return data.reshape(len(x) * self.count, -1)

    def to_manifest(self) -> dict[str, Any]:
        """JSON data, without the shape, which is that of the value that is cut."""
        window, digits = self.window, self.digits
        return {
            "positions": self.positions,
            "window": window
            and {
                "kernel": list(window.kernel),
                "stride": list(window.stride),
                "pad": list(window.pad),
                "order": self.order,
                "outside": self.outside,
            },
            "digits": digits
            and {
                "bits": digits.element.bits,
                "signed": digits.element.signed,
                "centroids": digits.centroids,
            },
        }

    @classmethod
    def from_manifest(cls, fields: Fields, shape: Shape) -> "Cut":
        """Reads what `to_manifest` gave.

        Raises
        ------
        LutgenError
            Where it does not suit the shape, or itself.
        """
        more: dict[str, Any] = {"positions": fields.integer("positions", 1, 1 << 31)}
        try:
            if fields.take("window") is not None:
                if len(shape) != 3:
                    raise ValueError("Windows must lie on an image")
                inner = fields.inner("window")
                kernel, stride = (inner.integers(key, 2, 1, 65535) for key in ("kernel", "stride"))
                pad = inner.integers("pad", 4, 0, 65534)
                more["window"] = WindowSpec(
                    *shape[:2],
                    kernel,  # type: ignore[arg-type]
                    stride,  # type: ignore[arg-type]
                    pad,  # type: ignore[arg-type]
                )
                more["order"] = inner.choice("order", ORDERS)
                more["outside"] = inner.integer("outside", NOTHING, 0)
                inner.done()
            if fields.take("digits") is not None:
                inner = fields.inner("digits")
                element = Format(inner.integer("bits", 2, 16), inner.flag("signed"))
                more["digits"] = DigitSpec(element, inner.integer("centroids", 2, 1 << 16))
                inner.done()
            fields.done()
            return cls(shape, **more)
        except ValueError as error:
            raise LutgenError(f"{fields.where}: {error}") from None
