"""The loader: what counts is what stands in the memories, not what arrives."""

import re

import linked
import numpy as np
import pytest
import simulation as sim
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from lutgen import LutgenError, build
from lutgen.flows import Job, side_by_side, simulate_batch
from lutgen.flows.boardsim import SimulatedBoard
from lutgen.gateware.image import checked
from lutgen.gateware.link import board_core
from lutgen.gateware.load import Loader, read_back_cycles, words_of
from lutgen.gateware.memory import Store
from lutgen.host.link import Board
from lutgen.host.terminal import Terminal
from lutgen.model import Map, Model

RAMS = [("a", 3, 40), ("b", 1, 5), ("c", 4, 32), ("d", 2, 70), ("e", 6, 8), ("f", 1, 33)]


class Cells(wiring.Component):
    """A loader and its memories, whose cells can be bad: what is written to the row ``at`` of the
    memory ``number`` is another value in the bits of ``flip``.
    """

    def __init__(self):
        self.loader = Loader(RAMS)
        members = self.loader.signature.members.items()
        members = {name: member for name, member in members if not name.startswith("load_")}
        super().__init__(
            members | {"number": In(3, init=7), "at": In(3), "flip": In(70), "row": In(3)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.loader = loader = self.loader
        for name in ("loaded", "error", "wanted"):
            m.d.comb += getattr(self, name).eq(getattr(loader, name))
        m.d.comb += [
            loader.i.valid.eq(self.i.valid),
            loader.i.p.eq(self.i.p),
            self.i.ready.eq(loader.i.ready),
            loader.hold.eq(self.hold),
        ]
        for number, (name, depth, width) in enumerate(RAMS):
            m.submodules[name] = store = Store(depth, width, None)
            port, bad = getattr(loader, f"load_{name}"), Signal(name=f"bad_{name}")
            m.d.comb += [
                bad.eq((self.number == number) & (port.addr == self.at)),
                store.load.borrow.eq(port.borrow),
                store.load.reads.eq(port.reads),
                store.load.en.eq(port.en),
                store.load.addr.eq(port.addr),
                store.load.data.eq(port.data ^ (self.flip & bad.replicate(70))),
                port.back.eq(store.load.back),
                store.addr.eq(self.row),  # the core's, which must not matter
                store.en.eq(0),
            ]
        return m


def random_image(rng):
    """Random contents, spare bits 0."""
    words = []
    for _, depth, width in RAMS:
        for _ in range(depth):
            row = int.from_bytes(rng.bytes(9), "little") & ((1 << width) - 1)
            words += [row >> 32 * k & 0xFFFFFFFF for k in range(words_of(width))]
    return checked(np.array(words, dtype=np.uint32)).tolist()


def play(cases):
    """Loads images, each with a reset before it; gives the cycles from the last word to a verdict,
    and ``(loaded, error)``.
    """
    cells, said = Cells(), []

    async def bench(ctx):
        rng = np.random.default_rng(0)
        for image, (number, at, flip) in cases:
            ctx.set(cells.number, number)
            ctx.set(cells.at, at)
            ctx.set(cells.flip, flip)
            for position, word in enumerate(image):
                while rng.random() < 0.1:
                    await ctx.tick()
                ctx.set(cells.i.p.data, word)
                ctx.set(cells.i.p.last, position == len(image) - 1)
                ctx.set(cells.i.valid, 1)
                await ctx.tick().until(cells.i.ready)
                ctx.set(cells.i.valid, 0)
            cycles = 0
            while not ctx.get(cells.loaded | cells.error) and cycles < 200:
                ctx.set(cells.row, int(rng.integers(8)))
                ctx.set(cells.i.valid, int(rng.random() < 0.5))  # the next one must wait
                assert not ctx.get(cells.i.ready)
                await ctx.tick()
                cycles += 1
            ctx.set(cells.i.valid, 0)
            said.append((cycles, ctx.get(cells.loaded), ctx.get(cells.error)))

    sim.simulate(cells, [bench])
    return said


NO_FAULT = (7, 0, 0)


def test_images_one_after_the_other():
    """Each is read back in the cycles that the contract states."""
    rng = np.random.default_rng(1)
    cycles = read_back_cycles(RAMS)
    assert cycles == 6 + 1 + 4 + 6 + 6 + 2 + 4
    assert play([(random_image(rng), NO_FAULT) for _ in range(3)]) == [(cycles, 1, 0)] * 3


@pytest.mark.parametrize("seed", range(12))
def test_a_bad_cell(seed):
    """One bit that stands in a memory otherwise than it was sent: after a whole right image."""
    rng = np.random.default_rng(seed)
    number = seed % len(RAMS)
    _, depth, width = RAMS[number]
    fault = (number, int(rng.integers(depth)), 1 << int(rng.integers(width)))
    cycles = read_back_cycles(RAMS)
    said = play([(random_image(rng), NO_FAULT), (random_image(rng), fault)])
    assert said == [(cycles, 1, 0), (cycles, 0, 1)]


@pytest.mark.parametrize("at", [0, 12, -1])
def test_a_wrong_word(at):
    """The check word is one of them."""
    image = random_image(np.random.default_rng(at + 5))
    image[at] ^= 4
    assert play([(image, NO_FAULT)]) == [(read_back_cycles(RAMS), 0, 1)]


def mapped_core():
    """A lookup layer and a function, two of whose tables are filled at once."""
    rng = np.random.default_rng(3)
    wire = sim.Activation(4, False, 1.0)
    small = {"metric": "l1", "subvec": 2, "centroids": 4}
    first = sim.random_layer(rng, "first", "input", wire, 4, 4, wire, **small)
    function = Map(name="mapped", inputs=("first",), map=rng.integers(0, 16, 16), output=wire)
    model = Model("net", (4,), wire, (first, function))
    return model, build(model, name="right", input_lanes=4, lanes=2, loadable=True)


# Of a RAM that is read back: a buffer has no ``else``.
WRITE = re.compile(r"(<= load_data;)(?=\n +else)")


def with_bad_cell(text, number):
    """A core's Verilog with one cell of its RAM ``number`` that always holds the other value."""
    parts = WRITE.split(text)
    parts[2 * number + 1] = "<= load_data ^ (load_addr == 1);"
    return "".join(parts)


def test_bad_cells_in_verilog(verilator):
    """Each RAM of a core in turn; the right one passes, to the cycle."""
    model, core = mapped_core()
    count = len(WRITE.findall(core.verilog))
    rams = {m["name"]: m["count"] for m in core.contract["memories"] if m["kind"] == "ram"}
    assert rams == {"table": 1, "bias": 1, "codebook": 1, "map": 2}
    assert count == 5
    variants = {"right": core.verilog}
    for number in range(count):
        text = with_bad_cell(core.verilog, number)
        variants[f"bad{number}"] = re.sub(r"\bright(?=_|\b)", f"bad{number}", text)
    inputs = sim.random_inputs(np.random.default_rng(1), model, 10)
    job = {
        "inputs": inputs,
        "expected": model.run(inputs)["mapped"],
        "load_words": core.load_image(model),
    }
    contracts = {name: {**core.contract, "name": name} for name in variants}
    text = side_by_side("all_cores", [(variants[name], contracts[name]) for name in variants])
    jobs = [Job(contract=contracts[name], prefix=f"{name}_", **job) for name in variants]
    report = simulate_batch(text, "all_cores", jobs, seed=1, faults=True, driver="compiled")
    for found in report.cores:
        if found.prefix == "right_":
            assert found.passed, found.errors
        else:
            assert "gaps: after the load image: loaded is 0, must be 1" in found.errors
            assert "gaps: load_error is 1, must be 0" in found.errors


def test_a_board_with_a_bad_cell(verilator):
    """The host says so in one line, and nothing is computed."""
    core = linked.core(True)
    text = with_bad_cell(core.verilog, 1)
    board = board_core(text, core.contract, clock_hz=linked.CLOCK_HZ, baud=linked.BAUD)
    with SimulatedBoard(board) as simulated:
        transport = Terminal(simulated.path)
        with Board(transport, core.contract, where="tty", patience=60, retry=0.1) as driver:
            with pytest.raises(LutgenError) as caught:
                driver.load(core.load_image(linked.model()))
            assert driver.counters()["image"] == 0
    assert str(caught.value) == (
        "tty: the tables did not read back: the core's memories hold something else than the load "
        "image; run again, and if it stays so, with a slower clock or another board"
    )
