"""The backend's machine: carries out what `plan` decides, on lo, in sysctls and in the kernel's BPF programs.

Every change is written down before it is made (`changes`), and `undo` (`lbbackend unload`) puts back what is
written. In between, nothing here depends on an agent being alive.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import structlog

from lbnode.backend import loopback
from lbnode.backend.changes import ChangesFile, HostChanges
from lbnode.backend.ends import Ends
from lbnode.backend.loading import LoadTable
from lbnode.backend.plan import Accept, Serve, ServedVip
from lbnode.backend.settings import BackendSettings
from lbnode.daemon.hops import NextHops
from lbnode.daemon.pool_table import pool_table
from lbnode.daemon.tunnels import backend_entry
from lbnode.dataplane import backend as dataplane
from lbnode.dataplane.backend import Attachment, AttachMode, BackendDataPlane
from lbnode.dataplane.backend_layout import MemberKind
from lbnode.dataplane.values import BackendEntry, LoadedTable, VipEntry
from lbnode.model.ids import BackendId, IPAddress, PoolName
from lbnode.model.members import BackendMember
from lbnode.model.vip import VipAddress, VipKey
from lbnode.netdev import Netlink, bpffs, filters, sysctls
from lbnode.netdev.errors import InterfaceMissingError, NetdevError, ReadOnlyError
from lbnode.netdev.links import link_named
from lbnode.netdev.seen import Seen
from lbnode.store.copy import DiskCopy

log = structlog.get_logger()

CLAMP_NAME = "evenkeel-clamp"
ID_FILE = "id"
UNLIMITED = 0xFFFF
"""Bytes: as many as an IP packet can have."""

SYSCTLS = {
    "net/ipv4/conf/all/rp_filter": "0",  # what comes out of the tunnel may live behind other interfaces
    "net/ipv4/conf/all/arp_ignore": "1",  # never answer ARP for a VIP: it is on lo only so that packets are taken
    "net/ipv4/conf/all/arp_announce": "2",  # never name a VIP as sender in ARP
}
"""Of "all" and of the interface the larger counts."""


@dataclass(frozen=True, slots=True)
class Attached:
    """How this machine's programs hang on which interface, and the MTU that the clamp was made for."""

    ifindex: int
    path_mtu: int
    xdp: Attachment


