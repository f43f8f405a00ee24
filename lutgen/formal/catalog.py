"""All proofs, part by part."""

from collections.abc import Callable
from dataclasses import dataclass

from lutgen.formal.axilite import AxiLiteProof
from lutgen.formal.crossing import CrossingProof
from lutgen.formal.drain import DrainProof, OneClockProof
from lutgen.formal.fifo import FifoProof
from lutgen.formal.harness import Proof
from lutgen.formal.index_buffer import IndexBufferProof
from lutgen.formal.intake import IntakeProof
from lutgen.formal.lines import LineBufferProof
from lutgen.formal.packet import PacketProof
from lutgen.formal.pingpong import PingPongProof
from lutgen.formal.port import PortProof
from lutgen.formal.ring import LedgerProof
from lutgen.formal.stream import RegrouperProof
from lutgen.numeric import Format, Grid
from lutgen.spec.crossing import CrossingSpec
from lutgen.spec.fifo import FifoSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.ring import RingSpec, WalkSpec
from lutgen.spec.stream import RegrouperSpec
from lutgen.spec.window import WindowSpec

__all__ = ["CASES", "Case", "small_layer"]


@dataclass(frozen=True)
class Case:
    """One proof.

    Parameters
    ----------
    part : str
        A key of `lutgen.formal.claims.CLAIMS`.
    shape : str
        Which shape of the part it is about.
    make : callable() -> Proof
    quick : bool
        Whether the test suite runs it; the rest is for ``lutgen prove``.
    """

    part: str
    shape: str
    make: Callable[[], Proof]
    quick: bool = False

    @property
    def name(self) -> str:
        """Part and shape."""
        return f"{self.part} {self.shape}"


def small_layer(inputs: int, outputs: int, **changes) -> LinearSpec:
    """A lookup layer with small indices."""
    fields = {
        "in_features": inputs,
        "out_features": outputs,
        "element": Format(4, False),
        "subvec": 1,
        "centroids": 3,
        "metric": "l1",
        "grid": Grid("int", 4),
        "acc": Format(12, True),
        "shift": 0,
        "output": None,
    }
    return LinearSpec(**{**fields, **changes})


def _fifos():
    for depth in (1, 2, 3, 4, 5, 6, 9, 12):
        yield Case(
            "fifo",
            f"depth={depth} {'memory' if FifoSpec(2, depth).in_memory else 'registers'}",
            lambda depth=depth: FifoProof(FifoSpec(2, depth)),
            depth in (2, 5),
        )


def _regroupers():
    shapes = [(1, 1, 1), (3, 3, 8), (3, 5, 2), (7, 1, 4), (7, 4, 1), (8, 4, 4), (10, 3, 4)]
    shapes += [(9, 6, 4), (12, 4, 6), (7, 1, 4, 3), (9, 6, 4, 2)]
    for shape in shapes:
        items, i_items, o_items, *hold = shape
        yield Case(
            "regrouper",
            f"items={items} {i_items}->{o_items}{' registered' if hold else ''}",
            lambda shape=shape: RegrouperProof(RegrouperSpec(*shape)),
            shape == (9, 6, 4, 2),
        )


def _index_buffers():
    layers = [
        small_layer(3, 2),
        small_layer(2, 3),
        small_layer(1, 2),
        small_layer(4, 3, fan_in=2, lanes=2),
        small_layer(2, 2, metric="digit", centroids=4),
    ]
    for spec in layers:
        yield Case(
            "index_buffer",
            f"groups={spec.groups} tiles={spec.tiles} slots={spec.index_slots}"
            f"{' digit' if spec.metric == 'digit' else ''}",
            lambda spec=spec: IndexBufferProof(spec),
            spec is layers[0],
        )


