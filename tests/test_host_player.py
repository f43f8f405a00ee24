"""Playing jobs: reports, batches, and what goes wrong, by its text; memory-mapped devices."""

import asyncio

import numpy as np
import pytest
import simulation as sim
from engines import engine_for

from lutgen.errors import LutgenError
from lutgen.host.compiler import compile_model
from lutgen.host.mapped import MappedTransport
from lutgen.host.model_transport import ModelTransport
from lutgen.host.player import play
from lutgen.host.registers import BusError
from lutgen.host.transport import run
from lutgen.model import Model
from lutgen.spec.engine import EngineSpec
from lutgen.spec.engine_registers import engine_registers


def small():
    """A model of two lookup layers, its engine, samples."""
    rng = np.random.default_rng(4)
    wire, middle = sim.Activation(5, False, 1.0), sim.Activation(5, True, 1.0)
    choices = {"metric": "l1", "subvec": 2, "centroids": 4}
    nodes = (
        sim.random_layer(rng, "fc0", "input", wire, 8, 6, middle, **choices),
        sim.random_layer(rng, "fc1", "fc0", middle, 6, 3, None, **choices),
    )
    model = Model("small", (8,), wire, nodes)
    engine = engine_for(model, rng, rows=4, lanes=2, matchers=1, fan_in=2, codebooks=4)
    return model, engine, rng.integers(0, 32, (11, 8))


MODEL, ENGINE, X = small()
JOB = compile_model(MODEL, ENGINE)
GOLDEN = MODEL.predict(X)


def replay(transport):
    """Whether the engine plays the next job right."""
    return np.array_equal(run(play(JOB, transport, X)).outputs, GOLDEN.outputs)


