"""The core: input buffers, a fixed program of rows, multipliers, sums, results."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from lutgen.gateware.load import LOAD_WORD_BITS, Loader
from lutgen.gateware.memory import Buffer, Store
from lutgen.gateware.network import axis_sink, axis_source
from lutgen.gateware.tree import delay, position_bits, registered_tree
from lutgen.numeric import clog2
from rival.cells import products
from rival.spec import FETCH, CoreSpec

__all__ = ["OUTPUT_LANE_BITS", "RivalCore"]

OUTPUT_LANE_BITS = 32


class Inputs(wiring.Component):
    """Takes samples into buffers, two batches of them; broken ones never become part of a batch.

    A batch is full with ``spec.samples`` samples, or with fewer when the multipliers rest and no
    sample is arriving.

    Parameters
    ----------
    spec : CoreSpec

    Members
    -------
    tdata, tvalid, tready, tlast, error
        The port; see docs/core-contract.md.
    open : In(1)
        Low while memories are loaded: no sample may begin.
    resting : In(1)
        No batch is being computed.
    free : In(1)
        The oldest batch has been read for the last time.
    full : Out(2)
        Which of the two buffers hold a batch.
    count : Out
        Samples of each batch, less one.
    within : Out(1)
        A sample has begun and not ended.
    empty : Out(1)
        No sample is here.
    slot, row : In
        What is read.
    x : Out
        A row of each sample, in the next cycle.
    """

    def __init__(self, spec: CoreSpec):
        self.spec = spec
        self.width = 8 * spec.inputs
        self.row_bits = position_bits(spec.beats)
        super().__init__(
            {
                "tdata": In(self.width),
                "tvalid": In(1),
                "tready": Out(1),
                "tlast": In(1),
                "error": Out(1),
                "open": In(1),
                "resting": In(1),
                "free": In(1),
                "full": Out(2),
                "count": Out(position_bits(spec.samples)).array(2),
                "within": Out(1),
                "empty": Out(1),
                "slot": In(1),
                "row": In(self.row_bits),
                "x": Out(self.width).array(spec.samples),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        slot, oldest = Signal(name="fill_slot"), Signal(name="oldest_slot")
        held = Signal(range(spec.samples + 1), name="held")
        row = Signal(self.row_bits, name="fill_row")
        final = Signal(init=spec.beats == 1, name="final_beat")
        first = Signal(init=1, name="first_beat")
        swallowing = Signal(name="swallowing")
        takes, whole, closes = (Signal(name=f"{n}_now") for n in ("take", "whole", "close"))
        here = self.full.bit_select(slot, 1)
        m.d.comb += [
            self.tready.eq(swallowing | (~here & (self.open | ~first))),
            takes.eq(self.tvalid & self.tready & ~swallowing),
            whole.eq(takes & final & self.tlast),
            self.within.eq(~first | swallowing),
            self.empty.eq((held == 0) & ~self.full.any()),
        ]
        with m.If(takes):
            with m.If(final | self.tlast):
                m.d.sync += [row.eq(0), first.eq(1), final.eq(spec.beats == 1)]
            with m.Else():
                m.d.sync += [row.eq(row + 1), first.eq(0), final.eq(row == spec.beats - 2)]
            m.d.sync += swallowing.eq(final & ~self.tlast)
            with m.If(final ^ self.tlast):
                m.d.sync += self.error.eq(1)
        with m.If(swallowing & self.tvalid & self.tlast):
            m.d.sync += swallowing.eq(0)
        # One alone is computed where the next is not on its way.
        alone = Const(0)
        if spec.samples > 1:
            alone = self.resting & (held != 0) & ~self.within & ~(self.tvalid & self.tready) & ~here
        m.d.comb += closes.eq((whole & (held == spec.samples - 1)) | alone)
        with m.If(closes):
            m.d.sync += [held.eq(0), slot.eq(~slot), self.full.bit_select(slot, 1).eq(1)]
            for number in range(2):
                with m.If(slot == number):
                    m.d.sync += self.count[number].eq(held - ~whole)
        with m.Elif(whole):
            m.d.sync += held.eq(held + 1)
        with m.If(self.free):
            m.d.sync += [self.full.bit_select(oldest, 1).eq(0), oldest.eq(~oldest)]
        for number in range(spec.samples):
            m.submodules[f"buffer_{number}"] = memory = Buffer(
                2 << self.row_bits, self.width, spare=True
            )
            m.d.comb += [
                memory.load.en.eq(takes & (held == number)),
                memory.load.addr.eq(Cat(row, slot)),
                memory.load.data.eq(self.tdata),
                memory.en.eq(1),
                memory.addr.eq(Cat(self.row, self.slot)),
                self.x[number].eq(memory.data),
            ]
        return m


class Program(wiring.Component):
    """Walks through the rows of all layers: a row a cycle, without a stop within a batch.

    Parameters
    ----------
    spec : CoreSpec

    Members
    -------
    ready : In(1)
        The next batch may begin.
    begins : Out(1)
        It does.
    running : Out(1)
        The other outputs mean something.
    weight : Out
        Row of the weight memory.
    row : Out
        Of the input's buffer.
    hidden_row : Out
        Of the hidden layers' buffer.
    from_input : Out(1)
        Which of the two is read.
    first, last : Out(1)
        Of a pass.
    read : Out(1)
        The last row of the input.
    """

    def __init__(self, spec: CoreSpec):
        self.spec = spec
        super().__init__(
            {
                "ready": In(1),
                "begins": Out(1),
                "running": Out(1),
                "weight": Out(position_bits(spec.cycles)),
                "row": Out(position_bits(spec.beats)),
                "hidden_row": Out(position_bits(max(2, spec.hidden_bases[-1]))),
                "from_input": Out(1),
                "first": Out(1),
                "last": Out(1),
                "read": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        program = self.spec.program
        layer = Signal(range(len(program)), name="layer")
        # Rows after this one in the pass, passes after this one in the layer.
        rows = Signal(range(max(p.first_lead + p.rows for p in program)), name="rows_left")
        passes = Signal(range(max(p.passes for p in program)), name="passes_left")
        last_pass, last_layer = Signal(name="last_pass"), Signal(name="last_layer")
        next_layer = Signal(name="next_layer")
        batch_ends = Signal(name="batch_ends")
        m.d.comb += [
            next_layer.eq(self.running & self.last & last_pass),
            batch_ends.eq(next_layer & last_layer),
            self.begins.eq(self.ready & (batch_ends | ~self.running)),
            self.read.eq(next_layer & self.from_input),
        ]
        m.d.sync += [
            self.first.eq(self.last | self.begins),
            rows.eq(rows - 1),
            self.last.eq(rows == 1),
            self.weight.eq(self.weight + 1),
            self.row.eq(self.row + 1),
            self.hidden_row.eq(self.hidden_row + 1),
        ]
        bases = (0, *self.spec.hidden_bases)
        with m.If(self.begins):
            self._enter(m, rows, passes, last_pass, 0, True, bases)
            m.d.sync += [
                self.running.eq(1),
                layer.eq(0),
                last_layer.eq(len(program) == 1),
                self.from_input.eq(1),
                self.weight.eq(0),
            ]
        with m.Elif(batch_ends):
            m.d.sync += self.running.eq(0)
        with m.Elif(self.last):
            with m.Switch(layer):
                for number in range(len(program)):
                    with m.Case(number):
                        with m.If(~last_pass):
                            self._enter(m, rows, passes, last_pass, number, False, bases)
                        if number + 1 < len(program):
                            with m.Else():
                                self._enter(m, rows, passes, last_pass, number + 1, True, bases)
                                m.d.sync += [
                                    layer.eq(number + 1),
                                    last_layer.eq(number + 2 == len(program)),
                                    self.from_input.eq(0),
                                ]
        return m

    def _enter(self, m, rows, passes, last_pass, number, first, bases):
        """The first row of a pass of layer ``number``."""
        part = self.spec.program[number]
        lead = part.first_lead if first else part.lead
        m.d.sync += [
            rows.eq(lead + part.rows - 1),
            self.last.eq(lead + part.rows == 1),
        ]
        # Where nothing is read yet the weights are 0, and the addresses those before the first.
        if number:
            m.d.sync += self.hidden_row.eq((bases[number] - lead) % (1 << len(self.hidden_row)))
        else:
            m.d.sync += self.row.eq(-lead % (1 << len(self.row)))
        if first:
            m.d.sync += [passes.eq(part.passes - 1), last_pass.eq(part.passes == 1)]
        else:
            m.d.sync += [passes.eq(passes - 1), last_pass.eq(passes == 1)]


class Sums(wiring.Component):
    """Adds up the products of every pass, and gives the sums one after the other.

    Parameters
    ----------
    spec : CoreSpec

    Members
    -------
    weights, xs : In
        A row of each.
    first, last : In(1)
        With the row, of a pass.
    valid : Out(1)
        A sum leaves: that of the next sample, or of the next lane's first.
    sum : Out
    """

    def __init__(self, spec: CoreSpec):
        self.spec = spec
        super().__init__(
            {
                "weights": In(spec.weight_bits),
                "xs": In(8 * spec.inputs).array(spec.samples),
                "first": In(1),
                "last": In(1),
                "valid": Out(1),
                "sum": Out(signed(spec.acc.bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        wait = spec.depth - FETCH - 1
        first = delay(m, Const(1), self.first, wait, name="first")
        last = delay(m, Const(1), self.last, wait + 1, name="last")
        sums = []
        for lane in range(spec.lanes):
            terms = [[] for _ in range(spec.samples)]
            for number in range(spec.inputs):
                weight = self.weights.word_select(lane * spec.inputs + number, 8).as_signed()
                xs = [x.word_select(number, 8) for x in self.xs]
                made = products(m, spec.target.name, weight, xs, name=f"mac_{lane}_{number}")
                for sample, product in enumerate(made):
                    for step in range(spec.target.settle):
                        held = Signal(
                            signed(16),
                            name=f"product_{lane}_{number}_{sample}_{step}",
                            reset_less=True,
                        )
                        m.d.sync += held.eq(product)
                        product = held
                    terms[sample].append(product)
            for sample in range(spec.samples):
                row = registered_tree(
                    m,
                    Const(1),
                    terms[sample],
                    lambda a, b: a + b,
                    name=f"tree_{lane}_{sample}",
                )
                acc = Signal(signed(spec.acc.bits), name=f"acc_{lane}_{sample}", reset_less=True)
                m.d.sync += acc.eq(Mux(first, 0, acc) + row)
                sums.append(acc)
        left = Signal(range(spec.drain + 1), name="sums_left")
        shown = [Signal.like(acc, name=f"shown_{i}") for i, acc in enumerate(sums)]
        for number, signal in enumerate(shown):
            after = shown[number + 1] if number + 1 < len(shown) else signal
            m.d.sync += signal.eq(Mux(last, sums[number], after))
        m.d.comb += [self.sum.eq(shown[0]), self.valid.eq(left != 0)]
        with m.If(last):
            m.d.sync += left.eq(spec.drain)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        return m


class Finish(wiring.Component):
    """Adds biases to the sums that leave; what is in a hidden layer is requantised.

    Parameters
    ----------
    spec : CoreSpec

    Members
    -------
    valid, sum : In
        From `Sums`.
    bias_row : Out
        The sum's bias, to be given in the next cycle.
    bias : In
    hidden : Out(1)
        An activation is to be written.
    sample : Out
        Of the batch.
    place : Out
        Row and element of the row that it goes to.
    activation : Out(8)
    result : Out(1)
        A result is to be written.
    number : Out
        Which of the last layer.
    total : Out
    done : Out(1)
        It is the last of the batch.
    """

    def __init__(self, spec: CoreSpec):
        self.spec = spec
        self.place_bits = position_bits(spec.inputs)
        super().__init__(
            {
                "valid": In(1),
                "sum": In(signed(spec.acc.bits)),
                "bias_row": Out(position_bits(spec.bias_rows)),
                "bias": In(signed(spec.bias.bits)),
                "hidden": Out(1),
                "sample": Out(position_bits(spec.samples)),
                "row": Out(position_bits(max(2, spec.hidden_bases[-1]))),
                "place": Out(self.place_bits),
                "activation": Out(8),
                "result": Out(1),
                "number": Out(position_bits(spec.sizes[-1])),
                "total": Out(signed(spec.total.bits)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        program = spec.program
        layers = len(program)
        layer = Signal(range(layers), name="layer")
        # Of all the sums of the layer, those too that only fill up its last pass.
        number = Signal(range(max(p.passes for p in program) * spec.lanes), name="output")
        sample = Signal.like(self.sample, name="of_sample")
        row, place = Signal.like(self.row, name="to_row"), Signal.like(self.place, name="to_place")
        last_sample, last_output = Signal(name="last_sample"), Signal(name="last_output")
        used = Signal(name="used")
        m.d.comb += last_sample.eq(sample == spec.samples - 1)
        with m.Switch(layer):
            for index, part in enumerate(program):
                with m.Case(index):
                    m.d.comb += [
                        last_output.eq(number == part.passes * spec.lanes - 1),
                        used.eq(number < part.outputs),
                    ]
        with m.If(self.valid):
            m.d.sync += sample.eq(Mux(last_sample, 0, sample + 1))
            with m.If(last_sample):
                m.d.sync += [
                    number.eq(number + 1),
                    self.bias_row.eq(self.bias_row + 1),
                    place.eq(Mux(place == spec.inputs - 1, 0, place + 1)),
                    row.eq(row + (place == spec.inputs - 1)),
                ]
                with m.If(last_output):
                    m.d.sync += [number.eq(0), place.eq(0)]
                    with m.Switch(layer):
                        for index in range(layers):
                            with m.Case(index):
                                after = (index + 1) % layers
                                base = spec.hidden_bases[after] if after < layers - 1 else 0
                                m.d.sync += [layer.eq(after), row.eq(base)]
                                if not after:
                                    m.d.sync += self.bias_row.eq(0)
        # The sum beside its bias, both together, requantised.
        held = Signal.like(self.sum, name="held", reset_less=True)
        total = Signal.like(self.total, name="held_total", reset_less=True)
        m.d.sync += [held.eq(self.sum), total.eq(held + self.bias), self.total.eq(total)]
        is_final = layer == layers - 1
        is_last = number == spec.sizes[-1] - 1
        for signal, value in (
            (self.hidden, self.valid & used & ~is_final),
            (self.result, self.valid & used & is_final),
            (self.done, self.valid & is_final & is_last & last_sample),
            (self.sample, sample),
            (self.row, row),
            (self.place, place),
            (self.number, number),
        ):
            m.d.sync += signal.eq(delay(m, Const(1), value, 2, name=f"{signal.name}_early"))
        if spec.shifts:
            self._requantise(m, total, delay(m, Const(1), layer, 2, name="layer_early"))
        return m

    def _requantise(self, m, total, layer):
        """Half a unit is in the bias already."""
        shifted = Signal.like(total, name="shifted")
        with m.Switch(layer):
            for index, shift in enumerate(self.spec.shifts):
                if index == len(self.spec.shifts) - 1:
                    with m.Default():
                        m.d.comb += shifted.eq(total >> shift)
                else:
                    with m.Case(index):
                        m.d.comb += shifted.eq(total >> shift)
        negative, rest = total[-1], shifted[8:-1] if len(shifted) > 9 else Const(0)
        m.d.sync += self.activation.eq(Mux(negative, 0, shifted[:8] | rest.any().replicate(8)))


class Results(wiring.Component):
    """Keeps the results of batches, and sends them in order and evenly.

    Parameters
    ----------
    spec : CoreSpec

    Members
    -------
    begins, count : In
        A batch begins, with so many samples, less one.
    room : Out(1)
        A batch may begin.
    idle : Out(1)
        None is under way.
    write, sample, number, total, done : In
        From `Finish`.
    tdata, tvalid, tready, tlast
        The port.
    """

    def __init__(self, spec: CoreSpec):
        self.spec = spec
        super().__init__(
            {
                "begins": In(1),
                "count": In(position_bits(spec.samples)),
                "room": Out(1, init=1),
                "idle": Out(1),
                "write": In(1),
                "sample": In(position_bits(spec.samples)),
                "number": In(position_bits(spec.sizes[-1])),
                "total": In(signed(spec.total.bits)),
                "done": In(1),
                "tdata": Out(OUTPUT_LANE_BITS),
                "tvalid": Out(1),
                "tready": In(1),
                "tlast": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        slot_bits = clog2(spec.slots)
        begun, written, sent = (
            Signal(slot_bits, name=f"{n}_slot") for n in ("begin", "write", "send")
        )
        under_way = Signal(range(spec.slots + 1), name="under_way")
        after = Signal.like(under_way, name="under_way_after")
        ready = Signal(range(spec.slots + 1), name="batches_ready")
        sample = Signal(position_bits(spec.samples), name="send_sample")
        number = Signal.like(self.number, name="send_number")
        goes, final, leaves = Signal(name="goes"), Signal(name="final"), Signal(name="leaves")
        counts = [Signal.like(self.count, name=f"count_{i}") for i in range(spec.slots)]
        even = self._even(m, goes & (number == 0))
        m.submodules.memory = memory = Buffer(
            1 << (slot_bits + len(sample) + len(number)), spec.total.bits
        )
        m.d.comb += [
            memory.load.en.eq(self.write),
            memory.load.addr.eq(Cat(self.number, self.sample, written)),
            memory.load.data.eq(self.total),
            memory.en.eq(goes),
            memory.addr.eq(Cat(number, sample, sent)),
            self.tdata.eq(memory.data.as_signed()),
            goes.eq((ready != 0) & (~self.tvalid | self.tready) & (even | (number != 0))),
            final.eq(number == spec.sizes[-1] - 1),
            leaves.eq(goes & final & (sample == Array(counts)[sent])),
            after.eq(under_way + self.begins - leaves),
            self.idle.eq((under_way == 0) & ~self.tvalid),
        ]
        m.d.sync += [
            under_way.eq(after),
            self.room.eq(after < spec.slots),
            ready.eq(ready + self.done - leaves),
        ]
        with m.If(self.begins):
            m.d.sync += begun.eq(begun + 1)
            for index, count in enumerate(counts):
                with m.If(begun == index):
                    m.d.sync += count.eq(self.count)
        with m.If(self.done):
            m.d.sync += written.eq(written + 1)
        with m.If(self.tready | ~self.tvalid):
            m.d.sync += [self.tvalid.eq(goes), self.tlast.eq(final)]
        with m.If(goes):
            m.d.sync += number.eq(Mux(final, 0, number + 1))
            with m.If(final):
                m.d.sync += sample.eq(Mux(leaves, 0, sample + 1))
        with m.If(leaves):
            m.d.sync += sent.eq(sent + 1)
        return m

    def _even(self, m, begins):
        """Whether the next result may begin: those of a batch are there at once, but spread out."""
        if self.spec.samples == 1:
            return Const(1)
        # In two digits, and the end in a register: one carry chain of all bits bounds the clock.
        most = self.spec.interval - 1
        waits = Signal(name="interval_waits")
        low = Signal(6, name="interval_low")
        high = Signal(range(max(2, (most >> 6) + 1)), name="interval_high")
        with m.If(begins):
            m.d.sync += [waits.eq(most > 0), low.eq(most & 63), high.eq(most >> 6)]
        with m.Elif(waits):
            m.d.sync += low.eq(low - 1)
            with m.If(low == 0):
                m.d.sync += high.eq(high - 1)
            with m.If((high == 0) & (low == 1)):
                m.d.sync += waits.eq(0)
        return ~waits


def whole(rows: int, width: int, contents: list[int] | None) -> Store:
    """A memory of a power of two of rows: counters run on while nothing is computed, and what they
    read then is used by nobody.
    """
    depth = 1 << position_bits(rows)
    if contents is not None:
        contents = contents + [0] * (depth - len(contents))
    return Store(depth, width, contents)


class RivalCore(wiring.Component):
    """A perceptron on shared multipliers. Ports and timing: docs/core-contract.md.

    Parameters
    ----------
    spec : CoreSpec
    weights, biases : list of int or None
        Rows of the memories; None for both where they are loaded.
    """

    def __init__(self, spec: CoreSpec, weights: list[int] | None, biases: list[int] | None):
        self.spec = spec
        self._weights = whole(spec.cycles, spec.weight_bits, weights)
        self._biases = whole(spec.bias_rows, spec.bias.bits, biases)
        self.rams = []
        if weights is None:
            self.rams = [
                ("weight", spec.cycles, spec.weight_bits),
                ("bias", spec.bias_rows, spec.bias.bits),
            ]
        members = axis_sink("s_axis", 8 * spec.inputs)
        members |= {f"m_axis_{k}": v for k, v in axis_source(OUTPUT_LANE_BITS).items()}
        members["frame_error"] = Out(1)
        if self.rams:
            members |= axis_sink("l_axis", LOAD_WORD_BITS)
            members |= {"loaded": Out(1), "load_error": Out(1)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        m.submodules.inputs = inputs = Inputs(spec)
        m.submodules.program = program = Program(spec)
        m.submodules.sums = sums = Sums(spec)
        m.submodules.finish = finish = Finish(spec)
        m.submodules.results = results = Results(spec)
        m.submodules.weights = self._weights
        m.submodules.biases = self._biases
        slot, coming = Signal(name="slot"), Signal(name="next_slot")
        m.d.comb += [
            inputs.tdata.eq(self.s_axis_tdata),
            inputs.tvalid.eq(self.s_axis_tvalid),
            inputs.tlast.eq(self.s_axis_tlast),
            self.s_axis_tready.eq(inputs.tready),
            self.frame_error.eq(inputs.error),
            inputs.resting.eq(~program.running),
            inputs.free.eq(program.read),
            inputs.slot.eq(slot),
            inputs.row.eq(program.row),
            program.ready.eq(inputs.full.bit_select(coming, 1) & results.room),
            results.begins.eq(program.begins),
            results.count.eq(Mux(coming, inputs.count[1], inputs.count[0])),
        ]
        with m.If(program.begins):
            m.d.sync += [slot.eq(coming), coming.eq(~coming)]
        self._fetch(m, inputs, program, sums, finish)
        m.d.comb += [
            finish.valid.eq(sums.valid),
            finish.sum.eq(sums.sum),
            self._biases.en.eq(1),
            self._biases.addr.eq(finish.bias_row),
            finish.bias.eq(self._biases.data.as_signed()),
            results.write.eq(finish.result),
            results.sample.eq(finish.sample),
            results.number.eq(finish.number),
            results.total.eq(finish.total),
            results.done.eq(finish.done),
            self.m_axis_tdata.eq(results.tdata),
            self.m_axis_tvalid.eq(results.tvalid),
            self.m_axis_tlast.eq(results.tlast),
            results.tready.eq(self.m_axis_tready),
        ]
        if self.rams:
            self._connect_loader(m, inputs, results)
        else:
            m.d.comb += inputs.open.eq(1)
        return m

    def _fetch(self, m, inputs, program, sums, finish):
        """Memories, and a register behind them: multipliers begin with registers of their own, but
        block RAMs end without.
        """
        spec = self.spec
        weights = Signal(spec.weight_bits, name="weights_row", reset_less=True)
        m.d.comb += [
            self._weights.en.eq(1),
            self._weights.addr.eq(program.weight),
            sums.weights.eq(weights),
            sums.first.eq(delay(m, Const(1), program.first, FETCH, name="row_first")),
            sums.last.eq(
                delay(m, Const(1), program.last & program.running, FETCH, name="row_last")
            ),
        ]
        m.d.sync += weights.eq(self._weights.data)
        from_input = delay(m, Const(1), program.from_input, 1, name="row_from_input")
        rows = spec.hidden_bases[-1]
        for sample in range(spec.samples):
            x = Signal(8 * spec.inputs, name=f"x_{sample}", reset_less=True)
            hidden = Signal(8 * spec.inputs, name=f"hidden_{sample}")
            m.d.sync += x.eq(Mux(from_input, inputs.x[sample], hidden))
            m.d.comb += sums.xs[sample].eq(x)
            for place in range(spec.inputs if rows else 0):
                name = f"hidden_{sample}_{place}"
                m.submodules[name] = memory = Buffer(
                    1 << position_bits(max(2, rows)), 8, spare=True
                )
                m.d.comb += [
                    memory.load.en.eq(
                        finish.hidden & (finish.place == place) & (finish.sample == sample)
                    ),
                    memory.load.addr.eq(finish.row),
                    memory.load.data.eq(finish.activation),
                    memory.en.eq(1),
                    memory.addr.eq(program.hidden_row),
                    hidden.word_select(place, 8).eq(memory.data),
                ]

    def _connect_loader(self, m, inputs, results):
        """Loading waits until no sample is here; samples wait until loading is done."""
        is_open = Signal(name="port_open")
        # A cycle late, which is soon enough: with the port closed no sample begins.
        busy = Signal(init=1, name="busy")
        m.submodules.loader = loader = Loader(self.rams)
        m.d.comb += [
            loader.i.valid.eq(self.l_axis_tvalid),
            loader.i.p.data.eq(self.l_axis_tdata),
            loader.i.p.last.eq(self.l_axis_tlast),
            self.l_axis_tready.eq(loader.i.ready),
            loader.hold.eq(is_open | busy),
            self.loaded.eq(loader.loaded),
            self.load_error.eq(loader.error),
            inputs.open.eq(is_open),
        ]
        m.d.sync += [
            is_open.eq(loader.loaded & ~loader.wanted),
            busy.eq(is_open | inputs.within | ~inputs.empty | ~results.idle),
        ]
        connect(m, loader.load_weight, self._weights.load)
        connect(m, loader.load_bias, self._biases.load)
