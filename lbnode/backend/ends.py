"""The machine's ends of tunnels: the addresses in its settings, which nodes send to, and which it may not have.

They are the operator's to set up: nothing here puts an address on an interface.
"""

from __future__ import annotations

import structlog

from lbnode.model.ids import IPAddress
from lbnode.model.tunnel import Addresses
from lbnode.netdev import Netlink
from lbnode.netdev.addresses import every_address
from lbnode.netdev.seen import Seen

log = structlog.get_logger()


class Ends:
    """Says once when the machine lacks an address of `wanted`, and once when it has it; `problems`: what it lacks."""

    def __init__(self, netlink: Netlink, wanted: Addresses) -> None:
        self._seen = Seen(lambda: missing_ends(netlink, wanted))
        self._missing: Addresses = ()

    def look_again(self) -> None:
        """Addresses may have changed."""
        self._seen.forget()

    async def look(self) -> None:
        """Bring `problems` up to date. Raises NetdevError."""
        before, self._missing = self._missing, await self._seen.get()
        for address in self._missing:
            if address not in before:
                log.warning("tunnel address", problem=describe_missing(address))
        for address in before:
            if address not in self._missing:
                log.info("tunnel address is here now", address=str(address))

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each address that was not there when it was looked for last."""
        return tuple(map(describe_missing, self._missing))


async def missing_ends(netlink: Netlink, wanted: Addresses) -> Addresses:
    """Return the addresses of `wanted` that no interface has. Raises NetdevError."""
    own = await every_address(netlink)
    return tuple(address for address in wanted if address not in own)


def describe_missing(address: IPAddress) -> str:
    """Return what a missing end means, which setting names it, and the remedy."""
    return (
        f"address {address}: on no interface of this machine, so nothing that nodes send to it arrives here; "
        "`ip addr` lists what there is: add it there, or correct `address` in lbbackend.yaml"
    )
