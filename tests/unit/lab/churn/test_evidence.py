"""What is read from the kernels' maps: who changed node, who changed owner, when every kernel had an epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lbnode.lab.churn import evidence
from lbnode.lab.churn.evidence import Spans
from lbnode.lab.churn.sightings import OTHER_TABLE, Activity, Sightings, Switch

SIZE = 8


def table(*owners: int) -> NDArray[np.uint16]:
    columns = np.zeros((SIZE, 3), dtype=np.uint16)
    columns[:, 0] = owners
    return columns


def sample(at: float, **carried: int) -> Activity:
    """Buckets b0, b1, … and the bits of the nodes that carried them."""
    buckets = [int(name.removeprefix("b")) for name in carried]
    return Activity(at, np.array(buckets, np.uint32), np.array(list(carried.values()), np.uint32))


SEEN = Sightings(
    nodes=("n1", "n2"),
    switches=(
        Switch(1.0, "n1", 1),
        Switch(1.1, "n2", 1),
        Switch(5.0, "n1", 2),
        Switch(5.3, "n2", 2),
        Switch(8.0, "n2", OTHER_TABLE + 2),
    ),
    tables={
        1: table(1, 1, 1, 1, 2, 2, 2, 2),
        2: table(1, 1, 1, 2, 2, 2, 2, 2),
        OTHER_TABLE + 2: table(2, 2, 2, 2, 2, 2, 2, 2),
    },
    samples=(
        sample(2.0, b0=0b01, b1=0b01, b3=0b10),
        sample(4.0, b0=0b10, b3=0b10),
        sample(6.0, b1=0b10, b3=0b10),
        sample(7.0, b1=0b10, b3=0b10),
    ),
    packets={"n1": 25, "n2": 75},
)


def spans(*flows: tuple[int, float, float]) -> Spans:
    buckets, opened, ended = zip(*flows, strict=True)
    return Spans(np.array(buckets, np.uint32), np.array(opened), np.array(ended))


def test_a_flow_has_changed_node_when_two_nodes_carried_packets_of_its_bucket_in_its_life() -> None:
    flows = spans((0, 1.5, 4.5), (1, 1.5, 3.0), (1, 1.5, 6.5), (3, 1.5, 7.0), (7, 1.0, 9.0))

    assert evidence.changed_node(flows, SEEN).tolist() == [True, False, True, False, False]


def test_a_flow_has_changed_owner_when_its_bucket_did_in_its_life() -> None:
    flows = spans((3, 1.5, 4.5), (3, 4.5, 5.5), (3, 5.5, 6.0), (0, 1.0, 9.0))

    assert evidence.changed_owner(flows, SEEN).tolist() == [False, True, False, False]


def test_an_epoch_is_everywhere_when_the_last_kernel_uses_it_or_a_later_one() -> None:
    assert evidence.everywhere_at(2, ["n1", "n2"], SEEN.switches) == 5.3
    assert evidence.everywhere_at(1, ["n1"], SEEN.switches) == 1.0
    assert evidence.everywhere_at(3, ["n1", "n2"], SEEN.switches) is None


def test_a_bucket_belongs_to_all_who_owned_it_on_some_node_in_that_time() -> None:
    assert evidence.owned_by(3, 1, 4.0, 4.5, SEEN)
    assert not evidence.owned_by(3, 2, 4.0, 4.5, SEEN)
    assert evidence.owned_by(3, 1, 5.1, 5.2, SEEN)
    assert evidence.owned_by(3, 2, 4.0, 5.2, SEEN)
    assert evidence.owned_by(0, 2, 7.0, 9.0, SEEN)


def test_a_buckets_places_are_told_node_by_node_as_they_changed() -> None:
    def told(bucket: int, since: float, until: float) -> set[tuple[float, str, int]]:
        return {
            (place.at, place.node, place.backends[0])
            for place in evidence.places_of(bucket, since, until, SEEN)
        }

    assert told(3, 4.0, 9.0) == {(1.0, "n1", 1), (1.1, "n2", 1), (5.0, "n1", 2), (5.3, "n2", 2)}
    assert told(0, 4.0, 6.0) == {(1.0, "n1", 1), (1.1, "n2", 1)}
    assert told(0, 6.0, 9.0) == {(1.0, "n1", 1), (1.1, "n2", 1), (8.0, "n2", 2)}


def test_a_backend_is_gone_when_no_kernel_gives_it_a_bucket() -> None:
    assert evidence.free_of(1, 2.0, {"n2"}, SEEN) == 8.0
    assert evidence.free_of(1, 2.0, {"n1", "n2"}, SEEN) is None
    assert evidence.free_of(1, 2.0, {"n1"}, SEEN) is None


def test_a_table_that_others_have_otherwise_is_named_unless_its_node_is_isolated() -> None:
    assert evidence.differing(SEEN.switches, ()) == [Switch(8.0, "n2", OTHER_TABLE + 2)]
    assert evidence.differing(SEEN.switches, {"n2"}) == []


def test_shares_are_parts_of_all_packets() -> None:
    assert evidence.shares(SEEN.packets) == {"n1": 0.25, "n2": 0.75}
    assert evidence.shares({"n1": 0}) == {"n1": 0.0}


def test_sightings_come_back_from_the_disk_as_they_were(tmp_path: Path) -> None:
    SEEN.save(tmp_path / "seen.npz")

    read = Sightings.load(tmp_path / "seen.npz")

    assert (read.nodes, read.switches, read.packets) == (SEEN.nodes, SEEN.switches, SEEN.packets)
    assert {epoch: column.tolist() for epoch, column in read.tables.items()} == {
        epoch: column.tolist() for epoch, column in SEEN.tables.items()
    }
    assert [(s.at, s.buckets.tolist(), s.nodes.tolist()) for s in read.samples] == [
        (s.at, s.buckets.tolist(), s.nodes.tolist()) for s in SEEN.samples
    ]
