"""What memories rely on: every enabled port has the address of a row, and no row is read while it
is written, or nobody uses what is read. Simulations and proofs of whatever has memories see it.
"""

import re
import subprocess

import convnets
import numpy as np
import pytest
import simulation as sim
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from engines import TWO_CLOCKS, product_for

from lutgen import LutgenError
from lutgen.flows import prove, simulate
from lutgen.flows.engine import simulate_engine
from lutgen.formal.harness import Proof
from lutgen.formal.lines import LineBufferProof
from lutgen.gateware import ring
from lutgen.gateware.build import build
from lutgen.gateware.memory import Buffer, Store
from lutgen.gateware.verilog import convert
from lutgen.host.build import build_engine
from lutgen.model import MaxPool2d, Model
from lutgen.spec.job import JobSpec
from lutgen.spec.ring import RingSpec, WalkSpec
from lutgen.spec.window import WindowSpec

ROWS = 5


class Walk(wiring.Component):
    """Writes and reads a memory round after round, rows 0 to ``last``; reads ``behind`` rows after
    it has written.
    """

    def __init__(self, kind: str, last: int = ROWS - 1, behind: int = 1):
        self.kind = kind
        self.last = last
        self.behind = behind
        super().__init__({"step": In(1), "o": Out(4)})

    def elaborate(self, platform):
        m = Module()
        memory = Buffer(ROWS, 4) if self.kind == "buffer" else Store(ROWS, 4, self._contents())
        m.submodules.memory = memory
        row, back = Signal(3), Signal(3, init=(self.last + 1 - self.behind) % (self.last + 1))
        with m.If(self.step):
            m.d.sync += [place.eq(Mux(place == self.last, 0, place + 1)) for place in (row, back)]
        m.d.comb += [memory.en.eq(self.step), memory.addr.eq(back), self.o.eq(memory.data)]
        if self.kind != "rom":
            m.d.comb += [
                memory.load.en.eq(self.step),
                memory.load.addr.eq(row),
                memory.load.data.eq(row),
            ]
        if self.kind == "ram":
            m.d.comb += [memory.en.eq(0), memory.load.borrow.eq(1)]
        return m

    def _contents(self):
        return list(range(ROWS)) if self.kind == "rom" else None


RIGHT = [Walk("rom"), Walk("ram"), Walk("buffer")]
PAST = [Walk("rom", ROWS), Walk("ram", 7), Walk("buffer", ROWS)]
SAME = Walk("buffer", behind=0)


def names(walks):
    return [walk.kind for walk in walks]


def run(unit, cycles=12):
    async def bench(ctx):
        ctx.set(unit.step, 1)
        for _ in range(cycles):
            await ctx.tick()

    sim.simulate(unit, [bench])


@pytest.mark.parametrize("unit", RIGHT, ids=names(RIGHT))
def test_right_addresses_in_amaranths_simulator(unit):
    run(unit)


@pytest.mark.parametrize("unit", PAST, ids=names(PAST))
def test_a_row_past_the_last_in_amaranths_simulator(unit):
    with pytest.raises(AssertionError, match=rf"row 5 of {ROWS} rows is (read|written)"):
        run(unit)


def test_a_row_read_while_written_in_amaranths_simulator():
    with pytest.raises(AssertionError, match="row 0 is read while it is written"):
        run(SAME)


class Nothing(Proof):
    """Claims nothing of a part: what its memories rely on is claimed all the same."""

    def __init__(self, part):
        self.part = part
        super().__init__({"step": 1})

    def build(self, m):
        m.submodules.part = self.part
        m.d.comb += self.part.step.eq(self.step)


@pytest.fixture
def _sby():
    try:
        prove.find_sby()
    except LutgenError as error:
        pytest.skip(str(error))


def refuted(proof):
    """By what a memory relies on, and by nothing else."""
    outcome = prove.prove(proof, depth=8)
    return outcome.status == "refuted" and all("/harness.py" in place for place in outcome.failed)


@pytest.mark.usefixtures("_sby")
@pytest.mark.parametrize("unit", [*PAST[:2], SAME], ids=[*names(PAST[:2]), "same row"])
def test_proofs_see_it(unit):
    assert refuted(Nothing(unit))


class Short(Buffer):
    """A row less than its counters go through."""

    def __init__(self, depth, width):
        super().__init__(depth - 1, width)


@pytest.mark.usefixtures("_sby")
def test_a_line_buffer_with_a_row_past_the_last_is_not_proven(monkeypatch):
    monkeypatch.setattr(ring, "Buffer", Short)
    window = WindowSpec(3, 3, (2, 2), (1, 1))
    assert refuted(LineBufferProof(WalkSpec(RingSpec(window, 1, 2), 1, False)))


BENCH = """
module bench;
    reg clk = 0, rst = 1;
    wire [3:0] o;
    integer unknown = 0;
    part part (.clk(clk), .rst(rst), .step(!rst), .o(o));
    initial begin
        repeat (40) begin
            #5 clk = 1;
            #5 clk = 0;
            rst = 0;
        end
        if (^o === 1'bx) $display("o is unknown");
        $finish;
    end
endmodule
"""


