"""Every kind of file that lutgen reads, damaged in thousands of ways, through its commands.

`run` is what a test calls. The commands run in a process of their own, one after the other, with
bounds on memory and time; a process that dies, hangs or grows is a failure of the file it was at.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import resource
import select
import shutil
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

import mutate
import numpy as np

MEMORY = 2_000  # megabytes
SECONDS = 20  # of a processor
PATIENCE = 300  # seconds without a word: a file hangs, even on a machine that has much else to do
LONGEST = 6_100  # characters of an error
REPORT = {
    "format": "lutgen-synth",
    "version": 1,
    "name": "net",
    "model": {"name": "net", "sha256": "0" * 64},
    "stage": "routed",
    "interval": 20,
    "latency": 31,
    "loadable": False,
    "device": "hx8k",
    "part": "iCE40HX8K",
    "package": "ct256",
    "speed_grade": None,
    "tools": ["yosys 0.40", "nextpnr-ice40 0.7"],
    "available": {"luts": 7680, "ffs": 7680, "blocks": 32, "single": 0},
    "estimate": {
        "luts": {"estimate": 900, "synthesis": 950, "error": -0.05},
        "blocks": {"estimate": 4, "synthesis": 4, "error": None},
    },
    "core": {"luts": 950, "ffs": 480, "blocks": 4, "carry_luts": 1234},
    "whole": {"luts": 1000, "ffs": 500, "blocks": 4},
    "placements": [
        {
            "seed": 1,
            "used": {"LUTs": [1000, 7680]},
            "critical_path": {"from": "a", "to": "b", "logic_levels": 5},
        }
    ],
    "fmax_mhz": {"median": 60.0, "best": 63.5},
    "samples_per_second": {"median": 3e6, "best": 3.1e6, "clock": 6e5},
    "board": "icebreaker",
    "clock_hz": 12e6,
    "clock_spare": 0.4,
    "baud": 115200,
    "netlist": {"samples": 20, "mismatches": 0, "passed": True, "seconds": 3.1},
    "energy": {
        "nj": {"low": 1.0, "middle": 2.0, "high": 4.0},
        "power_mw": {"low": 1.0, "middle": 2.0, "high": 4.0},
        "parts_nj": {"clock": {"low": 0.1, "middle": 0.5, "high": 1.0}},
        "clock_hz": 12e6,
        "static_known": True,
    },
    "failed": ["the clock is too fast"],
    "seconds": {"steps": 30.0, "all": 12.0},
    "bitstream": "net/net.bin",
    "program": "iceprog net/net.bin",
    "run": "lutgen run",
}
TRAIN = ["train", "data.npz", "--arch", "4", "--centroids", "2", "--float-epochs", "2"]
TRAIN += ["--epochs", "4", "--threads", "1", "--stages", "replace,joint", "-o", "out.lut"]
ONNX = ["train", "data.npz", "--onnx", "net.onnx", "--centroids", "2", "--threads", "1"]
ONNX += ["--stages", "replace", "-o", "out.lut"]
KINDS = ("lut", "lut", "lut", "data", "onnx", "core", "engine", "job", "checkpoint", "report")


# The files that are damaged.


def make_bases(folder):
    """Writes a good file of every kind."""
    import convnets
    from engines import engine_for
    from simulation import random_model
    from training import small

    from lutgen.cli.main import main
    from lutgen.model import save
    from lutgen.train import run

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    mlp, (conv, _) = random_model(rng, layers=2, features=6, metric="l1"), convnets.everything()
    for name, model in (("mlp", mlp), ("conv", conv)):
        save(model, folder / f"{name}.lut")
        x = rng.integers(0, 16, (4, *model.shape)).astype(np.uint8)
        np.savez(folder / f"{name}.npz", x_test=x, y_test=np.arange(4) % model.classes)
    data = small(shape=(6,))
    some = {"x_train": data.x_train[:60], "y_train": data.y_train[:60]}
    np.savez(folder / "data.npz", **some, x_test=data.x_test[:20], y_test=data.y_test[:20])
    make_onnx(folder / "net.onnx")
    (folder / "report.json").write_text(json.dumps(REPORT))
    with contextlib.chdir(folder), open(os.devnull, "w") as null:
        from lutgen.cli.engine import options_of

        engine = options_of(engine_for(conv, has_map=True)).split()
        saved, count = run.save_checkpoint, 0

        def keep(checkpoint, path):
            nonlocal count
            saved(checkpoint, path)
            shutil.copy(path, f"run{count}.ckpt")
            count += 1

        run.save_checkpoint = keep
        with contextlib.redirect_stderr(null), contextlib.redirect_stdout(null):
            assert main(["build", "mlp.lut", "-o", "core.v"]) == 0
            assert main(["build", *engine, "-o", "engine.v"]) == 0
            assert main(["compile", "conv.lut", "--engine", "engine.json", "-o", "job"]) == 0
            assert main([*TRAIN, "--checkpoint", "run.ckpt"]) == 0
        run.save_checkpoint = saved
    return folder


def make_onnx(path):
    """A small network with a convolution, a pool and two linear layers."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(1)
    held = {
        "w0": rng.standard_normal((2, 1, 1, 3)),
        "b0": rng.standard_normal(2),
        "w1": rng.standard_normal((4, 4)),
        "b1": rng.standard_normal(4),
        "w2": rng.standard_normal((4, 3)),
    }
    constants = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in held.items()]
    constants.append(numpy_helper.from_array(np.array([-1, 1, 1, 6]), "to"))
    nodes = [
        helper.make_node("Reshape", ["x", "to"], ["r"], name="reshape"),
        helper.make_node("Conv", ["r", "w0", "b0"], ["c"], name="conv", kernel_shape=[1, 3]),
        helper.make_node("Relu", ["c"], ["a"], name="relu"),
        helper.make_node("MaxPool", ["a"], ["p"], name="pool", kernel_shape=[1, 2], strides=[1, 2]),
        helper.make_node("Flatten", ["p"], ["f"], name="flat", axis=1),
        helper.make_node("Gemm", ["f", "w1", "b1"], ["g"], name="fc1", alpha=1.0, beta=1.0),
        helper.make_node("Relu", ["g"], ["h"], name="relu2"),
        helper.make_node("MatMul", ["h", "w2"], ["y"], name="fc2"),
    ]
    nodes = nodes[1:]
    nodes[0].input[0] = "x"
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 1, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        constants[:-1],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


