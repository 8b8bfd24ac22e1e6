"""`lbctl rollout`: restart or replace the backends of a pool one by one or in batches, and no flow breaks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from lbnode.cli.ctl_progress import Timeout, make_progress, parse_time
from lbnode.cli.ctl_session import BAD_INPUT, fail, fleet_client, parse_addresses
from lbnode.cli.rollout import Rollout
from lbnode.cli.rollout_order import Successor, Target, in_batches, order, split_skipped
from lbnode.core.rules import did_you_mean
from lbnode.model.epoch import BackendState
from lbnode.model.ids import BackendName, PoolName
from lbnode.model.status import FleetStatus, PoolStatus


def rollout(
    context: typer.Context,
    pool: Annotated[str, typer.Argument(metavar="POOL", help="The pool whose backends are rolled.")],
    command: Annotated[
        str,
        typer.Option(
            "--command",
            "-c",
            help="Run for each backend when it holds no flow; {name} and {address} are its own. "
            "EVENKEEL_BACKEND and EVENKEEL_ADDRESS say the same. Without it you are asked to do it.",
        ),
    ] = "",
    replace_with: Annotated[
        Path | None,
        typer.Option("--replace-with", metavar="FILE", help="Replace: lines of OLD NEW [ADDRESSES of NEW]."),
    ] = None,
    batch: Annotated[int, typer.Option("--batch", "-n", min=1, help="How many at a time.")] = 1,
    start: Annotated[str, typer.Option("--from", metavar="BACKEND", help="Begin with this one.")] = "",
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="How long to wait for backends without agent to be empty.")
    ] = "",
    timeout: Annotated[str, Timeout] = "10m",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the order, change nothing.")] = False,
) -> None:
    """Restart or replace the backends of a pool, one by one or in batches; no flow breaks.

    Each is drained in all its pools until it holds no flow, then the command runs, and when it is healthy again it
    gets new flows before the next is drained. The first failure stops it and says what is left to do. Backends that
    were drained before are left alone. --timeout is for each single wait.

    \b
    Examples:
      lbctl rollout web --dry-run
      lbctl rollout web --command 'ssh {name} systemctl restart app'
      lbctl rollout web --command 'ssh {address} reboot; sleep 20' --batch 2 --timeout 30m
      lbctl rollout web --replace-with new-machines.txt
    """
    if command and replace_with is not None:
        raise fail("--command and --replace-with exclude each other", "leave one out", BAD_INPUT)
    timeout_s, grace_s = parse_time(timeout), parse_time(grace) if grace else None
    successors = _read_successors(replace_with) if replace_with is not None else None
    with fleet_client(context) as client:
        shown = _find_pool(client.status(), pool)
        targets, skipped = split_skipped(_order(shown, start, successors), start, successors)
        _check(shown, targets, batch, grace_s, successors)
        progress = make_progress()
        for target in skipped:
            progress.say(f"{target.name} drains already: left alone")
        batches = in_batches(targets, batch)
        for number, group in enumerate(batches, 1):
            if dry_run:
                progress.say(f"{number}. {', '.join(str(target) for target in group)}")
        if dry_run:
            return
        if successors is None and not command and not sys.stdin.isatty():
            raise fail("nobody to ask and no command to run", "give --command or --replace-with", BAD_INPUT)
        Rollout(client, progress, PoolName(pool), command, timeout_s, grace_s).run(batches)


def _find_pool(status: FleetStatus, name: str) -> PoolStatus:
    for shown in status.pools:
        if shown.name == name:
            return shown
    raise fail(f"no pool is called {name!r}", did_you_mean(name, [shown.name for shown in status.pools]))


def _order(shown: PoolStatus, start: str, successors: dict[BackendName, Successor] | None) -> list[Target]:
    names = [slot.backend for slot in shown.slots if slot.backend is not None]
    for name in [*([BackendName(start)] if start else []), *(successors or {})]:
        if name not in names:
            raise fail(f"{name} is not in pool {shown.name}", did_you_mean(name, names), BAD_INPUT)
    return order(shown, BackendName(start) if start else None, successors)


def _check(
    shown: PoolStatus,
    targets: list[Target],
    batch: int,
    grace_s: float | None,
    successors: dict[BackendName, Successor] | None,
) -> None:
    """End the command before anything is touched when it could not be carried through."""
    deaf = [target.name for target in targets if not target.has_agent]
    if deaf and grace_s is None:
        what = f"without agent nobody counts the flows of {', '.join(deaf)}"
        raise fail(what, "say how long their flows may live: --grace 10m", BAD_INPUT)
    if successors is not None:
        return
    active = sum(slot.state is BackendState.ACTIVE for slot in shown.slots)
    if targets and min(batch, len(targets)) >= active:
        what = f"a batch of {min(batch, len(targets))} would leave no active backend in pool {shown.name}"
        raise fail(f"{what} ({active} active now)", "use a smaller --batch, or add backends first", BAD_INPUT)


def _read_successors(path: Path) -> dict[BackendName, Successor]:
    """The lines of a file of replacements: the old backend's name, the new one's, and its addresses."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise fail(f"{path}: cannot be read: {error}", code=BAD_INPUT) from error
    found: dict[BackendName, Successor] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) not in (2, 3, 4):
            raise fail(f"{path}:{number}: {line.strip()!r} is not OLD NEW [ADDRESSES]", code=BAD_INPUT)
        old = BackendName(words[0])
        if old in found:
            raise fail(f"{path}:{number}: {old} is replaced already above; keep one", code=BAD_INPUT)
        found[old] = Successor(BackendName(words[1]), parse_addresses(words[2:]))
    return found
