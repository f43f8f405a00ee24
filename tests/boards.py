"""A board in Python, for the host's side: the protocol of docs/link-protocol.md, a core that is a
function, a line that loses, bends and adds bytes, and a clock that runs as fast as it is looked at.
"""

import numpy as np

from lutgen.spec.link_frames import (
    Command,
    Counters,
    Deframer,
    Flags,
    Result,
    Status,
    frame,
)

OFFSETS, TAKEN = (1 << 24) - 1, 0xFFFF


def double(sample):
    """What the core computes: of the sum of its bytes the double, in 32 bits."""
    return (2 * sum(sample)).to_bytes(4, "little")


class Line:
    """Bytes on their way, with faults."""

    def __init__(self, rng, rate):
        self.rng, self.rate, self.faults = rng, rate, 0

    def __call__(self, data):
        if not self.rate:
            return data
        out = bytearray()
        for byte in data:
            kind = self.rng.random() / self.rate
            self.faults += kind < 3
            if kind < 1:
                continue
            out.append(byte ^ (1 << int(self.rng.integers(8))) if kind < 2 else byte)
            if 2 <= kind < 3:
                out.append(int(self.rng.integers(256)))
        return bytes(out)


class ModelBoard:
    """A transport that ends in a board.

    Parameters
    ----------
    spec : LinkSpec
    rng : Generator
    rate : float
        Chance of each kind of fault, of a byte, either way.
    compute : callable
        The core.
    """

    def __init__(self, spec, rng, rate=0.0, compute=double):
        self.spec, self.rng, self.compute = spec, rng, compute
        self.inward, self.outward = Line(rng, rate), Line(rng, rate)
        self.now, self.closed, self.gone = 0.0, False, None
        self.info, self.session, self.cycles, self.flags = spec.info, 0, 0, set()
        self.image_word, self.errors_said = None, []
        self.deframer = Deframer(spec.buffer + 100)
        self.out = bytearray()
        self.forget()

    def forget(self):
        self.expected = self.taken = self.results = self.errors = 0
        self.buffer, self.waiting, self.image, self.kind = bytearray(), [], b"", None
        self.flags -= {Flags.LOADED}
        self.image_word = 0
        self.busy = 0

    # The transport.

    def clock(self):
        return self.now

    def close(self):
        self.closed = True

    def write(self, data):
        if self.gone == "write":
            raise OSError(5, "Input/output error")
        before = self.deframer.errors
        bodies = self.deframer.push(self.inward(data))
        self.errors += self.deframer.errors - before
        if self.deframer.errors != before:
            self.say_status()
        for body in bodies:
            self.handle(body)

    def read(self, timeout):
        if self.gone == "read":
            raise OSError(5, "Input/output error")
        self.work()
        if not self.out:
            self.now += max(timeout, 0.001)
            return b""
        self.now += 0.0001
        count = int(self.rng.integers(1, 100))
        data, self.out = bytes(self.out[:count]), self.out[count:]
        return data

    # The board.

    def say(self, body):
        self.out += self.outward(frame(body))

    def say_status(self):
        flags = sum(1 << flag for flag in self.flags)
        counts = (self.results, self.taken & TAKEN, self.expected)
        self.say(Status(self.session, *counts, flags, self.errors & 0xFF).body)

    def handle(self, body):
        kind, session = body[0], int.from_bytes(body[1:3], "little")
        argument, payload = int.from_bytes(body[3:6], "little"), body[6:]
        if len(body) < (3 if kind < Command.COUNTERS else 6) or kind not in iter(Command):
            self.errors += 1
        elif kind == Command.INFO:
            return self.say(self.info.body)
        elif kind == Command.COUNTERS and session == self.session:
            self.cycles += 3_000_000_000  # wraps at once
            counts = (self.cycles & 0xFFFFFFFF, self.busy, self.busy // 2)
            return self.say(Counters(self.session, argument, *counts, self.image_word).body)
        elif kind == Command.STATUS or session != self.session:
            pass
        elif kind == Command.RESET:
            self.forget()
            self.session = argument & 0xFFFF
        elif argument == self.expected:
            assert len(self.buffer) + len(payload) <= self.spec.window, "more than there is room"
            assert not self.buffer or kind == self.kind, "samples and tables mixed"
            self.kind = kind
            self.buffer += payload
            self.expected += len(payload)
            assert self.expected <= OFFSETS, "an offset twice in a session"
        return self.say_status()

    def work(self):
        """Now and then takes some of what is there."""
        if not self.buffer or self.rng.random() < 0.3:
            return
        count = int(self.rng.integers(1, len(self.buffer) + 1))
        part, self.buffer = bytes(self.buffer[:count]), self.buffer[count:]
        self.taken += count
        if self.kind == Command.TABLES:
            self.image += part
            if len(self.image) == 4 * self.spec.load_words:
                self.image_word = int.from_bytes(self.image[-4:], "little")
                self.flags |= {Flags.LOADED}
        else:
            self.waiting += part
            while len(self.waiting) >= self.spec.sample_bytes:
                sample = self.waiting[: self.spec.sample_bytes]
                self.waiting = self.waiting[self.spec.sample_bytes :]
                self.say(Result(self.session, self.results, self.compute(sample)).body)
                self.results += 1
                self.busy += 100
        if self.rng.random() < 0.5 or not self.buffer:
            self.say_status()


def contract(*, beats=5, lanes=2, words=0, name="core", model="net"):
    """The contract of a core whose samples are bytes and whose results are 32 bits."""
    port = {"bits": 8, "signed": False, "lane_bits": 8, "beats": beats, "lanes": lanes}
    return {
        "name": name,
        "clock": "clk",
        "reset": "rst",
        "model": {"name": model, "sha256": "0" * 64},
        "input": {**port, "port": "s_axis", "elements": beats * lanes, "shape": [beats * lanes]},
        "output": {
            **port,
            "port": "m_axis",
            "kind": "accumulators",
            "elements": 1,
            "lanes": 1,
            "beats": 1,
            "lane_bits": 32,
        },
        "load": {"port": "l_axis", "words": words, "read_back": words + 3} if words else None,
        "latency": 10,
        "interval": 5,
        "tools": {"lutgen": "0"},
    }


def samples(rng, count, spec):
    """Random samples, full of bytes that must be escaped, and what comes of them."""
    x = rng.choice([0, 0x7D, 0x7E, 0x5D, 255, 9], (count, spec.sample_bytes)).astype(np.uint8)
    want = np.array([list(double(row.tolist())) for row in x], dtype=np.uint8)
    return x, want.reshape(count, 4)
