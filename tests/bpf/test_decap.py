"""The backend's program, through the real verifier and kernel, against its model: byte by byte."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lbnode.dataplane.backend import BackendDataPlane
from lbnode.dataplane.backend_model import BackendModel, Result
from lbnode.dataplane.model import Verdict
from tests.bpf import chance_cases, decap_cases, decap_world
from tests.bpf.decap_cases import INNER6
from tests.bpf.decap_frames import MARKED, ethernet
from tests.bpf.decap_world import AGENT, FAR_AGENT, INNER, ME, WORLD, WRAP, WRAP6, asking

EVENTS = ("extra_hop", "skipped_self", "skipped_unknown", "put_off", "fragment_recorded", "fragment_followed")
CASES = decap_cases.CASES | chance_cases.CASES


class Decapsulation:
    """The loaded program on maps that hold what a model does."""

    def __init__(self, plane: BackendDataPlane) -> None:
        self._plane = plane

    def names(self) -> list[str]:
        return list(self._plane.counters())

    def run(self, frame: bytes) -> Result:
        """Return what the kernel did; exactly one outcome must have been counted, by one packet of that size."""
        before = self._plane.counters()
        run = self._plane.program.test_run(frame)
        after = self._plane.counters()
        moved = {name: after[name].packets - before[name].packets for name in after}
        (outcome,) = (name for name, packets in moved.items() if packets and name not in EVENTS)
        assert after[outcome].bytes - before[outcome].bytes == len(frame)
        assert moved[outcome] == 1
        seen = tuple(name for name in EVENTS for _ in range(moved[name]))
        return Result(outcome, Verdict(run.retval), run.data, seen)


def expected(frame: bytes, model: BackendModel = WORLD) -> Result:
    """What the model says, as far as the kernel can be asked."""
    result = model.process(frame)
    return replace(result, seen=tuple(sorted(result.seen, key=EVENTS.index)), backend=None, ifindex=0)


@pytest.fixture(scope="module")
def decap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Decapsulation]:
    with decap_world.backend_of(WORLD, tmp_path_factory.mktemp("decap") / "bpf") as plane:
        yield Decapsulation(plane)


@pytest.mark.parametrize(("outcome", "frame"), CASES.values(), ids=CASES.keys())
def test_kernel_and_model_agree_on(decap: Decapsulation, outcome: str, frame: bytes) -> None:
    verdict = expected(frame)
    assert verdict.outcome == outcome
    assert decap.run(frame) == verdict


def test_the_cases_cover_every_outcome_that_a_packet_can_cause(decap: Decapsulation) -> None:
    named = {outcome for outcome, _ in CASES.values()}
    needs_a_socket = {f"delivered_{how}" for how in ("held", "handshake", "cookie", "time_wait")}
    assert set(decap.names()) - named == {"drop_failed", "drop_inconsistent", *EVENTS, *needs_a_socket}


def test_what_is_delivered_is_the_inner_packet_unchanged(decap: Decapsulation) -> None:
    for frame in (WRAP.frame(INNER), asking(ME), replace(WRAP, flags=MARKED).frame(INNER)):
        assert decap.run(frame).frame == ethernet(INNER)


def test_with_the_second_chance_off_everything_is_delivered(decap: Decapsulation, tmp_path: Path) -> None:
    model = decap_world.without_second_chance()
    with decap_world.backend_of(model, tmp_path / "bpf") as plane:
        plain = Decapsulation(plane)
        for _, frame in CASES.values():
            result = plain.run(frame)
            assert result == expected(frame, model)
            assert not result.outcome.startswith("forwarded")


def test_every_prefix_of_a_packet_is_judged_as_the_model_does(decap: Decapsulation) -> None:
    for whole in (WRAP.frame(INNER), asking(AGENT, FAR_AGENT), WRAP6.frame(INNER6)):
        for size in range(14, len(whole)):
            assert decap.run(whole[:size]) == expected(whole[:size])


def test_a_packet_whose_lengths_follow_its_truncation_is_judged_as_the_model_does(
    decap: Decapsulation,
) -> None:
    for size in range(len(INNER)):
        frame = WRAP.frame(INNER[:size])
        assert decap.run(frame) == expected(frame)


def test_kernel_and_model_agree_on_mutations(decap: Decapsulation) -> None:
    chance = random.Random(20261123)
    seeds = [frame for _, frame in CASES.values()]
    seen: set[str] = set()
    for _ in range(5000):
        frame = mutated(chance, chance.choice(seeds))
        verdict = expected(frame)
        assert decap.run(frame) == verdict, frame.hex()
        seen.add(verdict.outcome)
    assert len(seen) >= 11


def mutated(chance: random.Random, frame: bytes) -> bytes:
    """Change a few bytes among the headers, sometimes cut or lengthen the frame."""
    data = bytearray(frame)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(min(len(data), 70))
        data[at] = chance.choice(
            (0, 1, 0x45, 0x2F, 0xFF, data[at] ^ 1 << chance.randrange(8), chance.randrange(256))
        )
    if chance.random() < 0.3:
        del data[chance.randint(14, len(data)) :]
    if chance.random() < 0.2:
        data += chance.randbytes(chance.randint(1, 60))
    return bytes(data)


def test_random_bytes_never_abort(decap: Decapsulation) -> None:
    chance = random.Random(47)
    for _ in range(2000):
        frame = chance.randbytes(chance.randint(14, 200))
        assert decap.run(frame) == expected(frame)
