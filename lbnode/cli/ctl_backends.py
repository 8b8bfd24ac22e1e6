"""`lbctl backend …`: list, add, drain, undrain, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from lbnode.cli.ctl_session import BAD_INPUT, fail, fleet_client, make_console, parse_address
from lbnode.cli.render import print_outcome
from lbnode.cli.render_status import backends_table
from lbnode.core.rules import check_weight
from lbnode.model.ids import BackendName, PoolName
from lbnode.model.requests import AddBackend, DrainBackend, RemoveBackend, UndrainBackend

app = typer.Typer(no_args_is_help=True, help="Backends: list, add, drain, undrain, remove.")

Name = Annotated[
    str, typer.Argument(metavar="BACKEND", help="The backend's name, as `lbctl backend list` shows it.")
]
Pool = Annotated[
    str, typer.Option("--pool", "-p", help="Only in this pool; without it, in all of the backend's pools.")
]
Force = Annotated[bool, typer.Option("--force", help="Do it although flows may break.")]


@app.command("list")
def list_backends(context: typer.Context) -> None:
    """List the backends of all pools: slot, state, weight, share of new flows, agent."""
    with fleet_client(context) as client:
        make_console().print(backends_table(client.status()))


@app.command()
def add(
    context: typer.Context,
    backend: Name,
    pool: Annotated[str, typer.Option("--pool", "-p", help="The pool to put it into.")],
    address: Annotated[
        str, typer.Argument(help="Where it takes GRE; not needed if the fleet has the backend already.")
    ] = "",
    weight: Annotated[int, typer.Option("--weight", "-w", help="Its share beside others, 1..65535.")] = 1,
) -> None:
    """Put a backend into a pool.

    \b
    Examples:
      lbctl backend add b4 10.0.2.4 --pool web
      lbctl backend add b4 --pool api --weight 2
    """
    problem = check_weight(weight)
    if problem is not None:
        raise fail(f"weight {weight} {problem}", code=BAD_INPUT)
    request = AddBackend(
        BackendName(backend), PoolName(pool), parse_address(address) if address else None, weight
    )
    with fleet_client(context) as client:
        print_outcome(make_console(), client.add_backend(request), done=True)


@app.command()
def drain(context: typer.Context, backend: Name, pool: Pool = "", force: Force = False) -> None:
    """Give a backend no new flows; those that it has go on.

    The last active backend of a pool is only drained with --force.

    \b
    Examples:
      lbctl backend drain b3
      lbctl backend drain b3 --pool web
    """
    request = DrainBackend(BackendName(backend), _pool(pool), force)
    with fleet_client(context) as client:
        print_outcome(make_console(), client.drain_backend(request), done=True)


@app.command()
def undrain(context: typer.Context, backend: Name, pool: Pool = "") -> None:
    """Give a drained backend new flows again: exactly those that it would have without the drain.

    \b
    Example:
      lbctl backend undrain b3
    """
    request = UndrainBackend(BackendName(backend), _pool(pool))
    with fleet_client(context) as client:
        print_outcome(make_console(), client.undrain_backend(request), done=True)


@app.command()
def remove(context: typer.Context, backend: Name, pool: Pool = "", force: Force = False) -> None:
    """Take a drained backend out of a pool; without --pool out of all of them and out of the fleet.

    \b
    Examples:
      lbctl backend remove b3
      lbctl backend remove b3 --pool web
    """
    request = RemoveBackend(BackendName(backend), _pool(pool), force)
    with fleet_client(context) as client:
        print_outcome(make_console(), client.remove_backend(request), done=True)


def _pool(name: str) -> PoolName | None:
    return PoolName(name) if name else None
