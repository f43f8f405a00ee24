"""Verilog text to a simulation program, through the cache."""

import contextlib
import json
import logging
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lutgen import resources, scratch
from lutgen.errors import LutgenError
from lutgen.files import absolute, reason
from lutgen.flows import cache, objcache, tools
from lutgen.spec.names import check_name

__all__ = ["CHECKS", "SIMULATORS", "broken_rules", "build", "last_error", "play"]

SIMULATORS = ("verilator", "icarus")
UNSAFE = re.compile(r"[^\w./+@,=~-]")  # in a path, to make or to a shell

# Generated memories then watch their ports (rtl_templates/memory_checks.v.j2).
CHECKS = "-DLUTGEN_CHECKS"
RULE = re.compile(r"^FAIL: (\S+): (row .*)")

FLAGS = {
    # Generated Verilog is not lint-free by Verilator's taste, and lint is not what this is for. The
    # bench sees ports only; cocotb's runner asks for every signal, which costs most of the build.
    "verilator": ["-Wno-fatal", "--no-public-flat-rw", "--public-depth", "1", CHECKS],
    # With -g2012 some combinational outputs stay X for ever from time 0.
    "icarus": ["-g2005", CHECKS],
}

# No optimisation, and one C++ file. Most of a run's time goes into Python, and most of a build's
# into the contents of ROMs, which run once: a network for MNIST builds in half the time and runs
# at half the speed, so that optimisation pays from about a million cycles on. Several files would
# need a precompiled header, which costs small designs more than their code.
MAKE = ["VM_PARALLEL_BUILDS=0", "OPT_FAST=-O0"]


log_of_package = logging.getLogger("lutgen")


def build(verilog: str, top: str, simulator: str) -> tuple[Path, bool]:
    """The folder of a built simulation of module ``top``, and whether it was in the cache.

    Raises
    ------
    LutgenError
        If the simulator is missing, or does not take the text; the error names its log.
    """
    check_name(top, "a top module")
    if simulator not in SIMULATORS:
        raise LutgenError(f"simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    cocotb = tools.package_version("cocotb")
    tools.need("cocotb", cocotb, "pip install 'lutgen[sim]'")
    find = tools.find_verilator if simulator == "verilator" else tools.find_icarus
    program, version = find()
    compiler = tools.program_version("c++", "--version") if simulator == "verilator" else None
    identity = [program, version, compiler, cocotb, sys.prefix, platform.machine()]
    key = cache.digest("sim", 1, verilog, top, simulator, FLAGS[simulator], MAKE, identity)
    check_cache()

    def make(folder: Path) -> None:
        source = folder / "design.v"
        source.write_text(verilog, encoding="utf-8")
        job = {
            "action": "build",
            "simulator": simulator,
            "source": str(source),
            "top": top,
            "build_dir": str(folder / "build"),
            "flags": FLAGS[simulator],
        }
        status, log = run_job(job, folder)
        program = folder / "build" / ("sim.vvp" if simulator == "icarus" else top)
        if status or not program.is_file():
            raise failure(simulator, top, log)
        program.rename(folder / program.name)
        shutil.rmtree(folder / "build")  # objects and sources: tens of megabytes that nobody reads

    return cache.cached("sim", key, make)


@contextlib.contextmanager
def run_folder(keep: Path | None) -> Iterator[Path]:
    """The folder of a run: ``keep``, or a temporary one. That stays after an error, as its log is
    then all there is.

    Raises
    ------
    LutgenError
        If it can't be made.
    """
    if keep is None:
        with scratch.folder(keep=(LutgenError,)) as folder:
            yield folder
        return
    folder = absolute(keep)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LutgenError(f"{keep}: can't be made: {reason(error)}; name a folder") from error
    yield folder


def check_cache() -> None:
    """Complains of folders in which GNU make, as Verilator uses it, can't work: their names stand
    in makefiles and in lines for a shell.
    """
    for path, mend in (
        (cache.root(), "set LUTGEN_CACHE to another folder"),
        (resources.sim(), "install lutgen in another folder"),
        (Path(sys.executable), "make the virtual environment in another folder"),
    ):
        found = UNSAFE.search(str(path))
        if found is not None:
            what = "spaces" if found[0] == " " else repr(found[0])
            raise LutgenError(
                f"{path}: Verilator can't build in a folder with {what} in its name; {mend}"
            )


def failure(simulator: str, top: str, log: Path) -> LutgenError:
    """The error for a build that failed, with the first thing that it complained of; keeps its
    log.
    """
    kept = scratch.keep_folder() / log.name
    shutil.copyfile(log, kept)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if "error" in line.lower()]
    said = f": {errors[0].strip():.160}" if errors else ""
    return LutgenError(f"{simulator} can't build {top}{said}; its messages are in {kept}")


