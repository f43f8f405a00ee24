"""The cache gives what was put there or makes it anew, and nobody's leavings stay for ever."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from caches import DAMAGE, damage

from lutgen import scratch, store
from lutgen.errors import LutgenError
from lutgen.files import write_bytes
from lutgen.flows import objcache

KEY = store.digest("test")
HELD = """\
import pathlib, sys, time
from lutgen import scratch, store
def make(folder):
    (folder / "half").write_text("half")
    print("at work", flush=True)
    time.sleep(600)
with scratch.folder() as place:
    store.cached("shelf", {key!r}, make)
"""


@pytest.fixture(autouse=True)
def new(monkeypatch, tmp_path):
    """A cache and a folder for temporary files of this test alone, and nothing swept yet."""
    monkeypatch.setenv("LUTGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(store, "_tidied", set())
    monkeypatch.setattr(store, "_places", {})
    monkeypatch.setattr(scratch, "_swept", set())
    (tmp_path / "tmp").mkdir()


def make(folder):
    """An entry like that of a simulation: a program, and files that it reads."""
    (folder / "program").write_text("#!/bin/sh\necho right\n")
    (folder / "program").chmod(0o755)
    (folder / "inner").mkdir()
    (folder / "inner" / "data").write_bytes(bytes(range(256)) * 300)


def right(place):
    said = subprocess.run([place / "program"], capture_output=True, check=True).stdout
    return said == b"right\n" and (place / "inner" / "data").read_bytes() == bytes(range(256)) * 300


@pytest.mark.parametrize("how", DAMAGE)
def test_every_file_of_an_entry_may_be_damaged(how, caplog):
    place, there = store.cached("shelf", KEY, make)
    assert not there
    shelf = place.parent
    names = [path.relative_to(shelf) for path in shelf.rglob("*") if path.is_file()]
    assert len(names) == 4  # with the seal and the lock
    for name in names:
        damage(shelf / name, how)
        caplog.clear()
        place, there = store.cached("shelf", KEY, make)
        assert right(place), name
        harmless = how == "chmod" and name.name == "seal.json" and os.geteuid() == 0
        if name.suffix != ".lock" and not harmless:
            assert not there, name
            assert f"{place}: the cache's entry is damaged: " in caplog.text
            assert "; making it anew" in caplog.text
            assert caplog.text.count("entry is damaged") == 1
        assert store.cached("shelf", KEY, make) == (place, True)
        # A lock is looked at where something is made.
        other = store.digest(str(name), how)
        (shelf / f"{other}.lock").write_text("")
        damage(shelf / f"{other}.lock", how)
        assert right(store.cached("shelf", other, make)[0])
        shutil.rmtree(shelf / other)
    assert not [path for path in shelf.iterdir() if path.name.startswith("part.")]


@pytest.mark.parametrize("how", ["file", "link", "chmod", "more", "other"])
def test_the_folder_of_an_entry_may_be_another(how, caplog, tmp_path):
    place, _ = store.cached("shelf", KEY, make)
    other = store.digest("other")
    if how == "more":
        (place / "more").write_text("")
    elif how == "chmod":
        place.chmod(0)
        (place / "program").chmod(0)
    elif how == "other":
        # What stands under a key is what was made for it.
        shutil.copytree(place, place.with_name(other))
        place = place.with_name(other)
    else:
        shutil.move(place, tmp_path / "moved")
        if how == "link":
            place.symlink_to(tmp_path / "moved")
        else:
            place.write_text("")
    key = place.name
    found, there = store.cached("shelf", key, make)
    assert (found, there) == (place, False)
    assert right(found)
    assert "the cache's entry is damaged" in caplog.text
    if how == "link":
        assert right(tmp_path / "moved")  # not ours to remove
    assert store.cached("shelf", key, make) == (place, True)


def _start(folder, name):
    code = HELD.format(key=store.digest(name))
    env = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"at work\n"
    return process


def test_what_killed_processes_leave_is_swept(caplog, tmp_path):
    """And not what living ones work on."""
    tmp = tmp_path / "tmp"
    shelf = tmp_path / "cache" / "shelf"
    killed, alive = _start(tmp, "killed"), _start(tmp, "alive")
    try:
        killed.kill()
        killed.wait()
        killed.stdout.close()
        assert len(list(shelf.glob("part.*/half"))) == 2
        assert len(list(tmp.iterdir())) == 2
        store.cached("shelf", KEY, make)
        with scratch.folder():
            assert len(list(tmp.iterdir())) == 2
        assert len(list(shelf.glob("part.*/half"))) == 1
        assert len(list(tmp.iterdir())) == 1
        assert "removed 1 half-made entry of killed commands" in caplog.text
        assert "removed 1 temporary folder of commands that were killed" in caplog.text
    finally:
        alive.send_signal(signal.SIGINT)
        alive.wait()
        alive.stdout.close()
    # An interrupted one cleans up itself.
    assert not list(shelf.glob("part.*"))
    assert not list(tmp.iterdir())


def test_what_a_killed_writer_leaves_beside_its_file_is_swept(caplog, tmp_path):
    code = (
        "import os, sys\nfrom lutgen.files import write_with\n"
        "write_with(sys.argv[1], lambda file: (file.write(b'half'), os.kill(os.getpid(), 9)))\n"
    )
    target = tmp_path / ("long" * 62)  # with more in front and behind, no name for a file
    done = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert done.returncode == -9
    (left,) = tmp_path.glob(".long*.part")
    write_bytes(target, b"whole")
    assert target.read_bytes() == b"whole"
    assert not left.exists()
    assert f"{left}: removed what a killed command left half written" in caplog.text
    assert not list(tmp_path.glob(".long*"))


def test_only_our_own_entries_grow_old(tmp_path):
    shelf = tmp_path / "cache" / "shelf"
    shelf.mkdir(parents=True)
    old, users = shelf / store.digest("old"), shelf / "results.csv"
    old.mkdir()
    users.write_text("mine")
    (shelf / "part.0123").mkdir()
    for path in shelf.iterdir():
        os.utime(path, (0, 0))
    store.cached("shelf", KEY, make)
    assert sorted(path.name for path in shelf.iterdir()) == sorted(
        [KEY, f"{KEY}.lock", "results.csv"]
    )


def test_a_cache_that_is_read_only_still_gives(caplog, monkeypatch, tmp_path):
    place, _ = store.cached("shelf", KEY, make)
    cache, access, utime = tmp_path / "cache", os.access, os.utime
    monkeypatch.setattr(
        os, "access", lambda path, mode: access(path, mode) and not Path(path).is_relative_to(cache)
    )

    def refused(path):
        if isinstance(path, Path) and path.is_relative_to(cache):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        utime(path)

    monkeypatch.setattr(os, "utime", refused)
    assert store.cached("shelf", KEY, make) == (place, True)
    assert not caplog.records
    other, there = store.cached("shelf", store.digest("other"), make)
    assert not there
    assert right(other)
    assert not other.is_relative_to(place.parent)


@pytest.mark.parametrize("way", ["file", "shelf", "home", "passwd", "gone"])
def test_a_cache_that_cannot_be_had(way, caplog, monkeypatch, tmp_path):
    """A temporary folder takes its place."""
    (tmp_path / "file").write_text("")
    if way == "file":
        monkeypatch.setenv("LUTGEN_CACHE", str(tmp_path / "file"))
    elif way == "shelf":
        (tmp_path / "cache").mkdir()
        (tmp_path / "cache" / "shelf").write_text("")
    elif way == "gone":
        (tmp_path / "gone").mkdir()
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        monkeypatch.setenv("LUTGEN_CACHE", "relative")
    else:
        monkeypatch.delenv("LUTGEN_CACHE")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
        if way == "passwd":
            monkeypatch.delenv("HOME")
            monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    place, there = store.cached("shelf", KEY, make)
    assert not there
    assert right(place)
    assert place.is_relative_to(tmp_path / "tmp")
    assert store.cached("shelf", KEY, make) == (place, True)
    (record,) = caplog.records
    assert "a temporary folder takes its place" in record.getMessage()
    assert "set LUTGEN_CACHE to a folder that can be written" in record.getMessage()


def test_no_place_for_temporary_files(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(LutgenError, match=r"can't make temporary files: .*; make room there"):
        with scratch.folder():
            pass


@pytest.mark.parametrize("how", DAMAGE)
def test_objects_that_are_damaged(how, capfd, monkeypatch, tmp_path):
    library, kept = tmp_path / "library", tmp_path / "objects"
    library.mkdir()
    (library / "harness.h").write_text("")
    (library / "harness.cpp").write_text("int answer() { return 42; }\n")
    monkeypatch.setenv(objcache.FOLDER, str(kept))
    output = tmp_path / "out.o"
    command = ["c++", "-c", "-o", str(output), str(library / "harness.cpp")]
    assert objcache.main(command) == 0
    first = output.read_bytes()
    (entry,) = kept.iterdir()
    damage(entry, how)
    assert objcache.main(command) == 0
    assert output.read_bytes() == first
    silent = how == "delete" or (how == "chmod" and os.geteuid() == 0)  # root reads everything
    assert capfd.readouterr().err.count("; making it anew") == (not silent)
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: _Version())
    output.unlink()
    assert objcache.main(command) == 0  # from the cache again
    assert output.read_bytes() == first
    assert {path.name for path in kept.iterdir()} <= {entry.name, "other"}


class _Version:
    """What a compiler says that must not run."""

    stdout = subprocess.run(["c++", "--version"], capture_output=True, check=True).stdout
    returncode = 1


def test_an_object_under_another_name(capfd, tmp_path):
    objcache.keep(tmp_path / "a.o", b"object")
    assert objcache.take(tmp_path / "a.o") == b"object"
    shutil.copyfile(tmp_path / "a.o", tmp_path / "b.o")
    assert objcache.take(tmp_path / "b.o") is None
    assert "is damaged; making it anew" in capfd.readouterr().err


def test_makers_at_the_same_time_make_once(tmp_path):
    code = (
        "import sys\nfrom lutgen import store\n"
        "def make(folder):\n"
        "    (folder / 'file').write_text('whole')\n"
        "    print('made')\n"
        f"assert store.cached('shelf', {KEY!r}, make)[0].joinpath('file').read_text() == 'whole'\n"
    )
    store.cached("shelf", KEY, lambda folder: (folder / "file").write_text("whole"))
    (tmp_path / "cache" / "shelf" / KEY / "file").write_text("wrong")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for _ in range(3)
    ]
    said = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert sorted(said) == [b"", b"", b"made\n"]
