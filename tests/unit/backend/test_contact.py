"""What an agent leaves for `lbbackend status`: whether it has the fleet's memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from lbnode.backend.contact import FILE_NAME, Contact, ContactFile
from lbnode.backend.errors import BackendError
from lbnode.model.members import View


def test_what_was_written_last_is_read(tmp_path: Path) -> None:
    file = ContactFile(tmp_path)
    assert file.read() is None
    file.write(Contact(View.FLEET, 1000.0))
    file.write(Contact(View.LOCAL, 1003.5, "store zk: holds no fleet"))
    assert file.read() == Contact(View.LOCAL, 1003.5, "store zk: holds no fleet")


def test_a_damaged_file_and_a_directory_that_is_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(BackendError, match="restart lbbackend"):
        ContactFile(tmp_path).read()
    with pytest.raises(BackendError, match="run_dir"):
        ContactFile(tmp_path / "away").write(Contact(View.FLEET, 1000.0))
