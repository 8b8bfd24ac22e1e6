"""`lbbackend`: the agent on a backend's machine."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from lbnode.backend import instance
from lbnode.backend.contact import Contact
from lbnode.backend.settings import BackendSettings
from lbnode.backend.status import BackendStatus, read_status
from lbnode.cli.daemon import LogAsJson, configure_logging, report_failures
from lbnode.cli.render_counters import counter_lines
from lbnode.cli.render_flows import duration
from lbnode.model.codec import encode
from lbnode.model.members import View
from lbnode.model.outcomes import AGENT_OUTCOMES
from lbnode.settings.source import load

DEFAULT_CONFIG = Path("/etc/evenkeel/lbbackend.yaml")

app = typer.Typer(
    name="lbbackend",
    no_args_is_help=True,
    help="""The agent on a backend: takes packets out of the nodes' tunnels and answers clients directly.

    Examples:

      lbbackend run --config /etc/evenkeel/lbbackend.yaml

      lbbackend status --json

      lbbackend unload

    Exit status: 0 done, 1 failed (the message says why), 2 wrong usage or bad settings.
    """,
)

Config = Annotated[
    Path, typer.Option("--config", "-c", help="This backend's settings.", envvar="EVENKEEL_CONFIG")
]


@app.command()
def run(
    config: Config = DEFAULT_CONFIG,
    as_json: LogAsJson = False,
) -> None:
    """Run the agent until SIGTERM.

    Stop, crash and upgrade leave VIPs, kernel settings and programs in place and break no flow; `unload`
    undoes them.
    """
    configure_logging(as_json)
    with report_failures():
        asyncio.run(instance.run(load(BackendSettings, config)))


@app.command()
def unload(config: Config = DEFAULT_CONFIG) -> None:
    """Undo all that the agent did to this machine. Only for a backend that is stopped for good."""
    with report_failures():
        settings = load(BackendSettings, config)
        undone = asyncio.run(instance.unload(settings))
        typer.echo(f"{settings.name}: programs and pins are gone")
        for address in undone.addresses:
            typer.echo(f"{settings.name}: {address} is off lo")
        for name, value in undone.sysctls.items():
            typer.echo(f"{settings.name}: {name} is {value} again")


@app.command()
def status(
    config: Config = DEFAULT_CONFIG,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show what holds on this machine: VIPs, accepted nodes, counters. The agent need not run."""
    with report_failures():
        found = asyncio.run(read_status(load(BackendSettings, config)))
        typer.echo(json.dumps(json.loads(encode(found)), indent=2) if as_json else "\n".join(_lines(found)))


def main() -> None:
    """Entry point of the `lbbackend` command."""
    app()


def _contact(contact: Contact) -> str:
    """Whether the agent has the store, for how long it has not, and why."""
    if contact.view is View.FLEET:
        return "in reach"
    why = f"REFUSED: {contact.refused}" if contact.refused else "OUT OF REACH"
    return f"{why}: going by the last epochs that are known here for {duration(time.time() - contact.since)}"


def _lines(found: BackendStatus) -> Iterator[str]:
    agent = f"running as process {found.agent_pid}" if found.agent_pid is not None else "not running"
    yield f"backend {found.name}: agent {agent}"
    if found.contact is not None:
        yield f"store: {_contact(found.contact)}"
    yield f"interface {found.interface}: xdp {found.xdp}, mss clamp {'on' if found.clamp else 'off'}"
    yield from (f"problem: {problem}" for problem in found.problems)
    yield f"accepts GRE from nodes: {', '.join(found.sources) or 'none'}"
    yield f"accepts GRE from backends: {', '.join(found.backends) or 'none'}"
    for vip in found.vips:
        place = f"id {vip.self_id}" if vip.self_id else "no id yet"
        new = "takes new flows" if vip.takes_new else "new flows go to their owners"
        chance = "second chance" if vip.second_chance else "no second chance"
        where = "" if vip.on_lo else ", NOT on lo"
        yield f"vip {vip.vip}: pool {vip.pool}, {place}, epoch {vip.epoch}, {new}, {chance}{where}"
    yield from counter_lines(found.packets, AGENT_OUTCOMES)
