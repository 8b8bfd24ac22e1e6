from __future__ import annotations

import os
from pathlib import Path

import pytest

from lbnode.store.ownership import believed_owners
from lbnode.store.tree import StoreError


def test_whoever_is_not_root_believes_root_and_himself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert believed_owners(tmp_path) == {0, 1000}
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(StoreError, match=f"{tmp_path} belongs to user 65534: chown it"):
        believed_owners(tmp_path)


def test_root_believes_the_owner_of_the_folder_that_it_was_told_of(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    assert believed_owners(tmp_path) == {0, 65534}