# One damaged file and the command that reads it.


@dataclass(frozen=True)
class Case:
    """A damaged file among good ones.

    Attributes
    ----------
    kind, what : str
        What file it is, and what was done to it.
    files : dict of bytes
        All files, by their paths.
    command : list of str
    gives : set of str
        What the command may write, where it succeeds.
    """

    kind: str
    what: str
    files: dict
    command: list
    gives: frozenset = frozenset()


def make_case(number, seed, bases):
    """The case of that number: the same for the same seed."""
    rng = np.random.default_rng([seed, number])
    kind = KINDS[number % len(KINDS)]
    return CASES[kind](rng, bases)


def damaged(rng, data, *ways):
    """Bytes changed in one of the ways, or as bytes."""
    return mutate.pick(rng, (*ways, *ways, mutate.in_bytes))(rng, data)


def archive(rng, data):
    text = "manifest.npy" if "manifest.npy" in mutate.unpacked(data) else None
    return mutate.in_zip(rng, data, text)


def text(rng, data):
    what, changed = mutate.in_json(rng, data.decode())
    return what, changed.encode()


def case_lut(rng, bases):
    name = mutate.pick(rng, ("mlp", "conv"))
    what, data = damaged(rng, (bases / f"{name}.lut").read_bytes(), archive, archive)
    files = {"net.lut": data, "data.npz": (bases / f"{name}.npz").read_bytes()}
    command, gives = mutate.pick(
        rng,
        (
            (["info", "net.lut"], ()),
            (["info", "net.lut", "--json"], ()),
            (["infer", "net.lut", "--data", "data.npz", "-o", "p.npz"], ("p.npz",)),
            (["infer", "net.lut", "--data", "data.npz", "--json"], ()),
            (["compile", "net.lut", "--engine", "engine.json", "-o", "job"], ("job",)),
        ),
    )
    if command[0] == "compile":
        files["engine.json"] = (bases / "engine.json").read_bytes()
    return Case("lut", what, files, command, frozenset(gives))


