"""What a daemon knows when its store does not answer, with the real file store behind it."""

from __future__ import annotations

import asyncio
import shutil
import time
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

from lbnode.daemon.memory import LOCAL_AFTER_S, RETURN_S, Memory
from lbnode.model.fleet import Backend, DesiredFleet
from lbnode.model.ids import BackendName
from lbnode.model.members import FleetIdentity
from lbnode.store.copy import DiskCopy
from lbnode.store.files import FileTree


async def opened(path: Path, store: str = "store") -> Memory:
    """A memory in `path` whose store has been read."""
    memory = Memory(FileTree(path / store), DiskCopy(path / "state"))
    await memory.start(lambda: None)
    assert await memory.store.wait_in_step(5)
    return memory


async def founded(path: Path) -> FleetIdentity:
    """A fleet in the store, and its copy on disk."""
    memory = await opened(path)
    identity = FleetIdentity(uuid4(), "demo", {1: "22" * 32})
    await memory.store.create_identity(identity)
    memory.keep(memory.view())
    await memory.close()
    return identity


async def test_the_copy_on_disk_serves_until_the_store_answers(tmp_path: Path) -> None:
    identity = await founded(tmp_path)
    memory = Memory(FileTree(tmp_path / "store"), DiskCopy(tmp_path / "state"))
    view = memory.view()
    assert view.identity == identity
    assert not view.connected


async def test_a_copy_that_cannot_be_written_is_an_alarm_until_it_can(tmp_path: Path) -> None:
    await founded(tmp_path)
    memory = Memory(FileTree(tmp_path / "store"), DiskCopy(tmp_path / "other"))
    (tmp_path / "other").write_text("where the directory should be")
    await memory.start(lambda: None)
    assert await memory.store.wait_in_step(5)
    async with asyncio.timeout(10):
        while not memory.unkept:
            memory.keep(memory.view())
            await asyncio.sleep(0.01)
        assert "other/fleet.json: " in memory.unkept
        assert memory.unkept.endswith("make room, or correct its rights or state_dir")
        (tmp_path / "other").unlink()
        while memory.unkept:
            memory.keep(memory.view())
            await asyncio.sleep(0.01)
    await memory.close()
    assert (tmp_path / "other" / "fleet.json").exists()


async def test_without_store_and_copy_there_is_an_empty_view(tmp_path: Path) -> None:
    memory = Memory(FileTree(tmp_path / "store"), DiskCopy(tmp_path / "state"))
    assert memory.view().identity is None


async def test_the_local_view_begins_only_after_a_while_without_the_store(tmp_path: Path) -> None:
    memory = Memory(FileTree(tmp_path / "store"), DiskCopy(tmp_path / "state"))
    now = time.monotonic()
    assert not memory.local(now)
    assert memory.local(now + LOCAL_AFTER_S)


async def test_own_verdicts_count_for_a_while_after_the_store_has_come_back(tmp_path: Path) -> None:
    assert not Memory(FileTree(tmp_path / "other"), DiskCopy(tmp_path / "state")).counts_own_verdicts(0.0)
    memory = await opened(tmp_path)
    now = time.monotonic()
    assert not memory.local(now + LOCAL_AFTER_S)
    assert memory.counts_own_verdicts(now)
    assert not memory.counts_own_verdicts(now + RETURN_S)
    await memory.close()


async def test_a_wiped_store_is_refused_and_the_last_view_stays(tmp_path: Path) -> None:
    identity = await founded(tmp_path)
    memory = Memory(FileTree(tmp_path / "wiped"), DiskCopy(tmp_path / "state"))
    await memory.start(lambda: None)
    async with asyncio.timeout(5):
        while not memory.problem:
            assert memory.view().identity == identity
            await asyncio.sleep(0.01)
    assert "holds no fleet" in memory.problem
    assert memory.local(time.monotonic())
    assert not memory.view().connected
    await memory.close()


async def test_a_store_restored_from_an_old_backup_is_refused_and_the_last_view_stays(tmp_path: Path) -> None:
    await founded(tmp_path)
    memory = await opened(tmp_path)
    await memory.store.write_desired(DesiredFleet("demo"), -1)
    await memory.close()
    shutil.copytree(tmp_path / "store", tmp_path / "restored")
    memory = await opened(tmp_path)
    latest = DesiredFleet("demo", backends=(Backend(BackendName("b1"), (ip_address("10.0.0.1"),)),))
    await memory.store.write_desired(latest, memory.view().desired_version)
    memory.keep(memory.view())
    await memory.close()

    restored = await opened(tmp_path, "restored")
    view = restored.view()
    assert view.desired == latest
    assert not view.connected
    assert "old backup" in restored.problem
    await restored.close()


async def test_news_that_comes_while_the_copy_is_written_is_written_too(tmp_path: Path) -> None:
    await founded(tmp_path)
    memory = await opened(tmp_path)
    for number in range(3):
        version = memory.view().desired_version
        latest = DesiredFleet(
            "demo", backends=(Backend(BackendName(f"b{number}"), (ip_address("10.0.0.1"),)),)
        )
        await memory.store.write_desired(latest, version)
        memory.keep(memory.view())
        await asyncio.sleep(0)
    await memory.close()

    kept = DiskCopy(tmp_path / "state").load().view
    assert kept is not None
    assert kept.desired == latest
