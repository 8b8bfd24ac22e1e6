from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import pytest

from bgp.config import Neighbor, SpeakerSettings, configuration, environment
from bgp.errors import SettingsError

RELAY = ["/opt/evenkeel/bin/python", "-m", "bgp.relay", "/run/a b/relay.json"]
FOUR = Neighbor(ip_address("10.0.1.1"), 65000, ip_address("10.0.1.11"))
SIX = Neighbor(ip_address("fd00::1"), 65000, ip_address("fd00::11"), hold_time_s=9)
SETTINGS = SpeakerSettings(IPv4Address("10.0.1.11"), 65001, (FOUR, SIX))


def block_of(text: str, neighbor: Neighbor) -> str:
    return text.partition(f"neighbor {neighbor.address} {{")[2].partition("\n}")[0]


def test_each_router_has_a_block_with_its_own_values() -> None:
    text = configuration(SETTINGS, RELAY)
    assert "hold-time 3;" in block_of(text, FOUR)
    assert "hold-time 9;" in block_of(text, SIX)
    assert "local-address fd00::11;" in block_of(text, SIX)
    assert "local-as 65001;" in block_of(text, FOUR)


def test_a_session_carries_its_own_family_and_the_other_only_with_a_next_hop() -> None:
    both = replace(FOUR, next_hop=ip_address("fd00::11"))
    text = configuration(replace(SETTINGS, neighbors=(both, SIX)), RELAY)
    assert "ipv4 unicast;" in block_of(text, both)
    assert "ipv6 unicast;" in block_of(text, both)
    assert "ipv4 unicast;" not in block_of(text, SIX)


def test_exabgp_keeps_what_it_announced_for_a_router_that_comes_back() -> None:
    assert configuration(SETTINGS, RELAY).count("adj-rib-out true;") == 2


def test_the_relay_is_run_with_each_word_quoted() -> None:
    assert 'run "/opt/evenkeel/bin/python" "-m" "bgp.relay" "/run/a b/relay.json";' in configuration(
        SETTINGS, RELAY
    )


def test_a_password_is_written_in_base64_and_only_for_its_router() -> None:
    text = configuration(SETTINGS, RELAY, {FOUR.address: 'a"b;#\\'})
    assert base64.b64encode(b'a"b;#\\').decode() in block_of(text, FOUR)
    assert "md5" not in block_of(text, SIX)


def test_one_hop_means_that_packets_have_lost_nothing_of_their_ttl() -> None:
    text = configuration(replace(SETTINGS, neighbors=(replace(FOUR, ttl_hops=1),)), RELAY)
    assert "incoming-ttl 255;" in text
    assert "incoming-ttl" not in configuration(SETTINGS, RELAY)


def test_exabgp_listens_nowhere_and_opens_no_command_pipe() -> None:
    text = environment("lb", Path("/run/x/exabgp.log"))
    assert "bind = ''" in text
    assert "cli = false" in text
    assert "user = 'lb'" in text


BAD_SETTINGS: list[tuple[str, Callable[[], Any]]] = [
    (r"neighbors\.10\.0\.1\.1\.hold_time_s: 2 .*3", lambda: replace(FOUR, hold_time_s=2)),
    (r"neighbors\.10\.0\.1\.1\.hold_time_s: 65536", lambda: replace(FOUR, hold_time_s=65536)),
    (r"neighbors\.10\.0\.1\.1\.peer_as: 0", lambda: replace(FOUR, peer_as=0)),
    (r"neighbors\.fd00::1\.peer_as: 4294967296", lambda: replace(SIX, peer_as=1 << 32)),
    (r"neighbors\.10\.0\.1\.1\.ttl_hops: 255", lambda: replace(FOUR, ttl_hops=255)),
    (
        r"neighbors\.10\.0\.1\.1\.local_address: fd00::11",
        lambda: replace(FOUR, local_address=SIX.local_address),
    ),
    (
        r"neighbors\.10\.0\.1\.1\.next_hop: 10\.9\.9\.9",
        lambda: replace(FOUR, next_hop=ip_address("10.9.9.9")),
    ),
    (r"local_as: 0", lambda: replace(SETTINGS, local_as=0)),
    (r"router_id: 0\.0\.0\.0", lambda: replace(SETTINGS, router_id=IPv4Address(0))),
    (r"neighbors: empty", lambda: replace(SETTINGS, neighbors=())),
    (r"neighbors\.10\.0\.1\.1: named twice", lambda: replace(SETTINGS, neighbors=(FOUR, SIX, FOUR))),
    (r"relay command: '/a\"b'", lambda: configuration(SETTINGS, ['/a"b'])),
    (
        r"10\.0\.1\.1\.md5_password_file: .*81 bytes",
        lambda: configuration(SETTINGS, RELAY, {FOUR.address: "x" * 81}),
    ),
]


@pytest.mark.parametrize(("message", "make"), BAD_SETTINGS)
def test_a_setting_that_cannot_work_is_refused_by_its_path(message: str, make: Callable[[], Any]) -> None:
    with pytest.raises(SettingsError, match=message):
        make()
