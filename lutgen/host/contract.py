"""The contract of an engine: the JSON file beside its Verilog, all that its compiler needs."""

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from lutgen import reading
from lutgen.errors import LutgenError
from lutgen.files import reason
from lutgen.model.base import Fields
from lutgen.model.schema import choice, listing, record, whole, word
from lutgen.spec.engine import EngineSpec
from lutgen.spec.engine_registers import fingerprint
from lutgen.spec.names import check_name

__all__ = [
    "FORMAT",
    "VERSION",
    "engine_contract",
    "engine_of",
    "parameters_of",
    "read_engine",
    "read_json",
]

FORMAT = "lutgen-engine"
VERSION = 1
MISSING = object()
AGAIN = "build the engine again with `lutgen build`"
VERSIONS = word(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,59}", "a version")
PORTS = listing(
    record(
        {
            "name": word(r"[a-z][a-z0-9_]{0,40}", "a port of an engine"),
            "direction": choice("input", "output"),
            "width": whole(1, 1 << 16),
        }
    ),
    100,
    1,
)


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
    """The engine that a contract describes; see `read_engine`."""
    return read_engine(path)[0]


def read_engine(path: str | os.PathLike[str]) -> tuple[EngineSpec, dict[str, Any]]:
    """The engine that a contract describes, and the contract. All that it says beside the
    parameters must be what follows from them.

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
        if type(data["version"]) is not int or data["version"] != VERSION:
            raise LutgenError(
                f"field 'version': is {data['version']!r:.40}, not {VERSION}; upgrade lutgen to "
                f"read it, or {AGAIN}"
            )
        try:
            name = check_name(data["name"], "an engine")
        except ValueError as error:
            raise LutgenError(f"field 'name': {error}; {AGAIN}, and --name") from None
        spec = parameters_of(Fields(data["parameters"], "field 'parameters'"), AGAIN)
        _check_derived(data, spec, name)
        return spec, data
    except LutgenError as error:
        raise LutgenError(f"{path}: {error}") from error


def _check_derived(data: dict[str, Any], spec: EngineSpec, name: str) -> None:
    """Complains of what does not follow from the parameters, and of what is unknown."""
    follows = engine_contract(spec, name)
    clocks = ["clk", "enc_clk"] if spec.two_clocks else ["clk"]
    follows |= {"clocks": clocks, "reset": "rst", "fingerprint": fingerprint(spec)}
    given = ("format", "version", "name", "parameters")
    for key, value in data.items():
        if key in given:
            continue
        if key == "ports":
            PORTS(value, f"field {key!r}", AGAIN)
        elif key == "lutgen":
            VERSIONS(value, f"field {key!r}", AGAIN)
        elif key not in follows:
            raise LutgenError(
                f"field {key!r:.40}: is unknown to this version; a newer lutgen may have written it"
            )
        elif json.dumps(value, sort_keys=True) != json.dumps(follows[key], sort_keys=True):
            raise LutgenError(f"field {key!r}: does not belong to the parameters; {AGAIN}")


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
        raise LutgenError(f"{data.where}: {error!s:.200}; {mend}") from None
