"""A real ZooKeeper server for labs and tests: its configuration, its command, and whether it serves.

It runs from Debian's jars, with one server and a data directory of its own. Where and as whom it runs is the
caller's business. Nothing here is for a fleet that serves anybody: writes are not forced to the disk.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

JARS = Path("/usr/share/java")
NETTY = ("buffer", "codec", "common", "handler", "resolver", "transport", "transport-native-epoll")
"""What a server needs for TLS."""

CLASSES = ("zookeeper.jar", "slf4j-simple.jar", *(f"netty-{part}.jar" for part in NETTY))


@dataclass(frozen=True, slots=True)
class ServerTls:
    """For a server that takes clients by mutual TLS alone: PEM files, the first with both the key and its chain."""

    key_and_certificate: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One stand-alone server. Sessions last 2 to 40 ticks, as the client asks."""

    data_dir: Path
    address: str
    port: int
    tick_ms: int = 500
    tls: ServerTls | None = None

    def text(self) -> str:
        """Return the server's configuration file, zoo.cfg."""
        lines = (
            f"tickTime={self.tick_ms}",
            f"minSessionTimeout={2 * self.tick_ms}",
            f"maxSessionTimeout={40 * self.tick_ms}",
            f"dataDir={self.data_dir}",
            *self._ports(),
            "admin.enableServer=false",
            "4lw.commands.whitelist=ruok,srvr",
            "maxClientCnxns=0",
        )
        return "\n".join(lines) + "\n"

    def _ports(self) -> tuple[str, ...]:
        if self.tls is None:
            return f"clientPortAddress={self.address}", f"clientPort={self.port}"
        return (
            f"secureClientPortAddress={self.address}",
            f"secureClientPort={self.port}",
            "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
            f"ssl.keyStore.location={self.tls.key_and_certificate}",
            f"ssl.trustStore.location={self.tls.ca}",
            "ssl.keyStore.type=PEM",
            "ssl.trustStore.type=PEM",
            "ssl.clientAuth=need",
            "ssl.hostnameVerification=false",
        )


def command(config_file: Path) -> tuple[str, ...]:
    """Return the command that runs a server in the foreground; it logs warnings to stderr."""
    class_path = ":".join(str(JARS / jar) for jar in CLASSES)
    return (
        "java",
        "-Xmx96m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dzookeeper.jmx.log4j.disable=true",
        "-Dzookeeper.forceSync=no",
        "-cp",
        class_path,
        "org.apache.zookeeper.server.quorum.QuorumPeerMain",
        str(config_file),
    )


def is_ready(address: str, port: int, timeout_s: float = 1.0) -> bool:
    """Return whether a server at `address` serves clients: it answers `srvr` with its mode."""
    try:
        with socket.create_connection((address, port), timeout_s) as connection:
            connection.sendall(b"srvr")
            answer = connection.makefile("rb").read()
    except OSError:
        return False
    return b"Mode:" in answer
