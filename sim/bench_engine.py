"""Plays jobs on an engine and compares every byte of the results.

The plan, a JSON file named by LUTGEN_BENCH_PLAN, lists products: registers, packets, the expected
result packet and errors; and, where it names a job folder, whole networks that the player runs.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, Timer
from engine import SimTransport

from lutgen.errors import LutgenError
from lutgen.host.contract import engine_of
from lutgen.host.registers import BusError, Registers
from lutgen.spec.engine_registers import COUNTERS, engine_registers

PATIENCE = 10_000  # cycles from a job's last result to its interrupt
PLAN_VARIABLE = "LUTGEN_BENCH_PLAN"


class Bench:
    """One engine and what came of its jobs."""

    def __init__(self, dut: Any, plan: dict[str, Any], folder: Path) -> None:
        self.dut = dut
        self.plan = plan
        self.folder = folder
        self.spec = engine_of(folder / plan["engine"])
        self.rng = random.Random(plan["seed"])
        self.complaints: list[str] = []
        self.transport = SimTransport(
            dut, self.spec, plan["gaps"], self.rng, self.complaints.append
        )
        self.registers = Registers(self.transport, engine_registers(self.spec))

    async def done(self) -> None:
        """Waits for the interrupt."""
        edge = RisingEdge(self.dut.clk)
        for _ in range(PATIENCE):
            if self.dut.irq.value:
                break
            await edge
        else:
            self.complaints.append("no interrupt has come")
        await self.registers.set("INTERRUPT_STATUS", done=1)

    async def product(self, entry: dict[str, Any]) -> dict[str, Any]:
        """One job from packets."""
        arrays = np.load(self.folder / entry["file"], allow_pickle=False)
        registers, transport = self.registers, self.transport
        for name, fields in entry["registers"].items():
            await registers.set(name, **fields)
        packets = {key: arrays[key] for key in arrays.files if key != "expected"}
        await transport.begin(packets, 0)
        await registers.set("CONTROL", start=1)
        if entry.get("refused"):
            await self.refusals()
        if "abort" in entry:
            await ClockCycles(self.dut.clk, entry["abort"])
            await transport.cancel()
            await ClockCycles(self.dut.clk, 8)
            await registers.set("CONTROL", abort=1)
        result = await transport.finish()
        await self.done()
        status, errors = await registers.get("STATUS"), await registers.get("ERROR")
        wanted = set(entry.get("errors", []))
        got = {name for name, bit in errors.items() if bit}
        counters = {name: await registers.counter(name) for name in COUNTERS}
        wrong = []
        if got != wanted:
            wrong.append(f"errors {sorted(got)}, not {sorted(wanted)}")
        if status["busy"] or not status["done"] or status["error"] != bool(wanted):
            wrong.append(f"status {status}")
        expected = arrays["expected"]
        if not wanted and len(result) == len(expected):
            result = np.where(expected < 0, expected, result)
        if not wanted and not np.array_equal(result, expected):
            wrong.append(difference(result, expected))
        return {"name": entry["name"], "wrong": wrong, "counters": counters}

    async def refusals(self) -> None:
        """Start and sizes while busy must be refused, and change nothing."""
        before = await self.registers.get("ROWS")
        for name, fields in (("CONTROL", {"start": 1}), ("ROWS", {"rows": 1})):
            try:
                await self.registers.set(name, **fields)
            except BusError:
                continue
            self.complaints.append(f"{name} was written while busy")
        if await self.registers.get("ROWS") != before:
            self.complaints.append("a refused write changed ROWS")

    async def network(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A whole network, by compiler and player."""
        from lutgen.host.jobfile import load
        from lutgen.host.player import play

        arrays = np.load(self.folder / entry["file"], allow_pickle=False)
        job = load(Path(entry["job"]))
        played = await play(job, self.transport, arrays["x"], **entry.get("options", {}))
        wrong = []
        if not np.array_equal(played.outputs, arrays["expected"]):
            wrong.append(difference(played.outputs, arrays["expected"]))
        return {"name": entry["name"], "wrong": wrong, "steps": [vars(s) for s in played.steps]}


def difference(got: Any, expected: Any) -> str:
    """Where two arrays differ first."""
    if got.shape != expected.shape:
        return f"results of shape {got.shape}, not {expected.shape}"
    places = np.argwhere(got != expected)
    first = tuple(places[0].tolist())
    return f"{len(places)} of {got.size} differ, first {first}: {got[first]}, not {expected[first]}"


def write(plan: Path, **found: Any) -> None:
    """Writes the result file beside the plan: entries, or the error that nothing came after."""
    result = {"format": "lutgen-engine-bench-result", "version": 1, **found}
    (plan.parent / "result.json").write_text(json.dumps(result), "utf-8")


@cocotb.test()
async def bench(dut: Any) -> None:
    """Plays the plan and writes its result file; fails if anything differs."""
    path = Path(os.environ[PLAN_VARIABLE])
    plan = json.loads(path.read_text(encoding="utf-8"))
    for name in ("a_axis", "c_axis", "t_axis"):
        for pin in ("tdata", "tvalid", "tlast"):
            getattr(dut, f"{name}_{pin}").value = 0
    dut.m_axis_tready.value = 0
    dut.rst.value = 1
    period, side = plan["periods_ps"]
    Clock(dut.clk, period, "ps").start()
    if hasattr(dut, "enc_clk"):
        await Timer(plan["seed"] % side + 1, "ps")
        Clock(dut.enc_clk, side, "ps").start()
    if engine_of(path.parent / plan["engine"]).two_clocks and not hasattr(dut, "enc_clk"):
        write(path, error="port enc_clk: is missing")
        raise AssertionError("the engine has one clock")
    bench = Bench(dut, plan, path.parent)
    await Timer(8 * max(period, side), "ps")
    await RisingEdge(dut.clk)
    dut.rst.value = 0
    await Timer(8 * max(period, side), "ps")
    await RisingEdge(dut.clk)
    try:
        await bench.registers.check()
    except LutgenError as error:
        write(path, error=str(error))
        raise
    await bench.registers.set("INTERRUPT_ENABLE", done=1)
    done = []
    for entry in plan["entries"]:
        done.append(await (bench.network if "job" in entry else bench.product)(entry))
        done[-1]["wrong"] += bench.complaints
        bench.complaints.clear()
    write(path, entries=done)
    bad = [entry["name"] for entry in done if entry["wrong"]]
    assert not bad, f"not as expected: {', '.join(bad)}"
