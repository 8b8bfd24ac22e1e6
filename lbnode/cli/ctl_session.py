"""What all commands of `lbctl` share: the node that they ask, and errors with a remedy and an exit status."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import typer
from rich.console import Console

from lbnode.core.rules import check_addresses
from lbnode.model.ids import IPAddress
from lbnode.model.tunnel import Addresses, in_order
from lbnode.rpc.client import FleetClient
from lbnode.rpc.errors import RefusedError, UnreachableError, WireError
from lbnode.rpc.listen import UNIX, is_loopback
from lbnode.rpc.port import TlsMaterial
from lbnode.settings.errors import BadSettingsError
from lbnode.settings.tls import TlsSettings

FAILED = 1
BAD_INPUT = 2
OUT_OF_REACH = 3
EXIT_STATUS = (
    "Exit status: 0 done · 1 refused or failed · 2 wrong usage or bad input · 3 no answer from the fleet"
)
WIDE = 240
"""Columns when nobody looks at a terminal: a pipe must get whole lines."""


@dataclass(frozen=True, slots=True)
class Session:
    """What the global options say."""

    node: str
    files: TlsFiles
    insecure: bool


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Who the operator is: all three files or none."""

    cert: Path | None
    key: Path | None
    ca: Path | None

    def read(self) -> TlsMaterial | None:
        """Return what the files hold, judged; None if none is named. Raises BadSettingsError."""
        if self.cert is None and self.key is None and self.ca is None:
            return None
        if self.cert is None or self.key is None or self.ca is None:
            raise BadSettingsError("--cert, --key and --ca go together: give all three, or none")
        from lbnode.daemon.credentials import Credentials  # costs every command half as much as it all does

        settings = TlsSettings(certificate=self.cert, key=self.key, ca=self.ca)
        return Credentials(settings, "lbctl").current()


def make_console() -> Console:
    """Return the console for answers: styled on a terminal without NO_COLOR, wide where there is none."""
    console = Console(highlight=False, markup=False, emoji=False)
    if console.no_color:
        console = Console(highlight=False, markup=False, emoji=False, color_system=None)
    if not console.is_terminal:
        console.width = WIDE
    return console


@contextmanager
def fleet_client(context: typer.Context) -> Iterator[FleetClient]:
    """Connect to the session's node; what goes wrong ends the command with a message and an exit status."""
    session: Session = context.obj
    try:
        with FleetClient(session.node, tls=_credentials(session)) as client:
            yield client
    except BadSettingsError as error:
        raise fail(str(error), code=BAD_INPUT) from error
    except UnreachableError as error:
        raise fail(str(error), code=OUT_OF_REACH) from error
    except RefusedError as error:
        raise fail(error.reason, error.remedy, BAD_INPUT if error.invalid else FAILED) from error
    except WireError as error:
        remedy = "do lbctl and that node run the same release?"
        raise fail(f"{session.node} answered what this lbctl does not understand: {error}", remedy) from error


def _credentials(session: Session) -> TlsMaterial | None:
    """What to show the node. Raises BadSettingsError: files of no use, or none where they are needed."""
    if session.node.startswith(UNIX):
        return None
    material = session.files.read()
    host = session.node.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if material is None and not session.insecure and not is_loopback(host):
        raise BadSettingsError(
            f"{session.node} is not this machine: give --cert, --key and --ca (lbctl certs makes them), "
            "or --insecure if whoever is between may read and change everything"
        )
    return material


def fail(reason: str, remedy: str = "", code: int = FAILED) -> typer.Exit:
    """Print an error to stderr and return the exception that ends the command."""
    typer.echo(f"error: {reason}", err=True)
    if remedy:
        typer.echo(f"  hint: {remedy}", err=True)
    return typer.Exit(code)


def parse_address(text: str) -> IPAddress:
    """Return the address in `text`; ends the command as bad input when there is none."""
    try:
        return ip_address(text)
    except ValueError:
        raise fail(f"{text!r} is not an IP address", "write it like 192.0.2.10", BAD_INPUT) from None


def parse_addresses(texts: Iterable[str]) -> Addresses:
    """Return a machine's addresses; ends the command as bad input when one is none, or two are of one family."""
    addresses = in_order(parse_address(text) for text in texts)
    problem = check_addresses(addresses)
    if problem is not None:
        raise fail(problem, code=BAD_INPUT)
    return addresses


def parse_endpoint(text: str) -> tuple[IPAddress, int]:
    """Return the address and port in `192.0.2.10:80` or `[2001:db8::1]:80`."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise fail(f"{text!r} is no address and port", "write it like 192.0.2.10:80", BAD_INPUT)
    return parse_address(host.removeprefix("[").removesuffix("]")), int(port)
