from __future__ import annotations

import os
from pathlib import Path

import pytest

from lbnode.daemon.errors import DaemonError
from lbnode.daemon.lock import lock_file, locked, running_pid


def test_a_second_daemon_of_an_instance_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    with locked(tmp_path, "lbnode"):
        refused = pytest.raises(DaemonError, match=f"lbnode runs as process {os.getpid()}; stop it first")
        with refused, locked(tmp_path, "lbnode"):
            raise AssertionError("two daemons of one instance")
        assert running_pid(tmp_path, "lbnode") == os.getpid()


def test_a_node_and_an_agent_may_share_a_run_directory(tmp_path: Path) -> None:
    with locked(tmp_path, "lbnode"), locked(tmp_path, "lbbackend"):
        pass


def test_a_lock_ends_with_its_holder_and_the_file_that_stays_means_nothing(tmp_path: Path) -> None:
    with locked(tmp_path, "lbnode"):
        pass
    assert lock_file(tmp_path, "lbnode").exists()
    assert running_pid(tmp_path, "lbnode") is None
    with locked(tmp_path, "lbnode"):
        pass


def test_a_directory_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DaemonError, match=r"file.*set run_dir"), locked(tmp_path / "file" / "run", "lbnode"):
        raise AssertionError("locked in a directory that cannot be")
