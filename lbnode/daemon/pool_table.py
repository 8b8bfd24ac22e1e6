"""From an epoch and its table to what the data plane takes: the same for nodes and agents."""

from __future__ import annotations

from lbnode.core.history import failed, remaining
from lbnode.dataplane.values import PoolTable, QuicRouting
from lbnode.model.epoch import Epoch
from lbnode.model.fleet import QuicIds
from lbnode.model.members import FleetIdentity
from ring.bucket import derive_keys
from ring.table import Table


def pool_table(
    epoch: Epoch,
    table: Table,
    identity: FleetIdentity,
    flow_table: bool = False,
    local: bool = False,
    quic: QuicIds | None = None,
) -> PoolTable:
    """Return the table and everything that a packet's way to its bucket depends on.

    `flow_table`: nodes of this pool remember flows that the second chance does not cover; agents never do. `local`:
    the epoch is a node's own view of it. `quic`: as the pool has it.
    """
    return PoolTable(
        pool=epoch.pool,
        epoch=epoch.number,
        digest=table.digest(),
        size=epoch.table_size,
        mode=epoch.hash_mode,
        algorithm=epoch.hash_algorithm,
        keys=derive_keys(bytes.fromhex(identity.keys[epoch.key_id]), epoch.seed),
        owners=table.owners,
        first=table.first,
        second=table.second,
        flow_table=flow_table,
        failed=failed(epoch),
        local=local,
        tunnel=epoch.tunnel.version,
        quic=QuicRouting(quic.config_id, remaining(epoch)) if quic is not None else None,
    )
