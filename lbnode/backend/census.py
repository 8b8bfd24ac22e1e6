"""Which flows this backend holds, pool by pool and bucket by bucket, and which VIPs nobody here listens for. Pure.

TIME_WAIT counts for nothing: such a flow is over for both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from lbnode.backend.plan import ServedVip
from lbnode.model.epoch import Epoch
from lbnode.model.fleet import HashAlgorithm
from lbnode.model.ids import PoolName
from lbnode.model.members import FleetIdentity
from lbnode.model.vip import Protocol
from lbnode.netdev.sockets import Flows, Listener
from ring.bucket import WORDS, Flow, bucket_of, buckets_of, derive_keys

NO_LISTENER = "nobody listens in this network namespace (a published container port?): delivered as it comes"


def hearing(vips: Iterable[ServedVip], listeners: Iterable[Listener]) -> frozenset[ServedVip]:
    """Return the TCP VIPs that somebody here listens for, be it on one of many ports or addresses."""
    known = tuple(listeners)
    return frozenset(
        vip
        for vip in vips
        if vip.protocol is Protocol.TCP and any(each.hears(vip.key.network, vip.key.ports) for each in known)
    )


def flows_of(pool: PoolName, vips: Iterable[ServedVip], flows: Flows) -> list[Flows]:
    """Return the flows of `pool`: those to its TCP VIPs."""
    served = [vip for vip in vips if vip.protocol is Protocol.TCP]
    return [_flows_of_vip(vip, served, flows) for vip in served if vip.pool == pool]


def _flows_of_vip(vip: ServedVip, served: Iterable[ServedVip], flows: Flows) -> Flows:
    """Those to its addresses and ports, but for what VIPs take that go before it."""
    mine = flows.to(vip.key.network, vip.key.ports)
    for other in served:
        if other.key.precedence > vip.key.precedence and other.key.overlaps(vip.key):
            mine = mine.but_to(other.key.network, other.key.ports)
    return mine


def totals(pools: Iterable[PoolName], vips: Iterable[ServedVip], flows: Flows) -> Mapping[PoolName, int]:
    """Return how many flows of each pool are held."""
    served = tuple(vips)
    return {pool: sum(map(len, flows_of(pool, served, flows))) for pool in sorted(pools)}


def count_buckets(
    epoch: Epoch, identity: FleetIdentity, vips: Iterable[ServedVip], flows: Flows
) -> NDArray[np.uint16]:
    """Return the flows held in each bucket of the epoch's pool, at most 65535 each."""
    words = np.concatenate(
        [np.empty((0, WORDS), np.uint32), *(_words(some) for some in flows_of(epoch.pool, vips, flows))]
    )
    counts = np.bincount(_buckets(epoch, identity, words), minlength=epoch.table_size)
    return np.minimum(counts, np.iinfo(np.uint16).max).astype(np.uint16)


def _words(flows: Flows) -> NDArray[np.uint32]:
    """The words that the data plane hashes, a row each flow."""
    rest = np.column_stack([flows.ports, np.full(len(flows), Protocol.TCP, np.uint32)])
    return np.concatenate([flows.remote, flows.local, rest], axis=1).astype(np.uint32)


def _buckets(epoch: Epoch, identity: FleetIdentity, words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    keys = derive_keys(bytes.fromhex(identity.keys[epoch.key_id]), epoch.seed)
    mode = epoch.hash_mode.value
    if epoch.hash_algorithm is HashAlgorithm.MULTIPLY:
        return buckets_of(keys, mode, words, epoch.table_size)
    each = (bucket_of(keys, epoch.hash_algorithm.value, mode, _flow(row), epoch.table_size) for row in words)
    return np.fromiter(each, dtype=np.uint32, count=len(words))


def _flow(row: NDArray[np.uint32]) -> Flow:
    raw = row.astype("<u4").tobytes()
    client, vip = (int.from_bytes(raw[at : at + 2], "big") for at in (32, 34))
    return Flow(raw[:16], raw[16:32], client, vip, int(row[9]))
