"""The router's lines in the documentation, run as they stand there but for the nodes' addresses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.bgp.conftest import NODES, Node, Router, eventually

ROOT = Path(__file__).resolve().parents[3]
BLOCK = re.compile(r"^```\n(protocol device.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTED = "10.0.1.0/24"
VIP = "192.0.2.10/32"
STRANGE = "100.64.0.7/32"


def bird_lines(page: str) -> str:
    """What a page says to write into bird.conf."""
    (lines,) = BLOCK.findall((ROOT / page).read_text())
    assert DOCUMENTED in lines
    return str(lines).replace(DOCUMENTED, str(NODES))


@pytest.mark.parametrize("page", ["README.md", "docs/routers.md"])
def test_the_lines_for_bird_spread_a_vip_over_the_nodes(
    page: str, silent_router: Router, make_node: Callable[[], Node]
) -> None:
    silent_router.start_with(bird_lines(page))
    nodes = [make_node(), make_node()]
    for node in nodes:
        node.daemon().announce(VIP, STRANGE)
    expected = {node.address for node in nodes}
    eventually("both nodes are next hops", lambda: silent_router.next_hops(VIP) == expected)
    if page == "docs/routers.md":
        assert silent_router.next_hops(STRANGE) == set()
    else:
        eventually("nothing is filtered", lambda: silent_router.next_hops(STRANGE) == expected)
