"""The copy of the last view on a daemon's disk."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lbnode.model.ids import EpochNumber, NodeName
from lbnode.model.view import FleetView, IdLedger
from lbnode.store.copy import DiskCopy, Loaded
from lbnode.store.tree import StoreError
from tests.unit.store import fleets

LASTING = FleetView(
    identity=fleets.IDENTITY,
    desired=fleets.DESIRED,
    desired_version=3,
    ids=IdLedger(2, {9: 12.5}),
    nodes={fleets.NODE.name: fleets.NODE},
    backends={fleets.BACKEND.name: fleets.BACKEND},
    agents={fleets.AGENT.name: fleets.AGENT},
    epochs={fleets.WEB: {EpochNumber(1): fleets.epoch(1)}},
    current={fleets.WEB: EpochNumber(1)},
)


def test_a_saved_view_comes_back_without_who_was_connected(tmp_path: Path) -> None:
    view = replace(
        LASTING,
        live_nodes={fleets.LIVE_NODE.name: fleets.LIVE_NODE},
        live_agents={fleets.LIVE_AGENT.name: fleets.LIVE_AGENT},
        leader=NodeName("n1"),
        connected=True,
        corrupt=("nodes/x: spoilt",),
    )
    assert DiskCopy(tmp_path / "state").save(view)
    assert DiskCopy(tmp_path / "state").load() == Loaded(LASTING)


def test_nothing_is_written_when_only_liveness_changed(tmp_path: Path) -> None:
    copy = DiskCopy(tmp_path)
    assert copy.save(LASTING)
    assert not copy.save(replace(LASTING, leader=NodeName("n2"), connected=True))
    assert copy.save(replace(LASTING, current={}))


def test_a_loaded_copy_is_not_written_again(tmp_path: Path) -> None:
    DiskCopy(tmp_path).save(LASTING)
    copy = DiskCopy(tmp_path)
    copy.load()
    assert not copy.save(LASTING)


def test_no_copy_is_no_problem(tmp_path: Path) -> None:
    assert DiskCopy(tmp_path / "new").load() == Loaded(None)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_copy_is_reported_and_replaced(tmp_path: Path, share: float) -> None:
    copy = DiskCopy(tmp_path)
    copy.save(LASTING)
    data = copy.path.read_bytes()
    copy.path.write_bytes(data[: int(len(data) * share)])
    again = DiskCopy(tmp_path)
    loaded = again.load()
    assert loaded.view is None
    assert str(copy.path) in loaded.problem
    assert again.save(LASTING)
    assert DiskCopy(tmp_path).load() == Loaded(LASTING)


def test_a_copy_that_somebody_else_wrote_is_not_used(tmp_path: Path) -> None:
    copy = DiskCopy(tmp_path)
    copy.save(LASTING)
    os.chown(copy.path, 65534, 65534)
    loaded = DiskCopy(tmp_path).load()
    assert loaded.view is None
    assert "written by user 65534" in loaded.problem


def test_the_copy_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    copy = DiskCopy(tmp_path / "state")
    copy.save(LASTING)
    assert copy.path.stat().st_mode & 0o777 == 0o600
    assert copy.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_state_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    copy = DiskCopy(tmp_path / "file" / "state")
    with pytest.raises(StoreError, match="file/state"):
        copy.save(LASTING)
    assert "file/state" in copy.load().problem
