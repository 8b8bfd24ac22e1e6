"""What holds on this machine now, read from the kernel and the disk: true whether or not the agent runs."""

from __future__ import annotations

from dataclasses import dataclass

from lbnode.backend.changes import ChangesFile
from lbnode.backend.host import LOOPBACK
from lbnode.backend.instance import COMMAND
from lbnode.backend.settings import BackendSettings
from lbnode.daemon.lock import running_pid
from lbnode.dataplane.backend import BackendDataPlane, Snapshot
from lbnode.netdev import Netlink, bpffs, filters
from lbnode.netdev.addresses import addresses


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A VIP: `on_lo` is False when packets for it would find no address here."""

    vip: str
    stamp: int
    self_id: int
    on_lo: bool


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """One backend's machine. `packets` counts what became of them, by outcome."""

    name: str
    agent_pid: int | None
    interface: str
    xdp: str
    clamp: bool
    vips: tuple[ServiceStatus, ...]
    sources: tuple[str, ...]
    packets: dict[str, int]


async def read_status(settings: BackendSettings) -> BackendStatus:
    """Return what holds now. Raises NetdevError, DataPlaneError and BackendError."""
    pinned = BackendDataPlane.read(settings.bpf_dir) if bpffs.is_mounted(settings.bpf_dir) else None
    interface = ChangesFile(settings.state_dir).read().interface or settings.interface
    async with Netlink() as netlink:
        here = {str(address) for address in await addresses(netlink, LOOPBACK)}
        clamp = await filters.attached_egress(netlink, interface)
    return BackendStatus(
        name=settings.name,
        agent_pid=running_pid(settings.run_dir, COMMAND),
        interface=interface,
        xdp=pinned.xdp if pinned is not None else "detached",
        clamp=clamp is not None,
        vips=_vips(pinned, here) if pinned is not None else (),
        sources=tuple(sorted(map(str, pinned.sources))) if pinned is not None else (),
        packets={name: each.packets for name, each in pinned.counters.items()} if pinned is not None else {},
    )


def _vips(pinned: Snapshot, here: set[str]) -> tuple[ServiceStatus, ...]:
    names = {6: "tcp", 17: "udp"}
    found = [
        ServiceStatus(
            vip=f"{service.address}:{service.port}/{names.get(service.protocol, service.protocol)}",
            stamp=service.stamp,
            self_id=service.self_id,
            on_lo=str(service.address) in here,
        )
        for service in pinned.services
    ]
    return tuple(sorted(found, key=lambda status: status.vip))
