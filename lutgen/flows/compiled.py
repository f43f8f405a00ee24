"""The compiled driver: the bench's plan as a script for the harness, and the verdict on its result.

The harness (sim/harness.cpp) knows of cycles, pins and stalls, and of nothing that could be right
or wrong. What was compared and what it means is the same as with cocotb: sim/scoreboard.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.flows import simbuild
from lutgen.flows.board import scoreboard
from lutgen.flows.harness import FLAGS
from lutgen.flows.layers import Layers

__all__ = ["Play", "run"]


@dataclass(frozen=True)
class Step:
    """One operation of a script: what it belongs to, and what judges the lines of its result."""

    text: str
    segment: str
    judge: Callable[[list[list[str]]], None] | None


class Play:
    """The script of one core, and its judge.

    Parameters
    ----------
    contract : mapping
    vectors : dict of arrays
        ``inputs``, ``expected``, and ``load`` for a loadable core.
    plan : mapping
        See sim/README.md.
    prefix : str
        Of the core's ports.
    layers : Layers or None
        What compares the inner streams.
    """

    def __init__(
        self,
        contract: Mapping[str, Any],
        vectors: Mapping[str, NDArray[Any]],
        plan: Mapping[str, Any],
        prefix: str,
        layers: Layers | None,
    ) -> None:
        self._contract, self._vectors, self._layers = contract, vectors, layers
        self._prefix, self._segment = prefix, ""
        self._rng = np.random.default_rng([plan["seed"], *prefix.encode()])
        self.report = scoreboard().Report(prefix)
        self.steps: list[Step] = []
        self._frame_bytes = self._pack()
        self._bad: list[NDArray[np.uint8]] = []
        self._gaps = 0.0
        self.window: tuple[int, int] | None = None
        if any("record" in entry for entry in plan["passes"]):
            self._add("record 0")
        self._reset()
        for entry in plan["passes"]:
            self._pass(
                entry["name"], float(entry["gaps"]), entry.get("samples"), entry.get("record")
            )
        if plan["faults"]:
            self._faults(late=False)
            self._faults(late=True)
        # Filled in by `judge`.
        self._words = np.zeros((0, 1), dtype=np.uint8)
        self._taken = 0

    @property
    def script(self) -> str:
        """For the harness."""
        return "".join(step.text + "\n" for step in self.steps)

    @property
    def source_bytes(self) -> bytes:
        """All beats of ``s_axis``: those of the samples, then those of broken frames."""
        return self._frame_bytes.tobytes() + b"".join(part.tobytes() for part in self._bad)

    @property
    def load_bytes(self) -> bytes:
        """All beats of ``l_axis``: the load image, three words of 0, and the image with one bit
        that is wrong.
        """
        words = self._vectors.get("load", np.zeros(0, dtype=np.uint32)).astype("<u4")
        bent = words.copy()
        if len(bent):
            bent[len(bent) // 2] ^= np.uint32(1)
        return bytes(words.tobytes()) + bytes(12) + bytes(bent.tobytes())

    # The script.

    def _pack(self) -> NDArray[np.uint8]:
        fmt = self._contract["input"]
        packed: NDArray[np.uint8] = scoreboard().to_bytes(
            self._vectors["inputs"], fmt["lanes"], fmt["lane_bits"], self._rng, fmt["bits"]
        )
        return packed

    def _add(self, text: str, judge: Callable[[list[list[str]]], None] | None = None) -> None:
        self.steps.append(Step(text, self._segment, judge))

    def _set_gaps(self, source: float, sink: float, loader: float, most: float) -> None:
        self._gaps = most
        cycles = self._contract["latency"] + self._contract["interval"]
        self._add(f"gaps {source} {sink} {loader}")
        self._add(f"limit {int((2000 + 4 * cycles) / (1 - most))}")

    def _reset(self) -> None:
        self._set_gaps(0, 0, 0, 0)
        self._add("reset")

    def _flag(self, step: str, name: str, want: int) -> None:
        def judge(lines: list[list[str]]) -> None:
            got = int(lines[0][1])
            if got != want:
                self.report.fail(f"{step}: {name} is {got}, must be {want}")

        self._add(f"flag {FLAGS.index(name)}", judge)

    def _image(self, step: str, words: int, first: int = 0) -> None:
        def judge(lines: list[list[str]]) -> None:
            if lines:
                self.report.fail(f"{step}: the core does not take its load image")

        self._add(f"load {first} {words}")
        self._add(f"image {int(8 * words / (1 - self._gaps)) + 100}", judge)

    @property
    def _read_back(self) -> int:
        """Cycles from a load image's last word to its verdict; 0 if the contract says none."""
        return int(self._contract["load"].get("read_back", 0))

    def _verdict(self, step: str, name: str) -> None:
        """The verdict on the image that has just gone in: at its time to the cycle."""
        if self._read_back:
            self._add(f"run {self._read_back - 1}")
            self._flag(f"{step}, a cycle early", name, 0)
            self._add("run 1")
        else:
            self._add("run 20")
        self._flag(step, name, 1)

    def _load(self, step: str) -> bool:
        """Fills the memories of a loadable core; False if there is nothing to fill them with."""
        if self._contract["load"] is None:
            return True
        if "load" not in self._vectors:
            text = f"{step}: the core is loadable, but its vectors hold no 'load'"
            self._add("run 1", lambda _: self.report.fail(text))
            return False
        self._image(step, len(self._vectors["load"]))
        self._verdict(f"{step}: after the load image", "loaded")
        return True

    def _send(self, frame: int) -> None:
        beats = self._contract["input"]["beats"]
        self._add(f"send {frame * beats} {beats}")

    def _pass(
        self, name: str, gaps: float, samples: int | None, record: Sequence[int] | None
    ) -> None:
        self._segment = name
        self._set_gaps(0, 0, gaps, gaps)
        if not self._load(name):
            return
        if self._contract["load"]:
            self._flag(name, "load_error", 0)
        count = len(self._vectors["inputs"])
        order = [i % count for i in range(samples or count)]
        if self._layers:
            self._add("taps", self._layers.begin)
        self._set_gaps(gaps, gaps, 0, gaps)
        self._add("start")
        for number in order:
            self._send(number)
        if record is None:
            self._collect(name, order, timing=gaps == 0)
        else:
            first, last = record[0], sum(record)
            self._collect(name, order[:first])
            self._record(name, order[first:last])
            self._collect(name, order[last:])
        if self._layers:
            # Layers may go on behind the last result, with rows that no layer behind them uses.
            # Without stalls none pauses for as long as a whole sample takes, so that the limit
            # ends a core that hangs and no other.
            self._set_gaps(0, 0, 0, 0)
            beats = self._layers.beats(len(order))
            self._add(" ".join(["settle", *map(str, beats)]))
        self._drain(name)
        # What the next pass measures must begin with a core at rest.
        self._add(f"run {scoreboard().settling(self._contract)}")
        self._flag(name, "frame_error", 0)
        if self._layers:
            layers = self._layers
            self._add("taps", lambda lines: layers.end(lines, name, order, self.report))

    def _collect(self, name: str, order: Sequence[int], *, timing: bool = False) -> None:
        board = scoreboard().Scoreboard(self.report, self._contract["output"], name)
        most = 2 * self._contract["output"]["beats"] + 16

        def judge(lines: list[list[str]]) -> None:
            frames = [(int(line[1]), int(line[2])) for line in lines if line[0] == "frame"]
            self._results(board, frames, order)
            for line in lines:
                if line[0] == "endless":
                    self.report.fail(f"{name}: a result has no tlast in {most} beats")
                if line[0] == "began" and timing:
                    ends = [end for _, end in frames]
                    self.report.latency = ends[0] - int(line[1])
                    steps = [b - a for a, b in pairwise(ends)]
                    self.report.intervals = steps[-64:]
                    self.report.interval = steps[-1] if steps else None

        self._add(f"collect {len(order)} {most}", judge)

    def _record(self, name: str, order: Sequence[int]) -> None:
        """Collects with waves: from the end of the result before to the end of the last."""
        began: list[int] = []

        def begin(lines: list[list[str]]) -> None:
            began.extend(int(word) for word in lines[-1][1:])

        def end(lines: list[list[str]]) -> None:
            cycle, beats = (int(word) for word in lines[-1][1:])
            self.window = cycle - began[0], beats - began[1]

        self._add("record 1", begin)
        self._collect(name, order)
        self._add("record 0", end)

    def _drain(self, name: str) -> None:
        def judge(lines: list[list[str]]) -> None:
            if int(lines[-1][1]):
                self.report.fail(f"{name}: more came after the result of the last sample")

        self._set_gaps(0, 0, 0, 0)
        wait = self._contract["latency"] + self._contract["interval"]
        self._add(f"drain {min(wait, 500) + 16}", judge)

    def _faults(self, *, late: bool) -> None:
        """Frames of a wrong length among right ones, as in sim/bench_core.py."""
        self._segment = name = "late tlast" if late else "early tlast"
        self._reset()
        self._flag("after reset", "frame_error", 0)
        loadable = self._contract["load"] is not None
        if loadable and late and "load" in self._vectors:
            self._load_faults()
        if not self._load(name):
            return
        beats = self._contract["input"]["beats"]
        if not late and beats == 1:
            return  # a frame of no beats does not exist
        order = [i % len(self._vectors["inputs"]) for i in range(5)]
        lengths = [beats + 1, 2 * beats, 2 * beats + 1]
        if not late:
            lengths = [int(n) for n in self._rng.integers(1, beats, 3)]
        self._set_gaps(0.3, 0.3, 0, 0.5)
        self._send(order[0])
        self._collect(name, order[:1])
        self._flag(f"before the {name}", "frame_error", 0)
        good = iter(order[1:])
        for length in (lengths[0], None, lengths[1], lengths[2], None, None, None):
            if length is None:
                self._send(next(good))
            else:
                self._send_bad(length)
        self._collect(name, order[1:])
        self._drain(name)
        self._flag(f"after the {name}", "frame_error", 1)

    def _load_faults(self) -> None:
        self._flag("before a load image", "s_axis_tready", 0)
        words = len(self._vectors["load"])
        if self._contract["load"].get("check"):
            self._image("bent load image", words, words + 3)
            self._verdict("bent load image", "load_error")
            self._flag("bent load image", "loaded", 0)
        for name, length in (("short", words - 1), ("long", words + 3)):
            if length:
                self._image(f"{name} load image", length)
                self._add("run 20")
                self._flag(f"{name} load image", "load_error", 1)
                self._flag(f"{name} load image", "loaded", 0)

    def _send_bad(self, length: int) -> None:
        """A frame that begins as the first sample does and goes on with noise, or ends early."""
        samples, beats, size = self._frame_bytes.shape
        frame = self._rng.integers(0, 256, (length, size), dtype=np.uint8)
        whole = min(beats, length)
        frame[:whole] = self._frame_bytes[0, :whole]
        first = samples * beats + sum(len(part) for part in self._bad)
        self._bad.append(frame)
        self._add(f"send {first} {length}")

    # The verdict.

    def judge(self, result: str, words: bytes) -> dict[str, Any]:
        """The report on what the harness wrote, as the bench writes it."""
        output = self._contract["output"]
        size = output["lanes"] * output["lane_bits"] // 8
        self._words = np.frombuffer(words, dtype=np.uint8).reshape(-1, size)
        by_step: dict[int, list[list[str]]] = {}
        for line in result.splitlines():
            words_of_line = line.split()
            by_step.setdefault(int(words_of_line[0]), []).append(words_of_line[1:])
        end = by_step.pop(max(by_step))[-1]
        for number, step in enumerate(self.steps):
            # What follows a pass that went wrong says nothing new.
            if number and step.segment != self.steps[number - 1].segment and not self.report.passed:
                break
            lines = by_step.get(number, [])
            self._rules(lines, step.segment)
            if step.judge is not None:
                step.judge([line for line in lines if line[0] not in ("fell", "changed")])
            if any(line[0] in ("idle", "endless") for line in lines):
                self._cut_short(number)
                break
        self.report.cycles = int(end[1])
        data: dict[str, Any] = self.report.data()
        return {**data, "window": self.window}

    def _cut_short(self, number: int) -> None:
        """The run ended at this step: what the taps have shown until then may tell why."""
        for step in self.steps[number:]:
            if step.segment == self.steps[number].segment and step.text == "taps" and step.judge:
                step.judge([])

    def _rules(self, lines: list[list[str]], segment: str) -> None:
        bus = f"{self._prefix}m_axis"
        for what, *rest in lines:
            if what == "fell":
                text = f"{bus}_tvalid fell before {bus}_tready came"
                self.report.fail(f"cycle {rest[0]}: {text}")
            elif what == "changed":
                text = f"{bus} payload changed while it waited for tready"
                self.report.fail(f"cycle {rest[0]}: {text}")
            elif what == "idle":
                self.report.fail(f"{segment}: nothing came for {rest[1]} cycles")

    def _results(self, board: Any, frames: Sequence[tuple[int, int]], order: Sequence[int]) -> None:
        output, expected = self._contract["output"], self._vectors["expected"]
        beats = np.array([count for count, _ in frames], dtype=np.int64)
        starts = self._taken + np.cumsum(beats) - beats
        self._taken += int(beats.sum())
        whole = np.flatnonzero(beats == output["beats"])
        rows = self._words[(starts[whole, None] + np.arange(output["beats"])).reshape(-1)]
        got = scoreboard().from_bytes(
            rows.reshape(len(whole), output["beats"], self._words.shape[1]),
            *(output[key] for key in ("elements", "lane_bits", "signed")),
        )
        elements = dict(zip(whole.tolist(), got, strict=True))
        for number, (count, _) in enumerate(frames):
            sample = order[number]
            board.result(count, elements.get(number), expected[sample], sample)


