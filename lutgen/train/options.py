"""What a user chooses for a training run, checked before any work."""

from dataclasses import dataclass
from typing import Any

from lutgen.numeric import Format, as_int
from lutgen.spec import LAYER_METRICS, METRICS, DigitSpec
from lutgen.train.layers import reachable

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """Hyper-parameters of a training run.

    Parameters
    ----------
    arch : tuple of int
        Outputs of the hidden layers; may be empty.
    subvec : int or None
        Sub-vector length v; None for 4, or 1 for metric ``digit``.
    centroids : int
        Centroids c; a power of two for metric ``digit``.
    metric : str
        ``l1``, ``l2``, ``chebyshev`` or ``digit``.
    table_bits : int or None
        2..8, or 2..16 for metric ``digit``; None for the most.
    activation_bits : int
        2..16, of hidden activations, and the most that inputs get.
    seed : int
        Fixes everything random.
    float_epochs, epochs : int or None
        Passes over the data for the float network and for the lookup network; None for a number
        that suits the data. 0 epochs leave the lookup network as replaced.

    Raises
    ------
    TypeError, ValueError
        Of the first option that is wrong.
    """

    arch: tuple[int, ...] = (256, 128)
    subvec: int | None = None
    centroids: int = 16
    metric: str = "l1"
    table_bits: int | None = None
    activation_bits: int = 8
    seed: int = 0
    float_epochs: int | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.arch, tuple | list):
            raise TypeError(f"Architecture must be a tuple of layer sizes, not {self.arch!r}")
        if self.metric not in LAYER_METRICS:
            raise ValueError(
                f"Metric must be one of {', '.join(LAYER_METRICS)}, not {self.metric!r}"
            )
        digit = self.metric not in METRICS
        sizes = tuple(as_int(n, "Layer size", low=1, high=1 << 16) for n in self.arch)
        subvec = (1 if digit else 4) if self.subvec is None else self.subvec
        bits = (16 if digit else 8) if self.table_bits is None else self.table_bits
        # A frozen object settles its defaults once, so that nobody has to ask for them again.
        for name, value in (
            ("arch", sizes),
            ("subvec", as_int(subvec, "Sub-vector length", low=1)),
            ("centroids", as_int(self.centroids, "Centroids", low=2)),
            ("table_bits", as_int(bits, "Table bits", low=2, high=16 if digit else 8)),
            ("activation_bits", as_int(self.activation_bits, "Activation bits", low=2, high=16)),
            ("seed", as_int(self.seed, "Seed", low=0)),
        ):
            object.__setattr__(self, name, value)
        if self.centroids > 1 << 16:
            raise ValueError(f"Centroids must be at most {1 << 16}, not {self.centroids}")
        if digit and self.subvec != 1:
            raise ValueError(f"Sub-vector length of a digit layer must be 1, not {self.subvec}")
        if self.float_epochs is not None:
            as_int(self.float_epochs, "Float epochs", low=1)
        if self.epochs is not None:
            as_int(self.epochs, "Epochs", low=0)
        if digit:
            self._check_digit(Format(self.activation_bits, False))

    @property
    def v(self) -> int:
        """Sub-vector length."""
        assert self.subvec is not None
        return self.subvec

    @property
    def bits(self) -> int:
        """Table bits."""
        assert self.table_bits is not None
        return self.table_bits

    def check(self, features: int, element: Format) -> None:
        """Complains where the options do not go with a data set's inputs.

        Parameters
        ----------
        features : int
            Elements of one sample.
        element : Format
            Format that they get.
        """
        for i, k in enumerate((features, *self.arch)):
            if self.v > k:
                raise ValueError(
                    f"Sub-vector length must not exceed the {k} inputs of layer {i + 1}, "
                    f"as {self.v} does"
                )
        if self.metric == "digit":
            self._check_digit(element)

    def _check_digit(self, element: Format) -> None:
        """Tables must hold the greatest digit's worth times a weight of 1."""
        largest = int(abs(reachable(DigitSpec(element, self.centroids))).max())
        needed = 1 + largest.bit_length()
        if self.bits < needed:
            raise ValueError(
                f"Table bits must be at least {needed} for digit layers of {self.centroids} "
                f"centroids on {element.bits}-bit activations, not {self.bits}"
            )

    def to_manifest(self) -> dict[str, Any]:
        """For a model's provenance: everything but the seed, which stands beside it."""
        return {
            "arch": list(self.arch),
            "subvec": self.subvec,
            "centroids": self.centroids,
            "metric": self.metric,
            "table_bits": self.table_bits,
            "activation_bits": self.activation_bits,
            "float_epochs": self.float_epochs,
            "epochs": self.epochs,
        }
