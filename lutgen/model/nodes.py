"""The nodes of a LUT network: plain data, their manifest entries, and the checks of one node on its
own.

A node is described by its fields and its arrays; `lutgen.model.network` puts nodes together and
checks what goes between them. Adding an operation means one class here and one function in
`lutgen.model.golden`.
"""

import re
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lutgen.errors import LutgenError
from lutgen.numeric import Format, Grid
from lutgen.spec.encoder import DigitSpec
from lutgen.spec.linear import LAYER_METRICS, LinearSpec, acc_format, format_acc_format

__all__ = ["OPS", "Activation", "Argmax", "Flatten", "LutLinear", "Node"]

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
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            raise self.fail(key, f"must be a positive number, not {value!r:.40}")
        return float(value)

    def names(self, key: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self.take(key)
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise self.fail(key, f"must be a list of node names, not {value!r:.40}")
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
        cls, name: str, inputs: tuple[str, ...], fields: Fields, arrays: Arrays
    ) -> "Node":
        """Reads the rest of the fields; takes what it needs out of ``arrays``."""
        return cls(name=name, inputs=inputs)

    def infer(self, shape: Shape, wire: Activation | None) -> tuple[Shape, Activation | None]:
        """Checks the node behind a wire of that shape and format; gives those of its output.

        ``wire`` is None where accumulators or classes arrive.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Flatten(Node):
    """H x W x C to a vector, rows first: no arithmetic."""

    op: ClassVar[str] = "flatten"

    def infer(self, shape: Shape, wire: Activation | None) -> tuple[Shape, Activation | None]:
        return (int(np.prod(shape)),), wire


@dataclass(frozen=True, kw_only=True)
class Argmax(Node):
    """The number of the greatest input, ties to the lowest."""

    op: ClassVar[str] = "argmax"

    def infer(self, shape: Shape, wire: Activation | None) -> tuple[Shape, Activation | None]:
        return (1,), None


@dataclass(frozen=True, kw_only=True)
class LutLinear(Node):
    """A lookup layer on the flattened input.

    Parameters
    ----------
    in_features, out_features, subvec, centroids, metric, grid, shift
        See `lutgen.spec.linear.LinearSpec`.
    output : Activation or None
        None where the accumulators are the result.
    table : unsigned codes ``[g, c, n]``
    bias : int32 ``[n]``
    codebooks : int ``[g, c, v]`` or None (metric ``digit``)
    """

    op: ClassVar[str] = "lut_linear"

    in_features: int
    out_features: int
    subvec: int
    centroids: int
    metric: str
    grid: Grid
    shift: int
    output: Activation | None
    table: NDArray[Any] = field(repr=False, compare=False)
    bias: NDArray[Any] = field(repr=False, compare=False)
    codebooks: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_manifest(
        cls, name: str, inputs: tuple[str, ...], fields: Fields, arrays: Arrays
    ) -> "LutLinear":
        metric = fields.choice("metric", LAYER_METRICS)
        grid_fields = Fields(fields.take("grid"), f"node {name!r}, field 'grid'")
        kind = grid_fields.text("kind")
        bits = grid_fields.integer("bits", 2, 16 if metric == "digit" else 8)
        grid_fields.done()
        values = None if kind == "int" else take_array(arrays, name, "grid", np.int16, (1 << bits,))
        output = fields.take("output")
        if output is not None:
            reader = Fields(output, f"node {name!r}, field 'output'")
            output = reader.activation()
            reader.done()
        k = fields.integer("in_features", 1, 1 << 24)
        n = fields.integer("out_features", 1, 1 << 24)
        v = fields.integer("subvec", 1, k)
        c = fields.integer("centroids", 2, 1 << 16)
        if metric == "digit" and c & (c - 1):
            raise fields.fail("centroids", f"must be a power of two for metric 'digit', not {c}")
        table = take_array(arrays, name, "table", None, (None, c, n))
        return cls(
            name=name,
            inputs=inputs,
            in_features=k,
            out_features=n,
            subvec=v,
            centroids=c,
            metric=metric,
            grid=Grid(kind, bits, values),
            shift=fields.integer("shift", 0, 31),
            output=output,
            table=table,
            bias=take_array(arrays, name, "bias", None, (n,)),
            codebooks=None
            if metric == "digit"
            else take_array(arrays, name, "codebooks", None, (None, c, v)),
        )

    def to_manifest(self) -> dict[str, Any]:
        return {
            **super().to_manifest(),
            "in_features": self.in_features,
            "out_features": self.out_features,
            "subvec": self.subvec,
            "centroids": self.centroids,
            "metric": self.metric,
            "grid": {"kind": self.grid.kind, "bits": self.grid.bits},
            "shift": self.shift,
            "output": None if self.output is None else self.output.to_manifest(),
        }

    def arrays(self) -> Arrays:
        arrays: Arrays = {"table": self.table, "bias": self.bias}
        if self.codebooks is not None:
            arrays["codebooks"] = self.codebooks
        if self.grid.values is not None:
            arrays["grid"] = self.grid.values
        return arrays

    def spec(self, element: Format, **fold: Any) -> LinearSpec:
        """The stage that computes this node on inputs of format ``element``; ``fold`` as in
        `LinearSpec`.
        """
        acc = acc_format(self.grid.decode(self.table), self.bias)
        if fold.get("memory") == "ram":  # room for other tables too
            general = format_acc_format(self.table.shape[0], self.grid)
            acc = max(acc, general, key=lambda fmt: fmt.bits)
        return LinearSpec(
            in_features=self.in_features,
            out_features=self.out_features,
            element=element,
            subvec=self.subvec,
            centroids=self.centroids,
            metric=self.metric,
            grid=self.grid,
            acc=acc,
            shift=self.shift,
            output=None if self.output is None else self.output.format,
            **fold,
        )

    def infer(self, shape: Shape, wire: Activation | None) -> tuple[Shape, Activation | None]:
        if wire is None:
            raise self.fail(
                "field 'inputs'", "must name a node with an activation format, not accumulators"
            )
        size = int(np.prod(shape))
        if size != self.in_features:
            raise self.fail(
                "field 'in_features'",
                f"must be {size}, the elements that arrive, not {self.in_features}",
            )
        self._check_contents(wire.format)
        return (self.out_features,), self.output

    def _check_contents(self, element: Format) -> None:
        if self.metric == "digit":
            if self.subvec != 1:
                raise self.fail(
                    "field 'subvec'", f"must be 1 for metric 'digit', not {self.subvec}"
                )
            g = self.in_features * DigitSpec(element, self.centroids).digits
        else:
            g = -(-self.in_features // self.subvec)
        if self.table.shape[0] != g:
            raise self.fail("array 'table'", f"must have {g} codebooks, not {self.table.shape[0]}")
        if self.output is None and self.shift:
            raise self.fail("field 'shift'", f"must be 0 where output is null, not {self.shift}")
        check_range(self, "table", self.table, 0, self.grid.codes - 1)
        check_range(self, "bias", self.bias, -(1 << 31), (1 << 31) - 1)
        if self.codebooks is None:
            return
        if self.codebooks.shape[0] != g:
            raise self.fail(
                "array 'codebooks'", f"must have {g} codebooks, not {self.codebooks.shape[0]}"
            )
        check_range(self, "codebooks", self.codebooks, element.low, element.high)
        spare = g * self.subvec - self.in_features
        if spare and np.any(self.codebooks[-1, :, self.subvec - spare :]):
            raise self.fail("array 'codebooks'", "must be 0 where the last sub-vector is padding")


def take_array(
    arrays: Arrays, name: str, key: str, dtype: Any, shape: tuple[int | None, ...]
) -> NDArray[Any]:
    """Removes ``name.key`` from ``arrays`` and checks its dtype and shape (None stands for any
    length).
    """
    full = f"{name}.{key}"
    if full not in arrays:
        raise LutgenError(f"node {name!r}, array {key!r}: is missing")
    array = arrays.pop(full)
    if not np.issubdtype(array.dtype, np.integer) or (dtype and array.dtype != dtype):
        want = np.dtype(dtype).name if dtype else "integers"
        raise LutgenError(f"node {name!r}, array {key!r}: must hold {want}, not {array.dtype}")
    same_rank = array.ndim == len(shape)
    if not same_rank or any(s not in (None, a) for s, a in zip(shape, array.shape, strict=True)):
        text = "x".join("any" if s is None else str(s) for s in shape)
        have = "x".join(map(str, array.shape)) or "a scalar"
        raise LutgenError(f"node {name!r}, array {key!r}: must have the shape {text}, not {have}")
    return array


def check_range(node: Node, key: str, array: NDArray[Any], low: int, high: int) -> None:
    """Complains of entries outside ``low..high``."""
    if array.size and (array.min() < low or array.max() > high):
        bad = int(array.max()) if array.max() > high else int(array.min())
        raise node.fail(f"array {key!r}", f"must hold values of {low}..{high}, not {bad}")


OPS: dict[str, type[Node]] = {cls.op: cls for cls in (LutLinear, Flatten, Argmax)}
