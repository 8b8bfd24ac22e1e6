"""Tables as the kernel holds them: a word a bucket, struct bucket of `lbnode/bpf/layout.h`. Pure but for the flags.

Words of a table that carries traffic may be changed one by one: each store is seen whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lbnode.dataplane.errors import DataPlaneError
from lbnode.dataplane.values import PoolTable

Words = NDArray[np.uint64]

_FLAGS_SHIFT = np.uint64(48)
_OWNER = np.uint64(0xFFFF)


def check(table: PoolTable) -> None:
    """Raise DataPlaneError for a table that is none."""
    shapes = {array.shape for array in (table.owners, table.first, table.second)}
    if shapes != {(table.size,)} or table.size < 1:
        raise DataPlaneError(f"stage pool {table.pool}: a table of size {table.size} has arrays of {shapes}")
    if table.epoch < 1:
        raise DataPlaneError(f"stage pool {table.pool}: epoch {table.epoch}: numbers start at 1")


def pack_buckets(table: PoolTable, constants: Mapping[str, int]) -> Words:
    """Return the buckets as words, little-endian; `constants` are those of the layout."""
    packed = np.zeros((table.size, 4), dtype="<u2")
    quic = table.quic
    packed[:, 0], packed[:, 1], packed[:, 2] = table.owners, table.first, table.second
    if table.flow_table:
        packed[:, 3] = _flags(table, constants)
    if quic is not None:
        packed[:, 3] |= constants["BUCKET_QUIC"] | quic.config_id << constants["BUCKET_QUIC_SHIFT"]
    return packed.view("<u8").reshape(-1)


def unpack_buckets(words: Words) -> tuple[NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint16]]:
    """Return owners, first and second alternates: what `pack_buckets` was given, copied."""
    columns = words.view("<u2").reshape(-1, 4)
    return columns[:, 0].copy(), columns[:, 1].copy(), columns[:, 2].copy()


def pack_members(table: PoolTable, constants: Mapping[str, int]) -> Words:
    """Return what lies behind the buckets: a bit for each backend that QUIC's connection ids may name."""
    if table.quic is None:
        return np.zeros(0, dtype="<u8")
    bits = np.zeros(constants["BACKEND_PLACES"], dtype=np.uint8)
    bits[list(table.quic.members)] = 1
    return np.packbits(bits, bitorder="little").view("<u8")


def _flags(table: PoolTable, constants: Mapping[str, int]) -> NDArray[np.uint16]:
    """Buckets with alternates have changed; those of them that have failed get no UDP."""
    failed = np.array(sorted(table.failed), dtype=np.uint16)
    flags = {
        "BUCKET_CHANGED": table.first != 0,
        "BUCKET_FIRST_FAILED": np.isin(table.first, failed),
        "BUCKET_SECOND_FAILED": np.isin(table.second, failed),
    }
    total = np.zeros(table.size, dtype=np.uint16)
    for name, holds in flags.items():
        total |= holds * np.uint16(constants[name])
    return total


def moved(before: Words, after: Words) -> NDArray[np.bool_]:
    """Return which buckets have another owner in `after`."""
    return np.asarray((before ^ after) & _OWNER != 0)


def with_flag(words: Words, which: NDArray[np.bool_], flag: int) -> None:
    """Set `flag` of the buckets `which`, in place."""
    words[which] |= np.uint64(flag) << _FLAGS_SHIFT


def without_flag(words: Words, flag: int) -> None:
    """Take `flag` from all buckets that have it, in place."""
    mask = np.uint64(flag) << _FLAGS_SHIFT
    words[words & mask != 0] &= ~mask
