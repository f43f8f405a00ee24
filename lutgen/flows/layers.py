"""Compares the streams inside a core, which its taps show, with golden inference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.errors import LutgenError
from lutgen.flows.board import scoreboard
from lutgen.flows.report import LayerReport
from lutgen.numeric import Format, check_ints

__all__ = ["Layers"]


class Layers:
    """What every tap of a core must show.

    Parameters
    ----------
    contract : mapping
        Of a core with taps (docs/core-contract.md).
    golden : mapping of str to int array ``[sample, element]``
        Every node's result, by name.
    folder : Path
        Where the harness writes what the taps showed.

    Raises
    ------
    LutgenError
        If the core has no taps.
    ValueError
        If ``golden`` lacks a node, or has one of another size.
    """

    def __init__(
        self, contract: Mapping[str, Any], golden: Mapping[str, ArrayLike], folder: Path
    ) -> None:
        self._taps = contract.get("taps") or []
        if not self._taps:
            raise LutgenError(f"core {contract['name']!r} has no taps; build it with taps=True")
        self._golden = {}
        for tap in self._taps:
            values = np.asarray(golden.get(tap["name"], np.zeros(0)))
            if values.ndim != 2 or values.shape[1] != tap["elements"]:
                raise ValueError(
                    f"Golden results of {tap['name']!r} must have the shape (samples, "
                    f"{tap['elements']}), not {values.shape}"
                )
            fmt = Format(tap["bits"], tap["signed"])
            values = check_ints(values, f"Golden results of {tap['name']!r}", fmt)
            self._golden[tap["name"]] = values.astype(np.int64)
        self._folder = folder
        self._started = [0] * len(self._taps)
        count = len(self._taps)
        self._words, self._wrong = [0] * count, [0] * count
        self._first: list[dict[str, Any] | None] = [None] * count

    def beats(self, samples: int) -> list[int]:
        """Beats of every tap for so many samples: all of a layer's result, whether or not those
        behind it use all of it.
        """
        return [samples * tap["beats"] for tap in self._taps]

    @property
    def reports(self) -> tuple[LayerReport, ...]:
        """What has been compared so far, in the order of the network."""
        rows = zip(self._taps, self._words, self._wrong, self._first, strict=True)
        return tuple(
            LayerReport(tap["name"], words, wrong, first) for tap, words, wrong, first in rows
        )

    def begin(self, lines: list[list[str]]) -> None:
        """A pass begins; the taps have shown so many beats before."""
        self._started = [int(count) for count in lines[0][1:]]

    def end(self, lines: list[list[str]], step: str, order: Sequence[int], report: Any) -> None:
        """A pass over the samples ``order`` has ended; without ``lines``, before its time."""
        for number, tap in enumerate(self._taps):
            path = self._folder / f"tap{number}.bin"
            size = tap["lanes"] * tap["lane_bits"] // 8
            ended = int(lines[0][1 + number]) if lines else path.stat().st_size // size
            beats = ended - self._started[number]
            offset = self._started[number] * size
            with path.open("rb") as file:
                file.seek(offset)
                raw = np.frombuffer(file.read(beats * size), dtype=np.uint8)
            self._compare(number, raw.reshape(beats, size), step, order)
            due = self.beats(len(order))[number]
            if lines and beats != due:
                report.fail(
                    f"{step}: {tap['port']} showed {beats} beats, must be {due} for "
                    f"{len(order)} samples"
                )

    def _compare(
        self, number: int, raw: NDArray[np.uint8], step: str, order: Sequence[int]
    ) -> None:
        tap = self._taps[number]
        whole = min(len(raw) // tap["beats"], len(order))
        frames = raw[: whole * tap["beats"]].reshape(whole, tap["beats"], raw.shape[1])
        got = scoreboard().from_bytes(frames, tap["elements"], tap["lane_bits"], tap["signed"])
        want = self._golden[tap["name"]][list(order[:whole])]
        self._words[number] += got.size
        wrong = np.argwhere(got != want)
        self._wrong[number] += len(wrong)
        if len(wrong) and self._first[number] is None:
            result, element = (int(index) for index in wrong[0])
            self._first[number] = {
                "pass": step,
                "sample": order[result],
                "element": element,
                "got": int(got[result, element]),
                "expected": int(want[result, element]),
            }
