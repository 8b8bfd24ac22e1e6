"""Every object of ours on this kernel: its verifier takes them, and they do what the models say."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from lbnode.dataplane.libbpf import BpfObject
from lbnode.dataplane.node import OBJECT
from tests.fuzz.rounds import Round, place, workers

OBJECTS = sorted(path.name for path in OBJECT.parent.glob("*.bpf.o"))
SEED = 61
ROUNDS = 2
PACKETS = 300
METADATA = 32
"""The most that this kernel lets a test run put before a frame."""


def play(each: Round) -> tuple[int, str]:
    """Run in a workplace: return how many kinds of packets there were, and where program and model differ."""
    case, hits = each.draw(), Counter[str]()
    packets = [replace(packet, metadata=min(packet.metadata, METADATA)) for packet in case.packets]
    found = place().trial(case.world, packets, hits)
    return len(hits), str(found or "")


@pytest.mark.parametrize("name", OBJECTS)
def test_the_verifier_takes(name: str) -> None:
    with BpfObject.open(OBJECT.parent / name) as each:
        each.load()


@pytest.mark.parametrize("program", ["node", "agent"])
def test_generated_packets_fare_as_the_model_says(program: str) -> None:
    with workers(1) as one:
        for kinds, difference in one.map(play, (Round(program, SEED, n, PACKETS) for n in range(ROUNDS))):
            assert not difference
            assert kinds > 5
