"""VIPs as a packet is looked up that is for none of one address and port: prefixes, each with stretches of ports. Pure.

The longest prefix that holds the packet's address decides alone: among its stretches are those that shorter prefixes
leave it. One port goes before a range before any, and before all the longer prefix (docs/adr/0018-vip-kinds.md).
`lbnode/bpf/prefix.h` looks up.

A fragment names no port. It can be served when all VIPs that it may be for agree without one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lbnode.dataplane.values import VipEntry
from lbnode.model.ids import IPNetwork, PoolName
from lbnode.model.vip import PortRange, Protocol, VipAddress, VipKey


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive ports (None: the fragments) of a protocol, and whose they are."""

    protocol: Protocol
    ports: PortRange | None
    vip: VipKey


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prefix of VIPs, be it of one address: what becomes of its other ports, and its stretches.

    `fragments` is for a prefix of one address, which needs no stretch for it: whose they are, by protocol.
    """

    network: IPNetwork
    wrong_port_pass: bool
    stretches: tuple[Stretch, ...]
    fragments: Mapping[Protocol, VipKey]


@dataclass(frozen=True, slots=True)
class Lot:
    """A prefix, be it of one address: its own VIPs, and those of the shorter prefixes around it."""

    network: IPNetwork
    own: tuple[VipEntry, ...]
    around: tuple[VipEntry, ...]


def lots(entries: Sequence[VipEntry]) -> list[Lot]:
    """Return all prefixes of `entries`."""
    by_address: defaultdict[VipAddress, list[VipEntry]] = defaultdict(list)
    for entry in entries:
        by_address[entry.address].append(entry)
    by_network = {own[0].key.network: own for own in by_address.values()}
    lengths = sorted({network.prefixlen for network in by_network}, reverse=True)
    return [
        Lot(network, tuple(own), tuple(_around(network, lengths, by_network)))
        for network, own in by_network.items()
    ]


def _around(
    network: IPNetwork, lengths: Sequence[int], by_network: Mapping[IPNetwork, list[VipEntry]]
) -> list[VipEntry]:
    """The VIPs of the shorter prefixes that hold this one."""
    shorter = (network.supernet(new_prefix=length) for length in lengths if length < network.prefixlen)
    return [entry for larger in shorter for entry in by_network.get(larger, ())]


def cut(lot: Lot, portless: Collection[PoolName]) -> Prefix:
    """Return the prefix as packets look it up; `portless` are the pools that do not look at ports."""
    stretches: list[Stretch] = []
    fragments: dict[Protocol, VipKey] = {}
    for protocol in Protocol:
        rivals = [entry for entry in (*lot.own, *lot.around) if entry.protocol is protocol]
        wide = [entry.key for entry in rivals if not entry.key.is_exact]
        stretches += [Stretch(protocol, ports, vip) for ports, vip in cut_ports(wide)]
        vip = _fragment_vip(rivals, portless)
        if vip is not None and lot.network.num_addresses == 1:
            fragments[protocol] = vip
        elif vip is not None:
            stretches.append(Stretch(protocol, None, vip))
    return Prefix(lot.network, any(entry.wrong_port_pass for entry in lot.own), tuple(stretches), fragments)


def _fragment_vip(rivals: Sequence[VipEntry], portless: Collection[PoolName]) -> VipKey | None:
    """For which of `rivals` a fragment counts: the most particular one, of the lowest port."""
    pools = {entry.pool for entry in rivals}
    if len(pools) != 1 or not pools <= set(portless):
        return None
    keys = [entry.key for entry in rivals]
    return max(keys, key=lambda key: (key.precedence, -key.ports.first))


def cut_ports(keys: Sequence[VipKey]) -> list[tuple[PortRange, VipKey]]:
    """Return whose the ports are, in order, none twice; `keys` are of one protocol and all hold the prefix."""
    whose: list[tuple[PortRange, VipKey]] = []
    for precedence in sorted({key.precedence for key in keys}, reverse=True):
        level = [(key.ports, key) for key in keys if key.precedence == precedence]
        whose = sorted([*whose, *_left_by(whose, level)], key=lambda part: part[0])
    return whose


def _left_by(
    before: Sequence[tuple[PortRange, VipKey]], level: Sequence[tuple[PortRange, VipKey]]
) -> Iterator[tuple[PortRange, VipKey]]:
    """What those that go `before` leave of `level`; both have no port twice, and `before` is in order."""
    for ports, key in level:
        at = ports.first
        for taken, _ in before:
            if taken.last < at or taken.first > ports.last:
                continue
            if at < taken.first:
                yield PortRange(at, taken.first - 1), key
            at = taken.last + 1
        if at <= ports.last:
            yield PortRange(at, ports.last), key
