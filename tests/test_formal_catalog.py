"""Proofs of the stream parts: a few hold, and each fails where the part has a mistake in it."""

import inspect
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from amaranth.hdl import Assert, Const, Fragment, Signal

from lutgen.cli.main import main
from lutgen.errors import LutgenError
from lutgen.flows import prove
from lutgen.formal.axilite import AxiLiteProof
from lutgen.formal.catalog import CASES, small_layer
from lutgen.formal.claims import CLAIMS
from lutgen.formal.crossing import CrossingProof
from lutgen.formal.drain import DrainProof, OneClockProof
from lutgen.formal.fifo import FifoProof
from lutgen.formal.harness import Proof
from lutgen.formal.index_buffer import IndexBufferProof
from lutgen.formal.intake import IntakeProof
from lutgen.formal.packet import PacketProof
from lutgen.formal.pingpong import PingPongProof
from lutgen.formal.port import PortProof
from lutgen.formal.ring import LedgerProof
from lutgen.formal.stream import RegrouperProof
from lutgen.gateware.crossing import AsyncFifo
from lutgen.gateware.engine.control import JobControl
from lutgen.gateware.engine.rest import Rest
from lutgen.gateware.engine.results import Results
from lutgen.gateware.fifo import Fifo
from lutgen.gateware.index_buffer import IndexBuffer
from lutgen.gateware.link import intake as intake_module
from lutgen.gateware.pingpong import PingPong
from lutgen.gateware.port import FrameCheck, Gate
from lutgen.gateware.registers import RegisterFile
from lutgen.gateware.ring import Ledger
from lutgen.gateware.stream import Regrouper
from lutgen.spec.crossing import CrossingSpec
from lutgen.spec.fifo import FifoSpec
from lutgen.spec.ring import RingSpec
from lutgen.spec.stream import RegrouperSpec
from lutgen.spec.window import WindowSpec

STEPS = 12  # cycles after a reset within which every mistake below shows


@pytest.fixture
def _sby():
    """Skips where the programs are absent."""
    try:
        prove.find_sby()
    except LutgenError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("_sby")
@pytest.mark.parametrize("case", [c for c in CASES if c.quick], ids=lambda c: c.name)
def test_quick_proofs(case):
    outcome = prove.prove(case.make())
    assert (outcome.status, outcome.failed) == ("proven", ())


def late(part, statement):
    """The part, with a last assignment that overrides an earlier one."""

    class Mistaken(part):
        def elaborate(self, platform):
            m = super().elaborate(platform)
            m.d.comb += statement(self)
            return m

    return Mistaken


class Deeper(Fifo):
    """Accounts for one entry more than there is."""

    def _account(self, m, pop):
        spec = self.spec
        self.spec = replace(spec, depth=spec.depth + 1)
        super()._account(m, pop)
        self.spec = spec


class Swapping(Fifo):
    """Lets what comes in overtake what stands in the memory."""

    def _memory(self, m, pop):
        super()._memory(m, pop)
        m.d.comb += self.o.p.eq(self.i.p)


@dataclass(frozen=True)
class Shortened(RegrouperSpec):
    """Takes the last group for shorter than it is."""

    @property
    def last_items(self):
        return super().last_items - 1


class Unlocked(RegisterFile):
    """Takes writes while busy."""

    def _accepts(self, register, word):
        return super()._accepts(replace(register, locked=False), word)


def axilite(statement):
    return AxiLiteProof(part=late(RegisterFile, lambda part: statement(part.bus)))


def regrouper(*shape):
    return RegrouperProof(RegrouperSpec(*shape), lambda _, bits: Regrouper(Shortened(*shape), bits))


def ledger(make):
    window = WindowSpec(3, 3, (2, 2), (1, 1))
    return LedgerProof(RingSpec(window, 1, 2), make)


def another_ring(**changes):
    return lambda ring: Ledger(replace(ring, **changes))


