"""Simulates an engine: products and whole jobs, through cocotb, against expected results."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen import resources
from lutgen.errors import LutgenError
from lutgen.files import absolute
from lutgen.flows import simbuild
from lutgen.host.contract import engine_contract
from lutgen.spec.engine import EngineSpec
from lutgen.spec.job import Bytes, JobSpec

__all__ = ["EngineReport", "Outcome", "Product", "Whole", "product", "simulate_engine"]

TOP = "lutgen_engine"


@dataclass(frozen=True)
class Product:
    """A job from packets, and what must come of it.

    Parameters
    ----------
    name : str
    job : JobSpec
    packets : mapping of str to uint8 arrays
        ``activations``, ``centroids``, ``tables``: those that the job has.
    expected : int16 array
        The bytes of the result packet; -1 where they may be anything.
    errors : tuple of str
        Errors that it must end with; results are not compared then.
    options : mapping
        ``abort``: cycles after the start, where the host ends it then; ``refused``: true, where
        registers are written meanwhile that must refuse.
    """

    name: str
    job: JobSpec
    packets: Mapping[str, Bytes]
    expected: NDArray[np.int16]
    errors: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Whole:
    """A job folder of `lutgen compile`, samples for it, and what its outputs must be."""

    name: str
    folder: Path
    inputs: NDArray[Any]
    expected: NDArray[np.int64]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What came of one of them: ``wrong`` is empty where all was as expected."""

    name: str
    wrong: tuple[str, ...]
    counters: dict[str, int]
    steps: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class EngineReport:
    """What came of all of them."""

    outcomes: tuple[Outcome, ...]
    build_seconds: float
    run_seconds: float

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not any(outcome.wrong for outcome in self.outcomes)


def product(
    job: JobSpec,
    *,
    name: str = "product",
    x: ArrayLike | None = None,
    indices: ArrayLike | None = None,
    codebooks: ArrayLike | None = None,
    table: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    mapped: ArrayLike | None = None,
    **more: Any,
) -> Product:
    """A job's packets, and what must come of it by the integer semantics of lookups.

    Parameters
    ----------
    x : int array ``[rows, codebooks * v]``
        For jobs on activations.
    indices : int array ``[rows, codebooks]``
        For jobs on indices; -1 for nothing.
    codebooks : int array ``[codebooks, c, v]``
    table : int array ``[codebooks, c, N]``
        Values.
    bias : int array ``[N]``
    mapped : int array ``[2**output_bits]``
        Codes, by code.
    **more
        Further fields of `Product`.
    """
    engine = job.engine
    packets: dict[str, Bytes] = {}
    if job.inputs == "activations":
        if x is None or codebooks is None:
            raise TypeError("A job on activations needs x and codebooks")
        packets = {
            "activations": job.activation_stream(x),
            "centroids": job.centroid_stream(codebooks),
        }
        vectors = np.asarray(x).reshape(job.rows, job.codebooks, engine.subvec)
        found = engine.encoder.compute(vectors, codebooks)
    else:
        if indices is None:
            raise TypeError("A job on indices needs them")
        found = np.asarray(indices, dtype=np.int64)
        packets = {"activations": job.index_stream(found)}
    if job.results == "indices":
        return Product(name, job, packets, index_packet(job, found), **more)
    values, offset = np.asarray(table, dtype=np.int64), np.asarray(bias, dtype=np.int64)
    packets["tables"] = job.table_stream(values, offset, () if mapped is None else mapped)
    # Lanes past the last output are those of zero tables and biases.
    results = np.zeros((job.rows, job.tiles * engine.outputs), dtype=np.int64)
    results[:, : job.outputs] = offset
    for g in range(job.codebooks):
        there = found[:, g] >= 0
        results[there, : job.outputs] += values[g, found[there, g]]
    if job.results == "outputs":
        half = 1 << job.shift >> 1
        results = np.clip((results + half) >> job.shift, job.low, job.high)
        if job.has_map:
            mask = (1 << engine.output_bits) - 1
            results = np.asarray(mapped, dtype=np.int64)[results & mask] & mask
            if job.low < 0:
                top = 1 << engine.output_bits - 1
                results = (results ^ top) - top
    return Product(name, job, packets, output_packet(job, results), **more)


