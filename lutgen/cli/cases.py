"""What a core is tested with: samples, what it must answer, and contents for its memories."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from lutgen.cli import common
from lutgen.cli.samples import NOTHING, File, read, taken
from lutgen.errors import LutgenError
from lutgen.numeric import Format
from lutgen.reading import free_memory, megabytes
from lutgen.words import counted

if TYPE_CHECKING:
    from lutgen.gateware.build import Core
    from lutgen.model import Model
    from lutgen.spec.network import NetworkSpec

__all__ = ["Case", "check_built", "file_of", "loadable_case", "model_case"]

COPIES = 4  # of the integers of a sample: as they are made, as golden gives them, and as text


@dataclass(frozen=True)
class Case:
    """A core and what it must answer."""

    verilog: str
    contract: dict[str, Any]
    inputs: NDArray[np.int64]
    expected: NDArray[np.int64]
    load_words: NDArray[np.uint32] | None
    source: str
    said: dict[str, Any]  # what became of the samples of a file; JSON data
    golden: dict[str, NDArray[np.int64]] | None = None  # what every node gives


def check_built(contract: dict[str, Any], spec: "NetworkSpec", path: Path) -> None:
    """Complains if the streams of a built core are not those of ``spec``."""
    from lutgen.gateware.build import port_fields

    ports = {"input": (spec.input, "s_axis"), "output": (spec.output, "m_axis")}
    wanted = {key: {**port_fields(port), "port": name} for key, (port, name) in ports.items()}
    common.check_ports(contract, wanted, path)


def check_count(count: int, elements: int, option: str) -> None:
    """Complains of random samples that would fill the memory, before they are made.

    Parameters
    ----------
    count : int
    elements : int
        Integers of a sample and of all its results.
    option : str
        What asks for them.

    Raises
    ------
    LutgenError
        With how many there is room for.
    """
    each, room = COPIES * 8 * elements, free_memory()
    if count * each > room:
        raise LutgenError(
            f"argument {option}: {counted(count, 'sample', ',')} "
            f"{'takes' if count == 1 else 'take'} about {megabytes(count * each)} of memory, "
            f"of which {megabytes(room)} are free; ask for at most {room // each:,}"
        )


def model_case(
    model: "Model",
    core: "Core",
    file: File | None,
    samples: int | None,
    seed: int,
    option: str = "--samples",
) -> Case:
    """The first samples of a file, or random ones, and what the model says of them. ``option`` is
    what asks for them.
    """
    fmt = model.input.format
    said = NOTHING
    if file is None:
        check_count(samples or 50, sum(wire.size for wire in model.wires().values()), option)
        source = f"{samples or 50} random samples"
        shape = (samples or 50, *model.shape)
        q = np.random.default_rng(seed).integers(fmt.low, fmt.high + 1, shape)
    else:
        q, said = taken(file, model.input, model.provenance, samples or 50)
        source = f"{counted(len(q), 'sample')} of {file.path}"
    golden = model.run(q)
    expected = golden[model.nodes[-1].name]
    words = core.load_image(model) if core.contract["load"] else None
    inputs = q.reshape(len(q), -1)
    return Case(core.verilog, core.contract, inputs, expected, words, source, said, golden)


@overload
def file_of(model: "Model", data: str) -> File: ...
@overload
def file_of(model: "Model", data: str | None) -> File | None: ...
def file_of(model: "Model", data: str | None) -> File | None:
    """The samples that ``--data`` names, once it is sure that they are some of the model's: to be
    asked for before long work.
    """
    return None if data is None else read(data, model.shape, model.classes)


def loadable_case(
    verilog: str, contract: dict[str, Any], path: Path, samples: int, seed: int
) -> Case:
    """Random centroids, tables and samples for a core that came without a model."""
    if contract["load"] is None or contract["model"] or len(contract["stages"]) != 1:
        raise LutgenError("a MODEL.lut is needed: only a loadable core of one layer works without")
    from lutgen.gateware.build import build_loadable
    from lutgen.gateware.image import checked
    from lutgen.spec import LinearSpec

    stage, source, sink = contract["stages"][0], contract["input"], contract["output"]
    try:
        # What is not the streams', or fits no load image, would take long to find out.
        if (stage["in_features"], stage["out_features"]) != (source["elements"], sink["elements"]):
            raise ValueError("features must be the elements of input and output")
        tables = stage["codebooks"] * stage["centroids"] * stage["out_features"]
        if tables * stage["table_bits"] > 32 * contract["load"]["words"]:
            raise ValueError("tables must fit into the words of 'load'")
        core = build_loadable(
            **{key: stage[key] for key in ("codebooks", "subvec", "centroids", "metric", "shift")},
            table_bits=stage["table_bits"],
            activation_bits=source["bits"],
            signed=source["signed"],
            outputs=stage["out_features"],
            output_bits=sink["bits"] if sink["kind"] == "activations" else None,
            input_lanes=source["lanes"],
            name=contract["name"],
            **stage["fold"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise LutgenError(f"{path}, field 'stages': {error}; build the core again") from None
    check_built(contract, core.spec, path)
    check_count(samples, source["elements"] + sink["elements"], "--samples")
    spec = core.spec.stages[0].spec
    assert isinstance(spec, LinearSpec)
    rng = np.random.default_rng(seed)
    books = random_of(rng, spec.element, (spec.codebooks, spec.centroids, spec.subvec))
    table = rng.integers(0, spec.grid.codes, (spec.codebooks, spec.centroids, spec.out_features))
    # One bit less than the accumulator: the sum of the tables has room beside any such bias.
    bias = random_of(rng, Format(spec.acc.bits - 1, True), (spec.out_features,))
    inputs = random_of(rng, spec.element, (samples, spec.in_features))
    codebooks = None if spec.metric == "digit" else books
    words = checked(core.load_words(codebooks, table, bias))
    return Case(
        verilog,
        contract,
        inputs,
        spec.compute(inputs, codebooks, table, bias),
        words,
        f"{samples} random samples, random tables",
        NOTHING,
    )


def random_of(rng: np.random.Generator, fmt: Format, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Integers over a whole format."""
    return rng.integers(fmt.low, fmt.high + 1, shape)
