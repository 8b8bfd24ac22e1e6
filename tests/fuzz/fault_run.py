"""`make fuzz-faults`: plants every fault of the list and says how soon each was found."""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentParser

from tests.fuzz.faults import hunt_all
from tests.fuzz.planted import FAULTS
from tests.fuzz.rounds import workers


def main() -> int:
    """Hunt all faults, or those whose names contain the words given; return 0 when all were found."""
    parser = ArgumentParser(prog="python -m tests.fuzz.fault_run", description=__doc__)
    parser.add_argument("words", nargs="*", help="only faults with one of these in their names")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    options = parser.parse_args()
    chosen = tuple(
        each for each in FAULTS if not options.words or any(word in each.name for word in options.words)
    )
    began, missed = time.monotonic(), 0
    with workers(options.jobs) as processes:
        for found in hunt_all(processes, chosen):
            missed += not found.what
            said = f"found within {found.packets:>6,}" if found.what else f"NOT FOUND in {found.packets:>6,}"
            print(f"{said} packets: {found.fault.program}: {found.fault.name}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} faults found in {time.monotonic() - began:.0f} s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
