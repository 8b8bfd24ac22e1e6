"""`lbctl config`: files checked and described, without a fleet."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lbnode.cli.ctl_fleet import File, check_fleet
from lbnode.cli.ctl_session import BAD_INPUT, fail
from lbnode.settings.errors import BadSettingsError
from lbnode.settings.reader import Schema
from lbnode.settings.schema import fleet_schema, settings_schema

if TYPE_CHECKING:
    from lbnode.backend.settings import BackendSettings
    from lbnode.settings.node import NodeSettings

app = typer.Typer(no_args_is_help=True, help="Check and describe files; needs no fleet.")


class Kind(Enum):
    """The files that people write."""

    FLEET = "fleet"
    NODE = "node"
    BACKEND = "backend"


TITLES = {Kind.FLEET: "fleet.yaml", Kind.NODE: "lbnode.yaml", Kind.BACKEND: "lbbackend.yaml"}


def schema_of(kind: Kind, *, complete: bool = False) -> Schema:
    """Return the JSON Schema of a file; `complete`: of all settings, those from the environment too."""
    if kind is Kind.FLEET:
        return fleet_schema()
    return settings_schema(_settings(kind), TITLES[kind], complete=complete)


@app.command()
def check(
    file: File,
    kind: Annotated[Kind, typer.Option("--kind", help="Which of the files it is.")] = Kind.FLEET,
) -> None:
    """Check a file and list everything that is wrong with it.

    \b
    Examples:
      lbctl config check -f fleet.yaml
      lbctl config check --kind node -f /etc/evenkeel/lbnode.yaml
    """
    if kind is Kind.FLEET:
        check_fleet(file)
        return
    try:
        name = _load(kind, file)
    except BadSettingsError as error:
        raise fail(str(error), code=BAD_INPUT) from error
    typer.echo(f"{file}: good: {kind.value} {name}")


@app.command()
def schema(kind: Annotated[Kind, typer.Argument(help="Which of the files.")]) -> None:
    """Print the JSON Schema of a file, for editors.

    An editor with a YAML language server uses it when the file begins with
    `# yaml-language-server: $schema=fleet.schema.json`.

    \b
    Example:
      lbctl config schema fleet > fleet.schema.json
    """
    typer.echo(json.dumps(schema_of(kind), indent=2))


def _settings(kind: Kind) -> type[NodeSettings] | type[BackendSettings]:
    """The model of a daemon's file. Daemons' modules are loaded here: other commands start faster."""
    from lbnode.backend.settings import BackendSettings
    from lbnode.settings.node import NodeSettings

    return NodeSettings if kind is Kind.NODE else BackendSettings


def _load(kind: Kind, file: Path) -> str:
    """Return the name in a daemon's file. Raises BadSettingsError."""
    from lbnode.settings.source import load

    return load(_settings(kind), file).name
