"""The compose file as an operator uses it, and what of it can be seen from outside: containers, routes, status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from tests.compose.engine import DOCKER, Engine
from tests.compose.http_crowd import Look
from tests.compose.shell import run

CLONE = Path(__file__).resolve().parents[2]
COMPOSE = tuple(os.environ.get("COMPOSE", "/usr/bin/docker-compose").split())
"""Debian's by default; `COMPOSE="docker compose" make compose` tries the plugin."""

VIP = "192.0.2.10"
COMMAND_S = 300.0
POLL_S = 0.1


@dataclass(slots=True)
class Project:
    """One project of the compose file on an engine."""

    engine: Engine
    name: str = "fleet"
    variables: dict[str, str] = field(default_factory=dict)
    command: tuple[str, ...] = COMPOSE

    def compose(self, *words: str, timeout_s: float = COMMAND_S, check: bool = True) -> str:
        """Run `docker-compose …` and return what it printed."""
        done = run(
            [*self.command, "--project-name", self.name, *words],
            timeout_s=timeout_s,
            environment={**self.engine.environment, **self.variables},
            directory=CLONE,
            check=check,
        )
        return done.stdout

    def scale(self, **services: int) -> None:
        """Have so many containers of these services, and leave all others as they are."""
        wanted = [word for name, count in services.items() for word in ("--scale", f"{name}={count}")]
        others = {"node", "backend"} - services.keys()
        for name in others:
            wanted += ["--scale", f"{name}={len(self.containers(name))}"]
        self.compose("up", "--detach", "--no-recreate", *wanted)

    def renew(self, service: str) -> None:
        """Give every container of a service the image of now, one by one, with the command for operators."""
        names = {"COMPOSE": " ".join(self.command), "COMPOSE_PROJECT_NAME": self.name}
        environment = {**self.engine.environment, **self.variables, **names}
        run([CLONE / "deploy/renew-containers", service], timeout_s=COMMAND_S, environment=environment)

    def down(self) -> None:
        """Stop and remove everything."""
        self.compose("down", "--volumes")

    def left(self) -> list[str]:
        """Return the engine's containers, networks and volumes, but for those networks that it always has."""
        networks = self.engine.docker("network", "ls", "--format", "{{.Name}}").split()
        return [
            *self.engine.docker("ps", "--all", "--format", "{{.Names}}").split(),
            *(name for name in networks if name not in ("bridge", "host", "none")),
            *self.engine.docker("volume", "ls", "--quiet").split(),
        ]

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's running containers."""
        labels = {"project": self.name, "service": service}
        filters = [f"--filter=label=com.docker.compose.{key}={value}" for key, value in labels.items()]
        return self.engine.docker("ps", "--quiet", "--no-trunc", *filters).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what the engine says of a container."""
        found: dict[str, Any] = json.loads(self.engine.docker("inspect", container))[0]
        return found

    def address(self, container: str) -> IPv4Address:
        """Return a container's address on the fleet's network."""
        networks = self.inspect(container)["NetworkSettings"]["Networks"]
        return IPv4Address(networks[f"{self.name}_fleet"]["IPAddress"])

    def unhealthy(self) -> dict[str, str]:
        """Return the health of each container that has a health check and is not healthy."""
        running = self.engine.docker("ps", "--quiet").split()
        health = {one: self.inspect(one)["State"].get("Health", {"Status": "healthy"}) for one in running}
        return {one: found["Status"] for one, found in health.items() if found["Status"] != "healthy"}

    def log(self, container: str) -> list[str]:
        """Return the lines of a container's log, those of both streams."""
        done = run([DOCKER, "logs", container], environment=self.engine.environment)
        return (done.stdout + done.stderr).splitlines()

    def ask(self, vip: str = VIP, timeout_s: float = 2.0) -> str:
        """Return what a VIP answers to a client; empty when nobody does."""
        command = ("curl", "-s", "-m", str(timeout_s), f"http://{vip}/")
        return self.compose("exec", "-T", "client", *command, check=False).strip()

    def upload(self, size: int, rate: str) -> str:
        """Send a file of `size` bytes, `rate` bytes a second; return the answer's status."""
        line = f"head -c {size} /dev/zero | curl -s -m 120 -o /dev/null -w '%{{http_code}}' --limit-rate {rate} -T - "
        url = f"http://{VIP}/upload/{time.monotonic_ns()}"
        return self.compose("exec", "-T", "client", "sh", "-c", line + url, check=False).strip()

    def status(self) -> dict[str, Any]:
        """Return the fleet's status as the first node that runs tells it."""
        container = self.containers("node")[0]
        found: dict[str, Any] = json.loads(self.engine.docker("exec", container, "lbctl", "status", "--json"))
        return found

    def into(self, service: str) -> list[str]:
        """Return the words that run a command of this machine in the network of a service's first container."""
        return ["nsenter", f"--net=/proc/{self.inspect(self.containers(service)[0])['State']['Pid']}/ns/net"]

    def ecmp(self, inside: list[str]) -> frozenset[IPv4Address]:
        """Return the nodes that the router sends the VIP's packets to; `inside`: `into("router")`."""
        done = run([*inside, "ip", "-j", "route", "show", VIP])
        found = set()
        for route in json.loads(done.stdout or "[]"):
            hops = route.get("nexthops") or [route]
            found |= {IPv4Address(hop["gateway"]) for hop in hops}
        return frozenset(found)

    def deaths(self, since: float) -> dict[str, tuple[float, int]]:
        """Return which containers' process 1 ended since then: id → when, on the wall clock, and with what status."""
        words = (
            "events",
            "--since",
            f"{since:.3f}",
            "--until",
            f"{time.time():.3f}",
            "--filter",
            "event=die",
        )
        lines = self.engine.docker(*words, "--format", "{{json .}}").splitlines()
        events = [json.loads(line) for line in lines]
        return {
            event["id"]: (event["timeNano"] / 1e9, int(event["Actor"]["Attributes"]["exitCode"]))
            for event in events
        }


class RouterWatch:
    """Looks at the router's ECMP ten times a second, and remembers when it last had each node."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._inside = project.into("router")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.last_seen: dict[IPv4Address, float] = {}

    def __enter__(self) -> RouterWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(POLL_S):
            seen = self._project.ecmp(self._inside)
            self.last_seen |= dict.fromkeys(seen, time.time())


class CrowdProcess:
    """The crowd in the client container's network."""

    def __init__(self, project: Project, flows: int) -> None:
        self._process = subprocess.Popen(
            [
                *project.into("client"),
                sys.executable,
                "-m",
                "tests.compose.http_crowd",
                VIP,
                "80",
                str(flows),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=CLONE,
        )

    def look(self) -> Look:
        """Return how the connections are now."""
        return self._command("look")

    def finish(self) -> Look:
        """Return how they were, when all have answered once more."""
        return self._command("finish")

    def close(self) -> None:
        """End what is left."""
        self._process.kill()
        self._process.communicate()

    def _command(self, word: str) -> Look:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return Look(**json.loads(self._process.stdout.readline()))


@contextmanager
def crowd(project: Project, flows: int) -> Iterator[CrowdProcess]:
    """A crowd of `flows` connections; it ends with the block."""
    process = CrowdProcess(project, flows)
    try:
        yield process
    finally:
        process.close()
