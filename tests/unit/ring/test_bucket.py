"""From a flow to its bucket: the bytes that are hashed, the two hashes, and what the keys protect."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, ip_address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ring.bucket import BucketKeys, Flow, bucket_of, buckets_of, derive_keys, words_of
from ring.errors import RingError
from ring.siphash import siphash

SECRET = bytes(range(32))
KEYS = derive_keys(SECRET, 7)
TCP = 6

ports = st.integers(0, 65535)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
flows = st.builds(Flow.between, addresses, ports, addresses, ports, st.sampled_from([TCP, 17]))
sizes = st.sampled_from([2, 7, 251, 65537, 16777213])

client = Flow.between(IPv4Address("192.0.2.1"), 0x1234, IPv4Address("198.51.100.9"), 443, TCP)


def keys_with(**words: int) -> BucketKeys:
    """Keys that are zero except for word k<n>."""
    return BucketKeys(tuple(words.get(f"k{n}", 0) for n in range(11)), bytes(16))


def hash_of(keys: BucketKeys) -> int:
    """The hash of `client` before its last step, which is undone: read through a table of 2^32 buckets."""
    mixed = bucket_of(keys, "multiply", "flow", client, 1 << 32) * pow(0x9E3779B1, -1, 1 << 32) % (1 << 32)
    return mixed ^ mixed >> 16


def word_seen_by(number: int) -> int:
    """The word of `client` that key `number` multiplies."""
    return hash_of(keys_with(**{f"k{number}": 1 << 32}))


def test_words_are_those_that_a_little_endian_host_loads_from_the_packet() -> None:
    source, destination = (
        int.from_bytes(IPv4Address(a).packed, "little") for a in ("192.0.2.1", "198.51.100.9")
    )
    ports_word = int.from_bytes(struct.pack(">HH", 0x1234, 443), "little")
    expected = [0, 0, 0, source, 0, 0, 0, destination, ports_word, TCP]
    assert [word_seen_by(number) for number in range(1, 11)] == expected
    assert words_of([client]).tolist() == [expected]


def test_the_first_key_is_added() -> None:
    assert hash_of(keys_with(k0=99 << 32)) == 99


def test_siphash_hashes_forty_bytes_and_keeps_the_upper_half() -> None:
    message = (
        bytes(12)
        + bytes([192, 0, 2, 1])
        + bytes(12)
        + bytes([198, 51, 100, 9])
        + b"\x12\x34\x01\xbb\x06\0\0\0"
    )
    assert client.packed() == message
    h32 = siphash(KEYS.sip, message) >> 32
    assert bucket_of(KEYS, "siphash", "flow", client, 65537) == h32 * 65537 >> 32


def test_siphash_by_source_sees_the_address_and_zeros() -> None:
    h32 = siphash(KEYS.sip, client.source + bytes(24)) >> 32
    assert bucket_of(KEYS, "siphash", "source", client, 65537) == h32 * 65537 >> 32


@given(
    flow=flows,
    size=sizes,
    algorithm=st.sampled_from(["multiply", "siphash"]),
    mode=st.sampled_from(["flow", "source"]),
)
def test_every_flow_has_a_bucket_inside_the_table(flow: Flow, size: int, algorithm: str, mode: str) -> None:
    assert 0 <= bucket_of(KEYS, algorithm, mode, flow, size) < size


@given(
    batch=st.lists(flows, max_size=20),
    size=sizes,
    mode=st.sampled_from(["flow", "source"]),
    seed=st.integers(0, 2**64 - 1),
)
def test_many_flows_at_once_get_the_buckets_that_they_get_singly(
    batch: list[Flow], size: int, mode: str, seed: int
) -> None:
    keys = derive_keys(SECRET, seed)
    singly = [bucket_of(keys, "multiply", mode, flow, size) for flow in batch]
    assert buckets_of(keys, mode, words_of(batch), size).tolist() == singly


@given(flow=flows, other=flows, algorithm=st.sampled_from(["multiply", "siphash"]))
def test_by_source_a_client_keeps_its_bucket(flow: Flow, other: Flow, algorithm: str) -> None:
    again = Flow(flow.source, other.destination, other.source_port, other.destination_port, other.protocol)
    assert bucket_of(KEYS, algorithm, "source", flow, 65537) == bucket_of(
        KEYS, algorithm, "source", again, 65537
    )


@pytest.mark.parametrize("algorithm", ["multiply", "siphash"])
def test_a_clients_consecutive_ports_spread_over_backends(algorithm: str) -> None:
    """Over 16 equal parts of the table no part has a fifth more than its share."""
    source, vip = ip_address("2001:db8::1"), ip_address("2001:db8::80")
    count = 60_000 if algorithm == "multiply" else 4_000
    batch = [Flow.between(source, port, vip, 443, TCP) for port in range(1024, 1024 + count)]
    if algorithm == "multiply":
        buckets = buckets_of(KEYS, "flow", words_of(batch), 65537)
    else:
        buckets = np.array([bucket_of(KEYS, "siphash", "flow", flow, 65537) for flow in batch])
    parts = np.bincount(buckets * 16 // 65537, minlength=16)
    assert parts.max() < 1.2 * parts.mean()


def test_one_clients_many_flows_spread_over_backends_as_random_ones_under_every_key() -> None:
    """10,000 ports over 100 parts: without the last step 8 keys in 100 give a part 1.6 times its share."""
    vip = ip_address("198.51.100.9")
    batch = words_of(
        Flow.between(ip_address("192.0.2.1"), port, vip, 443, TCP) for port in range(20000, 30000)
    )
    for seed in range(200):
        buckets = buckets_of(derive_keys(SECRET, seed), "flow", batch, 65537).astype(np.uint64)
        assert np.bincount(buckets * 100 // 65537).max() < 1.5 * len(batch) / 100


@pytest.mark.parametrize("algorithm", ["multiply", "siphash"])
def test_two_flows_meet_in_a_bucket_as_rarely_as_by_chance(algorithm: str) -> None:
    """Over 4,000 keys: both hashes promise at most 1/M for any two flows, near ones too."""
    near = Flow.between(ip_address("192.0.2.1"), 0x1235, ip_address("198.51.100.9"), 443, TCP)
    keys = [derive_keys(SECRET, seed) for seed in range(4000)]
    met = sum(
        bucket_of(k, algorithm, "flow", client, 61) == bucket_of(k, algorithm, "flow", near, 61) for k in keys
    )
    assert met < 4000 / 61 + 6 * (4000 / 61) ** 0.5


def test_keys_differ_by_secret_and_by_seed() -> None:
    other = derive_keys(bytes(32), 7)
    assert len({KEYS.sip, other.sip, derive_keys(SECRET, 8).sip}) == 3
    words = [*KEYS.words, *other.words, *derive_keys(SECRET, 8).words]
    assert len(set(words)) == 33


def test_keys_do_not_show_themselves() -> None:
    assert str(KEYS.words[3]) not in repr(KEYS)
    assert KEYS.sip.hex() not in f"{KEYS}"


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_secret_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(RingError, match=f"fleet secret: 32 bytes are needed, not {length}"):
        derive_keys(bytes(length), 7)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_derives_no_keys(seed: int) -> None:
    with pytest.raises(RingError, match="seed"):
        derive_keys(SECRET, seed)


def test_unknown_words_are_refused() -> None:
    with pytest.raises(RingError, match="hash algorithm 'md5': must be multiply or siphash"):
        bucket_of(KEYS, "md5", "flow", client, 7)
    with pytest.raises(RingError, match="hash mode 'port': must be flow or source"):
        bucket_of(KEYS, "multiply", "port", client, 7)
    with pytest.raises(RingError, match="hash mode 'port'"):
        buckets_of(KEYS, "port", words_of([client]), 7)


@pytest.mark.parametrize(
    ("words", "sip"), [((1,) * 10, bytes(16)), ((2**64,) * 11, bytes(16)), ((1,) * 11, b"")]
)
def test_keys_of_another_shape_are_refused(words: tuple[int, ...], sip: bytes) -> None:
    with pytest.raises(RingError, match="bucket keys"):
        BucketKeys(words, sip)
