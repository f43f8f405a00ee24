"""``lutgen prove``: formal proofs of the parts that streams and memories rely on."""

import argparse
from pathlib import Path
from typing import Any

from lutgen.cli import common
from lutgen.errors import LutgenError
from lutgen.formal.claims import CLAIMS

__all__ = ["add", "run"]


def add(subparsers: Any) -> None:
    """Adds the command."""
    parser = subparsers.add_parser(
        "prove",
        help="prove the stream parts with SymbiYosys",
        description="Proves by induction, for any stalls and for all time, that queues, "
        "regroupers, index buffers, line buffers, a core's two ends, control registers, crossings "
        "between clocks and double buffers keep their promises: docs/design/0004-streams.md. "
        "Status 1 if one is not proven.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"only these of {', '.join(CLAIMS)} (default: all)",
    )
    parser.add_argument("--quick", action="store_true", help="a shape or two of each part")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep scripts, logs and counterexamples there"
    )
    common.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Proves and prints."""
    from lutgen.flows import prove
    from lutgen.formal.catalog import CASES

    for part in args.parts:
        if part not in CLAIMS:
            raise LutgenError(f"argument PART: must be one of {', '.join(CLAIMS)}, not {part!r}")
    cases = [
        case
        for case in CASES
        if (not args.parts or case.part in args.parts) and (case.quick or not args.quick)
    ]
    prove.find_sby()
    outcomes = []
    for number, case in enumerate(cases):
        keep = args.keep / f"{number:02}-{case.part}" if args.keep else None
        outcomes.append(prove.prove(case.make(), keep=keep))
        common.say(f"{case.name}: {outcomes[-1].status}, {outcomes[-1].seconds:.1f} s")
    good = all(outcome.proven for outcome in outcomes)
    pairs = list(zip(cases, outcomes, strict=True))
    if args.json:
        entries = [{"part": c.part, "shape": c.shape, **o.data()} for c, o in pairs]
        common.print_json({"ok": good, "claims": CLAIMS, "proofs": entries})
        return int(not good)
    common.print_table(
        ("part", "shape", "assertions", "depth", "seconds", "result"),
        [
            (
                case.part,
                case.shape,
                outcome.assertions,
                outcome.depth,
                f"{outcome.seconds:.1f}",
                "; ".join((outcome.status, *outcome.failed)),
            )
            for case, outcome in pairs
        ],
    )
    for part in dict.fromkeys(case.part for case in cases):
        print(f"{part}: {CLAIMS[part]}")
    return int(not good)
