"""Damage to files, seeded: bytes, JSON fields, zip archives, arrays, ONNX graphs."""

import io
import json
import struct
import warnings
import zipfile

import numpy as np

DEEP = "[" * 3000 + "]" * 3000
# What a field may become, as JSON text: wrong types, huge, negative, no number, empty, deep, odd.
VALUES = (
    *("null", "true", "false", "0", "-1", "1", "2", "3", "17", "0.5", "-0.0", "1e-320", "1e308"),
    *("255", "65536", "2147483648", "9223372036854775808", "1" + "0" * 30, "1" + "0" * 310),
    *("NaN", "Infinity", "-Infinity", "1e999", '""', "[]", "{}", "[[]]", "[null]", "[-1, 1e9]"),
    *('"input"', '"\\u001b[31mred\\u0007"', '"a\\nb"', '"\\ud800"', '"\\u0000"', '"\\u202egnp"'),
    *('"../../etc/passwd"', '"$(touch hit)"', '"' + "long" * 5000 + '"', DEEP, "[" * 90 + "]" * 90),
    *('{"a": 1, "a": 2}', "[1, 2, 3]", "[1, 2, 3, 4]", '[["a", 1]]', '{"": null}', "1" * 5000),
)


def pick(rng, things):
    """One of a sequence."""
    return things[int(rng.integers(len(things)))]


def in_bytes(rng, data):
    """Flips, cuts, zeros, repeats or inserts bytes; gives what was done and the result."""
    size = max(1, len(data))
    place = int(rng.integers(size))
    kind = pick(rng, ("flip", "flips", "bit", "cut", "drop", "zeros", "twice", "insert", "front"))
    some = int(rng.integers(1, min(64, size) + 1))
    if kind == "cut":
        return f"cut at {place}", data[:place]
    if kind == "drop":
        return f"drop {some} at {place}", data[:place] + data[place + some :]
    if kind == "zeros":
        return f"{some} zeros at {place}", data[:place] + bytes(some) + data[place + some :]
    if kind == "twice":
        return f"{some} twice at {place}", data[: place + some] + data[place:]
    if kind in ("insert", "front"):
        place = 0 if kind == "front" else place
        return f"insert {some} at {place}", data[:place] + rng.bytes(some) + data[place:]
    result = bytearray(data)
    for _ in range(1 if kind != "flips" else int(rng.integers(2, 9))):
        if result:
            place = int(rng.integers(len(result)))
            result[place] ^= (
                1 << int(rng.integers(8)) if kind == "bit" else int(rng.integers(1, 256))
            )
    return f"{kind} at {place}", bytes(result)


def places(data, path=()):
    """Paths of all values of JSON data."""
    yield path
    if isinstance(data, dict):
        for key, value in data.items():
            yield from places(value, (*path, key))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from places(value, (*path, number))


def in_json(rng, text):
    """Changes, drops, adds, moves or repeats a field; gives what was done and the text."""
    data = json.loads(text)
    todo = [path for path in places(data) if path]
    path = pick(rng, todo)
    *way, last = path
    holder = data
    for step in way:
        holder = holder[step]
    kind = pick(rng, ("value", "value", "value", "value", "drop", "add", "swap", "twice"))
    mark = "\x00here\x00"
    value = pick(rng, VALUES)
    if kind == "drop":
        del holder[last]
    elif kind == "add" and isinstance(holder, dict):
        holder["more"] = mark
    elif kind == "swap":
        other = pick(rng, todo)
        found = json.loads(text)
        for step in other:
            found = found[step]
        holder[last] = found
        value = str(other)
    elif kind == "twice" and isinstance(holder, list):
        holder.append(holder[last])
    else:
        holder[last] = mark
    name = ".".join(map(str, path))
    return f"{kind} {name} {value[:30]}", json.dumps(data).replace(json.dumps(mark), value)


# Archives.


def unpacked(data):
    """Members' bytes by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def packed(members, method=zipfile.ZIP_DEFLATED):
    """An archive of pairs of name and bytes."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as archive:
        warnings.simplefilter("ignore")  # names that are there twice
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def npy(array):
    """An array's bytes as a member."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def array_of(data):
    """An array from a member's bytes."""
    return np.load(io.BytesIO(data), allow_pickle=False)


HEADERS = (
    *(
        "(999999999999,)",
        "(-1,)",
        "(0,)",
        "()",
        "(True,)",
        "(1.5,)",
        "1",
        "[3]",
        "(2, 2)",
        "((1,),)",
    ),
    *("(4294967296, 4294967296)", "(" * 200, "(1" + "0" * 60 + ",)", "(0, 10**18)"),
)
DTYPES = (
    *("|O", "<f8", ">i4", "<U4", "|V8", "|S3", "<M8[ns]", "<c16", "|b1", "<f2", "<U0", "<u8", "x"),
    *("<i4,<i4", "(2,2)<i4", "<g", "|i1"),
)


