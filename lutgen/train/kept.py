"""Which state of a stage with gradients is kept, and why."""

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["BOTH", "HELD", "Kept"]

HELD = "held-out samples"
BOTH = f"{HELD} and as many training samples"


@dataclass(frozen=True)
class Kept:
    """Which state of a stage is kept.

    Attributes
    ----------
    epoch : int
        The one after which it stood; 0 for the state before the stage.
    epochs : int
        Of the stage.
    samples : str
        What the state before and those after the last quarter's epochs are judged on: `HELD`, or
        `BOTH`.
    before, after : float
        Their losses on those: of the state before the stage, and the least of the others.
    accuracy_before, accuracy_after : float
        On the held-out samples, of the same states.
    """

    epoch: int
    epochs: int
    samples: str
    before: float
    after: float
    accuracy_before: float
    accuracy_after: float

    def data(self) -> dict[str, Any]:
        """JSON data."""
        return asdict(self)

    def text(self) -> str:
        """In words."""
        if self.epoch:
            return f"kept as it was after epoch {self.epoch} of {self.epochs}"
        return (
            f"thrown away, the state from before it is kept: on {self.samples} its loss is "
            f"{self.before:.4f}, after the last epochs {self.after:.4f} at best (held-out "
            f"{100 * self.accuracy_before:.2f} % and {100 * self.accuracy_after:.2f} %)"
        )
