"""`lbctl node …`: list, drain, undrain, remove."""

from __future__ import annotations

from typing import Annotated

import typer

from lbnode.cli.ctl_progress import Timeout, ending_in_failure, make_progress, parse_time
from lbnode.cli.ctl_session import fleet_client, make_console
from lbnode.cli.ctl_waits import without_traffic
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
def drain(
    context: typer.Context,
    node: Name,
    wait: Annotated[bool, typer.Option("--wait", help="Return when no traffic reaches it any more.")] = False,
    timeout: Annotated[str, Timeout] = "2m",
    force: Force = False,
) -> None:
    """Take a node out of service in good order: routers are told first, traffic moves, no flow breaks.

    With --wait the command ends when no packets reach the node any more: then lbnode can be stopped. The last
    serving node is only drained with --force.

    \b
    Examples:
      lbctl node drain n2
      lbctl node drain n2 --wait && ssh n2 systemctl restart lbnode
    """
    name, timeout_s = NodeName(node), parse_time(timeout)
    with fleet_client(context) as client, ending_in_failure():
        print_outcome(make_console(), client.drain_node(DrainNode(name, force)), done=True)
        if wait:
            remedy = f"do the routers still send to it? See the BGP sessions and routes: lbctl --node {name} status"
            make_progress().wait_until(client, f"drain {name}", without_traffic(name), timeout_s, remedy)


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
