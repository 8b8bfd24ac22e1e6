"""Where the backend's maps and link are pinned.

<directory>/decap-link                     the XDP link
<directory>/decap-maps                     the maps in use, and those of other makings beside them: see `pins`
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.layout import AGENT_MAPS
from lbnode.dataplane.layout import MAPS as NODE_MAPS
from lbnode.dataplane.libbpf import XdpLink, xdp_mode
from lbnode.dataplane.pins import BACKEND, Pins

SHARED = ("fragments",)
MAPS = (*NODE_MAPS, *AGENT_MAPS, *SHARED)
LINK_PIN = "decap-link"


def pins_of(directory: Path) -> Pins:
    """Return the pins of the backend's maps."""
    return Pins(directory, BACKEND)


def remove_link(directory: Path) -> bool:
    """Take the pinned link off its interface and remove the pin; return whether there was one."""
    path = directory / LINK_PIN
    if not path.exists():
        return False
    with contextlib.closing(XdpLink.open_pinned(path)) as link, contextlib.suppress(DataPlaneError):
        link.detach()  # fails when the interface is gone, and the program with it
    path.unlink()
    return True


def holds_link(directory: Path) -> bool:
    """Return whether a pinned link hangs on an interface."""
    return pinned_mode(directory) != "detached"


def pinned_mode(directory: Path) -> str:
    """Return how the pinned link hangs on its interface: "native", "generic", or "detached" if not."""
    path = directory / LINK_PIN
    if not path.exists():
        return "detached"
    with contextlib.closing(XdpLink.open_pinned(path)) as link:
        mode = xdp_mode(link.ifindex) if link.ifindex else None
    return mode.name.lower() if mode is not None else "detached"
