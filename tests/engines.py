"""Random engines and jobs, and what a job computes, for tests."""

import numpy as np

from lutgen.flows.engine import product
from lutgen.numeric import Format, requantise
from lutgen.spec.distance import METRICS
from lutgen.spec.engine import EngineSpec
from lutgen.spec.job import NOTHING

# Nothing even: last groups, lanes, encoder steps and blocks of rows are all part-filled.
TWO_CLOCKS = EngineSpec(
    codebooks=13,
    subvec=3,
    centroids=7,
    metric="l2",
    activation_bits=6,
    table_bits=6,
    output_bits=5,
    rows=6,
    lanes=5,
    fan_in=4,
    matchers=2,
    encoders=2,
    encoder_centroids=3,
    encoder_dims=2,
    index_rows=20,
    two_clocks=True,
    has_map=True,
)


def random_engine(rng, **given):
    """A small engine with any parameters; some may be given."""
    centroids = int(rng.integers(2, 9))
    codebooks = int(rng.integers(1, 9))
    output_bits = int(rng.integers(2, 17))
    beats = {
        f"{name}_beat": None if rng.random() < 0.5 else 2 ** int(rng.integers(low, 5))
        for name, low in (("activation", 0), ("centroid", 0), ("table", 0), ("result", 2))
    }
    fields = {
        "codebooks": codebooks,
        "subvec": int(rng.integers(1, 5)),
        "centroids": centroids,
        "metric": str(rng.choice(METRICS)),
        "activation_bits": int(rng.integers(2, 17)),
        "table_bits": int(rng.integers(2, 17)),
        "output_bits": output_bits,
        "rows": int(rng.integers(3, 9)),
        "lanes": int(rng.integers(1, 6)),
        "fan_in": int(rng.integers(1, min(codebooks, 4) + 1)),
        "matchers": int(rng.integers(1, 4)),
        "has_map": output_bits <= 8 and rng.random() < 0.5,
        **beats,
        **given,
    }
    fields.setdefault("index_rows", None if rng.random() < 0.5 else int(rng.integers(3, 40)))
    fields.setdefault("encoder_centroids", int(rng.integers(1, fields["centroids"] + 1)))
    fields.setdefault("encoder_dims", int(rng.integers(1, fields["subvec"] + 1)))
    fields["fan_in"] = min(fields["fan_in"], fields["codebooks"])
    fields.setdefault("encoders", fields["fan_in"] if rng.random() < 0.5 else 1)
    return EngineSpec(**fields)


def packets_of(job):
    """What is sent for a job of `random_job`."""
    spec, x, books, table, bias, entries = job
    if books is None:
        packets = {"activations": spec.index_stream(x)}
    else:
        packets = {
            "activations": spec.activation_stream(x),
            "centroids": spec.centroid_stream(books),
        }
    if spec.results != "indices":
        packets["tables"] = spec.table_stream(table, bias, entries)
    return packets


def expected(job):
    """What it computes, in plain words."""
    spec, x, books, table, bias, entries = job
    engine = spec.engine
    if books is not None:
        cut = x.reshape(len(x), spec.codebooks, engine.subvec)
        x = engine.encoder.compute(cut, books)
    if spec.results == "indices":
        return x
    acc = np.tile(bias, (len(x), 1))
    for row, indices in enumerate(x):
        for g, index in enumerate(indices):
            if index != NOTHING:
                acc[row] += table[g, index]
    if spec.results == "accumulators":
        return acc
    signed = spec.low < 0
    result = requantise(acc, spec.shift, Format(engine.output_bits, signed))
    return entries[result & ((1 << engine.output_bits) - 1)] if spec.has_map else result


def engine_for(model, rng=None, **given):
    """An engine that every lookup layer of a model fits."""
    from lutgen.host.fit import accumulator, lookups
    from lutgen.model import LutLayer

    rng = rng or np.random.default_rng(0)
    wires = model.wires()
    layers = [node for node in model.nodes if isinstance(node, LutLayer)]
    sources = [wires[node.inputs[0]] for node in layers]
    values = [layer.grid.decode(layer.table) for layer in layers]
    reach = max((int(np.abs(v).max()) for v in values), default=1)
    books = [layer for layer in layers if layer.codebooks is not None]
    fields = {
        "codebooks": max(map(lookups, layers), default=1) + int(rng.integers(0, 3)),
        "subvec": max((n.subvec for n in books), default=1) + int(rng.integers(0, 2)),
        "centroids": max((n.centroids for n in layers), default=2) + int(rng.integers(0, 2)),
        "activation_bits": max((wire.activation.bits for wire in sources), default=2),
        "output_bits": max((n.output.bits for n in layers if n.output), default=2),
        "table_bits": min(16, max(2, reach.bit_length() + 1)),
        "rows": int(rng.integers(3, 30)),
        "lanes": int(rng.integers(1, 9)),
        "fan_in": int(rng.integers(1, 5)),
        "metric": next((n.metric for n in books if n.subvec > 1), "l1"),
    }
    fields["has_map"] = fields["output_bits"] <= 8 and bool(rng.random() < 0.7)
    engine = random_engine(rng, **{**fields, **given})
    need = max((accumulator(n, w).bits for n, w in zip(layers, sources, strict=True)), default=1)
    while engine.acc.bits < need:
        fields["codebooks"] *= 2
        engine = random_engine(rng, **{**fields, **given})
    return engine


def product_for(rng, spec, **more):
    """Any contents for a job."""
    engine, high = spec.engine, 1 << spec.engine.activation_bits
    c, v, low = engine.centroids, engine.subvec, high // 2 if spec.signed else 0
    grid, wide = engine.grid, 1 << engine.acc.bits - 2
    return product(
        spec,
        x=rng.integers(0, high, (spec.rows, spec.codebooks * v)) - low,
        codebooks=rng.integers(0, high, (spec.codebooks, c, v)) - low,
        indices=rng.integers(NOTHING, c, (spec.rows, spec.codebooks)),
        table=rng.integers(grid.low, grid.high + 1, (spec.codebooks, c, spec.outputs)),
        bias=rng.integers(-wide, wide, spec.outputs),
        mapped=rng.integers(0, 1 << engine.output_bits, 1 << engine.output_bits),
        **more,
    )
