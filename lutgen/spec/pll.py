"""Clocks that the phase-locked loops of FPGAs make of a board's, in closed form."""

from dataclasses import dataclass

__all__ = ["Ecp5Pll", "Ice40Pll", "ecp5_pll", "ice40_pll"]


@dataclass(frozen=True)
class Ice40Pll:
    """An iCE40's loop with simple feedback (Lattice TN1251).

    Parameters
    ----------
    source : float
        Hz of the clock that goes in.
    divr, divf, divq : int
        Of the reference, of the feedback, of the output as a power of two.
    """

    source: float
    divr: int
    divf: int
    divq: int

    @property
    def reference(self) -> float:
        """Hz at the phase detector."""
        return self.source / (self.divr + 1)

    @property
    def vco(self) -> float:
        """Hz of the oscillator."""
        return self.reference * (self.divf + 1)

    @property
    def hz(self) -> float:
        """Hz that come out."""
        return self.vco / (1 << self.divq)

    @property
    def legal(self) -> bool:
        """Whether all is within the data sheet's limits."""
        return (
            10e6 <= self.reference <= 133e6
            and 533e6 <= self.vco <= 1066e6
            and 16e6 <= self.hz <= 275e6
        )

    @property
    def filter_range(self) -> int:
        """The loop filter's setting for this reference."""
        bounds = (17e6, 26e6, 44e6, 66e6, 101e6)
        return 1 + sum(self.reference >= bound for bound in bounds)


@dataclass(frozen=True)
class Ecp5Pll:
    """An ECP5's loop, fed back from its first output (Lattice FPGA-TN-02200).

    Parameters
    ----------
    source : float
        Hz of the clock that goes in.
    ref, feedback, out : int
        Dividers.
    """

    source: float
    ref: int
    feedback: int
    out: int

    @property
    def reference(self) -> float:
        """Hz at the phase detector."""
        return self.source / self.ref

    @property
    def hz(self) -> float:
        """Hz that come out."""
        return self.reference * self.feedback

    @property
    def vco(self) -> float:
        """Hz of the oscillator."""
        return self.hz * self.out

    @property
    def legal(self) -> bool:
        """Whether all is within the data sheet's limits."""
        return (
            8e6 <= self.source <= 400e6
            and 10e6 <= self.reference <= 400e6
            and 400e6 <= self.vco <= 800e6
            and 10e6 <= self.hz <= 400e6
        )


def ice40_pll(source: float, most: float) -> Ice40Pll | None:
    """The fastest clock of at most ``most`` Hz; None where there is none."""
    found = [
        pll
        for divr in range(16)
        for divq in range(1, 7)
        for divf in range(128)
        if (pll := Ice40Pll(source, divr, divf, divq)).legal and pll.hz <= most
    ]
    return max(found, key=lambda pll: (pll.hz, -pll.divr), default=None)


def ecp5_pll(source: float, most: float) -> Ecp5Pll | None:
    """The fastest clock of at most ``most`` Hz; None where there is none."""
    found = []
    for ref in range(1, 41):
        for feedback in range(1, 81):
            hz = source / ref * feedback
            if hz <= most and hz >= 10e6:
                # The oscillator in the middle of its range.
                out = max(1, min(128, round(600e6 / hz)))
                pll = Ecp5Pll(source, ref, feedback, out)
                if pll.legal:
                    found.append(pll)
    return max(found, key=lambda pll: (pll.hz, -pll.ref), default=None)
