"""Neural networks as lookup-table accelerators: train, check, build, simulate."""

from lutgen.errors import LutgenError
from lutgen.model import Model, load, save

__version__ = "0.1.0"

__all__ = ["LutgenError", "Model", "__version__", "load", "save"]
