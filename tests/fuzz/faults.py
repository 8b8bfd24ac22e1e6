"""Is the fuzzer any good? Faults of one line, each planted in the C, which it has to find (`make fuzz-faults`).

A fault whose text is no longer in the C is an error: the list must follow the code.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError, run
from tempfile import TemporaryDirectory

from hatch_build import BPF, BPF_FLAGS, multiarch_include
from lbnode.dataplane.errors import DataPlaneError
from tests.fuzz.rounds import Round, Workers, place, play_round

SEED = 2
ROUND_PACKETS = 4000
MOST_ROUNDS = 125
"""A fault that 500,000 packets do not show is not found."""
SOURCES = {"node": "node.bpf.c", "agent": "decap.bpf.c"}


@dataclass(frozen=True, slots=True)
class Fault:
    """In `file`, `old` (which must be there once) becomes `new`."""

    name: str
    program: str
    file: str
    old: str
    new: str


class FaultError(Exception):
    """A fault that cannot be planted: the list has to be brought up to date."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one fault. `packets`: sent until it was found; `what` is empty when it was not."""

    fault: Fault
    packets: int
    what: str = ""


def plant(fault: Fault, directory: Path) -> Path:
    """Compile the program with the fault in `directory`; return the folder of the object."""
    sources = directory / "bpf"
    shutil.copytree(BPF, sources, ignore=shutil.ignore_patterns("build"))
    path = sources / fault.file
    text = path.read_text()
    if text.count(fault.old) != 1:
        raise FaultError(
            f"{fault.name}: {fault.file} has {fault.old!r} {text.count(fault.old)} times, not once: update the list"
        )
    path.write_text(text.replace(fault.old, fault.new))
    objects = directory / "objects"
    objects.mkdir()
    source = SOURCES[fault.program]
    target = objects / source.replace(".bpf.c", ".bpf.o")
    flags = [flag for flag in BPF_FLAGS if flag != "-Werror"]
    try:
        run(
            ["clang-16", *flags, *multiarch_include(), f"-I{sources}", "-c", str(sources / source), "-o", str(target)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    except CalledProcessError as error:
        raise FaultError(f"{fault.name}: it does not compile: {error.stderr}") from error
    run(["llvm-strip-16", "-g", str(target)], check=True)
    return objects


def hunt(fault: Fault, rounds: int = MOST_ROUNDS) -> Finding:
    """Plant the fault and play rounds until it is found, in this enclosed process."""
    with TemporaryDirectory(prefix="evenkeel-fault-") as name:
        where = place().at(plant(fault, Path(name)))
        for number in range(rounds):
            each = Round(fault.program, SEED, number, ROUND_PACKETS)
            try:
                report = play_round(where, each, shrink=False)
            except DataPlaneError as error:
                raise FaultError(f"{fault.name}: it does not load: {error}") from error
            if report.failure is not None:
                return Finding(fault, (number + 1) * ROUND_PACKETS, report.failure.why)
    return Finding(fault, rounds * ROUND_PACKETS)


def hunt_all(processes: Workers, faults: tuple[Fault, ...]) -> Iterator[Finding]:
    """Yield what comes of each fault, as it comes."""
    yield from processes.map(hunt, iter(faults))
