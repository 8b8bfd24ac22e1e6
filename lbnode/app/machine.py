"""What holds on this node's machine now, read from the kernel: true whether or not the daemon runs."""

from __future__ import annotations

from dataclasses import dataclass

from lbnode.app.build import COMMAND, bpffs_of
from lbnode.daemon.lock import running_pid
from lbnode.dataplane.attachments import interface_index
from lbnode.dataplane.node_snapshot import NodeSnapshot, read_node
from lbnode.model.ids import EpochNumber, PoolName
from lbnode.netdev import bpffs
from lbnode.settings.node import NodeSettings


@dataclass(frozen=True, slots=True)
class MachineStatus:
    """One node's machine.

    `epochs`: by pool, 0 without table. `packets` and `bytes`: what became of them, by outcome.
    """

    name: str
    daemon_pid: int | None
    interface: str
    xdp: str
    epochs: dict[PoolName, EpochNumber]
    packets: dict[str, int]
    bytes: dict[str, int]


def read_machine(settings: NodeSettings) -> MachineStatus:
    """Return what holds now. Raises DataPlaneError."""
    directory = bpffs_of(settings)
    held = (read_node(directory) if bpffs.is_mounted(directory) else None) or NodeSnapshot({}, {}, {})
    ifindex = interface_index(settings.interface) if held.xdp else 0
    return MachineStatus(
        name=settings.name,
        daemon_pid=running_pid(settings.run_dir, COMMAND),
        interface=settings.interface,
        xdp=held.xdp.get(ifindex, "detached"),
        epochs=held.epochs,
        packets={name: count.packets for name, count in held.counters.items()},
        bytes={name: count.bytes for name, count in held.counters.items()},
    )
