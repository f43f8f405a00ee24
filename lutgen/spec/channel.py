"""A stream of whole bytes, as the engine's: how wide it is, and what its rows take."""

from dataclasses import dataclass

from lutgen.numeric import ceil_div

__all__ = ["BEATS", "ChannelSpec", "least_beat"]

BEATS = (1, 2, 4, 8, 16, 32, 64, 128)  # bytes that a stream may be wide


@dataclass(frozen=True)
class ChannelSpec:
    """A stream whose rows begin on a beat.

    Parameters
    ----------
    beat : int
        Bytes of a beat, one of `BEATS`.
    """

    beat: int

    def __post_init__(self) -> None:
        if self.beat not in BEATS:
            raise ValueError(
                f"Bytes of a beat must be one of {', '.join(map(str, BEATS))}, not {self.beat}"
            )

    @property
    def bits(self) -> int:
        """Width of ``tdata``."""
        return 8 * self.beat

    def beats(self, size: int) -> int:
        """Beats of ``size`` bytes that begin on a beat and end on one."""
        return ceil_div(size, self.beat)


def least_beat(size: int) -> int:
    """The narrowest beat that holds so many bytes, or the widest that there is."""
    return next((beat for beat in BEATS if beat >= size), BEATS[-1])
