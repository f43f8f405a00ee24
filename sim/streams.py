"""AXI4-Stream ends for one core: source and sink of cocotbext-axi with seeded gaps, and the rules
of the protocol.
"""

import logging
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

# cocotbext-axi 0.1.28 is written for cocotb 1 and works with 2 through names that are on their way
# out.
warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"cocotbext\.axi")

STALLS = (1, 1, 1, 2, 3, 7)


class PortBus(AxiStreamBus):
    """The signals of one stream, taken by name: the stock look-up walks over all names of the
    design for each.
    """

    def _caseInsensGetattr(self, obj: Any, attr: str) -> Any:  # noqa: N802  (cocotb-bus calls it)
        return getattr(obj, attr, None)


class DefinedSource(AxiStreamSource):
    """A source that starts with zeros: from X on ``tlast`` a core may make X on ``tready``, which
    stands for nothing in hardware and stops the driver.
    """

    _init_x = False


class Gaps:
    """A pause generator: stalls of mixed lengths that take ``density`` of the cycles, until `stop`.

    Parameters
    ----------
    density : float
        Fraction of stalled cycles, 0 up to less than 1.
    rng : random.Random
        Where the lengths come from.
    """

    def __init__(self, density: float, rng: random.Random) -> None:
        self._density = density
        self._rng = rng
        self._stopped = False

    def stop(self) -> None:
        """Ends the generator at its next turn, with the stream running."""
        self._stopped = True

    def __iter__(self) -> Iterator[bool]:
        mean_stall = sum(STALLS) / len(STALLS)
        mean_run = mean_stall * (1 - self._density) / self._density
        while not self._stopped:
            for paused, mean in ((True, mean_stall), (False, mean_run)):
                length = self._rng.choice(STALLS) * mean / mean_stall
                whole = int(length)
                for _ in range(whole + (self._rng.random() < length - whole)):
                    if self._stopped:
                        break
                    yield paused
        yield False


class Port:
    """What source and sink have in common: one item a beat, quiet logs, gaps that start and end.

    A beat is one "byte" of the driver, as wide as the bus, so that Python's work grows with beats
    and not with bytes.
    """

    def __init__(self, driver: type, dut: Any, name: str, clock: Any) -> None:
        bus = PortBus.from_prefix(dut, name)
        log = logging.getLogger(f"cocotb.{dut._name}.{name}")
        log.setLevel(logging.WARNING)  # it prints every frame, and its own configuration
        self.bus = bus
        self.clock = clock
        self.driver = driver(bus, clock, byte_lanes=1)
        self._gaps: Gaps | None = None

    def start_gaps(self, density: float, rng: random.Random) -> None:
        """Stalls at random from now on; density 0 does nothing."""
        if density > 0:
            self._gaps = Gaps(density, rng)
            self.driver.set_pause_generator(iter(self._gaps))

    def stop_gaps(self) -> None:
        """Runs freely from now on."""
        if self._gaps is not None:
            self._gaps.stop()
            self._gaps = None
        self.driver.pause = False


class Source(Port):
    """Drives frames of beats into a core."""

    def __init__(self, dut: Any, name: str, clock: Any) -> None:
        super().__init__(DefinedSource, dut, name, clock)

    def send(self, beats: list[int]) -> None:
        """Queues one frame; ``tlast`` goes with its last beat."""
        self.driver.send_nowait(AxiStreamFrame(list(beats)))

    def drop(self) -> None:
        """Forgets what is queued."""
        self.driver.clear()

    async def first_beat(self) -> int:
        """Waits for the next beat that the core takes; gives the time of that edge."""
        edge = RisingEdge(self.clock)
        while True:
            await edge
            if self.bus.tvalid.value and self.bus.tready.value:
                return int(get_sim_time("step"))


class Sink(Port):
    """Takes frames of beats from a core, and watches that the core keeps to the protocol."""

    def __init__(self, dut: Any, name: str, clock: Any, complain: Callable[[str], None]) -> None:
        super().__init__(AxiStreamSink, dut, name, clock)
        self._complain = complain
        self._name = name
        self._watch: Any = None

    async def receive(self) -> tuple[list[int], int]:
        """The beats of the next frame and the time of the edge that took the last one."""
        frame = await self.driver.recv(compact=False)
        return list(frame.tdata), int(frame.sim_time_end)

    def count(self) -> int:
        """Frames received and not yet fetched."""
        return int(self.driver.count())

    def drop(self) -> None:
        """Forgets what has been received."""
        self.driver.clear()

    def start_watch(self) -> None:
        """Watches every cycle; a core that is never stalled can't break these rules, so it costs
        time for nothing.
        """
        self._watch = cocotb.start_soon(self._run_watch())

    def stop_watch(self) -> None:
        """Ends the watch."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    async def _run_watch(self) -> None:
        edge = RisingEdge(self.clock)
        valid, ready, data, last = self.bus.tvalid, self.bus.tready, self.bus.tdata, self.bus.tlast
        held = None
        while True:
            await edge
            if not valid.value:
                if held is not None:
                    self._complain(f"{self._name}_tvalid fell before {self._name}_tready came")
                held = None
            elif ready.value and held is None:
                continue
            else:
                payload = (str(data.value), str(last.value))
                if held is not None and payload != held:
                    self._complain(f"{self._name} payload changed while it waited for tready")
                held = None if ready.value else payload
