"""A core by hand, to test the bench and the simulation flow without the generator."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEXT = (Path(__file__).parent / "toy_core.v").read_text(encoding="utf-8")


def contract(name: str = "toy_core", *, loadable: bool = False) -> dict[str, Any]:
    """The fields of docs/core-contract.md that the bench reads."""
    ports: list[tuple[str, str, int]] = [("clk", "input", 1), ("rst", "input", 1)]
    for bus, width, master in (("s_axis", 16, False), ("m_axis", 32, True), ("l_axis", 32, False)):
        there, back = ("output", "input") if master else ("input", "output")
        ports += [
            (f"{bus}_tdata", there, width),
            (f"{bus}_tvalid", there, 1),
            (f"{bus}_tready", back, 1),
            (f"{bus}_tlast", there, 1),
        ]
    ports += [(flag, "output", 1) for flag in ("frame_error", "loaded", "load_error")]
    return {
        "format": "lutgen-core",
        "version": 1,
        "name": name,
        "clock": "clk",
        "reset": "rst",
        "ports": [{"name": n, "direction": d, "width": w} for n, d, w in ports],
        "input": {
            "elements": 5,
            "bits": 8,
            "signed": False,
            "lanes": 2,
            "lane_bits": 8,
            "beats": 3,
        },
        "output": {
            "elements": 3,
            "bits": 13,
            "signed": True,
            "lanes": 2,
            "lane_bits": 16,
            "beats": 2,
        },
        "load": {"port": "l_axis", "word_bits": 32, "words": 2} if loadable else None,
        "latency": 4,
        "interval": 5,
        "stages": [{}],
    }


def variant(name: str, *, bug: int = 0, loadable: bool = False) -> tuple[str, dict[str, Any]]:
    """Text and contract of the core under another name, with one of its bugs."""
    text = TEXT.replace("module toy_core", f"module {name}").replace("BUG = 0", f"BUG = {bug}")
    text = text.replace("LOADABLE = 0", f"LOADABLE = {int(loadable)}")
    return text, contract(name, loadable=loadable)


def vectors(
    samples: int, *, seed: int = 0, offset: int = 100
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random inputs and what the core without a bug answers."""
    x = np.random.default_rng(seed).integers(0, 256, (samples, 5))
    return x, x.sum(axis=1)[:, None] * np.arange(1, 4) - offset
