"""The LUT network: nodes, checks, `.lut` files and golden inference."""

from lutgen.model.file import digest, load, save
from lutgen.model.network import Model, Prediction, Wire
from lutgen.model.nodes import Activation, Argmax, Flatten, LutLinear, Node

__all__ = [
    "Activation",
    "Argmax",
    "Flatten",
    "LutLinear",
    "Model",
    "Node",
    "Prediction",
    "Wire",
    "digest",
    "load",
    "save",
]
