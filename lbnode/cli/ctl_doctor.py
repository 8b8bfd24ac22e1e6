"""`lbctl doctor`: what is wrong with this machine, or with the fleet, and what mends it."""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from lbnode.cli.ctl_session import BAD_INPUT, FAILED, fail, fleet_client, make_console
from lbnode.cli.render_doctor import print_examinations
from lbnode.doctor.checks.fleet import check_fleet
from lbnode.doctor.checks.store import check_clock
from lbnode.doctor.findings import Examination, is_healthy
from lbnode.settings.errors import BadSettingsError


class Role(Enum):
    """What the doctor looks at."""

    NODE = "node"
    BACKEND = "backend"
    OPERATOR = "operator"


def doctor(
    context: typer.Context,
    role: Annotated[
        Role | None,
        typer.Option(
            "--role", help="What this machine is; left out: what it has settings for, else an operator's."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", envvar="EVENKEEL_CONFIG", help="Its settings; left out: those in /etc/evenkeel."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Examine this machine: everything that a node or a backend needs, tried for real; elsewhere, ask the fleet.

    Each finding says what is wrong, why it matters, and the command that mends it. Nothing is changed. Run it as
    root: what needs rights cannot be looked at without.

    \b
    Examples:
      sudo lbctl doctor
      sudo lbctl doctor --role backend --config /etc/evenkeel/lbbackend.yaml
      lbctl --node 10.0.1.11:7946 --cert me.crt --key me.key --ca ca.crt doctor
      sudo lbctl doctor --json | jq '.examinations[].findings[] | select(.grade == "failure")'

    Exit status: 0 nothing is broken · 1 something is · 2 wrong usage or bad settings · 3 no answer from the fleet
    """
    role = role or _role_of(config)
    try:
        subject, found = _ask(context) if role is Role.OPERATOR else _examine(role, config or DEFAULTS[role])
    except BadSettingsError as error:
        raise fail(str(error), code=BAD_INPUT) from error
    print_examinations(make_console(), subject, found, as_json=as_json)
    if not is_healthy(found):
        raise typer.Exit(FAILED)


DEFAULTS = {Role.NODE: Path("/etc/evenkeel/lbnode.yaml"), Role.BACKEND: Path("/etc/evenkeel/lbbackend.yaml")}


def _role_of(config: Path | None) -> Role:
    """What this machine is, by the settings that it has."""
    if config is not None:
        raise fail(
            "--config without --role", "say what this machine is: --role node or --role backend", BAD_INPUT
        )
    return next((role for role, path in DEFAULTS.items() if path.exists()), Role.OPERATOR)


def _ask(context: typer.Context) -> tuple[str, tuple[Examination, ...]]:
    """Ask the node that the global options name."""
    from lbnode.doctor.gather.memory import own_clock

    with fleet_client(context) as client:
        status = client.status()
    return f"fleet {status.fleet}", (check_clock(own_clock()), check_fleet(status))


def _examine(role: Role, config: Path) -> tuple[str, tuple[Examination, ...]]:
    """Return what was examined, and what was found. Daemons' modules are loaded here: other commands start faster."""
    from lbnode.backend.settings import BackendSettings
    from lbnode.cli.daemon import configure_logging
    from lbnode.doctor.backend import examine_backend
    from lbnode.doctor.node import examine_node
    from lbnode.settings.node import NodeSettings
    from lbnode.settings.source import load

    configure_logging(as_json=False, level=logging.WARNING)
    if role is Role.NODE:
        settings = load(NodeSettings, config)
        return f"node {settings.name}", asyncio.run(examine_node(settings))
    agent = load(BackendSettings, config)
    return f"backend {agent.name}", asyncio.run(examine_backend(agent))
