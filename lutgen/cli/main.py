"""The ``lutgen`` command: finds the subcommand, turns what goes wrong into a line and a status."""

import argparse
import errno
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from lutgen import LutgenError, __version__
from lutgen.cli import build, demo, doctor, infer, info, prove, sim, synth, train
from lutgen.cli import compile as compile_
from lutgen.cli import run as run_

__all__ = ["entry", "main"]

COMMANDS = {
    "train": train,
    "infer": infer,
    "build": build,
    "compile": compile_,
    "sim": sim,
    "run": run_,
    "synth": synth,
    "prove": prove,
    "info": info,
    "doctor": doctor,
    "demo": demo,
}

DESCRIPTION = "Neural networks as lookup-table accelerators: train, generate Verilog, simulate."
EPILOG = (
    "Exit status: 0 done, 1 a check failed, 2 bad input, 130 interrupted, 143 terminated. "
    "`lutgen COMMAND --help` explains a command."
)


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like all others: one line, no usage text."""

    def error(self, message: str) -> NoReturn:
        raise LutgenError(f"{message}; see `{self.prog} --help`")


def parser() -> Parser:
    """The whole command line."""
    top = Parser(prog="lutgen", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"lutgen {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS.values():
        module.add(commands)
    return top


def unrecognized(command: str, rest: Sequence[str]) -> str:
    """What is said of options that a command does not know."""
    solver = ("--interval", "--throughput", "--clock", "--device", "--margin", "--target")
    text = f"unrecognized arguments: {' '.join(rest)}"
    if command == "sim" and any(word.split("=")[0] in solver for word in rest):
        text += "; `lutgen build` chooses folds: build first, then simulate with --core OUT.json"
    return f"{text}; see `lutgen {command} --help`"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and gives its exit status; prints errors, never raises them."""
    try:
        args, rest = parser().parse_known_args(argv)
        if rest:
            raise LutgenError(unrecognized(args.command, rest))
        status: int = COMMANDS[args.command].run(args)
        sys.stdout.flush()
        return status
    except LutgenError as error:
        print(f"lutgen: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:  # its text, where there is one, says how to go on
        # Half a core is left behind: amaranth would warn of each of its parts.
        warnings.filterwarnings("ignore", r"(?s).*created but never used$")
        print("; ".join(("lutgen: interrupted", *map(str, stop.args))), file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has what it wanted. Python flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # of standard output: files have errors of their own
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"lutgen: error: standard output can't be written: {error.strerror}", file=sys.stderr)
        return 2
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else 0


def entry() -> NoReturn:
    """The console script."""
    # As Ctrl-C does, so that compilers and simulators which this process started end with it.
    signal.signal(signal.SIGTERM, terminate)
    sys.exit(main())


def terminate(*_: object) -> NoReturn:
    """Ends in good order; a second signal does not end the cleaning up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)
