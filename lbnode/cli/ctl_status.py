"""`lbctl status`, `traffic` and `explain`: what the fleet is doing, what a node has counted, where a flow goes."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console

from lbnode.cli.ctl_session import BAD_INPUT, FAILED, fail, fleet_client, make_console, parse_endpoint
from lbnode.cli.render import print_explanation, print_traffic
from lbnode.cli.render_status import print_status, status_document
from lbnode.model.explanation import FlowQuestion
from lbnode.model.fleet import Protocol
from lbnode.model.status import FleetStatus, Severity

WATCH_S = 1.0


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every second, until Ctrl-C.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if there is an alarm.")] = False,
) -> None:
    """Show the fleet: what is wrong first, then nodes, VIPs and pools.

    \b
    Examples:
      lbctl status
      lbctl --node 127.0.0.1:7946 status
      lbctl status --json | jq '.pools[].slots[] | {backend, state, share}'
      lbctl status --check || page-somebody
    """
    console = make_console()
    with fleet_client(context) as client:
        seen = client.status()
        _show(console, seen, as_json)
        with suppress(KeyboardInterrupt):
            while watch:
                time.sleep(WATCH_S)
                seen = client.status()
                if console.is_terminal and not as_json:
                    console.clear()
                _show(console, seen, as_json)
    if check and any(problem.severity is Severity.ALARM for problem in seen.problems):
        raise typer.Exit(FAILED)


def traffic(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what one node has counted: packets and bytes by VIP, pool and backend, and what became of all packets.

    A pool's are the sums of its VIPs'. Counters outlive the daemon, not `lbnode unload`.

    \b
    Examples:
      lbctl traffic
      lbctl --node 127.0.0.1:7946 traffic --json | jq .pools
    """
    with fleet_client(context) as client:
        print_traffic(make_console(), client.traffic(), as_json=as_json)


def explain(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC:PORT", help="The client's address and port.")],
    vip: Annotated[str, typer.Argument(metavar="VIP:PORT[/tcp|/udp]", help="What it connects to.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say which backend a flow goes to and why: bucket, home slot, owner, alternates, epoch.

    Computed by the same functions as the tables in the kernel.

    \b
    Examples:
      lbctl explain 198.51.100.7:40000 192.0.2.10:80/tcp
      lbctl explain 198.51.100.7:5353 192.0.2.10:53/udp
    """
    question = _question(source, vip)
    with fleet_client(context) as client:
        print_explanation(make_console(), question, client.explain(question), as_json=as_json)


def _show(console: Console, seen: FleetStatus, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(status_document(seen)))
    else:
        print_status(console, seen)


def _question(source: str, vip: str) -> FlowQuestion:
    endpoint, _, word = vip.partition("/")
    names = {protocol.name.lower(): protocol for protocol in Protocol}
    if (word or "tcp") not in names:
        raise fail(f"{word!r} is no protocol of VIPs", "write it like 192.0.2.10:80/tcp", BAD_INPUT)
    address, port = parse_endpoint(source)
    vip_address, vip_port = parse_endpoint(endpoint)
    return FlowQuestion(address, port, vip_address, vip_port, names[word or "tcp"])
