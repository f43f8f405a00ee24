"""Archives and JSON from strangers: every kind of damage is one line, and nothing grows unasked."""

import itertools
import json
import os
import socket
import struct
import tracemalloc
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest
from simulation import random_model

import lutgen
from lutgen.archive import check_room, open_archive, write_packed
from lutgen.cli.common import print_json
from lutgen.cli.main import main
from lutgen.errors import LutgenError
from lutgen.files import write_with
from lutgen.host.contract import engine_of
from lutgen.model import load, save
from lutgen.model.file import digest
from lutgen.reading import parse_json, read_plain
from lutgen.train import load_data
from lutgen.train.checkpoint import load_checkpoint

AGAIN = "make it again"


def read_all(path):
    """Reads every array of an archive."""
    with open_archive(path, "an archive", AGAIN) as archive:
        for key in archive.keys:
            archive.member(key).load()


def refusal(path):
    """What is said of an archive."""
    with pytest.raises(LutgenError) as caught:
        read_all(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text.removeprefix(str(path))


def edited(path, change):
    """A good archive after ``change`` of its bytes."""
    np.savez(path, a=np.arange(6).reshape(2, 3), b=np.zeros(4, np.int8))
    data = bytearray(path.read_bytes())
    path.write_bytes(bytes(change(data) or data))
    return path


def flags(data):
    """Marks every member as encrypted, where it stands and in the table."""
    for start, mark in ((6, b"PK\3\4"), (8, b"PK\1\2")):
        place = data.find(mark)
        while place >= 0:
            data[place + start] |= 1
            place = data.find(mark, place + 4)


def table_entry(data, number):
    place = data.find(b"PK\1\2")
    for _ in range(number):
        place = data.find(b"PK\1\2", place + 4)
    return place


def overlap(data):
    """The second member's place is within the first."""
    struct.pack_into("<L", data, table_entry(data, 1) + 42, 20)


def same_name(data):
    """Both members have the name of the first."""
    second = data.find(b"b.npy")
    while second >= 0:
        data[second : second + 1] = b"a"
        second = data.find(b"b.npy")


def shape(text):
    """A header that says another shape, of the same length."""

    def change(data):
        place = data.find(b"(2, 3), }")
        size = 128 - 10 - (place - data.find(b"{'descr'"))
        data[place : place + size] = f"{text}, }}".encode().ljust(size - 1) + b"\n"

    return change


def test_arrays_come_back(tmp_path):
    path = tmp_path / "a.npz"
    arrays = {
        "plain": np.arange(6, dtype=np.int16).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
        "big": np.arange(5, dtype=">i4"),
        "none": np.zeros((0, 3)),
        "scalar": np.array(True),
        "text": np.array("ä"),
    }
    for write in (np.savez, np.savez_compressed):
        write(path, **arrays)
        with open_archive(path, "an archive", AGAIN) as archive:
            assert set(archive.keys) == set(arrays)
            for key, array in arrays.items():
                member = archive.member(key)
                assert (member.dtype, member.shape) == (array.dtype, array.shape)
                found = member.load()
                assert found.dtype == array.dtype
                assert np.array_equal(found, array)
            assert archive.text("text") == "ä"


CASES = {
    "encrypted": (flags, ", array 'a': is encrypted; decrypt it, or make the file again"),
    "prefixed": (
        lambda data: b"#!/bin/sh\n" + data,
        f": is not an archive: it is no .npz archive; {AGAIN}",
    ),
    "archive in front": (
        lambda data: b"PK" + bytes(30) + data,
        f": has other data in front of the archive; {AGAIN}",
    ),
    "overlapping": (overlap, f": is damaged: 'b.npy' lies within another array; {AGAIN}"),
    "cut short": (lambda data: data[:-30], f": is damaged or cut short; {AGAIN}"),
    "no end": (lambda data: data[:40], f": is damaged or cut short; {AGAIN}"),
    "empty": (lambda data: b"\n", f": is not an archive: it is no .npz archive; {AGAIN}"),
    **{
        f"shape {text}": (shape(text), f", array 'a': is damaged; {AGAIN}")
        for text in (
            "(3, 3)",
            "(999999999999, 3)",
            "(-2, -3)",
            "(True, 6)",
            "(2.0, 3)",
            "6",
            "'23'",
            "((((((((((((((((((((((((",
            "[" * 60,
            "(2, 3), 'x': 1",
            "(0, 99999999999999999999)",
            "9**9",
        )
    },
}


@pytest.mark.parametrize("case", CASES)
def test_damage_is_named(tmp_path, case):
    change, text = CASES[case]
    assert refusal(edited(tmp_path / "a.npz", change)) == text


def test_members_twice_and_other_compression(tmp_path):
    path = tmp_path / "a.npz"
    assert refusal(edited(path, same_name)) == f": holds 'a.npy' twice; {AGAIN}"
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(path, "w", method) as archive, archive.open("a.npy", "w") as file:
            np.save(file, np.arange(3))
        assert refusal(path) == (
            ", array 'a': is compressed by another method than deflate; store it with numpy.savez "
            "or numpy.savez_compressed"
        )


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (b"numpy!\1\0", "is no array of numpy"),
        (b"\x93NUMPY\3\0", "is an array of the format 3.0, not 1.0 or 2.0"),
        (b"\x93NUMPY\1\0\xff\xff", "is damaged"),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff", "is damaged"),
        (b"", "is no array of numpy"),
    ],
)
def test_members_that_are_no_arrays(tmp_path, start, text):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", start + bytes(100 if start else 0))
    assert refusal(path) == f", array 'a': {text}; {AGAIN}"


