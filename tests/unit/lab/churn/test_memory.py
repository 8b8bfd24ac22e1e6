from __future__ import annotations

from pathlib import Path
from threading import Timer

import pytest

from lbnode.lab.churn.memory import await_epoch
from lbnode.lab.errors import OverdueError
from lbnode.store.copy import DiskCopy
from tests.unit.core.fleets import current, fleet, settle, view_of


def test_a_node_that_has_just_started_is_given_time_to_write_its_copy(tmp_path: Path) -> None:
    view = settle(view_of(fleet("b1", "b2")))
    writer = Timer(0.3, DiskCopy(tmp_path).save, (view,))
    writer.start()
    try:
        identity, epoch = await_epoch(DiskCopy(tmp_path), "n1")
    finally:
        writer.join()
    assert (identity, epoch) == (view.identity, current(view))


def test_a_copy_without_an_epoch_is_waited_for_and_then_named(tmp_path: Path) -> None:
    DiskCopy(tmp_path).save(view_of(fleet("b1")))
    with pytest.raises(OverdueError, match=r"n1 to have an epoch on its disk: not within 0\.2 s"):
        await_epoch(DiskCopy(tmp_path), "n1", 0.2)
