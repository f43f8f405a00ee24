"""The console script: what must stand before anything heavy is imported, and after all is done."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # as in lutgen/__init__.py
if TYPE_CHECKING:
    from typing import NoReturn

__all__ = ["entry"]

DEFECT = 70  # as sysexits.h calls an error inside a program


def entry() -> NoReturn:
    """Runs one command and ends the process with its status.

    A reader of standard output or standard error that leaves early stops no work: what nobody reads
    is dropped, and the status is that of the work.
    """
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    # Modules that are half imported clean nothing up, and C code among them swallows exceptions.
    ending = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not under nohup
        ending.append(signal.SIGHUP)
    for each in ending:
        signal.signal(each, lambda number, _: os._exit(128 + number))
    if interruptible:
        signal.signal(signal.SIGINT, interrupted_at_once)
    # Training takes one thread of BLAS, its other threads being its own; where no more can be had
    # OpenBLAS would end the process.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from lutgen.cli import faults, streams

        output = streams.guard()
    except (OSError, ImportError, MemoryError) as error:  # not even these few can be had
        said = getattr(error, "strerror", None) or str(error).partition("\n")[0] or "out of memory"
        name = getattr(error, "filename", None) or getattr(error, "name", None) or "lutgen"
        text = (
            f"lutgen: error: {name}: {said.lower()}; raise the limits on files and memory (ulimit)"
        )
        os.write(2, f"{text}\n".encode(errors="backslashreplace"))
        os._exit(2)
    try:
        from lutgen.cli.main import main

        # As Ctrl-C does, so that compilers and simulators which this process started end with it.
        for each in ending:
            signal.signal(each, terminate)
        if interruptible:
            sys.unraisablehook = unraisable
            signal.signal(signal.SIGINT, signal.default_int_handler)
        status = main()
    except KeyboardInterrupt as stop:
        status = 128 + signal.SIGINT
        if stop.__context__ is None:  # else a second one, while the first was dealt with
            print("lutgen: interrupted", file=sys.stderr)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        status = 2 if (line := faults.line(error)) else DEFECT
        faults.tell(error, line or faults.defect(error))
    for each in (signal.SIGINT, *ending):
        signal.signal(each, signal.SIG_IGN)  # all is done
    sys.exit(streams.finish(output, status))


def interrupted_at_once(*_: object) -> NoReturn:
    """Ends a process that has done nothing yet."""
    os.write(2, b"lutgen: interrupted\n")
    os._exit(128 + signal.SIGINT)


def terminate(number: int, _: object) -> NoReturn:
    """Ends in good order; a second signal does not end the cleaning up."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def unraisable(what: sys.UnraisableHookArgs) -> None:
    """An interrupt where Python can't raise it comes again a moment later, where it can."""
    if what.exc_type is KeyboardInterrupt:
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
    else:
        sys.__unraisablehook__(what)
