# ruff: noqa: E501 - tables of cases read by the line
from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from lbnode.model.fleet import HashAlgorithm, HashMode, HealthCheck, Join, OnAllFailed, Protocol, WrongPort
from lbnode.model.tunnel import TunnelFamily
from lbnode.settings.fleet import FleetFileError, load_fleet, read_fleet
from lbnode.settings.fleet_text import write_fleet

EXAMPLE = Path(__file__).parents[3] / "deploy" / "examples" / "fleet.yaml"

GOOD = """
fleet: demo
backends:
  - {name: b1, address: 10.0.2.1}
  - {name: b2, address: 10.0.2.2}
pools:
  - name: web
    backends: [b1, {name: b2, weight: 3, slot: 7}]
vips:
  - {address: 192.0.2.10, port: 80, pool: web}
"""


DUAL = (
    GOOD.replace("10.0.2.1", "[2001:db8:2::1, 10.0.2.1]")
    .replace("address: 10.0.2.2", 'address: ["2001:db8:2::2"]')
    .replace("  - name: web", "  - name: web\n    tunnel: ipv6")
)


def problems(text: str) -> list[str]:
    with pytest.raises(FleetFileError) as caught:
        read_fleet(text)
    return str(caught.value).splitlines()


def broken(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_good_file_becomes_a_desired_fleet() -> None:
    fleet = read_fleet(GOOD)
    (pool,) = fleet.pools
    assert [member.backend for member in pool.members] == ["b1", "b2"]
    assert [(member.weight, member.slot) for member in pool.members] == [(1, None), (3, 7)]
    assert (pool.table_size, pool.hash_mode, pool.hash_algorithm) == (
        65537,
        HashMode.FLOW,
        HashAlgorithm.MULTIPLY,
    )
    (vip,) = fleet.vips
    assert (vip.address, vip.port, vip.protocol) == (ip_address("192.0.2.10"), 80, Protocol.TCP)


def test_a_backend_has_an_address_of_either_family_or_of_both() -> None:
    fleet = read_fleet(DUAL)
    assert [one.addresses for one in fleet.backends] == [
        (ip_address("10.0.2.1"), ip_address("2001:db8:2::1")),
        (ip_address("2001:db8:2::2"),),
    ]
    assert fleet.pools[0].tunnel is TunnelFamily.IPV6


def test_without_health_backends_are_probed_on_the_port_of_the_pools_first_tcp_vip() -> None:
    text = broken("port: 80,", "port: 8080,")
    assert read_fleet(text).pools[0].health == HealthCheck(port=8080)


def test_a_pool_behind_udp_vips_alone_is_not_probed_by_default() -> None:
    assert read_fleet(broken("port: 80,", "port: 53, protocol: udp,")).pools[0].health is None


@pytest.mark.parametrize("word", ["off", "false", "none", '"off"'])
def test_health_can_be_turned_off(word: str) -> None:
    assert read_fleet(broken("  - name: web", f"  - name: web\n    health: {word}")).pools[0].health is None


def test_every_setting_of_a_pool_and_a_vip_is_read() -> None:
    text = broken(
        "  - name: web",
        "  - name: web\n    table_size: 251\n    hash: source\n    hash_algorithm: siphash\n"
        "    health: {port: 9, interval_s: 0.5, timeout_s: 2, rise: 1, fall: 5}\n"
        "    health_cap_percent: 30\n    on_all_failed: keep\n"
        "    affinity_window_s: 60\n    flow_table: true\n    udp_idle_s: 2.5",
    ).replace("pool: web}", "pool: web, protocol: udp, wrong_port: pass}")
    fleet = read_fleet(text)
    pool = fleet.pools[0]
    assert (pool.table_size, pool.hash_mode, pool.hash_algorithm) == (
        251,
        HashMode.SOURCE,
        HashAlgorithm.SIPHASH,
    )
    assert pool.health == HealthCheck(9, 0.5, 2.0, 1, 5)
    assert (pool.health_cap_percent, pool.on_all_failed) == (30, OnAllFailed.KEEP)
    assert (pool.affinity_window_s, pool.flow_table, pool.udp_idle_s) == (60.0, True, 2.5)
    assert (fleet.vips[0].protocol, fleet.vips[0].wrong_port) == (Protocol.UDP, WrongPort.PASS)


@pytest.mark.parametrize(
    ("value", "config_id"), [("{config_id: 6}", 6), ("{}", 0), ("off", None), ("{config_id: 0}", 0)]
)
def test_quic_is_off_unless_given(value: str, config_id: int | None) -> None:
    quic = read_fleet(broken("  - name: web", f"  - name: web\n    quic: {value}")).pools[0].quic
    assert (quic.config_id if quic else None) == config_id


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is empty; write: {config_id: 0}, or leave it out"),
        ("{config_id: 7}", r"use 0\.\.6"),
        ("{config: 1}", "config"),
    ],
)
def test_a_configuration_that_no_id_can_name_is_refused(value: str, said: str) -> None:
    with pytest.raises(FleetFileError, match=said):
        read_fleet(broken("  - name: web", f"  - name: web\n    quic: {value}"))


