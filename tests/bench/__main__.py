"""`python -m tests.bench`: what packets, epochs and changes cost, as a table and then as JSON lines.

Needs root (or CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN and CAP_SYS_NICE) and an otherwise quiet machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from tests.bench import admission, agent, end_to_end, epochs, packets, sizes
from tests.bench.mounts import keep_mounts_private


class Line(Protocol):
    """One measurement, or one figure beside its goal."""

    @property
    def row(self) -> str:
        """A line of the table."""

    @property
    def record(self) -> dict[str, object]:
        """A line of JSON."""


SECTIONS: dict[str, tuple[str, Callable[[], Iterable[Line]]]] = {
    "packets": (packets.HEAD, packets.packet_costs),
    "agent": (packets.HEAD, agent.agent_costs),
    "veth": (end_to_end.HEAD, end_to_end.rates),
    "epochs": (epochs.HEAD, epochs.epoch_costs),
    "admission": (admission.HEAD, admission.admission_costs),
    "sizes": (sizes.HEAD, sizes.size_costs),
}


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the JSON lines alone")
    parser.add_argument(
        "--only", choices=SECTIONS, action="append", help="a section; may be said several times"
    )
    wanted = parser.parse_args()
    keep_mounts_private()
    records = list(_measure(wanted.only or list(SECTIONS), is_silent=wanted.json))
    print("\n".join(map(json.dumps, records)))
    return 0


def _measure(names: Iterable[str], is_silent: bool) -> Iterator[dict[str, object]]:
    """Print each section's table as it grows, and yield what JSON says of its lines."""
    for name in names:
        head, lines = SECTIONS[name]
        if not is_silent:
            print(head)
        for line in lines():
            if not is_silent:
                print(line.row, flush=True)
            yield {key: _rounded(value) for key, value in line.record.items()}
        if not is_silent:
            print()


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
