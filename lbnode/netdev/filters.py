"""BPF programs on a link's way out: the clsact qdisc with a direct-action filter.

Filter and qdisc belong to the kernel, not to a process: they stay when the daemon stops, and are replaced in
place.
"""

from __future__ import annotations

import errno

from lbnode.netdev.errors import NetdevError
from lbnode.netdev.links import Link, link_named
from lbnode.netdev.netlink import Message, Netlink, error_code

EGRESS = 0xFFFFFFF3  # TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)
ETH_P_ALL = 3
PRIORITY = 0x656B  # "ek": ours among other people's filters
HANDLE = 1


async def attach_egress(netlink: Netlink, interface: str, program_fd: int, name: str) -> None:
    """Run the program behind `program_fd` on every packet that leaves by `interface`.

    An earlier filter of ours is replaced without a gap; those of others stay. `name` is what `tc filter show`
    says.
    """
    link = await link_named(netlink, interface)
    await _ensure_clsact(netlink, link)
    await netlink.request(
        f"attach bpf filter to {interface} egress", "tc", "replace-filter", "bpf", link.index, HANDLE,
        parent=EGRESS, prio=PRIORITY, protocol=ETH_P_ALL, fd=program_fd, name=name, direct_action=True,
    )  # fmt: skip


async def detach_egress(netlink: Netlink, interface: str) -> bool:
    """Take our filter off, and the clsact qdisc when nobody else has a filter there.

    False when there was none.
    """
    link = await link_named(netlink, interface)
    if not await attached_egress(netlink, interface):
        return False
    await netlink.request(
        f"detach bpf filter from {interface} egress", "tc", "del-filter", "bpf", link.index, HANDLE,
        parent=EGRESS, prio=PRIORITY, protocol=ETH_P_ALL,
    )  # fmt: skip
    if not await _filters(netlink, link, EGRESS) and not await _filters(netlink, link, EGRESS - 1):
        await netlink.request(f"remove clsact from {interface}", "tc", "del", "clsact", link.index)
    return True


async def attached_egress(netlink: Netlink, interface: str) -> str | None:
    """Return the name of our filter on `interface`, or None when there is none."""
    link = await link_named(netlink, interface)
    for message in await _filters(netlink, link, EGRESS):
        options = message.get("TCA_OPTIONS")
        if message["info"] >> 16 == PRIORITY and options is not None and options.get("TCA_BPF_NAME"):
            return str(options.get("TCA_BPF_NAME"))
    return None


async def _filters(netlink: Netlink, link: Link, parent: int) -> list[Message]:
    try:
        return await netlink.dump(f"filters of {link.name}", "get_filters", index=link.index, parent=parent)
    except NetdevError as error:
        if error_code(error) in (errno.EINVAL, errno.ENOENT):  # no clsact qdisc, so no filters
            return []
        raise


async def _ensure_clsact(netlink: Netlink, link: Link) -> None:
    try:
        await netlink.request(f"add clsact to {link.name}", "tc", "add", "clsact", link.index)
    except NetdevError as error:
        if error_code(error) != errno.EEXIST:
            raise
