"""`python -m tests.torture KIND --seed S --seconds N`: draw new cases, print the counts, exit with 1 on a fault."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path


def main() -> int:
    """Run the kind of torture that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, (_, about) in KINDS.items():
        kind = kinds.add_parser(name, help=about)
        kind.add_argument("--seed", type=int, default=int(time.time()))
        kind.add_argument("--seconds", type=float, default=600.0)
        kind.add_argument(
            "--kept", type=Path, default=Path("torture-kept"), help="where cases that go wrong are put"
        )
        kind.add_argument("names", nargs="*", help="these alone (default: all)")
    arguments = parser.parse_args()
    print(f"{arguments.kind}, seed {arguments.seed}, {arguments.seconds:.0f} s", flush=True)
    return KINDS[arguments.kind][0](arguments)


def _inputs(arguments: argparse.Namespace) -> int:
    from tests.torture.inputs import summary, torture

    tallies = torture(arguments.seed, arguments.seconds, arguments.kept, arguments.names)
    print(summary(tallies))
    faults = any(tally.faults for tally in tallies.values())
    if faults:
        print(f"the inputs that went wrong are in {arguments.kept}")
    return int(faults)


def _faults(arguments: argparse.Namespace) -> int:
    from tests.torture.fault_tally import summary
    from tests.torture.faults import PLACEMENTS, torture

    if unknown := set(arguments.names) - set(PLACEMENTS):
        sys.exit(f"no placements: {', '.join(sorted(unknown))}; there are {', '.join(PLACEMENTS)}")
    tally = torture(arguments.seed, arguments.seconds, arguments.kept, arguments.names)
    print(summary(tally, list(PLACEMENTS)))
    if tally.harmful:
        print(f"what was left of the studies that were harmed is in {arguments.kept}")
    return int(bool(tally.harmful))


# Another kind of torture is another entry here.
KINDS: dict[str, tuple[Callable[[argparse.Namespace], int], str]] = {
    "inputs": (_inputs, "damaged and odd files of every format that comes from outside"),
    "faults": (_faults, "signals at running studies, damage to their stores (names: placements)"),
}

if __name__ == "__main__":
    sys.exit(main())