def test_a_fleet_written_as_text_reads_back_the_same() -> None:
    for text in (
        GOOD,
        EXAMPLE.read_text(),
        broken("  - name: web", "  - name: web\n    health: off\n    hash: source"),
        broken(
            "  - name: web",
            "  - name: web\n    affinity_window_s: 90.5\n    flow_table: yes\n    udp_idle_s: 5",
        ),
        broken("  - name: web", "  - name: web\n    table: maglev"),
        broken("  - name: web", "  - name: web\n    join: auto"),
        broken("  - name: web", "  - name: web\n    quic: {config_id: 3}"),
        GOOD.replace("{name: b1, address: 10.0.2.1}", "{name: b1, address: 10.0.2.1, agent: false}"),
        DUAL,
    ):
        fleet = read_fleet(text)
        assert read_fleet(write_fleet(fleet)) == fleet


def test_a_pool_that_backends_join_by_themselves_needs_none_in_the_file() -> None:
    text = broken("    backends: [b1, {name: b2, weight: 3, slot: 7}]", "    join: auto")
    (pool,) = read_fleet(text).pools
    assert (pool.join, pool.members) == (Join.AUTO, ())


def test_a_pool_without_backends_is_told_both_ways_to_have_some() -> None:
    found = problems(broken("    backends: [b1, {name: b2, weight: 3, slot: 7}]\n", ""))
    assert found == [
        "fleet.yaml:7: pools[0].backends: is missing; list them, or let those in that ask for it: join: auto"
    ]


