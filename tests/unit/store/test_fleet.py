"""`lbnode.store.fleet` over a real directory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from lbnode.model.codec import encode
from lbnode.model.epoch import Epoch
from lbnode.model.fleet import DesiredFleet, Intents
from lbnode.model.ids import EpochNumber, NodeName
from lbnode.model.members import FleetIdentity
from lbnode.model.view import FleetView, IdLedger
from lbnode.store.files import FileTree
from lbnode.store.fleet import FleetStore, ForeignFleetError, NotLeaderError, refusal
from lbnode.store.tree import ConflictError, ExistsError, Session
from tests.unit.store import fleets


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


async def test_what_was_written_is_in_the_view(store: FleetStore) -> None:
    intents = Intents((NodeName("n2"),), {fleets.WEB: (fleets.BACKEND.name,)})
    ledger = IdLedger(2, {9: 12.5})
    await store.create_identity(fleets.IDENTITY)
    await store.write_desired(fleets.DESIRED, -1)
    await store.write_intents(intents, -1)
    await store.put_ids(ledger)
    await store.put_node(fleets.NODE)
    await store.put_backend(fleets.BACKEND)
    await store.put_agent(fleets.AGENT)
    await store.create_epoch(fleets.epoch(1))
    await store.set_current(fleets.WEB, EpochNumber(1))
    await store.announce_live_node(fleets.LIVE_NODE)
    await store.announce_live_agent(fleets.LIVE_AGENT)
    assert store.view() == FleetView(
        identity=fleets.IDENTITY,
        desired=fleets.DESIRED,
        desired_version=0,
        intents=intents,
        intents_version=0,
        ids=ledger,
        nodes={fleets.NODE.name: fleets.NODE},
        backends={fleets.BACKEND.name: fleets.BACKEND},
        agents={fleets.AGENT.name: fleets.AGENT},
        epochs={fleets.WEB: {EpochNumber(1): fleets.epoch(1)}},
        current={fleets.WEB: EpochNumber(1)},
        live_nodes={fleets.LIVE_NODE.name: fleets.LIVE_NODE},
        live_agents={fleets.LIVE_AGENT.name: fleets.LIVE_AGENT},
        connected=True,
    )


async def test_what_was_removed_is_not_in_the_view_and_may_be_removed_twice(store: FleetStore) -> None:
    await store.put_node(fleets.NODE)
    await store.put_backend(fleets.BACKEND)
    await store.put_agent(fleets.AGENT)
    await store.create_epoch(fleets.epoch(1))
    await store.set_current(fleets.WEB, EpochNumber(1))
    for _ in range(2):
        await store.remove_node(fleets.NODE.name)
        await store.remove_backend(fleets.BACKEND.name)
        await store.remove_agent(fleets.AGENT.name)
        await store.remove_current(fleets.WEB)
        await store.delete_epochs(fleets.WEB, [EpochNumber(1), EpochNumber(2)])
    assert store.view() == FleetView(connected=True)


async def test_a_fleet_is_founded_once(store: FleetStore) -> None:
    await store.create_identity(fleets.IDENTITY)
    with pytest.raises(ExistsError):
        await store.create_identity(fleets.IDENTITY)


async def test_desired_is_replaced_only_by_who_has_read_it(store: FleetStore) -> None:
    version = await store.write_desired(fleets.DESIRED, -1)
    assert await store.write_desired(DesiredFleet("demo"), version) == version + 1
    for stale in (-1, version):
        with pytest.raises(ConflictError):
            await store.write_desired(fleets.DESIRED, stale)
    assert store.view().desired == DesiredFleet("demo")


async def test_writing_over_a_record_that_was_deleted_is_a_conflict(
    store: FleetStore, tree: FileTree
) -> None:
    version = await store.write_intents(Intents(), -1)
    await tree.delete("intents")
    with pytest.raises(ConflictError):
        await store.write_intents(Intents((NodeName("n1"),)), version)


async def test_an_epoch_is_offered_once_by_one_leader(store: FleetStore) -> None:
    await store.create_epoch(fleets.epoch(1))
    with pytest.raises(NotLeaderError, match="another node leads"):
        await store.create_epoch(fleets.epoch(1))


async def test_of_two_that_take_themselves_for_leaders_one_cannot_turn_current_back(
    tmp_path: Path, store: FleetStore
) -> None:
    other = FleetStore(FileTree(tmp_path / "store"))
    await other.start(lambda: None)
    outcomes = await asyncio.gather(
        store.set_current(fleets.WEB, EpochNumber(6)),
        other.set_current(fleets.WEB, EpochNumber(5)),
        return_exceptions=True,
    )
    await other.close()
    assert sorted(map(type, outcomes), key=str) == sorted([type(None), NotLeaderError], key=str)
    kept = 6 if outcomes[0] is None else 5
    async with asyncio.timeout(5):
        while not (corrupt := store.view().corrupt):
            await asyncio.sleep(0.01)
    assert corrupt == (f"current/web: names epoch {kept}, which cannot be read",)


async def test_corrupt_records_are_named_and_the_rest_is_read(store: FleetStore, tree: FileTree) -> None:
    await store.create_identity(fleets.IDENTITY)
    await store.put_node(fleets.NODE)
    await tree.put("backends/b1", b"{not json")
    await tree.put("nodes/other", b'{"name":"n9","sources":[],"algorithm":1}')
    await tree.put("epochs/web/0000000002", b"[]")
    await store.create_epoch(fleets.epoch(3, fleet=fleets.UUID_B))
    await until(lambda: len(store.view().corrupt) == 4)
    view = store.view()
    assert [problem.split(":")[0] for problem in view.corrupt] == [
        "backends/b1",
        "epochs/web/0000000002",
        "epochs/web/0000000003",
        "nodes/other",
    ]
    assert "belongs at nodes/n9" in view.corrupt[3]
    assert "another fleet" in view.corrupt[2]
    assert view.nodes == {fleets.NODE.name: fleets.NODE}
    assert view.backends == {}
    assert view.epochs == {}


async def test_a_corrupt_desired_can_be_replaced(store: FleetStore, tree: FileTree) -> None:
    await tree.put("desired", b"{")
    await until(lambda: store.view().corrupt != ())
    view = store.view()
    assert view.desired is None
    await store.write_desired(fleets.DESIRED, view.desired_version)
    assert store.view().desired == fleets.DESIRED


async def test_current_stays_where_it_was_while_the_new_epoch_cannot_be_read(
    store: FleetStore, tree: FileTree
) -> None:
    await store.create_epoch(fleets.epoch(1))
    await store.set_current(fleets.WEB, EpochNumber(1))
    assert store.view().current_epoch(fleets.WEB) == fleets.epoch(1)
    await tree.put("epochs/web/0000000002", b"spoilt")
    await store.set_current(fleets.WEB, EpochNumber(2))
    await until(lambda: len(store.view().corrupt) == 2)
    assert store.view().current_epoch(fleets.WEB) == fleets.epoch(1)


async def test_what_was_read_once_goes_on_to_count_while_its_record_is_spoilt(
    store: FleetStore, tree: FileTree
) -> None:
    await store.write_desired(fleets.DESIRED, -1)
    await store.create_epoch(fleets.epoch(1))
    await store.set_current(fleets.WEB, EpochNumber(1))
    before = store.view()
    for path, spoilt in (
        ("desired", b"{"),
        ("epochs/web/0000000001", encode(fleets.epoch(1))[:-9]),
        ("current/web", b"?"),
    ):
        await tree.put(path, spoilt)
    await until(lambda: len(store.view().corrupt) == 3)
    view = store.view()
    assert (view.desired, view.epochs, view.current) == (before.desired, before.epochs, before.current)
    assert view.damaged == {fleets.WEB: (1,)}

    await store.restore_epoch(fleets.epoch(1))
    await until(lambda: store.view().damaged == {})
    await tree.delete("epochs/web/0000000001")
    await until(lambda: store.view().epochs == {})


async def test_the_copy_on_disk_stands_in_for_a_record_that_is_spoilt(
    tmp_path: Path, store: FleetStore, tree: FileTree
) -> None:
    await store.create_identity(fleets.IDENTITY)
    await store.write_desired(fleets.DESIRED, -1)
    await store.create_epoch(fleets.epoch(1))
    known = store.view()
    await tree.put("epochs/web/0000000001", b"{")
    await tree.put("desired", b"{")
    restarted = FleetStore(FileTree(tmp_path / "store"), fleets.UUID_A, known)
    await restarted.start(lambda: None)
    await until(lambda: len(restarted.view().corrupt) == 2)
    assert (restarted.view().desired, restarted.view().epochs) == (known.desired, known.epochs)
    await restarted.close()


async def test_records_of_later_releases_are_passed_over(store: FleetStore, tree: FileTree) -> None:
    for path in ("nat/web", "live/probes/p1", "nodes/n1/extra"):
        await tree.put(path, b"?")
    await until(lambda: tree.get("nodes/n1/extra") is not None)
    assert store.view() == FleetView(connected=True)


async def test_an_unchanged_epoch_is_decoded_once(store: FleetStore) -> None:
    await store.create_epoch(fleets.epoch(1))
    before: Epoch = store.view().epochs[fleets.WEB][EpochNumber(1)]
    await store.put_node(fleets.NODE)
    assert store.view().epochs[fleets.WEB][EpochNumber(1)] is before


async def test_the_leader_is_in_the_view(store: FleetStore) -> None:
    campaign = store.campaign(NodeName("n1"), lambda: None, lambda: None)
    await until(lambda: campaign.leading)
    assert store.view().leader == "n1"


async def test_a_store_of_another_fleet_is_neither_read_nor_written(
    tmp_path: Path, store: FleetStore
) -> None:
    await store.create_identity(fleets.IDENTITY)
    stranger = FleetStore(FileTree(tmp_path / "store"), expected=fleets.UUID_B)
    await stranger.start(lambda: None)
    with pytest.raises(ForeignFleetError, match=str(fleets.UUID_A)):
        stranger.view()
    with pytest.raises(ForeignFleetError, match="state directory"):
        await stranger.put_node(fleets.NODE)
    with pytest.raises(ForeignFleetError):
        await stranger.announce_live_node(fleets.LIVE_NODE)
    await stranger.close()
    assert store.view().nodes == {}


async def test_a_store_that_is_wiped_while_in_use_is_refused(store: FleetStore, tree: FileTree) -> None:
    await store.create_identity(fleets.IDENTITY)
    assert store.view().identity == fleets.IDENTITY
    await tree.delete("identity")

    def is_refused() -> bool:
        try:
            store.view()
        except ForeignFleetError as error:
            return "wiped" in str(error)
        return False

    await until(is_refused)
    with pytest.raises(ForeignFleetError, match="wiped"):
        await store.create_epoch(fleets.epoch(1))


async def test_a_store_that_was_never_reached_gives_an_empty_view_and_no_alarm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = FleetStore(FileTree(tmp_path / "file"), expected=fleets.UUID_A)
    await store.start(lambda: None)
    assert not await store.wait_in_step(0.01)
    assert store.session is Session.LOST
    assert store.view() == FleetView()
    await store.close()


@pytest.mark.parametrize(
    ("expected", "found", "in_step", "words"),
    [
        (None, None, True, None),
        (None, fleets.IDENTITY, True, None),
        (fleets.UUID_A, fleets.IDENTITY, True, None),
        (fleets.UUID_A, None, False, None),
        (fleets.UUID_A, None, True, "holds no fleet"),
        (fleets.UUID_B, fleets.IDENTITY, True, "check the store's address"),
        (fleets.UUID_B, fleets.IDENTITY, False, "check the store's address"),
    ],
)
def test_a_daemon_keeps_to_its_own_fleet(
    expected: UUID | None, found: FleetIdentity | None, in_step: bool, words: str | None
) -> None:
    reason = refusal(expected, found, in_step)
    assert reason is None if words is None else words in str(reason)
