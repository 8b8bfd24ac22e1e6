"""Process 1 over real processes: shells that stand for the daemon and the service, and write down what they hear."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cable import eventually

PROGRAM = """
import ctypes, sys
from lbnode.container.supervision import Part
from lbnode.container.supervisor import Supervisor
daemon, service = (["bash", "-c", script] for script in sys.argv[1:])
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans become its children, as those of process 1 do
sys.exit(Supervisor({Part.DAEMON: daemon, Part.SERVICE: service}).run())
"""
WAIT = "while :; do sleep 0.05; done"
END_S = 15.0

Begin = Callable[[str, str], subprocess.Popen[str]]


@pytest.fixture
def words(tmp_path: Path) -> Callable[[], list[str]]:
    """What the two processes have written into `$words`."""
    return lambda: (tmp_path / "words").read_text().split() if (tmp_path / "words").exists() else []


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    def run(daemon: str, service: str) -> subprocess.Popen[str]:
        prelude = f"say() {{ echo $1 >>{tmp_path}/words; }}; "
        arguments = [prelude + daemon, prelude + service]
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments], stderr=subprocess.PIPE, text=True
        )

    return run


def test_a_stop_while_the_container_still_waits_for_its_router_ends_it_at_once() -> None:
    """As process 1 of a process namespace, where the kernel drops what is neither handled nor blocked."""
    environment = {**os.environ, "EVENKEEL_ROUTER": "no-such-router.invalid"}
    command = ["unshare", "--pid", "--fork", sys.executable, "-m", "lbnode.container", "node"]
    container = subprocess.Popen(command, env=environment)
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
    try:
        first = int(eventually("process 1 runs", lambda: children.read_text().split())[0])
        eventually("it takes signals", lambda: keeps(first, signal.SIGTERM))
        os.kill(first, signal.SIGTERM)
        assert container.wait(END_S) == 0
    finally:
        for pid in map(int, children.read_text().split() if container.poll() is None else ()):
            os.kill(pid, signal.SIGKILL)
        container.kill()
        container.wait()


def keeps(pid: int, number: signal.Signals) -> bool:
    """Whether a process waits for a signal, or keeps it for later."""
    if "sigtimedwait" in Path(f"/proc/{pid}/wchan").read_text():
        return True
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigBlk" in line)
    return bool(int(line.split()[1], 16) >> (number - 1) & 1)


def test_a_stop_ends_first_the_daemon_then_the_service(begin: Begin, words: Callable[[], list[str]]) -> None:
    daemon = f"trap 'sleep 0.3; say left; exit 0' TERM; say up; {WAIT}"
    service = f"trap 'say closed; exit 0' QUIT; trap '' TERM; say serving; {WAIT}"
    container = begin(daemon, service)
    eventually("both run", lambda: len(words()) == 2)
    container.send_signal(signal.SIGTERM)
    assert container.wait(END_S) == 0
    assert words()[2:] == ["left", "closed"]


def test_processes_hear_what_the_one_that_started_the_container_ignores(
    begin: Begin, words: Callable[[], list[str]]
) -> None:
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        container = begin(
            f"trap 'exit 0' TERM; say up; {WAIT}", f"trap 'say closed; exit 0' QUIT; say up; {WAIT}"
        )
    finally:
        signal.signal(signal.SIGQUIT, before)
    eventually("both run", lambda: len(words()) == 2)
    container.send_signal(signal.SIGTERM)
    assert container.wait(END_S) == 0
    assert words()[2:] == ["closed"]


def test_a_service_that_ends_takes_daemon_and_container_with_it(begin: Begin) -> None:
    container = begin(f"trap '' TERM; {WAIT}", "exit 7")
    assert container.wait(END_S) == 7
    assert container.stderr is not None
    assert "the service ended with status 7" in container.stderr.read()


def test_a_daemon_that_cannot_start_has_the_last_word(begin: Begin) -> None:
    container = begin("exit 1", f"trap 'exit 0' QUIT; {WAIT}")
    assert container.wait(END_S) == 1


def test_orphans_are_reaped(begin: Begin, words: Callable[[], list[str]]) -> None:
    daemon = f"(sleep 0.5 & say $!); trap 'exit 0' TERM; {WAIT}"
    container = begin(daemon, f"trap 'exit 0' QUIT; {WAIT}")
    eventually("the orphan is known", lambda: bool(words()))
    orphan = Path(f"/proc/{words()[0]}/stat")
    eventually("it is the container's", lambda: orphan.read_text().split()[3] == str(container.pid))
    eventually("it is reaped", lambda: not orphan.exists())
    container.send_signal(signal.SIGTERM)
    assert container.wait(END_S) == 0


def test_a_command_that_is_not_there_is_named() -> None:
    program = PROGRAM.replace('["bash", "-c", script]', "[script]")
    done = subprocess.run(
        [sys.executable, "-c", program, "true", "no-such-server"],
        capture_output=True,
        text=True,
        timeout=END_S,
        check=False,
    )
    assert done.returncode != 0
    assert "start no-such-server: No such file or directory; correct the container's `command`" in done.stderr
