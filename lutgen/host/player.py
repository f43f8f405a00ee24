"""Plays a compiled model on an engine, through any transport."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from lutgen.errors import LutgenError
from lutgen.host.job import EngineStep, HostStep, Job
from lutgen.host.registers import BusError, Registers
from lutgen.host.transport import Transport
from lutgen.model.samples import take_samples
from lutgen.numeric import Int64Array, as_int
from lutgen.spec.engine import EngineSpec
from lutgen.spec.engine_registers import (
    COUNTERS,
    ERRORS,
    ID,
    VERSION,
    engine_registers,
    fingerprint,
)

__all__ = ["Outputs", "StepReport", "check_engine", "play"]

POLLS = 10_000  # reads of a status that changes a few cycles after the result packet has come


@dataclass
class StepReport:
    """What a step took, over all batches.

    Attributes
    ----------
    name, gives, does : str
        Of the step; see `EngineStep`.
    jobs : int
        Times that the engine was started.
    rows : int
        Input rows.
    bytes : dict of int
        Bytes on each stream.
    counters : dict of int
        The engine's counters: ``cycles``, ``lookups``, and the cycles of each kind of stall.
    """

    name: str
    gives: str
    does: str
    jobs: int = 0
    rows: int = 0
    bytes: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)

    def add(self, rows: int, sizes: Mapping[str, int], counters: Mapping[str, int]) -> None:
        """Adds a job."""
        self.jobs += 1
        self.rows += rows
        for total, part in ((self.bytes, sizes), (self.counters, counters)):
            for name, count in part.items():
                total[name] = total.get(name, 0) + count


@dataclass(frozen=True)
class Outputs:
    """What a model says of samples, and what that took.

    Attributes
    ----------
    outputs : int64 ``[sample, output]``
    classes : int64 ``[sample]``
        The argmax of ``outputs``, ties to the lowest.
    steps : tuple of StepReport
        One for each step on the engine.
    clamped : int
        How many elements of the samples lay outside the input's format, and became its end.
    """

    outputs: Int64Array
    classes: Int64Array
    steps: tuple[StepReport, ...]
    clamped: int


async def play(
    job: Job, transport: Transport, x: ArrayLike, *, batch: int | None = None
) -> Outputs:
    """What the compiled model says of samples, bit for bit as `Model.predict`.

    Parameters
    ----------
    job : Job
    transport : Transport
    x : array ``[sample, ...]``
        In the data set's own units.
    batch : int or None
        The most samples of one engine job; None for `Job.batch`.

    Raises
    ------
    LutgenError
        If the device is not the engine that the job was compiled for, or a job ends with an error
        or not at all; the text names the step. The engine is idle then, and takes the next job,
        unless the text says that it is busy still: then its results were not taken.
    ValueError
        If they are no samples of the model's input, or the batch is too large for a job of the
        engine.
    """
    step_size = job.batch if batch is None else as_int(batch, "Batch", low=1)
    q, clamped = take_samples(x, job.shape, job.input)
    q = q.reshape(len(q), int(np.prod(job.shape)))
    job.check_batch(min(step_size, len(q)))
    wires = job.wires()
    registers = Registers(transport, engine_registers(job.engine))
    await check_engine(registers, job.engine)
    reports = {step.gives: _report(step) for step in job.engine_steps}
    outputs = np.empty((len(q), wires[job.output].size), dtype=np.int64)
    for start in range(0, len(q), step_size):
        part = slice(start, start + step_size)
        values = {"input": q[part]}
        for step in job.steps:
            if isinstance(step, HostStep):
                values[step.gives] = step.compute(values, wires)
            else:
                source, report = values[step.source], reports[step.gives]
                values[step.gives] = await _play(
                    step, job.engine, registers, transport, source, report
                )
        outputs[part] = values[job.output]
    classes = outputs.argmax(axis=1).astype(np.int64)
    return Outputs(outputs, classes, tuple(reports.values()), clamped)


def _report(step: EngineStep) -> StepReport:
    return StepReport(step.name, step.gives, step.does)


async def check_engine(registers: Registers, engine: EngineSpec) -> None:
    """Complains if what answers is not that engine, or has another job."""
    found = (await registers.get("ID"))["id"]
    if found != ID:
        raise LutgenError(
            f"register ID: reads 0x{found:08x}, not 0x{ID:08x}: no engine answers here; check the "
            "address, and that the device is programmed"
        )
    version = (await registers.get("VERSION"))["version"]
    if version != VERSION:
        raise LutgenError(
            f"register VERSION: reads {version}, not {VERSION}; build the engine with this lutgen, "
            "or play the job with the one that built it"
        )
    mark, wanted = (await registers.get("FINGERPRINT"))["fingerprint"], fingerprint(engine)
    if mark != wanted:
        raise LutgenError(
            f"register FINGERPRINT: reads 0x{mark:08x}, not 0x{wanted:08x}: the job was compiled "
            "for an engine of other parameters; compile the model for this one"
        )
    if (await registers.get("STATUS"))["busy"]:
        raise LutgenError("register STATUS: the engine is busy; wait for its job, or abort it")


async def _play(
    step: EngineStep,
    engine: EngineSpec,
    registers: Registers,
    transport: Transport,
    x: Int64Array,
    report: StepReport,
) -> Int64Array:
    """One step's result on one batch."""
    where = f"step {step.gives!r}"
    spec = step.spec(engine, len(x))
    try:
        for name, fields in spec.registers().items():
            await registers.set(name, **fields)
        await transport.begin(step.packets(spec, x), spec.result_bytes)
        await registers.set("CONTROL", start=1)
    except BusError as error:
        await transport.cancel()
        raise LutgenError(f"{where}: the engine refused its registers: {error}") from error
    try:
        packet = await transport.finish()
    except TimeoutError as error:
        text = await _abort(registers, transport)
        raise LutgenError(f"{where}: the engine did not end and {text}: {error}") from error
    if not await _is_idle(registers):
        text = await _abort(registers, transport)
        raise LutgenError(f"{where}: the engine stayed busy after its results and {text}")
    errors = await registers.get("ERROR")
    found = [text for name, text in ERRORS.items() if errors[name]]
    if found:
        raise LutgenError(f"{where}: the engine stopped: {'; '.join(found)}")
    try:
        result = step.result(spec, packet)
    except ValueError as error:
        raise LutgenError(f"{where}: {error}") from error
    counters = {name.lower(): await registers.counter(name) for name in COUNTERS}
    report.add(spec.rows, spec.packet_bytes, counters)
    return result


async def _is_idle(registers: Registers) -> bool:
    """Waits for the end of a job that has nothing to wait for any more; gives whether it came."""
    for _ in range(POLLS):
        if not (await registers.get("STATUS"))["busy"]:
            return True
    return False


async def _abort(registers: Registers, transport: Transport) -> str:
    """Ends a job whatever its streams do; gives what has become of it, in words."""
    await registers.set("CONTROL", abort=1)
    # Packets are forgotten only once it is idle: until then it ends the packet of results, which
    # the receiver has to take, and may take beats of the others.
    idle = await _is_idle(registers)
    await transport.cancel()
    return "was aborted" if idle else "was aborted, but is busy still"
