"""`lbbackend` as an operator runs it: connections through GRE to a VIP, an agent that comes and goes."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from lbnode.model.ids import EpochNumber, NodeName, PoolName
from lbnode.model.members import NodeMember
from lbnode.model.view import FleetView
from lbnode.model.vip import ANY_PORT, Protocol, Vip
from lbnode.netdev import bpffs
from lbnode.store.files import FileTree
from lbnode.store.fleet import FleetStore
from tests.integration import cable as cables
from tests.integration import tunnel
from tests.integration.cable import Cable, eventually, inside, ip, ip_json
from tests.integration.tunnel import BACKEND, NODE, Node
from tests.unit.backend import fleets

VIP = IPv4Address("192.0.2.80")
PREFIX = IPv4Network("203.0.113.0/28")
PORT = 80
STRANGER = IPv4Address("10.0.0.66")
WEB = PoolName("web")
TIMEOUT_S = 10.0
BLOCK = bytes(range(256)) * 256
MSS = 1432
READ_ONLY = 'mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$@"'
"""A shell's words: run what follows where the kernel's settings can only be read."""


@dataclass(slots=True)
class Backend:
    """The near machine: one agent's files, its processes, and a server on the VIP."""

    cable: Cable
    directory: Path
    stack: ExitStack
    settings: dict[str, Any] = field(default_factory=dict)
    wrapper: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = {
            "name": "b1",
            "fleet": "demo",
            "address": str(BACKEND),
            "interface": "eth0",
            "store": {"kind": "file", "path": str(self.directory / "store")},
            "state_dir": str(self.directory / "state"),
            "run_dir": str(self.directory / "run"),
            "path_mtu": 1500,
        }

    @property
    def config(self) -> Path:
        path = self.directory / "lbbackend.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        return path

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the agent and wait until it holds the machine."""
        with (self.directory / "log").open("wb") as log:
            agent = subprocess.Popen(self._command("run"), stderr=log)
        self.stack.callback(_end, agent)
        eventually("the agent is attached", lambda: agent.poll() is not None or "attached" in self.log)
        assert agent.poll() is None, self.log
        return agent

    def serve(self) -> subprocess.Popen[bytes]:
        """Start the agent and wait until the VIP is served."""
        agent = self.start()
        eventually("the VIP is served", lambda: re.search(r"serving .*vips=2", self.log))
        return agent

    def run(self, verb: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(verb, *words), capture_output=True, text=True, timeout=30, check=False
        )

    def status(self) -> dict[str, Any]:
        done = self.run("status", "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def _command(self, verb: str, *words: str) -> list[str]:
        lbbackend = str(Path(sys.executable).with_name("lbbackend"))
        inside_near = ["nsenter", f"--net=/run/netns/{self.cable.near}"]
        return [*inside_near, *self.wrapper, lbbackend, verb, "--config", str(self.config), *words]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


@pytest.fixture
def cable() -> Iterator[Cable]:
    with cables.laid() as laid:
        yield laid


@pytest.fixture
def node(cable: Cable) -> Iterator[Node]:
    with tunnel.sending(cable, VIP) as sender:
        sender.stamp = 3
        yield sender


@pytest.fixture
def backend(cable: Cable, tmp_path: Path) -> Iterator[Backend]:
    with ExitStack() as stack:
        stack.callback(bpffs.unmount, tmp_path / "run" / "bpf")
        made = Backend(cable, tmp_path, stack)
        in_store(tmp_path, lambda store: found_fleet(store, fleets.view(fleets.epoch(3, fleets.ID1))))
        yield made


def in_store(directory: Path, work: Callable[[FleetStore], Awaitable[None]]) -> None:
    """Do something to the fleet's memory as a node would."""

    async def session() -> None:
        store = FleetStore(FileTree(directory / "store" / "demo"))
        await store.start(lambda: None)
        try:
            assert await store.wait_in_step(TIMEOUT_S)
            await work(store)
        finally:
            await store.close()

    asyncio.run(session())


async def found_fleet(store: FleetStore, view: FleetView) -> None:
    """Write all of `view` into an empty store; its only member that sends is NODE."""
    assert view.identity is not None
    assert view.desired is not None
    await store.create_identity(view.identity)
    await store.write_desired(view.desired, -1)
    await store.put_node(NodeMember(NodeName("n1"), (NODE,), 1))
    for member in view.backends.values():
        await store.put_backend(member)
    for epochs in view.epochs.values():
        for epoch in epochs.values():
            await store.create_epoch(epoch)
            await store.set_current(epoch.pool, epoch.number)


