"""The record of what agents changed on a machine."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from lbnode.backend.changes import ChangesFile, HostChanges
from lbnode.backend.errors import BackendError

CHANGES = HostChanges("eth0", (ip_address("192.0.2.80"),), {"net/ipv4/conf/all/rp_filter": "2"})


def test_what_was_written_is_read_by_the_next_process(tmp_path: Path) -> None:
    ChangesFile(tmp_path / "state").write(CHANGES)
    assert ChangesFile(tmp_path / "state").read() == CHANGES


def test_no_file_means_no_changes(tmp_path: Path) -> None:
    assert ChangesFile(tmp_path).read() == HostChanges()


def test_forgetting_twice_is_no_error(tmp_path: Path) -> None:
    file = ChangesFile(tmp_path)
    file.write(CHANGES)
    file.forget()
    file.forget()
    assert file.read() == HostChanges()


def test_a_damaged_record_is_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "changes.json").write_text("{")
    with pytest.raises(BackendError, match=r"changes\.json: HostChanges.*by hand"):
        ChangesFile(tmp_path).read()


def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match="set state_dir"):
        ChangesFile(tmp_path / "file").write(CHANGES)
