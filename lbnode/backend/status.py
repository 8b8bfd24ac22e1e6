"""What holds on this machine now, read from the kernel and the disk: true whether or not the agent runs."""

from __future__ import annotations

from dataclasses import dataclass

from lbnode.backend import loopback
from lbnode.backend.changes import ChangesFile
from lbnode.backend.contact import Contact, ContactFile
from lbnode.backend.ends import describe_missing, missing_ends
from lbnode.backend.instance import COMMAND
from lbnode.backend.settings import BackendSettings
from lbnode.daemon.lock import running_pid
from lbnode.dataplane.backend import BackendDataPlane, Snapshot
from lbnode.dataplane.backend_layout import MemberKind
from lbnode.model.vip import VipAddress
from lbnode.netdev import Netlink, bpffs, filters


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A VIP: `on_lo` is False when packets for it would find no address here.

    `epoch` is that of the table in the kernel. `takes_new`: new flows are answered here, not sent to their owners.
    `second_chance`: packets of flows that others hold are passed on; False until a listener was seen.
    """

    vip: str
    pool: str
    epoch: int
    self_id: int
    takes_new: bool
    second_chance: bool
    on_lo: bool


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """One backend's machine. `packets` counts what became of them, by outcome.

    `contact`: whether the agent that runs has the fleet's memory; None when none runs, or it has not looked yet.
    `problems`: what the machine lacks, in sentences.
    """

    name: str
    agent_pid: int | None
    contact: Contact | None
    interface: str
    xdp: str
    clamp: bool
    vips: tuple[ServiceStatus, ...]
    sources: tuple[str, ...]
    backends: tuple[str, ...]
    packets: dict[str, int]
    problems: tuple[str, ...]


async def read_status(settings: BackendSettings) -> BackendStatus:
    """Return what holds now. Raises NetdevError, DataPlaneError and BackendError."""
    pinned = BackendDataPlane.read(settings.bpf_dir) if bpffs.is_mounted(settings.bpf_dir) else None
    interface = ChangesFile(settings.state_dir).read().interface or settings.interface
    async with Netlink() as netlink:
        here = await loopback.held(netlink)
        clamp = await filters.attached_egress(netlink, interface)
        missing = await missing_ends(netlink, settings.address)
    agent_pid = running_pid(settings.run_dir, COMMAND)
    return BackendStatus(
        name=settings.name,
        agent_pid=agent_pid,
        contact=ContactFile(settings.run_dir).read() if agent_pid is not None else None,
        interface=interface,
        xdp=pinned.xdp if pinned is not None else "detached",
        clamp=clamp is not None,
        vips=_vips(pinned, here) if pinned is not None else (),
        sources=_members(pinned, MemberKind.NODE),
        backends=_members(pinned, MemberKind.BACKEND),
        packets={name: each.packets for name, each in pinned.counters.items()} if pinned is not None else {},
        problems=tuple(map(describe_missing, missing)),
    )


def _members(pinned: Snapshot | None, kind: MemberKind) -> tuple[str, ...]:
    members = pinned.sources.items() if pinned is not None else ()
    return tuple(sorted(str(address) for address, found in members if found is kind))


def _vips(pinned: Snapshot, here: frozenset[VipAddress]) -> tuple[ServiceStatus, ...]:
    epochs = {pool: held.current.epoch for pool, held in pinned.tables.items() if held.current}
    found = [
        ServiceStatus(
            vip=str(vip.key),
            pool=vip.pool,
            epoch=epochs.get(vip.pool, 0),
            self_id=pinned.self_id or 0,
            takes_new=vip.pool in pinned.intake,
            second_chance=vip.key in pinned.heard,
            on_lo=vip.address in here,
        )
        for vip in pinned.vips
    ]
    return tuple(sorted(found, key=lambda status: status.vip))
