"""`lbctl backend …`: list, add, weigh, drain, undrain, replace, remove."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from lbnode.cli.ctl_progress import Timeout, ending_in_failure, make_progress, parse_time
from lbnode.cli.ctl_session import BAD_INPUT, fail, fleet_client, make_console, parse_addresses
from lbnode.cli.ctl_waits import replaced, steadily, without_flows
from lbnode.cli.render import print_outcome
from lbnode.cli.render_flows import count_flows
from lbnode.cli.render_status import backends_table
from lbnode.core.rules import check_weight
from lbnode.model.ids import BackendName, PoolName
from lbnode.model.requests import (
    AddBackend,
    DrainBackend,
    RemoveBackend,
    ReplaceBackend,
    UndrainBackend,
    WeighBackend,
)
from lbnode.model.status import FleetStatus
from lbnode.settings.fleet import read_fleet

app = typer.Typer(no_args_is_help=True, help="Backends: list, add, weigh, drain, undrain, replace, remove.")

Name = Annotated[
    str, typer.Argument(metavar="BACKEND", help="The backend's name, as `lbctl backend list` shows it.")
]
Pool = Annotated[
    str, typer.Option("--pool", "-p", help="Only in this pool; without it, in all of the backend's pools.")
]
Force = Annotated[bool, typer.Option("--force", help="Do it at once although flows may break.")]
NoAgent = Annotated[
    bool,
    typer.Option(
        "--no-agent", help="The new machine is a stock gre device without lbbackend: wait for no agent."
    ),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Return when it is done, showing how many flows are left.")
]


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
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            help="Where it takes GRE, one of each family; not needed if the fleet has the backend already."
        ),
    ] = None,
    weight: Annotated[int, typer.Option("--weight", "-w", help="Its share beside others, 1..65535.")] = 1,
    no_agent: NoAgent = False,
    force: Force = False,
) -> None:
    """Put a backend into a pool. It gets flows when it is up and its agent is connected.

    \b
    Examples:
      lbctl backend add b4 10.0.2.4 --pool web
      lbctl backend add b4 10.0.2.4 2001:db8:2::4 --pool web
      lbctl backend add b5 10.0.2.5 --pool web --no-agent
      lbctl backend add b4 --pool api --weight 2
    """
    problem = check_weight(weight)
    if problem is not None:
        raise fail(f"weight {weight} {problem}", code=BAD_INPUT)
    where = parse_addresses(addresses or ())
    request = AddBackend(BackendName(backend), PoolName(pool), where, weight, force, agent=not no_agent)
    with fleet_client(context) as client:
        print_outcome(make_console(), client.add_backend(request), done=True)


@app.command()
def weigh(
    context: typer.Context,
    backend: Name,
    weight: Annotated[int, typer.Argument(help="Its share beside others, 1..65535.")],
    pool: Pool = "",
    force: Force = False,
) -> None:
    """Give a backend another weight beside the others.

    \b
    Example:
      lbctl backend weigh b3 20
    """
    request = WeighBackend(BackendName(backend), weight, _pool(pool), force)
    with fleet_client(context) as client:
        print_outcome(make_console(), client.weigh_backend(request), done=True)


@app.command()
def drain(
    context: typer.Context,
    backend: Name,
    pool: Pool = "",
    wait: Wait = False,
    timeout: Annotated[str, Timeout] = "10m",
    force: Force = False,
) -> None:
    """Give a backend no new flows; those that it has go on.

    With --wait the command shows how many it still holds and ends when there are none: then the machine can be
    stopped. The last active backend of a pool is only drained with --force.

    \b
    Examples:
      lbctl backend drain b3
      lbctl backend drain b3 --pool web
      lbctl backend drain b3 --wait --timeout 1h && ssh b3 poweroff
    """
    name, timeout_s = BackendName(backend), parse_time(timeout)
    with fleet_client(context) as client, ending_in_failure():
        print_outcome(make_console(), client.drain_backend(DrainBackend(name, _pool(pool), force)), done=True)
        if not wait:
            return
        progress = make_progress()
        look = steadily(without_flows(name, _pool(pool)), progress.clock)
        remedy = f"wait on: lbctl backend drain {name} --wait; or let them break: lbctl backend remove {name} --force"
        progress.wait_until(client, f"drain {name}", look, timeout_s, remedy)


@app.command()
def undrain(context: typer.Context, backend: Name, pool: Pool = "", force: Force = False) -> None:
    """Give a drained backend new flows again: exactly those that it would have without the drain.

    \b
    Example:
      lbctl backend undrain b3
    """
    request = UndrainBackend(BackendName(backend), _pool(pool), force)
    with fleet_client(context) as client:
        print_outcome(make_console(), client.undrain_backend(request), done=True)


@app.command("replace")
def replace_with(
    context: typer.Context,
    backend: Name,
    by: Annotated[str, typer.Option("--with", metavar="BACKEND", help="Who takes over its slot.")],
    addresses: Annotated[
        list[str] | None,
        typer.Argument(
            help="Where the new one takes GRE, one of each family; not needed if the fleet has it already."
        ),
    ] = None,
    pool: Pool = "",
    no_agent: NoAgent = False,
    wait: Wait = False,
    timeout: Annotated[str, Timeout] = "10m",
    force: Force = False,
) -> None:
    """Let another machine take over a backend's slot: exactly the buckets of the old one move to the new one.

    The old one serves until the new one is up, and then keeps its flows. It leaves the pool, and the fleet when it
    is in no pool any more. With --wait the command ends when the old one holds no flow: then it can be stopped.

    \b
    Examples:
      lbctl backend replace b3 --with b9 10.0.2.9
      lbctl backend replace b3 --with b9 10.0.2.9 --wait && ssh b3 poweroff
    """
    name, new, timeout_s = BackendName(backend), BackendName(by), parse_time(timeout)
    where = parse_addresses(addresses or ())
    request = ReplaceBackend(name, new, where, _pool(pool), force, agent=not no_agent)
    with fleet_client(context) as client, ending_in_failure():
        pools = _pools_with(client.export(), name, pool) if wait else []
        print_outcome(make_console(), client.replace_backend(request), done=True)
        progress = make_progress()
        for one in pools:
            look = steadily(replaced(name, new, one), progress.clock)
            remedy = f"see why: lbctl status; to go on waiting for {name}: lbctl status --watch"
            progress.wait_until(client, f"replace {name} in pool {one}", look, timeout_s, remedy)


@app.command()
def remove(context: typer.Context, backend: Name, pool: Pool = "", force: Force = False) -> None:
    """Take a drained backend out of a pool; without --pool out of all of them and out of the fleet.

    One that is not drained or still has flows is refused; on a terminal you are asked. --force does not ask.

    \b
    Examples:
      lbctl backend drain b3 --wait && lbctl backend remove b3
      lbctl backend remove b3 --pool web
    """
    name = BackendName(backend)
    with fleet_client(context) as client:
        if not force and sys.stdin.isatty():
            force = _asks_to_break(client.status(), name, _pool(pool))
        request = RemoveBackend(name, _pool(pool), force)
        print_outcome(make_console(), client.remove_backend(request), done=True)


def _asks_to_break(status: FleetStatus, name: BackendName, pool: PoolName | None) -> bool:
    """Ask before flows break; ends the command after a no. False when there is nothing to ask."""
    slots = [slot for one in status.pools if pool in (None, one.name) for slot in one.slots]
    mine = [slot for slot in slots if slot.backend == name]
    flows = sum(slot.flows or 0 for slot in mine)
    if not flows:
        return False
    if typer.confirm(f"{name} still holds {count_flows(flows)}, which break. Remove it?"):
        return True
    raise fail("nothing was changed", f"wait for them: lbctl backend drain {name} --wait")


def _pools_with(fleet_yaml: str, name: BackendName, pool: str) -> list[PoolName]:
    """The pools that are to have a backend, whether it has taken its slot yet or not; with `pool` only that one."""
    pools = read_fleet(fleet_yaml).pools
    return [
        one.name
        for one in pools
        if pool in ("", one.name) and name in {member.backend for member in one.members}
    ]


def _pool(name: str) -> PoolName | None:
    return PoolName(name) if name else None
