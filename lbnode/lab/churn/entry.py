"""How the churn's connections get in: a VIP of their own, and source ports whose buckets nobody shares."""

from __future__ import annotations

import random
from ipaddress import IPv4Address

import yaml

from lbnode.lab.churn.memory import ports_by_bucket
from lbnode.lab.errors import LabError
from lbnode.lab.plan import CHURN_PORT, POOL, VIP
from lbnode.lab.running import RunningLab
from lbnode.model.status import FleetStatus
from lbnode.rpc.client import FleetClient

SOURCE_PORTS = range(16000, 65000)
PORTS_A_FLOW = 6
"""Ports rest between two flows."""


def add_vip(client: FleetClient) -> None:
    """Give the fleet the VIP that the connections go to, unless it has it."""
    fleet = yaml.safe_load(client.export())
    if all(vip["port"] != CHURN_PORT for vip in fleet["vips"]):
        fleet["vips"].append({"address": str(VIP), "port": CHURN_PORT, "protocol": "tcp", "pool": POOL})
        client.apply(yaml.safe_dump(fleet, sort_keys=False))


def is_served(status: FleetStatus, nodes: int) -> bool:
    """True when so many nodes announce the connections' VIP."""
    return any(vip.port == CHURN_PORT and len(vip.announced_by) == nodes for vip in status.vips)


def choose_ports(lab: RunningLab, source: IPv4Address, seed: int, flows: int) -> dict[int, int]:
    """Return ports and buckets for the flows: several times as many as there are flows at a time.

    Raises LabError when there are not so many.
    """
    candidates = random.Random(f"{seed} ports").sample(SOURCE_PORTS, len(SOURCE_PORTS))
    buckets = ports_by_bucket(lab, source, candidates)
    if len(buckets) < flows * PORTS_A_FLOW:
        raise LabError(f"churn: {flows} flows: at most {len(buckets) // PORTS_A_FLOW}")
    return dict(list(buckets.items())[: flows * PORTS_A_FLOW])
