"""The driver of a board, against a board in Python and a line that can be as bad as one likes."""

import boards
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutgen.errors import LutgenError
from lutgen.gateware.image import checked
from lutgen.host.link import Board
from lutgen.host.link_job import pack, unpack
from lutgen.spec.link import link_spec
from lutgen.spec.link_frames import Command, Flags


def link(contract, **options):
    return link_spec(contract, clock_hz=12_000_000, baud=1_000_000, **options)


def board_of(model, contract, **options):
    return Board(model, contract, where="port", clock=model.clock, **options)


def test_a_good_line():
    """All results in order, nothing twice, through sessions that end long before the samples do."""
    contract = boards.contract(beats=1)
    spec = link(contract, buffer=64)
    model = boards.ModelBoard(spec, np.random.default_rng(1))
    x, want = boards.samples(np.random.default_rng(2), 6000, spec)
    seen = []
    with board_of(model, contract, session_bytes=2500) as board:
        for part in (slice(0, 10), slice(10, 6000)):
            assert (board.run(x[part], seen.append) == want[part]).all()
        counters = board.counters()
        assert board.resent == board.repeated == 0
        assert board.sessions == 5  # of 1,250 samples
    assert model.closed
    assert seen == [*range(1, 11), *range(1, 5991)]
    assert counters["samples"] == counters["results"] == 6000
    assert counters["link_errors"] == counters["frame_errors"] == 0
    assert counters["busy"] == 600_000


@pytest.mark.parametrize("words", [0, 30])
def test_a_run_that_was_cut_off(words):
    """What was under way then has the offsets of what is sent now: it must not pass for that."""
    contract = boards.contract(words=words)
    spec = link(contract)
    model = boards.ModelBoard(spec, np.random.default_rng(1))
    x, want = boards.samples(np.random.default_rng(2), 200, spec)

    def stop(done):
        if done >= 7:
            raise RuntimeError("cut off")

    with board_of(model, contract) as board:
        if words:
            board.load(checked(np.arange(words - 1, dtype=np.uint32)))
        for _ in range(5):
            with pytest.raises(RuntimeError):
                board.run(x[::-1].copy(), stop)
            assert (board.run(x) == want).all()
        assert board.sessions == 6


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (9, "Bytes of a session must hold a sample and a load image, not 9"),
        (0, "Bytes of a session must be an integer between 1 and 16777215, not 0"),
        (1 << 24, "Bytes of a session must be an integer between 1 and 16777215, not 16777216"),
    ],
)
def test_bytes_of_a_session(size, text):
    model, contract = fresh()
    with pytest.raises(ValueError, match=f"^{text}$"):
        board_of(model, contract, session_bytes=size)
    assert model.closed


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from([0.0005, 0.003, 0.01]), st.booleans())
def test_a_bad_line(seed, rate, loadable):
    """Every result is right, or there is an error that says what is missing."""
    rng = np.random.default_rng(seed)
    words = int(rng.integers(2, 100)) if loadable else 0
    contract = boards.contract(beats=int(rng.integers(1, 40)), words=words)
    spec = link(contract, buffer=int(2 ** rng.integers(7, 11)))
    model = boards.ModelBoard(spec, rng, rate)
    x, want = boards.samples(rng, 60, spec)
    got, said = None, ""
    try:
        with board_of(model, contract) as board:
            if loadable:
                board.load(checked(rng.integers(0, 2**32, words - 1).astype(np.uint32)))
            got = board.run(x)
    except LutgenError as error:
        said = str(error)
    if got is None:
        assert rate == 0.01
        assert said.startswith("port: ")
    else:
        assert (got == want).all()


