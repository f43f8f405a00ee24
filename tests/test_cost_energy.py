"""The estimate of energy from activity."""

import dataclasses

import pytest

from lutgen.cost.energy import PARTS, Activity, coefficients, estimate
from lutgen.spec.target import DEVICES

ACTIVITY = Activity(
    cycles=1000,
    results=10,
    toggles={"logic": 50_000, "flipflop": 20_000, "ram": 4_000},
    clocked=300,
    accesses={"block_4k": 2000.0},
)


def ends(device, part, clock=10e6, activity=ACTIVITY):
    return estimate(activity, DEVICES[device], clock).parts[part]


def test_the_parts_by_hand():
    """On the measured device itself, at its voltage but for the supply's 1.2 V."""
    known = coefficients()
    volts = (1.2 / known["anchor"]["volts"]) ** 2
    found = estimate(ACTIVITY, DEVICES["up5k"], 10e6)
    assert tuple(found.parts) == PARTS
    # 100 cycles of 100 ns each at so many mW.
    power = known["static_mw"]["up5k"]
    assert found.parts["static"] == pytest.approx((power["low"] * 1e4, power["high"] * 1e4))
    cycle = known["clock_pj"]["value"] + 300 * known["clocked_pj"]["value"]
    assert found.parts["clock"] == pytest.approx((100 * volts * cycle,) * 2)
    for end, name in enumerate(("low", "high")):
        toggle = volts * known["toggle_pj"][name]
        assert found.parts["logic"][end] == pytest.approx(5000 * toggle)
        assert found.parts["flipflop"][end] == pytest.approx(2000 * toggle)
        access = 200 * known["access"]["pj"]["block_4k"] * (1.2 / 1.1) ** 2
        more = known["access"]["high"] if end else 1
        assert found.parts["ram"][end] == pytest.approx(400 * toggle + more * access)
    assert found.low == pytest.approx(sum(low for low, _ in found.parts.values()))
    assert found.low < found.middle < found.high


def test_static_energy_is_power_by_time():
    assert ends("25k", "static", 50e6)[0] == pytest.approx(2 * ends("25k", "static", 100e6)[0])
    assert ends("25k", "logic", 50e6) == ends("25k", "logic", 100e6)


def test_a_finer_process_and_a_lower_voltage_take_less():
    logic = [ends(device, "logic")[0] for device in ("up5k", "25k", "xc7a35t")]
    assert logic[1] / logic[0] == pytest.approx((1.1 / 1.2) ** 2)
    assert logic[2] / logic[0] == pytest.approx(0.7 / 1.2**2)


def test_the_clock_network_grows_with_the_device():
    """Between the root of its size and its size; alike on the device that was measured."""
    idle = dataclasses.replace(ACTIVITY, clocked=0)
    low, high = ends("85k", "clock", activity=idle)
    assert high / low == pytest.approx((83640 / 5280) ** 0.5)
    low, high = ends("hx1k", "clock", activity=idle)
    assert low < high < ends("up5k", "clock", activity=idle)[0]


def test_what_is_not_known_is_left_out():
    assert estimate(ACTIVITY, DEVICES["gw1n9"], 10e6) is None
    for device, clock in (("hx4k", 10e6), ("hx8k", None)):
        found = estimate(ACTIVITY, DEVICES[device], clock)
        assert "static" not in found.parts
        data = found.data()
        assert not data["static_known"]
        assert (data["power_mw"] is None) == (clock is None)


def test_power_is_energy_by_rate():
    found = estimate(ACTIVITY, DEVICES["hx8k"], 10e6)
    data = found.data()
    for end in ("low", "middle", "high"):
        # 100,000 inferences a second.
        assert data["power_mw"][end] == pytest.approx(data["nj"][end] * 1e5 * 1e-6, rel=1e-3)
    shares = [part["middle"] for part in data["parts_nj"].values()]
    assert sum(shares) == pytest.approx(data["nj"]["middle"], rel=1e-3)


def test_every_coefficient_has_a_source():
    known = coefficients()
    entries = [known[name] for name in ("anchor", "toggle_pj", "clocked_pj", "clock_pj", "access")]
    entries += [*known["families"].values(), *known["static_mw"].values()]
    assert all(len(entry["source"]) > 10 for entry in entries)
    assert set(known["static_mw"]) <= set(DEVICES)
