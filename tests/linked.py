"""A small network behind a link: the same in all tests, so that its simulation is built once."""

from functools import cache

import numpy as np
from simulation import random_inputs, random_model

import lutgen
from lutgen.gateware.link import board_core

CLOCK_HZ, BAUD = 12_000_000, 3_000_000


@cache
def model():
    """Two lookup layers, 16 inputs."""
    return random_model(np.random.default_rng(11), layers=2, features=16, metric="l1")


@cache
def core(loadable=False):
    """Its core."""
    return lutgen.build(model(), loadable=loadable)


@cache
def board(loadable=False):
    """Its core behind a link."""
    made = core(loadable)
    return board_core(made.verilog, made.contract, clock_hz=CLOCK_HZ, baud=BAUD)


def samples(count, seed=0):
    """Random inputs ``[sample, element]`` and what the model makes of them."""
    x = random_inputs(np.random.default_rng(seed), model(), count)
    return x, model().run(x)[model().nodes[-1].name]