def case_data(rng, bases):
    if rng.random() < 0.6:
        what, data = damaged(rng, (bases / "mlp.npz").read_bytes(), archive)
        files = {"net.lut": (bases / "mlp.lut").read_bytes(), "data.npz": data}
        return Case("data", what, files, ["infer", "net.lut", "--data", "data.npz", "--json"])
    what, data = damaged(rng, (bases / "data.npz").read_bytes(), archive)
    return Case("data", what, {"data.npz": data}, TRAIN, frozenset({"out.lut"}))


def case_onnx(rng, bases):
    what, data = damaged(rng, (bases / "net.onnx").read_bytes(), mutate.in_onnx, mutate.in_onnx)
    x = mutate.unpacked((bases / "data.npz").read_bytes())
    for key in ("x_train.npy", "x_test.npy"):
        x[key] = mutate.npy(mutate.array_of(x[key]).reshape(-1, 1, 6, 1))
    files = {"net.onnx": data, "data.npz": mutate.packed(x.items())}
    return Case("onnx", what, files, ONNX, frozenset({"out.lut"}))


def case_core(rng, bases):
    what, data = damaged(rng, (bases / "core.json").read_bytes(), text, text)
    command, gives = mutate.pick(
        rng,
        (
            (["info", "core.json"], ()),
            (["info", "core.json", "--json"], ()),
            (["info", "core.json", "--svg", "core.svg"], ("core.svg",)),
            (["run", "--port", "/dev/null", "--contract", "core.json", "--data", "mlp.npz"], ()),
        ),
    )
    files = {"core.json": data, "mlp.npz": (bases / "mlp.npz").read_bytes()}
    return Case("core", what, files, command, frozenset(gives))


def case_engine(rng, bases):
    what, data = damaged(rng, (bases / "engine.json").read_bytes(), text, text)
    files = {"engine.json": data, "net.lut": (bases / "conv.lut").read_bytes()}
    command, gives = mutate.pick(
        rng,
        (
            (["info", "engine.json"], ()),
            (["info", "engine.json", "--json"], ()),
            (["compile", "net.lut", "--engine", "engine.json", "-o", "job"], ("job",)),
        ),
    )
    return Case("engine", what, files, command, frozenset(gives))


def case_job(rng, bases):
    files = {
        f"job/{name}": (bases / "job" / name).read_bytes() for name in ("job.json", "arrays.npz")
    }
    name = mutate.pick(rng, tuple(files))
    what, files[name] = damaged(rng, files[name], text if name.endswith("json") else archive)
    command = mutate.pick(rng, (["info", "job"], ["info", "job/job.json", "--json"]))
    return Case("job", f"{name} {what}", files, command)


def case_checkpoint(rng, bases):
    base = mutate.pick(rng, sorted(bases.glob("run?.ckpt")))
    what, data = damaged(rng, base.read_bytes(), archive, archive)
    files = {"data.npz": (bases / "data.npz").read_bytes(), "run.ckpt": data}
    option = mutate.pick(rng, ("--checkpoint", "--start"))
    gives = {"out.lut", "out.lut.ckpt"} if option == "--start" else {"out.lut", "run.ckpt"}
    command = [*TRAIN, option, "run.ckpt"]
    return Case("checkpoint", f"{base.name} {what}", files, command, frozenset(gives))


def case_report(rng, bases):
    what, data = damaged(rng, (bases / "report.json").read_bytes(), text, text, text)
    command = ["info", "report.json", *mutate.pick(rng, ([], ["--json"]))]
    return Case("report", what, {"report.json": data}, command)


CASES = {
    "lut": case_lut,
    "data": case_data,
    "onnx": case_onnx,
    "core": case_core,
    "engine": case_engine,
    "job": case_job,
    "checkpoint": case_checkpoint,
    "report": case_report,
}


# What must hold.


