"""Random matrix products for an engine, of all modes that it has."""

import numpy as np

from lutgen.flows.engine import Product, product
from lutgen.numeric import Format
from lutgen.spec.engine import EngineSpec
from lutgen.spec.job import RESULTS, JobSpec

__all__ = ["random_product"]

EMPTY = 0.2  # of given indices, those that stand for nothing


def random_product(engine: EngineSpec, rng: np.random.Generator, name: str) -> Product:
    """A product of random sizes, of some blocks and tiles, with random contents."""
    given = bool(rng.random() < 0.3)
    results = str(rng.choice(RESULTS[:2] if given else RESULTS))
    codebooks = int(rng.integers(1, engine.groups * engine.fan_in + 1))
    outputs = 1 if results == "indices" else int(rng.integers(1, 2 * engine.outputs + 1))
    output = Format(engine.output_bits, bool(rng.random() < 0.5))
    requantised = results == "outputs"
    job = JobSpec(
        engine,
        rows=int(rng.integers(1, 2 * engine.rows + 1)),
        codebooks=codebooks,
        outputs=outputs,
        inputs="indices" if given else "activations",
        results=results,
        signed=bool(rng.random() < 0.5),
        shift=int(rng.integers(0, max(1, engine.acc.bits - engine.output_bits) + 1))
        if requantised
        else 0,
        low=output.low if requantised else 0,
        high=output.high if requantised else 0,
        has_map=requantised and engine.has_map and bool(rng.random() < 0.5),
        reuse=False if rng.random() < 0.3 else None,
    )
    element = Format(engine.activation_bits, job.signed)
    c, v, grid = engine.centroids, engine.subvec, engine.grid
    shape = (codebooks, c, outputs)
    reach = 1 << engine.acc.bits - 2
    indices = rng.integers(0, c, (job.rows, codebooks))
    indices[rng.random(indices.shape) < EMPTY] = -1
    return product(
        job,
        name=name,
        x=rng.integers(element.low, element.high + 1, (job.rows, codebooks * v)),
        indices=indices,
        codebooks=rng.integers(element.low, element.high + 1, (codebooks, c, v)),
        table=rng.integers(grid.low, grid.high + 1, shape),
        bias=rng.integers(-reach, reach, outputs),
        mapped=rng.integers(0, 1 << engine.output_bits, 1 << engine.output_bits),
    )
