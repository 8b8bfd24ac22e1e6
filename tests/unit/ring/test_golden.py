"""What version 1 of the algorithm gives, frozen: nodes of one fleet may run different releases.

If a test here fails, tables or buckets are no longer those of the releases in the field. That is a new
version of the algorithm: count up `lbnode.model.epoch.ALGORITHM`, keep the old one for fleets that still
speak it, and add the new values here.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest

from lbnode.model.epoch import ALGORITHM
from ring.bucket import Flow, bucket_of, derive_keys
from ring.slots import Slot
from ring.table import Table, build


def weighted(count: int, failed: int = 0) -> list[Slot]:
    """Weights 1 to 7 in turn; every `failed`-th slot is down."""
    return [Slot(n, 1 + n % 7, n + 1, not failed or n % failed != 0) for n in range(count)]


TABLES: dict[str, Callable[[], Table]] = {
    "one backend": lambda: build(65537, 0, [Slot(0, 1, 1)]),
    "equal": lambda: build(65537, 1, [Slot(n, 1, n + 1) for n in range(10)]),
    "weighted": lambda: build(65537, 2**64 - 1, weighted(100)),
    "failed": lambda: build(65537, 3, weighted(100, failed=3)),
    "history": lambda: build(65537, 4, weighted(20, failed=3), [weighted(20), weighted(20, failed=4)]),
    "standing": lambda: build(
        65537,
        4,
        weighted(20, failed=3),
        [weighted(20), weighted(20, failed=4)],
        range(1, 15),
        [1, 4],
        [7, 13],
    ),
    "small": lambda: build(13, 5, weighted(4, failed=3), [weighted(4)]),
    "nobody": lambda: build(13, 6, weighted(4, failed=1)),
}

DIGESTS = {
    1: {
        "one backend": "af436fd0934e77192259bc758ce46bff",
        "equal": "b5391612dc689203eec31ab4386ff1d2",
        "weighted": "11618498ea7cb50b3fa1dfc7d6848392",
        "failed": "a87f991947349aa85dcf43f5b498a84d",
        "history": "cccb3345321d2ce5f173e5f9b60297a8",
        "standing": "f79e1fdd2db3c4c3379265270d03e7ec",
        "small": "61a02e8f9ae37d426f6707891febc505",
        "nobody": "9351fd8038dbcfa4d753d67f6135004e",
    }
}

KEYS = derive_keys(bytes(range(32)), 7)
V4 = Flow.between(ip_address("192.0.2.1"), 50000, ip_address("198.51.100.9"), 443, 6)
V6 = Flow.between(ip_address("2001:db8::1"), 50000, ip_address("2001:db8::80"), 53, 17)


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_those_of_this_version_of_the_algorithm(name: str) -> None:
    assert TABLES[name]().digest() == DIGESTS[ALGORITHM][name]


def test_a_small_table_is_frozen_in_plain_sight() -> None:
    table = TABLES["small"]()
    assert table.owners.tolist() == [2, 3, 2, 3, 3, 3, 3, 2, 2, 2, 3, 3, 2]
    assert table.first.tolist() == [0, 4, 4, 0, 0, 4, 0, 4, 4, 0, 0, 1, 0]
    assert not table.second.any()


def test_keys_are_derived_as_ever() -> None:
    assert KEYS.words[0] == 0xACDA3B94DCE461F6
    assert KEYS.words[10] == 0xC52F1EE89BCCAE6E
    assert KEYS.sip.hex() == "e3a97e00e7f28802db04a7943e1f1131"


@pytest.mark.parametrize(
    ("flow", "algorithm", "mode", "bucket"),
    [
        (V4, "multiply", "flow", 16702),
        (V4, "multiply", "source", 121),
        (V4, "siphash", "flow", 50016),
        (V4, "siphash", "source", 59005),
        (V6, "multiply", "flow", 42206),
        (V6, "multiply", "source", 22982),
        (V6, "siphash", "flow", 47196),
        (V6, "siphash", "source", 16186),
    ],
)
def test_flows_keep_their_buckets(flow: Flow, algorithm: str, mode: str, bucket: int) -> None:
    assert bucket_of(KEYS, algorithm, mode, flow, 65537) == bucket