def test_what_is_lost_is_sent_again():
    contract = boards.contract(beats=20)
    spec = link(contract)
    model = boards.ModelBoard(spec, np.random.default_rng(1), 0.002)
    x, want = boards.samples(np.random.default_rng(2), 300, spec)
    with board_of(model, contract) as board:
        assert (board.run(x) == want).all()
        assert board.resent
        assert board.repeated
        counters = board.counters()
    assert counters["link_errors"]
    assert counters["results"] == 300 + board.repeated


def test_an_old_session():
    """Results for somebody else, who was cut off, are not taken for ours."""
    contract = boards.contract()
    spec = link(contract)
    model = boards.ModelBoard(spec, np.random.default_rng(1))
    x, want = boards.samples(np.random.default_rng(2), 40, spec)
    for _ in range(20):
        with board_of(model, contract) as board:
            board._fill(Command.SAMPLES, lambda a, b: bytes(range(b - a)), 250)
            model.work()
    with board_of(model, contract) as board:
        assert (board.run(x) == want).all()


def fails(text, model, contract, act=lambda board: None):
    with pytest.raises(LutgenError) as caught, board_of(model, contract) as board:
        act(board)
    assert str(caught.value) == text
    assert model.closed


def fresh(**options):
    contract = boards.contract(**options)
    return boards.ModelBoard(link(contract), np.random.default_rng(1)), contract


def test_another_core():
    model, _ = fresh()
    other = boards.contract(beats=7, name="digits", model="digits")
    mark = link(other).mark
    fails(
        f"port: the board holds another core than the contract's: its fingerprint is "
        f"{model.spec.mark} (5 beats of 2 bytes in, 1 of 4 out), that of digits (model digits) is "
        f"{mark}; program the board with it, or name the contract of what it holds",
        model,
        other,
    )


def test_another_protocol():
    model, contract = fresh()
    model.info = type(model.info)(**{**vars(model.info), "protocol": 9})
    fails(
        "port: the board speaks version 9 of the protocol, not 2; program it again with this "
        "lutgen",
        model,
        contract,
    )


def test_silence():
    model, contract = fresh()
    model.handle = lambda body: None
    fails(
        "port: nothing answers; check the port and the baud rate, and that the board is programmed",
        model,
        contract,
    )
    assert model.now < 6


def test_noise():
    model, contract = fresh()
    model.handle = lambda body: model.out.extend(b"login: ")
    fails(
        "port: what comes from there is no answer of a board; check the baud rate, and that the "
        "board is programmed by `lutgen synth`",
        model,
        contract,
    )


@pytest.mark.parametrize("when", ["read", "write"])
def test_unplugged(when):
    model, contract = fresh()

    def act(board):
        model.gone = when
        board.run(np.zeros((3, 10), dtype=np.uint8))

    text = "port: the board is gone: input/output error; plug it in and run again"
    fails(text, model, contract, act)


def test_stuck():
    model, contract = fresh()
    model.compute = lambda sample: b"1234" if model.results < 3 else b"wrong size"

    def act(board):
        board.run(np.zeros((10, 10), dtype=np.uint8))

    # The results come, but none can be read: they are asked for again and again.
    with pytest.raises(LutgenError) as caught, board_of(model, contract) as board:
        act(board)
    assert "100 times; the line is too bad" in str(caught.value)

    model, contract = fresh()
    model.work = lambda: None
    fails(
        "port: nothing new from the board for 5 s; 0 of 10 results have come, next that of sample "
        "0",
        model,
        contract,
        act,
    )


def test_frame_error():
    model, contract = fresh()

    def act(board):
        model.flags.add(Flags.FRAME_ERROR)
        board.run(np.zeros((10, 10), dtype=np.uint8))

    fails(
        "port: the core reports a frame error, though no frame was broken; is it the core of this "
        "contract?",
        model,
        contract,
        act,
    )


