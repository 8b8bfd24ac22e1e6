"""A router and nodes in network namespaces of their own: real BIRD on one side, real ExaBGP on the other."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar

import pytest

from lbnode.lab import bird, namespaces, processes
from lbnode.lab.bird import BgpRoute, Control, RouterSettings
from lbnode.lab.processes import Process
from lbnode.lab.shell import environment, inside, run, run_script

T = TypeVar("T")
PATIENCE_S = 20.0
POLL_S = 0.02
ROUTER_AS = 65000
NODE_AS = 65001
NODES = IPv4Network("10.80.0.0/24")
NODES6 = IPv6Network("fd80::/64")

_numbers = itertools.count(1)


def eventually(what: str, holds: Callable[[], T | None], patience_s: float = PATIENCE_S) -> T:
    """Poll until `holds` gives something true and return that; fail, naming `what`, when it does not in
    time.
    """
    deadline = time.monotonic() + patience_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what}: not within {patience_s} s"
        time.sleep(POLL_S)
    return found


class Router:
    """The router: a namespace with a bridge for its nodes, and BIRD."""

    def __init__(self, tag: str, directory: Path, stack: ExitStack) -> None:
        self.namespace = f"{tag}r"
        self.directory = directory
        self.address = NODES[1]
        self.address6 = NODES6[1]
        self.protection: dict[str, Any] = {}
        self.control = Control(directory)
        self._process: Process | None = None
        make_namespace(self.namespace, stack)
        sysctls = " ".join(f"{name}={value}" for name, value in bird.SYSCTLS.items())
        run_script(
            self.namespace,
            [
                f"sysctl -q -w {sysctls}",
                "ip link set lo up",
                "ip link add nodes type bridge forward_delay 0",
                f"ip addr add {self.address}/24 dev nodes",
                f"ip addr add {self.address6}/64 dev nodes nodad",
                "ip link set nodes up",
            ],
        )

    def start(self) -> None:
        settings = RouterSettings(
            IPv4Address(self.address), ROUTER_AS, NODE_AS, (NODES, NODES6), **self.protection
        )
        self._process = bird.start(self.namespace, settings, self.directory)

    def start_with(self, text: str) -> None:
        """Start BIRD with a configuration of one's own."""
        self._process = bird.start_with(self.namespace, text, self.directory)

    def stop(self) -> None:
        assert self._process is not None
        bird.stop(self._process)

    def kill(self) -> None:
        assert self._process is not None
        processes.kill(self._process)

    def routes(self, prefix: str) -> tuple[BgpRoute, ...]:
        return self.control.routes(ip_network(prefix))

    def counter(self, name: str) -> int:
        """A counter of the router's network stack."""
        return counter(self.namespace, name)

    def next_hops(self, prefix: str) -> set[str]:
        """The next hops of `prefix` in the kernel's table."""
        text = run(
            inside(self.namespace, ["ip", "-6" if ":" in prefix else "-4", "-j", "route", "show", prefix])
        )
        hops = [hop for route in json.loads(text or "[]") for hop in route.get("nexthops", [route])]
        return {hop["gateway"] for hop in hops if "gateway" in hop}


