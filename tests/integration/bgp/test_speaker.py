"""The speaker with a real ExaBGP, against a real BIRD as the router."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from .conftest import Node, Router, eventually

VIP = "192.0.2.1/32"
VIP2 = "192.0.2.2/32"
VIP6 = "2001:db8:1::1/128"
GRACEFUL_SHUTDOWN = "65535:0"
TOO_FAR = "TcpExtTCPMinTTLDrop"
"""The kernel's counter of segments whose TTL says that they have come too far."""
PASSWORD = "s3cret # ; word"


def write_secret(directory: Path, password: str) -> str:
    """Write a password file as it should be; return its path."""
    path = directory / "password"
    path.write_text(f"{password}\n")
    path.chmod(0o600)
    return str(path)


def stop_whole(exabgp: int) -> None:
    """SIGSTOP ExaBGP and its relay."""
    relay = Path(f"/proc/{exabgp}/task/{exabgp}/children").read_text().split()
    for pid in [exabgp, *map(int, relay)]:
        os.kill(pid, signal.SIGSTOP)


def running(pid: int) -> bool:
    """True while the process runs; a zombie does not."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_an_announced_address_reaches_the_routers_kernel(router: Router, node: Node) -> None:
    node.daemon().announce(VIP)
    eventually("the route", lambda: router.next_hops(VIP) == {node.address})


def test_two_nodes_with_the_same_address_share_it_by_ecmp(
    router: Router, make_node: Callable[[], Node]
) -> None:
    one, other = make_node(), make_node()
    for node in (one, other):
        node.daemon().announce(VIP)
    eventually("both next hops", lambda: router.next_hops(VIP) == {one.address, other.address})


def test_a_route_left_out_of_the_next_set_is_withdrawn_and_the_others_stay(
    router: Router, node: Node
) -> None:
    daemon = node.daemon()
    daemon.announce(VIP, VIP2)
    eventually("both routes", lambda: router.next_hops(VIP) and router.next_hops(VIP2))
    daemon.announce(VIP2)
    eventually("the withdrawal", lambda: not router.next_hops(VIP))
    assert router.next_hops(VIP2) == {node.address}


def test_the_graceful_shutdown_community_replaces_the_route_in_place(router: Router, node: Node) -> None:
    daemon = node.daemon()
    daemon.announce(VIP)
    eventually("the route", lambda: router.routes(VIP))
    daemon.announce(VIP, communities=[GRACEFUL_SHUTDOWN])
    eventually("the community", lambda: router.routes(VIP)[0].communities == (GRACEFUL_SHUTDOWN,))
    assert router.next_hops(VIP) == {node.address}


def test_an_ipv4_session_carries_ipv6_routes_when_it_has_a_next_hop_for_them(
    router: Router, node: Node
) -> None:
    daemon = node.daemon(node.settings(next_hop=node.address6))
    assert daemon.announce(VIP, VIP6)["refused"] == {}
    eventually("both routes", lambda: router.next_hops(VIP) and router.next_hops(VIP6) == {node.address6})


def test_an_ipv6_session_carries_ipv6_routes(router: Router, node: Node) -> None:
    settings = node.settings(address=str(router.address6), local_address=node.address6)
    node.daemon(settings).announce(VIP6)
    eventually("the route", lambda: router.next_hops(VIP6) == {node.address6})


def test_a_route_that_no_session_carries_is_refused_with_the_reason(router: Router, node: Node) -> None:
    answer = node.daemon().announce(VIP6)
    assert "no neighbor carries IPv6" in answer["refused"][VIP6]


def test_a_session_with_a_password_and_ttl_security_comes_up(
    silent_router: Router, node: Node, tmp_path: Path
) -> None:
    silent_router.protection = {"md5_password": PASSWORD, "ttl_security": True}
    silent_router.start()
    secret = write_secret(tmp_path, PASSWORD)
    node.daemon(node.settings(md5_password_file=secret, ttl_hops=1)).announce(VIP)
    eventually("the route", lambda: silent_router.next_hops(VIP) == {node.address})


def test_another_password_than_the_routers_gives_no_session(
    silent_router: Router, node: Node, tmp_path: Path
) -> None:
    silent_router.protection = {"md5_password": PASSWORD}
    silent_router.start()
    secret = write_secret(tmp_path, "another")
    daemon = node.daemon(node.settings(md5_password_file=secret))
    daemon.announce(VIP)
    refused = "TcpExtTCPMD5Failure"
    eventually("a refused segment", lambda: silent_router.counter(refused) > 0)
    assert daemon.state["neighbors"][str(silent_router.address)].startswith("down: ")


def test_a_node_without_the_password_gets_no_session(silent_router: Router, node: Node) -> None:
    silent_router.protection = {"md5_password": PASSWORD}
    silent_router.start()
    daemon = node.daemon()
    daemon.announce(VIP)
    eventually("a refused segment", lambda: silent_router.counter("TcpExtTCPMD5NotFound") > 0)
    state = daemon.state["neighbors"][str(silent_router.address)]
    assert state.startswith("down: ")
    assert not silent_router.next_hops(VIP)


def test_a_router_with_ttl_security_refuses_a_node_that_could_be_far_away(
    silent_router: Router, node: Node
) -> None:
    silent_router.protection = {"ttl_security": True}
    silent_router.start()
    node.daemon(node.settings(ttl_hops=None)).announce(VIP)
    eventually("a refused segment", lambda: silent_router.counter(TOO_FAR) > 0)
    assert not silent_router.next_hops(VIP)


def test_a_node_with_ttl_security_refuses_a_router_that_could_be_far_away(router: Router, node: Node) -> None:
    daemon = node.daemon(node.settings(ttl_hops=1))
    daemon.announce(VIP)
    eventually("a refused segment", lambda: node.counter(TOO_FAR) > 0)
    assert daemon.state["neighbors"][str(router.address)].startswith("down: ")
    assert not router.next_hops(VIP)


def test_a_router_that_expects_another_as_is_down_with_the_remedy(router: Router, node: Node) -> None:
    settings = node.settings() | {"local_as": 64999}
    daemon = node.daemon(settings)
    address = str(router.address)
    eventually("the reason", lambda: "compare local_as" in daemon.state["neighbors"][address])


def test_a_killed_exabgp_is_out_of_the_router_within_a_second_and_comes_back(
    router: Router, node: Node
) -> None:
    daemon = node.daemon()
    daemon.announce(VIP)
    eventually("the route", lambda: router.routes(VIP))
    first = daemon.exabgp
    os.kill(first, signal.SIGKILL)
    eventually("the loss", lambda: not router.routes(VIP), patience_s=1.0)
    eventually("another exabgp", lambda: daemon.state["pid"] not in (first, None))
    eventually("the route again", lambda: router.next_hops(VIP) == {node.address})
    eventually("the session", lambda: daemon.state["neighbors"] == {str(router.address): "up"})


def test_a_killed_relay_is_replaced_and_told_everything_again(router: Router, node: Node) -> None:
    daemon = node.daemon()
    daemon.announce(VIP, VIP2)
    eventually("the routes", lambda: router.next_hops(VIP))
    children = Path(f"/proc/{daemon.exabgp}/task/{daemon.exabgp}/children")
    (relay,) = children.read_text().split()
    os.kill(int(relay), signal.SIGKILL)
    eventually("another relay", lambda: children.read_text().split() not in ([], [relay]))
    daemon.announce(VIP2)
    eventually("the new set", lambda: router.next_hops(VIP2) and not router.next_hops(VIP))


def test_a_killed_daemon_leaves_its_routes_announced_and_the_next_one_adopts_them(
    router: Router, node: Node
) -> None:
    first = node.daemon()
    first.announce(VIP)
    eventually("the route", lambda: router.next_hops(VIP))
    exabgp = first.exabgp
    first.kill()
    assert running(exabgp)
    second = node.daemon()
    eventually("the adopted set", lambda: second.state["announced"] == {VIP: []})
    assert second.exabgp == exabgp
    assert router.next_hops(VIP) == {node.address}
    second.announce(VIP2)
    eventually("the change", lambda: router.next_hops(VIP2) and not router.next_hops(VIP))


def test_an_exabgp_whose_pid_file_was_never_written_is_adopted_all_the_same(
    router: Router, node: Node
) -> None:
    first = node.daemon()
    first.announce(VIP)
    exabgp = first.exabgp
    first.kill()
    (node.run_dir / "exabgp.pid").unlink()
    second = node.daemon()
    assert second.exabgp == exabgp
    assert second.state["announced"] == {VIP: []}


def test_an_exabgp_that_does_not_answer_is_ended_and_replaced(router: Router, node: Node) -> None:
    first = node.daemon()
    first.announce(VIP)
    exabgp = first.exabgp
    first.kill()
    stop_whole(exabgp)
    second = node.daemon()
    second.announce(VIP)
    assert second.exabgp != exabgp
    assert not running(exabgp)


def test_nobody_who_adopts_within_adopt_s_withdraws_everything_and_ends_exabgp(
    router: Router, node: Node
) -> None:
    daemon = node.daemon(adopt_s=2.0)
    daemon.announce(VIP)
    eventually("the route", lambda: router.next_hops(VIP))
    exabgp = daemon.exabgp
    daemon.kill()
    assert router.next_hops(VIP) == {node.address}
    eventually("the withdrawal", lambda: not router.next_hops(VIP))
    eventually("the end of exabgp", lambda: not running(exabgp))


def test_a_daemon_that_returns_after_everything_was_withdrawn_starts_anew(router: Router, node: Node) -> None:
    first = node.daemon(adopt_s=0.2)
    first.announce(VIP)
    exabgp = first.exabgp
    first.kill()
    eventually("the end of exabgp", lambda: not running(exabgp))
    second = node.daemon()
    second.announce(VIP)
    eventually("the route", lambda: router.next_hops(VIP) == {node.address})
    assert second.exabgp != exabgp


def test_another_configuration_is_not_adopted_but_replaces_the_running_one(
    router: Router, node: Node
) -> None:
    first = node.daemon()
    first.announce(VIP)
    eventually("the route", lambda: router.next_hops(VIP))
    exabgp = first.exabgp
    first.kill()
    second = node.daemon(node.settings(next_hop=node.address6))
    second.announce(VIP6)
    eventually("the new set", lambda: router.next_hops(VIP6) and not router.next_hops(VIP))
    assert not running(exabgp)


def test_a_daemon_that_leaves_keeps_its_routes_for_the_next(router: Router, node: Node) -> None:
    first = node.daemon()
    first.announce(VIP)
    eventually("the route", lambda: router.next_hops(VIP))
    exabgp = first.exabgp
    first.end("leave")
    second = node.daemon()
    assert second.exabgp == exabgp
    assert router.next_hops(VIP) == {node.address}


def test_a_daemon_that_stops_withdraws_first_and_ends_exabgp(router: Router, node: Node) -> None:
    daemon = node.daemon()
    daemon.announce(VIP)
    eventually("the route", lambda: router.next_hops(VIP))
    exabgp = daemon.exabgp
    daemon.end("stop")
    eventually("the withdrawal", lambda: not router.routes(VIP), patience_s=1.0)
    assert not running(exabgp)
    assert not (node.run_dir / "exabgp.pid").exists()


def test_a_router_that_restarts_is_told_everything_again(router: Router, node: Node) -> None:
    daemon = node.daemon()
    daemon.announce(VIP)
    eventually("the route", lambda: router.next_hops(VIP))
    router.stop()
    eventually("the loss", lambda: daemon.state["neighbors"][str(router.address)].startswith("down: "))
    router.start()
    eventually("the route again", lambda: router.next_hops(VIP) == {node.address})
    eventually("the session", lambda: daemon.state["neighbors"] == {str(router.address): "up"})


def test_a_router_out_of_reach_is_a_state_and_not_an_error(silent_router: Router, node: Node) -> None:
    daemon = node.daemon()
    assert daemon.announce(VIP)["refused"] == {}
    assert daemon.state["neighbors"][str(silent_router.address)].startswith("down: ")
    silent_router.start()
    eventually("the route", lambda: silent_router.next_hops(VIP) == {node.address})


def test_a_node_that_dies_without_a_word_is_out_after_the_hold_time(router: Router, node: Node) -> None:
    daemon = node.daemon()
    daemon.announce(VIP)
    eventually("the route", lambda: router.next_hops(VIP))
    node.cut()
    eventually("the loss", lambda: not router.next_hops(VIP), patience_s=5.0)
    eventually("the state", lambda: daemon.state["neighbors"][str(router.address)].startswith("down: "))
