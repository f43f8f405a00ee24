"""From a component to Verilog text, with tables in memory modules written from `rtl_templates/`.

Amaranth's own path costs some microseconds for every bit of contents; a table of ten million
entries would take minutes. Here `Store` asks the platform for its memory, gets an instance of a
module that this file writes as text, and the rest goes through Amaranth as usual. Amaranth's
simulator has no platform and takes Amaranth's memories.
"""

import re
from collections.abc import Mapping

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Signal
from amaranth.lib import wiring

from lutgen import resources
from lutgen.gateware import yosys
from lutgen.spec.names import TOOLS
from lutgen.spec.target import FORMS, Form

__all__ = ["Shared", "VerilogPlatform", "convert"]

# yosys takes time quadratic in the statements of one initial block.
BLOCK_ROWS = 32

# A declaration of no bits: which element of one. Whatever used it, yosys has left out.
EMPTY = re.compile(r"^ *(?:wire|reg) \[-1:0\] .*\n", re.MULTILINE)
ESCAPED = re.compile(r"\\\S+\[\d+\]\S* ")  # an escaped identifier ends at a blank


class VerilogPlatform:
    """Gathers the memory modules of one conversion.

    Parameters
    ----------
    prefix : str
        Of the modules' names.
    forms : mapping of `MemorySpec.key` to Form or None
        What synthesis is told to make of each memory.
    """

    def __init__(self, prefix: str, forms: Mapping[tuple[str, int, int], Form] | None = None):
        self.prefix = prefix
        self._forms = forms or {}
        self.modules: list[str] = []
        self._shared: dict[object, str] = {}

    def shared(self, make, key) -> str:
        """The name of the module that is what ``make`` makes, written for the first of its
        ``key``.
        """
        if key not in self._shared:
            self._shared[key] = f"{self.prefix}_part_{len(self._shared)}"
            text = rtlil.convert(make(), name=self._shared[key], platform=self)
            self.modules.append(yosys.write_verilog(text))
        return self._shared[key]

    def store(self, store):
        """The instance that stands for a `lutgen.gateware.memory.Store` of more than one row."""
        name = f"{self.prefix}_memory_{len(self.modules)}"
        fields = {
            "name": name,
            "depth": store.depth,
            "width": store.width,
            "addr_bits": len(store.addr),
            "two_clocks": store.load_domain != store.domain,
            "spare": store.spare,
            "writable": store.rows is None,
        }
        kind = "buffer" if store.both else "ram" if store.rows is None else "rom"
        fields["kind"] = kind
        form = self._forms.get((kind, store.depth, store.width))
        fields["style"] = None if form is None else FORMS[form.name]
        if store.rows is not None:
            digits = -(-store.width // 4)
            rows = [
                f"rows[{number}] = {store.width}'h{row:0{digits}x};"
                for number, row in enumerate(store.rows)
            ]
            fields["blocks"] = [
                resources.Text("\n        ".join(rows[i : i + BLOCK_ROWS]))
                for i in range(0, len(rows), BLOCK_ROWS)
            ]
        self.modules.append(resources.render(store.template, **fields))
        read, *_ = store.ports()
        ports = {
            "i_clk": ClockSignal(store.domain),
            "i_en": read.en,
            "i_addr": read.addr,
            "o_data": store.data,
        }
        if store.rows is None:
            ports |= {
                "i_load_en": store.load.en,
                "i_load_addr": store.load.addr,
                "i_load_data": store.load.data,
            }
        if fields["two_clocks"]:
            ports["i_load_clk"] = ClockSignal(store.load_domain)
        return Instance(name, **ports)


class Shared(wiring.Component):
    """A component that is written to the Verilog once, however many of it there are.

    Parameters
    ----------
    signature : Signature
        Of the component: plain signals.
    make : callable() -> Component
        Its clock domain is ``sync``, with a reset.
    key : hashable
        Components with the same key are the same.

    Members
    -------
    Those of the signature.
    """

    def __init__(self, signature, make, key):
        self.make = make
        self.key = key
        super().__init__(signature)

    def elaborate(self, platform):
        if platform is None or not hasattr(platform, "shared"):
            m = Module()
            m.submodules.part = part = self.make()
            wiring.connect(m, wiring.flipped(self), part)
            return m
        ports = {}
        for name, member in self.signature.members.items():
            value = getattr(self, name)
            value = value if isinstance(value, Signal) else value.as_value()
            ports[f"{'o' if member.flow is wiring.Out else 'i'}_{name}"] = value
        return Instance(
            platform.shared(self.make, self.key),
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            **ports,
        )


def convert(component, name: str, forms: Mapping[tuple[str, int, int], Form] | None = None) -> str:
    """Verilog of a component; the same text on every run of the same tools. ``forms`` as in
    `VerilogPlatform`.
    """
    platform = VerilogPlatform(name, forms)
    text = yosys.write_verilog(rtlil.convert(component, name=name, platform=platform))
    text = EMPTY.sub("", "\n".join([text, *platform.modules]))
    return without_brackets(with_escapes(text))


def with_escapes(text: str) -> str:
    r"""Verilog in which names that only some tool has for a keyword, such as Icarus ``bool``, are
    escaped, as yosys escapes those that the standard has.
    """
    words = [word for word in sorted(TOOLS) if word in text]
    if not words:
        return text
    # Escaped names and comments stay as they are.
    pattern = re.compile(rf"\\\S+|/\*.*?\*/|//.*|(?<![\w$])(?:{'|'.join(words)})(?![\w$])")
    return pattern.sub(lambda found: f"\\{found[0]} " if found[0] in TOOLS else found[0], text)


def without_brackets(text: str) -> str:
    r"""Verilog in which elements of an array are named ``\a.3`` and not ``\a[3]``.

    Amaranth gives every element of an array a name beside the array's own. yosys' abc9 tells a wire
    ``\a[3]`` from bit 3 of ``\a`` by nothing, and stumbles where both are there.
    """
    return ESCAPED.sub(lambda name: name[0].replace("[", ".").replace("]", ""), text)
