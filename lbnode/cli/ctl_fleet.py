"""`lbctl apply`, `plan`, `export`: the operator's file and the fleet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lbnode.cli.ctl_session import BAD_INPUT, FAILED, fail, fleet_client, make_console
from lbnode.cli.render import print_outcome
from lbnode.cli.render_forecast import print_forecast
from lbnode.model.fleet import DesiredFleet
from lbnode.settings.fleet import FleetFileError, load_text, read_fleet

STDIN = Path("-")

File = Annotated[Path, typer.Option("--file", "-f", help="The fleet.yaml to use; - reads standard input.")]


def apply(
    context: typer.Context,
    file: File,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Do not hold what would break flows; lbctl plan counts them.")
    ] = False,
) -> None:
    """Make the fleet what a fleet.yaml says; shows what changes first, and asks when on a terminal.

    The file is used whole or not at all. Drains stay: they are not in the file. If somebody else changes the
    fleet between the question and the answer, nothing is applied.

    \b
    Examples:
      lbctl apply -f fleet.yaml --dry-run
      lbctl plan -f fleet.yaml && lbctl apply -f fleet.yaml
      ssh ops cat fleet.yaml | lbctl apply -f - --yes
    """
    text = _checked_text(file)
    console = make_console()
    with fleet_client(context) as client:
        preview = client.apply(text, dry_run=True)
        print_outcome(console, preview)
        if not preview.differences and not force:
            console.print("nothing to change")
            return
        if dry_run:
            console.print("dry run: nothing was changed")
            return
        if sys.stdin.isatty() and not yes and not typer.confirm("Apply this?"):
            raise fail("nothing was changed", code=FAILED)
        client.apply(text, based_on=preview.version, force=force)
        console.print(
            "applied" if force else "applied; what would break flows waits: lbctl status says for whom"
        )


def plan(
    context: typer.Context,
    file: File,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what applying a fleet.yaml would do to the flows: buckets that move, what waits, what breaks.

    Computed by the node with the functions that the leader decides with; nothing is written.

    \b
    Examples:
      lbctl plan -f fleet.yaml
      lbctl plan -f fleet.yaml --json | jq '.pools[] | {pool, moved, held}'
    """
    text = _checked_text(file)
    with fleet_client(context) as client:
        print_forecast(make_console(), client.plan(text), as_json=as_json)


def export(context: typer.Context) -> None:
    """Print the fleet as it was last applied, as a fleet.yaml.

    \b
    Example:
      lbctl export > fleet.yaml
    """
    with fleet_client(context) as client:
        typer.echo(client.export(), nl=False)


def check_fleet(file: Path) -> None:
    """Say what a fleet.yaml comes to, or everything that is wrong with it."""
    fleet = _read(file, _text(file))
    counts = ", ".join(
        f"{len(things)} {word}{'' if len(things) == 1 else 's'}"
        for things, word in ((fleet.backends, "backend"), (fleet.pools, "pool"), (fleet.vips, "VIP"))
    )
    typer.echo(f"{file}: good: fleet {fleet.name} with {counts}")


def _checked_text(file: Path) -> str:
    text = _text(file)
    _read(file, text)
    return text


def _text(file: Path) -> str:
    try:
        return sys.stdin.read() if file == STDIN else load_text(file)
    except UnicodeDecodeError as error:
        raise fail("standard input is not UTF-8 text", code=BAD_INPUT) from error
    except FleetFileError as error:
        raise fail(str(error), code=BAD_INPUT) from error


def _read(file: Path, text: str) -> DesiredFleet:
    try:
        return read_fleet(text, "standard input" if file == STDIN else file.name)
    except FleetFileError as error:
        count = len(error.problems)
        summary = (
            f"{file} cannot be used, it has {count} problem{'' if count == 1 else 's'}; nothing was changed"
        )
        typer.echo(str(error), err=True)
        raise fail(summary, code=BAD_INPUT) from error
