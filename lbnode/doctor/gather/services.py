"""What a backend serves: the VIPs in the kernel, the addresses on lo, and who listens now."""

from __future__ import annotations

from lbnode.backend import loopback
from lbnode.backend.settings import BackendSettings
from lbnode.dataplane.backend import BackendDataPlane, Snapshot
from lbnode.dataplane.values import VipEntry
from lbnode.doctor.facts import ServiceFacts, ServingFacts
from lbnode.model.fleet import Protocol
from lbnode.model.vip import VipAddress
from lbnode.netdev import Netlink, bpffs, filters
from lbnode.netdev.sockets import Listener, listeners

DETACHED = "detached"


def pinned(settings: BackendSettings) -> Snapshot | None:
    """Return what agents left in the kernel; None when there is nothing. Raises DataPlaneError."""
    return BackendDataPlane.read(settings.bpf_dir) if bpffs.is_mounted(settings.bpf_dir) else None


async def serving(netlink: Netlink, settings: BackendSettings) -> ServingFacts:
    """Look at everything that a packet out of the tunnel meets. Raises NetdevError, DataPlaneError."""
    held = pinned(settings)
    on_lo, heard = await loopback.held(netlink), listeners()
    clamp = await filters.attached_egress(netlink, settings.interface)
    vips = held.vips if held is not None else ()
    return ServingFacts(
        interface=settings.interface,
        xdp=held.xdp if held is not None else DETACHED,
        clamp=clamp is not None,
        services=tuple(_service(vip, on_lo, heard) for vip in vips),
    )


def _service(vip: VipEntry, on_lo: frozenset[VipAddress], heard: frozenset[Listener]) -> ServiceFacts:
    listening = any(each.hears(vip.key.network, vip.key.ports) for each in heard)
    return ServiceFacts(
        vip=str(vip.key),
        pool=vip.pool,
        on_lo=vip.address in on_lo,
        listening=listening if vip.protocol is Protocol.TCP else None,
    )
