"""Builds or runs one simulation with cocotb's runner, as a process of its own: ``python
cocotb_job.py JOB.json``.

The runner takes its surroundings from the process (environment, module path, exit on a missing
program), so it gets one that can be spoilt.
"""

import json
import sys
from pathlib import Path
from typing import Any


def build(job: dict[str, Any]) -> None:
    """Compiles the Verilog file ``source`` with the top module ``top``."""
    from cocotb_tools.runner import get_runner

    get_runner(job["simulator"]).build(
        sources=[job["source"]],
        hdl_toplevel=job["top"],
        build_dir=job["build_dir"],
        build_args=job["flags"],
        timescale=("1ns", "1ps"),
        always=True,
    )


def test(job: dict[str, Any]) -> None:
    """Runs ``module`` in ``test_dir``."""
    from cocotb_tools.runner import get_runner

    sys.path.insert(0, job["module_path"])
    runner = get_runner(job["simulator"])
    # A finished build may be read-only and shared, so everything is written to the folder of the
    # run.
    runner.test(
        test_module=job["module"],
        hdl_toplevel=job["top"],
        hdl_toplevel_lang="verilog",
        build_dir=job["build_dir"],
        test_dir=job["test_dir"],
        results_xml=str(Path(job["test_dir"]) / "results.xml"),
        seed=job["seed"],
        extra_env=job["env"],
        timescale=("1ns", "1ps"),
    )


def main(argv: list[str]) -> int:
    """Does the job of the file named on the command line."""
    job = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    {"build": build, "test": test}[job["action"]](job)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