def with_header(rng, data):
    """A member whose header says something else."""
    old = array_of(data)
    shape = str(old.shape)
    descr = old.dtype.str
    if rng.random() < 0.5:
        shape = pick(rng, HEADERS)
    else:
        descr = pick(rng, DTYPES)
    text = f"{{'descr': '{descr}', 'fortran_order': {bool(rng.integers(2))}, 'shape': {shape}, }}"
    size = -(-(len(text) + 11) // 64) * 64
    head = b"\x93NUMPY\1\0" + struct.pack("<H", size - 10) + text.encode().ljust(size - 11) + b"\n"
    return f"header {descr} {shape[:30]}", head + old.tobytes()


def other_array(rng, data):
    """A member of another array."""
    old = array_of(data)
    if old.dtype.kind not in "biuf":
        return "objects", npy(np.array([{}, 1], dtype=object))
    flat = old.reshape(-1)
    changes = {
        "empty": lambda: old[:0] if old.ndim else old.reshape(0, 1)[:0],
        "scalar": lambda: flat[:1].reshape(()) if flat.size else old,
        "rank": lambda: old[None],
        "longer": lambda: np.concatenate([old, old]) if old.ndim else old,
        "shorter": lambda: old[:-1] if old.ndim else old,
        "turned": lambda: old.T,
        "float": lambda: old.astype(np.float64) + 0.5,
        "nan": lambda: np.full(old.shape, np.nan, np.float32),
        "inf": lambda: np.full(old.shape, np.inf, np.float32),
        "huge": lambda: np.full(old.shape, 2**62),
        "large": lambda: np.full(old.shape, 3e38, np.float32),
        "negative": lambda: np.full(old.shape, -1, np.int64),
        "zeros": lambda: np.zeros_like(old),
        "wide": lambda: old.astype(np.int64 if old.dtype.kind in "biu" else np.float64),
        "bool": lambda: old.astype(bool),
        "text": lambda: old.astype(str),
        "complex": lambda: old.astype(complex),
        "bomb": lambda: np.zeros((1 << 22, 20), np.int8),
        "random": lambda: rng.integers(0, 4, old.shape).astype(old.dtype),
    }
    name = pick(rng, tuple(changes))
    with np.errstate(all="ignore"):
        return name, npy(changes[name]())


def in_zip(rng, data, text=None):
    """Changes the archive's structure or one of its members; ``text`` is a JSON member's name."""
    members = list(unpacked(data).items())
    number = int(rng.integers(len(members)))
    name, own = members[number]
    kinds = ["drop", "twice", "rename", "more", "method", "header", "header", "array", "array"]
    kinds += ["array", "table", "table", "raw", "nested", "bytes"]
    kind = pick(rng, kinds + ["json"] * 12 if text else kinds)
    if kind == "table":
        return in_table(rng, data)
    if kind == "json":
        number = [key for key, _ in members].index(text)
        name, own = members[number]
        what, changed = in_json(rng, unsigned(str(array_of(own)), rng))
        own = npy(np.array(changed.encode("utf-8", "replace").decode().replace("\x00", "")))
    elif kind == "drop":
        what, own = name, None
    elif kind == "rename":
        what = pick(rng, ("x", "x.npy", "../x.npy", "a/b.npy", ".npy", "\x1b[2J.npy", "é.npy"))
        name = what
    elif kind == "header":
        what, own = with_header(rng, own)
    elif kind == "array":
        what, own = other_array(rng, own)
    elif kind == "raw":
        what, own = pick(rng, (("no bytes", b""), ("text", b"hello"), ("no data", own[:60])))
    elif kind == "nested":
        what, own = "an archive in it", data
    elif kind == "bytes":
        what, own = in_bytes(rng, own)
    else:
        what = name
    members[number] = (name, own)
    method = zipfile.ZIP_DEFLATED
    if kind == "drop":
        del members[number]
    elif kind == "twice":
        members.append(members[number])
    elif kind == "more":
        members.append(("more.npy", npy(np.arange(3))))
    elif kind == "method":
        method = pick(rng, (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_STORED))
    return f"{kind} {name!r} {what}", packed(members, method)


def in_table(rng, data):
    """Changes a number in a member's record, in the archive's table, or at its end."""
    mark, fields = pick(
        rng,
        (
            (b"PK\3\4", ((4, 2), (6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2))),
            (b"PK\1\2", ((8, 2), (10, 2), (16, 4), (20, 4), (24, 4), (28, 2), (30, 2), (42, 4))),
            (b"PK\5\6", ((4, 2), (8, 2), (10, 2), (12, 4), (16, 4), (20, 2))),
        ),
    )
    found = [place for place in range(len(data) - 22) if data.startswith(mark, place)]
    found = found or [len(data) - 22]
    start, size = pick(rng, fields)
    value = int(pick(rng, (0, 1, 8, 9, 12, 99, 1000, 65535, (1 << 32) - 1, len(data))))
    place = pick(rng, found) + start
    new = (value % (1 << 8 * size)).to_bytes(size, "little")
    return f"table {mark!r}+{start} {value}", data[:place] + new + data[place + size :]


def unsigned(text, rng):
    """A manifest, mostly without the digest, so that a change goes on to the next check."""
    data = json.loads(text)
    if isinstance(data.get("provenance"), dict) and rng.random() < 0.9:
        data["provenance"].pop("sha256", None)
    return json.dumps(data)


# ONNX.


def in_onnx(rng, data):
    """Changes a graph: weights, shapes, attributes, names, edges."""
    import onnx

    model = onnx.ModelProto()
    model.ParseFromString(data)
    graph = model.graph
    tensor, node = pick(rng, graph.initializer), pick(rng, graph.node)
    big = (0, 1, -1, 2, 7, 1 << 31, (1 << 62) + 1, -(1 << 63), 65536)
    kind = pick(rng, (*("weights",) * 4, *ONNX_KINDS))
    what = ""
    if kind == "weights":
        what = pick(rng, ("1e38", "3e38", "-1e38", "1e-45", "inf", "nan", "1e19", "0", "1e30"))
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            with np.errstate(all="ignore"):
                some = rng.random(array.shape) < pick(rng, (0.2, 1.0))
                new = np.where(some, np.float32(what), array).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(new, tensor.name))
    elif kind == "dims":
        what = pick(rng, big)
        if tensor.dims:
            tensor.dims[int(rng.integers(len(tensor.dims)))] = what
        else:
            tensor.dims.append(what)
    elif kind == "type":
        what = tensor.data_type = int(pick(rng, (0, 1, 2, 6, 7, 8, 9, 10, 11, 14, 16, 17, 21, 99)))
    elif kind == "outside":
        what = pick(
            rng, ("../../../../etc/passwd", "/etc/passwd", "net.onnx", ".", "", "/dev/zero")
        )
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", what), ("offset", "-5"), ("length", "99999999999999")):
            if key == "location" or rng.random() < 0.5:
                tensor.external_data.add(key=key, value=value)
    elif kind == "attribute" and node.attribute:
        attribute = pick(rng, node.attribute)
        what = f"{attribute.name} {pick(rng, big)}"
        for number in range(len(attribute.ints)):
            attribute.ints[number] = int(what.split()[1])
        attribute.i = int(what.split()[1])
        if rng.random() < 0.3:
            attribute.type = int(rng.integers(0, 14))
    elif kind == "op":
        what = node.op_type = str(
            pick(rng, ("Relu", "Loop", "If", "Scan", "Add", "Flatten", "Gemm", "\x1b[31m", "Conv"))
        )
    elif kind == "loop":
        if len(node.input):
            node.input[int(rng.integers(len(node.input)))] = graph.output[0].name
    elif kind == "edge":
        if len(node.input):
            what = str(pick(rng, [x.name for x in graph.initializer] + [graph.input[0].name, ""]))
            node.input[int(rng.integers(len(node.input)))] = what
    elif kind == "missing":
        graph.initializer.remove(tensor)
    elif kind == "shape":
        dim = pick(rng, graph.input[0].type.tensor_type.shape.dim)
        what = dim.dim_value = int(pick(rng, big))
    elif kind == "name":
        node.name = what = str(pick(rng, ("\x1b]0;x\x07", "a\nb", "../x", "x" * 50_000, "input")))
    elif kind == "deep":
        for number in range(2000):
            graph.node.add(op_type="Relu", input=[graph.output[0].name], output=[f"d{number}"])
            graph.output[0].name = f"d{number}"
    elif kind == "opset":
        what = model.opset_import[0].version = int(pick(rng, (0, 1, 6, 9, 99, 1 << 40)))
    elif kind == "drop":
        graph.node.remove(node)
    elif kind == "twice":
        graph.node.add().CopyFrom(node)
    return f"{kind} {what}", model.SerializeToString()


ONNX_KINDS = ("dims", "type", "outside", "attribute", "op", "loop", "edge", "missing", "shape")
ONNX_KINDS += ("name", "deep", "opset", "drop", "twice")
