"""The netlist of a core in simulation, against golden inference."""

from numpy.typing import ArrayLike

from lutgen.flows.fpga.models import cell_models
from lutgen.flows.fpga.synth import Synthesised
from lutgen.flows.report import SimReport
from lutgen.flows.simulate import simulate

__all__ = ["SIMULATED", "simulate_netlist"]

# Families of whose cells there are models.
SIMULATED = ("ice40", "ecp5", "xilinx")


def simulate_netlist(
    core: Synthesised,
    inputs: ArrayLike,
    expected: ArrayLike,
    *,
    load_words: ArrayLike | None = None,
    seed: int = 0,
) -> SimReport:
    """Plays samples through the cells of a part in Verilator, with random stalls.

    Parameters
    ----------
    core : Synthesised
    inputs, expected, load_words
        See `lutgen.flows.simulate.Job`.
    seed : int
        Of the stalls.

    Raises
    ------
    LutgenError
        If there are no models of the cells, or the simulation can't be built.
    """
    text = f"{cell_models(core.part.family)}\n{core.netlist}"
    return simulate(
        text,
        core.core.contract,
        inputs,
        expected,
        load_words=load_words,
        seed=seed,
        driver="compiled",
        timing_samples=0,
    )
