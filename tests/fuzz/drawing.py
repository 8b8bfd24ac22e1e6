"""Worlds drawn by chance: what data planes know on bad days as well as on good ones."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, ip_address, ip_network
from random import Random

from lbnode.model.intake import Intake
from tests.fuzz.headers import TCP, UDP
from tests.fuzz.ip_traffic import PORTS
from tests.fuzz.worlds import (
    LOOPBACK,
    Address,
    AgentWorld,
    Backend,
    Member,
    NodeWorld,
    Pool,
    PoolState,
    Row,
    Socket,
    SocketKind,
    Vip,
    Way,
)

OWN_MAC = bytes.fromhex("0200000000aa")
ELSEWHERE = (7, 77, 4000)
"""Interfaces that there are not: their redirections can be watched."""
MTUS = (0, 120, 576, 1400, 1500, 1500, 1600, 9000)
SIZES = (1, 2, 3, 7, 31, 101, 257)
RANGES = ((1, 65535), (1, 79), (80, 400), (8000, 8100), (65000, 65535))
"""Any port, and ranges that have no port in common."""
UNKNOWN = 999
"""An id that no backend has."""


def draw_node(chance: Random) -> NodeWorld:
    """Return a node: two to five pools, up to nine backends, VIPs on a few addresses."""
    ids = _ids(chance, chance.randint(1, 9))
    backends = tuple(_backend(chance, number) for number in ids)
    pools = tuple(_pool(chance, f"pool-{number}", ids) for number in range(chance.randint(2, 5)))
    pools = (*pools[:-1], _troubled(chance, pools[-1]))
    sources = _sources(chance)
    own_mac = OWN_MAC if chance.random() < 0.9 else b""
    vips = _vips(chance, pools)
    return NodeWorld(pools, vips, backends, sources, own_mac, chance.random() < 0.3, chance.random() < 0.6)


def draw_agent(chance: Random) -> AgentWorld:
    """Return a backend with peers of every kind, and sockets that hold flows of its VIPs."""
    own, *others = _ids(chance, chance.randint(2, 8))
    backends = tuple(_backend(chance, number) for number in others)
    pools = tuple(
        _of_agent(chance, _pool(chance, f"pool-{number}", [own, *others]), [own, *others])
        for number in range(chance.randint(1, 4))
    )
    pools = (*pools[:-1], _troubled(chance, pools[-1]))
    peers = [way.address for each in backends for way in each.ways]
    members = tuple(Member(address, is_backend=True) for address in peers if chance.random() < 0.7)
    nodes = tuple(
        Member(ip_address(f"{net}{number}"))
        for net in ("10.255.0.", "2001:db8:ff::")
        for number in range(1, chance.randint(2, 4))
    )
    vips = _vips(chance, pools)
    return AgentWorld(
        _ends(chance, own), own, (*members, *nodes), pools, vips, backends,
        _sockets(chance, vips), chance.random() < 0.95,
    )  # fmt: skip


def _sources(chance: Random) -> tuple[Address, ...]:
    """Outer sources of both families, or of one; IPv4's that are full of ones make checksums carry twice."""
    odd = ("255.255.255.255", "255.255.255.254")
    ipv4 = [chance.choice((f"10.255.0.{chance.randint(1, 254)}", *odd)) for _ in range(_few(chance))]
    ipv6 = [f"2001:db8:ff::{chance.randint(1, 254)}" for _ in range(_few(chance))]
    return tuple(map(ip_address, chance.choice((ipv4 + ipv6,) * 6 + (ipv4, ipv6))))


def _few(chance: Random) -> int:
    return chance.choice((1, 1, 2, 3, 4, 5))


def _ends(chance: Random, number: int) -> tuple[Address, ...]:
    """Where a backend's tunnels end: of both families, or of one."""
    ipv4, ipv6 = ip_address(0x0A000000 + number), ip_address((0x20010DB8000F << 80) + number)
    return chance.choice(((ipv4, ipv6),) * 6 + ((ipv4,), (ipv6,)))


def _ids(chance: Random, count: int) -> list[int]:
    """Return ids of backends, the last one that there can be among them now and then."""
    ids = chance.sample(range(1, 1 << 16), count)
    ids[-1] = chance.choice((ids[-1], 65535))
    return list(dict.fromkeys(each for each in ids if each != UNKNOWN)) or [1]


def _backend(chance: Random, number: int) -> Backend:
    ways = {end.version: _way(chance, end) for end in _ends(chance, number)}
    return Backend(number, chance.random() < 0.7, ways.get(4), ways.get(6))


def _way(chance: Random, end: Address) -> Way:
    interface = chance.choice((LOOPBACK, LOOPBACK, LOOPBACK, LOOPBACK, chance.choice(ELSEWHERE), 0))
    carries = end.version == 4 and chance.random() < 0.25
    return Way(ip_address("255.255.255.254") if carries else end, interface, chance.choice(MTUS))


def _row(chance: Random, ids: list[int]) -> Row:
    """A bucket as tables have them: backends, each once, without gaps; the owner may be none, or unknown here."""
    known = [UNKNOWN, *ids] if chance.random() < 0.1 else ids
    chosen = chance.sample(known, min(len(known), chance.choice((1, 1, 2, 3))))
    owner, first, second = (*chosen, 0, 0)[:3]
    return (owner if chance.random() < 0.95 else 0), first, second


