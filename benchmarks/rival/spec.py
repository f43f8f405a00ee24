"""The plan of a core: how products are shared out over cycles, and what time that takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import Format, as_int, ceil_div, clog2, format_for
from rival.quantise import ACTIVATION, Layer, Network

__all__ = ["TARGETS", "CoreSpec", "Pass", "Target", "fold"]

# Cycles between parts of the pipeline, whatever the fold.
FETCH = 2  # memories, and a register behind them
TAIL = 4  # captured sums, one out of them, its bias, its requantised value


@dataclass(frozen=True)
class Target:
    """What a device gives to multiply-accumulates.

    Parameters
    ----------
    name : str
    macs : int
        8-bit products in a cycle that its DSP blocks do.
    weights : int or None
        Weights that its memories give in a cycle, where that is fewer. Products beyond them
        share weights: samples are computed two at a time.
    multiply : int
        Cycles of a multiplier.
    settle : int
        Registers behind it, before sums.
    loadable : bool
        Its weight memory is empty at first.
    """

    name: str
    macs: int
    weights: int | None
    multiply: int
    settle: int
    loadable: bool


TARGETS = {
    # Any simulator and any synthesis.
    "generic": Target("generic", 16, None, 2, 0, False),
    # 8 SB_MAC16 of two products; 4 SPRAMs of 16 bits hold the weights.
    "up5k": Target("up5k", 16, 8, 2, 1, True),
    # 28 MULT18X18D, one product each; 56 block RAMs.
    "ecp5-25f": Target("ecp5-25f", 28, None, 3, 0, False),
}


@dataclass(frozen=True)
class Pass:
    """A layer's part of the program.

    Attributes
    ----------
    rows : int
        Cycles in which ``inputs`` of a sample's elements each are multiplied.
    lead : int
        Idle cycles before them.
    first_lead : int
        Idle cycles before the first pass of the layer, which waits for the layer before it.
    passes : int
        One for every ``lanes`` outputs.
    outputs : int
    """

    rows: int
    lead: int
    first_lead: int
    passes: int
    outputs: int

    @property
    def cycles(self) -> int:
        """Of all passes."""
        return self.passes * (self.lead + self.rows) + self.first_lead - self.lead


@dataclass(frozen=True)
class CoreSpec:
    """A core: ``lanes`` outputs at once, ``inputs`` elements of a row at once, for each of
    ``samples`` samples.

    Parameters
    ----------
    sizes : tuple of int
        Elements of the input, of hidden layers, of the output.
    lanes, inputs, samples : int
    target : Target
    acc : Format
        Of sums without bias, any of them on the way.
    bias : Format
        Of biases, half of a requantised unit added.
    total : Format
        Of sums with bias.
    shifts : tuple of int
        Of the hidden layers.
    extra : int
        Idle cycles before the last layer, for nothing but a number of cycles that divides.
    """

    sizes: tuple[int, ...]
    lanes: int
    inputs: int
    samples: int
    target: Target
    acc: Format
    bias: Format
    total: Format
    shifts: tuple[int, ...]
    extra: int = 0

    @property
    def macs(self) -> int:
        """Products in a cycle."""
        return self.lanes * self.inputs * self.samples

    @property
    def depth(self) -> int:
        """Cycles from a row's address to the sums that it is in."""
        tree = clog2(self.inputs)
        return FETCH + self.target.multiply + self.target.settle + tree + 1

    @property
    def drain(self) -> int:
        """Cycles in which the sums of a pass leave, one a cycle."""
        return self.lanes * self.samples

    @cached_property
    def program(self) -> tuple[Pass, ...]:
        """The layers' passes: as early as what they read is there, and apart by `drain`."""
        made: list[Pass] = []
        for number, (source, outputs) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            rows = ceil_div(source, self.inputs)
            lead = max(0, self.drain - rows)
            first = lead
            if number:
                first = max(lead, self._wait(made[-1]))
            if number == len(self.sizes) - 2:
                first += self.extra
            made.append(Pass(rows, lead, first, ceil_div(outputs, self.lanes), outputs))
        return tuple(made)

    def _wait(self, before: Pass) -> int:
        """Idle cycles after the layer ``before`` until each row is written before it is read."""
        number = np.arange(before.outputs)
        at = number // self.lanes
        # Written, counted from the last row's address of the layer before.
        written = -(before.passes - 1 - at) * (before.lead + before.rows)
        written += self.depth + TAIL + (number % self.lanes + 1) * self.samples - 1
        read = 1 + number // self.inputs
        return max(0, int((written + 1 - read).max()))

    @property
    def cycles(self) -> int:
        """Of a batch of ``samples`` on the multipliers; rows of the weight memory too."""
        return sum(part.cycles for part in self.program)

    @property
    def weight_bits(self) -> int:
        """Of a row."""
        return self.lanes * self.inputs * 8

    @property
    def bias_rows(self) -> int:
        """Rows of the bias memory: an output each, those that only fill up a pass too."""
        return sum(part.passes for part in self.program) * self.lanes

    @property
    def beats(self) -> int:
        """Of an input sample, ``inputs`` elements each."""
        return self.program[0].rows

    @property
    def interval(self) -> int:
        """Cycles between results."""
        return max(self.beats, ceil_div(self.cycles, self.samples))

    @property
    def last_sum(self) -> int:
        """Cycles from a batch's last row address to its last output's write."""
        final = (self.sizes[-1] - 1) % self.lanes
        return self.depth + TAIL + (final + 1) * self.samples - 1

    @property
    def latency(self) -> int:
        """Cycles from the first beat of a batch to the last of its first result."""
        start = self.samples * self.beats + 1
        # Known, fetched, shown; then its beats.
        return start + self.cycles - 1 + self.last_sum + 2 + self.sizes[-1] - 1

    @property
    def slots(self) -> int:
        """Batches that may be anywhere between their first row and their last result's end."""
        after = self.last_sum + 4 + (self.samples - 1) * self.interval + self.sizes[-1]
        need = 2 + after // (self.samples * self.interval)
        return 1 << clog2(need)

    @cached_property
    def hidden_bases(self) -> tuple[int, ...]:
        """First rows of the hidden layers' activations; the last is the number of rows."""
        bases = [0]
        for size in self.sizes[1:-1]:
            bases.append(bases[-1] + ceil_div(size, self.inputs))
        return tuple(bases)

    def weight_memory(self, layers: Sequence[Layer]) -> NDArray[np.uint8]:
        """Bytes ``[row, lane, input]`` of the weight memory, in the order of cycles."""
        parts: list[NDArray[np.uint8]] = []
        for part, layer in zip(self.program, layers, strict=True):
            k, n = layer.weight.shape
            padded = np.zeros((part.rows * self.inputs, part.passes * self.lanes), np.int64)
            padded[:k, :n] = layer.weight
            blocks = padded.reshape(part.rows, self.inputs, part.passes, self.lanes)
            for number in range(part.passes):
                lead = part.lead if number else part.first_lead
                parts.append(np.zeros((lead, self.lanes, self.inputs), np.uint8))
                parts.append((blocks[:, :, number].transpose(0, 2, 1) & 255).astype(np.uint8))
        return np.concatenate(parts)

    def bias_memory(self, layers: Sequence[Layer]) -> list[int]:
        """Biases in two's complement, in the order in which sums leave."""
        rows: list[int] = []
        for part, layer in zip(self.program, layers, strict=True):
            bias = biases(layer)
            if not self.bias.holds(min(bias), max(bias)):
                raise ValueError(f"Biases must be {self.bias} for this core")
            bias += [0] * (part.passes * self.lanes - len(bias))
            rows += [b & ((1 << self.bias.bits) - 1) for b in bias]
        return rows


