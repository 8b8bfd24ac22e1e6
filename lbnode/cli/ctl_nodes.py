"""`lbctl node …`: list, drain, undrain, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from lbnode.cli.ctl_session import fleet_client, make_console
from lbnode.cli.render import print_outcome
from lbnode.cli.render_status import nodes_table
from lbnode.model.ids import NodeName
from lbnode.model.requests import DrainNode, RemoveNode, UndrainNode

app = typer.Typer(no_args_is_help=True, help="Load balancer nodes: list, drain, undrain, remove.")

Name = Annotated[str, typer.Argument(metavar="NODE", help="The node's name, as `lbctl node list` shows it.")]
Force = Annotated[bool, typer.Option("--force", help="Do it although flows may break.")]


@app.command("list")
def list_nodes(context: typer.Context) -> None:
    """List the nodes: state, version, what they announce, their routers, their tables."""
    with fleet_client(context) as client:
        make_console().print(nodes_table(client.status()))


@app.command()
def drain(context: typer.Context, node: Name, force: Force = False) -> None:
    """Take a node out of service in good order: routers are told first, traffic moves, no flow breaks.

    The last serving node is only drained with --force.

    \b
    Example:
      lbctl node drain n2
    """
    with fleet_client(context) as client:
        print_outcome(make_console(), client.drain_node(DrainNode(NodeName(node), force)), done=True)


@app.command()
def undrain(context: typer.Context, node: Name) -> None:
    """Put a drained node back into service.

    \b
    Example:
      lbctl node undrain n2
    """
    with fleet_client(context) as client:
        print_outcome(make_console(), client.undrain_node(UndrainNode(NodeName(node))), done=True)


@app.command()
def remove(context: typer.Context, node: Name, force: Force = False) -> None:
    """Forget a node that is gone for good: backends stop taking its tunnel packets.

    \b
    Example:
      lbctl node drain n2, stop its lbnode, then: lbctl node remove n2
    """
    with fleet_client(context) as client:
        print_outcome(make_console(), client.remove_node(RemoveNode(NodeName(node), force)), done=True)
