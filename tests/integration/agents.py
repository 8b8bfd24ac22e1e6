"""Several backends on one segment, each an agent and a server, and a sender that decides who gets each packet.

The sender plays all nodes at once: what the client sends to the VIP goes into GRE towards the backend, with the
stamp, key and mark, that a test has chosen last. Answers come straight back (direct server return).
"""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import yaml

from lbnode.dataplane.backend import BackendDataPlane, Snapshot
from lbnode.model.ids import BackendId
from lbnode.netdev import bpffs
from tests.integration.cable import Cable, enter, eventually, inside, ip
from tests.integration.memory import FLEET
from tests.integration.tunnel import CLIENT, NODE, Node, open_tunnel

VIP = IPv4Address("192.0.2.80")
PORT = 80
FIRST_ID = 7
PACKET_BYTES = 1 << 16
PASS = Path(__file__).resolve().parents[2] / "lbnode" / "bpf" / "build" / "pass.bpf.o"


@dataclass(slots=True)
class Member:
    """One backend: its namespace, its files, its processes."""

    number: int
    namespace: str
    directory: Path
    stack: ExitStack

    @property
    def name(self) -> str:
        return f"b{self.number}"

    @property
    def id(self) -> BackendId:
        return BackendId(FIRST_ID + self.number - 1)

    @property
    def address(self) -> IPv4Address:
        return NODE + self.number

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def start(self, store: Path, **settings: Any) -> subprocess.Popen[bytes]:
        """Run the agent until the test ends; returns once it serves the VIP with its peers known."""
        known = {
            "name": self.name,
            "fleet": FLEET,
            "address": str(self.address),
            "interface": "eth0",
            "store": {"kind": "file", "path": str(store)},
            "state_dir": str(self.directory / "state"),
            "run_dir": str(self.directory / "run"),
            **settings,
        }
        (self.directory / "lbbackend.yaml").write_text(yaml.safe_dump(known))
        with (self.directory / "log").open("wb") as log:
            agent = subprocess.Popen(self._command("run"), stderr=log)
        self.stack.callback(_end, agent)
        eventually(f"{self.name} serves", lambda: agent.poll() is not None or self._is_ready())
        assert agent.poll() is None, self.log
        return agent

    def _is_ready(self) -> bool:
        return "vips=1" in self.log and "attached" in self.log

    def snapshot(self) -> Snapshot:
        """What the kernel holds for this backend."""
        found = BackendDataPlane.read(self.directory / "run" / "bpf")
        assert found is not None
        return found

    def unload(self) -> None:
        """Undo all that the agent did; it must not run."""
        subprocess.run(self._command("unload"), capture_output=True, timeout=30, check=True)

    def counted(self, outcome: str) -> int:
        """Packets with that outcome since the maps were made."""
        return self.snapshot().counters[outcome].packets

    def _command(self, *words: str) -> list[str]:
        lbbackend = str(Path(sys.executable).with_name("lbbackend"))
        config = ["--config", str(self.directory / "lbbackend.yaml")]
        return ["nsenter", f"--net=/run/netns/{self.namespace}", lbbackend, *words, *config]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


@dataclass(slots=True)
class Sender:
    """Where the client's next packets go, and how they are wrapped. `last` is the last one that was sent."""

    raw: socket.socket
    to: IPv4Address
    node: Node = field(default_factory=Node)
    last: bytes = b""

    def aim(self, member: Member, *alternates: Member, stamp: int, marked: bool = False) -> None:
        """Send to `member`; the key names `alternates`, and there is none without them."""
        ids = [*(other.id for other in alternates), 0, 0]
        self.node.key = ids[0] << 16 | ids[1] if alternates else None
        self.node.stamp, self.node.is_marked, self.to = stamp, marked, member.address

    def send(self, packet: bytes) -> None:
        """Wrap and send an inner packet."""
        self.last = packet
        self.node.destination = self.to
        self.raw.sendto(self.node.wrap(packet), (str(self.to), 0))

    def follow(self, device: int, stop: int) -> None:
        """Send what the client's TCP sends, until `stop` becomes readable."""
        while True:
            ready, _, _ = select.select([device, stop], [], [])
            if stop in ready:
                return
            packet = os.read(device, PACKET_BYTES)
            if packet[0] >> 4 == 4:
                self.send(packet)


@dataclass(slots=True)
class Segment:
    """The client's and nodes' namespace (`far`), the bridge's (`hub`), the backends, and the sender."""

    far: str
    hub: str
    members: list[Member]
    sender: Sender

    def connect(self, source_port: int = 0) -> socket.socket:
        """Return a connection from the client to the VIP."""
        return inside(
            self.far,
            lambda: socket.create_connection((str(VIP), PORT), timeout=10, source_address=("", source_port)),
        )


