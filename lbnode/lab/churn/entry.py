"""How the churn's connections get in: a VIP of their own, and source ports whose buckets nobody shares."""

from __future__ import annotations

import random
from collections import Counter
from ipaddress import IPv4Address

import yaml

from lbnode.lab.churn.crowd import Look, Order
from lbnode.lab.churn.crowd_process import CrowdProcess
from lbnode.lab.churn.memory import ports_by_bucket
from lbnode.lab.errors import LabError, OverdueError
from lbnode.lab.plan import CHURN_PORT, POOL, VIP
from lbnode.lab.running import RunningLab, wait_until
from lbnode.model.status import FleetStatus
from lbnode.rpc.client import FleetClient

SOURCE_PORTS = range(16000, 65000)
PORTS_A_FLOW = 6
"""Ports rest between two flows."""
OPEN_S = 30.0
STALL_S = 15.0
"""A longer stall is a break: a silent cut costs up to 8 s, and a second one may follow before TCP has recovered."""
MOST = 0.95
"""So many of the flows must have an answer before anything happens."""


def add_vip(client: FleetClient) -> None:
    """Give the fleet the VIP that the connections go to, unless it has it."""
    fleet = yaml.safe_load(client.export())
    if all(vip["port"] != CHURN_PORT for vip in fleet["vips"]):
        fleet["vips"].append({"address": str(VIP), "port": CHURN_PORT, "protocol": "tcp", "pool": POOL})
        client.apply(yaml.safe_dump(fleet, sort_keys=False))


def is_served(status: FleetStatus, nodes: int) -> bool:
    """True when so many nodes announce the connections' VIP, and all have it."""
    return status.agree and any(
        vip.port == CHURN_PORT and len(vip.announced_by) == nodes for vip in status.vips
    )


def open_flows(
    lab: RunningLab, crowd: CrowdProcess, flows: int, seed: int, longest_s: float
) -> dict[int, int]:
    """Let the crowd have so many flows from now on, and wait until most have an answer; return bucket by port.

    Raises LabError.
    """
    client = lab.plan.host("client").address
    buckets = _choose_ports(lab, client, seed, flows)
    crowd.begin(Order(flows, seed, str(client), list(buckets), str(VIP), CHURN_PORT, STALL_S, longest_s))
    _await_flows(crowd, flows)
    return buckets


def _choose_ports(lab: RunningLab, source: IPv4Address, seed: int, flows: int) -> dict[int, int]:
    """Return ports and buckets for the flows: several times as many as there are flows at a time.

    Raises LabError when there are not so many.
    """
    candidates = random.Random(f"{seed} ports").sample(SOURCE_PORTS, len(SOURCE_PORTS))
    buckets = ports_by_bucket(lab, source, candidates)
    if len(buckets) < flows * PORTS_A_FLOW:
        raise LabError(f"churn: {flows} flows: at most {len(buckets) // PORTS_A_FLOW}")
    return dict(list(buckets.items())[: flows * PORTS_A_FLOW])


def _await_flows(crowd: CrowdProcess, flows: int) -> None:
    """Wait until most of so many flows have an answer. Raises OverdueError with what became of the others."""
    try:
        wait_until(lambda: crowd.look().alive >= flows * MOST, OPEN_S, "open the flows")
    except OverdueError as error:
        raise OverdueError(f"{error}: {_how_far(crowd.look(), flows)}; {_whys(crowd)}") from None


def _how_far(look: Look, flows: int) -> str:
    servers = ", ".join(f"{name} {count}" for name, count in sorted(look.servers.items())) or "nobody"
    waiting = look.opened - look.whole - sum(look.broken.values()) - look.alive
    return f"{look.alive} of {flows} are answered (by {servers}), {waiting} wait for an answer"


def _whys(crowd: CrowdProcess) -> str:
    """Why flows have ended already, and how often."""
    whys = Counter(
        f"{ended.outcome}: {ended.note}" if ended.note else ended.outcome for ended in crowd.ended()
    )
    return ", ".join(f"{count} {why}" for why, count in whys.most_common()) or "none has ended"