class Host:
    """One backend's machine. Everything is idempotent: a new agent says again what the last one said."""

    def __init__(
        self, settings: BackendSettings, netlink: Netlink, plane: BackendDataPlane, hops: NextHops
    ) -> None:
        self._settings = settings
        self._netlink = netlink
        self._hops = hops
        self._plane = plane
        self._file = ChangesFile(settings.state_dir)
        self._changes = self._file.read()
        self._attached: Attached | None = None
        self._peers: tuple[BackendEntry, ...] | None = None
        self._narrowest = UNLIMITED
        self._link = Seen(lambda: link_named(netlink, settings.interface))
        self._on_lo = Seen(lambda: loopback.held(netlink))
        self.ends = Ends(netlink, settings.address)

    @classmethod
    async def open(cls, settings: BackendSettings, netlink: Netlink, hops: NextHops) -> Host:
        """Mount the instance's bpffs and load the program; changes nothing of the machine's own yet.

        `hops` finds the way to other backends. Raises NetdevError and DataPlaneError.
        """
        await link_named(netlink, settings.interface)
        bpffs.mount(settings.bpf_dir)
        plane = BackendDataPlane.open(
            settings.bpf_dir, settings.address, settings.second_chance, settings.table_places
        )
        return cls(settings, netlink, plane, hops)

    @property
    def succeeds(self) -> bool:
        """Whether packets go by the maps of another release or size, until `attach`."""
        return self._plane.is_waiting

    @property
    def attached(self) -> Attached | None:
        """What `attach` last did."""
        return self._attached

    @property
    def owned(self) -> tuple[VipAddress, ...]:
        """The VIPs that agents put on lo."""
        return self._changes.addresses

    @property
    def holds_prefix(self) -> bool:
        """Whether agents put a whole prefix on lo: it stands among the routes."""
        return any(isinstance(address, IPv4Network | IPv6Network) for address in self.owned)

    def look_again(self) -> None:
        """Links or addresses may have changed: the kernel has said so, or this host did it."""
        self._link.forget()
        self._on_lo.forget()
        self.ends.look_again()

    async def on_lo(self) -> frozenset[VipAddress]:
        """The addresses and prefixes that lo has: as last seen, unless there is reason to look again."""
        return await self._on_lo.get()

    async def add(self, address: VipAddress) -> None:
        """Put a VIP on lo. Raises NetdevError also where its packets would find nobody: IPv6 may be off."""
        if address.version == 6:
            check_ipv6(loopback.LOOPBACK, self._settings.interface)
        if address not in self._changes.addresses and address not in await self.on_lo():
            self._keep(replace(self._changes, addresses=(*self._changes.addresses, address)))
        self.look_again()
        await loopback.hold(self._netlink, address)

    async def remove(self, address: VipAddress) -> None:
        """Take a VIP off lo that an agent put there."""
        self.look_again()
        await loopback.release(self._netlink, address)
        left = tuple(kept for kept in self._changes.addresses if kept != address)
        self._keep(replace(self._changes, addresses=left))

    def loaded(self) -> dict[PoolName, LoadedTable]:
        """Return the tables in the kernel, an earlier agent's included."""
        return {pool: held.current for pool, held in self._plane.tables().items() if held.current}

    def heard(self) -> frozenset[VipKey]:
        """Return the VIPs in the kernel that a listener was seen for, by an earlier agent too."""
        return self._plane.heard()

    async def accept(self, wanted: Accept) -> None:
        """Take GRE from exactly these members, and know the way to those that are backends."""
        await self.follow(wanted.peers)
        kinds: dict[IPAddress, MemberKind] = dict.fromkeys(wanted.sources, MemberKind.NODE)
        kinds |= {end: MemberKind.BACKEND for peer in wanted.peers for end in peer.addresses}
        self._plane.set_sources(kinds)

    async def follow(self, peers: Collection[BackendMember]) -> None:
        """Bring the ways to `peers` up to date."""
        await self._hops.follow(end for peer in peers for end in peer.addresses)
        entries = tuple(backend_entry(peer, self._hops) for peer in peers)
        if entries != self._peers:
            self._plane.set_backends(entries)
            self._peers = entries
            self._narrowest = _narrowest(entries)

    def load(self, wanted: LoadTable) -> None:
        """Go by this table from now on."""
        self._plane.load(pool_table(wanted.epoch, wanted.table, wanted.identity, quic=wanted.quic))

    def serve(self, wanted: Serve, heard: Iterable[ServedVip]) -> None:
        """Take inner packets for exactly these VIPs, with a second chance for those that are `heard`."""
        self._plane.set_self(wanted.self_id)
        self._write_id(wanted.self_id)
        self._plane.set_intake(wanted.intake)
        self._plane.set_vips([_entry(vip) for vip in wanted.vips], [vip.key for vip in heard])

    def _write_id(self, self_id: BackendId | None) -> None:
        """Tell a QUIC server beside us whom its connection ids must name (docs/quic.md)."""
        path = self._settings.run_dir / ID_FILE
        if self_id is not None and not (path.exists() and path.read_text() == f"{self_id}\n"):
            aside = path.with_suffix(".new")
            aside.write_text(f"{self_id}\n")
            aside.rename(path)

    def drop_pool(self, pool: PoolName) -> None:
        """Forget a pool's table."""
        if pool in self._plane.tables():
            self._plane.drop_pool(pool)

    async def attach(self) -> Attached:
        """Set sysctls and hang the programs on the interface, unless this host did so and nothing changed."""
        link = await self._link.get()
        path_mtu = min(self._settings.path_mtu or link.mtu, self._narrowest)
        before = self._attached
        if before is not None and (before.ifindex, before.path_mtu) == (link.index, path_mtu):
            return before
        self._keep(replace(self._changes, interface=link.name))
        self._set_sysctls()
        await self._attach_clamp(path_mtu)
        xdp = self._plane.attach(link.index, AttachMode(self._settings.xdp_mode))
        self._attached = Attached(link.index, path_mtu, xdp)
        return self._attached

    def close(self) -> None:
        """Let go; everything stays in place."""
        self._plane.close()

    async def _attach_clamp(self, path_mtu: int) -> None:
        program = self._plane.load_clamp(path_mtu)
        try:
            await filters.attach_egress(self._netlink, self._settings.interface, program.fd, CLAMP_NAME)
        finally:
            program.close()

    def _set_sysctls(self) -> None:
        own_filter, wanted = own_rp_filter(self._settings.interface), wanted_sysctls(self._settings.interface)
        now = {name: sysctls.read(name) for name in wanted}
        known = self._changes.sysctls
        changing = {name: now[name] for name in wanted if now[name] != wanted[name] and name not in known}
        if changing:
            self._keep(replace(self._changes, sysctls={**known, **changing}))
        sysctls.write_all(SYSCTLS)
        try:
            sysctls.write(own_filter, "0")
        except ReadOnlyError as error:
            # Good enough where clients are routed by way of this interface, as in a container with one network.
            log.warning("clients that are routed elsewhere are filtered out", reason=str(error))

    def _keep(self, changes: HostChanges) -> None:
        if changes != self._changes:
            self._file.write(changes)
            self._changes = changes


