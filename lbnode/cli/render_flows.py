"""Flows in words: how many a backend still holds, what waits for them, and until when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from rich.text import Text

from lbnode.model.flows import HeldChange
from lbnode.model.ids import BackendName
from lbnode.model.status import AgentState, FormerStatus, PoolStatus

DAY_S = 86400


def count_flows(flows: int | None) -> str:
    """Return `no flows`, `1 flow`, `212 flows`, or that nobody counts them."""
    if flows is None:
        return "flows not counted"
    return f"{flows or 'no'} flow{'' if flows == 1 else 's'}"


def describe_held(held: HeldChange) -> str:
    """Return a change that waits: `drain b3: waits for 212 flows on b1, at most until 14:05`."""
    return f"{held.what}: waits for {describe_waits(held.waits_for)}, at most until {_clock(held.since, held.until)}"


def describe_waits(waits_for: Mapping[BackendName, int | None]) -> str:
    """Return whose flows are waited for: `212 flows on b1, flows on b2 (not counted yet)`."""
    return ", ".join(
        f"flows on {name} (not counted yet)" if flows is None else f"{count_flows(flows)} on {name}"
        for name, flows in sorted(waits_for.items())
    )


def pool_notes(pool: PoolStatus) -> Iterator[Text]:
    """Yield what a pool's table does not show: who left and still counts, and who has the weaker promise."""
    for former in pool.former:
        yield Text(f"  left slot {former.slot}: {_describe_former(former)}", style="yellow")
    without = [
        slot.backend for slot in pool.slots if slot.backend is not None and slot.agent is AgentState.NONE
    ]
    if without:
        promise = (
            "the flow table keeps their flows through planned changes"
            if pool.flow_table
            else "flows of buckets that move to or from them break (flow_table: true keeps them)"
        )
        yield Text(f"  without agent: {', '.join(without)}: plain consistent hashing; {promise}", style="dim")


def duration(seconds: float) -> str:
    """Return a time as its two largest units: `3d 4h`, `12m 5s`."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def _describe_former(former: FormerStatus) -> str:
    name = former.backend or f"the backend with id {former.id}"
    where = f" ({former.address})" if former.address is not None else ""
    holds = {
        AgentState.CONNECTED: count_flows(former.flows),
        AgentState.SILENT: "its agent is not connected",
        AgentState.NONE: "no agent counts its flows",
        AgentState.UNKNOWN: "flows not known",
    }[former.agent]
    return f"{name}{where} in epoch {former.left_in}, {former.state.value}, {holds}"


def _clock(since: float, until: float) -> str:
    """Local time of day, with the date when the wait may go beyond a day."""
    at = datetime.fromtimestamp(until).astimezone()
    return at.strftime("%H:%M" if until - since < DAY_S else "%Y-%m-%d %H:%M")