def ask(connection: socket.socket, word: str) -> str:
    """Send a line and return the answering server's name; the rest of the answer must be the line."""
    connection.sendall(f"{word}\n".encode())
    answer = b""
    while not answer.endswith(b"\n"):
        part = connection.recv(1 << 16)
        assert part, "closed"
        answer += part
    name, said = answer.decode().strip().split(":")
    assert said == word
    return name


@contextmanager
def segment(directory: Path, count: int) -> Iterator[Segment]:
    """Make the namespaces, the bridge between them and the servers; take all away at the end."""
    with ExitStack() as stack:
        tag = f"eks{os.getpid()}"
        far, hub = f"{tag}f", f"{tag}h"
        members = [Member(n, f"{tag}b{n}", folder(directory / f"b{n}"), stack) for n in range(1, count + 1)]
        for namespace in (far, hub, *(member.namespace for member in members)):
            ip("netns", "add", namespace)
            stack.callback(ip, "netns", "del", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", hub, "link", "add", "br0", "type", "bridge")
        ip("-n", hub, "link", "set", "br0", "mtu", "1600", "up")
        plug(hub, far, NODE)
        for member in members:
            plug(hub, member.namespace, member.address)
            stack.callback(bpffs.unmount, member.directory / "run" / "bpf")
            ip("-n", member.namespace, "route", "add", f"{CLIENT}/32", "via", str(NODE))
            stack.enter_context(serving(member))
        sender = stack.enter_context(_sending(far, members[0]))
        yield Segment(far, hub, members, sender)


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def plug(hub: str, namespace: str, address: IPv4Address) -> None:
    """A cable to the bridge; its far end has an XDP program, because a backend may answer with XDP_TX."""
    port = f"p{int(address) & 0xFF}"
    end = ["type", "veth", "peer", "name", "eth0", "netns", namespace, "mtu", "1600"]
    ip("link", "add", port, "netns", hub, "mtu", "1600", *end)
    ip("-n", hub, "link", "set", port, "xdpdrv", "obj", str(PASS), "sec", "xdp")
    ip("-n", hub, "link", "set", port, "master", "br0")
    ip("-n", hub, "link", "set", port, "up")
    ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
    ip("-n", namespace, "link", "set", "eth0", "up")


@contextmanager
def _sending(far: str, first: Member) -> Iterator[Sender]:
    cable = Cable(far, first.namespace)
    device, raw = inside(far, open_tunnel)
    stop_read, stop_write = os.pipe()
    sender = Sender(raw, first.address)
    thread = threading.Thread(target=sender.follow, args=(device, stop_read))
    try:
        ip("-n", cable.far, "addr", "add", f"{CLIENT}/32", "dev", "lo")
        ip("-n", cable.far, "link", "set", "tunnel", "up")
        ip("-n", cable.far, "route", "add", f"{VIP}/32", "dev", "tunnel", "src", str(CLIENT))
        thread.start()
        yield sender
    finally:
        os.close(stop_write)
        if thread.ident is not None:
            thread.join()
        for descriptor in (device, stop_read):
            os.close(descriptor)
        raw.close()


@contextmanager
def serving(member: Member) -> Iterator[None]:
    """Answer each line with the member's name and the line; a line "bye" closes the connection."""
    listener = inside(member.namespace, lambda: socket.create_server(("0.0.0.0", PORT)))
    connections: list[socket.socket] = []

    def run() -> None:
        enter(member.namespace)
        while True:
            ready, _, _ = select.select([listener, *connections], [], [], 0.2)
            if stopping.is_set():
                return
            for each in ready:
                if each is listener:
                    connections.append(listener.accept()[0])
                elif not _answer(each, member.name):
                    connections.remove(each)
                    each.close()

    stopping = threading.Event()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        for each in (*connections, listener):
            each.close()


def _answer(connection: socket.socket, name: str) -> bool:
    """Answer a line, however many segments it comes in; False at the end."""
    said = b""
    try:
        while not said.endswith(b"\n"):
            part = connection.recv(1 << 16)
            if not part:
                return False
            said += part
        connection.sendall(f"{name}:".encode() + said)
    except OSError:
        return False
    return said != b"bye\n"


def segment_of(packet: bytes, ahead: int) -> bytes:
    """Return the TCP packet with its sequence number moved ahead; checksums are left as they were."""
    header = (packet[0] & 15) * 4
    (number,) = struct.unpack_from("!I", packet, header + 4)
    moved = struct.pack("!I", number + ahead & 0xFFFFFFFF)
    return packet[: header + 4] + moved + packet[header + 8 :]
