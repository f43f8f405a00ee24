"""Runs a program, and ends it with all that it has started once whoever asked for it is gone:
``python leash.py PROGRAM ARGUMENT...`` with a pipe as standard input that nobody writes to.

A process that is killed can't clean up, and simulators run for hours. The pipe ends however its
other side ends.
"""

import os
import signal
import subprocess
import sys
import threading


def watch() -> None:
    """Waits for the end of the pipe, then ends the process group, of which this is the leader."""
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


def main(argv: list[str]) -> int:
    """Runs the program; gives its exit status, as shells do 128 and more for a signal."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    threading.Thread(target=watch, daemon=True).start()
    status = process.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    status = main(sys.argv[1:])
    # The thread holds standard input, for which an ordinary end would wait.
    os._exit(status)
