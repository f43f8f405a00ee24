"""Reads ONNX files: trained float networks that others made.

Nothing of a file is run. Its nodes become the layers of `lutgen.train.floatnet`; what can't become
one is named, all of it at once, before anything else happens.
"""

import os
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from lutgen.errors import LutgenError
from lutgen.files import reason
from lutgen.reading import free_memory, megabytes, open_plain, read_plain
from lutgen.train.floatnet import Flatten, FloatNet
from lutgen.train.onnx_graph import MOST as MOST_VALUES
from lutgen.train.onnx_graph import STANDARD, Value
from lutgen.train.onnx_nodes import Converter

__all__ = ["import_onnx"]

MOST = (1 << 31) - 1  # bytes of a file: protobuf reads no more
COPIES = 4  # of weights, in the time that training holds
OLDEST = 7  # of opsets: before it, Add and its like did not broadcast as they do now


def import_onnx(path: str | os.PathLike[str]) -> FloatNet:
    """The network of an `.onnx` file.

    Images become channels last: the network's shape is ``(H, W, C)``, whatever the file's is.
    Vectors that are flattened images follow. Layers are named after the file's nodes. A softmax at
    the end is dropped: the results are logits.

    Parameters
    ----------
    path : str or path
        Weights that lie outside the file must be in its folder.

    Raises
    ------
    LutgenError
        One line that names the file, every node that can't be converted, and the mend.
    """
    file = Path(path)
    onnx = _package(file)
    model = _read(onnx, file)
    graph = model.graph
    opset = _opset(onnx, file, model)
    source, batch, dims = _input(onnx, file, graph)
    output = _output(file, graph)
    nodes = _needed(file, graph, output)
    outside = 0
    for tensor in _tensors(graph, nodes):
        outside += _fetch(onnx, file, tensor, free_memory() // COPIES)
        if outside > MOST:
            raise LutgenError(
                f"{file}: weights outside the file take more than {megabytes(MOST)}; export a "
                "smaller network"
            )
    converter = Converter(
        onnx,
        opset,
        nodes,
        {tensor.name: tensor for tensor in graph.initializer},
        source,
        _image(nodes, source, dims),
        batch,
        output,
    )
    converter.run()
    if converter.problems:
        count = len(converter.problems)
        raise LutgenError(
            f"{file}: {count} node{'s' * (count > 1)} can't be converted: "
            + "; ".join(converter.problems)
        )
    result = converter.values.get(output)
    if not isinstance(result, Value) or not converter.layers:
        raise LutgenError(
            f"{file}: the output {output!r} does not depend on the input through any layer; "
            "export the whole network"
        )
    layers = list(converter.layers.values())
    if result.order is not None or (len(result.shape) == 3 and result.shape[1:] != (1, 1)):
        height, width = (result.order or result.shape)[1:]
        raise LutgenError(
            f"{file}: the output {output!r} has {height}x{width} pixels, must be one value for "
            "each class; end the network in a pool and a linear layer"
        )
    if len(result.shape) == 3:
        layers.append(Flatten(converter.unique("flatten"), [result.source]))
    try:
        return FloatNet(converter.shape, layers)
    except ValueError as problem:
        raise LutgenError(f"{file}: {problem}; export it again") from None


def _package(file: Path) -> Any:
    try:
        import onnx
        import onnx.numpy_helper
    except ImportError:
        raise LutgenError(
            f"{file}: onnx, which reads such files, is not installed; "
            "run `pip install 'lutgen[onnx]'`"
        ) from None
    return onnx


def _read(onnx: Any, file: Path) -> Any:
    from google.protobuf.message import DecodeError

    try:
        data = read_plain(file, MOST)
    except FileNotFoundError:
        raise LutgenError(f"{file}: no such file; name an .onnx file") from None
    except OSError as problem:
        raise LutgenError(f"{file}: can't be read: {reason(problem)}") from problem
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
        readable = all(isinstance(text, str) for text in _texts(model))
    except DecodeError:
        readable = False
    if not readable:
        raise LutgenError(
            f"{file}: is no ONNX file, or is damaged or cut short; copy or export it again"
        )
    if not model.opset_import or not model.graph.node:
        raise LutgenError(
            f"{file}: holds no ONNX network, or is cut short; copy or export it again"
        )
    return model


def _texts(model: Any) -> Iterator[str | bytes]:
    """All names of the file; protobuf leaves those as bytes that are not UTF-8."""
    yield from (x.domain for x in model.opset_import)
    for info in (*model.graph.input, *model.graph.output):
        yield info.name
        yield from (dim.dim_param for dim in info.type.tensor_type.shape.dim)
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
        tensors += [attribute.t for attribute in node.attribute]
    for tensor in tensors:
        yield tensor.name
        yield from (text for x in tensor.external_data for text in (x.key, x.value))


def _opset(onnx: Any, file: Path, model: Any) -> int:
    versions = [int(x.version) for x in model.opset_import if x.domain in STANDARD]
    if not versions:
        raise LutgenError(
            f"{file}: uses no standard operators; export it with those of ONNX's own domain"
        )
    version, newest = max(versions), int(onnx.defs.onnx_opset_version())
    if version < OLDEST:
        raise LutgenError(
            f"{file}: opset {version} is older than {OLDEST}, from which on operators mean what "
            "they mean today; export it again, or use onnx.version_converter"
        )
    if version > newest:
        raise LutgenError(
            f"{file}: opset {version} is newer than {newest}, the last that onnx "
            f"{onnx.__version__} knows; run `pip install -U onnx`, or export with an older opset"
        )
    return version


def _input(onnx: Any, file: Path, graph: Any) -> tuple[str, int | None, tuple[int, ...]]:
    """Name of the one input, its batch size if it is fixed, and the shape of a sample."""
    if graph.sparse_initializer:
        raise LutgenError(f"{file}: holds sparse weights; export them dense")
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [x for x in graph.input if x.name not in constants]
    if len(inputs) != 1:
        raise LutgenError(
            f"{file}: has {_listed('input', [x.name for x in inputs])}, must have 1; "
            "export a network of one input"
        )
    name = inputs[0].name
    where = f"{file}: the input {name!r}"
    kind = inputs[0].type.tensor_type
    types = onnx.TensorProto
    if kind.elem_type not in (types.FLOAT, types.FLOAT16, types.DOUBLE):
        try:
            have = types.DataType.Name(kind.elem_type).lower()
        except ValueError:
            have = "of an unknown type"
        raise LutgenError(f"{where} is {have}, must be float; export it with a float input")
    if not kind.HasField("shape"):
        raise LutgenError(f"{where} has no shape; export it with fixed sizes but for the batch")
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    if not 2 <= len(sizes) <= 4:
        raise LutgenError(
            f"{where} has {len(sizes)} dimensions, must have a batch of vectors (n, K) or of "
            "images (n, C, H, W)"
        )
    fixed: list[int] = []
    for number, size in enumerate(sizes[1:], 1):
        if size is None or size < 1:
            text = kind.shape.dim[number].dim_param or size
            text = "not fixed" if text is None else repr(text)
            raise LutgenError(
                f"{where} has a dimension {number} that is {text}, must be a number above 0; "
                "only the batch may vary: export it with fixed sizes"
            )
        fixed.append(int(size))
    if prod(fixed) > MOST_VALUES:
        raise LutgenError(
            f"{where} has {prod(fixed):,} values a sample, more than {MOST_VALUES:,}; export a "
            "network of smaller samples"
        )
    return name, sizes[0] or None, tuple(fixed)


def _output(file: Path, graph: Any) -> str:
    if len(graph.output) != 1:
        raise LutgenError(
            f"{file}: has {_listed('output', [x.name for x in graph.output])}, must have 1; "
            "export the logits alone"
        )
    return str(graph.output[0].name)


def _listed(what: str, names: list[str]) -> str:
    """``3 inputs ('a', 'b', 'c')``."""
    text = f" ({', '.join(map(repr, names))})" if names else ""
    return f"{len(names) or 'no'} {what}{'s' * (len(names) != 1)}{text}"


def _needed(file: Path, graph: Any, output: str) -> list[Any]:
    """The nodes that the output depends on, in the file's order, which must be that of use."""
    made = {x.name for x in graph.input} | {x.name for x in graph.initializer}
    maker: dict[str, int] = {}
    for number, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in maker or name in made:
                raise LutgenError(f"{file}: {name!r} is made twice; the file is damaged")
            maker[name] = number
    wanted: set[int] = set()
    todo = [output]
    while todo:
        number = maker.get(todo.pop(), -1)
        if number >= 0 and number not in wanted:
            wanted.add(number)
            todo += filter(None, graph.node[number].input)
    if output not in maker and output not in made:
        raise LutgenError(f"{file}: no node makes the output {output!r}; the file is damaged")
    nodes = [graph.node[number] for number in sorted(wanted)]
    for node in nodes:
        for name in filter(None, node.input):
            if name not in made:
                raise LutgenError(
                    f"{file}: {node.name or node.output[0]!r} reads {name!r}, which no earlier "
                    "node makes; the file is damaged or its nodes are not in order"
                )
        made.update(node.output)
    return nodes


def _image(nodes: list[Any], source: str, dims: tuple[int, ...]) -> Value:
    """The input as a value: 4 dimensions are channels first, unless the file turns them so itself,
    or flattens them at once and they look like channels last.
    """
    if len(dims) == 1:
        return Value("input", dims)
    if len(dims) == 2:
        return Value("input", (1, *dims), "hw")
    names, users = {source}, []
    for node in nodes:
        if names & set(node.input):
            if node.op_type in ("Identity", "Cast", "Dropout"):
                names.add(node.output[0])
            else:
                users.append(node)
    turned = all(x.op_type == "Transpose" and _axes(x) == (0, 3, 1, 2) for x in users)
    flat = all(x.op_type in ("Flatten", "Reshape") for x in users)
    few = (1, 3, 4)
    if users and (turned or (flat and dims[2] in few and dims[0] not in few)):
        return Value("input", (dims[2], *dims[:2]), "hwc")
    return Value("input", dims, "chw")


def _axes(node: Any) -> tuple[int, ...]:
    """The order of axes that a Transpose names."""
    return tuple(int(n) for a in node.attribute if a.name == "perm" for n in a.ints)


def _tensors(graph: Any, nodes: list[Any]) -> Iterator[Any]:
    """All constants that the nodes read."""
    read = {name for node in nodes for name in node.input}
    yield from (tensor for tensor in graph.initializer if tensor.name in read)
    for node in nodes:
        if node.op_type == "Constant":
            yield from (a.t for a in node.attribute if a.HasField("t"))


def _fetch(onnx: Any, file: Path, tensor: Any, most: int) -> int:
    """Reads data that lies outside the file, and only in the file's folder; gives its bytes, at
    most so many.
    """
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return 0
    where = f"{file}: the weight {tensor.name!r}"
    entries = {x.key: x.value for x in tensor.external_data}
    location = entries.get("location", "")
    folder = file.parent.resolve()
    mend = "put it beside the model and export that again"
    try:
        target = (folder / location).resolve()
        start, length = int(entries.get("offset", "0")), int(entries.get("length", "-1"))
    except (ValueError, OSError, RuntimeError):
        raise LutgenError(f"{where} has no readable place outside; the file is damaged") from None
    if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
        raise LutgenError(f"{where} lies in {location!r}, outside the model's folder; {mend}")
    if not target.is_file():
        raise LutgenError(f"{where} lies in {location!r}, which is not there; {mend}")
    try:
        with open_plain(target) as data:
            size = os.fstat(data.fileno()).st_size
            if length < 0:
                length = max(0, size - start)
            if start < 0 or start + length > size:
                raise LutgenError(
                    f"{where} lies in {location!r}, which is too short; copy or export it again"
                )
            if length > most:
                raise LutgenError(
                    f"{where} takes {megabytes(length)}, of {megabytes(most)} that there is memory "
                    "for; use a machine with more"
                )
            data.seek(start)
            tensor.raw_data = data.read(length)
    except OSError as problem:
        raise LutgenError(f"{where}: {location!r} can't be read: {reason(problem)}") from problem
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]
    return length