def _any_row(chance: Random, ids: list[int]) -> Row:
    """A bucket that no builder of tables makes: an agent must not let a packet circle even then."""
    some = [0, UNKNOWN, *ids]
    return chance.choice(some), chance.choice(some), chance.choice(some)


def _rows(chance: Random, ids: list[int]) -> tuple[Row, ...]:
    return tuple(_row(chance, ids) for _ in range(chance.randint(1, 12)))


def _before(chance: Random, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Buckets that one of those they list may have owned before."""
    return tuple((chance.choice([each for each in row if each] or [0]), 0, 0) for row in rows)


def _pool(chance: Random, name: str, ids: list[int]) -> Pool:
    flow_table = chance.random() < 0.5
    buckets = _rows(chance, ids)
    return Pool(
        name,
        epoch=chance.choice((1, 2, 0x3FFF, 0x4000, 0x7FFF, 0x8000, 0x10000, chance.randrange(1, 1 << 20))),
        size=chance.choice(SIZES),
        seed=chance.randrange(1 << 16),
        buckets=buckets,
        by_source=chance.random() < 0.4,
        siphash=chance.random() < 0.3,
        flow_table=flow_table,
        failed=tuple(chance.sample(ids, (len(ids) + 1) // 2)) if flow_table and chance.random() < 0.5 else (),
        staged=_rows(chance, ids) if flow_table and chance.random() < 0.6 else (),
        past=chance.choice(((), _rows(chance, ids), _before(chance, buckets))),
        intake=chance.choice(list(Intake)),
        tunnel=chance.choice((4, 4, 6)),
        local=chance.random() < 0.2,
        quic=chance.choice((0, 0, 3, 6)) if chance.random() < 0.5 else None,
        named=tuple(each for each in (UNKNOWN, *ids) if chance.random() < 0.7),
    )


def _of_agent(chance: Random, pool: Pool, ids: list[int]) -> Pool:
    """The same pool without what is a node's own, and with any buckets."""
    odd = tuple(_any_row(chance, ids) for _ in range(chance.randint(1, 3)))
    buckets = chance.choice((pool.buckets, (*pool.buckets, *odd)))
    return replace(pool, buckets=buckets, flow_table=False, failed=(), staged=(), past=())


def _troubled(chance: Random, pool: Pool) -> Pool:
    """The same pool, sound or not."""
    state = chance.choice((PoolState.READY, PoolState.READY, PoolState.UNREADY, PoolState.CORRUPT))
    return pool if state is PoolState.READY else replace(pool, state=state, staged=(), past=())


def _vips(chance: Random, pools: tuple[Pool, ...]) -> tuple[Vip, ...]:
    """Every pool has VIPs; on some addresses all point at one pool, which fragments ask for."""
    vips: dict[tuple[Address, int, int], Vip] = {}
    for number in range(chance.randint(len(pools), len(pools) + 3)):
        net = chance.choice(("192.0.2.", "192.0.2.", "2001:db8::"))
        address = ip_address(f"{net}{chance.randint(1, 254)}")
        passes = chance.random() < 0.2
        main = pools[number % len(pools)]
        for _ in range(chance.randint(1, 4)):
            pool = main if chance.random() < 0.8 else chance.choice(pools)
            protocol, port = chance.choice((TCP, TCP, UDP)), chance.choice(PORTS)
            heard = chance.random() < 0.85
            vips[address, protocol, port] = Vip(address, protocol, port, pool.name, passes, heard)
    wide = [_widened(chance, vip) for vip in vips.values() if chance.random() < 0.4]
    of_many = {(vip.address, vip.length, vip.protocol, vip.port, vip.last_port): vip for vip in wide}
    return (*vips.values(), *of_many.values())


def _widened(chance: Random, vip: Vip) -> Vip:
    """A VIP around this one, of more ports or of more addresses."""
    first, last = chance.choice(RANGES)
    if chance.random() < 0.4:
        return replace(vip, port=first, last_port=last)
    length = vip.address.max_prefixlen - chance.choice((1, 3, 8, 8, 16))
    network = ip_network((vip.address, length), strict=False)
    port, end = chance.choice(((first, last), (vip.port, None)))
    return replace(vip, address=network.network_address, length=length, port=port, last_port=end)


def _sockets(chance: Random, vips: tuple[Vip, ...]) -> tuple[Socket, ...]:
    heard = [
        vip
        for vip in vips
        if vip.protocol == TCP and vip.heard and vip.is_one and isinstance(vip.address, IPv4Address)
    ]
    if not heard:
        return ()
    sockets: dict[tuple[Address, int], Socket] = {}
    for kind in [*SocketKind, *SocketKind]:
        vip, client = chance.choice(heard), ip_address(f"198.51.100.{chance.randint(1, 254)}")
        port = chance.randrange(1024, 1 << 16)
        sockets[client, port] = Socket(kind, client, port, vip.address, vip.port)
    return tuple(sockets.values())
