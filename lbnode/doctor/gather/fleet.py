"""What the fleet's memory says about this machine, beside what this machine says of itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bgp.errors import BgpError
from lbnode.core.joining import wanted_fleet
from lbnode.daemon.lock import running_pid
from lbnode.dataplane.values import PoolTables
from lbnode.doctor.facts import DaemonFacts, DaemonWords, RouterFacts, TableFacts
from lbnode.doctor.gather.memory import Memory
from lbnode.doctor.gather.probes import Door
from lbnode.model.epoch import BackendState, Epoch
from lbnode.model.fleet import Protocol
from lbnode.model.ids import BackendName, IPAddress, PoolName
from lbnode.model.view import FleetView
from lbnode.rpc.errors import ListenError
from lbnode.settings.errors import BadSettingsError
from lbnode.settings.node import BgpSettings, NeighborSettings
from lbnode.store.tree import StoreError

BGP_PORT = 179
CONTACT_S = 1.0
SWITCH_S = 2.0
"""How long the kernel may be one epoch behind: an offered epoch that has just become current."""
POLL_S = 0.05

InUse = Mapping[PoolName, tuple[int, str]]
"""Pool → epoch of the table that carries its traffic here, and that table's digest."""

Concerns = Callable[[FleetView, Epoch], bool]
"""Whether an epoch is any business of this machine."""


def everything(_view: FleetView, _epoch: Epoch) -> bool:
    """A node needs the tables of all pools."""
    return True


def occupied_by(name: BackendName) -> Concerns:
    """A backend needs those of the pools that it sits in."""

    def concerns(view: FleetView, epoch: Epoch) -> bool:
        member = view.backends.get(name)
        return member is not None and any(slot.backend == member.id for slot in epoch.slots)

    return concerns


def daemon(
    service: str, run_dir: Path, words: DaemonWords, try_start: Callable[[], object] = str
) -> DaemonFacts:
    """Look for the daemon that holds `run_dir`; `words` are its own.

    `try_start` (by default nothing) raises what the daemon would end with, as far as that can be told beforehand.
    """
    pid = running_pid(run_dir, service)
    return DaemonFacts(service, pid, words, _trouble(try_start) if pid is None else "")


def _trouble(try_start: Callable[[], object]) -> str:
    try:
        try_start()
    except (BadSettingsError, ListenError, BgpError) as error:
        return str(error)
    return ""


def in_use(tables: Mapping[PoolName, PoolTables], digests: Mapping[PoolName, str]) -> InUse:
    """Join what is written beside the tables in the kernel, their epochs, to the digests that their buckets have."""
    return {
        pool: (held.current.epoch, digests[pool])
        for pool, held in tables.items()
        if held.current is not None and pool in digests
    }


async def tables(
    service: str,
    memory: Memory,
    kernel: Callable[[], InUse],
    concerns: Concerns,
) -> Sequence[TableFacts]:
    """Compare the current epochs that concern this machine with what `kernel` holds. Raises StoreError."""
    if memory.trouble:
        raise StoreError(f"the fleet's tables are not known: {memory.trouble}")
    deadline = time.monotonic() + SWITCH_S
    while True:
        found = _compare(service, memory.look(), kernel(), concerns)
        if all(each.kernel == each.fleet for each in found) or time.monotonic() >= deadline:
            return found
        await asyncio.sleep(POLL_S)


def _compare(
    service: str,
    view: FleetView,
    kernel: InUse,
    concerns: Concerns,
) -> list[TableFacts]:
    found = []
    for pool in sorted(view.current):
        epoch = view.current_epoch(pool)
        if epoch is not None and concerns(view, epoch):
            found.append(
                TableFacts(service, pool, (epoch.number, epoch.digest), _held(kernel.get(pool), epoch))
            )
    return found


def _held(table: tuple[int, str] | None, epoch: Epoch) -> tuple[int, str] | None:
    """The table in the kernel that counts for `epoch`: agents go by one that is only on offer."""
    ahead = table is not None and table[0] > epoch.number
    return (epoch.number, epoch.digest) if ahead else table


async def routers(bgp: BgpSettings | None, sessions: Mapping[str, str]) -> Sequence[RouterFacts]:
    """Look at every router; `sessions` is what the daemon says of them, by address."""
    if bgp is None:
        return ()
    each = (_router(bgp, router, sessions.get(str(router.address), "")) for router in bgp.neighbors)
    return await asyncio.gather(*each)


async def _router(bgp: BgpSettings, neighbor: NeighborSettings, session: str) -> RouterFacts:
    same = (own for own in bgp.local_address if own.version == neighbor.address.version)
    local = next(same, bgp.local_address[0])
    return RouterFacts(
        address=neighbor.address,
        peer_as=neighbor.peer_as,
        local_as=bgp.local_as,
        local_address=local,
        session=session,
        contact="" if session == "up" else await _contact(str(local), str(neighbor.address)),
        has_password=neighbor.md5_password_file is not None,
    )


async def _contact(source: str, address: str) -> str:
    """Why no TCP connection to a router's BGP port comes about; an empty string if one does."""
    try:
        async with asyncio.timeout(CONTACT_S):
            _, writer = await asyncio.open_connection(address, BGP_PORT, local_addr=(source, 0))
    except TimeoutError:
        return f"no answer within {CONTACT_S:g} s"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
    with contextlib.suppress(OSError):
        writer.close()
    return ""


def doors(view: FleetView) -> list[Door]:
    """Return every TCP VIP of one port with the backends that take its new flows; of a prefix, its first address."""
    fleet = wanted_fleet(view)
    vips = fleet.vips if fleet is not None else ()
    return [
        Door(vip.key.network[0], vip.port, vip.pool, _takers(view, view.current_epoch(vip.pool)))
        for vip in vips
        if vip.protocol is Protocol.TCP and isinstance(vip.port, int)
    ]


def _takers(view: FleetView, epoch: Epoch | None) -> dict[IPAddress, str]:
    if epoch is None:
        return {}
    active = {slot.backend for slot in epoch.slots if slot.state is BackendState.ACTIVE}
    members = [member for member in view.backends.values() if member.id in active]
    return {address: str(member.name) for member in members for address in member.addresses}
