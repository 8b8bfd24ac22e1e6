"""What the doctor makes of facts that are hard to come by in a test: hardware, luck, and a daemon's own words."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest

from lbnode.doctor.checks.addresses import check_addresses
from lbnode.doctor.checks.host import check_kernel
from lbnode.doctor.checks.interface import check_interface
from lbnode.doctor.checks.paths import check_paths
from lbnode.doctor.checks.traffic import check_daemon, check_probes, check_routers
from lbnode.doctor.facts import (
    AddressFacts,
    DaemonFacts,
    DaemonWords,
    InterfaceFacts,
    KernelFacts,
    Outcome,
    PathFacts,
    ProbeFacts,
    RouterFacts,
)
from lbnode.doctor.findings import Examination, Grade, is_healthy

CARD = InterfaceFacts(
    name="eth0",
    service="lbnode",
    faces_clients=True,
    present=True,
    up=True,
    running=True,
    driver="ixgbe",
    mtu=1600,
    mode="native",
    wanted="auto",
    reason="",
    native_possible=True,
    lro=False,
    is_veth=False,
    peer=None,
    lost_on_the_way_back=0,
)
ROUTER = RouterFacts(ip_address("10.0.1.1"), 65000, 65001, ip_address("10.0.1.11"), "down", "", False)
PROBE = ProbeFacts("192.0.2.10:80", "web", "b1", Outcome.ACCEPTED)


def test_a_card_in_native_mode_is_good() -> None:
    assert check_interface(CARD).findings == ()


def test_merged_packets_are_lost_and_keep_xdp_generic() -> None:
    generic, lost = check_interface(replace(CARD, mode="generic", lro=True)).findings
    assert (generic.grade, lost.grade) == (Grade.WARNING, Grade.FAILURE)
    assert "merges packets" in generic.what
    assert lost.mend == "ethtool -K eth0 lro off"


def test_a_driver_without_xdp_is_told_from_one_that_refuses() -> None:
    (none,) = check_interface(replace(CARD, mode="generic", native_possible=False)).findings
    (refuses,) = check_interface(replace(CARD, mode="generic", reason="device busy")).findings
    assert "the driver (ixgbe) has no native XDP" in none.what
    assert refuses.what.endswith("device busy")


def test_generic_that_was_asked_for_is_no_finding() -> None:
    assert check_interface(replace(CARD, mode="generic", wanted="generic")).findings == ()


@pytest.mark.parametrize(("lost", "grade"), [(0, Grade.UNCHECKED), (7, Grade.FAILURE)])
def test_a_veth_whose_other_end_is_out_of_sight_is_judged_by_what_it_lost(lost: int, grade: Grade) -> None:
    veth = replace(CARD, driver="veth", is_veth=True, lost_on_the_way_back=lost)
    assert [found.grade for found in check_interface(veth).findings] == [grade]


def test_a_daemons_own_alarms_are_passed_on() -> None:
    (found,) = check_daemon(
        DaemonFacts("lbnode", 7, DaemonWords(True, ("pool web: keeps its old table",)))
    ).findings
    assert found.what == "says: pool web: keeps its old table"


def test_a_daemon_that_runs_cut_off_is_told_from_one_that_does_not_run() -> None:
    (cut_off,) = check_daemon(DaemonFacts("lbnode", 7, DaemonWords(False))).findings
    (dead,) = check_daemon(DaemonFacts("lbnode", None, DaemonWords(False))).findings
    assert (cut_off.what, dead.what) == ("is not connected to the fleet", "does not run")


def test_a_daemon_that_does_not_answer_is_not_said_to_be_cut_off_as_well() -> None:
    words = DaemonWords(True, silent="no answer from unix:/run/evenkeel/lbnode/rpc.sock within 2 s")
    (found,) = check_daemon(DaemonFacts("lbnode", 7, words)).findings
    assert found.what == words.silent
    assert found.mend.startswith("kill -USR1 7 ")


def test_a_session_cannot_be_opened_from_an_address_that_is_elsewhere() -> None:
    here, elsewhere = ip_address("10.0.1.11"), ip_address("10.0.1.12")
    wanted = (("address", here), ("bgp.local_address", elsewhere))
    (found,) = check_addresses(AddressFacts("lbnode", wanted, frozenset({here}))).findings
    assert (found.grade, found.subject) == (Grade.FAILURE, "bgp.local_address 10.0.1.12")


def test_a_kernel_without_features_is_told_what_it_lacks() -> None:
    old = KernelFacts("4.19.0", has_btf=False, missing=("XDP links", "ring of ids"), refused={})
    btf, features = check_kernel(old).findings
    assert "does not describe its own structures" in btf.what
    assert features.what == "it has no XDP links, no ring of ids"
    assert features.mend.startswith("boot Linux 5.15 or newer")


def test_a_hundred_backends_on_narrow_links_are_one_finding() -> None:
    narrow = PathFacts("b0", ip_address("10.0.2.1"), "eth0", ip_address("10.0.1.1"), True, 1500, 1500, 28)
    many = [replace(narrow, backend=f"b{number}") for number in range(100)]
    other = replace(narrow, backend="wide", expected_mtu=1600, measured_mtu=1600)
    (found,) = check_paths([*many, other]).findings
    assert found.subject.startswith("backends b0 (10.0.2.1), b1 (10.0.2.1), ")
    assert found.subject.endswith(" and 96 more")
    lone, lost = check_paths([narrow, replace(narrow, has_neighbour=False)]).findings[::-1]
    assert (lone.subject, lost.grade) == ("backend b0 (10.0.2.1)", Grade.FAILURE)


def test_an_interface_without_carrier_is_found_and_one_that_is_down_is_found_once() -> None:
    (found,) = check_interface(replace(CARD, running=False)).findings
    assert (found.grade, found.what) == (Grade.FAILURE, "has no carrier")
    (found,) = check_interface(replace(CARD, up=False, running=False)).findings
    assert found.what == "is down"


def test_a_router_without_a_password_must_know_this_node() -> None:
    (found,) = check_routers([replace(ROUTER, contact="Connection refused")]).findings
    assert found.what == "the session is down; port 179: Connection refused"
    assert "neighbor 10.0.1.11 as 65001" in found.mend


def test_a_wrong_password_looks_like_silence_and_is_said_to() -> None:
    (found,) = check_routers([replace(ROUTER, contact="no answer within 1 s", has_password=True)]).findings
    assert "wrong TCP MD5 password" in found.what


def test_a_session_that_is_up_needs_no_contact() -> None:
    assert check_routers([replace(ROUTER, session="up")]).findings == ()


@pytest.mark.parametrize(
    ("outcome", "grade"),
    [
        (Outcome.SILENT, Grade.FAILURE),
        (Outcome.REFUSED, Grade.FAILURE),
        (Outcome.NOT_SENT, Grade.FAILURE),
        (Outcome.NO_BUCKET, Grade.UNCHECKED),
        (Outcome.NO_ADDRESS, Grade.UNCHECKED),
    ],
)
def test_every_probe_that_was_not_accepted_is_a_finding(outcome: Outcome, grade: Grade) -> None:
    (found,) = check_probes([replace(PROBE, outcome=outcome)]).findings
    assert (found.grade, found.subject) == (grade, "VIP 192.0.2.10:80 to backend b1")


def test_an_answer_with_an_unfinished_checksum_is_a_warning() -> None:
    (found,) = check_probes([replace(PROBE, is_finished=False)]).findings
    assert found.grade is Grade.WARNING


def test_only_failures_make_a_machine_ill() -> None:
    warned = check_probes([replace(PROBE, is_finished=False)])
    failed = check_probes([replace(PROBE, outcome=Outcome.SILENT)])
    assert is_healthy((Examination("kernel", "good"), warned))
    assert not is_healthy((warned, failed))
