"""Results of slow tools, kept by the content of all that made them: see `lutgen.store`."""

from lutgen.store import cached, digest, discard, root, tidy

__all__ = ["cached", "digest", "discard", "root", "tidy"]