@contextmanager
def echo(cable: Cable) -> Iterator[None]:
    """Echo whatever arrives on the port, on any address of the near machine; one thread a connection."""
    listener = inside(cable.near, lambda: socket.create_server(("0.0.0.0", PORT)))
    open_connections: list[socket.socket] = []

    def answer(connection: socket.socket) -> None:
        while data := _received(connection):
            connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_connections.append(connection)
            threads.append(threading.Thread(target=answer, args=(connection,)))
            threads[-1].start()

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        threads[0].join()
        for connection in open_connections:
            connection.close() if connection.fileno() < 0 else connection.shutdown(socket.SHUT_RDWR)
        for thread in threads[1:]:
            thread.join()
        for connection in (*open_connections, listener):
            connection.close()


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except OSError:
        return b""


@pytest.fixture
def server(cable: Cable) -> Iterator[None]:
    with echo(cable):
        yield


def connect(cable: Cable, timeout_s: float = TIMEOUT_S, address: IPv4Address = VIP) -> socket.socket:
    """Return a connection from the client to the VIP."""
    return inside(cable.far, lambda: socket.create_connection((str(address), PORT), timeout=timeout_s))


def exchange(connection: socket.socket, data: bytes = BLOCK) -> None:
    """Send `data` and read it back, byte for byte."""
    sender = threading.Thread(target=connection.sendall, args=(data,))
    sender.start()
    received = bytearray()
    while len(received) < len(data) and (part := connection.recv(1 << 16)):
        received += part
    sender.join()
    assert received == data


@pytest.mark.parametrize("mode", ["native", "generic"])
def test_a_connection_through_the_tunnel_reaches_a_vip_on_lo(
    backend: Backend, node: Node, server: None, mode: str
) -> None:
    backend.settings["xdp_mode"] = mode
    backend.serve()
    with connect(backend.cable) as connection:
        exchange(connection, BLOCK * 16)
    status = backend.status()
    assert status["xdp"] == mode
    assert status["sources"] == [str(NODE)]
    assert status["packets"]["delivered_in_sync"] > len(BLOCK) * 16 / 1500
    assert not [name for name, packets in status["packets"].items() if name.startswith("drop") and packets]


def test_packets_with_a_key_or_of_another_epoch_are_looked_up_and_delivered(
    backend: Backend, node: Node, server: None
) -> None:
    backend.serve()
    with connect(backend.cable) as connection:
        node.key = 0x0007_0008
        exchange(connection, b"keyed")
        node.key, node.stamp = None, 2
        exchange(connection, b"old epoch")
    packets = backend.status()["packets"]
    assert packets["delivered_held"] >= 4
    assert packets["delivered_last"] == 0


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_connection_outlives_the_agent_and_its_successor(
    backend: Backend, node: Node, server: None, how: signal.Signals
) -> None:
    agent = backend.serve()
    with connect(backend.cable) as connection:
        exchange(connection)
        agent.send_signal(how)
        agent.wait(TIMEOUT_S)
        exchange(connection)
        assert backend.status()["agent_pid"] is None
        backend.start()
        exchange(connection)
        with connect(backend.cable) as another:
            exchange(another)


def test_status_tells_an_agent_that_is_cut_off_from_the_fleet(backend: Backend, server: None) -> None:
    backend.serve()
    assert "store: in reach" in backend.run("status").stdout

    (backend.directory / "store" / "demo").rename(backend.directory / "away")
    eventually("the agent goes by its own view", lambda: "local view" in backend.log)
    assert "store: OUT OF REACH: going by the last epochs" in backend.run("status").stdout
    assert backend.status()["contact"]["view"] == "local view"

    (backend.directory / "away").rename(backend.directory / "store" / "demo")
    eventually("the agent has the store again", lambda: backend.log.count("fleet view") == 2)
    assert backend.status()["contact"]["view"] == "fleet"


def test_a_stranger_is_dropped_until_the_fleet_takes_it_in(
    backend: Backend, node: Node, server: None
) -> None:
    backend.serve()
    node.source = STRANGER
    with pytest.raises(TimeoutError):
        connect(backend.cable, timeout_s=1.5)
    assert backend.status()["packets"]["drop_stranger"] > 0
    member = NodeMember(NodeName("n2"), (STRANGER,), 1)
    in_store(backend.directory, lambda store: store.put_node(member))
    eventually("the new member is let in", lambda: str(STRANGER) in backend.log)
    with connect(backend.cable) as connection:
        exchange(connection)


