"""What the whole suite shares: how hypothesis runs, and which simulators are here."""

import pytest
from hypothesis import HealthCheck, settings

from lutgen.errors import LutgenError
from lutgen.flows import tools
from lutgen.train.parallel import one_blas_thread

# The same examples on every run; a failing one prints itself. No deadline: the machine is shared.
settings.register_profile(
    "lutgen",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("lutgen")


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Matrix products on one thread, as in training: threads would wait for each other."""
    with one_blas_thread():
        yield


def needs(find) -> None:
    """Skips, with the reason, where a simulator or cocotb is absent."""
    if tools.package_version("cocotb") is None:
        pytest.skip("cocotb is not installed; run: pip install 'lutgen[sim]'")
    try:
        find()
    except LutgenError as error:
        pytest.skip(str(error))


@pytest.fixture
def verilator() -> str:
    """The simulator's name, where it is installed."""
    needs(tools.find_verilator)
    return "verilator"


@pytest.fixture
def icarus() -> str:
    """The simulator's name, where it is installed."""
    needs(tools.find_icarus)
    return "icarus"
