"""A real ZooKeeper server on a free port of the loopback, for tests: start, kill, start again, stop."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

from lbnode.lab.zookeeper import ServerConfig, ServerTls, command, is_ready

READY_S = 30.0


class ZooKeeperServer:
    """One server with a data directory under `folder`. A context manager."""

    def __init__(
        self,
        folder: Path,
        address: str = "127.0.0.1",
        port: int = 0,
        tick_ms: int = 500,
        tls: ServerTls | None = None,
    ) -> None:
        self.address = address
        self.port = port or free_port(address)
        self._folder = folder
        self._tick_ms, self._tls = tick_ms, tls
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def hosts(self) -> str:
        """What a client connects to."""
        return f"{self.address}:{self.port}"

    def start(self) -> None:
        """Start the server with the data it had, and wait until it serves."""
        data = self._folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        config = self._folder / "zoo.cfg"
        config.write_text(ServerConfig(data, self.address, self.port, self._tick_ms, self._tls).text())
        with (self._folder / "zookeeper.log").open("ab") as log:
            self._process = subprocess.Popen(
                command(config), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + READY_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(
                    f"ZooKeeper did not start: {(self._folder / 'zookeeper.log').read_text()[-2000:]}"
                )
            time.sleep(0.02)

    def _is_ready(self) -> bool:
        """By TLS nobody is told whether the server serves: that it listens must do."""
        if self._tls is None:
            return is_ready(self.address, self.port)
        with socket.socket() as probe:
            return probe.connect_ex((self.address, self.port)) == 0

    def stop(self) -> None:
        """Kill the server; its data stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Delete the data of a stopped server."""
        shutil.rmtree(self._folder / "data", ignore_errors=True)

    def backup(self, place: Path) -> None:
        """Copy the data of a stopped server."""
        shutil.copytree(self._folder / "data", place)

    def restore(self, place: Path) -> None:
        """Put a copy in the place of the data of a stopped server."""
        self.wipe()
        shutil.copytree(place, self._folder / "data")

    def __enter__(self) -> ZooKeeperServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def free_port(address: str = "127.0.0.1") -> int:
    """Return a TCP port of `address` that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
    return port
