"""The netlist of a core in simulation, against golden inference, and what its nets do meanwhile."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lutgen.cost.energy import Activity
from lutgen.errors import LutgenError
from lutgen.flows import cache, tools
from lutgen.flows.fpga.activity import count, parse_saif, short_names
from lutgen.flows.fpga.models import cell_models
from lutgen.flows.fpga.synth import Synthesised
from lutgen.flows.report import SimReport
from lutgen.flows.simulate import simulate
from lutgen.numeric import ceil_div

__all__ = ["SIMULATED", "Checked", "check_netlist", "simulate_netlist"]

# Families of whose cells there are models.
SIMULATED = ("ice40", "ecp5", "xilinx")
SHELF = "netlist"
# Cycles of which the activity is taken, at least: a SAIF file of Verilator counts what is 1 at the
# beginning as a toggle, and among so many that is nothing.
LEAST = 2000


@dataclass(frozen=True)
class Checked:
    """What the simulation of a netlist said.

    Attributes
    ----------
    samples, mismatches : int
        Results compared, and words that differ.
    passed : bool
    said : str
        One line on what is wrong, or on what was checked.
    seconds : float
        What it took when it ran.
    activity : Activity or None
        None where something was wrong, or a cell is of a kind of which nothing is known.
    steady : bool
        Whether the core took as many samples as it gave, while the activity was recorded.
    """

    samples: int
    mismatches: int
    passed: bool
    said: str
    seconds: float
    activity: Activity | None
    steady: bool


class _WrongError(Exception):
    """Carries a report past the cache, which keeps only what is right."""

    def __init__(self, report: SimReport) -> None:
        self.report = report


def simulate_netlist(
    core: Synthesised,
    inputs: ArrayLike,
    expected: ArrayLike,
    *,
    load_words: ArrayLike | None = None,
    seed: int = 0,
    saif: Path | None = None,
) -> SimReport:
    """Plays samples through the cells of a part in Verilator, with random stalls.

    Parameters
    ----------
    core : Synthesised
    inputs, expected, load_words
        See `lutgen.flows.simulate.Job`.
    seed : int
        Of the stalls.
    saif : Path or None
        Where the toggles of all nets go, of further samples without stalls. Names are those of
        `short_names`.

    Raises
    ------
    LutgenError
        If there are no models of the cells, or the simulation can't be built.
    """
    text = f"{cell_models(core.part.family)}\n{short_names(core.netlist)}"
    return simulate(
        text,
        core.core.contract,
        inputs,
        expected,
        load_words=load_words,
        seed=seed,
        driver="compiled",
        timing_samples=0,
        waves=saif,
        record=None if saif is None else recorded(core.core.contract),
    )


def recorded(contract: dict[str, Any]) -> tuple[int, int]:
    """Samples that fill a core until it takes them as slowly as its slowest stage, and samples of
    which the activity is taken.
    """
    interval = contract["interval"]
    # Two more for each stage, where they are short: it may hold one, and the queue before it one.
    held = 2 * len(contract["stages"])
    fill = 2 + ceil_div(contract["latency"], interval) + min(held, ceil_div(20_000, interval))
    return fill, max(2, ceil_div(LEAST, interval))


def check_netlist(
    core: Synthesised,
    inputs: ArrayLike,
    expected: ArrayLike,
    *,
    load_words: ArrayLike | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Checked:
    """Simulates a netlist and takes its activity, or finds what the same run gave before.

    Parameters
    ----------
    core, inputs, expected, load_words, seed
        See `simulate_netlist`.
    say : callable
        Takes lines of progress.

    Raises
    ------
    LutgenError
        If there are no models of the cells, or the simulation can't be built.
    """
    contract, family = core.core.contract, core.part.family
    _, version = tools.find_verilator()
    arrays: list[ArrayLike] = [inputs, expected, [] if load_words is None else load_words]
    vectors = [
        hashlib.sha256(np.asarray(array, dtype=np.int64).tobytes()).hexdigest() for array in arrays
    ]
    models = cell_models(family)
    key = cache.digest(SHELF, 2, version, models, core.netlist, contract, vectors, seed)

    def make(folder: Path) -> None:
        say("simulating the netlist; its build takes a minute or two ...")
        saif = folder / "activity.saif"
        report = simulate_netlist(
            core, inputs, expected, load_words=load_words, seed=seed, saif=saif
        )
        if not report.passed:
            raise _WrongError(report)
        found, steady = _activity(core, report, saif)
        saif.unlink()
        note = {
            "samples": report.samples,
            "said": report.describe(),
            "seconds": round(report.seconds, 1),
            "activity": None if found is None else found.data(),
            "steady": steady,
        }
        (folder / "checked.json").write_text(json.dumps(note), encoding="utf-8")

    try:
        folder, cached = cache.cached(SHELF, key, make)
    except _WrongError as error:
        report = error.report
        return Checked(
            report.samples,
            report.mismatches,
            False,
            report.describe(),
            report.seconds,
            None,
            False,
        )
    try:
        note = json.loads((folder / "checked.json").read_text(encoding="utf-8"))
        if cached:
            say("simulation of the netlist: from the cache")
        activity = None if note["activity"] is None else Activity(**note["activity"])
        return Checked(
            note["samples"], 0, True, note["said"], note["seconds"], activity, note["steady"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        cache.discard(SHELF, key)
        return check_netlist(core, inputs, expected, load_words=load_words, seed=seed, say=say)


def _activity(core: Synthesised, report: SimReport, saif: Path) -> tuple[Activity | None, bool]:
    window = report.cores[0].window
    assert window is not None
    cycles, beats = window
    contract = core.core.contract
    _, results = recorded(contract)
    found = parse_saif(saif.read_text(encoding="utf-8"), str(saif))
    try:
        activity = count(
            short_names(core.netlist), found, core.part.family, cycles=cycles, results=results
        )
    except LutgenError:  # a cell without figures: the core is right all the same
        return None, False
    return activity, beats == results * contract["input"]["beats"]
