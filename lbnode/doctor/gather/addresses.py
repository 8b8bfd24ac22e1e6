"""The machine's own addresses, beside those that the settings say it has."""

from __future__ import annotations

from collections.abc import Iterable

from lbnode.doctor.facts import AddressFacts
from lbnode.model.ids import IPAddress
from lbnode.netdev import Netlink
from lbnode.netdev.addresses import every_address


async def own_addresses(
    netlink: Netlink, service: str, wanted: Iterable[tuple[str, IPAddress]]
) -> AddressFacts:
    """Look for the addresses that are `wanted`, each with the setting that names it. Raises NetdevError."""
    return AddressFacts(service, tuple(wanted), await every_address(netlink))
