"""`lbnode`: the load balancer node's daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lbnode.app.build import check as check_node
from lbnode.app.build import protect_store
from lbnode.app.build import run as run_node
from lbnode.app.build import unload as unload_node
from lbnode.app.machine import MachineStatus, read_machine
from lbnode.cli.daemon import FAILED, LogAsJson, configure_logging, report_failures
from lbnode.cli.render_counters import counter_lines, traffic_lines
from lbnode.model.outcomes import NODE_OUTCOMES
from lbnode.settings.node import NodeSettings
from lbnode.settings.source import load

DEFAULT_CONFIG = Path("/etc/evenkeel/lbnode.yaml")

app = typer.Typer(
    name="lbnode",
    no_args_is_help=True,
    help="""The load balancer node: announces VIPs to the routers and forwards their packets to the backends.

    Examples:

      lbnode check --config /etc/evenkeel/lbnode.yaml

      lbnode run --config /etc/evenkeel/lbnode.yaml

      lbnode protect

      lbnode status

      lbnode unload

    Exit status: 0 done, 1 failed (the message says why), 2 wrong usage or bad settings.
    """,
)

Config = Annotated[
    Path, typer.Option("--config", "-c", help="This node's settings.", envvar="EVENKEEL_CONFIG")
]


@app.command()
def run(
    config: Config = DEFAULT_CONFIG,
    as_json: LogAsJson = False,
) -> None:
    """Run the node until SIGTERM: then routes are withdrawn first, and traffic is waited for.

    A daemon that is killed loses no packet: program and tables stay in the kernel, and ExaBGP keeps the routes up
    until the next daemon adopts it, for 30 s at most.
    """
    configure_logging(as_json)
    with report_failures():
        asyncio.run(run_node(load(NodeSettings, config)))


@app.command()
def unload(config: Config = DEFAULT_CONFIG) -> None:
    """Take the program off the interface and remove its tables. Only for a node that is stopped for good."""
    with report_failures():
        settings = load(NodeSettings, config)
        unload_node(settings)
        typer.echo(f"{settings.name}: program, tables and pins are gone")


@app.command()
def protect(
    config: Config = DEFAULT_CONFIG,
    before: Annotated[
        Path | None, typer.Option("--before", help="The store-nodes.yaml that the records were closed with.")
    ] = None,
) -> None:
    """Close the fleet's records in ZooKeeper to everybody but the fleet: once, where they were open before.

    Records are not looked at: what a stranger wrote while he could becomes the fleet's. Those that still belong to
    others are listed, and ignored by all daemons.
    """
    with report_failures():
        done = protect_store(load(NodeSettings, config), before)
    typer.echo(f"{done.closed} znodes closed, {done.before} were closed before")
    for znode in done.foreign:
        typer.echo(f"{znode} belongs to somebody else: delete it", err=True)
    if done.foreign:
        raise typer.Exit(FAILED)


@app.command()
def status(
    config: Config = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show what holds on this machine: tables, interface, what became of packets. The daemon need not run.

    `lbctl status` shows the fleet.
    """
    with report_failures():
        found = read_machine(load(NodeSettings, config))
        typer.echo(json.dumps(asdict(found), indent=2) if as_json else "\n".join(_lines(found)))


@app.command()
def check(config: Config = DEFAULT_CONFIG) -> None:
    """Read the settings and say what they come to; nothing is changed."""
    with report_failures():
        settings = load(NodeSettings, config)
        check_node(settings)
        typer.echo(f"{config}: good: node {settings.name} of fleet {settings.fleet} on {settings.interface}")


def main() -> None:
    """Entry point of the `lbnode` command."""
    app()


def _lines(found: MachineStatus) -> Iterator[str]:
    daemon = f"running as process {found.daemon_pid}" if found.daemon_pid is not None else "not running"
    yield f"node {found.name}: daemon {daemon}"
    yield f"interface {found.interface}: xdp {found.xdp}"
    for pool, epoch in found.epochs.items():
        yield f"pool {pool}: " + (f"epoch {epoch}" if epoch else "no table yet")
    for kind, counted in (("vip", found.vips), ("pool", found.pools), ("backend", found.backends)):
        yield from traffic_lines(kind, counted)
    yield from counter_lines(found.packets, NODE_OUTCOMES)
