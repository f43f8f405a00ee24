"""The LUT network: nodes, checks, `.lut` files and golden inference."""

from lutgen.model.base import Activation, Node, Wire
from lutgen.model.file import digest, load, save
from lutgen.model.lookup import LutConv2d, LutLayer, LutLinear
from lutgen.model.network import Model, Prediction
from lutgen.model.nodes import Add, Argmax, AvgPool2d, Flatten, Map, MaxPool2d

__all__ = [
    "Activation",
    "Add",
    "Argmax",
    "AvgPool2d",
    "Flatten",
    "LutConv2d",
    "LutLayer",
    "LutLinear",
    "Map",
    "MaxPool2d",
    "Model",
    "Node",
    "Prediction",
    "Wire",
    "digest",
    "load",
    "save",
]