def test_a_node_that_moves_is_a_stranger_at_its_old_address(
    backend: Backend, node: Node, server: None
) -> None:
    backend.serve()
    member = NodeMember(NodeName("n1"), (STRANGER,), 1)
    in_store(backend.directory, lambda store: store.put_node(member))
    eventually("the new address is let in", lambda: f"sources=['{STRANGER}']" in backend.log)
    with pytest.raises(TimeoutError):
        connect(backend.cable, timeout_s=1.2)
    assert backend.status()["packets"]["drop_stranger"] > 0
    node.source = STRANGER
    with connect(backend.cable) as connection:
        exchange(connection)


def test_a_removed_member_is_a_stranger_again(backend: Backend, node: Node, server: None) -> None:
    backend.serve()
    in_store(backend.directory, lambda store: store.remove_node(NodeName("n1")))
    eventually("the member is shut out", lambda: "sources=[]" in backend.log)
    with pytest.raises(TimeoutError):
        connect(backend.cable, timeout_s=1.2)


def test_the_mss_is_clamped_on_the_wire_even_without_an_agent(
    backend: Backend, node: Node, server: None
) -> None:
    agent = backend.serve()
    assert offered_mss(backend.cable) == MSS
    agent.kill()
    agent.wait()
    assert offered_mss(backend.cable) == MSS


def listen_on_wire() -> socket.socket:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    wire.bind(("eth0", 0x0800))
    return wire


def offered_mss(cable: Cable) -> int:
    """Connect, and return the MSS option of the SYN-ACK as it came over the cable."""
    with inside(cable.far, listen_on_wire) as wire:
        wire.settimeout(TIMEOUT_S)
        connect(cable).close()
        while True:
            frame = wire.recv(2048)
            if frame[23] == 6 and frame[47] & 0x12 == 0x12 and frame[26:30] == VIP.packed:
                assert frame[54:56] == b"\x02\x04"
                return int.from_bytes(frame[56:58], "big")


def test_a_vip_follows_the_fleet(backend: Backend) -> None:
    backend.serve()
    desired = fleets.view(fleets.epoch(3, fleets.ID1)).desired
    assert desired is not None
    in_store(backend.directory, lambda store: drop(store, replace(desired, vips=())))
    eventually("the VIP leaves lo", lambda: VIP not in on_lo(backend.cable))
    assert backend.status()["vips"] == []


def test_a_whole_prefix_is_served_on_every_address_and_port_and_leaves_no_trace(
    backend: Backend, node: Node, server: None
) -> None:
    agent = backend.serve()
    desired = fleets.view(fleets.epoch(3, fleets.ID1)).desired
    assert desired is not None
    wanted = replace(desired, vips=(*desired.vips, Vip(PREFIX, Protocol.TCP, ANY_PORT, WEB)))
    in_store(backend.directory, lambda store: drop(store, wanted))
    eventually("the prefix is local", lambda: str(PREFIX) in local_prefixes(backend.cable))
    ip("-n", backend.cable.near, "route", "del", "local", str(PREFIX), "dev", "lo")
    eventually("the prefix is back", lambda: str(PREFIX) in local_prefixes(backend.cable))
    ip("-n", backend.cable.far, "route", "add", str(PREFIX), "dev", "tunnel", "src", str(tunnel.CLIENT))
    for address in (PREFIX[0], PREFIX[-1]):
        with connect(backend.cable, address=address) as connection:
            exchange(connection)
    (vip,) = (vip for vip in backend.status()["vips"] if vip["vip"] == f"{PREFIX}:any/tcp")
    assert (vip["on_lo"], vip["second_chance"]) == (True, True)
    agent.kill()
    agent.wait()
    assert f"{PREFIX} is off lo" in backend.run("unload").stdout
    assert str(PREFIX) not in local_prefixes(backend.cable)


def local_prefixes(cable: Cable) -> str:
    return ip("-n", cable.near, "route", "show", "table", "local", "dev", "lo")


async def drop(store: FleetStore, desired: Any) -> None:
    await store.write_desired(desired, store.view().desired_version)


def on_lo(cable: Cable) -> set[IPv4Address]:
    (link,) = ip_json("-n", cable.near, "-4", "addr", "show", "dev", "lo")
    return {IPv4Address(entry["local"]) for entry in link["addr_info"]}


