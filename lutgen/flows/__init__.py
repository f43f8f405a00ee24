"""Outside tools: what is there, and plan, run, parsed report; builds are cached by content."""

from lutgen.flows.report import CoreReport, LayerReport, SimReport
from lutgen.flows.simulate import Job, side_by_side, simulate, simulate_batch

__all__ = [
    "CoreReport",
    "Job",
    "LayerReport",
    "SimReport",
    "side_by_side",
    "simulate",
    "simulate_batch",
]
