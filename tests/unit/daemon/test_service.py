"""What a daemon tells its service manager, heard at a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbnode.daemon.service import ServiceManager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(5)
        yield heard


def environment(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname(), **more}


def heard(manager: socket.socket) -> list[str]:
    """Everything that was said until now."""
    manager.setblocking(False)
    said = []
    while True:
        try:
            said.append(manager.recv(4096).decode())
        except BlockingIOError:
            return said


def test_ready_is_said_once(manager: socket.socket) -> None:
    service = ServiceManager.of(environment(manager))
    service.alive()
    service.alive()
    assert heard(manager) == ["READY=1"]


def test_a_watchdog_hears_of_each_turn_of_the_loop_but_not_more_often_than_it_asked(
    manager: socket.socket,
) -> None:
    service = ServiceManager.of(environment(manager, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(os.getpid())))
    assert service.interval_s == 10.0
    service.alive()
    service.alive()
    assert heard(manager) == ["READY=1", "WATCHDOG=1"]


def test_a_watchdog_for_another_process_is_none_of_ours(manager: socket.socket) -> None:
    service = ServiceManager.of(environment(manager, WATCHDOG_USEC="30000000", WATCHDOG_PID="1"))
    assert service.interval_s is None


def test_a_stop_that_takes_longer_asks_for_the_time(manager: socket.socket) -> None:
    ServiceManager.of(environment(manager)).stopping(600.0)
    assert heard(manager) == ["STOPPING=1\nEXTEND_TIMEOUT_USEC=600000000"]


def test_children_do_not_inherit_the_way_to_the_manager(manager: socket.socket) -> None:
    variables = environment(manager, WATCHDOG_USEC="1", WATCHDOG_PID="1", PATH="/bin")
    ServiceManager.of(variables)
    assert variables == {"PATH": "/bin"}


def test_without_a_manager_nothing_is_said_and_nothing_fails() -> None:
    service = ServiceManager.of({})
    service.alive()
    service.stopping(1.0)
    assert service.interval_s is None


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0evenkeel-test-{os.getpid()}")
        ServiceManager.of({"NOTIFY_SOCKET": f"@evenkeel-test-{os.getpid()}"}).alive()
        assert heard(manager) == ["READY=1"]


def test_a_manager_that_is_gone_does_not_stop_the_daemon(tmp_path: Path) -> None:
    ServiceManager.of({"NOTIFY_SOCKET": str(tmp_path / "gone")}).alive()
