"""What holds on this node's machine now, read from the kernel: true whether or not the daemon runs."""

from __future__ import annotations

from dataclasses import dataclass

from lbnode.app.build import COMMAND, bpffs_of
from lbnode.daemon.lock import running_pid
from lbnode.dataplane.attachments import interface_index
from lbnode.dataplane.node_snapshot import NodeSnapshot, read_node
from lbnode.model.ids import BackendId, EpochNumber, PoolName
from lbnode.netdev import bpffs
from lbnode.settings.node import NodeSettings


@dataclass(frozen=True, slots=True)
class MachineStatus:
    """One node's machine.

    `epochs`: by pool, 0 without table. `packets` and `bytes`: what became of them, by outcome. The others count what
    was forwarded: a pool's is the sum of its VIPs', backends are known by their ids here.
    """

    name: str
    daemon_pid: int | None
    interface: str
    xdp: str
    epochs: dict[PoolName, EpochNumber]
    packets: dict[str, int]
    bytes: dict[str, int]
    vips: dict[str, dict[str, int]]
    pools: dict[PoolName, dict[str, int]]
    backends: dict[BackendId, dict[str, int]]


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
        vips={str(key): count._asdict() for key, count in held.vips.items()},
        pools={pool: count._asdict() for pool, count in held.pools.items()},
        backends={number: count._asdict() for number, count in held.backends.items()},
    )