def test_the_shipped_example_is_good() -> None:
    assert load_fleet(EXAMPLE).name == "demo"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weight: 3", "weight: 70000", "8: pools[0].backends[1].weight: 70000 is out of range; use 1..65535"),
        ("weight: 3", "weight: 0", "8: pools[0].backends[1].weight: 0 is out of range; use 1..65535, and to give"),
        ("weight: 3", "weight: -1", "8: pools[0].backends[1].weight: -1 is out of range"),
        ("weight: 3", "weight: heavy", "8: pools[0].backends[1].weight: 'heavy' is not a whole number"),
        ("weight: 3", "weight: 1.5", "8: pools[0].backends[1].weight: 1.5 is not a whole number"),
        ("weight: 3", "weight: true", "8: pools[0].backends[1].weight: True is not a whole number"),
        ("weight: 3", "weight: ", "8: pools[0].backends[1].weight: is empty; use 1..65535"),
        ("weight: 3", "wieght: 3", "8: pools[0].backends[1].wieght: unknown key; did you mean 'weight'?"),
        ("slot: 7", "slot: 65535", "8: pools[0].backends[1].slot: 65535 is out of range; use 0..65534"),
        ("[b1, ", "[b1, b1, ", "8: pools[0].backends[1]: b1 is given already in pools[0].backends[0]"),
        ("[b1, ", "[{name: b1, slot: 7}, ", "8: pools[0].backends[1].slot: 7 is given already in"),
        ("[b1, ", "[b11, ", "8: pools[0].backends[0]: no backend is called 'b11'; did you mean 'b1'?"),
        ("[b1, {name: b2, weight: 3, slot: 7}]", "[]", "8: pools[0].backends: is empty; a pool has at least one"),
        ("    backends: [b1, {name: b2, weight: 3, slot: 7}]\n", "", "7: pools[0].backends: is missing"),
        ("[b1, {name: b2, weight: 3, slot: 7}]", "b1", "8: pools[0].backends: 'b1' is not a list"),
        ("10.0.2.2", "10.0.2.1", "5: backends[1].address: 10.0.2.1 is given already in backends[0].address"),
        ("10.0.2.2", "10.0.2.300", "5: backends[1].address: '10.0.2.300' is not an IP address; write it like"),
        ("10.0.2.2", "10.0.2.2/24", "5: backends[1].address: '10.0.2.2/24' is a network; write one address"),
        ("10.0.2.2", "10.0.02.2", "5: backends[1].address: '10.0.02.2' is not an IP address"),
        ("10.0.2.2", "167772674", "5: backends[1].address: 167772674 is not an IP address"),
        ("10.0.2.2", "192.0.2.10", "10: vips[0].address: 192.0.2.10 is that of backend b2; use one that no machine"),
        ("10.0.2.2", "[10.0.2.2, 10.0.2.3]", "5: backends[1].address: 10.0.2.2 and 10.0.2.3 are both IPv4; give at most one"),
        ("10.0.2.2", "[2001:db8::1, 2001:db8::2]", "5: backends[1].address: 2001:db8::1 and 2001:db8::2 are both IPv6"),
        ("10.0.2.2", "[10.0.2.2, fe80::1]", "5: backends[1].address: fe80::1 is a link-local address"),
        ("10.0.2.2", "[2001:db8::1, 10.0.2.1]", "5: backends[1].address: 10.0.2.1 is given already in backends[0].address"),
        ("10.0.2.2", "[]", "5: backends[1].address: is an empty list; give an address, or one of each family"),
        ("  - name: web", "  - name: web\n    tunnel: ipv6", "8: pools[0].tunnel: ipv6, but no IPv6 address is given for b1, b2; write address: [IPV4, IPV6] there"),
        ("10.0.2.2", "2001:db8::2", "7: pools[0].tunnel: ipv4, but no IPv4 address is given for b2; write"),
        ("  - name: web", "  - name: web\n    tunnel: gre", "8: pools[0].tunnel: 'gre' is not known; use ipv4 or ipv6"),
        ("192.0.2.10", "224.0.0.5", "10: vips[0].address: 224.0.0.5 is a multicast address"),
        ("192.0.2.10", "127.0.0.1", "10: vips[0].address: 127.0.0.1 is a loopback address"),
        ("192.0.2.10", "0.0.0.0", "10: vips[0].address: 0.0.0.0 is the unspecified address"),
        ("192.0.2.10", "0.1.2.3", '10: vips[0].address: 0.1.2.3 is an address of "this network"'),
        ("192.0.2.10", "255.255.255.255", "10: vips[0].address: 255.255.255.255 is a reserved or broadcast"),
        ("192.0.2.10", "169.254.1.1", "10: vips[0].address: 169.254.1.1 is a link-local address"),
        ("192.0.2.10", '"::ffff:192.0.2.10"', "10: vips[0].address: ::ffff:192.0.2.10 is an IPv4 address in IPv6"),
        ("192.0.2.10", '"fe80::1%eth0"', "10: vips[0].address: fe80::1%eth0 belongs to one link"),
        ("port: 80", "port: 0", "10: vips[0].port: 0 is out of range; use 1..65535"),
        ("port: 80", 'port: "80"', "10: vips[0].port: '80' is no port; use 1..65535, a range"),
        ("port: 80", "port: 80, protocol: sctp", "10: vips[0].protocol: 'sctp' is not known; use tcp or udp"),
        ("pool: web}", "pool: wep}", "10: vips[0].pool: no pool is called 'wep'; did you mean 'web'?"),
        ("pool: web}", "poll: web}", "10: vips[0].poll: unknown key; did you mean 'pool'?"),
        ("name: b1,", "name: b2,", "5: backends[1].name: b2 is given already in backends[0].name"),
        ("name: b1,", "name: on,", "4: backends[0].name: True is not a name; use letters and digits, in quotes"),
        ("name: b1,", "name: ../b1,", "4: backends[0].name: '../b1' is no name; use letters, digits"),
        ("name: b1,", f"name: {'b' * 64},", "4: backends[0].name: 'bbb"),
        ("  - name: web", "  - name: web\n    table_size: 65536", "8: pools[0].table_size: 65536 is not a prime"),
        ("  - name: web", "  - name: web\n    hash: sauce", "8: pools[0].hash: 'sauce' is not known; use flow or source"),
        ("  - name: web", "  - name: web\n    health: {port: 0}", "8: pools[0].health.port: 0 is out of range"),
        ("  - name: web", "  - name: web\n    health: {prot: 1}", "8: pools[0].health.prot: unknown key; did you mean 'port'?"),
        ("  - name: web", "  - name: web\n    health: {port: 1, interval_s: .inf}", "8: pools[0].health.interval_s: inf"),
        ("  - name: web", "  - name: web\n    health: {port: 1, timeout_s: 0}", "8: pools[0].health.timeout_s: 0 is out"),
        ("  - name: web", "  - name: web\n    health: {port: 1, rise: 0}", "8: pools[0].health.rise: 0 is out of range"),
        ("  - name: web", "  - name: web\n    health:", "8: pools[0].health: is empty; leave it out"),
        ("  - name: web", "  - name: web\n    health_cap_percent: 101", "8: pools[0].health_cap_percent: 101 is out"),
        ("  - name: web", "  - name: web\n    affinity_window_s: 0", "8: pools[0].affinity_window_s: 0 is out of range; use 1..604800 seconds: about the life of your longest flows"),
        ("  - name: web", "  - name: web\n    affinity_window_s: 1h", "8: pools[0].affinity_window_s: '1h' is not a number of seconds; use 1..604800"),
        ("  - name: web", "  - name: web\n    flow_table: 1", "8: pools[0].flow_table: 1 is not a yes or no; use true or false"),
        ("  - name: web", "  - name: web\n    udp_idle_s: 0", "8: pools[0].udp_idle_s: 0 is out of range; use 0.05..3600 seconds"),
        ("  - name: web", "  - name: web\n    name: api", "8: pools[0].name: given twice, first in line 7; keep one"),
        ("fleet: demo", "fleet: de mo", "2: fleet: 'de mo' is no name"),
        ("fleet: demo", "flet: demo", "2: flet: unknown key; did you mean 'fleet'?"),
        ("fleet: demo\n", "", "fleet: is missing; write it like: fleet: demo"),
        ("vips:\n", "vips: x\nvip:\n", "10: vip: unknown key; did you mean 'vips'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_its_place_and_the_remedy(old: str, new: str, message: str) -> None:
    assert any(message in problem for problem in problems(broken(old, new)))


def test_one_mistake_gives_one_message() -> None:
    """A pool whose backend is misspelt, and a VIP whose pool has a mistake, cause no follow-up errors."""
    assert len(problems(broken("address: 10.0.2.2", "address: 10.0.2.x"))) == 1
    assert len(problems(broken("  - name: web", "  - name: web\n    hash: sauce"))) == 1


def test_all_mistakes_are_listed_at_once_in_the_order_of_their_lines() -> None:
    text = (
        broken("weight: 3", "weight: 70000").replace("10.0.2.1", "10.0.2").replace("pool: web}", "pool: api}")
    )
    found = problems(text)
    assert [line.split(":")[1] for line in found] == ["4", "8", "10"]


def test_a_vip_is_given_once() -> None:
    again = GOOD + "  - {address: 192.0.2.10, port: 80, protocol: tcp, pool: web}\n"
    assert problems(again) == [
        "fleet.yaml:11: vips[1]: 192.0.2.10:80/tcp is given already in vips[0]; "
        "a VIP points at one pool; remove one of the two"
    ]


def test_vips_may_share_an_address_but_not_disagree_about_its_other_ports() -> None:
    other = GOOD + "  - {address: 192.0.2.10, port: 443, pool: web}\n"
    assert len(read_fleet(other).vips) == 2
    (problem,) = problems(other.replace("443,", "443, wrong_port: pass,"))
    assert "vips[1].wrong_port: pass for 192.0.2.10, but vips[0] has drop; say the same in both" in problem


def test_more_backends_than_buckets_do_not_fit() -> None:
    (problem,) = problems(broken("  - name: web", "  - name: web\n    table_size: 2").replace("[b1, ", "[b1, b3, ").replace(
        "pools:", "  - {name: b3, address: 10.0.2.3}\npools:"
    ))  # fmt: skip
    assert "pools[0].backends: 3 backends do not fit" in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; a fleet needs at least"),
        ("# nothing\n", "is empty"),
        ("[", "not YAML"),
        ("a: b: c", "fleet.yaml:1: not YAML: mapping values are not allowed"),
        ("fleet: x\n---\nfleet: y\n", "not YAML: but found another document"),
        ("fleet: *x", "not YAML: found undefined alias"),
        ("fleet: 2024-13-45", "not YAML: month must be in 1..12"),
        ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("\x00", "not YAML"),
        ("[" * 100_000, "nests more than 32 deep"),
        ("- 1\n", "[1] is no fleet; use the keys fleet, backends, pools, vips"),
        ("fleet: demo\nbackends: {b1: 10.0.2.1}\n", "2: backends: {'b1': '10.0.2.1'} is not a list"),
        ("fleet: demo\nbackends: [b1]\n", "2: backends[0]: 'b1' is not a mapping (key: value)"),
        ("fleet: demo\nbackends:\n", "2: backends: is empty; it must be a list"),
        ("x: " + "y" * (4 << 20), "longer than"),
    ],
)
def test_text_that_is_no_fleet_is_refused_with_a_reason(text: str, message: str) -> None:
    assert message in "\n".join(problems(text))


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 25)]
    found = problems("a0: &a0 [x]\n" + "\n".join(levels) + "\nbackends: *a24\n")
    assert max(map(len, found)) < 300


def test_anchors_and_merge_keys_work() -> None:
    text = broken(
        "  - name: web",
        "  - name: api\n    health: &h {port: 81}\n    backends: [b1]\n  - name: web\n    health: *h",
    )
    assert [pool.health for pool in read_fleet(text).pools] == [HealthCheck(81), HealthCheck(81)]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FleetFileError, match=r"absent\.yaml: cannot be read: No such file or directory"):
        load_fleet(tmp_path / "absent.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"fleet: \xff")
    with pytest.raises(FleetFileError, match="byte 7 is not UTF-8"):
        load_fleet(binary)


def test_the_error_is_also_an_answer_for_the_operator_who_sent_the_file() -> None:
    with pytest.raises(FleetFileError) as caught:
        read_fleet(broken("port: 80", "port: 0"))
    refusal = caught.value.refusal()
    assert "vips[0].port: 0 is out of range" in refusal.reason
    assert "lbctl config check" in refusal.remedy
