"""Where a packet to an address leaves this machine.

Found by `lbnode.netdev`, written into the kernel's maps by `lbnode.dataplane`.
"""

from __future__ import annotations

from dataclasses import dataclass

MAC_LENGTH = 6


@dataclass(frozen=True, slots=True)
class NextHop:
    """One Ethernet hop: the interface to leave by, its address, the neighbour's, the largest packet in bytes.

    `mtu` counts from the outer IP header on: the smaller of the interface's and the route's.
    """

    ifindex: int
    source_mac: bytes
    destination_mac: bytes
    mtu: int

    def __post_init__(self) -> None:
        for name, mac in (("source_mac", self.source_mac), ("destination_mac", self.destination_mac)):
            if len(mac) != MAC_LENGTH:
                raise ValueError(f"next hop: {name}: {len(mac)} bytes, an Ethernet address has {MAC_LENGTH}")

    def __str__(self) -> str:
        return f"dev {self.ifindex} via {self.destination_mac.hex(':')} mtu {self.mtu}"
