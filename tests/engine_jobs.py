"""Random sequences of jobs, right ones and others, on an engine's Verilog; for tests and the soak.

A compiled program (engine_jobs.cpp) plays them. Nothing is reset between jobs but where a job says
so. It compares every byte of every result packet, that each job gives exactly one packet, and what
ERROR says.
"""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from engines import product_for, random_engine

from lutgen.flows import cache, simbuild, tools
from lutgen.flows.products import random_job
from lutgen.spec.engine import EngineSpec
from lutgen.spec.engine_registers import ERRORS, engine_registers
from lutgen.spec.job import JobSpec
from lutgen.spec.pace import predicted

HERE = Path(__file__).parent
KINDS = ("good", "short", "long", "several", "missing", "overflow", "abort", "fault+abort", "reset")
BARE = "bare"  # right behind a reset, with the registers that it has set
CHANCES = (0.34, 0.1, 0.1, 0.05, 0.05, 0.05, 0.2, 0.05, 0.06)
CHANNELS = {"activations": "activation", "centroids": "centroid", "tables": "table"}
BITS = {name: 1 << number for number, name in enumerate(ERRORS)}
ABORT, RESET, REFUSED = range(3)

# Small, and nothing even; beats of up to 8 bytes.
ENGINES = {
    "one clock": EngineSpec(
        5, 2, 3, rows=4, lanes=3, fan_in=2, matchers=2, encoders=2, index_rows=8, has_map=True,
        output_bits=3, table_bits=4, activation_bits=4,
    ),
    "two clocks": EngineSpec(
        5, 2, 3, rows=4, lanes=3, fan_in=2, encoders=1, encoder_dims=1, index_rows=8,
        output_bits=5, table_bits=4, activation_bits=4, two_clocks=True,
    ),
    "one half": EngineSpec(
        3, 2, 5, rows=5, lanes=2, fan_in=3, encoders=3, ping_pong=False, index_rows=5,
        result_rows=2, output_bits=9, two_clocks=True, table_beat=2,
    ),
}  # fmt: skip
# Of clk and enc_clk.
PERIODS = ((10, 10), (10, 3), (10, 1), (3, 10), (1, 10), (1000, 1009), (1618, 1000))


class Unfit(JobSpec):
    """A job that reuses indices which the buffer can't hold."""

    @property
    def fits(self):
        return True


@dataclass
class Planned:
    """A job of a sequence."""

    kind: str
    spec: JobSpec
    packets: dict
    expected: np.ndarray
    must: int = 0
    may: int = 0
    some: bool = False
    events: list = field(default_factory=list)
    flags: dict = field(default_factory=dict)
    stall: tuple = (-1, 0)
    cycles: int = 0


