"""A compiled model: the steps that engine and host take for a batch of samples, in order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.host.cut import Cut
from lutgen.model import golden
from lutgen.model.base import Activation, Node, Shape, Wire
from lutgen.numeric import Int64Array
from lutgen.spec.engine import EngineSpec
from lutgen.spec.job import Bytes, JobSpec

__all__ = ["EngineStep", "HostStep", "Job"]

PACKET = 1 << 24  # bytes of a packet that a batch stays below, if nothing is said: DMAs have limits
BATCH = 256  # samples of a batch at most, if nothing is said


@dataclass(frozen=True)
class HostStep:
    """A node that the host computes, by its own integer reference.

    Parameters
    ----------
    node : Node
    why : str
        Why it is not the engine's.
    """

    node: Node
    why: str

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name

    @property
    def gives(self) -> str:
        """The name of its result."""
        return self.node.name

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of what it takes."""
        return self.node.inputs

    def compute(self, values: Mapping[str, Int64Array], wires: Mapping[str, Wire]) -> Int64Array:
        """Its result, flat, from those before it."""
        sources = [wires[name] for name in self.inputs]
        return golden.compute(self.node, [values[name] for name in self.inputs], sources)


@dataclass(frozen=True, kw_only=True)
class EngineStep:
    """A matrix product on the engine, of any number of samples.

    Parameters
    ----------
    name : str
        The node that it belongs to.
    gives : str
        The name of its result: the node's; that of a map behind it which the engine applies; or
        of the indices alone.
    source : str
        The name of what it takes.
    cut : Cut
        How that becomes input rows.
    wire : Wire
        What it gives.
    results, shift, low, high
        See `JobSpec`.
    subvec : int
        Elements of a sub-vector; the engine's may be longer, and the rest is 0.
    signed : bool
        Whether elements are signed.
    books : int array ``[g, c, v]`` or None
        Codebooks, in the engine's shape; None where the rows are indices.
    table : int array ``[g, c, n]`` or None
        Values; None where the results are indices.
    bias : int array ``[n]`` or None
    map : int array or None
        An entry for each code of the engine's output format.
    """

    name: str
    gives: str
    source: str
    cut: Cut
    wire: Wire
    results: str
    subvec: int = 1
    signed: bool = False
    shift: int = 0
    low: int = 0
    high: int = 0
    books: NDArray[Any] | None = field(default=None, repr=False, compare=False)
    table: NDArray[Any] | None = field(default=None, repr=False, compare=False)
    bias: NDArray[Any] | None = field(default=None, repr=False, compare=False)
    map: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of what it takes."""
        return (self.source,)

    @property
    def does(self) -> str:
        """What it does, in words."""
        if self.results == "indices":
            return "encode"
        steps = ["look up"] if self.books is None else ["encode", "look up"]
        return ", ".join(steps if self.map is None else [*steps, "map"])

    @property
    def codebooks(self) -> int:
        """Codebooks of an input row."""
        books = self.table if self.books is None else self.books
        return 0 if books is None else len(books)

    @property
    def outputs(self) -> int:
        """Results of an input row, N; 1 where they are indices."""
        return 1 if self.table is None else int(self.table.shape[2])

    def spec(self, engine: EngineSpec, samples: int) -> JobSpec:
        """The engine's job on so many samples."""
        activation = self.wire.activation
        return JobSpec(
            engine=engine,
            rows=samples * self.cut.count,
            codebooks=self.codebooks,
            outputs=self.outputs,
            inputs="indices" if self.books is None else "activations",
            results=self.results,
            signed=self.signed,
            shift=self.shift,
            low=self.low,
            high=self.high,
            has_map=self.map is not None,
            signed_results=None if activation is None else activation.signed,
        )

    def packets(self, spec: JobSpec, x: Int64Array) -> dict[str, Bytes]:
        """What is sent for samples ``[samples, elements]``, by the stream's channel."""
        rows = self.cut.rows(x)
        packets = {}
        if self.books is None:
            packets["activations"] = spec.index_stream(rows)
        else:
            packets["activations"] = spec.activation_stream(self._widened(rows))
            packets["centroids"] = spec.centroid_stream(self.books)
        if self.table is not None and self.bias is not None:
            mapped = () if self.map is None else self.map
            packets["tables"] = spec.table_stream(self.table, self.bias, mapped)
        return packets

    def _widened(self, rows: Int64Array) -> Int64Array:
        """Rows whose sub-vectors have the engine's length."""
        v = spec_subvec = self.subvec
        if self.books is not None:
            spec_subvec = int(self.books.shape[2])
        full = np.zeros((len(rows), self.codebooks * v), dtype=np.int64)
        full[:, : rows.shape[1]] = rows
        cut = full.reshape(len(rows), self.codebooks, v)
        wide = np.pad(cut, ((0, 0), (0, 0), (0, spec_subvec - v)))
        return wide.reshape(len(rows), -1)

    def result(self, spec: JobSpec, packet: Bytes) -> Int64Array:
        """The result ``[samples, elements]`` that a packet holds."""
        samples = spec.rows // self.cut.count
        return spec.result_of(packet).reshape(samples, -1)


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
            where = f"step {step.gives!r}"
            if step.gives in wires:
                raise LutgenError(f"{where}, field 'gives': is used twice")
            for source in step.inputs:
                if source not in wires:
                    raise LutgenError(
                        f"{where}, field 'inputs': names {source!r}, which no earlier step gives"
                    )
            if isinstance(step, HostStep):
                step.node.check_inputs()
                wires[step.gives] = step.node.infer([wires[name] for name in step.inputs])
                continue
            if step.cut.shape != wires[step.source].shape:
                raise LutgenError(f"{where}, field 'cut': is of another shape than {step.source!r}")
            try:
                spec = step.spec(self.engine, 1)
            except ValueError as error:
                raise LutgenError(f"{where}: {error}") from None
            each = spec.codebooks if step.results == "indices" else spec.outputs
            if step.wire.size != step.cut.count * each:
                raise LutgenError(
                    f"{where}, field 'shape': must have {step.cut.count * each} elements, "
                    f"not {step.wire.size}"
                )
            wires[step.gives] = step.wire
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

    def _small(self, batch: int) -> bool:
        try:
            jobs = [step.spec(self.engine, batch) for step in self.engine_steps]
        except ValueError:  # more rows than a job may have
            return False
        return all(max(job.packet_bytes.values()) < PACKET for job in jobs)
