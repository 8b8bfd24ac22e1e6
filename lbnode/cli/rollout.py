"""A rollout, step by step: drain, wait until no flow is left, restart, wait until healthy, undrain; or replace.

It asks the fleet through the same verbs as an operator would, so that stopping it anywhere leaves nothing but what
the operator sees in `lbctl status`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import typer

from lbnode.cli.ctl_progress import GaveUpError, Progress
from lbnode.cli.ctl_session import fail
from lbnode.cli.ctl_waits import Looking, closed, healthy, replaced, serving_again, steadily, without_flows
from lbnode.cli.rollout_command import RunningCommand, fill_in, start_command
from lbnode.cli.rollout_order import Successor, Target
from lbnode.model.ids import BackendName, PoolName
from lbnode.model.requests import DrainBackend, ReplaceBackend, UndrainBackend
from lbnode.rpc.client import FleetClient
from lbnode.rpc.errors import RpcError


@dataclass(slots=True)
class Rollout:
    """One run over a pool. `command` is empty when the operator is asked to act; times are in seconds.

    `grace_s`: how long backends without agent are given to be empty.
    """

    client: FleetClient
    progress: Progress
    pool: PoolName
    command: str
    timeout_s: float
    grace_s: float | None = None
    _done: list[BackendName] = field(default_factory=list)
    _drained: list[BackendName] = field(default_factory=list)

    def run(self, batches: Sequence[Sequence[Target]]) -> None:
        """Go through all batches; ends the command with what is left to do at the first failure."""
        for number, batch in enumerate(batches):
            self.progress.say(f"[{number + 1}/{len(batches)}] {', '.join(str(target) for target in batch)}")
            try:
                self._roll(batch)
            except (GaveUpError, RpcError, KeyboardInterrupt, typer.Abort) as error:
                rest = [target for later in batches[number:] for target in later]
                raise self._failure(error, rest) from error
            self._done += [target.name for target in batch]
        self.progress.say(f"rollout of {self.pool} done: {', '.join(self._done) or 'nothing to do'}")

    def _roll(self, batch: Sequence[Target]) -> None:
        replacements = [(target, target.successor) for target in batch if target.successor is not None]
        if replacements:
            self._replace(replacements)
            return
        self._drain(batch)
        self._restart(batch)
        self._undrain(batch)

    def _drain(self, batch: Sequence[Target]) -> None:
        for target in batch:
            self._drained.append(target.name)
            self.client.drain_backend(DrainBackend(target.name))
        for target in batch:
            if target.has_agent:
                look = steadily(without_flows(target.name), self.progress.clock)
                self._wait(f"drain {target.name}", look)
            else:
                self._wait(f"drain {target.name}", closed(target.name))
        self._grant(batch)

    def _grant(self, batch: Sequence[Target]) -> None:
        """Give flows that nobody counts their time."""
        if self.grace_s is not None and not all(target.has_agent for target in batch):
            self.progress.say(f"waiting {self.grace_s:g} s for flows that nobody counts")
            self.progress.clock.wait(self.grace_s)

    def _restart(self, batch: Sequence[Target]) -> None:
        if not self.command:
            names = ", ".join(target.name for target in batch)
            typer.prompt(f"{names} can be restarted now; press Enter when it is done", "", show_default=False)
        running = [self._start(target) for target in batch if self.command]
        failures = [failure for one in running if (failure := one.finish(self.timeout_s))]
        if failures:
            raise GaveUpError("; ".join(failures))
        for target in batch:
            look = steadily(healthy(target.name, has_agent=target.has_agent), self.progress.clock)
            self._wait(f"check {target.name}", look)

    def _start(self, target: Target) -> RunningCommand:
        text = fill_in(self.command, target)
        self.progress.say(f"run for {target.name}: {text}")
        return start_command(text, target)

    def _undrain(self, batch: Sequence[Target]) -> None:
        for target in batch:
            self.client.undrain_backend(UndrainBackend(target.name))
            self._drained.remove(target.name)
        for target in batch:
            look = serving_again(target.name, None, has_agent=target.has_agent)
            self._wait(f"undrain {target.name}", steadily(look, self.progress.clock))

    def _replace(self, batch: Sequence[tuple[Target, Successor]]) -> None:
        for target, successor in batch:
            request = ReplaceBackend(target.name, successor.name, successor.addresses, self.pool)
            self.client.replace_backend(request)
        for target, successor in batch:
            look = replaced(target.name, successor.name, self.pool)
            if not target.has_agent:
                look = serving_again(successor.name, self.pool, has_agent=False)
            self._wait(f"replace {target.name}", steadily(look, self.progress.clock))
        self._grant([target for target, _ in batch])

    def _wait(self, what: str, look: Looking) -> None:
        self.progress.wait_until(self.client, what, look, self.timeout_s)

    def _failure(self, error: BaseException, rest: Sequence[Target]) -> typer.Exit:
        """Say what went wrong, what state is left, and how to go on."""
        reason = "interrupted" if isinstance(error, KeyboardInterrupt | typer.Abort) else str(error)
        if isinstance(error, GaveUpError) and error.remedy:
            reason += f"; {error.remedy}"
        left = [f"done: {', '.join(self._done) or 'none'}"]
        if self._drained:
            left.append(f"drained and not put back: {', '.join(self._drained)}")
        left.append(f"left to do: {', '.join(target.name for target in rest)}")
        again = f"go on with: lbctl rollout {self.pool} --from {rest[0].name} …"
        if self._drained:
            again += f"; or put back: lbctl backend undrain {self._drained[0]}"
        return fail(f"rollout of {self.pool} stopped: {reason}\n  {'; '.join(left)}", again)
