"""From the container's command line to its processes: who it is, what its daemon reads, what runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lbnode.container import surroundings
from lbnode.container.errors import ContainerError
from lbnode.container.identity import Kind, check_names, router_names, settings
from lbnode.container.supervision import BAD_SETTINGS, Part
from lbnode.container.supervisor import LOG_VARIABLE, Supervisor

CONFIG_VARIABLE = "EVENKEEL_CONFIG"
USAGE = "usage: python -m lbnode.container node | backend -- SERVICE…"


def main(arguments: Sequence[str]) -> int:
    """Run the container; return its exit status."""
    os.environ.setdefault(CONFIG_VARIABLE, "/run/evenkeel/settings.yaml")
    os.environ.setdefault(LOG_VARIABLE, "true")
    try:
        kind, service = parse(arguments)
        prepare(kind, Path(os.environ[CONFIG_VARIABLE]))
        commands: dict[Part, Sequence[str]] = {Part.DAEMON: [str(beside_python(kind.daemon)), "run"]}
        if service:
            commands[Part.SERVICE] = service
        return Supervisor(commands).run()
    except ContainerError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return BAD_SETTINGS


def parse(arguments: Sequence[str]) -> tuple[Kind, Sequence[str]]:
    """Return what the container is, and the service's command."""
    words = {kind.value: kind for kind in Kind}
    if not arguments or arguments[0] not in words or arguments[1:2] not in ([], ["--"]):
        raise ContainerError(f"command {' '.join(arguments)!r}; {USAGE}")
    return words[arguments[0]], arguments[2:]


def prepare(kind: Kind, config: Path) -> None:
    """Find out who this container is, and write down what its daemon's settings start from."""
    check_names(os.environ)
    surroundings.check_fleet_file(os.environ.get("EVENKEEL_FLEET_FILE", ""))
    around = surroundings.look(router_names(os.environ))
    surroundings.route_answers(around.routers[0])
    (config.parent / kind.daemon).mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps(settings(kind, around, os.environ), indent=2) + "\n")


def beside_python(command: str) -> Path:
    """Return where a command of this virtual environment is."""
    return Path(sys.executable).with_name(command)
