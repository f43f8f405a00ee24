"""Samples through a simulated board over a line that loses, bends, cuts, lengthens, repeats and
holds back frames, both ways: every result must be golden's, in order; for soak.py.
"""

import time
from pathlib import Path

import numpy as np

import lutgen
from lutgen.errors import LutgenError
from lutgen.flows.badline import BadLine, FrameFaults
from lutgen.flows.boardsim import Faults, SimulatedBoard
from lutgen.gateware.link import board_core
from lutgen.host.bytes_transport import Transport
from lutgen.host.link import Board
from lutgen.host.link_job import pack, unpack
from lutgen.host.terminal import Terminal
from lutgen.model import Activation, LutLinear, Model
from lutgen.numeric import Grid
from lutgen.spec.encoder import DigitSpec

TOTAL = 2**18
CHUNK = 2**18  # in one run, and more than 2 ** 17: numbers of results outgrow 16 bits

CLOCK_HZ = 12_000_000
FEATURES, BITS = 2, 4
FRAMES = FrameFaults(
    drop=0.003, truncate=0.003, lengthen=0.003, corrupt=0.003, repeat=0.01, delay=0.01
)
BYTES = Faults(drop=1e-5, flip=1e-5, extra=1e-5)
SESSION_BYTES = 3 * 2**17  # so that a run has more than one
SECONDS = 3600.0  # that a run may take on a busy machine


def model() -> Model:
    """A layer so small that the line is all there is; no two samples have the same result."""
    wire = Activation(BITS, False, 1.0)
    groups = FEATURES * DigitSpec(wire.format, 16).digits
    table = np.zeros((groups, 16, 1), dtype=np.int64)
    table[0, :, 0] = np.arange(16)
    table[groups // FEATURES, :, 0] = 16 * np.arange(16)
    layer = LutLinear(
        name="sum",
        inputs=("input",),
        in_features=FEATURES,
        out_features=1,
        subvec=1,
        centroids=16,
        metric="digit",
        grid=Grid("int", 10),
        shift=0,
        output=None,
        table=table,
        bias=np.zeros(1, dtype=np.int64),
        codebooks=None,
    )
    return Model("soak_line", (FEATURES,), wire, (layer,))


class Bounded:
    """A transport that is gone after some time, so that nothing runs for ever."""

    def __init__(self, transport: Transport, seconds: float) -> None:
        self._transport, self._end = transport, time.monotonic() + seconds

    def read(self, timeout: float) -> bytes:
        """See `lutgen.host.bytes_transport.Transport`."""
        if time.monotonic() > self._end:
            raise OSError("the run has no end")
        return self._transport.read(timeout)

    def write(self, data: bytes) -> None:
        """See `lutgen.host.bytes_transport.Transport`."""
        self._transport.write(data)

    def close(self) -> None:
        """See `lutgen.host.bytes_transport.Transport`."""
        self._transport.close()


def soak(first: int, count: int, seed: int, folder: Path) -> tuple[dict[str, int], list[str]]:
    """Sends samples, and compares what comes back.

    Parameters
    ----------
    first, count : int
        Which samples, of a sequence that the seed gives.
    seed : int
    folder : Path
        For files; none is left there.

    Returns
    -------
    counts : dict
        Samples, damaged frames by kind, and what was sent again.
    failures : list of str
        What went wrong; empty where nothing did.
    """
    net = model()
    x = np.random.default_rng((seed, first)).integers(0, 1 << BITS, (count, FEATURES))
    want = net.run(x)["sum"]
    core = lutgen.build(net)
    board = board_core(core.verilog, core.contract, clock_hz=CLOCK_HZ, baud=CLOCK_HZ // 4)
    samples = pack(x, core.contract["input"])
    failures: list[str] = []
    counts = {"samples": count}
    with SimulatedBoard(board, faults=BYTES, seed=seed) as simulated:
        line = BadLine(Bounded(Terminal(simulated.path), SECONDS), FRAMES, seed + first)
        try:
            with Board(
                line,
                core.contract,
                where="line",
                patience=120,
                retry=0.1,
                session_bytes=SESSION_BYTES,
            ) as driver:
                got = unpack(driver.run(samples), core.contract["output"])
                counters = driver.counters()
                counts["sessions"] = driver.sessions
                counts["bytes_sent_again"] = driver.resent
                counts["samples_sent_again"] = driver.repeated
                counts["broken_frames_seen"] = counters["link_errors"]
                if counters["results"] != count + driver.repeated:
                    failures.append(
                        f"the board counts {counters['results']} results of {count} samples and "
                        f"{driver.repeated} that were sent again"
                    )
        except LutgenError as error:
            failures.append(str(error))
        else:
            wrong = np.flatnonzero((got != want).any(axis=1))
            if len(wrong):
                failures.append(
                    f"{len(wrong)} of {count} results are wrong, the first that of sample "
                    f"{first + int(wrong[0])}"
                )
    counts["bytes_damaged"] = simulated.said.get("faults", 0)
    counts |= {f"frames_{kind}": number for kind, number in sorted(line.counts.items())}
    return counts, failures
