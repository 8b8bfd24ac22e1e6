"""The contract of `lbnode.store.tree` for records that end with their process, over both stores."""

from __future__ import annotations

import pytest

from lbnode.store.tree import Session, UnavailableError
from tests.integration.store.backing import Backing
from tests.integration.store.conftest import Open, Start

NOTICE_S = 1.0


async def test_a_killed_process_is_gone_within_the_session_timeout(
    backing: Backing, open_tree: Open, start_process: Start
) -> None:
    mine = await open_tree(backing)
    other = await start_process(backing, "announce=live/nodes/n1:here")
    await mine.until(lambda: mine.value("live/nodes/n1") == b"here")
    await other.kill()
    await mine.until(lambda: mine.tree.get("live/nodes/n1") is None, backing.grace_s + NOTICE_S)


async def test_only_the_dead_process_s_records_end(
    backing: Backing, open_tree: Open, start_process: Start
) -> None:
    mine = await open_tree(backing)
    await mine.tree.announce("live/nodes/mine", b"mine")
    other = await start_process(backing, "announce=live/nodes/n1:a", "announce=live/agents/b1:b")
    third = await start_process(backing, "announce=live/nodes/n3:c")
    await mine.tree.put("nodes/n1", b"member")
    await mine.until(lambda: len(mine.tree.snapshot()) == 5)
    await other.kill()
    await mine.until(lambda: len(mine.tree.snapshot()) == 3, backing.grace_s + NOTICE_S)
    assert set(mine.tree.snapshot()) == {"live/nodes/mine", "live/nodes/n3", "nodes/n1"}
    await third.kill()


async def test_closing_ends_what_was_announced_at_once(backing: Backing, open_tree: Open) -> None:
    mine, theirs = await open_tree(backing), await open_tree(backing)
    await mine.tree.announce("live/nodes/n1", b"here")
    await theirs.until(lambda: theirs.value("live/nodes/n1") == b"here")
    await mine.tree.close()
    await theirs.until(lambda: theirs.tree.get("live/nodes/n1") is None, NOTICE_S)


async def test_a_withdrawn_record_is_gone_and_may_be_withdrawn_twice(
    backing: Backing, open_tree: Open
) -> None:
    mine = await open_tree(backing)
    await mine.tree.announce("live/nodes/n1", b"here")
    await mine.tree.withdraw("live/nodes/n1")
    await mine.tree.withdraw("live/nodes/n1")
    assert mine.tree.get("live/nodes/n1") is None


async def test_announcing_again_replaces_what_was_said(backing: Backing, open_tree: Open) -> None:
    mine, theirs = await open_tree(backing), await open_tree(backing)
    for value in (b"one", b"two", b"three"):
        await mine.tree.announce("live/nodes/n1", value)
    await theirs.until(lambda: theirs.value("live/nodes/n1") == b"three")


async def test_a_restarted_daemon_takes_its_name_over_from_its_dead_self(
    backing: Backing, open_tree: Open, start_process: Start
) -> None:
    mine = await open_tree(backing)
    other = await start_process(backing, "announce=live/nodes/n1:old")
    await mine.until(lambda: mine.value("live/nodes/n1") == b"old")
    missing: list[bool] = []
    mine.checks.append(lambda: missing.append(mine.tree.get("live/nodes/n1") is None))
    heir = await start_process(backing, "announce=live/nodes/n1:new", "announce=live/nodes/marker:x")
    await mine.until(lambda: mine.value("live/nodes/n1") == b"new")
    await other.kill()
    witness = await start_process(backing, "announce=live/nodes/witness:x")
    await mine.until(lambda: mine.tree.get("live/nodes/witness") is not None)
    await witness.kill()
    await mine.until(lambda: mine.tree.get("live/nodes/witness") is None, backing.grace_s + NOTICE_S)
    assert mine.value("live/nodes/n1") == b"new"
    assert not any(missing)
    await heir.kill()


async def test_without_a_session_writes_fail_at_once_and_say_where(backing: Backing, open_tree: Open) -> None:
    mine = await open_tree(backing)
    await mine.tree.close()
    assert mine.tree.session is Session.LOST
    with pytest.raises(UnavailableError) as caught:
        await mine.tree.put("desired", b"x")
    assert mine.tree.address in str(caught.value)
