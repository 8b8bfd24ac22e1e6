"""The MACs of the node's own interfaces: frames for another one are not the program's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.memory import NodeMemory

_MAC_SIZE = 6
_ANY = 0


def set_interfaces(memory: NodeMemory, macs: Mapping[int, bytes]) -> None:
    """Write the MACs (6 bytes, by interface index) into their places; all others are set to "any".

    Two interfaces that share a place take frames for any MAC: indices would have to differ by a multiple of
    INTERFACE_PLACES. Raises DataPlaneError for something that is no MAC; then nothing changes.
    """
    wanted = np.full(len(memory.own_macs), _ANY, dtype=np.uint64)
    taken: set[int] = set()
    for ifindex, mac in macs.items():
        if len(mac) != _MAC_SIZE:
            raise DataPlaneError(f"interface {ifindex}: MAC {mac.hex(':')}: must have {_MAC_SIZE} bytes")
        place = ifindex % len(wanted)
        wanted[place] = _ANY if place in taken else int.from_bytes(mac, "little") << 16
        taken.add(place)
    for changed in np.flatnonzero(wanted != memory.own_macs):
        memory.own_macs[changed] = wanted[changed]