def _narrowest(peers: Iterable[BackendEntry]) -> int:
    """What every way to another backend takes: a segment may have to go on."""
    tunnels = (tunnel for peer in peers for tunnel in (peer.ipv4, peer.ipv6) if tunnel)
    return min((tunnel.next_hop.mtu for tunnel in tunnels if tunnel.next_hop), default=UNLIMITED)


def check_ipv6(*interfaces: str) -> None:
    """Raise NetdevError where IPv6 is off: the kernel would drop what comes out of the tunnel without a word."""
    for interface in interfaces:
        name = f"net/ipv6/conf/{interface}/disable_ipv6"
        if not sysctls.exists(name):
            raise NetdevError(f"{interface}: the kernel has no IPv6 there; boot it without ipv6.disable=1")
        if sysctls.read(name) != "0":
            remedy = f"sysctl -w {name.replace('/', '.')}=0 (in a container: from outside)"
            raise NetdevError(f"{interface}: IPv6 is off; {remedy}")


def own_rp_filter(interface: str) -> str:
    """Return the name of the interface's own filter; the larger of it and of "all" counts."""
    return f"net/ipv4/conf/{interface}/rp_filter"


def wanted_sysctls(interface: str) -> dict[str, str]:
    """Return the kernel settings of a backend that takes GRE on `interface`."""
    return {**SYSCTLS, own_rp_filter(interface): "0"}


async def undo(settings: BackendSettings, netlink: Netlink) -> HostChanges:
    """Put this machine back as it was before its first agent; return what was undone. No agent may run."""
    file = ChangesFile(settings.state_dir)
    changes = file.read()
    await _detach(netlink, changes.interface or settings.interface, settings.bpf_dir)
    for address in changes.addresses:
        await loopback.release(netlink, address)
    sysctls.write_all({name: value for name, value in changes.sysctls.items() if sysctls.exists(name)})
    file.forget()
    DiskCopy(settings.state_dir).path.unlink(missing_ok=True)
    return changes


async def _detach(netlink: Netlink, interface: str, bpf_dir: Path) -> None:
    try:
        await filters.detach_egress(netlink, interface)
    except InterfaceMissingError:
        pass  # its filters went with it
    if bpffs.is_mounted(bpf_dir):
        dataplane.unload(bpf_dir)
        bpffs.unmount(bpf_dir)
        bpf_dir.rmdir()


def _entry(vip: ServedVip) -> VipEntry:
    return VipEntry(vip.address, vip.protocol, vip.port, vip.pool)
