"""The doctor on a node."""

from __future__ import annotations

from collections.abc import Sequence

from lbnode.app.build import COMMAND, bpffs_of, check
from lbnode.dataplane.inspection import Inspection
from lbnode.dataplane.node import OBJECT
from lbnode.dataplane.pins import NODE
from lbnode.dataplane.rehearsal import Rehearsal
from lbnode.doctor.checks.addresses import check_addresses
from lbnode.doctor.checks.host import check_bpffs, check_kernel, check_rights
from lbnode.doctor.checks.interface import check_interface
from lbnode.doctor.checks.paths import check_paths
from lbnode.doctor.checks.store import check_clock, check_store
from lbnode.doctor.checks.traffic import check_daemon, check_probes, check_routers, check_tables
from lbnode.doctor.examine import examine
from lbnode.doctor.facts import ProbeFacts
from lbnode.doctor.findings import Examination
from lbnode.doctor.gather import fleet, host, memory
from lbnode.doctor.gather.addresses import own_addresses
from lbnode.doctor.gather.interface import Wanted, interface
from lbnode.doctor.gather.paths import ends, paths
from lbnode.doctor.gather.probes import probes
from lbnode.doctor.gather.words import said
from lbnode.model.ids import IPAddress, NodeName
from lbnode.model.view import FleetView
from lbnode.netdev import Netlink
from lbnode.netdev.addresses import addresses
from lbnode.netdev.links import link_named
from lbnode.settings.node import NodeSettings
from lbnode.store.access import Party


async def examine_node(settings: NodeSettings) -> tuple[Examination, ...]:
    """Look at everything that this node needs; takes a few seconds at most."""
    run_dir, place = settings.run_dir, bpffs_of(settings)

    def kernel() -> fleet.InUse:
        inspection = Inspection.open(place)
        return fleet.in_use(inspection.tables(), inspection.digests())

    session = memory.opened(settings.store, settings.fleet, settings.state_dir, Party.NODES)
    async with Netlink() as netlink, session as read:
        words = await said(settings, COMMAND, read.view.live_nodes.get(NodeName(settings.name)))
        reason = words.why_generic(settings.interface)
        wanted = Wanted(settings.interface, COMMAND, settings.xdp_mode.value, True, reason)
        return (
            await examine("kernel", lambda: host.kernel([OBJECT]), check_kernel),
            await examine("rights", lambda: host.rights(COMMAND, run_dir, place), check_rights),
            await examine("bpffs", lambda: host.place(COMMAND, run_dir, place, NODE), check_bpffs),
            await examine("interface", lambda: interface(netlink, wanted), check_interface),
            await examine(
                "addresses",
                lambda: own_addresses(netlink, COMMAND, _wanted_addresses(settings)),
                check_addresses,
            ),
            await examine("store", lambda: memory.store(read, settings.store), check_store),
            await examine("clock", lambda: memory.clock(read), check_clock),
            await examine(
                "daemon", lambda: fleet.daemon(COMMAND, run_dir, words, lambda: check(settings)), check_daemon
            ),
            await examine("routers", lambda: fleet.routers(settings.bgp, words.routers), check_routers),
            await examine(
                "tables", lambda: fleet.tables(COMMAND, read, kernel, fleet.everything), check_tables
            ),
            await examine("paths", lambda: paths(netlink, ends(read.view)), check_paths),
            await examine("probes", lambda: _probes(settings, netlink, read.view), check_probes),
        )


async def _probes(settings: NodeSettings, netlink: Netlink, view: FleetView) -> Sequence[ProbeFacts]:
    link = await link_named(netlink, settings.interface)
    own = await addresses(netlink, settings.interface)
    sources = [
        *settings.sources,
        *sorted(each for each in own if each.version == 6 and not each.is_link_local),
    ]
    with Rehearsal.open(bpffs_of(settings), link.index, link.mac) as rehearsal:
        return await probes(netlink, rehearsal, fleet.doors(view), sources)


def _wanted_addresses(settings: NodeSettings) -> list[tuple[str, IPAddress]]:
    sessions = settings.bgp.local_address if settings.bgp is not None else ()
    return [
        *(("address", address) for address in settings.address),
        *(("bgp.local_address", address) for address in sessions),
    ]
