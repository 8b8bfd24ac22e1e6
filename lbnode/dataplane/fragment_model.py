"""Fragments in Python: what the first of a packet shows is lent to the others. Pure but for what it remembers.

Written from docs/adr/0028-fragments.md and the RFCs 791 and 8200, not from `lbnode/bpf/fragment.h`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lbnode.dataplane.packet_model import TRANSPORT_SIZE, Packet
from lbnode.model.fleet import Protocol
from lbnode.model.ids import IPAddress

FragmentKey = tuple[IPAddress, IPAddress, int, int]
"""Source, destination, protocol, identification."""


@dataclass(slots=True)
class FragmentModel:
    """The heads that first fragments have shown. `notes`: what happened to the last fragment, as counters name it.

    The kernel forgets the least recently used; here nothing is forgotten.
    """

    heads: dict[FragmentKey, bytes] = field(default_factory=dict)

    def lend(self, packet: Packet) -> tuple[Packet, tuple[str, ...]]:
        """Return the packet with the transport head that the whole would show, and what is counted for it.

        A packet that is no fragment, or whose first has not been here, comes back as it is.
        """
        if not packet.is_fragment or packet.protocol not in TRANSPORT_SIZE:
            return packet, ()
        size = TRANSPORT_SIZE[Protocol(packet.protocol)]
        key = packet.source, packet.destination, packet.protocol, packet.identification
        if packet.offset == 0:
            if len(packet.transport) < size:
                return packet, ()
            self.heads[key] = packet.transport[:size]
            return _lent(packet, self.heads[key]), ("fragment_recorded",)
        if key not in self.heads:
            return packet, ()
        return _lent(packet, self.heads[key]), ("fragment_followed",)


def _lent(packet: Packet, head: bytes) -> Packet:
    return replace(packet, is_fragment=False, is_lent=True, transport=head)
