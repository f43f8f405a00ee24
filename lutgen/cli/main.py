"""The ``lutgen`` command: finds the subcommand, turns what goes wrong into a line and a status."""

import argparse
import logging
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from lutgen import LutgenError, __version__
from lutgen.cli import build, demo, doctor, faults, infer, info, prove, sim, streams, synth, train
from lutgen.cli import compile as compile_
from lutgen.cli import run as run_
from lutgen.cli.entry import entry

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
    "Exit status: 0 done, 1 a check failed, 2 bad input, 70 a defect of lutgen, 129 hung up, "
    "130 interrupted, 143 terminated. LUTGEN_TRACEBACK=1 in the environment shows where an error "
    "comes from. "
    "`lutgen COMMAND --help` explains a command."
)


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like all others: one line, no usage text."""

    def error(self, message: str) -> NoReturn:
        raise LutgenError(f"{message}; see `{self.prog} --help`")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        # argparse takes the value of `--option=--` for the mark that ends the options.
        if action.option_strings and arg_strings == ["--"]:
            self.error(f"argument {'/'.join(action.option_strings)}: must be a value, not '--'")
        return super()._get_values(action, arg_strings)


class Say(logging.Handler):
    """Prints what the library warns of on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one line."""
        text = faults.printable(record.getMessage())
        print(f"lutgen: {record.levelname.lower()}: {text}", file=sys.stderr)


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
    log = logging.getLogger("lutgen")
    if not any(isinstance(handler, Say) for handler in log.handlers):
        log.addHandler(Say())
    with streams.escaped():
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    try:
        args, rest = parser().parse_known_args(argv)
        if rest:
            raise LutgenError(unrecognized(args.command, rest))
        status: int = COMMANDS[args.command].run(args)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as stop:  # its text, where there is one, says how to go on
        # Half a core is left behind: amaranth would warn of each of its parts.
        warnings.filterwarnings("ignore", r"(?s).*created but never used$")
        print("; ".join(("lutgen: interrupted", *map(str, stop.args))), file=sys.stderr)
        return 130
    except SystemExit as stop:  # --help and --version
        return stop.code if isinstance(stop.code, int) else 0
    except Exception as error:
        if (text := faults.line(error)) is None:
            raise
        faults.tell(error, text)
        return 2
