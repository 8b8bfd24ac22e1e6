"""The contract of `lbnode.store.tree` for records, over a directory and over a real ZooKeeper."""

from __future__ import annotations

import asyncio

import pytest

from lbnode.store.tree import MAX_VALUE, ConflictError, ExistsError, MissingError, PathError
from tests.integration.store.backing import Backing, Observer
from tests.integration.store.conftest import Open, Start


async def test_what_a_call_did_is_in_the_mirror_when_it_returns(backing: Backing, open_tree: Open) -> None:
    mine = await open_tree(backing)
    await mine.tree.create("nodes/n1", b"one")
    assert mine.version("nodes/n1") == 0
    assert await mine.tree.write("nodes/n1", b"two", 0) == 1
    assert await mine.tree.put("nodes/n1", b"three") == 2
    assert mine.value("nodes/n1") == b"three"
    await mine.tree.delete("nodes/n1", 2)
    assert mine.tree.get("nodes/n1") is None


async def test_a_record_is_created_once(backing: Backing, open_tree: Open) -> None:
    one, two = await open_tree(backing), await open_tree(backing)
    outcomes = await asyncio.gather(
        *(each.tree.create("epochs/web/0000000001", b"mine") for each in (one, two)), return_exceptions=True
    )
    assert sorted(map(str, map(type, outcomes))) == sorted([str(type(None)), str(ExistsError)])


async def test_a_stale_version_writes_and_deletes_nothing(backing: Backing, open_tree: Open) -> None:
    mine = await open_tree(backing)
    await mine.tree.create("desired", b"one")
    await mine.tree.write("desired", b"two", 0)
    with pytest.raises(ConflictError):
        await mine.tree.write("desired", b"three", 0)
    with pytest.raises(ConflictError):
        await mine.tree.delete("desired", 0)
    assert mine.value("desired") == b"two"


async def test_a_missing_record_can_be_neither_written_nor_deleted(backing: Backing, open_tree: Open) -> None:
    mine = await open_tree(backing)
    with pytest.raises(MissingError):
        await mine.tree.write("desired", b"x", 0)
    with pytest.raises(MissingError):
        await mine.tree.delete("desired")


async def test_a_deleted_record_begins_again_with_version_0(backing: Backing, open_tree: Open) -> None:
    mine, theirs = await open_tree(backing), await open_tree(backing)
    await mine.tree.create("desired", b"one")
    await mine.tree.put("desired", b"two")
    await mine.tree.delete("desired")
    await mine.tree.create("desired", b"three")
    await theirs.until(lambda: theirs.value("desired") == b"three")
    assert theirs.version("desired") == 0


async def test_processes_that_compare_and_set_lose_no_increment(
    backing: Backing, open_tree: Open, start_process: Start
) -> None:
    mine = await open_tree(backing)
    await mine.tree.create("ids", b"0")
    others = [await start_process(backing, "add=ids:25") for _ in range(3)]
    for other in others:
        await other.hear("add")
    await mine.until(lambda: mine.value("ids") == b"75")


async def seen(by: Observer, value: bytes) -> None:
    await by.until(lambda: by.value("nodes/n1") == value)


async def test_another_client_sees_every_write_while_it_is_the_newest(
    backing: Backing, open_tree: Open
) -> None:
    mine, theirs = await open_tree(backing), await open_tree(backing)
    for number in range(50):
        value = b"%d" % number
        await mine.tree.put("nodes/n1", value)
        await seen(theirs, value)


async def test_a_large_record_arrives_whole(backing: Backing, open_tree: Open) -> None:
    mine, theirs = await open_tree(backing), await open_tree(backing)
    value = bytes(range(256)) * 400
    await mine.tree.put("desired", value)
    await theirs.until(lambda: theirs.value("desired") == value)


@pytest.mark.parametrize("value", [b"", b"x" * (MAX_VALUE + 1)])
async def test_an_empty_or_oversized_value_is_refused(
    backing: Backing, open_tree: Open, value: bytes
) -> None:
    mine = await open_tree(backing)
    with pytest.raises(PathError, match="desired"):
        await mine.tree.put("desired", value)


@pytest.mark.parametrize(
    "path", ["", "/", "a//b", "../x", "a/../b", "a b", "leader", "leader/x", "nodes/" + "x" * 201]
)
async def test_a_path_that_could_lead_elsewhere_is_refused(
    backing: Backing, open_tree: Open, path: str
) -> None:
    mine = await open_tree(backing)
    with pytest.raises(PathError):
        await mine.tree.put(path, b"x")


async def test_an_unchanged_record_is_the_same_object_in_the_next_snapshot(
    backing: Backing, open_tree: Open
) -> None:
    mine, theirs = await open_tree(backing), await open_tree(backing)
    await mine.tree.put("nodes/n1", b"one")
    await theirs.until(lambda: theirs.value("nodes/n1") == b"one")
    before = theirs.tree.snapshot()
    await mine.tree.put("nodes/n2", b"two")
    await theirs.until(lambda: theirs.value("nodes/n2") == b"two")
    assert theirs.tree.snapshot()["nodes/n1"] is before["nodes/n1"]
    assert "nodes/n2" not in before


async def test_a_late_comer_sees_everything_when_it_is_connected(backing: Backing, open_tree: Open) -> None:
    mine = await open_tree(backing)
    for number in range(60):
        await mine.tree.create(f"epochs/web/{number:010d}", b"%d" % number)
    theirs = await open_tree(backing)
    assert theirs.tree.snapshot() == mine.tree.snapshot()
    assert len(theirs.tree.snapshot()) == 60


async def test_nobody_is_called_back_while_current_names_an_epoch_not_yet_read(
    backing: Backing, open_tree: Open, start_process: Start
) -> None:
    mine = await open_tree(backing)
    seen: list[int] = []
    dangling: list[int] = []

    def check() -> None:
        current = int(mine.value("current/web") or b"0")
        seen.append(current)
        if current and mine.tree.get(f"epochs/web/{current:010d}") is None:
            dangling.append(current)

    mine.checks.append(check)
    writer = await start_process(backing, "offer=epochs/web:100")
    await mine.until(lambda: mine.value("current/web") == b"100")
    await writer.kill()
    assert dangling == []
    assert seen == sorted(seen)
    assert len(set(seen)) > 2
