"""From a member of the fleet to what the data plane takes: the same for nodes and agents."""

from __future__ import annotations

from lbnode.daemon.hops import NextHops
from lbnode.dataplane.values import BackendEntry, Tunnel
from lbnode.model.members import BackendMember


def backend_entry(member: BackendMember, hops: NextHops) -> BackendEntry:
    """Return the backend with the way to each end of its tunnels, as far as `hops` knows it."""
    ends = (Tunnel(address, hops.get(address)) for address in member.addresses)
    return BackendEntry.of(member.id, member.agent, *ends)
