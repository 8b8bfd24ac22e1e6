"""`lbctl`: what operators type."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from lbnode.cli import (
    ctl_backends,
    ctl_certs,
    ctl_config,
    ctl_doctor,
    ctl_fleet,
    ctl_nodes,
    ctl_rollout,
    ctl_status,
    ctl_systemd,
    lab,
)
from lbnode.cli.ctl_session import EXIT_STATUS, Session, TlsFiles
from lbnode.rpc.client import DEFAULT_ADDRESS

app = typer.Typer(
    name="lbctl",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help=f"""Operate a fleet of evenkeel load balancers. Any node answers for the whole fleet.

    \b
    Examples:
      lbctl status                              what is wrong, and everything else
      lbctl apply -f fleet.yaml                 make the fleet what the file says
      lbctl plan -f fleet.yaml                  what that would do to the flows
      lbctl backend drain b3 --wait             no new flows for b3; wait until it holds none
      lbctl rollout web --command 'ssh {{name}} systemctl restart app'
      lbctl node drain n2                       take a node out of service
      lbctl explain 198.51.100.7:40000 192.0.2.10:80/tcp
      lbctl doctor                              what is wrong with this machine, and what mends it
      lbctl --node 10.0.1.1:7946 --cert me.crt --key me.key --ca ca.crt status        ask another node
      lbctl --install-completion                completion for your shell

    {EXIT_STATUS}
    """,
)
app.command()(ctl_status.status)
app.command()(ctl_fleet.plan)
app.command()(ctl_fleet.apply)
app.command()(ctl_fleet.export)
app.add_typer(ctl_nodes.app, name="node")
app.add_typer(ctl_backends.app, name="backend")
app.command()(ctl_rollout.rollout)
app.command()(ctl_status.traffic)
app.command()(ctl_status.explain)
app.command()(ctl_doctor.doctor)
app.add_typer(ctl_config.app, name="config")
app.add_typer(ctl_certs.app, name="certs")
app.add_typer(ctl_systemd.app, name="systemd")
app.add_typer(lab.app, name="lab")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lbctl {version('evenkeel')}")
        raise typer.Exit


@app.callback()
def main_options(
    context: typer.Context,
    node: Annotated[
        str,
        typer.Option(
            "--node",
            envvar="EVENKEEL_NODE",
            metavar="ADDRESS",
            help="The node to ask: unix:/path/to/socket or HOST:PORT.",
        ),
    ] = DEFAULT_ADDRESS,
    cert: Annotated[
        Path | None, typer.Option("--cert", envvar="EVENKEEL_CERT", help="Your certificate, for host:port.")
    ] = None,
    key: Annotated[Path | None, typer.Option("--key", envvar="EVENKEEL_KEY", help="Its private key.")] = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", envvar="EVENKEEL_CA", help="The fleet's authority.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Ask a node beyond loopback without TLS.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = Session(node, TlsFiles(cert, key, ca), insecure)


def main() -> None:
    """Entry point of the `lbctl` command."""
    app()
