"""The way to a simulated engine: AXI4-Lite and four AXI4-Streams of cocotbext-axi."""

import logging
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
from cocotb.triggers import RisingEdge, SimTimeoutError, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp
from streams import Gaps, Sink, Source

from lutgen.host.registers import BusError
from lutgen.spec.engine import EngineSpec
from lutgen.spec.job import Bytes

__all__ = ["SimTransport", "beats_of"]

CHANNELS = {"activations": "a_axis", "centroids": "c_axis", "tables": "t_axis"}
LINGER = 1000  # cycles that a packet may last longer than the results
PATIENCE_NS = 50_000_000  # until a job counts as stuck; the longest here take a tenth of it


class LiteBus(AxiLiteBus):
    """The signals of AXI4-Lite, taken by name: see `streams.PortBus`."""


def beats_of(packet: Bytes, size: int) -> list[int]:
    """The beats of a packet, as integers."""
    raw = packet.tobytes()
    return [int.from_bytes(raw[k : k + size], "little") for k in range(0, len(raw), size)]


class SimTransport:
    """See `lutgen.host.transport.Transport`.

    Parameters
    ----------
    dut : handle
        The engine.
    spec : EngineSpec
    gaps : float
        Fraction of cycles in which each channel stalls; 0 for none.
    rng : random.Random
    complain : callable(str)
        Is told where the engine breaks a rule of AXI4-Stream.
    """

    def __init__(self, dut: Any, spec: EngineSpec, gaps: float, rng: random.Random, complain: Any):
        self.spec = spec
        self.clock = dut.clk
        side = dut.enc_clk if spec.two_clocks else dut.clk
        clocks = {"activations": side, "centroids": side, "tables": dut.clk}
        self.sources = {key: Source(dut, name, clocks[key]) for key, name in CHANNELS.items()}
        self.sink = Sink(dut, "m_axis", dut.clk, complain)
        self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk)
        self.sizes = {
            "activations": spec.activation.beat,
            "centroids": spec.centroid.beat,
            "tables": spec.table.beat,
        }
        for port in (*self.sources.values(), self.sink):
            port.driver.log.setLevel(logging.ERROR)  # it prints every packet that is cancelled
            port.start_gaps(gaps, random.Random(rng.getrandbits(64)))
        if gaps:
            reader, writer = self.lite.read_if, self.lite.write_if
            for channel in (
                writer.aw_channel,
                writer.w_channel,
                writer.b_channel,
                reader.ar_channel,
                reader.r_channel,
            ):
                channel.set_pause_generator(iter(Gaps(gaps, random.Random(rng.getrandbits(64)))))
            self.sink.start_watch()

    async def read(self, address: int) -> int:
        """A register's word."""
        answer = await self.lite.read(address, 4)
        if answer.resp != AxiResp.OKAY:
            raise BusError(f"read of 0x{address:x} was refused")
        return int.from_bytes(answer.data, "little")

    async def write(self, address: int, value: int) -> None:
        """Writes a register."""
        answer = await self.lite.write(address, (value & 0xFFFFFFFF).to_bytes(4, "little"))
        if answer.resp != AxiResp.OKAY:
            raise BusError(f"write of 0x{value:x} to 0x{address:x} was refused")

    async def begin(self, packets: Mapping[str, Bytes], room: int) -> None:
        """Queues a packet on each channel."""
        for key, packet in packets.items():
            self.sources[key].send(beats_of(packet, self.sizes[key]))

    async def finish(self) -> Bytes:
        """The result packet."""
        try:
            frame, _ = await with_timeout(self.sink.receive(), PATIENCE_NS, "ns")
        except SimTimeoutError:
            raise TimeoutError("no result packet has come") from None
        size = self.spec.result.beat
        raw = b"".join(beat.to_bytes(size, "little") for beat in frame)
        edge = RisingEdge(self.clock)
        for key, source in self.sources.items():
            for _ in range(LINGER):
                if source.driver.idle():
                    break
                await edge
            else:
                raise TimeoutError(f"the packet of {key} has not been taken")
        return np.frombuffer(raw, dtype=np.uint8).copy()

    async def cancel(self) -> None:
        """Forgets what is queued, and the packet that has begun, as a reset of a DMA does."""
        for source in self.sources.values():
            source.drop()
            source.driver.assert_reset()
