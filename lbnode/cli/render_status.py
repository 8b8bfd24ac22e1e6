"""A fleet's status for people at 3 a.m. (what is wrong comes first) and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lbnode.cli.render_flows import count_flows, describe_held, duration, pool_notes
from lbnode.model.codec import encode
from lbnode.model.epoch import BackendState
from lbnode.model.fleet import Protocol
from lbnode.model.members import View
from lbnode.model.status import (
    AgentState,
    FleetStatus,
    NodeStatus,
    PoolStatus,
    Severity,
    SlotStatus,
    VipStatus,
)

STATE_STYLES = {
    BackendState.ACTIVE: "green",
    BackendState.DRAINING: "yellow",
    BackendState.FAILED: "bold red",
}
AGENTS = {
    AgentState.CONNECTED: "connected",
    AgentState.SILENT: "not connected",
    AgentState.NONE: "none: stock gre, plain consistent-hashing guarantees",
    AgentState.UNKNOWN: "not known",
}


def print_status(console: Console, status: FleetStatus) -> None:
    """Print the whole status: headline, problems, nodes, VIPs, pools."""
    console.print(_headline(status), soft_wrap=True)
    for line in (*_problems(status), *_held(status)):
        console.print(line, soft_wrap=True)
    console.print()
    console.print(nodes_table(status))
    console.print()
    console.print(_vips_table(status.vips))
    for pool in status.pools:
        console.print()
        console.print(Text(_describe_pool(pool), style="bold"), soft_wrap=True)
        console.print(backends_table(status, [pool]))
        for line in pool_notes(pool):
            console.print(line, soft_wrap=True)


def status_document(status: FleetStatus) -> dict[str, Any]:
    """Return the status as JSON data: named as in `lbnode.model.status`, with `share` (0 to 1)."""
    document: dict[str, Any] = json.loads(encode(status))
    for vip in document["vips"]:
        vip["protocol"] = Protocol(vip["protocol"]).name.lower()
    for shown, pool in zip(document["pools"], status.pools, strict=True):
        for slot_document, slot in zip(shown["slots"], pool.slots, strict=True):
            slot_document["share"] = round(pool.share(slot), 6)
    return document


def nodes_table(status: FleetStatus) -> Table:
    """Return the nodes, one a row."""
    table = _table("NODE", "STATE", "VERSION", "UP", "ANNOUNCES", "ROUTERS", "XDP", "TABLES")
    for node in status.nodes:
        table.add_row(
            Text(node.name + (" *" if node.name == status.leader else "")),
            _node_state(status, node),
            Text(node.version or "-"),
            Text(duration(node.uptime_s) if node.connected else "-"),
            _lines(str(address) for address in node.announced),
            _lines(f"{router} {state}" for router, state in sorted(node.routers.items())),
            _lines(f"{name} {mode}" for name, mode in sorted(node.xdp.items())),
            _lines(
                f"{pool.pool} {pool.current or '-'}" + ("" if pool.agrees else " (differs)")
                for pool in node.pools
            ),
        )
    return table


def backends_table(status: FleetStatus, pools: Iterable[PoolStatus] | None = None) -> Table:
    """Return the slots of `pools` (of all, without it), one a row."""
    shown = list(status.pools if pools is None else pools)
    several = pools is None
    table = _table(
        *(["POOL"] if several else []),
        "SLOT",
        "BACKEND",
        "ID",
        "ADDRESS",
        "STATE",
        "WEIGHT",
        "SHARE",
        "AGENT",
    )
    for pool in shown:
        for slot in pool.slots:
            table.add_row(*([Text(pool.name)] if several else []), *_slot_cells(pool, slot))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(
            column, overflow="fold", justify="right" if column in ("WEIGHT", "SHARE") else "left"
        )
    return table


def _headline(status: FleetStatus) -> Text:
    connected = sum(node.connected for node in status.nodes)
    agreement = ("all agree", "green") if status.agree else ("they do NOT agree", "bold red")
    count = f"{connected} of {len(status.nodes)} nodes connected, "
    if status.view is View.LOCAL:
        agreement = ("what the others do is not known", "bold red")
        count = f"{len(status.nodes)} node{'' if len(status.nodes) == 1 else 's'}, "
    seen = "local view of" if status.view is View.LOCAL else "seen by"
    return Text.assemble(
        (f"fleet {status.fleet}", "bold"),
        f" · {count}",
        agreement,
        f" · leader {status.leader or 'none'} · {seen} {status.answered_by}",
        f" · {status.uuid}" if status.uuid else "",
    )


def _problems(status: FleetStatus) -> Iterable[Text]:
    if not status.problems:
        yield Text("no problems", style="green")
    for problem in status.problems:
        is_alarm = problem.severity is Severity.ALARM
        label, style = ("ALARM    ", "bold red") if is_alarm else ("warning  ", "yellow")
        yield Text.assemble((label, style), f"{problem.subject}: {problem.what}")
        if problem.remedy:
            yield Text(f"           → {problem.remedy}", style="dim")


def _held(status: FleetStatus) -> Iterable[Text]:
    """Planned changes that wait for flows: no problem, but an operator wants to know for whom."""
    for pool in status.pools:
        for held in pool.held:
            yield Text.assemble(("held     ", "cyan"), f"pool {pool.name}: {describe_held(held)}")


def _node_state(status: FleetStatus, node: NodeStatus) -> Text:
    if not node.connected and status.view is View.LOCAL:
        return Text("not known", style="dim")
    if not node.connected:
        gone = "" if node.gone_s is None else f" for {duration(node.gone_s)}"
        return Text(f"not connected{gone}", style="yellow" if node.drained else "bold red")
    drain = " (drain)" if node.drained and "drain" not in node.state else ""
    return Text(node.state + drain, style="yellow" if node.drained or node.state != "up" else "green")


def _vips_table(vips: Iterable[VipStatus]) -> Table:
    table = _table("VIP", "POOL", "OTHER PORTS", "ANNOUNCED BY")
    for vip in vips:
        announcing = (
            Text(", ".join(vip.announced_by)) if vip.announced_by else Text("nobody", style="bold red")
        )
        table.add_row(Text(str(vip.key)), Text(vip.pool), Text(vip.wrong_port.value), announcing)
    return table


def _describe_pool(pool: PoolStatus) -> str:
    epoch = "no epoch yet" if pool.current is None else f"epoch {pool.current}"
    offered = f", {pool.offered} on offer" if pool.offered is not None else ""
    digest = f", digest {pool.digest[:12]}" if pool.digest else ""
    hashing = f"hash {pool.hash_mode.value} by {pool.hash_algorithm.value}"
    return f"pool {pool.name}: {epoch}{offered}, {pool.table_size} buckets, {hashing}{digest}{_window(pool)}"


def _window(pool: PoolStatus) -> str:
    """How much of the past still counts."""
    if pool.current is None or pool.window_from is None:
        return ""
    earlier = pool.current - pool.window_from
    remembers = f" with {earlier} earlier epoch{'' if earlier == 1 else 's'}" if earlier else ""
    return f", window {duration(pool.window_s)}{remembers}"


def _slot_cells(pool: PoolStatus, slot: SlotStatus) -> list[Text]:
    if slot.id is None:
        return [
            Text(str(slot.number)),
            Text("(empty)", style="dim"),
            *[Text("-")] * 3,
            Text(str(slot.weight)),
            Text("-"),
            Text("-"),
        ]
    state = slot.state.value + (f" (fails on {', '.join(slot.failing_on)})" if slot.failing_on else "")
    if slot.state is BackendState.DRAINING and slot.agent is not AgentState.NONE:
        state += f" ({count_flows(slot.flows)})"
    return [
        Text(str(slot.number)),
        Text(slot.backend or "(left the fleet)"),
        Text(str(slot.id)),
        Text(str(slot.address or "-")),
        Text(state, style=STATE_STYLES[slot.state]),
        Text(str(slot.weight)),
        Text(f"{100 * pool.share(slot):.1f} %"),
        Text(AGENTS[slot.agent]),
    ]


def _lines(parts: Iterable[str]) -> Text:
    return Text("\n".join(parts) or "-")
