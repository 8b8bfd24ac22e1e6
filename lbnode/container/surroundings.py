"""Looking at the container: its rights, its name, the routers' addresses, and its own towards them."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from pathlib import Path

from lbnode.container.errors import ContainerError
from lbnode.container.identity import Surroundings

NAMES_S = 30.0
"""How long the engine's name service may take until it knows the routers."""

POLL_S = 0.2
SIOCGIFADDR = 0x8915
CAPABILITIES = {"NET_ADMIN": 12, "SYS_ADMIN": 21}
"""What both daemons need in a container, and its bit in the kernel (capabilities(7))."""


def check_rights(status: str) -> None:
    """Raise ContainerError when a right is missing; `status` is the text of /proc/self/status."""
    line = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    held = int(line.split()[1], 16)
    missing = [name for name, bit in CAPABILITIES.items() if not held >> bit & 1]
    if missing:
        raise ContainerError(
            f"capabilities are missing: {', '.join(missing)}; give the service `cap_add: [{', '.join(missing)}]`"
        )


def check_fleet_file(path: str) -> None:
    """Raise ContainerError when the fleet's file, which every node would wait for, is not in the container."""
    if path and not os.access(path, os.R_OK):
        raise ContainerError(
            f"EVENKEEL_FLEET_FILE: {path}: not there, or not readable; mount a folder that has it: "
            "EVENKEEL_FLEET_DIR=./deploy/compose"
        )


def look(routers: Sequence[str]) -> Surroundings:
    """Return what the engine gave this container. Waits until all `routers` have addresses. Raises ContainerError."""
    check_rights(Path("/proc/self/status").read_text())
    found = tuple(resolve(name, time.monotonic, pause) for name in routers)
    address = address_towards(found[0])
    return Surroundings(socket.gethostname(), interface_of(address), address, found)


def pause(seconds: float) -> None:
    """Sleep, unless the container is told to stop: then end this process, which has nothing to leave yet."""
    if signal.sigtimedwait({signal.SIGTERM, signal.SIGINT}, seconds):
        raise SystemExit(0)


def resolve(name: str, clock: Callable[[], float], sleep: Callable[[float], None]) -> IPv4Address:
    """Return the address of `name`, which the engine may know only in a moment. Raises ContainerError."""
    until = clock() + NAMES_S
    while True:
        try:
            return IPv4Address(socket.gethostbyname(name))
        except OSError as error:
            if clock() >= until:
                raise ContainerError(
                    f"EVENKEEL_ROUTER: {name}: {error.strerror}; is the router up, and on a network of this service?"
                ) from error
        sleep(POLL_S)


def address_towards(router: IPv4Address) -> IPv4Address:
    """Return the container's own address on the way to `router`. Raises ContainerError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(router), 9))
        except OSError as error:
            raise ContainerError(
                f"no way to router {router}: {error.strerror}; put both on one network"
            ) from error
        return IPv4Address(probe.getsockname()[0])


def interface_of(address: IPv4Address) -> str:
    """Return the interface that has `address`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe, SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:
                continue
            if answer[20:24] == address.packed:
                return name
    raise ContainerError(f"no interface has {address}; restart the container")


def route_answers(router: IPv4Address) -> None:
    """Let all that leaves the fleet's network leave through the router: it knows the clients, the engine does not."""
    done = subprocess.run(
        ["ip", "route", "replace", "default", "via", str(router)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ContainerError(f"default route via {router}: {done.stderr.strip()}; put both on one network")
