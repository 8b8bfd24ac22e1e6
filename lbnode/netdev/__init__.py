"""The kernel's network configuration, in the namespace that the daemon runs in.

The one owner of pyroute2, of /proc/sys/net and of mount(2). Everything that touches netlink is async and
takes a `Netlink` session; all changes are idempotent, so that a daemon may say again what it wants after any
restart.
"""

from lbnode.netdev.errors import InterfaceMissingError, NetdevError
from lbnode.netdev.links import Link
from lbnode.netdev.netlink import Netlink

__all__ = ["InterfaceMissingError", "Link", "NetdevError", "Netlink"]