def test_records(tmp_path):
    np.savez(tmp_path / "a.npz", x_test=np.zeros(3, "i4,f4"))
    with (
        pytest.raises(LutgenError) as caught,
        open_archive(tmp_path / "a.npz", "an archive", AGAIN) as archive,
    ):
        archive.members()
    assert str(caught.value).endswith(
        ", array 'x_test': holds records; save each of their fields as an array of numbers"
    )


def test_other_members(tmp_path):
    """A model holds nothing else; a data set may."""
    path = tmp_path / "a.npz"
    np.savez(path, x_test=np.zeros((1, 3)), manifest=np.array("{}"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "hello")
    assert lutgen.train.load_samples(path).x.shape == (1, 3)
    with pytest.raises(LutgenError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}: holds 'readme.txt', which is no array; copy or train it again"
    )


def test_a_table_of_members_has_a_bound(tmp_path):
    """What the end of an archive says of its table is not believed beyond the file."""

    def change(data):
        struct.pack_into("<L", data, data.rfind(b"PK\5\6") + 12, 0xFFFFFFF0)

    assert refusal(edited(tmp_path / "a.npz", change)) == f": is damaged or cut short; {AGAIN}"


@contextmanager
def at_most(megabytes):
    """Python and numpy take no more memory than that at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
    finally:
        tracemalloc.stop()


def test_arrays_are_read_only_where_the_manifest_wants_them(tmp_path):
    """A small file that unpacks to 64 MB, as an extra array and in place of one of the model's."""
    path = tmp_path / "net.npz"
    save(random_model(np.random.default_rng(3), layers=2, metric="l1"), path)
    with np.load(path) as archive:
        arrays = dict(archive)
    large = np.zeros(1 << 25, np.int16)
    for key in ("more", "fc1.table"):
        np.savez_compressed(path, **{**arrays, key: large})
        assert path.stat().st_size < 200_000
        with at_most(8), pytest.raises(LutgenError) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: holds 67.1 MB of arrays in ")
        with at_most(8), pytest.raises(LutgenError, match="is no checkpoint of lutgen"):
            load_checkpoint(path)
    few = np.zeros(1 << 23, np.int16)
    np.savez_compressed(path, **{**arrays, "fc1.table": few})
    with at_most(8), pytest.raises(LutgenError) as caught:
        load(path)
    assert ", array 'table': must have the shape " in str(caught.value)
    np.savez_compressed(path, x_test=large.reshape(1, -1))
    with at_most(8), pytest.raises(LutgenError, match=r"holds 67\.1 MB of arrays in "):
        lutgen.train.load_samples(path)


