"""Neural networks as lookup-table accelerators: train, check, build, simulate."""

from __future__ import annotations

from lutgen.errors import LutgenError

# Not that of typing, whose import takes longer than all else before the command line's handlers of
# signals.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from lutgen.flows.simulate import simulate
    from lutgen.gateware.build import build, build_loadable
    from lutgen.model import Model, load, save

__version__ = "0.1.0"

__all__ = [
    "LutgenError",
    "Model",
    "__version__",
    "build",
    "build_loadable",
    "load",
    "save",
    "simulate",
]


def __getattr__(name: str) -> Any:
    """What needs Amaranth or numpy comes when it is asked for: loading and predicting do not wait
    for the former, and the command line can be interrupted before the latter.
    """
    if name in ("Model", "load", "save"):
        from lutgen import model

        return getattr(model, name)
    if name in ("build", "build_loadable"):
        from lutgen.gateware import build as module

        return getattr(module, name)
    if name == "simulate":
        from lutgen.flows import simulate as function

        return function
    raise AttributeError(f"module 'lutgen' has no attribute {name!r}")
