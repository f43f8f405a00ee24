"""What `JobSpec` lays out is what `EngineModel` reads, byte by byte; refusals by their text."""

import numpy as np
import pytest
from engines import expected, packets_of, random_engine
from hypothesis import given
from hypothesis import strategies as st

from lutgen.flows.products import random_job
from lutgen.host.model import EngineModel
from lutgen.spec.engine import EngineSpec
from lutgen.spec.engine_registers import engine_registers
from lutgen.spec.job import JobSpec


def a_job(seed):
    rng = np.random.default_rng(seed)
    while True:
        try:
            engine = random_engine(rng)
        except ValueError:  # accumulators of more than 32 bits
            continue
        return random_job(rng, engine)


@given(st.integers(0, 1 << 32))
def test_the_engine_computes_the_product(seed):
    job = a_job(seed)
    spec = job[0]
    packets = packets_of(job)
    outcome = EngineModel(spec.engine).run(spec.registers(), packets)
    assert outcome.errors == ()
    assert outcome.lookups == spec.lookups
    assert np.array_equal(spec.result_of(outcome.results), expected(job))


@given(st.integers(0, 1 << 32))
def test_lengths_are_known_beforehand(seed):
    job = a_job(seed)
    spec = job[0]
    packets = packets_of(job)
    sizes = spec.packet_bytes
    assert {name: size for name, size in sizes.items() if size and name != "results"} == {
        name: len(packet) for name, packet in packets.items()
    }
    assert sizes["results"] == len(EngineModel(spec.engine).run(spec.registers(), packets).results)


@given(st.integers(0, 1 << 32))
def test_registers_take_the_job(seed):
    spec = a_job(seed)[0]
    registers = engine_registers(spec.engine)
    for name, fields in spec.registers().items():
        word = registers[name].pack(fields)
        assert registers[name].accepts(word, busy=False)
        assert registers[name].unpack(word) == fields


@given(st.integers(0, 1 << 32))
def test_wrong_lengths_are_errors(seed):
    job = a_job(seed)
    spec = job[0]
    rng = np.random.default_rng(seed)
    packets = packets_of(job)
    name = str(rng.choice(sorted(packets)))
    beat = getattr(spec.engine, name.removesuffix("s")).beat
    short = bool(rng.random() < 0.5) and len(packets[name]) > beat
    whole = packets[name]
    packets[name] = whole[:-beat] if short else np.pad(whole, (0, beat))
    outcome = EngineModel(spec.engine).run(spec.registers(), packets)
    assert outcome.errors == (f"{name.removesuffix('s')}_{'short' if short else 'long'}",)


def test_the_index_buffer_overflows():
    engine = EngineSpec(codebooks=4, subvec=1, rows=4, index_rows=8)
    spec = JobSpec(engine, rows=4, codebooks=4, outputs=1, high=255)
    assert not spec.reused
    registers = spec.registers()
    registers["MODE"]["reuse"] = 1
    packets = {
        "activations": spec.activation_stream(np.zeros((4, 4), int)),
        "centroids": spec.centroid_stream(np.zeros((4, 16, 1), int)),
        "tables": spec.table_stream(np.zeros((4, 16, 1), int), [0]),
    }
    assert EngineModel(engine).run(registers, packets).errors == ("index_overflow",)


ENGINE = EngineSpec(codebooks=4, subvec=2, rows=4, lanes=2)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"codebooks": 5}, "Codebooks of a job must be an integer between 1 and 4, not 5"),
        ({"rows": 0}, "Rows of a job must be an integer between 1 and 262140, not 0"),
        (
            {"inputs": "pixels"},
            "Inputs must be one of activations, indices, not 'pixels'",
        ),
        (
            {"results": "indices", "inputs": "indices"},
            "Indices must be the result of activations, and of one output",
        ),
        ({"high": 256}, "High limit of results must be an integer between -128 and 255, not 256"),
        ({"has_map": True}, "A map needs an engine that has one"),
    ],
)
def test_refuses(fields, text):
    with pytest.raises(ValueError, match=r"^") as caught:
        JobSpec(ENGINE, **{"rows": 4, "codebooks": 2, **fields})
    assert str(caught.value) == text


def test_reuse_needs_room():
    engine = EngineSpec(codebooks=4, subvec=2, rows=4, index_rows=8)
    with pytest.raises(ValueError, match=r"^") as caught:
        JobSpec(engine, rows=4, codebooks=4, reuse=True)
    assert str(caught.value) == "Reuse needs 16 rows of the index buffer, which has 8"


def test_results_of_another_length():
    spec = JobSpec(ENGINE, rows=4, codebooks=2, high=255)
    with pytest.raises(ValueError, match=r"^") as caught:
        spec.result_of(np.zeros(3))
    assert str(caught.value) == f"Results must be {spec.result_bytes} bytes, not 3"


def test_only_the_last_sum_has_to_fit():
    engine = EngineSpec(codebooks=2, subvec=1, centroids=2, table_bits=2, rows=4, lanes=1)
    bias = engine.acc.high + 3
    spec = JobSpec(engine, rows=1, codebooks=2, inputs="indices", results="accumulators")
    packets = {
        "activations": spec.index_stream([[1, 1]]),
        "tables": spec.table_stream([[[0], [-2]], [[0], [-2]]], [bias]),
    }
    outcome = EngineModel(engine).run(spec.registers(), packets)
    assert spec.result_of(outcome.results).tolist() == [[bias - 4]]


def test_bits_above_a_result():
    """They tell nothing that is not known, and are what the design note says."""
    engine = EngineSpec(codebooks=1, subvec=1, output_bits=9, rows=4, lanes=1, has_map=True)
    for low, top in ((0, 0x00), (-256, 0xFF)):
        high = low + 511
        spec = JobSpec(
            engine,
            rows=1,
            codebooks=1,
            inputs="indices",
            low=low,
            high=high,
            has_map=True,
            signed_results=False,
        )
        packets = {
            "activations": spec.index_stream([[0]]),
            "tables": spec.table_stream(np.zeros((1, 16, 1), int), [5], np.full(512, 0x100)),
        }
        packet = EngineModel(engine).run(spec.registers(), packets).results
        assert packet.tolist()[:2] == [0x00, 0x01 | top]
        assert spec.result_of(packet).tolist() == [[0x100]]