class Binary(AsyncFifo):
    """Shows the other clock pointers of which several bits change at once."""

    def _code(self, count):
        return count


class Impatient(PingPong):
    """Gives a half back as soon as it is released."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        with m.If(self.release):
            m.d.sync += self.space.eq(1)
        return m


class Tailing(Results):
    """Ends the packet of a stopped job, whether its last beat has begun or not."""

    def _tails(self, m, closed):
        tailed = Signal()
        m.d.sync += tailed.eq(self.tail)
        return self.tail & ~tailed


class Hasty(JobControl):
    """Waits for a time instead of an answer."""

    def _runs_out(self):
        return Const(1)


class Careless(Rest):
    """Comes to rest while rows are still in the crossing."""

    def _quiet(self, inside):
        return inside == 0


def drain(**parts):
    return DrainProof(CrossingSpec(1, 2), **parts)


LAYER = small_layer(2, 2)
MISTAKES = {
    "queue in memory: space one entry too late": lambda: FifoProof(FifoSpec(2, 5), Deeper),
    "queue in memory: order": lambda: FifoProof(FifoSpec(2, 5), Swapping),
    "regrouper: an item lost": lambda: regrouper(3, 1, 2),
    "index buffer: a row too many": lambda: IndexBufferProof(
        LAYER, late(IndexBuffer, lambda part: part.space.eq(1))
    ),
    "index buffer: results without space": lambda: IndexBufferProof(
        LAYER, late(IndexBuffer, lambda part: part.o_reserve.eq(1))
    ),
    "ledger: a row more than there is": lambda: ledger(another_ring(rows=3)),
    "ledger: windows too early": lambda: ledger(
        another_ring(window=WindowSpec(3, 3, (1, 2), (1, 1)))
    ),
    "frames: all are good": lambda: PortProof(
        2, 1, 2, check=late(FrameCheck, lambda part: part.good.eq(1))
    ),
    "results: broken ones come out": lambda: PortProof(
        2, 1, 2, gate=late(Gate, lambda part: part.o.valid.eq(part.i.valid))
    ),
    "results: more than there is room for": lambda: PortProof(
        1, 1, 2, gate=lambda layout, beats, samples: Gate(layout, beats, samples + 1)
    ),
    "registers: written while busy": lambda: AxiLiteProof(part=Unlocked),
    "registers: an address lost": lambda: axilite(lambda bus: bus.aw.ready.eq(1)),
    "registers: a response that does not stay": lambda: axilite(
        lambda bus: bus.b.valid.eq(bus.w.ready)
    ),
    "registers: all writes are well": lambda: axilite(lambda bus: bus.b.p.resp.eq(0)),
    "crossing: a row too many": lambda: CrossingProof(
        CrossingSpec(2, 2), late(AsyncFifo, lambda part: part.i.ready.eq(1))
    ),
    "crossing: pointers in binary": lambda: CrossingProof(CrossingSpec(2, 4), Binary),
    "crossing: passed too early": lambda: CrossingProof(
        CrossingSpec(2, 2), late(AsyncFifo, lambda part: part.passed.eq(1))
    ),
    "drain: rows left in the crossing": lambda: drain(rest=Careless),
    "drain: a time in place of an answer": lambda: drain(control=Hasty),
    "drain: begins anew before all is over": lambda: drain(
        control=late(JobControl, lambda part: part.stop.eq(part.run & ~part.go))
    ),
    "drain: one clock, a time in place of an answer": lambda: OneClockProof(control=Hasty),
    "packet: a second one of one beat": lambda: PacketProof(results=Tailing),
    "packet: ended while beats are under way": lambda: PacketProof(control=lambda _: JobControl(1)),
    "halves: filled while they are read": lambda: PingPongProof(1, Impatient),
}


@pytest.mark.usefixtures("_sby")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_proofs_find_mistakes(mistake):
    outcome = prove.prove(MISTAKES[mistake](), depth=STEPS)
    assert outcome.status == "refuted"
    assert outcome.failed
    assert all("lutgen/formal/" in place for place in outcome.failed)


def intake(old, new):
    """A proof of the link's intake with one piece of its text replaced."""
    text = inspect.getsource(intake_module)
    assert text.count(old) == 1
    names = {"__name__": "mistaken"}
    exec(compile(text.replace(old, new), "mistaken", "exec"), names)
    return IntakeProof(8, 0, names["Intake"])


