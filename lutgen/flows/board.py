"""The bench's scoreboard, which runs in simulators and so lies outside the package."""

import importlib.util
from functools import cache
from typing import Any

from lutgen import resources

__all__ = ["scoreboard"]


@cache
def scoreboard() -> Any:
    """The module ``sim/scoreboard.py``, which is no part of a package."""
    path = resources.sim() / "scoreboard.py"
    spec = importlib.util.spec_from_file_location("lutgen_scoreboard", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