@pytest.mark.parametrize("batch", [1, 4, 11, 100, None])
def test_batches(batch):
    found = run(play(JOB, ModelTransport(ENGINE), X, batch=batch))
    assert np.array_equal(found.outputs, GOLDEN.outputs)
    assert np.array_equal(found.classes, GOLDEN.classes)
    first = found.steps[0]
    assert (first.name, first.gives, first.does) == ("fc0", "fc0", "encode, look up")
    jobs = 1 if batch is None else -(-11 // batch)
    assert (first.jobs, first.rows) == (jobs, 11)
    assert first.counters["lookups"] == 11 * 2 * 3  # groups, tiles
    assert set(first.counters) == {
        "cycles",
        "lookups",
        "stall_table",
        "stall_index",
        "stall_result",
        "stall_pass",
    }
    assert first.bytes["tables"] > 0


def test_no_samples():
    found = run(play(JOB, ModelTransport(ENGINE), X[:0]))
    assert found.outputs.shape == (0, 3)
    assert found.steps[0].jobs == 0


def test_in_an_event_loop():
    found = asyncio.run(play(JOB, ModelTransport(ENGINE), X))
    assert np.array_equal(found.outputs, GOLDEN.outputs)


def test_samples_of_another_size():
    with pytest.raises(
        ValueError, match=r"^Samples must have the shape 8, as the model's input, not 7; give"
    ):
        run(play(JOB, ModelTransport(ENGINE), X[:, :7]))


def test_a_batch_of_too_much():
    """What counts is what is sent."""
    JOB.check_batch(JOB.most)
    with pytest.raises(ValueError, match=rf"^Batch must be at most {JOB.most:,} samples, not "):
        JOB.check_batch(JOB.most + 1)
    found = run(play(JOB, ModelTransport(ENGINE), X, batch=JOB.most + 1))
    assert np.array_equal(found.outputs, GOLDEN.outputs)


def test_a_batch_of_nothing():
    with pytest.raises(ValueError, match=r"^Batch must be a positive integer, not 0$"):
        run(play(JOB, ModelTransport(ENGINE), X, batch=0))


def test_run_wants_coroutines_that_do_not_wait():
    with pytest.raises(RuntimeError) as caught:
        run(asyncio.sleep(0))
    assert str(caught.value) == (
        "The coroutine waits for an event loop; run it in one, as asyncio.run() does"
    )


class Faulty(ModelTransport):
    """A transport that does something to the packets of the first job."""

    def __init__(self, spec, fault):
        super().__init__(spec)
        self.fault = fault

    async def begin(self, packets, room):
        packets, fault = dict(packets), self.fault
        self.fault = None
        if fault is not None:
            fault(packets)
        await super().begin(packets, room)


def shorten(name):
    beat = getattr(ENGINE, name.removesuffix("s")).beat

    def fault(packets):
        packets[name] = packets[name][:-beat]

    return fault


def lengthen(name):
    beat = getattr(ENGINE, name.removesuffix("s")).beat

    def fault(packets):
        packets[name] = np.pad(packets[name], (0, beat))

    return fault


@pytest.mark.parametrize("name", ["activations", "centroids", "tables"])
def test_packets_of_a_wrong_length(name):
    for change, text in (
        (shorten, f"tlast of the {name} came early"),
        (lengthen, f"tlast of the {name} did not come where it should"),
    ):
        transport = Faulty(ENGINE, change(name))
        with pytest.raises(LutgenError) as caught:
            run(play(JOB, transport, X))
        assert str(caught.value) == f"step 'fc0': the engine stopped: {text}"
        assert replay(transport)


def test_a_packet_that_never_comes():
    transport = Faulty(ENGINE, lambda packets: packets.pop("tables"))
    with pytest.raises(LutgenError) as caught:
        run(play(JOB, transport, X))
    assert str(caught.value) == (
        "step 'fc0': the engine did not end and was aborted: Packets must come on "
        "['activations', 'centroids', 'tables'], not ['activations', 'centroids']"
    )
    assert replay(transport)


def test_results_that_are_cut():
    class Cut(ModelTransport):
        async def finish(self):
            return (await super().finish())[:-4]

    with pytest.raises(LutgenError) as caught:
        run(play(JOB, Cut(ENGINE), X))
    size = JOB.engine_steps[0].spec(ENGINE, 11).result_bytes
    assert str(caught.value) == f"step 'fc0': Results must be {size} bytes, not {size - 4}"


class Reads(ModelTransport):
    """Reads something else in one register."""

    def __init__(self, spec, name, word):
        super().__init__(spec)
        self.other = engine_registers(spec)[name].offset, word

    async def read(self, address):
        offset, word = self.other
        return word if address == offset else await super().read(address)


@pytest.mark.parametrize(
    ("name", "word", "text"),
    [
        (
            "ID",
            0xFFFFFFFF,
            "register ID: reads 0xffffffff, not 0x4c555445: no engine answers here; check the "
            "address, and that the device is programmed",
        ),
        (
            "VERSION",
            9,
            "register VERSION: reads 9, not 1; build the engine with this lutgen, or play the job "
            "with the one that built it",
        ),
        ("STATUS", 1, "register STATUS: the engine is busy; wait for its job, or abort it"),
    ],
)
def test_what_answers_is_checked(name, word, text):
    with pytest.raises(LutgenError) as caught:
        run(play(JOB, Reads(ENGINE, name, word), X))
    assert str(caught.value) == text


def test_an_engine_of_other_parameters():
    other = EngineSpec(codebooks=9, subvec=2)
    with pytest.raises(LutgenError) as caught:
        run(play(JOB, ModelTransport(other), X))
    assert str(caught.value).endswith(
        "the job was compiled for an engine of other parameters; compile the model for this one"
    )


def test_an_engine_that_stays_busy():
    class Busy(ModelTransport):
        async def finish(self):
            results = await super().finish()
            self._set("STATUS", busy=1)
            return results

    with pytest.raises(LutgenError) as caught:
        run(play(JOB, Busy(ENGINE), X))
    assert str(caught.value) == (
        "step 'fc0': the engine stayed busy after its results and was aborted"
    )


class Slow(ModelTransport):
    """An engine of which a packet never comes, and that takes some reads to end after an abort."""

    def __init__(self, spec, reads):
        super().__init__(spec)
        self.reads, self.left = reads, 0
        self.cancelled = []

    async def begin(self, packets, room):
        await super().begin({"tables": packets["tables"]}, room)

    async def write(self, address, value):
        control = engine_registers(ENGINE)["CONTROL"]
        if address == control.offset and control.unpack(value)["abort"]:
            self.left = self.reads
        await super().write(address, value)

    async def read(self, address):
        if address == engine_registers(ENGINE)["STATUS"].offset and self.left:
            self.left -= 1
            return 1
        return await super().read(address)

    async def cancel(self):
        self.cancelled.append(self.left)
        await super().cancel()


def test_packets_are_kept_until_the_engine_is_idle():
    """The engine ends its packet of results after an abort, so the receiver must still be there."""
    transport = Slow(ENGINE, 5)
    with pytest.raises(LutgenError, match=r"the engine did not end and was aborted: Packets must"):
        run(play(JOB, transport, X))
    assert transport.cancelled == [0]


def test_an_engine_that_no_abort_ends(monkeypatch):
    monkeypatch.setattr("lutgen.host.player.POLLS", 9)
    with pytest.raises(LutgenError, match=r"did not end and was aborted, but is busy still: Pack"):
        run(play(JOB, Slow(ENGINE, 100), X))


def test_registers_that_are_refused():
    class Refuses(ModelTransport):
        async def write(self, address, value):
            if address == engine_registers(ENGINE)["ROWS"].offset:
                raise BusError("no")
            await super().write(address, value)

    with pytest.raises(LutgenError) as caught:
        run(play(JOB, Refuses(ENGINE), X))
    assert str(caught.value) == "step 'fc0': the engine refused its registers: no"


def test_the_model_answers_as_the_map_says():
    transport = ModelTransport(ENGINE)
    registers = engine_registers(ENGINE)
    for address, value in ((0x100C, 0), (registers["ID"].offset, 0), (registers["ROWS"].offset, 0)):
        with pytest.raises(BusError):
            run(transport.write(address, value))
    with pytest.raises(BusError):
        run(transport.read(0x100C))
    with pytest.raises(TimeoutError, match=r"^the engine was not started$"):
        run(transport.finish())


# Memory-mapped devices: a device of this test behind a bytearray and three senders.


class Device:
    """The engine's model behind memory: looks at it whenever its channels are looked at."""

    def __init__(self, spec):
        self.transport = ModelTransport(spec)
        self.map = engine_registers(spec)
        self.memory = bytearray(4096)
        self.words = np.frombuffer(self.memory, dtype="<u4")
        self.packets, self.results, self.room = {}, None, None
        self.mirror()

    def mirror(self):
        for register in self.map.registers:
            self.words[register.offset // 4] = run(self.transport.read(register.offset))

    def look(self):
        """Does what has been written since the last look."""
        control = self.map["CONTROL"]
        if not control.unpack(int(self.words[control.offset // 4]))["start"]:
            return
        for register in self.map.registers:
            if register.writable and register is not control:
                word = int(self.words[register.offset // 4])
                run(self.transport.write(register.offset, word))
        run(self.transport.begin(self.packets, self.room))
        run(self.transport.write(control.offset, control.pack({"start": 1})))
        self.results = run(self.transport.finish())
        self.packets = {}
        self.mirror()


class Channel:
    """A sender or the receiver."""

    def __init__(self, device, name):
        self.device, self.name, self.stuck = device, name, False

    def send(self, data):
        if not self.stuck:
            self.device.packets[self.name] = data

    def sent(self):
        if self.stuck:
            return False
        self.device.look()
        return self.name not in self.device.packets

    def receive(self, room):
        assert not self.device.packets, "the receiver must be ready first"
        self.device.room, self.device.results = room, None

    def received(self):
        return self.device.results

    def reset(self):
        self.device.packets, self.device.results = {}, None


def mapped(**options):
    device = Device(ENGINE)
    senders = {name: Channel(device, name) for name in ("activations", "centroids", "tables")}
    transport = MappedTransport(device.memory, senders, Channel(device, "results"), **options)
    return transport, device, senders


def test_a_memory_mapped_engine():
    transport, device, _ = mapped(wait=lambda: None)
    found = run(play(JOB, transport, X, batch=5))
    assert np.array_equal(found.outputs, GOLDEN.outputs)
    assert found.steps[1].counters["lookups"] > 0
    assert device.room > 0


def test_a_memory_mapped_engine_that_hangs():
    transport, _, senders = mapped(timeout=0.01)
    for sender in senders.values():
        sender.stuck = True
    with pytest.raises(LutgenError) as caught:
        run(play(JOB, transport, X))
    assert str(caught.value) == (
        "step 'fc0': the engine did not end and was aborted: activations, centroids, tables, "
        "results under way after 0.01 seconds"
    )


@pytest.mark.parametrize(
    ("memory", "names", "timeout", "text"),
    [
        (
            bytearray(4096),
            ("activations",),
            1,
            "Senders must be activations, centroids, tables, not activations",
        ),
        (
            bytearray(4096),
            ("activations", "centroids", "tables"),
            0,
            "Timeout must be a positive number of seconds, not 0",
        ),
        (
            bytes(4096),
            ("activations", "centroids", "tables"),
            1,
            "Registers must be a writable map",
        ),
    ],
)
def test_mapped_refuses(memory, names, timeout, text):
    with pytest.raises(ValueError, match=r"^") as caught:
        MappedTransport(memory, dict.fromkeys(names), None, timeout=timeout)
    assert str(caught.value) == text
