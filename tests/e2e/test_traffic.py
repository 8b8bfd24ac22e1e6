"""What a client of the fleet sees: pages, uploads and downloads through the VIP, with MTU 1500 everywhere."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from lbnode.lab.plan import VIP, Role
from lbnode.lab.running import RunningLab
from tests.e2e.conftest import on

URL = f"http://{VIP}/"
UPLOAD_BYTES = 20_000_000
PAGES = 60


def test_connections_are_spread_over_all_backends(lab: RunningLab) -> None:
    script = f"for i in $(seq {PAGES}); do curl -sS -m 5 {URL}; done"

    ended = on(lab, "client", "bash", "-c", script)

    pages = Counter(ended.stdout.split())
    assert pages.total() == PAGES, ended.stderr
    assert set(pages) == {host.name for host in lab.plan.of(Role.BACKEND)}


def test_one_connection_stays_with_its_backend(lab: RunningLab) -> None:
    ended = on(lab, "client", "curl", "-sS", "-m", "10", *([URL] * 20))

    assert len(set(ended.stdout.split())) == 1, ended.stderr


@pytest.mark.parametrize("attempt", range(4))
def test_large_uploads_arrive_whole(lab: RunningLab, tmp_path: Path, attempt: int) -> None:
    content = bytes(range(250)) * (UPLOAD_BYTES // 250)
    (tmp_path / "upload").write_bytes(content)

    ended = on(lab, "client", "curl", "-sS", "-m", "30", "--data-binary", f"@{tmp_path / 'upload'}", URL)

    _, size, digest = ended.stdout.split()
    assert (int(size), digest) == (UPLOAD_BYTES, hashlib.sha256(content).hexdigest())


def test_large_downloads_arrive_whole(lab: RunningLab) -> None:
    ended = on(
        lab,
        "client",
        "curl",
        "-sS",
        "-m",
        "30",
        "-o",
        "/dev/null",
        "-w",
        "%{size_download}",
        f"{URL}bytes/{UPLOAD_BYTES}",
    )

    assert ended.stdout == str(UPLOAD_BYTES), ended.stderr


def test_no_packet_on_the_way_is_larger_than_the_links_take(lab: RunningLab) -> None:
    for host in (*lab.nodes, *lab.plan.of(Role.BACKEND), lab.plan.host("client")):
        (link,) = json.loads(on(lab, host.name, "ip", "-j", "link", "show", "eth0").stdout)
        assert link["mtu"] == 1500


def test_nodes_and_backends_forward_in_the_driver(lab: RunningLab) -> None:
    """Native XDP: the generic path would also work here, and hide a mistake in the lab's wiring."""
    for host in (*lab.nodes, *lab.plan.of(Role.BACKEND)):
        (link,) = json.loads(on(lab, host.name, "ip", "-j", "link", "show", "eth0").stdout)
        assert link["xdp"]["mode"] == 1, host.name


def test_the_router_spreads_flows_over_all_nodes(lab: RunningLab) -> None:
    assert lab.next_hops() == {node.name for node in lab.nodes}


def test_every_node_tells_the_same_of_the_fleet(lab: RunningLab) -> None:
    for node in lab.nodes:
        with lab.client(node.name) as client:
            status = client.status()
        assert status.agree, status.disagreements
        assert {each.name for each in status.nodes} == {each.name for each in lab.nodes}
