"""The interface that carries the traffic, from netlink, ethtool and what libbpf says is attached."""

from __future__ import annotations

from dataclasses import dataclass

from lbnode.dataplane.libbpf import xdp_mode
from lbnode.doctor.facts import InterfaceFacts
from lbnode.netdev import InterfaceMissingError, Link, Netlink, ethtool
from lbnode.netdev.links import link_named
from lbnode.netdev.veth import VethPeer, is_veth, peer_of
from lbnode.netdev.xdp_features import native_possible

LOST = "xdp_tx_errors"
"""How the veth driver's counters of frames that XDP answered with and nobody took end."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings say of the interface; `reason`: what the daemon says about generic XDP, if anything."""

    name: str
    service: str
    mode: str
    faces_clients: bool
    reason: str = ""


async def interface(netlink: Netlink, wanted: Wanted) -> InterfaceFacts:
    """Look at the interface. Raises NetdevError and DataPlaneError."""
    try:
        link = await link_named(netlink, wanted.name)
    except InterfaceMissingError:
        return _absent(wanted)
    veth = await is_veth(netlink, link.name)
    return _facts(wanted, link, veth, await peer_of(netlink, link.name) if veth else None)


def _facts(wanted: Wanted, link: Link, veth: bool, peer: VethPeer | None) -> InterfaceFacts:
    mode, does = xdp_mode(link.index), ethtool.offloads(link.name)
    lost = sum(value for name, value in ethtool.statistics(link.name).items() if name.endswith(LOST))
    return InterfaceFacts(
        name=link.name,
        service=wanted.service,
        faces_clients=wanted.faces_clients,
        present=True,
        up=link.up,
        running=link.running,
        driver=does.driver,
        mtu=link.mtu,
        mode=mode.name.lower() if mode is not None else "",
        wanted=wanted.mode,
        reason=wanted.reason,
        native_possible=native_possible(link.index),
        lro=does.lro,
        is_veth=veth,
        peer=peer,
        lost_on_the_way_back=lost,
    )


def _absent(wanted: Wanted) -> InterfaceFacts:
    return InterfaceFacts(
        name=wanted.name,
        service=wanted.service,
        faces_clients=wanted.faces_clients,
        present=False,
        up=False,
        running=False,
        driver="",
        mtu=0,
        mode="",
        wanted=wanted.mode,
        reason="",
        native_possible=None,
        lro=False,
        is_veth=False,
        peer=None,
        lost_on_the_way_back=0,
    )