def _ledgers():
    windows = [
        WindowSpec(3, 3, (2, 2), (1, 1)),
        WindowSpec(4, 4, (3, 3), (1, 1), (1, 1, 1, 1)),
        WindowSpec(5, 3, (3, 3), (2, 2), (1, 1, 1, 1)),
        WindowSpec(5, 4, (1, 1), (2, 2)),
        WindowSpec(6, 5, (2, 2), (3, 3)),
        WindowSpec(1, 1, (3, 3), (1, 1), (1, 1, 1, 1)),
        WindowSpec(4, 4, (4, 4), (1, 1)),
        WindowSpec(3, 4, (3, 2), (1, 3), (2, 1, 0, 1)),
    ]
    for window in windows:
        for rows in sorted({RingSpec.least_rows(window), RingSpec.ample_rows(window)}):
            kernel, stride, pad = (
                ",".join(map(str, each)) for each in (window.kernel, window.stride, window.pad)
            )
            yield Case(
                "ledger",
                f"image={window.height}x{window.width} kernel={kernel} stride={stride} "
                f"pad={pad} rows={rows}",
                lambda window=window, rows=rows: LedgerProof(RingSpec(window, 1, rows)),
                window is windows[1] and rows == 3,
            )


def _lines():
    # Depths of the memory are no powers of two: the last address is one past the last row.
    shapes = [
        (WindowSpec(3, 3, (2, 2), (1, 1)), 1, 2, 1, False),
        (WindowSpec(3, 3, (2, 2), (1, 1), (1, 1, 0, 0)), 2, 3, 1, False),
        (WindowSpec(3, 3, (2, 2), (2, 2)), 2, 3, 2, True),
        (WindowSpec(3, 2, (3, 2), (1, 1), (1, 1, 1, 0)), 1, 5, 2, False),
    ]
    for window, words, rows, outer, apart in shapes:
        walk = WalkSpec(RingSpec(window, words, rows), outer, apart)
        kernel, stride, pad = (
            ",".join(map(str, each)) for each in (window.kernel, window.stride, window.pad)
        )
        yield Case(
            "lines",
            f"image={window.height}x{window.width} kernel={kernel} stride={stride} pad={pad} "
            f"depth={walk.ring.depth} turns={outer}{' apart' if apart else ''}",
            lambda walk=walk: LineBufferProof(walk),
            words == 1 and outer == 1,
        )


def _ports():
    shapes = [(1, 1, 1, 0), (1, 1, 3, 0), (2, 1, 2, 0), (3, 2, 2, 0), (4, 1, 4, 0)]
    shapes += [(3, 1, 3, 5), (2, 3, 1, 2), (1, 2, 2, 3)]
    for shape in shapes:
        beats, results, samples, pace = shape
        yield Case(
            "port",
            f"beats={beats} results={results} samples={samples} pace={pace}",
            lambda shape=shape: PortProof(*shape),
            shape == (3, 1, 3, 5),
        )


def _crossings():
    for depth in (2, 4, 8):
        yield Case(
            "crossing",
            f"depth={depth}",
            lambda depth=depth: CrossingProof(CrossingSpec(2, depth)),
            depth == 4,
        )


def _drains():
    yield Case("drain", "one clock", OneClockProof, True)
    for depth in (2, 4):
        yield Case(
            "drain",
            f"depth={depth}",
            lambda depth=depth: DrainProof(CrossingSpec(1, depth)),
            depth == 2,
        )


def _intakes():
    for buffer, words in ((8, 0), (8, 1), (16, 1)):
        yield Case(
            "intake",
            f"buffer={buffer}{' loadable' if words else ''}",
            lambda buffer=buffer, words=words: IntakeProof(buffer, words),
            (buffer, words) == (8, 0),
        )


def _pingpongs():
    for drain in (0, 1, 3):
        yield Case(
            "pingpong", f"drain={drain}", lambda drain=drain: PingPongProof(drain), drain == 1
        )


CASES = (
    *_fifos(),
    *_regroupers(),
    *_index_buffers(),
    *_ledgers(),
    *_lines(),
    *_ports(),
    Case("axilite", "5 registers of all kinds", AxiLiteProof, True),
    *_crossings(),
    *_drains(),
    Case("packet", "1 lane, 3 rows", PacketProof, True),
    *_intakes(),
    *_pingpongs(),
)