def run(
    program: Path, place: Path, number: int, play: Play, *, seed: int, waves: Path | None = None
) -> dict[str, Any]:
    """Plays the script of core ``number``, with files in the folder ``place``; gives its report.

    The program finds the contents of memories in the folder above.

    Raises
    ------
    LutgenError
        If the program ends without a result; the error names its log.
    """
    place.mkdir(exist_ok=True)
    (place / "result.txt").unlink(missing_ok=True)
    (place / "script.txt").write_text(play.script, encoding="ascii")
    (place / "s_axis.bin").write_bytes(play.source_bytes)
    (place / "l_axis.bin").write_bytes(play.load_bytes)
    log = place / "run.log"
    command = [str(program), str(number), f"{place}/", str(seed)]
    if waves is not None:
        command.append(str(waves))
    status = simbuild.run_logged(command, place.parent, log)
    try:
        result = (place / "result.txt").read_text(encoding="ascii")
    except OSError:
        result = ""
    if status or not result.endswith("\n") or " end " not in result.splitlines()[-1]:
        raise LutgenError(f"the simulation ended without a result (status {status}); see {log}")
    report = play.judge(result, (place / "m_axis.bin").read_bytes())
    report["errors"] += [text for _, text in simbuild.broken_rules(log)]
    return report
