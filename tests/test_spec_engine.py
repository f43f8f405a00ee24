"""Engines: what is derived where nothing is said, what tells them apart, refusals by their text."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from engines import random_engine
from hypothesis import given
from hypothesis import strategies as st

from lutgen.spec.engine import PRESETS, EngineSpec, ParameterError, preset
from lutgen.spec.engine_registers import fingerprint

DERIVED = (
    *("encoder_centroids", "encoder_dims", "index_rows", "result_rows"),
    *("activation_beat", "centroid_beat", "table_beat", "result_beat"),
)


def same(one, other):
    """Whether all that follows from two engines is the same."""
    names = [name for name, value in vars(EngineSpec).items() if isinstance(value, property)]
    names = [name for name in names if name not in ("resolved", "slice")]
    return {name: getattr(one, name) for name in names} == {
        name: getattr(other, name) for name in names
    }


@given(st.integers(0, 1 << 32))
def test_defaults_as_numbers(seed):
    rng = np.random.default_rng(seed)
    try:
        engine = random_engine(rng)
    except ValueError:  # accumulators of more than 32 bits
        return
    resolved = engine.resolved
    assert None not in asdict(resolved).values()
    assert resolved.resolved == resolved
    assert same(engine, resolved)
    for name in DERIVED:
        given = getattr(engine, name)
        assert given is None or given == getattr(resolved, name)
        one = replace(engine, **{name: getattr(resolved, name)})
        assert fingerprint(one) == fingerprint(engine) == fingerprint(resolved)
    assert EngineSpec(**resolved.stated).resolved == resolved
    assert EngineSpec(**engine.stated).resolved == resolved


def test_what_has_to_be_stated():
    assert EngineSpec(8, 2).resolved.stated == {"codebooks": 8, "subvec": 2}
    engine = EngineSpec(8, 2, index_rows=100, result_rows=256, ping_pong=False, has_map=True)
    assert engine.stated == {
        "codebooks": 8,
        "subvec": 2,
        "index_rows": 100,
        "ping_pong": False,
        "has_map": True,
    }


@pytest.mark.parametrize("name", PRESETS)
def test_other_numbers_are_other_engines(name):
    engine = preset(name)
    marks = {fingerprint(engine)}
    for change in ({"index_rows": 100}, {"result_rows": 100}, {"table_beat": 2}):
        marks.add(fingerprint(replace(engine, **change)))
    assert len(marks) == 4


@pytest.mark.parametrize(
    ("given", "field", "text"),
    [
        ({"codebooks": 0}, "codebooks", "Codebooks must be an integer between 1 and 65536, not 0"),
        ({"fan_in": 9}, "fan_in", "Fan-in must be an integer between 1 and 8, not 9"),
        ({"encoders": 2}, "encoders", "Encoders must be a divisor of the fan-in, 1, not 2"),
        (
            {"encoder_dims": 3},
            "encoder_dims",
            "Encoder dimensions per cycle must be an integer between 1 and 2, not 3",
        ),
        (
            {"encoder_centroids": 17},
            "encoder_centroids",
            "Encoder centroids per cycle must be an integer between 1 and 16, not 17",
        ),
        ({"metric": "x"}, "metric", "Metric must be one of l1, l2, chebyshev, not 'x'"),
        (
            {"codebooks": 1 << 16, "rows": 1 << 16},
            "index_rows",
            "Rows of the index buffer must be an integer between 3 and 16777216, not 4294967296",
        ),
        (
            {"table_beat": 3},
            "table_beat",
            "Table stream: Bytes of a beat must be one of 1, 2, 4, 8, 16, 32, 64, 128, not 3",
        ),
        (
            {"result_beat": 2},
            "result_beat",
            "Result stream: a beat must hold an accumulator, 4 bytes, not 2",
        ),
        (
            {"codebooks": 1 << 16, "table_bits": 16, "rows": 3},
            "codebooks",
            "Accumulators must have at most 32 bits, not the 33 that 65536 codebooks of 16-bit "
            "tables come to",
        ),
        (
            {"output_bits": 11, "has_map": True},
            "has_map",
            "Output bits must be at most 10 where there is a map, not 11",
        ),
    ],
)
def test_refusals(given, field, text):
    with pytest.raises(ParameterError) as caught:
        EngineSpec(**{"codebooks": 8, "subvec": 2, **given})
    assert (caught.value.field, str(caught.value)) == (field, text)
