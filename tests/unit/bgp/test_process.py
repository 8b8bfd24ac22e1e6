from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgp.errors import SpeakerError
from bgp.process import Identity, Process, recall, remember, spawn

SLEEP = ["/bin/sleep", "60"]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Process]:
    process = spawn(SLEEP, {}, tmp_path / "out")
    yield process
    if process.alive():
        os.kill(process.pid, signal.SIGKILL)
    os.waitpid(process.pid, 0)


def test_a_process_leads_a_session_of_its_own(sleeper: Process) -> None:
    assert os.getsid(sleeper.pid) == sleeper.pid


async def test_the_end_of_a_process_is_seen_and_named(sleeper: Process) -> None:
    assert not await sleeper.ended(0.0)
    await sleeper.terminate()
    assert await sleeper.ended(0.0)
    assert not sleeper.alive()


async def test_how_a_process_ended_is_told(tmp_path: Path) -> None:
    killed = spawn(SLEEP, {}, tmp_path / "out")
    os.kill(killed.pid, signal.SIGKILL)
    failed = spawn(["/bin/sh", "-c", "exit 3"], {}, tmp_path / "out")
    assert await killed.ended(5.0)
    assert await failed.ended(5.0)
    assert killed.release() == "killed by SIGKILL"
    assert failed.release() == "exited with 3"


async def test_output_and_errors_go_to_a_file_that_only_the_owner_reads(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("what an earlier one said")
    process = spawn(["/bin/sh", "-c", "echo one; echo two >&2"], {}, out)
    assert await process.ended(5.0)
    process.release()
    assert out.read_text() == "one\ntwo\n"


def test_a_process_is_found_again_by_its_pid_file(sleeper: Process, tmp_path: Path) -> None:
    remember(tmp_path / "pid", sleeper.identity)
    found = recall(tmp_path / "pid")
    assert found is not None
    assert found.identity == sleeper.identity
    assert found.release() == "still running"


def test_a_pid_that_the_kernel_gave_to_another_process_is_nobody(sleeper: Process, tmp_path: Path) -> None:
    remember(tmp_path / "pid", Identity(sleeper.pid, sleeper.identity.started_at - 1))
    assert recall(tmp_path / "pid") is None
    assert sleeper.alive()


@pytest.mark.parametrize(
    "text", ["", "4711", "[]", "{}", '{"pid": "x", "started_at": 1}', json.dumps({"pid": 1})]
)
def test_a_pid_file_that_says_nothing_useful_names_nobody(text: str, tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(text)
    assert recall(tmp_path / "pid") is None


def test_no_pid_file_names_nobody(tmp_path: Path) -> None:
    assert recall(tmp_path / "pid") is None


def test_a_command_that_does_not_exist_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SpeakerError, match="start /no/such: No such file"):
        spawn(["/no/such"], {}, tmp_path / "out")
