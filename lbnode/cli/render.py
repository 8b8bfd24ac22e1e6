"""Answers to operators on the screen: what a request changed, and where a flow goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lbnode.model.codec import encode
from lbnode.model.epoch import BackendState
from lbnode.model.explanation import Explanation, FlowQuestion, Holder
from lbnode.model.requests import Change, Outcome
from lbnode.model.traffic import Count, Traffic

STYLES = {Change.ADDED: "green", Change.REMOVED: "red", Change.CHANGED: "yellow"}


def print_outcome(console: Console, outcome: Outcome, *, done: bool = False) -> None:
    """Print a line for each difference, then warnings; with `done`, say so when there was nothing to do."""
    for difference in outcome.differences:
        console.print(Text(str(difference), style=STYLES[difference.change]), soft_wrap=True)
    for warning in outcome.warnings:
        console.print(Text(f"warning: {warning}", style="bold yellow"), soft_wrap=True)
    if done and not outcome.differences:
        console.print("nothing to change: it is so already")


def print_explanation(
    console: Console, question: FlowQuestion, found: Explanation, *, as_json: bool = False
) -> None:
    """Print the way of a flow, one step a line in the order in which the data plane takes them."""
    if as_json:
        document: dict[str, Any] = json.loads(encode(found))
        typer.echo(json.dumps(document))
        return
    mode = "the source address" if found.hash_mode.value == "source" else "the whole flow"
    rows = [
        ("flow", _describe_flow(question)),
        ("vip", found.vip),
        ("pool", f"{found.pool}, epoch {found.epoch} (stamp {found.stamp})"),
        ("bucket", f"{found.bucket} of {found.table_size}: {found.hash_algorithm.value} over {mode}"),
        ("home", _describe_home(found)),
        ("owner", _describe_owner(found)),
        ("alternates", ", ".join(_name(holder) for holder in found.alternates) or "none"),
        ("key", "none" if found.key is None else f"0x{found.key:08x} (SYNs carry none)"),
    ]
    for label, text in rows:
        console.print(Text.assemble((f"{label:<11}", "bold"), text), soft_wrap=True)


def print_traffic(console: Console, traffic: Traffic, *, as_json: bool = False) -> None:
    """Print a node's counters; outcomes that were never met are left out."""
    kinds: dict[str, Mapping[Any, Count]] = {
        "vips": traffic.vips,
        "pools": traffic.pools,
        "backends": traffic.backends,
        "outcomes": {name: count for name, count in traffic.outcomes.items() if as_json or count.packets},
    }
    if as_json:
        counts = {kind: {name: each._asdict() for name, each in kinds[kind].items()} for kind in kinds}
        typer.echo(json.dumps({"node": traffic.node, **counts}))
        return
    for kind, counted in kinds.items():
        table = Table(kind, "packets", "bytes", box=None, pad_edge=False)
        for name, count in counted.items():
            table.add_row(name, f"{count.packets:,}", f"{count.bytes:,}")
        console.print(table)


def endpoint(address: object, port: int) -> str:
    """Return an address and port as people write them."""
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def _describe_flow(question: FlowQuestion) -> str:
    source = endpoint(question.source, question.source_port)
    return f"{source} → {endpoint(question.vip, question.vip_port)}/{question.protocol.name.lower()}"


def _describe_home(found: Explanation) -> str:
    if found.home is None or found.home_state is None:
        return f"slot {found.home_slot}, which is empty"
    return f"slot {found.home_slot}: {_name(found.home)}, {found.home_state.value}"


def _describe_owner(found: Explanation) -> str:
    if found.owner is None:
        return "none: no backend of the pool takes new flows"
    at_home = found.home_state is BackendState.ACTIVE
    return f"{_name(found.owner)}" + ("" if at_home else ": the failover order of this bucket")


def _name(holder: Holder) -> str:
    name = holder.name or "(left the fleet)"
    where = f" at {holder.address}" if holder.address is not None else ""
    return f"{name} (id {holder.id}){where}"
