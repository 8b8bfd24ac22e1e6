"""Both families through one lab: IPv4 and IPv6 VIPs, each through IPv4 and through IPv6 tunnels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lbnode.lab import assembly, teardown
from lbnode.lab.assembly import bring_up
from lbnode.lab.plan import HTTP_PORT, POOL, POOL6, VIPS, Plan, Role
from lbnode.lab.running import RunningLab, wait_until
from lbnode.model.epoch import BackendState
from lbnode.model.explanation import Explanation, FlowQuestion
from lbnode.model.fleet import Protocol
from lbnode.model.ids import BackendName, IPAddress, NodeName
from lbnode.model.requests import DrainBackend, DrainNode
from tests.e2e.chat import SOON_S, TcpFlow, chatting
from tests.e2e.conftest import free_name, on

FLOWS = 20
UPLOAD_BYTES = 1_000_000
MIXES = [vip for vips in VIPS.values() for vip in vips]


@pytest.fixture
def lab() -> Iterator[RunningLab]:
    name = free_name("dual")
    try:
        yield RunningLab(bring_up(Plan(name, nodes=2, backends=3, dual_stack=True), print))
    finally:
        teardown.take_down(name)


def end_of_tunnel(lab: RunningLab, vip: IPAddress) -> IPAddress | None:
    """Where the packets of one flow to the VIP go."""
    client = lab.plan.host("client")
    source = client.address if vip.version == 4 else client.address6
    with lab.client("n1") as fleet:
        found = fleet.explain(FlowQuestion(source, 40000, vip, HTTP_PORT, Protocol.TCP))
    assert isinstance(found, Explanation)
    assert found.owner is not None
    return found.owner.address


def owners(lab: RunningLab) -> set[str]:
    """Who gets new flows in either pool by tables in use; nobody while a change is under way."""
    with lab.client("n2") as client:
        status = client.status()
    if not status.agree or any(pool.offered is not None for pool in status.pools):
        return set()
    slots = [slot for pool in status.pools for slot in pool.slots]
    return {slot.backend or "" for slot in slots if slot.state is BackendState.ACTIVE}


def upload(lab: RunningLab, vip: IPAddress, file: Path) -> str:
    """Send a file to the VIP in segments as large as they come; return what the server says of it."""
    host = f"[{vip}]" if vip.version == 6 else f"{vip}"
    ended = on(lab, "client", "curl", "-sS", "-m", "20", "--data-binary", f"@{file}", f"http://{host}/")
    assert ended.returncode == 0, f"{vip}: {ended.stderr}"
    return ended.stdout.split()[-1]


@pytest.mark.timeout(180)
def test_all_four_mixes_carry_connections_over_changes_of_nodes_and_backends(
    lab: RunningLab, tmp_path: Path
) -> None:
    backends = lab.plan.of(Role.BACKEND)
    for pool, ends in (
        (POOL, {each.address for each in backends}),
        (POOL6, {each.address6 for each in backends}),
    ):
        assert {end_of_tunnel(lab, vip) for vip in VIPS[pool]} <= ends
    with chatting(lab, lambda: [TcpFlow(n, vip) for vip in MIXES for n in range(FLOWS)]) as chat:
        for first in range(0, len(chat.homes), FLOWS):
            assert len(set(chat.homes[first : first + FLOWS])) > 1, "one mix, several backends"

        lab.record = assembly.add_node(lab.record)
        wait_until(lambda: all("n3" in lab.next_hops(vip) for vip in MIXES), SOON_S, "n3 to be announced")
        chat.go_on()
        with lab.client("n2") as client:
            client.drain_node(DrainNode(NodeName("n1")))
        wait_until(lambda: not any("n1" in lab.next_hops(vip) for vip in MIXES), SOON_S, "n1 to be withdrawn")
        chat.go_on()
        assert chat.moves == [], "nodes came and went"

        with lab.client("n2") as client:
            client.drain_backend(DrainBackend(BackendName("b1")))
        wait_until(lambda: owners(lab) == {"b2", "b3"}, SOON_S, "b1 to get no new flows")
        chat.go_on()
        assert chat.moves == [], "b1 was drained"

        content = bytes(range(250)) * (UPLOAD_BYTES // 250)
        (tmp_path / "upload").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        assert [upload(lab, vip, tmp_path / "upload") for vip in MIXES] == [digest] * len(MIXES)
        assert chat.moves == []
