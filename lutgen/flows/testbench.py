"""A test bench in plain Verilog that carries its vectors and checks a core by itself."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen import resources
from lutgen.flows.board import scoreboard
from lutgen.numeric import Format, check_ints

__all__ = ["render"]

# Tools take time quadratic in the statements of one initial block.
BLOCK_ROWS = 32


def render(
    contract: Mapping[str, Any],
    inputs: ArrayLike,
    expected: ArrayLike,
    *,
    load_words: ArrayLike | None = None,
    seed: int = 0,
    core_file: str = "out.v",
    bench_file: str = "out_tb.v",
) -> str:
    """The module ``NAME_tb``, Verilog-2005.

    Parameters
    ----------
    contract : mapping
        The core's contract (docs/core-contract.md).
    inputs, expected : int array ``[sample, element]``
    load_words : uint32 array or None
        Load image of a loadable core.
    seed : int
        Of the stalls, and of bits that the core must not look at.
    core_file, bench_file : str
        Names for the commands in the comment; others stand there for names that a shell or
        Verilog would not take as they are.

    Raises
    ------
    ValueError
        If an array has a wrong shape or values that a port does not hold, or a loadable core comes
        without its image.
    TypeError
        If an array holds no integers.
    """
    source, sink = contract["input"], contract["output"]
    board = scoreboard()
    values = board.check(inputs, source, "Inputs")
    answers = board.check(expected, sink, "Expected outputs")
    if len(values) != len(answers):
        raise ValueError(
            f"There must be as many inputs as outputs, not {len(values)}, {len(answers)}"
        )
    if (contract["load"] is None) != (load_words is None):
        raise ValueError("A load image goes with a loadable core, and only with one")
    rng = np.random.default_rng(seed)
    beats = board.to_bytes(values, source["lanes"], source["lane_bits"], rng, source["bits"])
    results = board.to_bytes(answers, sink["lanes"], sink["lane_bits"])
    blocks = _blocks("inputs", beats) + _blocks("expected", results)
    words = np.zeros(0, dtype="<u4") if load_words is None else load_words
    image = check_ints(words, "Words of a load image", Format(32, False)).astype("<u4")
    blocks += _blocks("image", image.view(np.uint8).reshape(-1, 1, 4))
    cycles = contract["latency"] + contract["interval"]
    still = (contract["load"] or {}).get("read_back", 0)  # of a core that reads its tables back
    return resources.render(
        "testbench.v.j2",
        top=contract["name"],
        bench=f"{contract['name']}_tb",
        core_file=_file_name(core_file, "out.v"),
        bench_file=_file_name(bench_file, "out_tb.v"),
        samples=len(values),
        source=source,
        sink=sink,
        clock=contract["clock"],
        reset=contract["reset"],
        words=len(image),
        limit=min(4000 + 8 * cycles + still, (1 << 31) - 1),
        drain=min(cycles, 500) + 16,
        lfsr=int(rng.integers(1, 1 << 32)),
        blocks=blocks,
    )


def _file_name(name: str, usual: str) -> resources.Text:
    """A file's name for a command line in a comment."""
    plain = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", name)
    return resources.Text(name if plain else usual)


def _blocks(name: str, beats: NDArray[np.uint8]) -> list[resources.Text]:
    """Statements that fill a memory with ``[sample, beat, byte]``, in short blocks."""
    flat = beats.reshape(-1, beats.shape[2])
    bits = 8 * flat.shape[1]
    rows = [
        f"{name}[{number}] = {bits}'h{row[::-1].tobytes().hex()};"
        for number, row in enumerate(flat)
    ]
    return [
        resources.Text("\n        ".join(rows[i : i + BLOCK_ROWS]))
        for i in range(0, len(rows), BLOCK_ROWS)
    ]
