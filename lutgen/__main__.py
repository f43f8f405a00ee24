"""``python -m lutgen``."""

from lutgen.cli.main import entry

if __name__ == "__main__":
    entry()