# These take frames of dozens of bytes to show: the induction, which begins anywhere, finds them.
INTAKE_MISTAKES = {
    "what there is no room for written over what waits": (" & ~full & ~bad),", " & ~full),"),
    "frames of any session and offset": ("good & carries & matches &", "good & carries &"),
}


@pytest.mark.usefixtures("_sby")
@pytest.mark.parametrize("mistake", INTAKE_MISTAKES)
def test_the_intake_is_not_proven_with_a_mistake(mistake):
    outcome = prove.prove(intake(*INTAKE_MISTAKES[mistake]))
    assert outcome.status == "not proven"
    assert outcome.failed


class Nothing(Proof):
    """Claims nothing."""

    def __init__(self):
        super().__init__({})

    def build(self, m):
        pass


class Wrong(Proof):
    """Claims that an input is low."""

    def __init__(self):
        super().__init__({"high": 1})

    def build(self, m):
        m.d.comb += Assert(~self.high)


@pytest.mark.usefixtures("_sby")
def test_a_proof_of_nothing_is_none(tmp_path):
    with pytest.raises(LutgenError, match=r"^Nothing: has no assertion, so nothing is proven$"):
        prove.prove(Nothing())
    outcome = prove.prove(Wrong(), keep=tmp_path / "kept")
    assert outcome.status == "refuted"
    assert outcome.failed[0].startswith(__file__)
    assert (tmp_path / "kept/proof/engine_0/trace.vcd").is_file()


def test_command(capsys, monkeypatch):
    """Status 1 where one proof fails; which one, and where, on standard output."""
    tried = []

    def pretend(proof, *, keep):
        tried.append(Fragment.get(proof, None))
        bad = len(tried) % 2 == 0
        place = ("fifo.py:1",) if bad else ()
        return prove.Outcome("refuted" if bad else "proven", 2, 9, 0.25, place)

    monkeypatch.setattr(prove, "prove", pretend)
    monkeypatch.setattr(prove, "find_sby", dict)
    assert main(["prove", "fifo", "--quick", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False
    assert [proof["status"] for proof in said["proofs"]] == ["proven", "refuted"]
    assert said["proofs"][1]["failed"] == ["fifo.py:1"]
    assert said["claims"] == CLAIMS
    assert main(["prove", "index_buffer", "--quick"]) == 0
    assert "proven" in capsys.readouterr().out
    assert main(["prove", "fifo", "--quick"]) == 1
    assert "refuted; fifo.py:1" in capsys.readouterr().out


def test_command_names_the_parts(capsys):
    assert main(["prove", "queue"]) == 2
    assert capsys.readouterr().err == (
        "lutgen: error: argument PART: must be one of fifo, regrouper, index_buffer, ledger, "
        "lines, port, axilite, crossing, drain, packet, intake, pingpong, not 'queue'\n"
    )


def test_missing_programs_are_named(monkeypatch):
    monkeypatch.setattr(prove.tools, "which", lambda program: None)
    with pytest.raises(LutgenError) as caught:
        prove.find_sby()
    assert str(caught.value) == "yowasp-sby is not installed; run: pip install 'lutgen[formal]'"


def test_every_part_has_quick_proofs():
    assert {case.part for case in CASES if case.quick} == set(CLAIMS)
    assert len({case.name for case in CASES}) == len(CASES)
    note = Path(__file__).parents[1] / "docs/design/0004-streams.md"
    assert all(part in note.read_text(encoding="utf-8") for part in CLAIMS)
