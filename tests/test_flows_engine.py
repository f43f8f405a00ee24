"""Engines as Verilog, in Verilator: every mode under stalls, two clocks, errors, a network."""

import functools
import re
from dataclasses import replace

import convnets
import numpy as np
import pytest
from engines import TWO_CLOCKS, product_for, random_engine

from lutgen import LutgenError
from lutgen.flows import check
from lutgen.flows.engine import Whole, simulate_engine
from lutgen.flows.products import random_job
from lutgen.host import jobfile
from lutgen.host.build import build_engine
from lutgen.host.compiler import compile_model
from lutgen.host.job import EngineStep
from lutgen.host.model import EngineModel
from lutgen.spec.engine import EngineSpec
from lutgen.spec.engine_registers import ERRORS
from lutgen.spec.job import JobSpec

ONE_CLOCK = replace(TWO_CLOCKS, two_clocks=False)
# For the network of `convnets.everything`, and without second halves.
PLAIN = EngineSpec(
    codebooks=18,
    subvec=3,
    centroids=5,
    activation_bits=5,
    output_bits=5,
    rows=5,
    lanes=3,
    fan_in=3,
    ping_pong=False,
    has_map=True,
)
EQUAL = (10_000, 10_000)
RATIOS = [(10_000, 33_000), (30_000, 10_000), (10_000, 7_300)]  # periods of clk, enc_clk in ps
LIMITS = {"shift": 4, "high": 31}


@functools.cache
def built(spec):
    """An engine, built once."""
    return build_engine(spec)


def simulated(spec, entries, **options):
    """Plays entries on an engine: all must be as expected. Gives what came of them."""
    report = simulate_engine(spec, built(spec).verilog, entries, **options)
    assert {o.name: o.wrong for o in report.outcomes if o.wrong} == {}
    assert report.passed
    assert [outcome.name for outcome in report.outcomes] == [entry.name for entry in entries]
    return report.outcomes


def every_mode(seed, engine, count):
    """At least ``count`` random jobs, among them all modes, with and without reuse."""
    rng = np.random.default_rng(seed)
    jobs, modes, reused = [], set(), set()
    while len(jobs) < count or len(modes) < 7 or len(reused) < 2:
        jobs.append(random_job(rng, engine))
        job = jobs[-1][0]
        modes.add((job.inputs, job.results, job.has_map))
        reused.add(job.reused)
    return [job.product() for job in jobs]


def good(rng, engine, name="good", **options):
    """A job that lasts a while."""
    job = JobSpec(
        engine, rows=8, codebooks=9, outputs=16, has_map=bool(rng.random() < 0.5), **LIMITS
    )
    return product_for(rng, job, name=name, **options)


def bad(rng, engine, name, kind, beats, **fields):
    """A job that has lost all but some beats of a packet, or gets so many too much."""
    sizes = {"rows": 14, "codebooks": 9, "outputs": 27, **LIMITS, **fields}
    whole = product_for(rng, JobSpec(engine, **sizes))
    size = beats * getattr(engine, name).beat
    packet = whole.packets[f"{name}s"]
    assert size < len(packet)
    packet = packet[:size] if kind == "short" else np.concatenate([packet, packet[:size]])
    return replace(
        whole,
        name=f"{name} {kind} by {beats}",
        packets={**whole.packets, f"{name}s": packet},
        errors=(f"{name}_{kind}",),
    )


class Unfit(JobSpec):
    """A job that reuses indices which the buffer can't hold."""

    @property
    def fits(self):
        return True


def errors(seed, engine):
    """Jobs that end with every error, in several states of the engine; a good one behind each."""
    rng = np.random.default_rng(seed)
    whole = product_for(rng, JobSpec(engine, rows=14, codebooks=9, outputs=27, **LIMITS))
    without = [
        {name: packet for name, packet in whole.packets.items() if name != missing}
        for missing in whole.packets
    ]
    unfit = Unfit(engine, rows=6, codebooks=13, outputs=20, reuse=True, **LIMITS)
    small = {"rows": 1, "codebooks": 1, "outputs": 1}
    jobs = [
        bad(rng, engine, "activation", "short", 5),
        bad(rng, engine, "activation", "long", 1),
        bad(rng, engine, "activation", "long", 1, **small),
        bad(rng, engine, "activation", "short", 3, inputs="indices"),
        bad(rng, engine, "activation", "short", 2, outputs=1, results="indices"),
        bad(rng, engine, "centroid", "short", 1),
        bad(rng, engine, "centroid", "long", 5),
        bad(rng, engine, "table", "short", 17),
        bad(rng, engine, "table", "short", 70, has_map=True),
        bad(rng, engine, "table", "long", 5),
        product_for(rng, unfit, name="index overflow", errors=("index_overflow",)),
        *(
            replace(
                whole,
                name=f"abort without {name}",
                packets=packets,
                errors=("aborted",),
                options={"abort": 300},
            )
            for name, packets in zip(whole.packets, without, strict=True)
        ),
        replace(whole, name="abort", errors=("aborted",), options={"abort": 60}),
    ]
    assert {error for job in jobs for error in job.errors} == set(ERRORS)
    return [entry for n, job in enumerate(jobs) for entry in (job, good(rng, engine, f"good {n}"))]


