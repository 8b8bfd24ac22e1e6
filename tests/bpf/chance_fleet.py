"""Backends as models that pass packets on among themselves, each with a table of one bucket."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from ipaddress import IPv4Address

import numpy as np

from lbnode.dataplane.backend_layout import MemberKind
from lbnode.dataplane.backend_model import BackendModel, Result
from lbnode.dataplane.packet_model import Packet
from lbnode.dataplane.values import BackendEntry, NextHop, PoolTable, Tunnel, VipEntry
from lbnode.model.fleet import HashAlgorithm, HashMode, Protocol
from lbnode.model.ids import BackendId, EpochNumber, IPAddress, PoolName
from lbnode.model.intake import Intake
from ring.bucket import derive_keys

WEB = PoolName("web")
VIP = IPv4Address("192.0.2.80")
NODE = IPv4Address("10.0.0.200")
HOP = NextHop(1, bytes(5) + b"\1", bytes(5) + b"\2", 1600)
KEYS = derive_keys(bytes(32), 1)
SYN, ACK = 0x02, 0x10


def address(number: int) -> IPv4Address:
    return IPv4Address(f"10.0.0.{number}")


def one_bucket(epoch: int, owners: tuple[int, int, int]) -> PoolTable:
    """A table of one bucket: its owner and two alternates."""
    owner, first, second = (np.array([each], dtype=np.uint16) for each in owners)
    mode, algorithm = HashMode.FLOW, HashAlgorithm.MULTIPLY
    return PoolTable(WEB, EpochNumber(epoch), 1, mode, algorithm, KEYS, owner, first, second)


def fleet(
    tables: dict[int, PoolTable], agents: set[int], takes_new: set[int], failed: Collection[int] = ()
) -> dict[int, BackendModel]:
    """Backends that know each other, each with a table of its own; some know that they have failed."""
    intake = dict.fromkeys(takes_new, Intake.ONE_BEHIND) | dict.fromkeys(failed, Intake.IN_STEP)
    peers = {
        BackendId(n): BackendEntry.of(BackendId(n), n in agents, Tunnel(address(n), HOP)) for n in tables
    }
    vip = VipEntry(VIP, Protocol.TCP, 80, WEB)
    sources: dict[IPAddress, MemberKind] = {address(n): MemberKind.BACKEND for n in tables}
    sources[NODE] = MemberKind.NODE
    return {
        n: BackendModel(
            [address(n)],
            BackendId(n),
            sources,
            {WEB: table},
            peers,
            (vip,),
            (vip,),
            {WEB: intake.get(n, Intake.NONE)},
        )
        for n, table in tables.items()
    }


def lose(backends: dict[int, BackendModel], here: int, there: int) -> None:
    """Let one of them know no way to another."""
    peers = backends[here].peers
    gone = replace(peers[BackendId(there)], ipv4=Tunnel(address(there), None))
    backends[here].peers = {**peers, gone.id: gone}


def travel(backends: dict[int, BackendModel], agents: set[int], frame: bytes, first: int) -> list[Result]:
    """Let a packet go where it is sent, and return what became of it at each backend with the agent."""
    results: list[Result] = []
    at: int | None = first
    while at in agents:
        results.append(backends[at].process(frame))
        frame, at = results[-1].frame, results[-1].backend
        assert len(results) < 100, "it circles"
    return results


def holding(_inner: Packet) -> str:
    return "held"


def nothing(_inner: Packet) -> str:
    return ""