def last_error(log: Path) -> str:
    """What a log's memories say, or its last exception, with a colon in front; empty where there
    is none.
    """
    for _, text in broken_rules(log):
        return f": {text}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line.strip() for line in lines if re.match(r"\s*[\w.]*(Error|Exception): ", line)]
    return f": {said[-1]:.160}" if said else ""


def broken_rules(log: Path) -> list[tuple[list[str], str]]:
    """What the memories of a design said in a log: the instances on the way to each, and what was
    done that must not be.
    """
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [RULE.search(line) for line in lines]
    return [(rule[1].split("."), f"{rule[1]}: {rule[2]}") for rule in said if rule]


def play(job: dict[str, Any], folder: Path) -> tuple[int, Path]:
    """Runs a built simulation in ``folder``; gives the exit status and the log."""
    return run_job({"action": "test", **job}, folder)


def run_job(job: dict[str, Any], folder: Path) -> tuple[int, Path]:
    """Runs ``cocotb_job.py`` quietly, in a process group that ends with us."""
    name = str(job["action"])
    plan, log = folder / f"{name}.json", folder / f"{name}.log"
    plan.write_text(json.dumps(job, indent=1), encoding="utf-8")
    here = Path(__file__).resolve().parent
    env = make_environment(MAKE)
    env["COCOTB_LOG_LEVEL"] = "WARNING"
    # -P: the folder of the script holds modules of ours whose names others use too.
    command = [sys.executable, "-P", str(here / "cocotb_job.py"), str(plan)]
    return run_logged(command, folder, log, env), log


def make_environment(options: Sequence[str]) -> dict[str, str]:
    """The environment for Verilator's makefile with the variables ``options``; compiles through the
    cache.
    """
    env = tools.environment()
    # The makefile asks for a bare `python`.
    env["MAKEFLAGS"] = " ".join([f"PYTHON3={sys.executable}", *options])
    script = Path(__file__).resolve().with_name("objcache.py")
    env["OBJCACHE"] = tools.which("ccache") or f"{sys.executable} -I -S {script}"
    objects = cache.root() / "objects"
    with contextlib.suppress(OSError):  # nothing is there yet
        cache.tidy(objects)
    env[objcache.FOLDER] = str(objects)
    env.setdefault(
        "CCACHE_DIR", str(cache.root() / "ccache")
    )  # its own place is in the home folder
    return env


def run_logged(
    command: Sequence[str], folder: Path, log: Path, env: Mapping[str, str] | None = None
) -> int:
    """Runs a program in ``folder``, its words going to ``log``, in a process group that ends with
    us, however we end; gives the exit status. What its compilations say of the cache is passed on.
    """
    leash = [sys.executable, "-I", "-S", str(Path(__file__).resolve().with_name("leash.py"))]
    with (
        scratch.folder() as place,  # compilers that are killed leave their own files
        log.open("wb") as out,
        subprocess.Popen(
            [*leash, *command],
            cwd=folder,
            env={**(env or tools.environment()), "TMPDIR": str(place)},
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            status = process.wait()
        finally:
            if process.poll() is None:  # interrupted: make and compilers go too
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(objcache.NOTE):
            log_of_package.warning(line.removeprefix(objcache.NOTE))
    return status
