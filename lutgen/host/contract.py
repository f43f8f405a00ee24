"""The contract of an engine: the JSON file beside its Verilog, all that its compiler needs."""

import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from lutgen import reading
from lutgen.errors import LutgenError
from lutgen.files import reason
from lutgen.model.base import Fields
from lutgen.spec.engine import EngineSpec
from lutgen.spec.engine_registers import fingerprint

__all__ = ["FORMAT", "VERSION", "engine_contract", "engine_of", "parameters_of", "read_json"]

FORMAT = "lutgen-engine"
VERSION = 1
MISSING = object()
AGAIN = "build the engine again with `lutgen build`"


def engine_contract(spec: EngineSpec, name: str, **more: Any) -> dict[str, Any]:
    """What the contract of an engine says: its parameters, and what follows from them.

    Parameters
    ----------
    spec : EngineSpec
    name : str
        The Verilog module.
    **more
        Further fields, such as the versions of tools.
    """
    streams = {
        "a_axis": ("in", spec.activation),
        "c_axis": ("in", spec.centroid),
        "t_axis": ("in", spec.table),
        "m_axis": ("out", spec.result),
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": name,
        "parameters": asdict(spec.resolved),
        "streams": {
            port: {"direction": way, "beat": channel.beat, "bits": channel.bits}
            for port, (way, channel) in streams.items()
        },
        "accumulator_bits": spec.acc.bits,
        "outputs_per_tile": spec.outputs,
        "index_rows": spec.index_depth,
        "encode_interval": spec.encode_interval,
        "operations_per_cycle": spec.operations,
        "memory_bits": {**spec.bits, "total": sum(spec.bits.values())},
        **more,
    }


def engine_of(path: str | os.PathLike[str]) -> EngineSpec:
    """The engine that a contract describes.

    Raises
    ------
    LutgenError
        One line that names the file, and the field that is wrong.
    """
    try:
        data = read_json(Path(path))
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise LutgenError(
                "is not the contract of an engine; name the .json that `lutgen build` wrote beside "
                "the engine's Verilog"
            )
        for key in ("version", "name", "parameters"):
            if key not in data:
                raise LutgenError(f"field {key!r}: is missing; {AGAIN}")
        if data["version"] != VERSION:
            raise LutgenError(
                f"field 'version': is {data['version']!r:.40}, not {VERSION}; upgrade lutgen to "
                f"read it, or {AGAIN}"
            )
        spec = parameters_of(Fields(data["parameters"], "field 'parameters'"), AGAIN)
        mark = data.get("fingerprint")
        if mark is not None and mark != fingerprint(spec):
            raise LutgenError(f"field 'fingerprint': does not belong to the parameters; {AGAIN}")
        return spec
    except LutgenError as error:
        raise LutgenError(f"{path}: {error}") from error


def read_json(path: Path) -> Any:
    """The data of a JSON file, or None if it is not JSON.

    Raises
    ------
    LutgenError
        If it can't be read, or holds what no JSON of lutgen does; without the file's name, which
        the caller adds.
    """
    try:
        return reading.read_json(path)
    except OSError as error:
        raise LutgenError(f"can't be read: {reason(error)}") from error
    except ValueError:
        return None


def parameters_of(data: Fields, mend: str) -> EngineSpec:
    """An engine by its parameters, all of which must be there; null stands for what follows from
    the others.

    Parameters
    ----------
    data : Fields
    mend : str
        What is to be done about one that is wrong.

    Raises
    ------
    LutgenError
        Where one is missing, of a wrong kind or out of range.
    """
    values: dict[str, Any] = {}
    for field in fields(EngineSpec):
        value = data.take(field.name, MISSING)
        if value is MISSING:
            raise data.fail(field.name, f"is missing; {mend}")
        wanted: Any = field.type
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            kind = {int: "an integer", str: "a string", bool: "true or false"}.get(wanted)
            raise data.fail(
                field.name, f"must be {kind or 'an integer or null'}, not {value!r:.40}; {mend}"
            )
        values[field.name] = value
    data.done()
    try:
        return EngineSpec(**values).resolved
    except ValueError as error:
        raise LutgenError(f"{data.where}: {error}; {mend}") from None
