"""The doctor on a backend."""

from __future__ import annotations

from lbnode.backend.host import wanted_sysctls
from lbnode.backend.instance import COMMAND
from lbnode.backend.settings import BackendSettings
from lbnode.dataplane.backend import CLAMP_OBJECT, DECAP_OBJECT
from lbnode.dataplane.pins import BACKEND
from lbnode.doctor.checks.addresses import check_addresses
from lbnode.doctor.checks.backend import check_serving, check_sysctls
from lbnode.doctor.checks.host import check_bpffs, check_kernel, check_rights
from lbnode.doctor.checks.interface import check_interface
from lbnode.doctor.checks.paths import check_paths
from lbnode.doctor.checks.store import check_clock, check_store
from lbnode.doctor.checks.traffic import check_daemon, check_tables
from lbnode.doctor.examine import examine
from lbnode.doctor.facts import SysctlFacts
from lbnode.doctor.findings import Examination
from lbnode.doctor.gather import fleet, host, memory
from lbnode.doctor.gather.addresses import own_addresses
from lbnode.doctor.gather.interface import Wanted, interface
from lbnode.doctor.gather.paths import ends, paths
from lbnode.doctor.gather.services import pinned, serving
from lbnode.doctor.gather.words import told
from lbnode.model.ids import BackendName
from lbnode.netdev import Netlink, sysctls
from lbnode.store.access import Party


async def examine_backend(settings: BackendSettings) -> tuple[Examination, ...]:
    """Look at everything that this backend needs; takes a few seconds at most."""
    objects, run_dir, place = [DECAP_OBJECT, CLAMP_OBJECT], settings.run_dir, settings.bpf_dir
    name = BackendName(settings.name)

    def kernel() -> fleet.InUse:
        held = pinned(settings)
        return fleet.in_use(held.tables, held.digests) if held is not None else {}

    session = memory.opened(settings.store, settings.fleet, settings.state_dir, Party.BACKENDS)
    async with Netlink() as netlink, session as read:
        words = told(read.view.live_agents.get(name))
        reason = words.why_generic(settings.interface)
        wanted = Wanted(settings.interface, COMMAND, settings.xdp_mode, False, reason)
        return (
            await examine("kernel", lambda: host.kernel(objects), check_kernel),
            await examine("rights", lambda: host.rights(COMMAND, run_dir, place), check_rights),
            await examine("bpffs", lambda: host.place(COMMAND, run_dir, place, BACKEND), check_bpffs),
            await examine("interface", lambda: interface(netlink, wanted), check_interface),
            await examine(
                "addresses",
                lambda: own_addresses(netlink, COMMAND, [("address", each) for each in settings.address]),
                check_addresses,
            ),
            await examine("sysctls", lambda: _sysctls(settings.interface), check_sysctls),
            await examine("store", lambda: memory.store(read, settings.store), check_store),
            await examine("clock", lambda: memory.clock(read), check_clock),
            await examine("daemon", lambda: fleet.daemon(COMMAND, run_dir, words), check_daemon),
            await examine(
                "tables", lambda: fleet.tables(COMMAND, read, kernel, fleet.occupied_by(name)), check_tables
            ),
            await examine("services", lambda: serving(netlink, settings), check_serving),
            await examine("paths", lambda: paths(netlink, ends(read.view, without=name)), check_paths),
        )


def _sysctls(interface: str) -> SysctlFacts:
    wanted = wanted_sysctls(interface)
    return SysctlFacts(interface, {name: (sysctls.read(name), value) for name, value in wanted.items()})