def biases(layer: Layer) -> list[int]:
    """Biases as they are added: with half of a unit where the sum is shifted."""
    half = 1 << (layer.shift - 1) if layer.shift else 0
    return [int(b) + half for b in layer.bias]


def formats(network: Network, loadable: bool) -> tuple[Format, Format, Format]:
    """Of sums, biases and both: the worst case over the weights, or over any weights."""
    low = high = bias_low = bias_high = total_low = total_high = 0
    for layer in network.layers:
        if loadable:
            k = layer.weight.shape[0]
            least = np.array([-128 * ACTIVATION.high * k])
            most = np.array([127 * ACTIVATION.high * k])
        else:
            least = np.minimum(layer.weight, 0).sum(axis=0) * ACTIVATION.high
            most = np.maximum(layer.weight, 0).sum(axis=0) * ACTIVATION.high
        bias = np.array(biases(layer))
        low, high = min(low, int(least.min())), max(high, int(most.max()))
        bias_low, bias_high = min(bias_low, int(bias.min())), max(bias_high, int(bias.max()))
        total_low = min(total_low, int((least + bias).min()))
        total_high = max(total_high, int((most + bias).max()))
    acc = format_for(min(low, -1), high)
    if loadable:
        return acc, acc, Format(acc.bits + 1, True)
    return acc, format_for(min(bias_low, -1), bias_high), format_for(min(total_low, -1), total_high)


def folds(macs: int, target: Target) -> Iterator[tuple[int, int, int]]:
    """Lanes, inputs and samples of every fold in ``macs`` products a cycle."""
    share = macs if target.weights is None else min(macs, target.weights)
    samples = max(1, macs // share)
    for lanes in range(1, share + 1):
        yield lanes, share // lanes, min(samples, 2)


def fold(network: Network, target: Target, macs: int | None = None) -> CoreSpec:
    """The fold with the shortest interval; among equals the one with the fewest sums.

    Parameters
    ----------
    network : Network
    target : Target
    macs : int or None
        Products in a cycle; None for all that the target's DSP blocks do.
    """
    macs = target.macs if macs is None else as_int(macs, "Macs", low=1)
    made = formats(network, target.loadable)
    shifts = tuple(k.shift for k in network.layers if k.shift is not None)
    best: list[CoreSpec] = []
    for lanes, inputs, samples in folds(macs, target):
        spec = CoreSpec(network.sizes, lanes, inputs, samples, target, *made, shifts)
        # Results of a batch are evenly apart only if its cycles divide.
        best.append(replace(spec, extra=-spec.cycles % samples))
    return min(best, key=lambda s: (s.interval, s.drain, s.inputs))
