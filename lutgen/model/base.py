"""What all nodes of a LUT network share: formats on wires, how manifests are read, the checks of
one node on its own.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lutgen.archive import Members
from lutgen.errors import LutgenError
from lutgen.numeric import Format

__all__ = [
    "NAME",
    "Activation",
    "Arrays",
    "Fields",
    "Node",
    "Shape",
    "Wire",
    "check_range",
    "take_array",
]

Shape = tuple[int, ...]
Arrays = dict[str, NDArray[Any]]

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


@dataclass(frozen=True)
class Activation:
    """What stands on a wire between nodes: an integer format, and the scale that people read it
    with.

    Parameters
    ----------
    bits, signed
        See `lutgen.numeric.Format`.
    scale : float
        Real value of 1; no arithmetic of the model uses it.
    """

    bits: int
    signed: bool
    scale: float

    @property
    def format(self) -> Format:
        """The integer format alone."""
        return Format(self.bits, self.signed)

    def to_manifest(self) -> dict[str, Any]:
        """The manifest entry."""
        return {"bits": self.bits, "signed": self.signed, "scale": self.scale}


@dataclass(frozen=True)
class Wire:
    """Shape and format of what a node gives; ``activation`` is None for accumulators, classes."""

    shape: Shape
    activation: Activation | None

    @property
    def size(self) -> int:
        """Elements of one sample."""
        return prod(self.shape)


class Fields:
    """Reads one JSON object of a manifest field by field; every complaint names the object and the
    field.
    """

    def __init__(self, data: object, where: str):
        if not isinstance(data, dict):
            raise LutgenError(f"{where}: must be a JSON object, not {data!r:.40}")
        self._data = data
        self._where = where
        self._read: set[str] = set()

    @property
    def where(self) -> str:
        """How errors speak of this object."""
        return self._where

    def fail(self, key: str, text: str) -> LutgenError:
        """The error for one field."""
        return LutgenError(f"{self._where}, field {key!r}: {text}")

    def take(self, key: str, default: Any = ...) -> Any:
        """The raw value of a field, or ``default`` if one is given and the field is absent."""
        self._read.add(key)
        if key not in self._data:
            if default is ...:
                raise self.fail(key, "is missing")
            return default
        return self._data[key]

    def integer(self, key: str, low: int, high: int) -> int:
        """An integer of ``low..high``."""
        value = self.take(key)
        if type(value) is not int or not low <= value <= high:
            raise self.fail(key, f"must be an integer between {low} and {high}, not {value!r:.40}")
        return value

    def text(self, key: str) -> str:
        """A string."""
        value = self.take(key)
        if not isinstance(value, str):
            raise self.fail(key, f"must be a string, not {value!r:.40}")
        return value

    def flag(self, key: str) -> bool:
        """A boolean."""
        value = self.take(key)
        if not isinstance(value, bool):
            raise self.fail(key, f"must be true or false, not {value!r:.40}")
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """One of some strings."""
        value = self.text(key)
        if value not in choices:
            raise self.fail(key, f"must be one of {', '.join(choices)}, not {value!r:.40}")
        return value

    def positive(self, key: str) -> float:
        """A positive finite number."""
        value = self.take(key)
        if type(value) not in (int, float) or not 0 < value < sys.float_info.max:
            raise self.fail(key, f"must be a positive number, not {value!r:.40}")
        return float(value)

    def names(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self.take(key)
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self.fail(key, f"must be a list of node names, not {value!r:.40}")
        return tuple(value)

    def integers(self, key: str, count: int, low: int, high: int) -> tuple[int, ...]:
        """A list of ``count`` integers of ``low..high``."""
        value = self.take(key)
        good = isinstance(value, list) and all(type(v) is int and low <= v <= high for v in value)
        if not good or len(value) != count:
            raise self.fail(
                key,
                f"must be a list of {count} integers between {low} and {high}, not {value!r:.40}",
            )
        return tuple(value)

    def shape(self, key: str) -> Shape:
        """A list of one to three positive integers."""
        value = self.take(key)
        good = isinstance(value, list) and all(type(v) is int and v > 0 for v in value)
        if not good or not 1 <= len(value) <= 3:
            raise self.fail(key, f"must be a list of 1 to 3 positive integers, not {value!r:.40}")
        return tuple(value)

    def activation(self) -> Activation:
        """The fields ``bits``, ``signed``, ``scale`` of this object."""
        return Activation(self.integer("bits", 2, 16), self.flag("signed"), self.positive("scale"))

    def inner(self, key: str) -> "Fields":
        """The reader of an object inside this one."""
        return Fields(self.take(key), f"{self._where}, field {key!r}")

    def output(self) -> Activation:
        """The object ``output``, an activation."""
        reader = self.inner("output")
        activation = reader.activation()
        reader.done()
        return activation

    def done(self) -> None:
        """Complains of fields that nobody read."""
        for key in self._data:
            if key not in self._read:
                raise self.fail(
                    key, "is unknown to this version; a newer lutgen may have written it"
                )


@dataclass(frozen=True, kw_only=True)
class Node:
    """What all nodes have: a name, the operation, the names of the nodes that feed it."""

    op: ClassVar[str] = ""

    name: str
    inputs: tuple[str, ...]

    @property
    def where(self) -> str:
        """How errors speak of this node."""
        return f"node {self.name!r}"

    def fail(self, what: str, text: str) -> LutgenError:
        """The error for one field or array of this node."""
        return LutgenError(f"{self.where}, {what}: {text}")

    def to_manifest(self) -> dict[str, Any]:
        """The manifest entry."""
        return {"name": self.name, "op": self.op, "inputs": list(self.inputs)}

    def arrays(self) -> Arrays:
        """The arrays by the name after the dot."""
        return {}

    @classmethod
    def from_manifest(
        cls, name: str, inputs: tuple[str, ...], fields: Fields, arrays: Members
    ) -> "Node":
        """Reads the rest of the fields; takes what it needs out of ``arrays``."""
        return cls(name=name, inputs=inputs)

    def check_inputs(self) -> None:
        """Complains of a wrong number of inputs."""
        if len(self.inputs) != 1:
            raise self.fail("field 'inputs'", f"must name 1 node, not {len(self.inputs)}")

    def infer(self, wires: Sequence[Wire]) -> Wire:
        """Checks the node behind these wires, one for each of ``inputs``; gives its own."""
        raise NotImplementedError

    def activation(self, wire: Wire) -> Activation:
        """The activation on an input; complains of accumulators and classes."""
        if wire.activation is None:
            raise self.fail(
                "field 'inputs'", "must name a node with an activation format, not accumulators"
            )
        return wire.activation

    def image(self, wire: Wire) -> tuple[int, int, int]:
        """Height, width and channels of an input; complains of other shapes."""
        if len(wire.shape) != 3:
            raise self.fail(
                "field 'inputs'",
                "must name a node with height, width and channels, "
                f"not of the shape {'x'.join(map(str, wire.shape))}",
            )
        height, width, channels = wire.shape
        return height, width, channels


def take_array(
    arrays: Members, name: str, key: str, dtype: Any, shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """Removes ``name.key`` from ``arrays``, checks its dtype and shape (None stands for any
    length), and only then reads it.
    """
    full = f"{name}.{key}"
    if full not in arrays:
        raise LutgenError(f"node {name!r}, array {key!r}: is missing")
    array = arrays.pop(full)
    if not np.issubdtype(array.dtype, np.integer) or (dtype and array.dtype != dtype):
        want = np.dtype(dtype).name if dtype else "integers"
        raise LutgenError(f"node {name!r}, array {key!r}: must hold {want}, not {array.dtype}")
    same_rank = len(array.shape) == len(shape)
    if not same_rank or any(s not in (None, a) for s, a in zip(shape, array.shape, strict=True)):
        text = "x".join("any" if s is None else str(s) for s in shape)
        have = "x".join(map(str, array.shape)) or "a scalar"
        raise LutgenError(f"node {name!r}, array {key!r}: must have the shape {text}, not {have}")
    return array.load()


def check_range(node: Node, key: str, array: NDArray[Any], low: int, high: int) -> None:
    """Complains of entries outside ``low..high``."""
    if array.size and (array.min() < low or array.max() > high):
        bad = int(array.max()) if array.max() > high else int(array.min())
        raise node.fail(f"array {key!r}", f"must hold values of {low}..{high}, not {bad}")
