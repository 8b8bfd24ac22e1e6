"""Cases: a world and the packets at which program and model parted, as small as could be made; kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from tests.fuzz.record import decode, encode
from tests.fuzz.worlds import AgentWorld, NodeWorld, Packet, World

CASES = Path(__file__).resolve().parent / "cases"
PROGRAMS: dict[str, type[World]] = {"node": NodeWorld, "agent": AgentWorld}


@dataclass(frozen=True, slots=True)
class Case:
    """`why`: what was wrong when it was found."""

    program: str
    world: World
    packets: tuple[Packet, ...]
    why: str = ""


def write(case: Case, directory: Path = CASES, name: str = "") -> Path:
    """Keep the case; its name says the program and, unless given, a digest."""
    said = {
        "program": case.program,
        "why": case.why,
        "world": encode(case.world),
        "packets": encode(case.packets),
    }
    text = json.dumps(said, indent=1) + "\n"
    digest = blake2b(text.encode(), digest_size=4).hexdigest()
    directory.mkdir(exist_ok=True)
    path = directory / f"{case.program}-{name or digest}.json"
    path.write_text(text)
    return path


def read(path: Path) -> Case:
    """Return the case kept at `path`."""
    said = json.loads(path.read_text())
    return Case(
        said["program"],
        decode(PROGRAMS[said["program"]], said["world"]),
        tuple(decode(Packet, each) for each in said["packets"]),
        said["why"],
    )


def kept(directory: Path = CASES) -> Iterator[Path]:
    """Yield where cases are kept, in order."""
    yield from sorted(directory.glob("*.json"))
