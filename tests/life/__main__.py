"""`python -m tests.life`: kill, restart and upgrade a node under load, and count every packet.

Exit status: 0 when none was lost, else 1. Needs root, clang and ethtool.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.life.drill import run
from tests.life.traffic import Tally

HEAD = f"{'what happened':<30}{'seconds':>9}{'sent':>13}{'received':>13}{'lost':>8}"


def main() -> int:
    """Run the drill and print a line for each phase; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.life", description=__doc__)
    parser.add_argument("--packets", type=int, default=10_000_000, help="at least so many in all")
    parser.add_argument("--rate", type=int, default=0, help="packets a second; 0: as many as the wire takes")
    arguments = parser.parse_args()
    print(HEAD)
    total, seconds = Tally(0, 0), 0.0
    with TemporaryDirectory(prefix="evenkeel-life-") as folder:
        for phase in run(Path(folder), arguments.packets, arguments.rate):
            print(_line(phase.name, phase.seconds, phase.packets), flush=True)
            total, seconds = total + phase.packets, seconds + phase.seconds
    print(_line("all", seconds, total))
    return 0 if total.lost == 0 else 1


def _line(name: str, seconds: float, packets: Tally) -> str:
    return f"{name:<30}{seconds:>9.1f}{packets.sent:>13,}{packets.received:>13,}{packets.lost:>8,}"


if __name__ == "__main__":
    sys.exit(main())
