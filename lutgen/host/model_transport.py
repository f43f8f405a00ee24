"""The engine's model behind its registers: plays jobs where there is no engine."""

from collections.abc import Mapping

import numpy as np

from lutgen.host.model import EngineModel
from lutgen.host.registers import BusError
from lutgen.spec.engine import EngineSpec
from lutgen.spec.engine_registers import COUNTERS, ERRORS, engine_registers
from lutgen.spec.job import Bytes
from lutgen.spec.registers import COUNTER_ENDS, Register

__all__ = ["ModelTransport"]

JOB = ("MODE", "ROWS", "LAST_ROWS", "BLOCKS", "GROUPS", "TILES", "SHIFT", "LOW", "HIGH")


class ModelTransport:
    """A `lutgen.host.transport.Transport` to a model of an engine; `run` there drives it.

    It has no timing: ``CYCLES`` counts steps alone, as ``LOOKUPS`` does, and there are no stalls.

    Parameters
    ----------
    spec : EngineSpec
    """

    def __init__(self, spec: EngineSpec):
        self._model = EngineModel(spec)
        self._map = engine_registers(spec)
        self._words = {each.name: each.pack({}) for each in self._map.registers}
        self._packets: dict[str, Bytes] = {}

    async def read(self, address: int) -> int:
        """See `Transport`; BusError where there is no register."""
        return self._words[self._register(address).name]

    async def write(self, address: int, value: int) -> None:
        """See `Transport`; BusError where the engine would answer SLVERR."""
        register = self._register(address)
        if not register.accepts(value, busy=bool(self._get("STATUS")["busy"])):
            raise BusError(f"register {register.name} refuses 0x{value:08x}")
        if register.name == "CONTROL":
            fields = register.unpack(value)
            if fields["start"]:
                self._set("STATUS", busy=1)
                self._set("ERROR")
            if fields["abort"] and self._get("STATUS")["busy"]:
                self._end(("aborted",), 0)
        elif register.name == "INTERRUPT_STATUS":
            self._words[register.name] &= ~value
        else:
            self._words[register.name] = value

    async def begin(self, packets: Mapping[str, Bytes], room: int) -> None:
        """See `Transport`."""
        self._packets = {name: np.array(packet) for name, packet in packets.items()}

    async def finish(self) -> Bytes:
        """See `Transport`."""
        if not self._get("STATUS")["busy"]:
            raise TimeoutError("the engine was not started")
        try:
            outcome = self._model.run({name: self._get(name) for name in JOB}, self._packets)
        except ValueError as error:
            raise TimeoutError(str(error)) from error
        self._packets = {}
        self._end(outcome.errors, outcome.lookups)
        return outcome.results

    async def cancel(self) -> None:
        """See `Transport`."""
        self._packets = {}

    def _register(self, address: int) -> Register:
        register = self._map.at(address)
        if register is None:
            raise BusError(f"there is no register at 0x{address:03x}")
        return register

    def _get(self, name: str) -> dict[str, int]:
        return self._map[name].unpack(self._words[name])

    def _set(self, name: str, **fields: int) -> None:
        self._words[name] = self._map[name].pack(fields)

    def _end(self, errors: tuple[str, ...], lookups: int) -> None:
        """What a job's end leaves in the registers."""
        self._set("STATUS", done=1, error=int(bool(errors)))
        self._set("ERROR", **dict.fromkeys(errors, 1))
        self._set("INTERRUPT_STATUS", done=1)
        assert set(errors) <= set(ERRORS)
        for name in COUNTERS:
            count = lookups if name in ("CYCLES", "LOOKUPS") else 0
            for number, end in enumerate(COUNTER_ENDS):
                self._words[name + end] = count >> 32 * number & 0xFFFFFFFF
