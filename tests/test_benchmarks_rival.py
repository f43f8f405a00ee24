"""The multiply-accumulate core that lookup cores are measured against: its golden, its timing."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lutgen.flows import simulate
from lutgen.train import FloatNet, Linear, ReLU

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import itertools

from rival.build import build
from rival.cells import models
from rival.quantise import Layer, Network, quantise
from rival.spec import TARGETS, fold


def random_network(rng, sizes):
    """Random weights and biases, with shifts that leave something of the sums."""
    layers = []
    for number, (k, n) in enumerate(itertools.pairwise(sizes)):
        final = number == len(sizes) - 2
        weight, bias = rng.integers(-128, 128, (k, n)), rng.integers(-5000, 5000, n)
        layers.append(Layer(weight, bias, None if final else int(rng.integers(5, 9))))
    return Network(tuple(layers))


PAIRS = replace(TARGETS["generic"], weights=4)


@pytest.mark.parametrize(
    ("sizes", "target", "macs"),
    [((30, 12, 5), "up5k", None), ((30, 12, 5), "ecp5-25f", None), ((20, 9, 7, 3), PAIRS, 8)],
)
def test_core_is_golden(verilator, sizes, target, macs):
    rng = np.random.default_rng(1)
    network = random_network(rng, sizes)
    core = build(network, target=target, macs=macs)
    x = rng.integers(0, 256, (21, sizes[0]))
    report = simulate(
        core.verilog + models(core.spec.target.name),
        core.contract,
        x,
        network.outputs(x),
        load_words=core.load_words,
        faults=True,
        driver="compiled",
        seed=3,
    )
    assert report.passed, report.describe()


def test_quantised_network_is_near():
    rng = np.random.default_rng(2)
    layers = [
        Linear("a", ["input"], rng.standard_normal((20, 16)).astype(np.float32), np.ones(16)),
        ReLU("r", ["a"]),
        Linear("b", ["r"], rng.standard_normal((16, 4)).astype(np.float32)),
    ]
    net = FloatNet((20,), layers)
    x = rng.integers(0, 256, (400, 20))
    network = quantise(net, x[:200], unit=1 / 255)
    real = net.logits(x[200:], unit=1 / 255)
    given = network.outputs(x[200:]) * network.result_scale
    assert np.abs(given - real).mean() < 0.03 * np.abs(real).mean()
    assert (given.argmax(axis=1) == real.argmax(axis=1)).mean() > 0.95


def test_fold_uses_the_multipliers():
    network = random_network(np.random.default_rng(3), (784, 64, 10))
    for name, least in (("up5k", 16), ("ecp5-25f", 28)):
        spec = fold(network, TARGETS[name])
        products = 784 * 64 + 64 * 10
        assert spec.macs == least
        assert products / least <= spec.interval < 1.02 * products / least


def test_unknown_target():
    network = random_network(np.random.default_rng(4), (4, 2))
    with pytest.raises(ValueError, match="Target must be one of generic, up5k, ecp5-25f, not 'x'"):
        build(network, target="x")