@pytest.mark.parametrize(("high", "compressed"), [(1, False), (4, True)])
def test_what_is_written_can_be_read(tmp_path, monkeypatch, high, compressed):
    """Arrays that pack better than readers allow are stored as they are."""
    monkeypatch.setattr("lutgen.archive.SMALL", 1 << 10)
    path = tmp_path / "a.npz"
    arrays = {"table": np.random.default_rng(0).integers(0, high, 1 << 17, dtype=np.uint8)}
    write_with(path, lambda file: write_packed(file, arrays, 24))
    assert (path.stat().st_size < 1 << 17) == compressed
    with open_archive(path, "a job", AGAIN) as archive:
        members = archive.members()
        check_room(members.values(), archive, packed=24, each=1, what="")
        assert np.array_equal(members["table"].load(), arrays["table"])


def test_a_model_that_is_saved_can_be_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("lutgen.archive.SMALL", 1)
    monkeypatch.setattr("lutgen.model.file.PACKED", 1)
    model = random_model(np.random.default_rng(3), layers=2, metric="l1")
    save(model, tmp_path / "net.lut")
    assert digest(load(tmp_path / "net.lut")) == digest(model)


def test_a_model_too_large_for_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "net.lut"
    save(random_model(np.random.default_rng(3), layers=2, metric="l1"), path)
    monkeypatch.setattr("lutgen.archive.free_memory", lambda: 1000)
    with pytest.raises(LutgenError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: takes about ")
    assert str(caught.value).endswith(
        " of memory, of which 1,000 bytes are free; use a machine with more, or train a smaller "
        "network"
    )


READERS = {
    "model": load,
    "data": load_data,
    "checkpoint": load_checkpoint,
    "engine": engine_of,
}


@pytest.mark.parametrize("reader", READERS)
def test_only_plain_files_are_read(tmp_path, reader):
    """A pipe would hang, a device has no end."""
    pipe, place = tmp_path / "pipe", tmp_path / "socket"
    os.mkfifo(pipe)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(place))
    try:
        for path, kind in ((pipe, "a pipe"), (place, "a socket"), ("/dev/zero", "a device")):
            with pytest.raises(LutgenError) as caught:
                READERS[reader](path)
            assert str(caught.value) == (
                f"{path}: can't be read: it is {kind}, must be a file; write its contents to one "
                "and name that"
            )
            assert main(["info", str(path)]) == 2
    finally:
        server.close()
    with pytest.raises(LutgenError, match="can't be read: is a directory"):
        READERS[reader](tmp_path)


def test_files_have_a_bound(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(101))
    assert read_plain(path, 101) == bytes(101)
    with pytest.raises(OSError, match="it holds more than 100 bytes; name another file"):
        read_plain(path, 100)
    with pytest.raises(OSError, match="it holds more than 10 bytes"):
        read_plain("/proc/self/status", 10)  # whose size is 0, as the system says


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "is JSON of more than 64 levels"),
        ("[" * 65 + "]" * 65, "is JSON of more than 64 levels"),
        ('{"a": NaN}', "holds NaN, which is no number in JSON"),
        ("[-Infinity]", "holds -Infinity, which is no number in JSON"),
        ("1e999", "holds a number that is infinite"),
        ("1" * 301, "holds a number of 301 digits"),
        ('{"a": 1, "a": 2}', "holds the field 'a' twice in one object; delete one"),
        ('["\\ud800"]', "holds '\\ud800', half a character"),
        ('{"\\udfff": 1}', "holds '\\udfff', half a character"),
        ('"' + "a" * (1 << 25) + '"', "is more than 33.6 MB of JSON"),
    ],
    ids=lambda text: str(text)[:12],
)
def test_json_that_nobody_writes(text, said):
    with pytest.raises(LutgenError) as caught:
        parse_json(text)
    assert str(caught.value) in (said, f"{said}; write it anew")


