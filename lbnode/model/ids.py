"""Names and numbers that identify things in a fleet: one type each, so that they are never mixed up."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NewType

NodeName = NewType("NodeName", str)
"""A node's name is its key in the fleet."""

BackendName = NewType("BackendName", str)
"""A backend's name, chosen by the operator; unique in the fleet."""

BackendId = NewType("BackendId", int)
"""1..65535, allotted by the leader; 0 on the wire and in tables means "none"."""

PoolName = NewType("PoolName", str)

SlotNumber = NewType("SlotNumber", int)
"""A slot's number in its pool, 0..65534: the only thing of a member that the home table depends on, besides weights."""

EpochNumber = NewType("EpochNumber", int)
"""1, 2, 3, …: the number of an epoch in its pool. The low 16 bits travel as the stamp."""

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
