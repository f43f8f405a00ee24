"""Surroundings that fail: memory, disks, closed streams, signals, folders that are gone."""

import argparse
import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from simulation import random_model

from lutgen import load, save
from lutgen.cli import faults
from lutgen.cli import main as cli
from lutgen.cli.main import main
from lutgen.errors import LutgenError
from lutgen.gateware import yosys

LUTGEN = [sys.executable, "-m", "lutgen"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small network and samples for it."""
    place = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(11)
    save(random_model(rng, layers=1, features=4, metric="l1"), place / "net.lut")
    x = rng.random((80, 4))
    y = (x.sum(axis=1) > 2).astype(int)
    np.savez(place / "data.npz", x_train=x[:60], y_train=y[:60], x_test=x[60:], y_test=y[60:])
    return place


def one_line(text):
    assert text.count("\n") == 1, text
    assert text.startswith("lutgen: error: "), text
    return text.removeprefix("lutgen: error: ").rstrip("\n")


def shell(command, folder, **more):
    """Runs ``lutgen`` in a shell's command; gives status, standard output and standard error."""
    text = command.replace("lutgen", " ".join(LUTGEN), 1)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", text],
        cwd=folder,
        env={**os.environ, **more},
        capture_output=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


TRAIN = "lutgen train data.npz --arch 4 --float-epochs 2 --epochs 1 -o model.lut"


@pytest.mark.parametrize(
    ("end", "status", "said"),
    [
        ("2>&1 | head -1", 0, ""),
        ("2>&1 >&- | true", 2, ""),
        (">&- 2>&-", 2, ""),
        (
            ">/dev/full",
            2,
            "standard output can't be written: no space left on device; the command itself ended "
            "with status 0",
        ),
    ],
)
def test_training_ends_with_its_model_whatever_becomes_of_its_words(
    folder, tmp_path, end, status, said
):
    shutil.copyfile(folder / "data.npz", tmp_path / "data.npz")
    found, _, err = shell(f"{TRAIN} {end}", tmp_path)
    assert found == status
    assert said in err
    assert "Traceback" not in err
    assert load(tmp_path / "model.lut").nodes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.npz", "model.lut"]


def test_a_model_that_cannot_be_written_any_more_is_kept(folder, tmp_path):
    """The folder goes while the network is trained."""
    place = tmp_path / "place"
    place.mkdir()
    (tmp_path / "tmp").mkdir()
    script = (
        "import os, shutil, sys\n"
        "from lutgen.cli.entry import entry\n"
        "from lutgen.train import pipeline\n"
        "class Run(pipeline.Run):\n"
        "    def __init__(self, *args):\n"
        "        super().__init__(*args)\n"
        "        shutil.rmtree(os.getcwd())\n"
        "pipeline.Run = Run\n"
        "entry()\n"
    )
    command = [sys.executable, "-c", script, "train", str(folder / "data.npz"), "--arch", "4"]
    command += ["--float-epochs", "2", "--epochs", "1", "-o", "model.lut"]
    done = subprocess.run(
        command,
        cwd=place,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("; training goes on without a checkpoint\n") == 1
    kept = re.search(r"; the model is in (\S+): move it\n", done.stderr)[1]
    assert load(kept).nodes
    assert done.stdout.startswith(f"{kept}: ")


def test_the_reader_that_leaves_changes_no_verdict(folder):
    """A status that a check gives, not that of a pipe."""
    code = (
        "import sys\n"
        "from lutgen.cli import doctor\n"
        "from lutgen.cli.entry import entry\n"
        "def run(args):\n"
        "    for number in range(100_000):\n"
        "        print(number)\n"
        "    return 1\n"
        "doctor.run = run\n"
        "sys.argv[1:] = ['doctor']\n"
        "entry()\n"
    )
    found = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" | head -1; exit ${PIPESTATUS[0]}', sys.executable, code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout, found.stderr) == (1, "0\n", "")


def test_closed_descriptors_go_to_nobody_else(folder, tmp_path):
    """What a command prints does not come into the file that it opens first, nor errors into
    standard output.
    """
    shutil.copyfile(folder / "net.lut", tmp_path / "net.lut")
    before = (tmp_path / "net.lut").read_bytes()
    assert shell("lutgen info net.lut <&- >&- 2>&-", tmp_path) == (2, "", "")
    assert shell("lutgen info no.lut 2>&-", tmp_path) == (2, "", "")
    assert (tmp_path / "net.lut").read_bytes() == before


@pytest.mark.parametrize("more", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
def test_names_that_an_encoding_lacks(folder, tmp_path, more):
    """A name that is no UTF-8 goes through all that is written, and comes back."""
    data, model = (os.path.join(os.fsencode(tmp_path), name) for name in (b"\xff.npz", b"\xc3\xa9"))
    shutil.copyfile(folder / "data.npz", data)
    command = [*LUTGEN, "train", data, "--arch", "4", "--float-epochs", "1", "--epochs", "1"]
    done = subprocess.run(
        [*command, "-o", model], env={**os.environ, **more}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(os.fsencode(tmp_path))
    assert b"Traceback" not in done.stderr
    assert load(os.fsdecode(model)).provenance["data"] == "\\udcff"


def test_fewer_open_files_than_python_takes():
    for count in (4, 5, 8):
        done = subprocess.run(
            [*LUTGEN, "info", "no.lut"],
            preexec_fn=lambda count=count: resource.setrlimit(resource.RLIMIT_NOFILE, (count,) * 2),
            capture_output=True,
            text=True,
            check=False,
        )
        if "lutgen: error" in done.stderr:  # else Python itself did not come so far
            assert done.returncode == 2
            one_line(done.stderr)
    assert "lutgen: error: no.lut: can't be read" in done.stderr


def test_interrupted_while_packages_are_imported(tmp_path):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text(
        "import os, time\nos.write(1, b'importing')\ntime.sleep(100)\n"
    )
    for sent, status, said in (
        (signal.SIGINT, 130, b"lutgen: interrupted\n"),
        (signal.SIGTERM, 143, b""),
        (signal.SIGHUP, 129, b""),
    ):
        process = subprocess.Popen(
            [*LUTGEN, "doctor"],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert os.read(process.stdout.fileno(), 9) == b"importing"
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (status, said)


def test_an_interrupt_that_python_can_not_raise_comes_again():
    code = (
        "import signal, sys, time\n"
        "from lutgen.cli import doctor\n"
        "from lutgen.cli.entry import entry\n"
        "class Part:\n"
        "    def __del__(self):\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "        time.sleep(0)\n"
        "def run(args):\n"
        "    Part()\n"
        "    time.sleep(100)\n"
        "doctor.run = run\n"
        "sys.argv[1:] = ['doctor']\n"
        "entry()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "lutgen: interrupted\n")


@pytest.mark.parametrize("shown", [False, True])
def test_a_defect_says_that_it_is_one(shown):
    code = (
        "import sys\n"
        "from lutgen.cli import doctor\n"
        "from lutgen.cli.entry import entry\n"
        "doctor.run = lambda args: {}['no such key']\n"
        "sys.argv[1:] = ['doctor']\n"
        "entry()\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "LUTGEN_TRACEBACK"}
    env |= {"LUTGEN_TRACEBACK": "1"} if shown else {}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 70
    assert done.stderr.startswith("Traceback") == shown
    assert one_line(done.stderr.splitlines(keepends=True)[-1]) == (
        "KeyError at <string>:4: 'no such key'; this is a defect of lutgen: LUTGEN_TRACEBACK=1 "
        "shows the traceback, which belongs in a report"
    )


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError("Unable to allocate 9 GiB"), "out of memory: Unable to allocate 9 GiB; free"),
        (RecursionError("deep"), "ran out of stack: the input nests too deeply"),
        (BrokenPipeError(), "a program that was started has ended early"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: permission denied; change"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on device; make room"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files; raise the limit on"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "a"), "a: file name too long; choose"),
        (RuntimeError("Symlink loop from '/a'"), "'/a': its links lead in a circle"),
        (RuntimeError("can't start new thread"), "can't start a thread; raise the limits on"),
        (ImportError("failed to map segment", name="numpy"), "numpy: can't be loaded: failed to"),
        (UnicodeEncodeError("ascii", "é", 0, 1, "no"), "'é': can't be written in ascii; choose"),
    ],
)
def test_faults_of_the_surroundings_are_one_line(error, text, capsys, monkeypatch):
    def fail(args):
        raise error

    monkeypatch.setattr(cli.doctor, "run", fail)
    assert main(["doctor"]) == 2
    captured = capsys.readouterr()
    assert one_line(captured.err).startswith(text)
    assert captured.out == ""


def test_control_characters_in_names(capsys):
    assert main(["info", "a\nb\x1b[31m"]) == 2
    said = one_line(capsys.readouterr().err)
    assert said == "a\\nb\\x1b[31m: can't be read: no such file or directory"
    assert faults.printable("é\udcff") == "é\\udcff"


def test_two_hyphens_are_no_value(capsys):
    """Of any option of any command."""
    (commands,) = [
        action.choices
        for action in cli.parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    count = 0
    for name, parser in commands.items():
        for action in parser._actions:
            if action.nargs == 0 or not action.option_strings:
                continue
            for option in action.option_strings:
                if option.startswith("--"):
                    assert main([name, f"{option}=--"]) == 2
                    assert "must be a value, not '--'; see" in one_line(capsys.readouterr().err)
                    count += 1
    assert count > 100


@pytest.mark.parametrize("command", ["info {}", "build {} -o o.v", "build net.lut -o {}"])
def test_paths_that_cannot_be_followed(folder, tmp_path, monkeypatch, capsys, command):
    shutil.copyfile(folder / "net.lut", tmp_path / "net.lut")
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    for path in ("loop", "loop/x.lut", "a" * 300, "net.lut/x"):
        assert main(command.format(path).split()) == 2
        assert path in one_line(capsys.readouterr().err)
    assert sorted(os.listdir()) == ["loop", "net.lut"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_folders_that_cannot_be_entered(folder, tmp_path):
    """Nor is there a home folder, or a name for the user."""
    closed = tmp_path / "closed"
    closed.mkdir()
    shutil.copyfile(folder / "net.lut", closed / "net.lut")
    closed.chmod(0)
    shutil.copytree(folder, tmp_path / "open")
    names = ("HOME", "LUTGEN_CACHE", "XDG_CACHE_HOME")
    env = {name: value for name, value in os.environ.items() if name not in names}
    code = (
        "import os, sys\n"
        "from lutgen.cli.main import main\n"
        "import lutgen.train.data, lutgen.flows.tools, lutgen.gateware.build\n"
        "os.setgroups([])\n"
        "os.setgid(12345)\n"
        "os.setuid(12345)\n"
        "closed, open = sys.argv[1:]\n"
        "for args in (['info', closed], ['build', closed, '-o', '/tmp/x.v'],\n"
        "             ['train', closed, '-o', '/tmp/x.lut'], ['infer', closed, '--data', open],\n"
        "             ['infer', open, '--data', closed], ['build', open, '-o', closed],\n"
        "             ['sim', '--core', closed], ['doctor']):\n"
        "    print(main(args), flush=True, file=sys.stderr)\n"
    )
    os.chmod(tmp_path, 0o755)
    done = subprocess.run(
        [sys.executable, "-c", code, closed / "net.lut", tmp_path / "open" / "net.lut"],
        env=env,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    closed.chmod(0o700)
    lines = done.stderr.splitlines()
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert lines[1:14:2] == ["2"] * 7, done.stderr
    assert all("permission denied" in line for line in lines[0:14:2]), done.stderr
    assert lines[-1] == "0"
    assert "there is no home folder; a temporary folder takes its place" in lines[-2]


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ('ulimit -v 600000; exec {python} "$@"', "ran out of memory; raise the limit (`ulimit -v"),
        ("kill -9 $$", "was ended by SIGKILL; free memory, or raise the memory limit"),
        (
            "echo Error: wrong >&2; exit 3",
            "ended with status 3: Error: wrong; install it anew: pip",
        ),
        ("echo OSError: No space left on device >&2; exit 1", "has no room for its machine code"),
        (None, "can't be started: no such file or directory; this user can't run "),
    ],
)
def test_yosys_that_fails(monkeypatch, tmp_path, script, text):
    yosys.machine_code()
    program = tmp_path / "python"
    if script is not None:
        program.write_text(f"#!/bin/sh\n{script.format(python=sys.executable)}\n")
        program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(LutgenError) as caught:
        yosys.write_verilog("module \\top\nend\n")
    assert str(caught.value).startswith(f"yosys, which writes the Verilog, {text}")


def test_yosys_in_a_folder_that_is_gone(monkeypatch, tmp_path):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "module top" in yosys.write_verilog("module \\top\nend\n")


def test_little_stands_before_the_handlers():
    """What is imported before signals have handlers is little, and nothing but Python's own."""
    code = "import sys; old = {*sys.modules}; import lutgen.cli.entry; print(*{*sys.modules} - old)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    new = set(done.stdout.split())
    assert {name for name in new if name.startswith("lutgen")} == {
        *("lutgen", "lutgen.errors", "lutgen.cli", "lutgen.cli.entry")
    }
    assert "typing" not in new
