"""Names of modules: one rule for all that is generated, so that every tool takes the text.

A name is letters, digits and underscores. It is not reserved if no version of Verilog or
SystemVerilog has it for a keyword, no generated module has it for a port, and no tool or outer
module has it for itself.
"""

import re

__all__ = [
    "CPP",
    "IDENTIFIER",
    "KEYWORDS",
    "LONGEST",
    "OUTER",
    "TOOLS",
    "check_name",
    "check_port",
    "free_name",
    "is_reserved",
]

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
LONGEST = 100  # characters: files are called by names, with suffixes

# IEEE 1800-2017, Annex B, which holds all keywords of IEEE 1364-2005; IEEE 1800-2023 has no more.
KEYWORDS = frozenset(
    """accept_on alias always always_comb always_ff always_latch and assert assign assume automatic
    before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle
    checker class clocking cmos config const constraint context continue cover covergroup coverpoint
    cross deassign default defparam design disable dist do edge else end endcase endchecker endclass
    endclocking endconfig endfunction endgenerate endgroup endinterface endmodule endpackage
    endprimitive endprogram endproperty endsequence endspecify endtable endtask enum event
    eventually expect export extends extern final first_match for force foreach forever fork
    forkjoin function generate genvar global highz0 highz1 if iff ifnone ignore_bins illegal_bins
    implements implies import incdir include initial inout input inside instance int integer
    interconnect interface intersect join join_any join_none large let liblist library local
    localparam logic longint macromodule matches medium modport module nand negedge nettype new
    nexttime nmos nor noshowcancelled not notif0 notif1 null or output package packed parameter pmos
    posedge primitive priority program property protected pull0 pull1 pulldown pullup
    pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase randsequence rcmos real realtime
    ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1 s_always
    s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled
    signed small soft solve specify specparam static string strong strong0 strong1 struct super
    supply0 supply1 sync_accept_on sync_reject_on table tagged task this throughout time
    timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef union
    unique unique0 unsigned until until_with untyped use uwire var vectored virtual void wait
    wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor""".split()
)
# What Icarus and Verilator have for keywords of their own, and Verilator for its outermost module.
TOOLS = frozenset("bool boolean randomize std wone wreal TOP".split())
# Modules around a core: of a board, and of a core without one.
OUTER = frozenset("top lutgen_pins".split())
# Ports of cores, engines and boards. Verilator has a module and its ports in one table.
PORTS = re.compile(
    r"clk|enc_clk|rst|frame_error|loaded|load_error|irq|rx|tx|busy|error|scan|seen"
    r"|(?:[a-z]_axis|tap_\w+)_t(?:data|valid|ready|last)|s_axil_\w+"
)
# Keywords of C++ and not of SystemVerilog: Verilator gives ports by such names others in C++.
CPP = frozenset(
    """alignas alignof and_eq asm auto bitand bitor catch char char16_t char32_t char8_t co_await
    co_return co_yield compl concept const_cast consteval constexpr constinit decltype delete double
    dynamic_cast explicit false float friend goto inline mutable namespace noexcept not_eq nullptr
    operator or_eq private public register reinterpret_cast requires short sizeof static_assert
    static_cast switch template thread_local throw true try typeid typename using volatile wchar_t
    xor_eq""".split()
)
MEND = "_core"


def is_reserved(name: str) -> bool:
    """Whether an identifier means something else to a tool."""
    return name in KEYWORDS or name in TOOLS or name in OUTER or bool(PORTS.fullmatch(name))


def check_name(name: object, what: str) -> str:
    """``name``, if a module can have it.

    Parameters
    ----------
    name : object
    what : str
        Such as ``a core``, for the complaint.

    Raises
    ------
    ValueError
    """
    if not isinstance(name, str) or not IDENTIFIER.fullmatch(name):
        raise ValueError(f"Name of {what} must be a Verilog identifier, not {name!r:.40}")
    if len(name) > LONGEST:
        raise ValueError(
            f"Name of {what} must have at most {LONGEST} characters, not {len(name)}: {name:.40}..."
        )
    if is_reserved(name):
        raise ValueError(
            f"Name of {what} must not be one that tools have for themselves, {name!r}; "
            f"{name + MEND!r} would do"
        )
    return name


def check_port(name: object, what: str) -> str:
    """``name``, if a port can have it.

    Parameters
    ----------
    name : object
    what : str
        Such as ``the clock``, for the complaint.

    Raises
    ------
    ValueError
    """
    if not isinstance(name, str) or not IDENTIFIER.fullmatch(name) or len(name) > LONGEST:
        raise ValueError(f"Name of {what} must be a Verilog identifier, not {name!r:.40}")
    if name in KEYWORDS | TOOLS | CPP:
        raise ValueError(f"Name of {what} must not be a keyword, {name!r}")
    return name


def free_name(name: str) -> str:
    """The name of a module for what is called ``name``, an identifier: itself, unless it is
    reserved or too long.
    """
    if len(name) > LONGEST or is_reserved(name):
        return f"{name[: LONGEST - len(MEND)]}{MEND}"
    return name
