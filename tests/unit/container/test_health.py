"""When a container says that it is healthy, over real sockets."""

from __future__ import annotations

import fcntl
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lbnode.container.errors import ContainerError
from lbnode.container.health import check_backend, check_node

HEALTHY = """# TYPE evenkeel_announced_addresses gauge
evenkeel_announced_addresses 2.0
evenkeel_router_up{router="10.0.0.1"} 1.0
evenkeel_router_up{router="10.0.0.2"} 1.0
"""


@contextmanager
def metrics(text: str) -> Iterator[str]:
    """A node that says `text` of itself: its host:port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_node_that_announces_to_all_its_routers_is_healthy() -> None:
    with metrics(HEALTHY) as at:
        check_node(at)


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("addresses 2.0", "addresses 0.0", "no VIP is announced"),
        ('2"} 1.0', '2"} 0.0', "not up: 1 of 2"),
        ("router_up", "router", "not up: 0 of 0"),
    ],
)
def test_a_node_to_which_some_router_sends_nothing_says_why(before: str, after: str, reason: str) -> None:
    with (
        metrics(HEALTHY.replace(before, after)) as at,
        pytest.raises(ContainerError, match=re.escape(reason)),
    ):
        check_node(at)


def test_a_node_that_does_not_answer_says_where() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ContainerError, match=f"metrics at 127.0.0.1:{port}: "):
        check_node(f"127.0.0.1:{port}")


def test_a_backend_is_healthy_while_its_agent_runs_and_its_service_listens(tmp_path: Path) -> None:
    lock = tmp_path / "lbbackend.lock"
    with socket.create_server(("127.0.0.1", 0)) as service, lock.open("wb") as agent:
        port = service.getsockname()[1]
        with pytest.raises(ContainerError, match="the agent does not run"):
            check_backend(port, lock)
        fcntl.flock(agent, fcntl.LOCK_EX)
        check_backend(port, lock)
        service.close()
        with pytest.raises(ContainerError, match=f"the service at port {port}"):
            check_backend(port, lock)


def test_a_backend_whose_agent_has_not_started_yet_says_so(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="has not started yet"):
        check_backend(80, tmp_path / "lbbackend.lock")
