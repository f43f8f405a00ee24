"""The memories of a core: what each holds, its shape, and how it is read and written."""

from collections.abc import Iterator
from dataclasses import dataclass

from lutgen.numeric import as_int
from lutgen.spec.conv import Conv2dSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.network import Edge, NetworkSpec, Stage
from lutgen.spec.pointwise import MapSpec
from lutgen.spec.pool import PoolSpec
from lutgen.spec.slide import EncodeSpec, SlideSpec

__all__ = [
    "KINDS",
    "MemorySpec",
    "encoder_memories",
    "feed_memories",
    "matcher_memories",
    "network_memories",
    "queue_memory",
    "stage_memories",
]

KINDS = ("rom", "ram", "buffer")


@dataclass(frozen=True)
class MemorySpec:
    """Some memories of one shape.

    Parameters
    ----------
    name : str
        What they hold: ``table``, ``codebook``, ``bias``, ``grid``, ``map``, ``index_buffer``,
        ``line_buffer`` or ``queue``.
    depth, width : int
        Rows, at least two, and bits of a row.
    kind : str
        ``rom``; ``ram``, never read and written in the same cycle; ``buffer``, read and written at
        once.
    count : int
        How many of them there are.
    """

    name: str
    depth: int
    width: int
    kind: str
    count: int = 1

    def __post_init__(self) -> None:
        as_int(self.depth, "Depth of a memory", low=2)
        as_int(self.width, "Width of a memory", low=1)
        as_int(self.count, "Count of memories", low=1)
        if self.kind not in KINDS:
            raise ValueError(f"Kind of a memory must be one of {', '.join(KINDS)}")

    @property
    def key(self) -> tuple[str, int, int]:
        """What decides its form: kind, depth, width."""
        return self.kind, self.depth, self.width

    @property
    def bits(self) -> int:
        """Bits of all of them."""
        return self.count * self.depth * self.width


def _some(name: str, depth: int, width: int, kind: str, count: int = 1) -> Iterator[MemorySpec]:
    """A memory, unless one row is enough: that is a constant or a register."""
    if depth > 1 and width > 0 and count > 0:
        yield MemorySpec(name, depth, width, kind, count)


def encoder_memories(row: LinearSpec) -> Iterator[MemorySpec]:
    """Codebooks."""
    encoder = row.encoder
    if row.has_encoders:
        bits = row.codebook_bits // (row.fan_in * row.groups * encoder.interval)
        depth = row.groups * encoder.interval
        yield from _some("codebook", depth, bits, row.memory, row.fan_in)


def matcher_memories(row: LinearSpec) -> Iterator[MemorySpec]:
    """Tables, the grid's decoders, biases."""
    bank, grid = row.bank, row.grid
    yield from _some("table", bank.depth, bank.row_bits, row.memory, row.fan_in)
    if grid.kind != "int":
        count = row.fan_in * row.lanes
        yield from _some("grid", grid.codes, bank.value.bits, "rom", count)
    yield from _some("bias", row.tiles, row.lanes * row.acc.bits, row.memory)


def feed_memories(spec: Conv2dSpec | PoolSpec | SlideSpec) -> Iterator[MemorySpec]:
    """Line buffers: one memory, or one for each image row."""
    if isinstance(spec, SlideSpec):
        width, rows = spec.window.width, spec.ring.rows
        yield from _some("line_buffer", width, spec.word_bits, "buffer", rows)
        return
    yield from _some("line_buffer", spec.ring.depth, spec.word_bits, "buffer")


def stage_memories(stage: Stage) -> Iterator[MemorySpec]:
    """All of a stage's own, without the queues behind it."""
    spec, row = stage.spec, stage.row
    if row is not None:
        yield from matcher_memories(row)
        yield from encoder_memories(row)
        if row.buffered and not (isinstance(spec, Conv2dSpec) and spec.encode == "pixel"):
            yield from _some("index_buffer", row.index_rows, row.fan_in * row.code_bits, "buffer")
    if isinstance(spec, EncodeSpec):
        yield from encoder_memories(spec.row)
    if isinstance(spec, Conv2dSpec | PoolSpec | SlideSpec):
        yield from feed_memories(spec)
    if isinstance(spec, MapSpec):
        yield from _some("map", spec.depth, spec.output.bits, "rom", stage.o.lanes)


def queue_memory(edge: Edge) -> Iterator[MemorySpec]:
    """A queue's, where it has one."""
    yield from _some("queue", edge.fifo.memory_rows, edge.fifo.width, "buffer")


def network_memories(
    spec: NetworkSpec, *, loadable_maps: bool = False
) -> Iterator[tuple[str, MemorySpec]]:
    """Every memory with its stage; a queue belongs to the stage that reads it."""
    for stage in spec.stages:
        for memory in stage_memories(stage):
            if memory.name == "map" and loadable_maps:
                memory = MemorySpec("map", memory.depth, memory.width, "ram", memory.count)
            yield stage.name, memory
    for edge in spec.edges:
        for memory in queue_memory(edge):
            yield edge.target, memory
