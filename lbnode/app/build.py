"""A node daemon from its settings: every adapter made, in the order in which they need each other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bgp.config import Neighbor, SpeakerSettings
from bgp.speaker import Speaker
from lbnode.app.announcer import Announcer
from lbnode.app.daemon import NodeDaemon
from lbnode.app.interface import Interface
from lbnode.certs.judgement import check_server
from lbnode.daemon.credentials import Credentials
from lbnode.daemon.hops import NextHops
from lbnode.daemon.lock import locked
from lbnode.daemon.memory import Memory
from lbnode.daemon.rights import keep_from_children
from lbnode.daemon.service import ServiceManager
from lbnode.daemon.tree import make_tree, read_access, root_of, transport_of
from lbnode.dataplane.node import NodeDataPlane
from lbnode.dataplane.node import unload as unload_plane
from lbnode.dataplane.values import Limits
from lbnode.netdev import bpffs
from lbnode.netdev.links import link_named
from lbnode.netdev.netlink import Netlink
from lbnode.rpc.listen import check_listen_address
from lbnode.settings.errors import BadSettingsError
from lbnode.settings.node import BgpSettings, NeighborSettings, NodeSettings
from lbnode.settings.store import ZooKeeperSettings
from lbnode.store.access import Access, Party
from lbnode.store.copy import DiskCopy
from lbnode.store.interest import OF_NODES
from lbnode.store.protection import Protected, protect

COMMAND = "lbnode"


async def run(settings: NodeSettings) -> None:
    """Run a node until SIGTERM or SIGINT. Its program, tables and pins stay in the kernel."""
    credentials, access = check(settings)
    keep_from_children()
    with locked(settings.run_dir, COMMAND):
        await _run(settings, credentials, access)


def check(settings: NodeSettings) -> tuple[Credentials | None, Access | None]:
    """Return who the node is to its callers and to the store, after judging secrets and listening addresses.

    Nothing is changed. Raises BadSettingsError, ListenError and SettingsError.
    """
    rpc = settings.rpc
    credentials = None
    if rpc.tls is not None:
        credentials = Credentials(
            rpc.tls,
            "rpc.tls",
            serves=True,
            check=lambda said: check_server(said, settings.fleet),
            revoked=rpc.tls.revoked,
        )
    for address in rpc.listen:
        check_listen_address(address, protected=credentials is not None or rpc.insecure)
    speaker = make_speaker(settings, lambda: None)
    if speaker is not None:
        speaker.check()
    return credentials, read_access(settings.store, Party.NODES)


async def _run(settings: NodeSettings, credentials: Credentials | None, access: Access | None) -> None:
    dirty = asyncio.Event()
    async with Netlink() as netlink:
        await link_named(netlink, settings.interface)
        bpffs.mount(bpffs_of(settings))
        with contextlib.closing(open_plane(settings)) as plane:
            interface = Interface(netlink, plane, settings.interface, settings.xdp_mode.value)
            await interface.start()
            daemon = NodeDaemon(
                settings=settings,
                credentials=credentials,
                interface=interface,
                memory=Memory(
                    make_tree(settings.store, settings.fleet, OF_NODES, access), DiskCopy(settings.state_dir)
                ),
                plane=plane,
                hops=NextHops(netlink, dirty.set),
                announcer=Announcer(make_speaker(settings, dirty.set)),
                dirty=dirty,
                manager=ServiceManager.of(os.environ),
            )
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, daemon.stop)
            loop.add_signal_handler(signal.SIGUSR1, describe_tasks)
            await daemon.run()


def describe_tasks() -> None:
    """Print where every task of the loop stands: for a daemon that seems to hang (SIGUSR1)."""
    for task in asyncio.all_tasks():
        print(task, file=sys.stderr)


def unload(settings: NodeSettings) -> None:
    """Take the program off its interface and remove every pin of this instance."""
    directory = bpffs_of(settings)
    with locked(settings.run_dir, COMMAND):
        if bpffs.is_mounted(directory):
            unload_plane(directory)
            bpffs.unmount(directory)
        with contextlib.suppress(OSError):  # not there, or something of somebody else's is
            directory.rmdir()


def protect_store(settings: NodeSettings, before: Path | None) -> Protected:
    """Give every znode of the fleet the ACL that it would be made with.

    `before` is the secret that it was closed with last, if another. Raises BadSettingsError, StoreError.
    """
    access = read_access(settings.store, Party.NODES)
    if access is None or not isinstance(settings.store, ZooKeeperSettings):
        raise BadSettingsError("store.secret_file: missing; without a secret there is nothing to protect by")
    old = None
    if before is not None:
        old = read_access(settings.store.model_copy(update={"secret_file": before}), Party.NODES)
    return protect(
        ",".join(settings.store.hosts), root_of(settings.fleet), access, old, transport_of(settings.store)
    )


def bpffs_of(settings: NodeSettings) -> Path:
    """Return the directory of this instance's own bpffs."""
    return settings.run_dir / "bpf"


def open_plane(settings: NodeSettings) -> NodeDataPlane:
    """Adopt the data plane that is pinned, or load a new one."""
    plane = NodeDataPlane.open(
        bpffs_of(settings),
        Limits(
            settings.table_places,
            settings.count_buckets,
            settings.flow_places,
            settings.new_flow_places,
            settings.echoes_per_s,
            settings.errors_per_s,
        ),
    )
    plane.set_source(settings.sources)
    return plane


def make_speaker(settings: NodeSettings, on_change: Callable[[], None]) -> Speaker | None:
    """Return the BGP speaker, not yet started; None for a node that announces nothing."""
    bgp = settings.bgp
    if bgp is None:
        return None
    return Speaker(speaker_settings(bgp), settings.run_dir / "bgp", adopt_s=bgp.adopt_s, on_change=on_change)


def speaker_settings(bgp: BgpSettings) -> SpeakerSettings:
    """Return the speaker's settings as `bgp` has them."""
    neighbors = tuple(_neighbor(bgp, neighbor) for neighbor in bgp.neighbors)
    return SpeakerSettings(router_id=bgp.router_id, local_as=bgp.local_as, neighbors=neighbors)


def _neighbor(bgp: BgpSettings, neighbor: NeighborSettings) -> Neighbor:
    """A session is of the router's family; with an address of the other one it carries the routes of both."""
    own = next((end for end in bgp.local_address if end.version == neighbor.address.version), None)
    other = next((end for end in bgp.local_address if end.version != neighbor.address.version), None)
    return Neighbor(
        address=neighbor.address,
        peer_as=neighbor.peer_as,
        local_address=own or bgp.local_address[0],
        hold_time_s=neighbor.hold_time_s,
        next_hop=neighbor.next_hop or (other if own is not None else None),
        md5_password_file=neighbor.md5_password_file,
        ttl_hops=neighbor.ttl_hops,
    )
