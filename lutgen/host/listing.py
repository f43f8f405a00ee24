"""What a compiled model takes of engine and streams, as data for people and programs."""

from typing import Any

from lutgen.host.job import HostStep, Job
from lutgen.spec.job import CHANNELS

__all__ = ["describe"]


def describe(job: Job, batch: int) -> dict[str, Any]:
    """Steps and totals of a batch of samples.

    Raises
    ------
    ValueError
        If a step has more rows than an engine job may have.
    """
    job.check_batch(batch)
    steps: list[dict[str, Any]] = []
    total = dict.fromkeys((*CHANNELS, "lookups", "passes"), 0)
    for step in job.steps:
        entry: dict[str, Any] = {"nodes": list(step.nodes), "gives": step.gives}
        if isinstance(step, HostStep):
            steps.append({**entry, "on": "host", "does": step.node.op, "why": step.why})
            continue
        spec = step.spec(job.engine, batch)
        passes = 0 if step.table is None else spec.blocks * spec.tiles * spec.groups
        counts = {"passes": passes, "lookups": spec.lookups, **spec.packet_bytes}
        for key in total:
            total[key] += counts[key]
        steps.append(
            {
                **entry,
                "on": "engine",
                "does": step.does,
                "rows": step.cut.count,
                "codebooks": spec.codebooks,
                "outputs": None if step.table is None else spec.outputs,
                "blocks": spec.blocks,
                "tiles": spec.tiles,
                "groups": spec.groups,
                "reuse": spec.reused,
                "passes": passes,
                "lookups": spec.lookups,
                "bytes": spec.packet_bytes,
            }
        )
    return {
        "model": {"name": job.name, "sha256": job.sha256},
        "batch": batch,
        "steps": steps,
        "total": {
            "passes": total["passes"],
            "lookups": total["lookups"],
            "bytes": {name: total[name] for name in CHANNELS},
        },
    }
