"""What an agent changes on its machine, and that `unload` undoes it."""

from __future__ import annotations

import pytest

from lbnode.dataplane.backend_pins import LINK_PIN
from lbnode.dataplane.pins import BACKEND as MAPS_PIN
from tests.integration.agent.machine import VIP, Backend, on_lo
from tests.integration.agent.traffic import connect, exchange
from tests.integration.cable import Cable, eventually, ip
from tests.integration.kernel_things import left_of, things_of
from tests.integration.tunnel import Node

READ_ONLY = 'mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$@"'
"""A shell's words: run what follows where the kernel's settings can only be read."""


@pytest.mark.parametrize("own_filter", ["0", "2"])
def test_where_kernel_settings_can_only_be_read_those_that_matter_have_to_be_right(
    backend: Backend, node: Node, server: None, own_filter: str
) -> None:
    """As in a container: what the engine can set is demanded, and the interface's own filter only told."""
    near = backend.cable.near
    right = {
        "all.rp_filter": "0",
        "all.arp_ignore": "1",
        "all.arp_announce": "2",
        "eth0.rp_filter": own_filter,
    }
    for name, value in right.items():
        ip("netns", "exec", near, "sysctl", "-w", f"net.ipv4.conf.{name}={value}")
    backend.wrapper = ["unshare", "--mount", "--", "sh", "-c", READ_ONLY, "sh"]
    backend.serve()
    assert ("filtered out" in backend.log) == (own_filter != "0")
    if own_filter == "0":
        with connect(backend.cable) as connection:
            exchange(connection)


def test_where_kernel_settings_can_only_be_read_a_wrong_one_is_named_with_its_remedy(
    backend: Backend,
) -> None:
    backend.wrapper = ["unshare", "--mount", "--", "sh", "-c", READ_ONLY, "sh"]
    done = backend.run("run")
    assert done.returncode == 1
    assert "net.ipv4.conf.all.arp_ignore=1" in done.stderr


def machine(cable: Cable) -> dict[str, str]:
    """All that an agent could leave behind on the near machine."""
    keys = ("rp_filter", "arp_ignore", "arp_announce")
    names = [f"net.ipv4.conf.{place}.{key}" for place in ("all", "eth0", "lo") for key in keys]
    return {
        "addresses": ip("-n", cable.near, "addr", "show", "dev", "lo"),
        "xdp": "xdp" if "xdp" in ip("-n", cable.near, "link", "show", "eth0") else "",
        "qdisc": ip("netns", "exec", cable.near, "tc", "qdisc", "show", "dev", "eth0"),
        "sysctls": ip("netns", "exec", cable.near, "sysctl", *names),
    }


def test_unload_leaves_nothing(backend: Backend) -> None:
    ip("netns", "exec", backend.cable.near, "sysctl", "-w", "net.ipv4.conf.all.rp_filter=2")
    before = machine(backend.cable)
    agent = backend.serve()
    assert machine(backend.cable) != before
    pins = backend.directory / "run" / "bpf"
    things = things_of(pins / LINK_PIN, pins / MAPS_PIN)
    agent.kill()
    agent.wait()
    assert left_of(things) == things
    done = backend.run("unload")
    assert done.returncode == 0, done.stderr
    assert "net/ipv4/conf/all/rp_filter is 2 again" in done.stdout
    assert machine(backend.cable) == before
    assert not pins.exists()
    eventually("nothing is left in the kernel", lambda: not left_of(things))
    assert list((backend.directory / "state").iterdir()) == []
    assert backend.run("unload").returncode == 0


def test_unload_keeps_an_address_that_was_there_before(backend: Backend) -> None:
    ip("-n", backend.cable.near, "addr", "add", f"{VIP}/32", "dev", "lo")
    agent = backend.serve()
    agent.kill()
    agent.wait()
    assert backend.run("unload").returncode == 0
    assert VIP in on_lo(backend.cable)