def in_icarus(folder, unit):
    """What a simulation in plain Verilog says."""
    (folder / "t.v").write_text(convert(unit, "part") + BENCH, encoding="utf-8")
    command = ["iverilog", "-g2005", "-DLUTGEN_CHECKS", "-o", "t.vvp", "t.v"]
    subprocess.run(command, cwd=folder, check=True)
    done = subprocess.run(["vvp", "t.vvp"], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def test_in_verilog(icarus, tmp_path):
    """Once for each memory, and what is read while it is written is unknown."""
    said = [in_icarus(tmp_path, unit) for unit in (*PAST, *RIGHT, SAME)]
    assert [line for lines in said for line in lines if line.startswith("FAIL")] == [
        "FAIL: bench.part.memory.memory: row 5 of 5 rows is read",
        "FAIL: bench.part.memory.memory: row 5 of 5 rows is written",
        "FAIL: bench.part.memory.memory: row 5 of 5 rows is read",
        "FAIL: bench.part.memory.memory: row 0 is read while it is written",
    ]
    *_, buffer, same = said
    assert "o is unknown" not in buffer
    assert "o is unknown" in same


def test_checks_are_not_synthesised():
    """They stand between directives that no synthesis tool knows."""
    for unit in (*RIGHT, SAME):
        text = convert(unit, "part")
        assert "$display" in text
        kept, depth = [], 0
        for line in text.splitlines():
            if line.startswith("`"):
                depth += {"`ifdef": 1, "`endif": -1}.get(line.split()[0], 0)
            elif not depth:
                kept.append(line)
        assert depth == 0
        assert "module part" in "".join(kept)
        assert not any("$display" in line or "1'bx" in line for line in kept)


def core_and_vectors(samples, **options):
    model, folds = convnets.everything()
    inputs = sim.random_inputs(np.random.default_rng(7), model, samples)
    core = build(model, name="core", layers=folds, **options)
    image = core.load_image(model) if options else None
    return core, {
        "inputs": inputs,
        "expected": model.run(inputs)[model.nodes[-1].name],
        "load_words": image,
        "timing_samples": 0,
    }


def pool_with_a_row_past_the_last(monkeypatch, samples):
    """A core of one pool."""
    monkeypatch.setattr(ring, "Buffer", Short)
    pool = MaxPool2d(name="pool", inputs=("input",), kernel=(2, 2), stride=(1, 1))
    model = Model("core", (3, 3, 1), sim.Activation(4, False, 1.0), (pool,))
    inputs = sim.random_inputs(np.random.default_rng(1), model, samples)
    core = build(model, name="core")
    return (core.verilog, core.contract, inputs, model.run(inputs)["pool"])


SHORT = r"core\.pool\.lines\.memory\.memory: row \d+ of \d+ rows is (read|written)"


@pytest.mark.parametrize("driver", ["cocotb", "compiled"])
def test_a_simulated_core_with_a_row_past_the_last(request, monkeypatch, driver):
    """An error of the core, whether or not a result differs."""
    simulator = request.getfixturevalue("icarus" if driver == "cocotb" else "verilator")
    core = pool_with_a_row_past_the_last(monkeypatch, 5)
    report = simulate(*core, simulator=simulator, driver=driver, timing_samples=0)
    assert not report.passed
    assert any(re.search(SHORT, text) for text in report.cores[0].errors)


@pytest.mark.parametrize("loadable", [False, True], ids=["rom", "loadable"])
def test_whole_cores_use_nothing_unknown(icarus, loadable):
    """A core with every kind of stage, every memory of it unknown where nothing was written and
    where a row is read while it is written.
    """
    core, vectors = core_and_vectors(3, **({"loadable": True} if loadable else {}))
    assert "nobody uses what is read" in core.verilog  # the rows of `slide`
    report = simulate(core.verilog, core.contract, simulator=icarus, **vectors)
    assert report.passed, report.cores[0].describe()


def test_whole_engines_use_nothing_unknown(icarus):
    """The same of an engine with two clocks, halves and a map, that goes from job to job."""
    rng = np.random.default_rng(3)
    sizes = {"rows": 8, "codebooks": 9, "outputs": 16, "shift": 4, "high": 31}
    kinds = [{"has_map": True}, {"results": "accumulators"}, {"has_map": True}]
    products = [
        product_for(rng, JobSpec(TWO_CLOCKS, **sizes, **kind), name=str(number))
        for number, kind in enumerate(kinds)
    ]
    report = simulate_engine(
        TWO_CLOCKS, build_engine(TWO_CLOCKS).verilog, products, simulator=icarus
    )
    assert {outcome.name: outcome.wrong for outcome in report.outcomes} == {
        "0": (),
        "1": (),
        "2": (),
    }
