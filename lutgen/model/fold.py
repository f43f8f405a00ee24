"""How stages trade area for cycles: what is wished, and what is chosen where nothing is."""

from dataclasses import dataclass, fields, replace
from typing import Any

from lutgen.numeric import ceil_div
from lutgen.spec.conv import FeederSpec
from lutgen.spec.distance import METRICS
from lutgen.spec.encoder import DigitSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.window import WindowSpec

__all__ = ["FOLD_FIELDS", "Fold", "default_fold", "divisor", "fold_row", "window_channels"]


@dataclass(frozen=True)
class Fold:
    """The fold of a stage; None leaves the choice to lutgen.

    Parameters
    ----------
    lanes : int or None
        Outputs computed, or elements moved, in one cycle.
    fan_in : int or None
        Codebooks looked up in one cycle.
    encoder_centroids, encoder_dims : int or None
        Centroids and dimensions that an encoder compares in one cycle.
    window_channels : int or None
        Channels of a pixel that are read from a line buffer in one cycle.
    slide : int or None
        1 to keep whole windows of a convolution in registers, so that more than one tap can be
        looked up in a cycle; 0 to read one tap after the other.
    """

    lanes: int | None = None
    fan_in: int | None = None
    encoder_centroids: int | None = None
    encoder_dims: int | None = None
    window_channels: int | None = None
    slide: int | None = None

    def over(self, base: "Fold") -> "Fold":
        """This fold, with ``base`` where it says nothing."""
        mine = {key: getattr(self, key) for key in FOLD_FIELDS}
        return Fold(**{k: getattr(base, k) if v is None else v for k, v in mine.items()})

    def check(self) -> None:
        """Complains of what is no positive integer."""
        for key in FOLD_FIELDS:
            value = getattr(self, key)
            name = key.replace("_", "-")
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if key == "slide" and value not in (None, 0, 1):
                raise ValueError(f"slide must be 0 or 1, not {value}")
            if value is not None and value < (key != "slide"):
                raise ValueError(f"{name} must be a positive integer, not {value}")


FOLD_FIELDS = tuple(field.name for field in fields(Fold))


def divisor(size: int, most: int) -> int:
    """The greatest divisor of ``size`` that is not above ``most``."""
    return next(k for k in range(min(size, most), 0, -1) if size % k == 0)


def default_fold(
    *, outputs: int, subvec: int, centroids: int, metric: str, codebooks: int, wish: Fold
) -> dict[str, Any]:
    """The fold of a lookup layer: what was wished, and for the rest 16 lanes, fan-in 1, and an
    encoder just wide enough not to be slower than the matcher.

    Raises
    ------
    ValueError
        If a wish is below 1; wishes above a layer's size are cut to it, so that one option serves
        all layers.
    """
    wish.check()
    lanes = min(16 if wish.lanes is None else wish.lanes, outputs)
    fan_in = min(1 if wish.fan_in is None else wish.fan_in, codebooks)
    if metric not in METRICS:
        return {"lanes": lanes, "fan_in": fan_in, "encoder_centroids": 1, "encoder_dims": 1}
    dims = min(subvec if wish.encoder_dims is None else wish.encoder_dims, subvec)
    tiles = ceil_div(outputs, lanes)
    at_once = wish.encoder_centroids
    if at_once is None:  # a power of two divides most codebooks evenly
        at_once = 1
        while at_once < centroids and ceil_div(centroids, at_once) * ceil_div(subvec, dims) > tiles:
            at_once *= 2
    return {
        "lanes": lanes,
        "fan_in": fan_in,
        "encoder_centroids": min(at_once, centroids),
        "encoder_dims": dims,
    }


def fold_row(row: LinearSpec, wish: Fold, *, visits: int = 1, pixels: int = 1) -> dict[str, Any]:
    """`default_fold` of a convolution: lanes divide its outputs, and the encoder may take as long
    as the matcher takes for ``visits`` rows of lookups while ``pixels`` rows are encoded.
    """
    wish.check()
    wish = replace(wish, lanes=divisor(row.out_features, wish.lanes or 16))
    fold = default_fold(
        outputs=row.out_features,
        subvec=row.subvec,
        centroids=row.centroids,
        metric=row.metric,
        codebooks=row.codebooks,
        wish=wish,
    )
    if row.has_encoders and wish.encoder_centroids is None:
        at_once = 1
        while at_once < row.centroids:
            fold["encoder_centroids"] = at_once
            folded = replace(row, **fold)
            if folded.encode_interval * pixels <= folded.lookups * visits:
                break
            at_once *= 2
        fold["encoder_centroids"] = min(at_once, row.centroids)
    return fold


def window_channels(
    row: LinearSpec, window: WindowSpec, *, channels: int, order: str, wish: int | None
) -> tuple[int, int]:
    """Channels that are read in one cycle, and the fan-in, which both must make whole groups: the
    fewest channels that do not hold up the rest; with a wish, the most up to that.

    Returns
    -------
    channels, fan_in : int
    """
    encoder, area = row.encoder, window.area
    per = encoder.digits if isinstance(encoder, DigitSpec) else 1
    for fan_in in range(row.fan_in, 0, -1):
        group = fan_in * row.subvec
        words = [
            word
            for word in range(1, channels + 1)
            if FeederSpec.fits(area, channels, word, order, word * per, group)
        ]
        if not words:
            continue
        if wish is not None:
            below = [word for word in words if word <= wish]
            return (below[-1] if below else words[0]), fan_in
        busy = replace(row, fan_in=fan_in).interval
        for word in words:
            feeder = FeederSpec(area, channels, word, order, per, group, encoder.interval)
            writes = window.height * window.width * (channels // word)
            if feeder.interval <= busy and writes <= busy * window.count:
                return word, fan_in
        return words[-1], fan_in
    raise AssertionError("a fan-in of 1 always goes with all channels or with one")
