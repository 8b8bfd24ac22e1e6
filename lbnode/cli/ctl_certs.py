"""`lbctl certs`: the fleet's certificates. Files only: no node is asked."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
import yaml

from lbnode.certs.errors import CertificateError
from lbnode.certs.judgement import Certificate
from lbnode.certs.pair import Pair
from lbnode.certs.revocation import Revoked, fingerprint, read_revoked
from lbnode.cli.ctl_session import BAD_INPUT, FAILED, fail
from lbnode.model.access import SCHEME, Identity, IdentityError, Role, read_identity
from lbnode.settings.errors import BadSettingsError
from lbnode.settings.secret import read_public, read_secret
from lbnode.store.access import Party, digest_id

AUTHORITY = "ca"
REVOKED = "revoked"
PUBLIC, PRIVATE = 0o644, 0o600

app = typer.Typer(
    no_args_is_help=True,
    help="""Make the certificates and secrets by which a fleet knows its own.

    \b
    Examples:
      lbctl certs ca demo                                      once: ca.crt and ca.key; keep ca.key off the nodes
      lbctl certs issue demo node n1 --address 10.0.1.1        n1.crt and n1.key, for rpc.tls of node n1
      lbctl certs issue demo operator alice                    may change the fleet
      lbctl certs issue demo reader grafana                    may look
      lbctl certs issue demo backend b1                        for store.tls alone
      lbctl certs store                                        store-nodes.yaml, store-backends.yaml, for ZooKeeper
      lbctl certs show n1.crt                                  for whom, under which addresses, until when
      lbctl certs revoke alice                                 alice.crt counts no more: revoked, for rpc.tls.revoked

    Certificates of an authority of your own work too: they need a URI evenkeel://FLEET/ROLE/NAME among their
    alternative names. Files that are renewed in place are taken up without a restart.
    """,
)

Fleet = Annotated[str, typer.Argument(help="The fleet's name, as in the nodes' settings.")]
Directory = Annotated[Path, typer.Option("--dir", "-d", help="Where the files lie.")]
HERE = Path()


@app.command()
def ca(
    fleet: Fleet,
    directory: Directory = HERE,
    days: Annotated[int, typer.Option(min=1, max=36500, help="How long it is good for.")] = 3650,
) -> None:
    """Make the fleet's authority. Whoever has its key can be any node and any operator: keep it offline."""
    with _reported():
        from lbnode.certs.authority import make_authority

        Identity(fleet, Role.NODE, AUTHORITY)
        pair = make_authority(fleet, datetime.now(UTC), timedelta(days=days))
        _write_pair(directory, AUTHORITY, pair, renew=False)
        typer.echo(f"fleet {fleet}: authority for {days} days in {directory / AUTHORITY}.crt and .key")


@app.command("issue")
def issue_certificate(
    fleet: Fleet,
    role: Annotated[
        Role,
        typer.Argument(help="operator: may change. reader, node: look. backend: for the store alone."),
    ],
    name: Annotated[str, typer.Argument(help="Who: a node's name, a person, a program.")],
    address: Annotated[
        list[str] | None,
        typer.Option("--address", "-a", help="Of a node: where it is asked. Repeat for more."),
    ] = None,
    directory: Directory = HERE,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long it is good for.")] = 365,
    renew: Annotated[bool, typer.Option("--renew", help="Replace the files of the same name.")] = False,
) -> None:
    """Make a certificate and its key, signed by the authority in the same directory."""
    hosts = address or []
    if role is Role.NODE and not hosts:
        raise fail(
            "a node's certificate is for addresses", "--address 10.0.1.1, as often as needed", BAD_INPUT
        )
    with _reported():
        from lbnode.certs.authority import issue
        from lbnode.certs.description import describe

        pair = issue(
            _authority(directory), Identity(fleet, role, name), hosts, datetime.now(UTC), timedelta(days=days)
        )
        _write_pair(directory, name, pair, renew)
        typer.echo(f"{_line(describe(pair.certificate))}: {directory / name}.crt and .key")


@app.command("store")
def store_secrets(
    directory: Directory = HERE,
    renew: Annotated[
        bool, typer.Option("--renew", help="Replace the files, and with them both passwords.")
    ] = False,
) -> None:
    """Make the two secrets with which nodes and backends prove to ZooKeeper whose daemons they are.

    Each file names the other party without its password: backends cannot become nodes.
    """
    passwords = {party: secrets.token_urlsafe(32) for party in Party}
    files = [(f"store-{party.value}.yaml", _secret(party, passwords), PRIVATE) for party in Party]
    with _reported():
        _write(directory, files, renew)
        for name, _, _ in files:
            typer.echo(f"{directory / name}: for store.secret_file")


