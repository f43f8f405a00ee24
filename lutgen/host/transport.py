"""What carries a job to an engine: registers and packets. Simulators, boards and models have one
each.
"""

from collections.abc import Coroutine, Mapping
from typing import Any, Protocol, TypeVar

from lutgen.host.registers import Bus
from lutgen.spec.job import Bytes

__all__ = ["Transport", "run"]

Result = TypeVar("Result")


class Transport(Bus, Protocol):
    """The way to an engine: a bus with its registers from address 0, and its streams.

    The methods are coroutines so that the same player runs inside a simulator. Where nothing ever
    has to wait for an event loop, as on memory-mapped devices, `run` drives them from plain code.
    """

    async def begin(self, packets: Mapping[str, Bytes], room: int) -> None:
        """Gets ready to receive one packet of at most ``room`` bytes on ``results``, and only then
        begins to send a packet on each channel named in ``packets``: ``activations``,
        ``centroids``, ``tables``. Waits for none of them: the engine takes nothing before its
        start, which comes next.

        Every packet is whole beats, and its last beat has ``tlast``.
        """
        ...

    async def finish(self) -> Bytes:
        """Waits until the packets have been sent and the result packet has come; gives its bytes,
        as many as came up to ``tlast``.

        Raises
        ------
        TimeoutError
            If it takes too long; the text says what is still under way. What is too long is the
            transport's to know.
        """
        ...

    async def cancel(self) -> None:
        """Forgets the packets under way, once the engine is idle after an abort: the next ones
        begin anew. Until then the receiver goes on to take the packet of results.
        """
        ...


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine gives that never waits for an event loop.

    Raises
    ------
    RuntimeError
        If it waits for one after all.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    coroutine.close()
    raise RuntimeError(
        "The coroutine waits for an event loop; run it in one, as asyncio.run() does"
    )