def test_an_address_that_somebody_removes_comes_back(backend: Backend) -> None:
    backend.serve()
    ip("-n", backend.cable.near, "addr", "del", f"{VIP}/32", "dev", "lo")
    eventually("the VIP is back", lambda: VIP in on_lo(backend.cable))


def test_the_agent_registers_and_acknowledges_what_it_has_loaded(backend: Backend) -> None:
    def acknowledged(view: FleetView) -> bool:
        live = view.live_agents.get(fleets.B1)
        return live is not None and live.pools == {WEB: EpochNumber(3)} and live.nodes == ("n1",)

    def gone_but_a_member(view: FleetView) -> bool:
        return fleets.B1 not in view.live_agents and view.agents[fleets.B1].addresses == (BACKEND,)

    agent = backend.start()
    in_store(backend.directory, lambda store: until(store, acknowledged))
    agent.kill()
    agent.wait()
    in_store(backend.directory, lambda store: until(store, gone_but_a_member))


def test_a_vip_that_nobody_listens_for_has_no_second_chance_until_somebody_does(backend: Backend) -> None:
    def told(silent: bool) -> Callable[[FleetView], bool]:
        def holds(view: FleetView) -> bool:
            live = view.live_agents.get(fleets.B1)
            return live is not None and (f"{VIP}:{PORT}" in live.no_second_chance) is silent

        return holds

    backend.serve()
    in_store(backend.directory, lambda store: until(store, told(silent=True)))
    with echo(backend.cable):
        in_store(backend.directory, lambda store: until(store, told(silent=False)))
    chances = {vip["vip"]: vip["second_chance"] for vip in backend.status()["vips"]}
    assert chances == {f"{VIP}:{PORT}/tcp": True, f"{VIP}:53/udp": False}


async def until(store: FleetStore, holds: Callable[[FleetView], bool]) -> None:
    """Wait until the fleet's memory is as `holds` wants it."""
    async with asyncio.timeout(TIMEOUT_S):
        while not holds(store.view()):
            await asyncio.sleep(cables.POLL_S)


def test_without_the_store_a_rebooted_machine_serves_from_its_own_memory(
    backend: Backend, node: Node, server: None
) -> None:
    agent = backend.serve()
    eventually("the view is kept", (backend.directory / "state" / "fleet.json").exists)
    agent.kill()
    agent.wait()
    reboot(backend)
    backend.settings["store"] = {"kind": "zookeeper", "hosts": ["127.0.0.1:1"]}
    backend.start()
    eventually("the log says so", lambda: "local view" in backend.log)
    with connect(backend.cable) as connection:
        exchange(connection)


def reboot(backend: Backend) -> None:
    """Take away what does not survive a reboot: pins, programs, addresses."""
    near = backend.cable.near
    bpffs.unmount(backend.directory / "run" / "bpf")
    ip("-n", near, "addr", "del", f"{VIP}/32", "dev", "lo")
    ip("netns", "exec", near, "tc", "qdisc", "del", "dev", "eth0", "clsact")
    eventually("the program is gone", lambda: "xdp" not in ip("-n", near, "link", "show", "eth0"))


def machine(cable: Cable) -> dict[str, str]:
    """All that an agent could leave behind on the near machine."""
    keys = ("rp_filter", "arp_ignore", "arp_announce")
    names = [f"net.ipv4.conf.{place}.{key}" for place in ("all", "eth0", "lo") for key in keys]
    return {
        "addresses": ip("-n", cable.near, "addr", "show", "dev", "lo"),
        "xdp": "xdp" if "xdp" in ip("-n", cable.near, "link", "show", "eth0") else "",
        "qdisc": ip("netns", "exec", cable.near, "tc", "qdisc", "show", "dev", "eth0"),
        "sysctls": ip("netns", "exec", cable.near, "sysctl", *names),
    }


@pytest.mark.parametrize("own_filter", ["0", "2"])
def test_where_kernel_settings_can_only_be_read_those_that_matter_have_to_be_right(
    backend: Backend, node: Node, server: None, own_filter: str
) -> None:
    """As in a container: what the engine can set is demanded, and the interface's own filter only told."""
    near = backend.cable.near
    right = {
        "all.rp_filter": "0",
        "all.arp_ignore": "1",
        "all.arp_announce": "2",
        "eth0.rp_filter": own_filter,
    }
    for name, value in right.items():
        ip("netns", "exec", near, "sysctl", "-w", f"net.ipv4.conf.{name}={value}")
    backend.wrapper = ["unshare", "--mount", "--", "sh", "-c", READ_ONLY, "sh"]
    backend.serve()
    assert ("filtered out" in backend.log) == (own_filter != "0")
    if own_filter == "0":
        with connect(backend.cable) as connection:
            exchange(connection)