def listing(folder):
    """All files by their contents, and all folders."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).digest()
        if path.is_file()
        else b""
        for path in sorted(folder.rglob("*"))
    }


def play(case, folder):
    """Runs a case in an empty folder; gives the exit status and what is wrong, if anything is."""
    from lutgen.cli.main import main

    for name, data in case.files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    before = listing(folder)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(case.command)
        except BaseException:
            return -1, traceback.format_exc()
    said, written = err.getvalue(), out.getvalue()
    after = listing(folder)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    wrong = []
    if status not in (0, 1, 2):
        wrong.append(f"status {status}")
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", said + written):
        wrong.append("control characters are printed")
    if status == 2:
        lines = said.splitlines()
        first = [line for line in lines if line.startswith("lutgen: error: ")]
        if len(first) != 1 or lines[-1] != first[0] or not said.endswith("\n"):
            wrong.append("not one line of error at the end")
        more = [line for line in lines[:-1] if not line.startswith("lutgen: warning: ")]
        if more and case.command[0] not in ("train", "compile"):
            wrong.append("more than one line")
        if written:
            wrong.append("output beside an error")
        if first and len(first[0]) > LONGEST:
            wrong.append(f"an error of {len(first[0])} characters")
        if "free" in said and "memory" in said and "takes about" not in said:
            wrong.append("memory ran out")
    allowed = case.gives if status != 2 else frozenset()
    if spare := {
        name for name in changed if name.partition("/")[0] not in allowed and name not in allowed
    }:
        wrong.append(f"changed {sorted(spare)}")
    if status == 0 and "--json" in case.command:
        try:
            json.loads(written, parse_constant=lambda text: 1 / 0)
        except (ValueError, ZeroDivisionError):
            wrong.append("what --json prints is no JSON")
    if (used := resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024) > MEMORY:
        wrong.append(f"{used:.0f} MB of memory")
    return status, "; ".join(wrong) + (f"\n{said[-1500:]}" if wrong else "")


def work(bases, seed, first, count, folder):
    """Plays cases one after the other; says before and after each."""
    os.environ["LUTGEN_CACHE"] = str(folder / "cache")
    import lutgen.cli.main  # noqa: F401

    # Memory that runs away ends here, and not with the machine's.
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY * 2_000_000, MEMORY * 2_000_000))
    for number in range(first, first + count):
        print(json.dumps({"at": number}), flush=True)
        case = make_case(number, seed, bases)
        place = folder / "case"
        place.mkdir()
        # The default action of this signal ends the process, whatever it is busy with.
        used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        resource.setrlimit(resource.RLIMIT_CPU, (int(used) + SECONDS + 1, resource.RLIM_INFINITY))
        status, wrong = play(case, place)
        shutil.rmtree(place)
        print(json.dumps({"kind": case.kind, "status": status, "wrong": wrong}), flush=True)


def run(bases, seed, first, count, folder):
    """Plays cases ``first..first+count`` of a seed.

    Returns
    -------
    counts : dict of str to int
        Files by kind, and how many were accepted and refused.
    failures : list of str
        What went wrong, with the number of each case.
    """
    counts, failures = {}, []
    number, end = first, first + count
    while number < end:
        place = folder / f"from{number}"
        place.mkdir(parents=True)
        args = [str(x) for x in (bases, seed, number, end - number, place)]
        env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "TMPDIR": str(place)}
        with subprocess.Popen(
            [sys.executable, __file__, *args],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=env,
        ) as process:
            number = follow(process, counts, failures, number, (bases, seed))
        shutil.rmtree(place)
    return counts, failures


def follow(process, counts, failures, number, where):
    """Reads what a process says until it ends; gives the number of the next case."""
    case = "before the first"
    for line in lines_of(process):
        found = json.loads(line)
        if "at" in found:
            case, number = f"case {found['at']}", found["at"] + 1
            continue
        key = "refused" if found["status"] == 2 else "accepted"
        for name in (found["kind"], key):
            counts[name] = counts.get(name, 0) + 1
        if found["wrong"]:
            failures.append(f"{describe(number - 1, *where)}: {found['wrong']}")
        case = ""
    if case:
        text = describe(number - 1, *where) if case.startswith("case") else case
        failures.append(f"{text}: the process ended with {process.wait()} or said nothing for long")
        number = max(number, 1)
    return number


def lines_of(process):
    """Lines until the end, or until nothing comes for long."""
    rest = b""
    while select.select([process.stdout], [], [], PATIENCE)[0]:
        part = os.read(process.stdout.fileno(), 1 << 16)
        if not part:
            return
        *lines, rest = (rest + part).split(b"\n")
        yield from lines
    process.kill()


def describe(number, bases, seed):
    """A case in a line."""
    case = make_case(number, seed, bases)
    return (
        f"seed {seed}, case {number}, {case.kind}, {case.what!r:.150}, `{' '.join(case.command)}`"
    )


if __name__ == "__main__":
    if sys.argv[1] == "bases":
        make_bases(Path(sys.argv[2]))
    else:
        numbers = map(int, sys.argv[2:5])
        work(Path(sys.argv[1]), *numbers, Path(sys.argv[5]))
