"""What a compiled model is made of: steps of the engine, and steps of the host."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.host.cut import Cut
from lutgen.model import golden
from lutgen.model.base import Node, Wire
from lutgen.numeric import Format, Int64Array, ceil_div
from lutgen.spec.engine import WORD, EngineSpec
from lutgen.spec.job import Bytes, JobSpec

__all__ = ["EngineStep", "HostStep"]


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
    def nodes(self) -> tuple[str, ...]:
        """The nodes that it computes, or belongs to."""
        return (self.node.name,)

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

    def infer(self, wires: Sequence[Wire], engine: EngineSpec) -> Wire:
        """Checks the node behind these wires; gives its own."""
        self.node.check_inputs()
        return self.node.infer(wires)


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
    def nodes(self) -> tuple[str, ...]:
        """The nodes that it computes, or belongs to."""
        return (self.name,) if self.map is None else (self.name, self.gives)

    @property
    def where(self) -> str:
        """How errors speak of this step."""
        return f"step {self.gives!r}"

    def fail(self, what: str, text: str) -> LutgenError:
        """The error for one field or array of this step."""
        return LutgenError(f"{self.where}, {what}: {text}")

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
            packets["activations"] = spec.activation_stream(self._widened(rows, spec.engine.subvec))
            packets["centroids"] = spec.centroid_stream(self.books)
        if self.table is not None and self.bias is not None:
            mapped = () if self.map is None else self.map
            packets["tables"] = spec.table_stream(self.table, self.bias, mapped)
        return packets

    def _widened(self, rows: Int64Array, subvec: int) -> Int64Array:
        """Rows whose sub-vectors have ``subvec`` elements."""
        full = np.zeros((len(rows), self.codebooks * self.subvec), dtype=np.int64)
        full[:, : rows.shape[1]] = rows
        cut = full.reshape(len(rows), self.codebooks, self.subvec)
        wide = np.pad(cut, ((0, 0), (0, 0), (0, subvec - self.subvec)))
        return wide.reshape(len(rows), -1)

    def result(self, spec: JobSpec, packet: Bytes) -> Int64Array:
        """The result ``[samples, elements]`` that a packet holds."""
        samples = spec.rows // self.cut.count
        return spec.result_of(packet).reshape(samples, -1)

    def infer(self, wires: Sequence[Wire], engine: EngineSpec) -> Wire:
        """Checks the step behind the wire of its source; gives its own."""
        (wire,) = wires
        if self.cut.shape != wire.shape:
            raise self.fail("field 'cut'", f"is of another shape than {self.source!r}")
        if (self.table is None) != (self.results == "indices") or (self.table is None) != (
            self.bias is None
        ):
            raise self.fail("field 'arrays'", "must hold table and bias, except for indices")
        if self.table is None and self.books is None:
            raise self.fail("field 'arrays'", "must hold books or table")
        self._check_arrays(engine)
        try:
            spec = self.spec(engine, 1)
        except ValueError as error:
            raise LutgenError(f"{self.where}: {error}") from None
        each = spec.codebooks if self.results == "indices" else spec.outputs
        if self.wire.size != self.cut.count * each:
            raise self.fail(
                "field 'shape'",
                f"must have {self.cut.count * each} elements, not {self.wire.size}",
            )
        items = self.cut.width if self.books is None else ceil_div(self.cut.width, self.subvec)
        if items != self.codebooks:
            raise self.fail("field 'cut'", f"makes {items} codebooks, not {self.codebooks}")
        return self.wire

    def _check_arrays(self, engine: EngineSpec) -> None:
        g, c, n = self.codebooks, engine.centroids, self.outputs
        element = Format(engine.activation_bits, self.signed)
        activation = self.wire.activation
        result = Format(engine.output_bits, activation is not None and activation.signed)
        entries = 1 << engine.output_bits
        for name, array, shape, fmt in (
            ("books", self.books, (g, c, engine.subvec), element),
            ("table", self.table, (g, c, n), Format(engine.table_bits, True)),
            ("bias", self.bias, (n,), Format(8 * WORD, True)),
            ("map", self.map, (entries,), result),
        ):
            if array is None:
                continue
            if array.shape != shape:
                want, have = ("x".join(map(str, s)) for s in (shape, array.shape))
                raise self.fail(f"array {name!r}", f"must have the shape {want}, not {have}")
            if array.size and not fmt.holds(int(array.min()), int(array.max())):
                raise self.fail(f"array {name!r}", f"must hold values of {fmt.low}..{fmt.high}")
        if not 1 <= self.subvec <= engine.subvec:
            raise self.fail("field 'subvec'", f"must be 1..{engine.subvec}, not {self.subvec}")
