"""`make fuzz`: programs against models over generated and mutated packets, with hits by counter."""

from __future__ import annotations

import os
import random
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import zip_longest

from lbnode.dataplane.backend import DECAP_OBJECT
from lbnode.dataplane.backend_layout import BackendLayout
from lbnode.dataplane.layout import Layout
from lbnode.dataplane.libbpf import BpfObject
from lbnode.dataplane.node import OBJECT
from tests.fuzz import cases
from tests.fuzz.rounds import PACKETS, Report, Round, Workers, run_round, workers

MILLION = 1_000_000
LEAST = 1000
"""Hits of every counter in a run of a million."""
IMPOSSIBLE = {"node": frozenset[str](), "agent": frozenset({"drop_inconsistent"})}
"""Outcomes that no packet and no map can cause: checks for the verifier's sake. A hit would be a failure, too."""
PROGRESS_S = 10


def counters(program: str) -> tuple[str, ...]:
    """Return the names of the program's counters, as its object has them."""
    with BpfObject.open(OBJECT if program == "node" else DECAP_OBJECT) as each:
        return Layout.of(each.btf).outcomes if program == "node" else BackendLayout.of(each.btf).outcomes


def rounds(programs: list[str], seed: int, packets: int) -> Iterator[Round]:
    """Yield the rounds of a run, `packets` for each program; programs take turns."""
    whole, rest = divmod(packets, PACKETS)
    sizes = [PACKETS] * whole + ([rest] if rest else [])
    for number, size in enumerate(sizes):
        yield from (Round(program, seed, number, size) for program in programs)


def run(options: Namespace) -> int:
    """Run; return the exit code."""
    programs = [options.program] if options.program else list(IMPOSSIBLE)
    print(f"seed {options.seed}: {options.packets:,} packets for each of: {', '.join(programs)}", flush=True)
    hits = {program: Counter[str]() for program in programs}
    sent: Counter[str] = Counter()
    began = time.monotonic()
    with workers(options.jobs) as processes:
        for report in _watched(processes, rounds(programs, options.seed, options.packets), began):
            if report.failure is not None:
                return _failed(report)
            hits[report.round.program] += report.hits
            sent[report.round.program] += report.round.packets
    print(f"{sum(sent.values()):,} packets in {time.monotonic() - began:.0f} s: no difference\n")
    print(table({program: (hits[program], counters(program)) for program in programs}))
    return _judge(hits, options.packets)


def _watched(processes: Workers, jobs: Iterator[Round], began: float) -> Iterator[Report]:
    """Say from time to time how far it is."""
    said, done = began, 0
    for report in processes.map(run_round, jobs):
        done += report.round.packets
        if time.monotonic() - said > PROGRESS_S:
            said = time.monotonic()
            print(f"  {done:,} packets, {done / (said - began):,.0f} a second", flush=True)
        yield report


def _failed(report: Report) -> int:
    assert report.failure is not None
    path = cases.write(report.failure)
    print(f"\n{report.round}: {report.failure.why}\nkept as {path}", file=sys.stderr)
    return 1


def _judge(hits: Mapping[str, Counter[str]], packets: int) -> int:
    least = LEAST * packets // MILLION
    wrong = []
    for program, seen in hits.items():
        for name in counters(program):
            if name in IMPOSSIBLE[program]:
                wrong += [f"{program}: {name} was thought impossible"] if seen[name] else []
            elif seen[name] < least:
                wrong.append(f"{program}: {name}: {seen[name]} hits, at least {least} are needed")
    print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


def table(columns: Mapping[str, tuple[Counter[str], tuple[str, ...]]]) -> str:
    """Return hits by counter, the programs side by side."""
    texts = [
        [f"{program:<24}{'hits':>10}"] + [f"{name:<24}{seen[name]:>10,}" for name in names]
        for program, (seen, names) in columns.items()
    ]
    return "\n".join("    ".join(line) for line in zip_longest(*texts, fillvalue=" " * 34))


def main() -> int:
    """Parse the command line and run."""
    parser = ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="default: by chance")
    parser.add_argument("--packets", type=int, default=MILLION, help="for each program")
    parser.add_argument("--program", choices=list(IMPOSSIBLE), help="default: both")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes")
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