def test_every_mode(verilator):
    """Under random stalls on all channels; what must not be written while busy is refused."""
    rng = np.random.default_rng(1)
    refusals = [good(rng, ONE_CLOCK, f"refusals {n}", options={"refused": True}) for n in range(2)]
    jobs = every_mode(0, ONE_CLOCK, 16)
    outcomes = simulated(ONE_CLOCK, [*jobs[:8], *refusals, *jobs[8:]], gaps=0.3, seed=1)
    for entry, outcome in zip([*jobs[:8], *refusals, *jobs[8:]], outcomes, strict=True):
        assert outcome.counters["LOOKUPS"] == entry.job.lookups
        assert outcome.counters["CYCLES"] > outcome.counters["LOOKUPS"]


def test_without_stalls(verilator):
    simulated(ONE_CLOCK, every_mode(2, ONE_CLOCK, 16), gaps=0.0)


@pytest.mark.parametrize("periods", RATIOS)
def test_two_clocks(verilator, periods):
    seed = RATIOS.index(periods)
    jobs = every_mode(seed, TWO_CLOCKS, 16)
    simulated(TWO_CLOCKS, jobs, gaps=0.3 * (seed != 1), seed=seed, periods=periods)


@pytest.mark.parametrize(
    ("engine", "periods", "gaps"),
    [(ONE_CLOCK, EQUAL, 0.0), (TWO_CLOCKS, RATIOS[0], 0.3)],
)
def test_errors(verilator, engine, periods, gaps):
    """Every error ends its job, and the next one runs right; of more, in any order and with clocks
    of all ratios, see test_engine_sequences.py.
    """
    simulated(engine, errors(5, engine), gaps=gaps, seed=2, periods=periods)


def test_a_network(verilator, tmp_path):
    """By compiler, job folder and player, in batches of which the last is smaller."""
    model, _ = convnets.everything()
    job = compile_model(model, PLAIN)
    lookups = [step for step in job.steps if isinstance(step, EngineStep)]
    assert {step.name for step in lookups} == {
        *("pixels", "windows", "slid", "slid_pixels", "head"),
    }
    jobfile.save(job, tmp_path / "job")
    x = np.random.default_rng(3).integers(0, 16, (5, *model.shape))
    golden = model.predict(x).outputs
    (outcome,) = simulated(
        PLAIN, [Whole("network", tmp_path / "job", x, golden, {"batch": 3})], gaps=0.3
    )
    assert [step["gives"] for step in outcome.steps] == [step.gives for step in lookups]
    assert all(step["jobs"] == 2 for step in outcome.steps)


def test_without_second_halves(verilator):
    """Tables and codebooks are loaded where they are used."""
    simulated(PLAIN, every_mode(4, PLAIN, 16), gaps=0.3, seed=3)


def test_differences_are_found(verilator):
    """Or the tests above say nothing."""
    entry = good(np.random.default_rng(6), ONE_CLOCK)
    expected = entry.expected.copy()
    place = int(np.argmax(expected >= 0))
    expected[place] ^= 1
    report = simulate_engine(
        ONE_CLOCK, built(ONE_CLOCK).verilog, [replace(entry, expected=expected), entry], gaps=0.0
    )
    assert not report.passed
    (wrong,), nothing = (outcome.wrong for outcome in report.outcomes)
    assert f"1 of {expected.size} differ, first ({place},)" in wrong
    assert nothing == ()


# Without a simulator.


@pytest.mark.parametrize("seed", range(60))
def test_what_is_expected(seed):
    """Two programs that share little agree on what comes of a job."""
    rng = np.random.default_rng(seed)
    entry = random_job(rng, random_engine(rng)).product()
    outcome = EngineModel(entry.job.engine).run(entry.job.registers(), entry.packets)
    assert outcome.errors == ()
    assert len(outcome.results) == len(entry.expected)
    laid_down = entry.expected >= 0
    assert np.array_equal(outcome.results[laid_down], entry.expected[laid_down])


@pytest.mark.parametrize("engine", [ONE_CLOCK, TWO_CLOCKS])
def test_ports(engine):
    """The contract says what stands in the Verilog."""
    contract = built(engine).contract
    top = (
        built(engine).verilog.partition(f"module {contract['name']}(")[2].partition("endmodule")[0]
    )
    found = {
        name: (direction, int(high or 0) + 1)
        for direction, high, name in re.findall(
            r"^ +(input|output) (?:\[(\d+):0\] )?(\w+);", top, re.MULTILINE
        )
    }
    assert found == {port["name"]: (port["direction"], port["width"]) for port in contract["ports"]}
    assert set(contract["clocks"]) < set(found)
    assert contract["reset"] in found


def test_lint(verilator):
    assert check.lint(built(TWO_CLOCKS).verilog) == []


def test_structure():
    """No latch, no combinational loop, no undriven net; what is big is in memories."""
    try:
        check.find_yosys()
    except LutgenError as error:
        pytest.skip(str(error))
    problems, statistics = check.structure(built(TWO_CLOCKS).verilog, "lutgen_engine")
    assert problems == []
    cells = statistics["design"]["num_cells_by_type"]
    assert any(name.startswith("$mem") for name in cells)