@app.command()
def show(
    files: Annotated[list[Path], typer.Argument(help="PEM files with certificates.")],
) -> None:
    """Say for whom certificates are, until when, and which are on the list of revoked ones in the same directory."""
    with _reported():
        from lbnode.certs.description import describe

        for file in files:
            pem = read_public(file, str(file))
            said = describe(pem)
            is_revoked = _revoked(file.with_name(REVOKED)).covers(pem, said.identity)
            typer.echo(f"{file}: {_line(said)}{', REVOKED' if is_revoked else ''}")


@app.command()
def revoke(
    who: Annotated[
        str,
        typer.Argument(
            help="alice: the certificate in alice.crt. evenkeel://demo/operator/alice: all that she has or will have."
        ),
    ],
    directory: Directory = HERE,
    file: Annotated[
        Path | None, typer.Option("--list", help="The list; left out: revoked, in --dir.")
    ] = None,
) -> None:
    """Put a certificate on the list of those that count no more: nodes refuse it with their next request.

    Every node needs the list, as rpc.tls.revoked; no restart. ZooKeeper does not read it: see docs/security.md.
    """
    path = file or directory / REVOKED
    with _reported():
        before = _text(path)
        read_revoked(before)
        line = _revocation(directory, who)
        if line.split()[0] not in before.split():
            _write(path.parent, [(path.name, f"{before}{line}\n".encode(), PUBLIC)], renew=True)
        typer.echo(f"{path}: {line}")


def _revocation(directory: Path, who: str) -> str:
    """Return the line of the list that covers `who`."""
    if who.startswith(SCHEME):
        return read_identity(who).uri
    from lbnode.certs.description import describe

    pem = read_public(directory / f"{who}.crt", who)
    said = describe(pem)
    return f"{fingerprint(pem)}  {said.identity}, until {said.ends:%Y-%m-%d}"


def _revoked(path: Path) -> Revoked:
    return read_revoked(_text(path))


def _text(path: Path) -> str:
    """Return a list as it is; an absent one is empty."""
    if not path.exists():
        return ""
    text = read_public(path, str(path)).decode()
    return text if text.endswith("\n") or not text else f"{text}\n"


def _secret(party: Party, passwords: Mapping[Party, str]) -> bytes:
    """What one party knows: its own password, and the other's id."""
    (other,) = set(Party) - {party}
    known = {
        "party": party.value,
        "password": passwords[party],
        "other": digest_id(other, passwords[other]),
    }
    return yaml.safe_dump(known, sort_keys=False).encode()


def _line(said: Certificate) -> str:
    left = said.ends - datetime.now(UTC)
    until = f"until {said.ends:%Y-%m-%d}" if left > timedelta(0) else f"EXPIRED on {said.ends:%Y-%m-%d}"
    hosts = f", at {', '.join(said.hosts)}" if said.hosts else ""
    return f"{said.identity}{hosts}, {until}"


def _authority(directory: Path) -> Pair:
    files = directory / f"{AUTHORITY}.crt", directory / f"{AUTHORITY}.key"
    return Pair(read_public(files[0], "authority"), read_secret(files[1], "authority"))


def _write_pair(directory: Path, name: str, pair: Pair, renew: bool) -> None:
    files = [(f"{name}.key", pair.key, PRIVATE), (f"{name}.crt", pair.certificate, PUBLIC)]
    _write(directory, files, renew)


def _write(directory: Path, files: Sequence[tuple[str, bytes, int]], renew: bool) -> None:
    """Write files (name, content, mode), each whole or not at all, and none over another unless `renew`."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, _, _ in files:
            if (directory / name).exists() and not renew:
                raise CertificateError(f"{directory / name} exists: use another --dir, or --renew")
        for name, content, mode in files:
            _replace(directory / name, content, mode)
    except OSError as error:
        raise CertificateError(f"write {error.filename or directory}: {error.strerror}") from error


def _replace(path: Path, content: bytes, mode: int) -> None:
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    aside.replace(path)


@contextmanager
def _reported() -> Iterator[None]:
    """Errors as one line. What makes certificates is imported here, and not where lbctl is started without."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise fail(
            f"certificates are made with the Python package {error.name}, which is not installed here",
            "images leave it out: do this on your own machine, or pip install cryptography",
        ) from error
    except (IdentityError, BadSettingsError) as error:
        raise fail(str(error), code=BAD_INPUT) from error
    except CertificateError as error:
        raise fail(str(error), code=FAILED) from error
