"""Where the backend's maps and link are pinned: found, adopted, made, removed.

<directory>/decap-link             the XDP link
<directory>/decap-maps-<digest>/   the maps, one folder for each layout
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from lbnode.dataplane.errors import DataPlaneError, PinError
from lbnode.dataplane.libbpf import BpfObject, Map, XdpLink, xdp_mode
from lbnode.dataplane.memory import MAPS as NODE_MAPS

MAPS = (*NODE_MAPS, "sources", "agent_state", "fragments")
MAPS_PREFIX = "decap-maps-"
LINK_PIN = "decap-link"


def maps_directory(directory: Path, digest: str) -> Path:
    """Return where maps of the layout `digest` are pinned."""
    return directory / (MAPS_PREFIX + digest)


def open_maps(pins: Path) -> dict[str, Map] | None:
    """Return the maps that are pinned in `pins`; None unless all are."""
    opened: dict[str, Map] = {}
    try:
        for name in MAPS:
            opened[name] = Map.open_pinned(pins / name)
    except PinError:
        for held in opened.values():
            held.close()
        return None
    return opened


def adopt_maps(pins: Path, decap: BpfObject) -> dict[str, Map] | None:
    """Let `decap` use the pinned maps; None when there are none. What a crash left incomplete is removed."""
    if not pins.exists():
        return None
    maps = open_maps(pins)
    if maps is None:
        shutil.rmtree(pins)
        return None
    for name, adopted in maps.items():
        decap.reuse(name, adopted)
    return maps


def pin_maps(pins: Path, decap: BpfObject) -> dict[str, Map]:
    """Pin the maps that loading `decap` made, and return them."""
    pins.mkdir(mode=0o700)
    maps = {name: decap.map(name) for name in MAPS}
    for name, made in maps.items():
        made.pin(pins / name)
    return maps


def remove_maps(directory: Path, keep: str = "") -> bool:
    """Remove the maps of every layout but `keep`; return whether there were any."""
    stale = [path for path in directory.glob(MAPS_PREFIX + "*") if path != maps_directory(directory, keep)]
    for path in stale:
        shutil.rmtree(path)
    return bool(stale)


def remove_link(directory: Path) -> bool:
    """Take the pinned link off its interface and remove the pin; return whether there was one."""
    path = directory / LINK_PIN
    if not path.exists():
        return False
    with contextlib.closing(XdpLink.open_pinned(path)) as link, contextlib.suppress(DataPlaneError):
        link.detach()  # fails when the interface is gone, and the program with it
    path.unlink()
    return True


def pinned_mode(directory: Path) -> str:
    """Return how the pinned link hangs on its interface: "native", "generic", or "detached" if not."""
    path = directory / LINK_PIN
    if not path.exists():
        return "detached"
    with contextlib.closing(XdpLink.open_pinned(path)) as link:
        mode = xdp_mode(link.ifindex) if link.ifindex else None
    return mode.name.lower() if mode is not None else "detached"