def words(packet, beat):
    """The beats of a packet, as integers."""
    raw = np.zeros((len(packet) // beat, 8), dtype=np.uint8)
    raw[:, :beat] = np.asarray(packet).reshape(-1, beat)
    return raw.view("<u8")[:, 0].tolist()


def cut(rng, spec, packets, name, kind):
    """A packet that ends too early or too late."""
    beat = getattr(spec.engine, CHANNELS[name]).beat
    packet = packets[name]
    beats = len(packet) // beat
    if kind == "short":
        near = rng.random() < 0.3
        keep = beats - 1 if near else int(rng.integers(1, beats))
        return packet[: keep * beat]
    extra = int(rng.choice([1, 1, 2, rng.integers(1, 40)]))
    return np.concatenate([packet, rng.integers(0, 256, extra * beat, dtype=np.uint8)])


def bare_job(rng, engine):
    """A job for which no register has to be written after a reset."""
    low = -(1 << engine.output_bits - 1)
    fields = {"rows": 1, "codebooks": engine.fan_in, "outputs": engine.outputs, "reuse": False}
    return product_for(rng, JobSpec(engine, low=low, high=~low, **fields))


def plan_job(rng, engine, kind):
    """A job of one kind."""
    drawn = random_job(rng, engine, 2)
    if kind == "overflow":
        whole = Unfit(
            engine,
            rows=engine.rows,
            codebooks=engine.codebooks,
            outputs=2 * engine.outputs,
            results="accumulators",
            reuse=True,
        )
        shape = (engine.codebooks, engine.centroids)
        packets = {
            "activations": whole.activation_stream(
                rng.integers(0, 2, (engine.rows, engine.codebooks * engine.subvec))
            ),
            "centroids": whole.centroid_stream(rng.integers(0, 2, (*shape, engine.subvec))),
            "tables": whole.table_stream(
                rng.integers(-2, 2, (*shape, 2 * engine.outputs)),
                rng.integers(-2, 2, 2 * engine.outputs),
            ),
        }
        expected = np.full(whole.result_bytes, -1, dtype=np.int16)
        return Planned(kind, whole, packets, expected, BITS["index_overflow"])
    entry = drawn.product()
    if kind == BARE:
        entry = bare_job(rng, engine)
    job = Planned(kind, entry.job, dict(entry.packets), entry.expected)
    names = list(job.packets)
    wrong = {"several": rng.integers(2, 4), "short": 1, "long": 1, "fault+abort": 1}.get(kind, 0)
    for name in rng.permutation(names)[:wrong]:
        beat = getattr(engine, CHANNELS[name]).beat
        how = kind if kind in ("short", "long") else str(rng.choice(["short", "long"]))
        if len(job.packets[name]) == beat:
            how = "long"
        job.packets[name] = cut(rng, job.spec, job.packets, name, how)
        job.may |= BITS[f"{CHANNELS[name]}_{how}"]
    if kind in ("short", "long"):
        job.must = job.may
    job.some = kind in ("several", "fault+abort")
    last = len(entry.expected) // engine.result.beat - 1
    # Any time from the start to after the end.
    time = int(rng.integers(0, rng.choice([20, 100, 400])))
    if kind == "missing":
        del job.packets[str(rng.choice(names))]
        job.events.append((int(rng.integers(200, 500)), ABORT, int(rng.integers(2))))
        job.must = BITS["aborted"]
    if kind in ("abort", "fault+abort"):
        job.events.append((time, ABORT, int(rng.integers(2))))
        job.may |= BITS["aborted"]
        if rng.random() < 0.3:
            job.events.append((time + int(rng.integers(0, 40)), ABORT, 1))
        if rng.random() < 0.5:  # while a beat waits, often the last
            beat = last if rng.random() < 0.7 else int(rng.integers(0, last + 1))
            job.stall = (beat, int(rng.integers(20, 400)))
            job.events = [(at + 100, *event) for at, *event in job.events]
    if kind == "reset":
        name = str(rng.choice(names))
        if rng.random() < 0.5 and len(job.packets[name]) > getattr(engine, CHANNELS[name]).beat:
            job.packets[name] = cut(rng, job.spec, job.packets, name, "short")
        job.events.append((time, RESET, int(rng.choice([1, 1, 2, 5]))))
    if kind == "good" and rng.random() < 0.1:
        job.stall = (0, 600)
        job.events.append((0, REFUSED, 0))
    elif kind == "good" and rng.random() < 0.2:
        job.stall = (last, int(rng.integers(1, 200)))
    return job


def sequence(rng, engine, count, chances=CHANCES):
    """Jobs of all kinds, in any order; ``chances`` are those of `KINDS`."""
    jobs = []
    overflow = engine.rows * engine.groups > engine.index_depth
    while len(jobs) < count:
        kind = str(rng.choice(KINDS, p=chances))
        if kind == "overflow" and not overflow:
            continue
        if jobs and jobs[-1].kind == "reset" and rng.random() < 0.7:
            kind = BARE
        job = plan_job(rng, engine, kind)
        ended = bool(jobs) and jobs[-1].kind != "reset"
        job.flags = {
            "source_gap": int(rng.choice([0, 0, 60, 180])),
            "sink_gap": int(rng.choice([0, 0, 60, 180])),
            "lite_gap": int(rng.choice([0, 60])),
            # Packets that wait behind those of the job before; a start as soon as it is taken.
            "eager": int(ended and rng.random() < 0.3),
            "hammer": int(ended and rng.random() < 0.3),
            "idle_abort": int(rng.random() < 0.1),
        }
        exact = kind == "good" and not job.events and job.stall[0] < 0 and not engine.two_clocks
        if exact and not job.flags["source_gap"] + job.flags["sink_gap"]:
            job.cycles = predicted(job.spec).cycles
        if jobs and jobs[-1].kind == "missing":
            job.flags["eager"] = 0
        jobs.append(job)
    return jobs


def text_of(job, number, offsets):
    """A job's line of the plan."""
    engine = job.spec.engine
    found = [number]
    registers = [
        (offsets[name].offset, offsets[name].pack(fields) & 0xFFFFFFFF)
        for name, fields in job.spec.registers().items()
        if job.kind != BARE
    ]
    found += [len(registers), *(part for pair in registers for part in pair)]
    for name, channel in CHANNELS.items():
        beats = words(job.packets.get(name, ()), getattr(engine, channel).beat)
        found += [len(beats), *beats]
    beat = engine.result.beat
    value = words(np.maximum(job.expected, 0).astype(np.uint8), beat)
    mask = words(np.where(job.expected < 0, 0, 255).astype(np.uint8), beat)
    found += [len(value), *(part for pair in zip(value, mask, strict=True) for part in pair)]
    found += [job.must, job.may, int(job.some), *job.flags.values(), *job.stall, job.cycles]
    found += [len(job.events), *(part for event in job.events for part in event)]
    return " ".join(map(str, found))


def program(engine, verilog, top="lutgen_engine"):
    """The compiled program that plays plans on an engine."""
    verilator, version = tools.find_verilator()
    simbuild.check_cache()
    source = HERE / "engine_jobs.cpp"
    options = ["--cc", "--exe", "-O3", "--x-assign", "fast", "--x-initial", "unique", "-Wno-fatal"]
    options += ["--threads", "1", "--prefix", "Vengine", "--top-module", top, simbuild.CHECKS]
    options += ["-CFLAGS", "-DTWO_CLOCKS" if engine.two_clocks else "-DONE_CLOCK"]
    variables = ["VM_PARALLEL_BUILDS=0", "OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1"]
    compiler = tools.program_version("c++", "--version")
    parts = [verilog, source.read_text(encoding="utf-8"), options, variables]
    key = cache.digest("jobs", 1, *parts, [verilator, version, compiler])

    def make(folder):
        (folder / "design.v").write_text(verilog, encoding="utf-8")
        command = [verilator, *options, "--Mdir", "build", "-o", "jobs", "design.v", str(source)]
        log = folder / "build.log"
        environment = simbuild.make_environment(variables)
        if simbuild.run_logged([*command, "--build"], folder, log, environment):
            raise simbuild.failure("verilator", top, log)
        (folder / "build" / "jobs").rename(folder / "jobs")

    place, _ = cache.cached("harness", key, make)
    return place / "jobs"


def play(executable, engine, jobs, folder, *, seed=0, periods=(10, 10), first=0):
    """What is wrong, in words; nothing where all is right."""
    offsets = {register.name: register for register in engine_registers(engine).registers}
    plan = Path(folder) / f"jobs{os.getpid()}.txt"
    lines = [f"{seed} {periods[0]} {periods[1]}"]
    lines += [text_of(job, first + number, offsets) for number, job in enumerate(jobs)]
    plan.write_text("\n".join(lines) + "\n", encoding="utf-8")
    try:
        done = subprocess.run(
            [str(executable), str(plan)], capture_output=True, text=True, check=False, timeout=1200
        )
    except subprocess.TimeoutExpired:
        return ["the program does not end"]
    found = done.stdout.splitlines()
    if not found or not found[-1].startswith(f"DONE {len(jobs)} "):
        return [f"the program ended with status {done.returncode}: {done.stderr[-300:]}"]
    wrong = []
    for line in found[:-1]:
        if line.startswith("FAIL: "):  # a memory's
            wrong.append(line)
            continue
        _, number, words_of = line.split(" ", 2)
        job = jobs[int(number) - first] if int(number) >= first else None
        kinds = "" if job is None else f" ({job.kind}, {job.spec.inputs} to {job.spec.results})"
        wrong.append(f"job {number}{kinds}: {words_of}")
    plan.unlink()
    return wrong


def some_engine(rng):
    """A small engine with any parameters, whose beats the program can hold."""
    while True:
        clocks, halves = bool(rng.random() < 0.7), bool(rng.random() < 0.7)
        try:
            engine = random_engine(rng, two_clocks=clocks, ping_pong=halves)
        except ValueError:  # accumulators of more than 32 bits
            continue
        if all(getattr(engine, name).beat <= 8 for name in (*CHANNELS.values(), "result")):
            return engine