def test_where_kernel_settings_can_only_be_read_a_wrong_one_is_named_with_its_remedy(
    backend: Backend,
) -> None:
    backend.wrapper = ["unshare", "--mount", "--", "sh", "-c", READ_ONLY, "sh"]
    done = backend.run("run")
    assert done.returncode == 1
    assert "net.ipv4.conf.all.arp_ignore=1" in done.stderr


def test_unload_leaves_nothing(backend: Backend) -> None:
    ip("netns", "exec", backend.cable.near, "sysctl", "-w", "net.ipv4.conf.all.rp_filter=2")
    before = machine(backend.cable)
    agent = backend.serve()
    assert machine(backend.cable) != before
    agent.kill()
    agent.wait()
    done = backend.run("unload")
    assert done.returncode == 0, done.stderr
    assert "net/ipv4/conf/all/rp_filter is 2 again" in done.stdout
    assert machine(backend.cable) == before
    assert not (backend.directory / "run" / "bpf").exists()
    assert list((backend.directory / "state").iterdir()) == []
    assert backend.run("unload").returncode == 0


def test_unload_keeps_an_address_that_was_there_before(backend: Backend) -> None:
    ip("-n", backend.cable.near, "addr", "add", f"{VIP}/32", "dev", "lo")
    agent = backend.serve()
    agent.kill()
    agent.wait()
    assert backend.run("unload").returncode == 0
    assert VIP in on_lo(backend.cable)


def test_status_is_readable_whether_or_not_the_agent_runs(backend: Backend) -> None:
    agent = backend.serve()
    running = backend.run("status").stdout
    assert f"backend b1: agent running as process {agent.pid}" in running
    assert f"accepts GRE from nodes: {NODE}" in running
    agent.kill()
    agent.wait()
    after = backend.run("status").stdout
    assert after.splitlines()[0] == "backend b1: agent not running"
    place = f"pool web, id {fleets.ID1}, epoch 3, takes new flows, no second chance"
    assert f"vip {VIP}:{PORT}/tcp: {place}" in after.splitlines()


def test_unload_refuses_while_the_agent_runs(backend: Backend) -> None:
    agent = backend.start()
    done = backend.run("unload")
    assert done.returncode == 1
    assert f"lbbackend runs as process {agent.pid}; stop it first" in done.stderr


def test_a_second_agent_on_the_same_instance_is_refused(backend: Backend) -> None:
    backend.start()
    done = backend.run("run")
    assert done.returncode == 1
    assert "lbbackend runs as process" in done.stderr


def test_an_interface_that_is_not_there_is_named_with_those_that_are(backend: Backend) -> None:
    backend.settings["interface"] = "eth9"
    done = backend.run("run")
    assert done.returncode == 1
    assert "error: interface eth9: no such interface; have: eth0, lo" in done.stderr


def test_bad_settings_exit_with_2(backend: Backend) -> None:
    backend.settings["adress"] = "10.0.0.2"
    done = backend.run("run")
    assert done.returncode == 2
    assert "adress: unknown key; did you mean address?" in done.stderr


def test_a_vip_on_lo_is_never_answered_for_by_arp(backend: Backend) -> None:
    backend.serve()
    far = backend.cable.far
    ip("-n", far, "route", "add", f"{VIP}/32", "dev", "eth0")

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.sendto(b"who has", (str(VIP), 9))

    inside(far, ask)
    entry = eventually("the request times out", lambda: failed_neighbour(far))
    assert "lladdr" not in entry


def failed_neighbour(namespace: str) -> dict[str, Any] | None:
    entries = ip_json("-n", namespace, "neigh", "show", str(VIP))
    states = [entry for entry in entries if entry["state"] != ["INCOMPLETE"]]
    return states[0] if states else None


def test_a_changed_mtu_changes_the_clamp(backend: Backend, node: Node, server: None) -> None:
    del backend.settings["path_mtu"]
    backend.serve()
    ip("-n", backend.cable.near, "link", "set", "eth0", "mtu", "1400")
    eventually("attached again", lambda: "path_mtu=1400" in backend.log)
    assert offered_mss(backend.cable) == 1400 - 28 - 40
