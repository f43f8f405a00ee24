"""Random jobs for an engine, of all modes that it has."""

from typing import Any, NamedTuple

import numpy as np

from lutgen.flows.engine import Product, product
from lutgen.numeric import Int64Array
from lutgen.spec.engine import EngineSpec
from lutgen.spec.job import NOTHING, RESULTS, JobSpec

__all__ = ["RandomJob", "random_job"]


class RandomJob(NamedTuple):
    """A job and its contents.

    Attributes
    ----------
    spec : JobSpec
    x : int64 array
        Activations ``[rows, codebooks * v]``, or indices ``[rows, codebooks]``.
    books : int64 array ``[codebooks, c, v]`` or None
        None where indices are given.
    table : int64 array ``[codebooks, c, N]``
    bias : int64 array ``[N]``
    mapped : int64 array
        An entry for every code; none where the job has no map.
    """

    spec: JobSpec
    x: Int64Array
    books: Int64Array | None
    table: Int64Array
    bias: Int64Array
    mapped: Int64Array

    def product(self, **more: Any) -> Product:
        """The same for a simulator; see `lutgen.flows.engine.product`."""
        spec = self.spec
        name = f"{spec.rows} x {spec.codebooks} x {spec.outputs}, {spec.inputs} to {spec.results}"
        inputs = {"indices": self.x} if self.books is None else {"x": self.x}
        return product(
            spec,
            **{"name": name, "codebooks": self.books, **inputs, **more},
            table=self.table,
            bias=self.bias,
            mapped=self.mapped if spec.has_map else None,
        )


def random_job(rng: np.random.Generator, engine: EngineSpec, most: int = 3) -> RandomJob:
    """A job of random sizes and contents, of up to ``most`` blocks and tiles."""
    results = str(rng.choice(RESULTS))
    indices = results != "indices" and rng.random() < 0.4
    codebooks = int(rng.integers(1, engine.groups * engine.fan_in + 1))
    outputs = 1 if results == "indices" else int(rng.integers(1, most * engine.outputs + 1))
    rows = int(rng.integers(1, most * engine.rows + 1))
    bits = engine.output_bits
    signed = bool(rng.random() < 0.5)
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    mapped = results == "outputs" and engine.has_map and rng.random() < 0.6
    spec = JobSpec(
        engine,
        rows=rows,
        codebooks=codebooks,
        outputs=outputs,
        inputs="indices" if indices else "activations",
        results=results,
        signed=bool(rng.random() < 0.5),
        shift=int(rng.integers(0, 8)) if results == "outputs" else 0,
        low=low if results == "outputs" else 0,
        high=high if results == "outputs" else 0,
        has_map=bool(mapped),
        signed_results=bool(rng.random() < 0.5) if mapped else None,
        reuse=False if rng.random() < 0.3 else None,
    )
    c, v = engine.centroids, engine.subvec
    books = None
    if indices:
        x = rng.integers(0, c, (rows, codebooks))
        x[rng.random(x.shape) < 0.2] = NOTHING
    else:
        span = 1 << engine.activation_bits
        base = span // 2 if spec.signed else 0
        x = rng.integers(0, span, (rows, codebooks * v)) - base
        books = rng.integers(0, span, (codebooks, c, v)) - base
    grid = engine.grid
    table = rng.integers(grid.low, grid.high + 1, (codebooks, c, outputs))
    reach = grid.high * codebooks
    bias = rng.integers(-reach, reach + 1, outputs)
    base = (1 << bits - 1) if spec.signed_results else 0
    entries = rng.integers(0, 1 << bits, 1 << bits) - base if mapped else np.zeros(0, np.int64)
    return RandomJob(spec, x, books, table, bias, entries)
