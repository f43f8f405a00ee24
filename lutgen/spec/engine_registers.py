"""The control registers of the LUT-stationary engine (design note 0005)."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict

from lutgen.numeric import Format
from lutgen.spec.engine import EngineSpec
from lutgen.spec.job import RESULTS
from lutgen.spec.registers import WORD_BITS, Field, Register, RegisterMap, counter_pair

__all__ = ["COUNTERS", "ERRORS", "ID", "VERSION", "engine_registers", "fingerprint"]

ID = 0x4C555445  # "LUTE"
VERSION = 1

# What the engine may find wrong, in the order of their bits.
ERRORS = {
    "activation_short": "tlast of the activations came early",
    "activation_long": "tlast of the activations did not come where it should",
    "centroid_short": "tlast of the centroids came early",
    "centroid_long": "tlast of the centroids did not come where it should",
    "table_short": "tlast of the tables came early",
    "table_long": "tlast of the tables did not come where it should",
    "index_overflow": "the indices of a block do not fit the index buffer",
    "aborted": "the job was aborted",
}
COUNTERS = {
    "CYCLES": "Cycles of the job",
    "LOOKUPS": "Steps: cycles in which the matchers looked up",
    "STALL_TABLE": "Cycles in which the matchers waited for a table",
    "STALL_INDEX": "Cycles in which the matchers waited for indices",
    "STALL_RESULT": "Cycles in which the matchers waited for room for results",
    "STALL_PASS": "Cycles in which the matchers waited for a short pass to end",
}
# Attributes of the spec, and their bits, that make up a register each.
SHAPES = {
    "SHAPE0": {"subvec": 16, "centroids": 16},
    "SHAPE1": {"codebooks": 17, "lanes": 13},
    "SHAPE2": {"fan_in": 17, "matchers": 5},
    "SHAPE3": {"encoders": 17},
    "SHAPE4": {"rows": 17},
    "FORMATS": {
        "activation_bits": 5,
        "table_bits": 5,
        "output_bits": 5,
        "two_clocks": 1,
        "has_map": 1,
    },
}


def fingerprint(spec: EngineSpec) -> int:
    """32 bits that tell engines apart: the first bytes of the SHA-256 of the spec as JSON, with a
    number for every parameter that was left out.
    """
    text = json.dumps(asdict(spec.resolved), sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def engine_registers(spec: EngineSpec) -> RegisterMap:
    """The map of one engine: offsets and bits are those of every engine, limits and constants its
    own.
    """
    return RegisterMap((*_identity(spec), *_control(), *_job(spec), *_counters()))


def _identity(spec: EngineSpec) -> Iterator[Register]:
    def constant(name: str, offset: int, value: int, doc: str) -> Register:
        return Register(name, offset, (Field(name.lower(), WORD_BITS, value=value),), doc)

    yield constant("ID", 0x000, ID, "What this is: LUTE, from the highest byte down")
    yield constant("VERSION", 0x004, VERSION, "Version of this register map")
    yield constant("FINGERPRINT", 0x008, fingerprint(spec), "Start of the SHA-256 of the spec")
    for number, (name, bits) in enumerate(SHAPES.items()):
        fields, lsb = [], 0
        for key, width in bits.items():
            fields.append(Field(key, width, lsb, value=int(getattr(spec, key))))
            lsb += width
        yield Register(name, 0x010 + 4 * number, tuple(fields), "Parameters of the spec")


def _control() -> Iterator[Register]:
    start = Field("start", 1, 0, "pulse", "begin a job", locked=True)
    abort = Field("abort", 1, 1, "pulse", "end the job, whatever its streams do")
    status = (
        Field("busy", lsb=0, doc="a job is under way"),
        Field("done", lsb=1, doc="the last job has ended; cleared by start"),
        Field("error", lsb=2, doc="some bit of ERROR is set"),
    )
    errors = [Field(name, lsb=lsb, doc=doc) for lsb, (name, doc) in enumerate(ERRORS.items())]
    done = "the end of a job"
    yield Register("CONTROL", 0x040, (start, abort), "What is to be done now")
    yield Register("STATUS", 0x044, status, "What the engine does")
    yield Register("ERROR", 0x048, tuple(errors), "What went wrong; cleared by start")
    yield Register(
        "INTERRUPT_ENABLE", 0x04C, (Field("done", access="rw", doc=done),), "What interrupts"
    )
    yield Register(
        "INTERRUPT_STATUS", 0x050, (Field("done", access="w1c", doc=done),), "What has happened"
    )


def _job(spec: EngineSpec) -> Iterator[Register]:
    def size(name: str, offset: int, high: int, doc: str, low: int = 1, reset: int = 1) -> Register:
        field = Field(
            name.lower(),
            WORD_BITS,
            access="rw",
            doc=doc,
            reset=reset,
            signed=low < 0,
            low=low,
            high=high,
        )
        return Register(name, offset, (field,), doc, locked=True)

    listed = ", ".join(f"{code} {name}" for code, name in enumerate(RESULTS))
    mode = (
        Field("input_indices", 1, 0, "rw", "activations are indices already"),
        Field("results", 2, 1, "rw", f"results: {listed}", high=len(RESULTS) - 1),
        Field("signed", 1, 3, "rw", "activations and centroids are signed"),
        Field("reuse", 1, 4, "rw", "a block's indices are kept for all tiles"),
        Field("map", 1, 5, "rw", "requantised results go through the map", high=int(spec.has_map)),
    )
    signed, unsigned = Format(spec.output_bits, True), Format(spec.output_bits, False)
    limits = {"low": signed.low, "high": unsigned.high}
    yield Register("MODE", 0x080, mode, "What goes in and what comes out", locked=True)
    yield size("ROWS", 0x084, spec.rows, "Rows of each block but the last")
    yield size("LAST_ROWS", 0x088, spec.rows, "Rows of the last block")
    yield size("BLOCKS", 0x08C, (1 << 16) - 1, "Blocks of rows")
    yield size("GROUPS", 0x090, spec.groups, "Groups of codebooks of a row")
    yield size("TILES", 0x094, (1 << 16) - 1, "Tiles of outputs")
    yield size("SHIFT", 0x098, 31, "Bits that requantised results are shifted by", 0, 0)
    yield size("LOW", 0x09C, doc="Least requantised result", reset=signed.low, **limits)
    yield size("HIGH", 0x0A0, doc="Greatest requantised result", reset=signed.high, **limits)


def _counters() -> Iterator[Register]:
    for number, (name, doc) in enumerate(COUNTERS.items()):
        yield from counter_pair(name, 0x0C0 + 8 * number, doc)
