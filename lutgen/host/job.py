"""A compiled model: the steps that engine and host take for a batch of samples, in order."""

from collections.abc import Mapping
from dataclasses import dataclass

from lutgen.errors import LutgenError
from lutgen.host.steps import EngineStep, HostStep
from lutgen.model.base import Activation, Shape, Wire
from lutgen.model.network import MOST
from lutgen.spec.engine import EngineSpec
from lutgen.spec.job import SIZES

__all__ = ["EngineStep", "HostStep", "Job", "follow"]

PACKET = 1 << 24  # bytes of a packet that a batch stays below, if nothing is said: DMAs have limits
BATCH = 256  # samples of a batch at most, if nothing is said


def follow(step: HostStep | EngineStep, wires: Mapping[str, Wire], engine: EngineSpec) -> Wire:
    """Checks a step behind those before it; gives what stands on its result.

    Raises
    ------
    LutgenError
        One line that names the step and the field.
    """
    where = f"step {step.gives!r}"
    if step.gives in wires:
        raise LutgenError(f"{where}, field 'gives': is used twice")
    for source in step.inputs:
        if source not in wires:
            raise LutgenError(
                f"{where}, field 'inputs': names {source!r}, which no earlier step gives"
            )
    return step.infer([wires[name] for name in step.inputs], engine)


@dataclass(frozen=True)
class Job:
    """A model compiled for an engine.

    Parameters
    ----------
    name : str
        The model's.
    sha256 : str
        The model's digest, see `lutgen.model.digest`.
    engine : EngineSpec
    shape : tuple of int
        Shape of one input sample.
    input : Activation
        Format of the input.
    steps : tuple of HostStep or EngineStep
        Each takes the input or results of earlier ones.
    output : str
        The name of the result that is the model's.

    Raises
    ------
    LutgenError
        Where the steps do not suit each other or the engine; the text names the step.
    """

    name: str
    sha256: str
    engine: EngineSpec
    shape: Shape
    input: Activation
    steps: tuple[HostStep | EngineStep, ...]
    output: str

    def __post_init__(self) -> None:
        wires = self.wires()
        if self.output not in wires:
            raise LutgenError(f"field 'output': names {self.output!r}, which no step gives")

    def wires(self) -> dict[str, Wire]:
        """What stands on every result, and on ``input``."""
        wires = {"input": Wire(self.shape, self.input)}
        for step in self.steps:
            wires[step.gives] = follow(step, wires, self.engine)
        total = sum(wire.size for wire in wires.values())
        if total > MOST:
            raise LutgenError(
                f"field 'steps': a sample and its results are {total:,} elements, more than "
                f"{MOST:,}; compile a model of smaller samples"
            )
        return wires

    @property
    def engine_steps(self) -> tuple[EngineStep, ...]:
        """The steps that the engine takes."""
        return tuple(step for step in self.steps if isinstance(step, EngineStep))

    @property
    def batch(self) -> int:
        """Samples of a batch where nothing is said: many, as tables come once a batch, while every
        packet stays below 16 MiB.
        """
        batch = BATCH
        while batch > 1 and not self._small(batch):
            batch //= 2
        return batch

    @property
    def most(self) -> int:
        """Samples of a batch at most: as many as have rows that an engine job may have."""
        counts = [step.cut.count for step in self.engine_steps]
        return SIZES * self.engine.rows // max(counts, default=1)

    def check_batch(self, batch: int) -> None:
        """Complains of a batch that is too large for an engine job.

        Raises
        ------
        ValueError
            It names the step that has the most rows.
        """
        if self.engine_steps and batch > self.most:
            step = max(self.engine_steps, key=lambda step: step.cut.count)
            raise ValueError(
                f"Batch must be at most {self.most:,} samples, not {batch:,}: step {step.gives!r} "
                f"has {step.cut.count:,} rows a sample, and a job of the engine at most "
                f"{SIZES * self.engine.rows:,}"
            )

    def _small(self, batch: int) -> bool:
        if batch > self.most:
            return False
        jobs = [step.spec(self.engine, batch) for step in self.engine_steps]
        return all(max(job.packet_bytes.values()) < PACKET for job in jobs)
