"""The cocotb test of generated cores: one simulation, any number of cores side by side, one result
file.

Everything comes from the plan, a JSON file whose path is in the environment variable
LUTGEN_BENCH_PLAN; see README.md in this folder for its fields.
"""

import json
import os
import random
from collections.abc import Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer
from cocotb.utils import get_sim_steps, get_sim_time
from scoreboard import Report, Scoreboard, check, pack_beats, settling
from streams import Sink, Source

PLAN_VARIABLE = "LUTGEN_BENCH_PLAN"
PERIOD_NS = 10


class CoreBench:
    """One core of the design: its streams, its vectors and its report."""

    def __init__(self, dut: Any, entry: dict[str, Any], folder: Path, seed: int) -> None:
        self.prefix = str(entry.get("prefix", ""))
        contract = entry["contract"]
        if isinstance(contract, str):
            contract = json.loads((folder / contract).read_text(encoding="utf-8"))
        self.contract = contract
        with np.load(folder / entry["vectors"], allow_pickle=False) as archive:
            self.arrays = {key: archive[key] for key in archive.files}
        self.report = Report(self.prefix)
        self._dut = dut
        self._clock = dut[contract["clock"]]
        self._rng = random.Random(f"{seed} {self.prefix}")
        self._noise = np.random.default_rng(self._rng.getrandbits(64))
        self._progress = 0
        self.source = self._source("s_axis")
        self.loader = self._source("l_axis") if contract["load"] else None
        self.sink = Sink(dut, f"{self.prefix}m_axis", self._clock, self._complain)

    def _source(self, name: str) -> Source:
        return Source(self._dut, f"{self.prefix}{name}", self._clock)

    def _complain(self, text: str) -> None:
        now = int(get_sim_time("step")) // get_sim_steps(PERIOD_NS, "ns")
        self.report.fail(f"cycle {now}: {text}")

    def _flag(self, name: str) -> int:
        value = self._dut[f"{self.prefix}{name}"].value
        return int(value) if value.is_resolvable else -1

    def expect_flag(self, step: str, name: str, want: int) -> None:
        if (got := self._flag(name)) != want:
            self.report.fail(f"{step}: {name} is {'X' if got < 0 else got}, must be {want}")

    def samples(self, name: str, port: str) -> Any:
        """An array of the vectors, whose values the contract's ``port`` must hold."""
        return check(self.arrays[name], self.contract[port], f"Values of {name!r}")

    def frames(self, inputs: Any) -> list[list[int]]:
        """Beats of input integers ``[sample, element]``; bits without a meaning are random."""
        fmt = self.contract["input"]
        return pack_beats(inputs, fmt["lanes"], fmt["lane_bits"], self._noise, fmt["bits"])

    async def guard(self, step: str, work: Coroutine[Any, Any, None], gaps: float) -> None:
        """Runs ``work``; ends it, with an error, when nothing has moved for far longer than any
        core may take.
        """
        cycles = self.contract["latency"] + self.contract["interval"]
        limit = int((2000 + 20 * cycles) / (1 - gaps)) + settling(self.contract)
        task = cocotb.start_soon(work)
        while not task.done():
            before = self._progress
            await First(task.complete, Timer(limit * PERIOD_NS, "ns"))
            if not task.done() and self._progress == before:
                task.cancel()
                self.report.fail(f"{step}: nothing came for {limit} cycles")
                break
        else:
            task.result()  # what went wrong in it goes on from here
        self._quiet()

    def _quiet(self) -> None:
        for port in (self.source, self.loader, self.sink):
            if port is not None:
                port.stop_gaps()
        self.sink.stop_watch()
        if not self.report.passed:
            self.source.drop()

    async def load(self, step: str, words: Any, gaps: float = 0.0) -> None:
        """Fills the memories of a loadable core."""
        assert self.loader is not None
        self.loader.start_gaps(gaps, self._rng)
        await self._send_image(step, [int(word) for word in words], gaps)
        self.loader.stop_gaps()
        self.expect_flag(f"{step}: after the load image", "loaded", 1)

    async def _send_image(self, step: str, words: list[int], gaps: float = 0.0) -> None:
        assert self.loader is not None
        self.loader.send(words)
        edge = RisingEdge(self._clock)
        left = int(8 * len(words) / (1 - gaps)) + 100
        while left and not self.loader.driver.idle():
            await edge
            left -= 1
            self._progress += 1  # images are long: no result for thousands of cycles is no fault
        if not left:
            self.report.fail(f"{step}: the core does not take its load image")
        left = self.contract["load"].get("read_back", 0) + 20
        while left > 0:
            await ClockCycles(self._clock, min(left, 500))
            left -= 500
            self._progress += 1

    async def step(self, plan: dict[str, Any]) -> None:
        """One pass over the vectors, as an entry of the plan's ``passes`` says."""
        gaps = float(plan.get("gaps", 0))
        await self.guard(plan["name"], self._step(plan, gaps), gaps)

    async def _step(self, plan: dict[str, Any], gaps: float) -> None:
        name = plan["name"]
        image = plan.get("load", "load")
        if self.contract["load"] and image is not None:
            if image not in self.arrays:
                self.report.fail(f"{name}: the core is loadable, but its vectors hold no {image!r}")
                return
            await self.load(name, self.arrays[image], gaps)
            self.expect_flag(name, "load_error", 0)
        inputs = self.samples(plan.get("inputs", "inputs"), "input")
        expected = self.samples(plan.get("expected", "expected"), "output")
        order = [i % len(inputs) for i in range(int(plan.get("samples") or len(inputs)))]
        frames = self.frames(inputs)
        self.source.start_gaps(gaps, self._rng)
        self.sink.start_gaps(gaps, self._rng)
        if gaps:
            self.sink.start_watch()
        first = cocotb.start_soon(self.source.first_beat())
        for number in order:
            self.source.send(frames[number])
        ends = await self._collect(name, expected, order)
        if gaps == 0:
            period = get_sim_steps(PERIOD_NS, "ns")
            self.report.latency = (ends[0] - await first) // period
            steps = [(b - a) // period for a, b in pairwise(ends)]
            self.report.intervals = steps[-64:]
            self.report.interval = steps[-1] if steps else None
        await self._drain(name)
        # What the next pass measures must begin with a core at rest.
        await Timer(settling(self.contract) * PERIOD_NS, "ns")
        self._progress += 1
        self.expect_flag(name, "frame_error", 0)

    async def _collect(self, name: str, expected: Any, order: list[int]) -> list[int]:
        board = Scoreboard(self.report, self.contract["output"], name)
        ends = []
        for number in order:
            beats, end = await self.sink.receive()
            board.frame(beats, expected[number], number)
            ends.append(end)
            self._progress += 1
        return ends

    async def _drain(self, name: str) -> None:
        wait = self.contract["latency"] + self.contract["interval"]
        self.source.stop_gaps()
        self.sink.stop_gaps()
        await ClockCycles(self._clock, min(wait, 500) + 16)
        if self.sink.count() or self.sink.driver.active or self._flag("m_axis_tvalid"):
            self.report.fail(f"{name}: more came after the result of the last sample")
            self.sink.drop()

    async def faults(self, late: bool) -> None:
        """Frames of a wrong length among right ones; the core has just left reset."""
        await self.guard("faults", self._faults(late), 0.5)

    async def _faults(self, late: bool) -> None:
        name = "late tlast" if late else "early tlast"
        beats = self.contract["input"]["beats"]
        if self.contract["load"]:
            if late:
                await self._load_faults()
            await self.load(name, self.arrays["load"])
        if not late and beats == 1:
            return  # a frame of no beats does not exist
        inputs = self.samples("inputs", "input")
        expected = self.samples("expected", "output")
        frames = self.frames(inputs)
        order = [i % len(inputs) for i in range(5)]
        extra = [self._rng.getrandbits(8) for _ in range(2 * beats + 1)]
        bad = [self._rng.randrange(1, beats) if beats > 1 else 1 for _ in range(3)]
        if late:
            bad = [beats + 1, 2 * beats, 2 * beats + 1]
        broken = [(frames[order[0]] + extra)[:length] for length in bad]
        self.source.start_gaps(0.3, self._rng)
        self.sink.start_gaps(0.3, self._rng)
        self.source.send(frames[order[0]])
        await self._collect(name, expected, order[:1])
        self.expect_flag(f"before the {name}", "frame_error", 0)
        good = [frames[i] for i in order[1:]]
        for frame in (broken[0], good[0], broken[1], broken[2], good[1], good[2], good[3]):
            self.source.send(frame)
        await self._collect(name, expected, order[1:])
        await self._drain(name)
        self.expect_flag(f"after the {name}", "frame_error", 1)

    async def _load_faults(self) -> None:
        assert self.loader is not None
        words = [int(word) for word in self.arrays["load"]]
        self.expect_flag("before a load image", "s_axis_tready", 0)
        images = [("short", words[:-1]), ("long", [*words, 0, 0, 0])]
        if self.contract["load"].get("check"):
            bent = list(words)
            bent[len(words) // 2] ^= 1
            self.expect_flag("before a bent load image", "load_error", 0)
            images.insert(0, ("bent", bent))
        for name, image in images:
            if image:
                await self._send_image(f"{name} load image", image)
                self.expect_flag(f"{name} load image", "load_error", 1)
                self.expect_flag(f"{name} load image", "loaded", 0)


async def together(cores: list[CoreBench], works: list[Coroutine[Any, Any, None]]) -> None:
    """Runs one piece of work of each core at the same time."""
    start = int(get_sim_time("step"))
    tasks = [cocotb.start_soon(work) for work in works]
    for core, task in zip(cores, tasks, strict=True):
        await task
        core.report.cycles += (int(get_sim_time("step")) - start) // get_sim_steps(PERIOD_NS, "ns")


async def reset(dut: Any, plan: dict[str, Any]) -> None:
    """A few cycles of reset."""
    signal = dut[plan.get("reset", "rst")]
    signal.value = 1
    await ClockCycles(dut[plan.get("clock", "clk")], 4)
    signal.value = 0
    await ClockCycles(dut[plan.get("clock", "clk")], 2)


def quiet_inputs(dut: Any, entry: dict[str, Any]) -> None:
    """Defines the inputs from time 0, before drivers exist."""
    prefix = entry.get("prefix", "")
    inputs = [
        f"{bus}_{pin}" for bus in ("s_axis", "l_axis") for pin in ("tdata", "tvalid", "tlast")
    ]
    for name in (*inputs, "m_axis_tready"):
        if hasattr(dut, prefix + name):
            dut[prefix + name].value = 0


@cocotb.test()
async def bench(dut: Any) -> None:
    """Plays the plan and writes its result file; fails if anything differs."""
    path = Path(os.environ[PLAN_VARIABLE])
    plan = json.loads(path.read_text(encoding="utf-8"))
    seed = int(plan.get("seed", 0))
    for entry in plan["cores"]:
        quiet_inputs(dut, entry)
    Clock(dut[plan.get("clock", "clk")], PERIOD_NS, "ns").start()
    await reset(dut, plan)
    cores = [CoreBench(dut, entry, path.parent, seed) for entry in plan["cores"]]
    for step in plan["passes"]:
        alive = [core for core in cores if core.report.passed]
        await together(alive, [core.step(step) for core in alive])
    if plan.get("faults"):
        for late in (False, True):
            alive = [core for core in cores if core.report.passed]
            await reset(dut, plan)
            for core in alive:
                core.expect_flag("after reset", "frame_error", 0)
            await together(alive, [core.faults(late) for core in alive])
    reports = [core.report.data() for core in cores]
    result = {"format": "lutgen-bench-result", "version": 1, "cores": reports}
    (path.parent / plan.get("result", "result.json")).write_text(json.dumps(result), "utf-8")
    bad = [report["prefix"] or dut._name for report in reports if not report["passed"]]
    assert not bad, f"not as expected: {', '.join(bad)}"
