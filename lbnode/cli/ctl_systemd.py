"""`lbctl systemd install`: the units of this release, with the path that this release lies at."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from lbnode.cli.ctl_session import FAILED, fail

app = typer.Typer(no_args_is_help=True, help="Run node and backend under systemd.")

PACKAGE = Path(__file__).resolve().parents[1]
SHIPPED = PACKAGE / "units"
"""Where a wheel carries deploy/systemd."""
SOURCE = PACKAGE.parent / "deploy" / "systemd"
WRITTEN_FOR = "/opt/evenkeel/bin"
SYSTEM = Path("etc/systemd/system")
USERS = Path("etc/sysusers.d")


class Daemon(Enum):
    """What a machine runs."""

    NODE = "node"
    BACKEND = "backend"


FILES = {
    Daemon.NODE: ("lbnode.service", "run-evenkeel-lbnode-bpf.mount"),
    Daemon.BACKEND: ("lbbackend.service", "run-evenkeel-backend-bpf.mount"),
}
USER_FILE = "evenkeel.conf"


@app.command()
def install(
    daemon: Annotated[Daemon, typer.Argument(help="What this machine is.")],
    root: Annotated[Path, typer.Option("--root", help="Another root directory than this system's.")] = Path(
        "/"
    ),
) -> None:
    """Put the units of a daemon in place: service, its bpffs, its user. Nothing is started.

    Files of an earlier release are replaced; what you want otherwise, say with `systemctl edit`.

    \b
    Examples:
      sudo lbctl systemd install node
      sudo systemd-sysusers && sudo systemctl daemon-reload && sudo systemctl enable --now lbnode
    """
    service, mount = FILES[daemon]
    try:
        written = [
            _put(service, root / SYSTEM),
            _put(mount, root / SYSTEM),
            _put(USER_FILE, root / USERS),
        ]
    except OSError as error:
        raise fail(f"install units: {error.filename}: {error.strerror}", "run it as root", FAILED) from error
    for path in written:
        typer.echo(f"wrote {path}")
    name = service.removesuffix(".service")
    typer.echo(f"now: systemd-sysusers && systemctl daemon-reload && systemctl enable --now {name}")


def _put(name: str, directory: Path) -> Path:
    text = ((SHIPPED if SHIPPED.is_dir() else SOURCE) / name).read_text()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(text.replace(WRITTEN_FOR, str(Path(sys.executable).parent)))
    return path
