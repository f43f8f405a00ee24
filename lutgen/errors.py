"""The one exception that the command line turns into a line of text and exit status 2."""

__all__ = ["LutgenError"]


class LutgenError(Exception):
    """A mistake that the user can mend: its text is one line that names the file and the field, and
    says how.
    """
