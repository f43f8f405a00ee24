"""Outside programs end with whoever started them, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lutgen.cli.main import main
from lutgen.flows.simbuild import last_error, run_logged

# A program that starts another one, and says which both are.
LONG = ["sh", "-c", "sleep 300 & echo $$ $! > pids.part; mv pids.part pids; wait"]
LIBRARY = """\
import sys
from pathlib import Path
from lutgen.flows.simbuild import last_error, run_logged
folder = Path(sys.argv[1])
run_logged({command!r}, folder, folder / "log")
"""
# `lutgen sim` with that in the simulator's place.
COMMAND = """\
import sys
from pathlib import Path
from lutgen.cli.main import entry
from lutgen.flows import simbuild
folder = Path(sys.argv[1])
simbuild.build = lambda *args: (folder, True)
simbuild.play = lambda job, _: (simbuild.run_logged({command!r}, folder, folder / "log"), None)
sys.argv[1:] = ["sim", "--core", str(folder / "e.json"), "--samples", "1"]
entry()
"""


def running(pid):
    """Whether a process is there, and not only waits to be asked how it ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def ends(script, folder, *sent):
    """Starts a script and ends it once the program runs; gives its status and what it said."""
    place = folder / "tmp"  # of its own: what other killed commands left is theirs to be said
    place.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", script.format(command=LONG), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    )
    for _ in range(600):
        if (folder / "pids").is_file():
            break
        time.sleep(0.1)
    pids = [int(word) for word in (folder / "pids").read_text().split()]
    assert all(map(running, pids))
    for each in sent:
        process.send_signal(each)
    out, _ = process.communicate(timeout=60)
    for _ in range(100):
        if not any(map(running, pids)):
            break
        time.sleep(0.1)
    assert not any(map(running, pids))
    return process.returncode, out


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_programs_end_with_whoever_started_them(tmp_path, sent):
    assert ends(LIBRARY, tmp_path, sent) == (-sent, "")


def test_a_terminated_simulation(tmp_path):
    """Also where the signal comes twice, as `timeout` sends it."""
    out = tmp_path / "e.v"
    assert main(["build", "--codebooks", "2", "--subvec", "1", "--rows", "4", "-o", str(out)]) == 0
    assert ends(COMMAND, tmp_path, signal.SIGTERM, signal.SIGTERM) == (143, "")


def test_statuses_and_words(tmp_path):
    log = tmp_path / "log"
    assert run_logged(["sh", "-c", "pwd; echo wrong >&2; exit 3"], tmp_path, log) == 3
    assert log.read_text() == f"{tmp_path.resolve()}\nwrong\n"
    assert run_logged(["sh", "-c", "kill -9 $$"], tmp_path, log) == 128 + 9
    assert run_logged(["cat"], tmp_path, log) == 0  # nothing to read


def test_what_a_log_says_last(tmp_path):
    log = tmp_path / "log"
    log.write_text("ERROR: no such thing\nError: a\n     lutgen.errors.LutgenError: b is c\nend\n")
    assert last_error(log) == ": lutgen.errors.LutgenError: b is c"
    log.write_text("all is well\n")
    assert last_error(log) == ""