class Node:
    """A node: a namespace plugged into the router's bridge, and a run directory that outlives its daemons."""

    def __init__(self, tag: str, number: int, router: Router, directory: Path, stack: ExitStack) -> None:
        self.namespace = f"{tag}n{number}"
        self.address = str(NODES[10 + number])
        self.address6 = str(NODES6[10 + number])
        self.run_dir = directory
        self._stack = stack
        self._router = router
        make_namespace(self.namespace, stack)
        run_script(
            router.namespace,
            [
                f"ip link add n{number} type veth peer name eth0 netns {self.namespace}",
                f"ip link set n{number} master nodes up",
            ],
        )
        run_script(
            self.namespace,
            [
                "ip link set lo up",
                f"ip addr add {self.address}/24 dev eth0",
                f"ip addr add {self.address6}/64 dev eth0 nodad",
                "ip link set eth0 up",
            ],
        )

    def settings(self, **changes: object) -> dict[str, Any]:
        """Settings of a speaker with one IPv4 session to the router; `changes` to that neighbor."""
        neighbor = {
            "address": str(self._router.address),
            "peer_as": ROUTER_AS,
            "local_address": self.address,
            **changes,
        }
        return {"router_id": self.address, "local_as": NODE_AS, "neighbors": [neighbor]}

    def daemon(self, settings: dict[str, Any] | None = None, adopt_s: float = 30.0) -> Daemon:
        """Start a daemon on this node."""
        arguments = {
            "run_dir": str(self.run_dir),
            "adopt_s": adopt_s,
            "settings": self.settings() if settings is None else settings,
        }
        return self._stack.enter_context(Daemon(self.namespace, arguments))

    def counter(self, name: str) -> int:
        """A counter of the node's network stack."""
        return counter(self.namespace, name)

    def cut(self) -> None:
        """Cut the cable without a word, as a dying machine does."""
        run_script(self._router.namespace, [f"ip link set n{self.namespace.rpartition('n')[2]} nomaster"])


class Daemon:
    """A running `node.py`: commands in, what it says kept by a thread."""

    def __init__(self, namespace: str, arguments: dict[str, Any]) -> None:
        command = [sys.executable, str(Path(__file__).with_name("node.py")), json.dumps(arguments)]
        self._process = subprocess.Popen(
            inside(namespace, command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        self.states: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        self._listener = threading.Thread(target=self._listen)
        self._listener.start()

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()

    @property
    def state(self) -> dict[str, Any]:
        """The last state that it told."""
        return eventually("a first word of the daemon", lambda: self.states)[-1]

    @property
    def exabgp(self) -> int:
        """The process id of its ExaBGP, as far as the daemon has told."""
        return int(eventually("an exabgp", lambda: self.state["pid"]))

    def announce(self, *prefixes: str, communities: Sequence[str] = ()) -> dict[str, Any]:
        """Set the routes and wait until the daemon says that they are acknowledged."""
        return self._command({"routes": {prefix: list(communities) for prefix in prefixes}})

    def end(self, how: str) -> None:
        """Let the speaker "stop" or "leave", then the daemon end."""
        self._command({"end": how})
        self.kill()

    def kill(self) -> None:
        """SIGKILL the daemon, and it alone."""
        self._process.kill()
        self._process.wait()
        self._listener.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _command(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        before = len(self.answers)
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        eventually(f"the answer to {command}", lambda: len(self.answers) > before)
        return self.answers[-1]

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            fields = json.loads(line)
            (self.answers if "done" in fields else self.states).append(fields)


def counter(namespace: str, name: str) -> int:
    """A counter of a namespace's network stack, as nstat names it."""
    kernel = json.loads(run(inside(namespace, ["nstat", "-a", "-z", "-s", "-j", name])))["kernel"]
    return int(kernel[name])


def make_namespace(name: str, stack: ExitStack) -> None:
    """Make a namespace; at the end, kill what still runs in it and delete it."""
    stack.callback(namespaces.delete, name)
    stack.callback(lambda: processes.kill_all(list(namespaces.processes_in([name]))))
    namespaces.create(name)


@pytest.fixture
def tag() -> str:
    """What the names of this test's namespaces begin with."""
    return f"ekb{os.getpid()}-{next(_numbers)}"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What has to be undone at the end, also after a failure."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def silent_router(tag: str, tmp_path: Path, stack: ExitStack) -> Router:
    """A router whose BIRD is not started yet."""
    return Router(tag, tmp_path / "router", stack)


@pytest.fixture
def router(silent_router: Router) -> Router:
    """A router that takes sessions."""
    silent_router.start()
    return silent_router


@pytest.fixture
def make_node(tag: str, silent_router: Router, tmp_path: Path, stack: ExitStack) -> Callable[[], Node]:
    """Make one more node."""
    numbers = itertools.count(1)

    def make() -> Node:
        number = next(numbers)
        return Node(tag, number, silent_router, tmp_path / f"n{number}", stack)

    return make


@pytest.fixture
def node(make_node: Callable[[], Node]) -> Node:
    """One node."""
    return make_node()