def test_load():
    words = checked(np.arange(299, dtype=np.uint32) * 0x01010101)
    model, contract = fresh(words=300)
    with board_of(model, contract) as board:
        board.load(words)
        assert model.image == words.astype("<u4").tobytes()
        x, want = boards.samples(np.random.default_rng(2), 9, model.spec)
        assert (board.run(x) == want).all()
        assert board.counters()["samples"] == 9
        model.image = b""
        board.load(checked(words[:0:-1]))  # another image, in the same session
        assert (board.run(x) == want).all()
        with pytest.raises(ValueError, match=r"^Load image must have 300 words, not 2$"):
            board.load(words[:2])
        with pytest.raises(ValueError, match=r"^Load image must end with the CRC-32 of the words"):
            board.load(words[::-1].copy())
        with pytest.raises(ValueError, match=r"^Samples must have 10 bytes each, not"):
            board.run(np.zeros((3, 9), dtype=np.uint8))


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (
            {"read_back": 33},
            "the tables did not read back: the core's memories hold something else than the load "
            "image; run again, and if it stays so, with a slower clock or another board",
        ),
        ({}, "the core refuses its load image: load error"),
    ],
)
def test_load_error(field, text):
    """Of a core that reads its tables back, and of an older one."""
    contract = boards.contract(words=30)
    contract["load"] = {"port": "l_axis", "words": 30, **field}
    model = boards.ModelBoard(link(contract), np.random.default_rng(1))

    def refused(board):
        model.flags.add(Flags.LOAD_ERROR)
        board.load(checked(np.arange(29, dtype=np.uint32)))

    fails(f"port: {text}", model, contract, refused)


def test_another_image():
    image = checked(np.arange(29, dtype=np.uint32))
    model, contract = fresh(words=30)

    def other(board):
        board.load(image)

    model.handle = patched(model.handle, model)
    fails(
        f"port: the core holds an image with the check word 00000008, not {image[-1]:08x}; "
        "reset the board and load it again",
        model,
        contract,
        other,
    )


def patched(handle, model):
    def wrapper(body):
        if model.image_word:
            model.image_word = 8
        return handle(body)

    return wrapper


@pytest.mark.parametrize("bits", [8, 16, 24, 40])
@pytest.mark.parametrize("signed", [False, True])
def test_pack(bits, signed):
    """Beats as docs/core-contract.md lays them out."""
    rng = np.random.default_rng(bits)
    low = -(1 << bits - 1) if signed else 0
    x = rng.integers(low, low + (1 << bits), (4, 7))
    port = {"elements": 7, "bits": bits, "lanes": 3, "beats": 3, "lane_bits": bits}
    port["signed"] = signed
    packed = pack(x, port)
    assert packed.shape == (4, 9 * bits // 8)
    want = b"".join(int(v).to_bytes(bits // 8, "little", signed=signed) for v in x[2])
    assert packed[2].tobytes() == want + bytes(2 * bits // 8)
    assert (unpack(packed, port) == x).all()


def test_unpack_takes_results_only():
    port = {"elements": 7, "bits": 8, "lanes": 3, "beats": 3, "lane_bits": 8, "signed": True}
    for results, kind in ((b"123456789", "bytes"), ([[1] * 9], "list"), (np.ones((1, 9)), "float")):
        with pytest.raises(TypeError, match=rf"^Results must be an array of uint8, not {kind}"):
            unpack(results, port)
    for shape in ((9,), (2, 8), (2, 18)):
        with pytest.raises(ValueError, match=r"^Results must have the shape \(samples, 9\), not "):
            unpack(np.zeros(shape, np.uint8), port)
    with pytest.raises(TypeError, match=r"^Results must not be masked; "):
        unpack(np.ma.masked_equal(np.zeros((2, 9), np.uint8), 0), port)
    assert unpack(np.zeros((0, 9), np.uint8), port).shape == (0, 7)


def test_counters_wrap():
    model, contract = fresh()
    with board_of(model, contract) as board:
        assert [board.counters()["cycles"] for _ in range(4)] == [
            3_000_000_000 * n for n in (1, 2, 3, 4)
        ]
