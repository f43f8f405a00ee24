"""Words of messages."""

__all__ = ["counted"]


def counted(count: int | None, word: str, form: str = "") -> str:
    """``count`` in a ``form`` of `format`, and what it counts: in the plural, but for one."""
    return f"{count:{form}} {word if count == 1 else f'{word}s'}"
