"""The directory under the file store: journal, sessions and what crashes leave behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbnode.store import directory
from lbnode.store.directory import Directory, Stored
from lbnode.store.inotify import Inotify, Mask
from lbnode.store.tree import Entry, ExistsError, UnavailableError


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Directory]:
    with_session = Directory(tmp_path, found=True)
    yield with_session
    with_session.close()


@pytest.fixture
def theirs(tmp_path: Path, mine: Directory) -> Iterator[Directory]:
    with_session = Directory(tmp_path, found=False)
    yield with_session
    with_session.close()


def test_a_reader_learns_of_changes_in_order_and_once(mine: Directory, theirs: Directory) -> None:
    _, place = theirs.scan()
    mine.create("nodes/n1", b"1")
    mine.put("nodes/n2", b"2")
    mine.put("nodes/n1", b"3")
    found = theirs.changes(place)
    assert found is not None
    changes, place = found
    assert changes == {"nodes/n1": Stored(Entry(b"3", 1), None), "nodes/n2": Stored(Entry(b"2", 0), None)}
    assert theirs.changes(place) == ({}, place)


def test_a_reader_scans_when_the_journal_began_anew(
    mine: Directory, theirs: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "JOURNAL_LIMIT", 30)
    _, place = theirs.scan()
    for number in range(10):
        mine.put("nodes/n1", b"%d" % number)
    assert theirs.changes(place) is None
    records, place = theirs.scan()
    assert records == {"nodes/n1": Stored(Entry(b"9", 9), None)}
    assert theirs.changes(place) == ({}, place)


def test_half_a_line_of_the_journal_is_left_for_later(mine: Directory, tmp_path: Path) -> None:
    _, place = mine.scan()
    with (tmp_path / "journal").open("ab") as journal:
        journal.write(b"nodes/n1\nnodes/n")
    found = mine.changes(place)
    assert found is not None
    assert found[0] == {"nodes/n1": None}
    assert found[1].offset == place.offset + len(b"nodes/n1\n")


def test_a_death_makes_every_reader_scan_because_its_last_line_may_be_missing(
    mine: Directory, tmp_path: Path
) -> None:
    _, place = mine.scan()
    (tmp_path / "sessions" / "dead").touch()
    (tmp_path / "tmp" / "dead.record").write_bytes(b"half")
    mine.put("live/nodes/n1", b"x", session="dead")
    mine.put("live/nodes/n2", b"x", session=mine.session)
    assert mine.bury() == {"live/nodes/n1": None}
    assert mine.changes(place) is None
    assert set(mine.scan()[0]) == {"live/nodes/n2"}
    assert os.listdir(tmp_path / "sessions") == [mine.session]
    assert os.listdir(tmp_path / "tmp") == []


def test_records_of_a_session_without_a_file_are_dead_too(mine: Directory) -> None:
    mine.put("live/nodes/n1", b"x", session="unheard-of")
    assert mine.bury() == {"live/nodes/n1": None}


def test_the_living_are_not_buried(mine: Directory, theirs: Directory) -> None:
    theirs.put("live/nodes/n1", b"x", session=theirs.session)
    assert mine.bury() == {}
    assert mine.read("live/nodes/n1") is not None


def test_a_closed_session_takes_its_records_along(mine: Directory, tmp_path: Path) -> None:
    gone = Directory(tmp_path, found=False)
    gone.put("live/nodes/n1", b"x", session=gone.session)
    gone.put("nodes/n1", b"x")
    gone.close()
    assert set(mine.scan()[0]) == {"nodes/n1"}


def test_a_record_written_by_hand_is_read_as_it_is(mine: Directory, tmp_path: Path) -> None:
    (tmp_path / "records" / "desired").write_bytes(b"no head\nat all")
    assert mine.read("desired") == Stored(Entry(b"no head\nat all", 0), None)


def test_a_value_may_hold_lines(mine: Directory) -> None:
    mine.create("desired", b"a\nb\n\n")
    assert mine.read("desired") == Stored(Entry(b"a\nb\n\n", 0), None)


def test_a_refused_change_leaves_no_trace(mine: Directory, tmp_path: Path) -> None:
    mine.create("desired", b"one")
    _, place = mine.scan()
    with pytest.raises(ExistsError):
        mine.create("desired", b"two")
    assert mine.changes(place) == ({}, place)
    assert os.listdir(tmp_path / "tmp") == []


def test_a_process_stuck_in_a_change_is_waited_for_and_then_named(
    mine: Directory, theirs: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "LOCK_PATIENCE_S", 0.02)
    with mine.locked(), pytest.raises(UnavailableError, match="fuser"):
        theirs.create("desired", b"x")


def test_a_store_that_is_not_there_is_not_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="no store there"):
        Directory(tmp_path, found=False)
    assert os.listdir(tmp_path) == []


def test_secrets_in_the_store_are_readable_by_its_owner_alone(tmp_path: Path) -> None:
    opened = Directory(tmp_path / "store", found=True)
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o700
    opened.close()


def test_inotify_tells_what_happened_to_which_name(tmp_path: Path) -> None:
    inotify = Inotify()
    watch = inotify.watch(tmp_path, Mask.MODIFY | Mask.CLOSE_WRITE | Mask.MOVED_TO)
    assert inotify.read() == []
    (tmp_path / "a name").write_bytes(b"x")
    (tmp_path / "a name").rename(tmp_path / "b")
    events = [(event.watch, event.mask, event.name) for event in inotify.read()]
    assert events == [
        (watch, Mask.MODIFY, "a name"),
        (watch, Mask.CLOSE_WRITE, "a name"),
        (watch, Mask.MOVED_TO, "b"),
    ]
    inotify.close()
    inotify.close()


def test_watching_what_is_no_directory_names_it(tmp_path: Path) -> None:
    inotify = Inotify()
    with pytest.raises(OSError, match="nothing-here"):
        inotify.watch(tmp_path / "nothing-here", Mask.MODIFY)
    inotify.close()
