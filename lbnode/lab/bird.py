"""BIRD 2 as a router: its configuration as text, its process, and questions through its control socket.

The router takes any number of nodes from address ranges (dynamic BGP), so nodes come and go without touching
it, and installs their routes as ECMP next hops in the kernel.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from dataclasses import dataclass
from io import BufferedReader
from ipaddress import IPv4Address, ip_address
from pathlib import Path

from lbnode.lab import processes
from lbnode.lab.errors import LabError
from lbnode.lab.processes import Process
from lbnode.model.ids import IPAddress, IPNetwork

START_S = 5.0
STOP_S = 5.0
POLL_S = 0.02

SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv4.fib_multipath_hash_policy": "1",
    "net.ipv6.fib_multipath_hash_policy": "1",
}
"""What the router's network namespace needs: forwarding, and ECMP over the layer-4 hash."""


class BirdError(LabError):
    """BIRD could not be started, asked or stopped."""


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """Who the router is, and from which ranges nodes of AS `node_as` may open a session."""

    router_id: IPv4Address
    local_as: int
    node_as: int
    node_ranges: tuple[IPNetwork, ...]
    hold_time_s: int = 3
    md5_password: str | None = None
    ttl_security: bool = False


@dataclass(frozen=True, slots=True)
class BgpRoute:
    """One way to a prefix, as the router learned it from a node."""

    prefix: IPNetwork
    next_hop: IPAddress
    communities: tuple[str, ...]


def configuration(settings: RouterSettings) -> str:
    """Return BIRD's configuration file.

    All nodes have one AS, so routes of equal preference are merged into one ECMP route of the kernel.
    Graceful restart is off: a node whose session ends is out at once.
    """
    bgp = "\n".join(_bgp(settings, number, nodes) for number, nodes in enumerate(settings.node_ranges))
    return f"""\
log stderr {{ info, remote, warning, error, auth, fatal, bug }};
router id {settings.router_id};

protocol device {{ scan time 1; }}
protocol direct {{ ipv4; ipv6; }}
{_kernel(4)}
{_kernel(6)}
{bgp}"""


def _kernel(version: int) -> str:
    return f"""\
protocol kernel kernel{version} {{
    ipv{version} {{
        import none;
        export where source = RTS_BGP;
    }};
    merge paths on;
    scan time 1;
}}"""


def _bgp(settings: RouterSettings, number: int, nodes: IPNetwork) -> str:
    password = f'\n    password "{settings.md5_password}";' if settings.md5_password else ""
    ttl = "\n    ttl security on;" if settings.ttl_security else ""
    channel = "import all; export none;"
    return f"""\
protocol bgp nodes{number} {{
    local as {settings.local_as};
    neighbor range {nodes} as {settings.node_as};
    dynamic name "node{number}_";
    hold time {settings.hold_time_s};
    error wait time 1, 2;
    error forget time 5;
    graceful restart off;{password}{ttl}
    ipv4 {{ {channel} }};
    ipv6 {{ {channel} }};
}}
"""


def start(namespace: str, settings: RouterSettings, directory: Path) -> Process:
    """Start BIRD as `settings` say; otherwise as `start_with`."""
    return start_with(namespace, configuration(settings), directory)


def start_with(namespace: str, text: str, directory: Path) -> Process:
    """Start BIRD in a network namespace, its files in `directory`, `text` among them; return when it answers.

    It lives on when the caller ends: keep what is returned for `stop`. Raises BirdError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    file, log = directory / "bird.conf", directory / "bird.log"
    file.write_text(text)
    log.unlink(missing_ok=True)
    control = Control(directory)
    process = processes.start(namespace, ["bird", "-f", "-c", str(file), "-s", str(control.path)], log)
    deadline = time.monotonic() + START_S
    while not control.answers():
        alive = processes.is_alive(process)
        if not alive or time.monotonic() > deadline:
            processes.kill(process)
            why = f"no answer in {START_S:g} s" if alive else "it ended"
            raise BirdError(f"start bird in {namespace}: {why}: {processes.tail(log)}")
        time.sleep(POLL_S)
    return process


def stop(process: Process) -> None:
    """End BIRD and wait: its sessions end with a word to the nodes, its routes leave the kernel."""
    if not processes.is_alive(process):
        return
    os.kill(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while processes.is_alive(process):
        if time.monotonic() > deadline:
            processes.kill(process)
            raise BirdError(
                f"stop bird (pid {process.pid}): killed: it ran on for {STOP_S:g} s after SIGTERM"
            )
        time.sleep(POLL_S)


class Control:
    """Questions to the BIRD whose files lie in `directory`, through its control socket."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "bird.ctl"

    def answers(self) -> bool:
        """Say whether somebody answers."""
        try:
            self.ask("show status")
        except BirdError:
            return False
        return True

    def ask(self, question: str) -> str:
        """Return the answer to a birdc command, without BIRD's reply codes. Raises BirdError."""
        try:
            with socket.socket(socket.AF_UNIX) as control:
                control.settimeout(START_S)
                control.connect(str(self.path))
                with control.makefile("rb") as lines:
                    _read_answer(lines)
                    control.sendall(question.encode() + b"\n")
                    return _read_answer(lines)
        except OSError as error:
            raise BirdError(f"ask bird on {self.path}: {error.strerror or error}: is it running?") from error

    def routes(self, prefix: IPNetwork) -> tuple[BgpRoute, ...]:
        """Return every way to `prefix` that a node announces now, in the order of next hops."""
        answer = self.ask(f"show route for {prefix} all where source = RTS_BGP")
        found = [_route(prefix, block) for block in answer.split("Type: BGP")[1:]]
        return tuple(sorted(found, key=lambda route: int(route.next_hop)))

    def sessions(self) -> dict[IPAddress, str]:
        """Return the state of each node's session ("Established", …) by the node's address."""
        answer = self.ask("show protocols all")
        found = re.findall(r"BGP state: +(\S+)\n +Neighbor address: ([^\s%/]+)(?:%\S+)?\n", answer)
        return {ip_address(address): state for state, address in found}


def _route(prefix: IPNetwork, block: str) -> BgpRoute:
    """Parse what BIRD prints of one route after its type."""
    attributes = dict(re.findall(r"BGP\.(\w+): (.*)", block))
    communities = re.findall(r"\((\d+),(\d+)\)", attributes.get("community", ""))
    return BgpRoute(
        prefix,
        ip_address(attributes["next_hop"].split()[0]),
        tuple(f"{high}:{low}" for high, low in communities),
    )


def _read_answer(lines: BufferedReader) -> str:
    """Read one answer: lines of "code-text" or " text", up to the one of "code text". Codes from 8000 are
    errors.
    """
    answer: list[str] = []
    code = ""
    while line := lines.readline().decode().rstrip("\n"):
        if not line[:4].isdigit():
            answer.append(line.removeprefix("+" if line[:1] == "+" else " "))
            continue
        code, more = line[:4], line[4:5] == "-"
        answer.append(line[5:])
        if not more:
            break
    else:
        raise BirdError("ask bird: it hung up in the middle of its answer")
    if code >= "8000" and code != "8001":
        raise BirdError(f"ask bird: {answer[-1]}")
    return "\n".join(answer)
