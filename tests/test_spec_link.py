"""Frames of the link, and what follows from a contract."""

import re
import zlib
from pathlib import Path

import boards
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutgen.spec.link import LinkSpec, Uart, default_buffer, fingerprint, link_spec
from lutgen.spec.link_frames import (
    Answer,
    Command,
    Counters,
    Deframer,
    Flags,
    Info,
    Result,
    Status,
    command,
    frame,
)

BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
TRICKY = st.lists(st.sampled_from([0x7E, 0x7D, 0x5E, 0x5D, 0, 1]), max_size=30).map(bytes)


@given(BODIES, st.randoms())
def test_frames_come_back(bodies, random):
    """However the line cuts them."""
    line = b"".join(frame(body) for body in bodies)
    deframer, got = Deframer(100), []
    while line:
        count = random.randint(1, len(line))
        got += deframer.push(line[:count])
        line = line[count:]
    assert got == bodies
    assert deframer.errors == 0


@given(TRICKY, st.binary(min_size=1, max_size=30))
def test_noise_costs_no_frame_after_it(noise, body):
    """Whatever came before the flag that begins a frame, the frame is read right."""
    deframer = Deframer(200)
    assert deframer.push(noise + frame(body))[-1:] == [body]


@given(TRICKY.filter(len), st.integers(0, 10**6), st.integers(0, 7))
def test_a_bent_byte_is_seen(body, place, bit):
    line = bytearray(frame(body))
    line[place % len(line)] ^= 1 << bit
    assert all(got == body for got in Deframer(200).push(bytes(line) + b"\x7e"))


def test_frame_by_hand():
    body = b"\x7e\x01\x7d"
    check = zlib.crc32(body).to_bytes(4, "little")
    assert 0x7E not in check
    assert 0x7D not in check
    assert frame(body) == b"\x7e\x7d\x5e\x01\x7d\x5d" + check + b"\x7e"


def test_deframer_drops():
    deframer = Deframer(12)
    assert deframer.push(frame(b"123456789")) == []  # too long by a byte
    assert deframer.push(b"\x7d\x7e") == []  # an escape of nothing
    assert deframer.push(b"\x7d\x7d\x01\x7e") == []
    assert deframer.push(b"\x00\x00\x00\x00\x7e") == []  # the right check of nothing
    assert deframer.push(b"\x00" * 1000) == []
    assert deframer.push(b"\x7e") == []
    assert deframer.errors == 5
    assert deframer.push(frame(b"12345678")) == [b"12345678"]


def test_answers_come_back():
    info = Info(1, "0123456789abcdef", 196, 4, 1, 30, 2044, 12_000_000, 9000)
    assert Info.parse(info.body) == info
    assert len(info.body) == 32
    status = Status(0x1234, 2**24 - 1, 65535, 0x56789A, 0b1010, 255)
    assert Status.parse(status.body) == status
    assert status.has(Flags.LOADED)
    assert not status.has(Flags.FRAME_ERROR)
    counters = Counters(65535, 65534, 1, 2**32 - 1, 3, 4)
    assert Counters.parse(counters.body) == counters
    result = Result(258, 0x10203, b"abc")
    assert result.body == b"\x84\x02\x01\x03\x02\x01abc"
    assert Result.parse(result.body) == result
    assert command(Command.SAMPLES, 0x1234, 0x56789A, b"x") == b"\x05\x34\x12\x9a\x78\x56x"
    assert command(Command.INFO) == b"\x01\x00\x00"


def test_the_examples_of_the_protocol():
    """Every frame that docs/link-protocol.md shows in hexadecimal is one, and says what it says."""
    text = (Path(__file__).parent.parent / "docs/link-protocol.md").read_text(encoding="utf-8")
    lines = re.findall(r"^(host|board) +((?:[0-9a-f]{2} )+) +(\w+)", text, re.MULTILINE)
    assert len(lines) >= 8
    for who, digits, name in lines:
        bodies = Deframer(100).push(bytes.fromhex(digits))
        assert len(bodies) == 1, digits
        kind = Command if who == "host" else Answer
        assert bodies[0][0] == kind[name]


@pytest.mark.parametrize("clock_hz", [12_000_000, 25_000_000, 48_000_000, 100_000_000, 16_934_400])
@pytest.mark.parametrize("baud", [9600, 115_200, 1_000_000, 3_000_000])
def test_divider(clock_hz, baud):
    uart = Uart(clock_hz, baud)
    rate = clock_hz * uart.step / 2**uart.bits
    assert abs(rate / baud - 1) <= 0.001
    assert uart.step <= 2**uart.bits // 4


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: Uart(12_000_000, 3_000_001),
            "Baud rate must be at most a quarter of the clock, 3000000, not 3000001",
        ),
        (lambda: Uart(0, 1), "Clock must be a positive integer, not 0"),
        (
            lambda: link_spec(boards.contract(), clock_hz=10**7, baud=9600, buffer=500),
            "Bytes of the link's buffer must be a power of two, not 500",
        ),
        (
            lambda: link_spec(boards.contract(), clock_hz=10**7, baud=9600, results=32),
            "Bytes of results that wait must be an integer between 64 and 32768, not 32",
        ),
        (
            lambda: LinkSpec(Uart(4, 1), "0" * 16, 0, 1, 1, 1),
            "Beats of a sample must be a positive integer, not 0",
        ),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        make()


def test_spec_of_a_contract():
    spec = link_spec(boards.contract(words=7), clock_hz=12_000_000, baud=115_200)
    assert (spec.sample_bytes, spec.result_bytes, spec.load_words) == (10, 4, 7)
    assert (spec.buffer, spec.window, spec.whole) == (512, 508, True)
    assert spec.info.window == 508
    assert [default_buffer(n) for n in (1, 254, 255, 784, 3072)] == [512, 512, 1024, 2048, 2048]


def test_fingerprint():
    """Anything that makes another core makes another fingerprint; a link does not."""
    contract = boards.contract()
    mark = fingerprint(contract)
    assert re.fullmatch("[0-9a-f]{16}", mark)
    assert fingerprint({**contract, "link": {"baud": 9600}}) == mark
    others = [
        boards.contract(beats=6),
        boards.contract(name="other"),
        boards.contract(model="other"),
        boards.contract(words=3),
        {**contract, "interval": 6},
        {**contract, "tools": {"lutgen": "1"}},
    ]
    assert len({mark, *map(fingerprint, others)}) == 1 + len(others)
