"""Outside tools: what is there, and plan, run, parsed report; builds are cached by content."""

from lutgen.flows.simulate import CoreReport, Job, SimReport, side_by_side, simulate, simulate_batch

__all__ = ["CoreReport", "Job", "SimReport", "side_by_side", "simulate", "simulate_batch"]
