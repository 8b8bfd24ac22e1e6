"""Fragments on real traffic: cut by a client's kernel or by a router, put together by the backend's, and answered.

Promised is what docs/adr/0028-fragments.md says: the fragments of one packet come by one node (this router sends
fragments by their addresses alone), whole packets of the flow by any; all of them reach the backend of the flow.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from lbnode.dataplane.backend import BackendDataPlane
from lbnode.lab import configs
from lbnode.lab.echo import Frames, Request, pack_request, unpack_answer
from lbnode.lab.plan import DRILL_PORT, MTU, SEGMENTS, UDP_PORT, VIP, Role
from lbnode.lab.running import RunningLab, wait_until
from lbnode.lab.shell import call_inside, inside, run
from lbnode.model.ids import BackendName
from lbnode.model.requests import DrainBackend, UndrainBackend

FLOWS = 40
LARGE = bytes(range(250)) * 16
NARROW_MTU = 1000
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0
"""linux/in.h; Python does not name them."""
RESEND_S, PATIENCE_S, SOON_S = 1.0, 6.0, 30.0


def opened(lab: RunningLab, kind: socket.SocketKind, port: int) -> socket.socket:
    """A socket of the client's, connected to the VIP, whose packets may be cut on the way."""

    def connect() -> socket.socket:
        client = socket.socket(socket.AF_INET, kind)
        client.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        client.settimeout(RESEND_S)
        client.connect((str(VIP), port))
        return client

    return call_inside(lab.plan.namespace("client"), connect)


def echoed(client: socket.socket, said: bytes) -> str:
    """Who sent a datagram back, whole. It is said again for a while: the first large one teaches the path's MTU."""
    for _ in range(int(PATIENCE_S / RESEND_S)):
        client.send(said)
        try:
            while True:
                name, _, heard = client.recv(1 << 16).partition(b":")
                if heard == said:
                    return name.decode()
        except TimeoutError:
            continue
    raise TimeoutError(f"nobody echoed {len(said)} bytes")


def asked(client: socket.socket, payload: bytes) -> str:
    """Who answered a request over TCP, with the same bytes."""
    frames = Frames()
    client.settimeout(PATIENCE_S)
    client.sendall(pack_request(Request(1, 1, payload)))
    while not (bodies := list(frames.feed(client.recv(1 << 16)))):
        pass
    answer = unpack_answer(bodies[0])
    assert answer.payload == payload
    return answer.server


def at_nodes(lab: RunningLab) -> Counter[tuple[str, str]]:
    """Packets by node and outcome."""
    found: Counter[tuple[str, str]] = Counter()
    for node in lab.nodes:
        with lab.client(node.name) as client:
            found |= {(node.name, name): count.packets for name, count in client.traffic().outcomes.items()}
    return found


def at_backends(lab: RunningLab) -> Counter[str]:
    """Packets by outcome, of all agents together."""
    found: Counter[str] = Counter()
    for backend in lab.plan.of(Role.BACKEND):
        snapshot = BackendDataPlane.read(configs.run_dir(lab.directory(backend.name)) / "bpf")
        assert snapshot is not None
        found.update({name: count.packets for name, count in snapshot.counters.items()})
    return found


def those_that(counts: Counter[tuple[str, str]], did: str) -> set[str]:
    return {node for (node, outcome), packets in counts.items() if outcome == did and packets}


@contextmanager
def narrow(lab: RunningLab) -> Iterator[None]:
    """Let the router cut what goes to the nodes, after it has chosen one for the whole packet."""
    bridge = ["ip", "link", "set", SEGMENTS[Role.NODE].name, "mtu"]
    run(inside(lab.plan.router, [*bridge, str(NARROW_MTU)]))
    try:
        yield
    finally:
        run(inside(lab.plan.router, [*bridge, str(MTU)]))


@contextmanager
def drained(lab: RunningLab, backend: str) -> Iterator[None]:
    """Give a backend no new flows for a while."""
    with lab.client("n1") as client:
        client.drain_backend(DrainBackend(BackendName(backend)))
    try:
        wait_until(lambda: in_step(lab, "draining", backend), SOON_S, f"{backend} to drain")
        yield
    finally:
        with lab.client("n1") as client:
            client.undrain_backend(UndrainBackend(BackendName(backend)))
        wait_until(lambda: in_step(lab, "active", backend), SOON_S, f"{backend} to be active")


def in_step(lab: RunningLab, state: str, backend: str) -> bool:
    """Whether all nodes go by an epoch in which the backend is in this state."""
    with lab.client("n1") as client:
        status = client.status()
    (pool,) = status.pools
    slots = {slot.backend: slot.state.value for slot in pool.slots}
    return status.agree and pool.offered is None and slots[BackendName(backend)] == state


@pytest.mark.timeout(120)
def test_datagrams_that_the_client_cuts_come_whole_to_the_server_of_their_flow_and_back(
    lab: RunningLab,
) -> None:
    with ExitStack() as stack:
        flows = [stack.enter_context(opened(lab, socket.SOCK_DGRAM, UDP_PORT)) for _ in range(FLOWS)]
        before = at_nodes(lab)
        homes = [echoed(flow, b"small") for flow in flows]
        whole = at_nodes(lab) - before
        assert len(set(homes)) > 1
        assert those_that(whole, "forwarded") == {node.name for node in lab.nodes}

        before = at_nodes(lab)
        assert [echoed(flow, LARGE) for flow in flows] == homes
        cut = at_nodes(lab) - before
        (carrier,) = those_that(cut, "fragment_recorded")
        assert cut[carrier, "fragment_recorded"] >= FLOWS
        assert cut[carrier, "fragment_followed"] >= 2 * FLOWS
        assert [echoed(flow, b"small") for flow in flows] == homes


@pytest.mark.timeout(120)
def test_segments_that_a_router_cuts_reach_their_server_also_by_second_chance(lab: RunningLab) -> None:
    with ExitStack() as stack:
        flows = [stack.enter_context(opened(lab, socket.SOCK_STREAM, DRILL_PORT)) for _ in range(FLOWS)]
        homes = [asked(flow, b"small") for flow in flows]
        victim = homes[0]
        stack.enter_context(narrow(lab))
        stack.enter_context(drained(lab, victim))
        nodes, agents = at_nodes(lab), at_backends(lab)
        assert [asked(flow, LARGE) for flow in flows] == homes
        cut, passed = at_nodes(lab) - nodes, at_backends(lab) - agents
        for outcome in ("fragment_recorded", "fragment_followed"):
            assert those_that(cut, outcome) == {node.name for node in lab.nodes}
            assert passed[outcome] >= homes.count(victim)
        assert passed["forwarded_keyless"] >= 2 * homes.count(victim)
        assert (those_that(cut, "drop_fragment"), passed["delivered_portless"]) == (set(), 0)
