"""What operators wait for, as looks at a fleet's status: drains that end, backends that serve, quiet nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from lbnode.cli.ctl_progress import Clock, GaveUpError, Look
from lbnode.cli.render_flows import count_flows, describe_waits
from lbnode.core.announce import Phase
from lbnode.core.leader import COUNTED_S
from lbnode.model.epoch import BackendState
from lbnode.model.flows import HeldChange
from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.model.status import AgentState, FleetStatus, FormerStatus, PoolStatus, SlotStatus

Looking = Callable[[FleetStatus], Look]


def steadily(look: Looking, clock: Clock, hold_s: float = COUNTED_S) -> Looking:
    """Return a look that is over once `look` has been over for `hold_s`: agents count once a second."""
    since: float | None = None

    def hold(status: FleetStatus) -> Look:
        nonlocal since
        seen = look(status)
        since = (since if since is not None else clock.now()) if seen.over else None
        return Look(seen.now, since is not None and clock.now() - since >= hold_s)

    return hold


def without_flows(name: BackendName, pool: PoolName | None = None) -> Looking:
    """Return the look that is over when `name` drains everywhere and holds no flow, in `pool` or in all its pools.

    It raises GaveUpError when nobody will ever count them.
    """

    def look(status: FleetStatus) -> Look:
        places = list(_places(status, name, pool))
        left = [entry for shown in _pools(status, pool) for entry in shown.former if entry.backend == name]
        draining = [slot for _, slot in places if slot.state is BackendState.DRAINING]
        _check_countable([*draining, *left], name)
        taking = [_why_active(shown, name) for shown, slot in places if slot.state is BackendState.ACTIVE]
        if taking:
            return Look(taking[0])
        open_slots = [slot for _, slot in places if not slot.drained and not _is_dead(slot)]
        open_formers = [entry for entry in left if entry.flows != 0 and not _is_dead(entry)]
        if not open_slots and not open_formers:
            return Look("no flows left", over=True)
        return Look(_count([*open_slots, *open_formers]) + _stragglers(_pools(status, pool)))

    return look


def closed(name: BackendName) -> Looking:
    """Return the look that is over when `name` takes new flows in no pool any more."""

    def look(status: FleetStatus) -> Look:
        for shown, slot in _places(status, name, None):
            if slot.state is BackendState.ACTIVE:
                return Look(_why_active(shown, name))
        return Look("takes no new flows", over=True)

    return look


def replaced(name: BackendName, by: BackendName, pool: PoolName) -> Looking:
    """Return the look that is over when `by` serves in the slot of `name`, and nobody waits for `name` any more."""
    serving, gone = serving_again(by, pool, has_agent=False), without_flows(name, pool)

    def look(status: FleetStatus) -> Look:
        if any(_places(status, name, pool)):
            return Look(f"{name} serves until {by} is up{_held_words(status, pool, name)}")
        seen = serving(status)
        return gone(status) if seen.over else Look(f"{by} {seen.now}")

    return look


def serving_again(name: BackendName, pool: PoolName | None, *, has_agent: bool) -> Looking:
    """Return the look that is over when `name` is active and healthy, with its agent if it `has_agent`."""

    def look(status: FleetStatus) -> Look:
        places = list(_places(status, name, pool))
        if not places:
            return Look("is not in the pool yet")
        for shown, slot in places:
            if has_agent and slot.agent is not AgentState.CONNECTED:
                return Look("its agent is not connected yet")
            if slot.failing_on:
                return Look(f"checks fail on {', '.join(slot.failing_on)}")
            if slot.state is not BackendState.ACTIVE:
                return Look(
                    f"is {slot.state.value} in pool {shown.name}{_held_words(status, shown.name, name)}"
                )
        return Look("is active and healthy", over=True)

    return look


def healthy(name: BackendName, *, has_agent: bool) -> Looking:
    """Return the look that is over when no node's checks fail `name`, and its agent is there if it `has_agent`."""

    def look(status: FleetStatus) -> Look:
        for _, slot in _places(status, name, None):
            if has_agent and slot.agent is not AgentState.CONNECTED:
                return Look("its agent is not connected yet")
            if slot.failing_on:
                return Look(f"checks fail on {', '.join(slot.failing_on)}")
        return Look("is healthy", over=True)

    return look


def without_traffic(name: NodeName) -> Looking:
    """Return the look that is over when a node announces nothing and no packets reach it any more."""

    def look(status: FleetStatus) -> Look:
        node = next((node for node in status.nodes if node.name == name), None)
        if node is None or not node.connected:
            return Look("not connected: it carries nothing", over=True)
        announced = f", announces {', '.join(map(str, node.announced))}" if node.announced else ""
        return Look(f"{node.state}{announced}", node.state == Phase.DRAINED.value)

    return look


def _pools(status: FleetStatus, pool: PoolName | None) -> Iterator[PoolStatus]:
    return (shown for shown in status.pools if pool in (None, shown.name))


def _places(
    status: FleetStatus, name: BackendName, pool: PoolName | None
) -> Iterator[tuple[PoolStatus, SlotStatus]]:
    return ((shown, slot) for shown in _pools(status, pool) for slot in shown.slots if slot.backend == name)


def _check_countable(places: Sequence[SlotStatus | FormerStatus], name: BackendName) -> None:
    if any(place.agent is AgentState.NONE for place in places):
        raise GaveUpError(
            f"{name} gets no new flows, but has no agent: those that it holds cannot be counted",
            f"wait as long as your flows live, or see them there: ss -tn (on {name})",
        )


def _is_dead(place: SlotStatus | FormerStatus) -> bool:
    """Failed, and its agent is silent: no flow can live there."""
    return place.state is BackendState.FAILED and place.agent is not AgentState.CONNECTED


def _why_active(pool: PoolStatus, name: BackendName) -> str:
    for held in pool.held:
        if _is_about(held, name):
            return (
                f"held in pool {pool.name}: waits for {describe_waits(held.waits_for)}{_stragglers([pool])}"
            )
    return f"still takes new flows in pool {pool.name}"


def _is_about(held: HeldChange, name: BackendName) -> bool:
    return name in held.what.replace(",", " ").split()


def _held_words(status: FleetStatus, pool: PoolName, name: BackendName) -> str:
    for shown in _pools(status, pool):
        for held in shown.held:
            if _is_about(held, name):
                return f" (held: waits for {describe_waits(held.waits_for)})"
    return ""


def _stragglers(pools: Iterable[PoolStatus]) -> str:
    """Nodes that may give new flows to who should get none: why a wait may have no end."""
    found = {name: why for pool in pools for name, why in pool.behind.items()}
    return "".join(f"; {name} {why} and may send it new ones" for name, why in sorted(found.items()))


def _count(places: list[SlotStatus | FormerStatus]) -> str:
    counts = [place.flows for place in places]
    known = sum(count for count in counts if count is not None)
    if known == 0 and None in counts:
        silent = any(place.agent is AgentState.SILENT for place in places)
        return "its agent is not connected: flows not counted" if silent else "flows not counted yet"
    return f"{count_flows(known)} left" if known else "the last nodes learn of it"