def test_json_that_is_read():
    data = {"a": [1, -2.5, None, True, "ä\n\U0001f600"], "b": {"c": {}}, "n": 10**299}
    assert parse_json(json.dumps(data)) == data
    assert parse_json("[" * 64 + "]" * 64)
    with pytest.raises(ValueError, match="Expecting value"):
        parse_json("[}")


def test_what_files_say_is_printed_without_control_characters(tmp_path, capsys):
    """Names out of a file can neither act on a terminal nor make a line of their own."""
    hostile = "\x1b]0;title\x07\x1b[2Jred\u202e\x9b31m"
    model = random_model(np.random.default_rng(3), layers=1, metric="l1")
    model.provenance["accuracy"] = {hostile: 0.5}
    path = tmp_path / "net.lut"
    save(model, path)
    assert main(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    assert r"accuracy  \x1b]0;title\x07\x1b[2Jred\u202e\x9b31m 50.00 %" in shown
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"]["accuracy"] == {hostile: 0.5}
    with pytest.raises(LutgenError):
        load(tmp_path / f"{hostile}\n.lut")
    assert main(["info", str(tmp_path / f"{hostile}\n.lut")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not set(said) & set("\x1b\x07\x9b\u202e")
    assert main(["info", str(path), hostile]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_json_that_is_printed_is_json(capsys):
    """Numbers that JSON does not have become null."""
    print_json({"a": float("nan"), "b": [1.5, float("inf"), (float("-inf"), "x")]})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "a": None,
        "b": [1.5, None, [None, "x"]],
    }


def test_models_that_are_huge_but_legal_are_refused_in_a_line(tmp_path):
    """A sample of 2^40 elements, a pad that makes one of 2^32, a chain of 5,000 nodes."""
    path = tmp_path / "net.npz"
    save(random_model(np.random.default_rng(3), layers=1, metric="l1"), path)
    with np.load(path) as archive:
        arrays = dict(archive)
    manifest = json.loads(str(arrays.pop("manifest")))
    del manifest["provenance"]

    def said(**changes):
        text = np.array(json.dumps({**manifest, **changes}))
        np.savez(path, manifest=text, **({} if "nodes" in changes else arrays))
        with at_most(30), pytest.raises(LutgenError) as caught:
            load(path)
        assert main(["info", str(path)]) == 2
        return str(caught.value).removeprefix(f"{path}: ")

    shape = {"shape": [1 << 20, 1 << 20, 1]}
    assert said(input={**manifest["input"], **shape}) == (
        "manifest, field 'input', field 'shape': is 1,099,511,627,776 elements, more than "
        "67,108,864; train on smaller samples"
    )
    names = ["input", *(f"n{number}" for number in range(5000))]
    chain = [
        {"name": own, "op": "flatten", "inputs": [before]}
        for before, own in itertools.pairwise(names)
    ]
    assert said(nodes=chain) == (
        "field 'nodes': must hold at most 4,096 nodes, not 5,000; train a smaller network"
    )
    pools = [
        {"name": f"n{number}", "op": "add", "inputs": [before] * 2, "left_shifts": [0, 0]}
        | {"shift": 0, "output": manifest["input"] | {"shape": None}}
        for number, before in enumerate(names[:40])
    ]
    for pool in pools:
        del pool["output"]["shape"]
    assert said(nodes=pools, input={**manifest["input"], "shape": [2048, 2048, 1]}).startswith(
        "node 'n15': gives 4,194,304 elements a sample, 71,303,168 with those before it, more than"
    )
