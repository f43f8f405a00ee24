"""Builds an engine: Verilog, its contract, a C header and a page of its registers."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lutgen import __version__
from lutgen.files import write_text
from lutgen.gateware.engine.engine import Engine, ports
from lutgen.gateware.verilog import convert
from lutgen.host.contract import engine_contract
from lutgen.host.header import c_header, markdown
from lutgen.spec.engine import EngineSpec
from lutgen.spec.engine_registers import engine_registers, fingerprint
from lutgen.spec.names import check_name

__all__ = ["NAME", "EngineBuild", "build_engine"]

NAME = "lutgen_engine"


@dataclass(frozen=True)
class EngineBuild:
    """A built engine.

    Attributes
    ----------
    spec : EngineSpec
    verilog : str
    contract : dict
        The JSON beside it; see `lutgen.host.contract.engine_contract`.
    header, page : str
        The registers for C, and for people.
    """

    spec: EngineSpec
    verilog: str
    contract: dict[str, Any]
    header: str
    page: str

    def write(self, path: str | Path) -> tuple[Path, ...]:
        """Writes ``path`` (*.v), and beside it *.json, *.h and *.md; gives their paths."""
        target = Path(path)
        texts = {
            target: self.verilog,
            target.with_suffix(".json"): json.dumps(self.contract, indent=1) + "\n",
            target.with_suffix(".h"): self.header,
            target.with_suffix(".md"): self.page,
        }
        for file, text in texts.items():
            write_text(file, text)
        return tuple(texts)


def build_engine(spec: EngineSpec, *, name: str = NAME) -> EngineBuild:
    """Verilog and descriptions of an engine.

    Parameters
    ----------
    name : str
        The Verilog module. In lower case, it is also what all names in the C header begin with.

    Raises
    ------
    ValueError
        If the name is no Verilog identifier, or is reserved.
    """
    check_name(name, "an engine")
    registers = engine_registers(spec)
    clocks = ["clk", "enc_clk"] if spec.two_clocks else ["clk"]
    listed = [{"name": port, "direction": "input", "width": 1} for port in (*clocks, "rst")]
    listed += [
        {"name": port, "direction": "input" if way == "in" else "output", "width": width}
        for port, (way, width) in ports(spec).items()
    ]
    contract = engine_contract(
        spec,
        name,
        clocks=clocks,
        reset="rst",
        ports=listed,
        fingerprint=fingerprint(spec),
        lutgen=__version__,
    )
    return EngineBuild(
        spec,
        convert(Engine(spec), name),
        contract,
        c_header(registers, name.lower()),
        markdown(registers, f"Registers of {name}"),
    )
