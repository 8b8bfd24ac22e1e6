"""Step 1: the bucket, a keyed hash of the flow, reduced to the table's size (docs/adr/0004-bucket-hash.md).

The same arithmetic runs in the node's program (`lbnode/bpf`); words are those that a little-endian host loads
from the packet. Both keyed hashes give 64 bits; the upper 32 are kept ("multiply" stirs them once more) and
reduced by a multiplication: `(h32 * size) >> 32`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address

import numpy as np
from numpy.typing import NDArray

from ring.errors import RingError
from ring.seed import check_seed
from ring.siphash import siphash

WORDS = 10
"""32-bit words of a flow: 4 of the source, 4 of the destination, the ports, the protocol."""
SOURCE_WORDS = 4
SECRET_BYTES = 32

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B1
"""2^32 divided by the golden ratio, to the next odd number."""
_KEYS = struct.Struct("<11Q16s")


@dataclass(frozen=True, slots=True)
class BucketKeys:
    """A pool's secrets: 11 words of 64 bits (a constant, one a word of the flow), 16 bytes for SipHash."""

    words: tuple[int, ...]
    sip: bytes

    def __post_init__(self) -> None:
        if len(self.words) != WORDS + 1 or not all(0 <= word <= _MASK for word in self.words):
            raise RingError(f"bucket keys: {WORDS + 1} words of 64 bits are needed")
        if len(self.sip) != 16:
            raise RingError(f"bucket keys: SipHash needs 16 bytes, not {len(self.sip)}")

    def __repr__(self) -> str:
        return "BucketKeys(secret)"


@dataclass(frozen=True, slots=True)
class Flow:
    """What of a packet its bucket depends on. Addresses in 16 bytes: IPv4 in the last 4, the rest zero."""

    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    protocol: int

    @classmethod
    def between(
        cls,
        source: IPv4Address | IPv6Address,
        source_port: int,
        destination: IPv4Address | IPv6Address,
        destination_port: int,
        protocol: int,
    ) -> Flow:
        """Return the flow from `source` to `destination`, the VIP."""
        return cls(_wide(source), _wide(destination), source_port, destination_port, protocol)

    def packed(self) -> bytes:
        """The 40 bytes to hash: addresses and ports as on the wire, the protocol as a little-endian word."""
        ports = struct.pack(">HH", self.source_port, self.destination_port)
        return self.source + self.destination + ports + struct.pack("<I", self.protocol)


def derive_keys(secret: bytes, seed: int) -> BucketKeys:
    """Return the keys of the pool with `seed` (0..2^64-1) from the fleet's secret of 32 bytes.

    BLAKE2b keyed with the secret, in counter mode over the seed: pools learn nothing of each other's keys.
    """
    if len(secret) != SECRET_BYTES:
        raise RingError(f"fleet secret: {SECRET_BYTES} bytes are needed, not {len(secret)}")
    check_seed(seed)
    blocks = (
        blake2b(struct.pack("<QQ", seed, block), key=secret, person=b"evenkeel bucket").digest()
        for block in range(2)
    )
    *words, sip = _KEYS.unpack(b"".join(blocks)[: _KEYS.size])
    return BucketKeys(tuple(words), sip)


def bucket_of(keys: BucketKeys, algorithm: str, mode: str, flow: Flow, size: int) -> int:
    """Return the bucket, 0..size-1, of `flow` in a table of `size` places.

    `algorithm` is "multiply" or "siphash"; `mode` is "flow", or "source" to hash the source address alone.
    Raises RingError for other words.
    """
    packed = _hashed_part(mode, flow)
    if algorithm == "multiply":
        h32 = _finished(_multilinear(keys, struct.unpack("<10I", packed)) >> 32)
    elif algorithm == "siphash":
        h32 = siphash(keys.sip, packed) >> 32
    else:
        raise RingError(f"hash algorithm {algorithm!r}: must be multiply or siphash")
    return h32 * size >> 32


def words_of(flows: Iterable[Flow]) -> NDArray[np.uint32]:
    """Return the words of each flow as the data plane loads them, shape (flows, 10)."""
    packed = b"".join(flow.packed() for flow in flows)
    return np.frombuffer(packed, dtype="<u4").reshape(-1, WORDS).astype(np.uint32, copy=False)


def buckets_of(keys: BucketKeys, mode: str, words: NDArray[np.uint32], size: int) -> NDArray[np.uint32]:
    """Return the buckets of many flows under "multiply": `words` as from `words_of`, one bucket a row."""
    used = WORDS if mode == "flow" else SOURCE_WORDS
    if mode not in ("flow", "source"):
        raise _unknown_mode(mode)
    total = np.full(len(words), keys.words[0], dtype=np.uint64)
    for column in range(used):
        total += np.uint64(keys.words[column + 1]) * words[:, column].astype(np.uint64)
    h32 = (total >> np.uint64(32)).astype(np.uint32)
    h32 = (h32 ^ h32 >> np.uint32(16)) * np.uint32(_GOLDEN)
    return (h32.astype(np.uint64) * np.uint64(size) >> np.uint64(32)).astype(np.uint32)


def _hashed_part(mode: str, flow: Flow) -> bytes:
    if mode == "flow":
        return flow.packed()
    if mode == "source":
        return flow.source + bytes((WORDS - SOURCE_WORDS) * 4)
    raise _unknown_mode(mode)


def _unknown_mode(mode: str) -> RingError:
    return RingError(f"hash mode {mode!r}: must be flow or source")


def _multilinear(keys: BucketKeys, words: tuple[int, ...]) -> int:
    """k0 + sum of k[i+1] * words[i] mod 2^64: its upper half is strongly universal (Lemire, Kaser 2014)."""
    return (keys.words[0] + sum(key * word for key, word in zip(keys.words[1:], words, strict=True))) & _MASK


def _finished(h32: int) -> int:
    """A bijection of 32 bits: flows that differ alike no longer land equally far apart."""
    return (h32 ^ h32 >> 16) * _GOLDEN & 0xFFFFFFFF


def _wide(address: IPv4Address | IPv6Address) -> bytes:
    return address.packed.rjust(16, b"\0")