def index_packet(job: JobSpec, found: NDArray[np.int64]) -> NDArray[np.int16]:
    """The result packet of rows of indices; -1 in bytes behind them, which may be anything."""
    engine, parts, start = job.engine, [], 0
    size = engine.index_beats * engine.result.beat
    for rows in job.sizes:
        for group in range(job.groups):
            columns = found[start : start + rows, group * engine.fan_in :][:, : engine.fan_in]
            row = np.full((rows, size), -1, dtype=np.int16)
            for f in range(columns.shape[1]):
                for byte in range(engine.code_bytes):
                    row[:, f * engine.code_bytes + byte] = columns[:, f] >> 8 * byte & 255
            parts.append(row.reshape(-1))
        start += rows
    return np.concatenate(parts)


def output_packet(job: JobSpec, results: NDArray[np.int64]) -> NDArray[np.int16]:
    """The result packet of outputs or accumulators ``[rows, tiles * outputs]``; -1 in bytes behind
    a row's last lane, which may be anything.
    """
    engine, parts, start = job.engine, [], 0
    raw = job.results == "accumulators"
    size = 4 if raw else engine.output_bytes
    beats = engine.word_beats if raw else engine.result_beats
    for rows in job.sizes:
        for tile in range(job.tiles):
            first = tile * engine.outputs
            block = results[start : start + rows, first : first + engine.outputs]
            row = np.full((rows, beats * engine.result.beat), -1, dtype=np.int16)
            for byte in range(size):
                row[:, byte : engine.outputs * size : size] = block >> 8 * byte & 255
            parts.append(row.reshape(-1))
        start += rows
    return np.concatenate(parts)


def simulate_engine(
    spec: EngineSpec,
    verilog: str,
    entries: Sequence[Product | Whole],
    *,
    name: str = TOP,
    gaps: float = 0.3,
    seed: int = 0,
    periods: tuple[int, int] = (10_000, 10_000),
    simulator: str = "verilator",
    keep: Path | None = None,
) -> EngineReport:
    """Plays products and jobs, one after the other, on one engine that is never reset in between.

    Parameters
    ----------
    verilog, name : str
        The engine, and the name of its module.
    gaps : float
        Fraction of cycles in which each channel stalls at random.
    seed : int
        Of the stalls.
    periods : tuple of int
        Of ``clk`` and ``enc_clk``, in ps.
    keep : Path or None
        A folder for plans, logs and results.

    Raises
    ------
    LutgenError
        If a program is missing, the Verilog is not that of the engine, or nothing came of the
        simulation.
    """
    start = time.perf_counter()
    built, _ = simbuild.build(verilog, name, simulator)
    middle = time.perf_counter()
    with simbuild.run_folder(keep) as folder:
        contract = engine_contract(spec, name)
        (folder / "engine.json").write_text(json.dumps(contract), encoding="utf-8")
        plan = {
            "format": "lutgen-engine-bench",
            "version": 1,
            "engine": "engine.json",
            "seed": seed,
            "gaps": gaps,
            "periods_ps": periods,
            "entries": [_entry(entry, number, folder) for number, entry in enumerate(entries)],
        }
        (folder / "plan.json").write_text(json.dumps(plan, indent=1), encoding="utf-8")
        (folder / "result.json").unlink(missing_ok=True)
        job = {
            "simulator": simulator,
            "top": name,
            "module": "bench_engine",
            "module_path": str(resources.sim()),
            "build_dir": str(built),
            "test_dir": str(folder),
            "seed": seed,
            "env": {"LUTGEN_BENCH_PLAN": str(folder / "plan.json")},
        }
        status, log = simbuild.play(job, folder)
        try:
            result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise LutgenError(
                f"the simulation ended without a result (status {status})"
                f"{simbuild.last_error(log)}; see {log}"
            ) from None
        broken = tuple(text for _, text in simbuild.broken_rules(log))
    if "error" in result:
        raise LutgenError(str(result["error"]))
    outcomes = tuple(
        Outcome(
            entry["name"],
            (*entry["wrong"], *broken),  # nobody knows in which job it was
            entry.get("counters", {}),
            tuple(entry.get("steps", ())),
        )
        for entry in result["entries"]
    )
    return EngineReport(outcomes, middle - start, time.perf_counter() - middle)


def _entry(entry: Product | Whole, number: int, folder: Path) -> dict[str, Any]:
    """A line of the plan, and its file."""
    file = f"entry{number}.npz"
    if isinstance(entry, Whole):
        np.savez(folder / file, x=entry.inputs, expected=entry.expected)
        return {
            "name": entry.name,
            "file": file,
            "job": str(absolute(entry.folder)),
            "options": dict(entry.options),
        }
    np.savez(folder / file, expected=entry.expected, **dict(entry.packets))  # type: ignore[arg-type]
    return {
        "name": entry.name,
        "file": file,
        "registers": entry.job.registers(),
        "errors": list(entry.errors),
        **entry.options,
    }
