"""From probe results to verdicts, and from many nodes' verdicts to the backends that a pool may lose.

Decides: when a backend counts as up or down for one node (rise and fall), what the fleet believes when nodes
disagree (the majority of those with an opinion), and how far health may go (the cap of design.md §6).
Does not decide: how a probe is made (`lbnode.probe`), and what an epoch does with a failed backend
(`lbnode.core.epochs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lbnode.model.fleet import HealthCheck

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one node thinks of one backend: `up` is None before the first judgement.

    `streak` counts the latest results in a row that speak against `up` (or for the first judgement).
    """

    up: bool | None = None
    streak: int = 0


def observe(verdict: Verdict, success: bool, check: HealthCheck) -> Verdict:
    """Return the verdict after one more probe.

    A backend of which nothing is known is up at its first success: there is nothing against it. It is down only
    after `fall` failures in a row, and up again after `rise` successes in a row.
    """
    if verdict.up is success:
        return Verdict(up=success)
    needed = check.fall if not success else (1 if verdict.up is None else check.rise)
    streak = verdict.streak + 1
    if verdict.up is None and success:
        streak = 1
    return Verdict(up=success) if streak >= needed else Verdict(up=verdict.up, streak=streak)


def majority(opinions: Iterable[bool], before: bool | None) -> bool | None:
    """Return what most of the nodes with an opinion think; a tie changes nothing."""
    votes = list(opinions)
    ups = sum(votes)
    downs = len(votes) - ups
    if ups == downs:
        return before
    return ups > downs


@dataclass(frozen=True, slots=True)
class Removals:
    """Which backends health takes out. `withheld`: down, but kept because the cap is reached."""

    failed: frozenset[int]
    withheld: frozenset[int]
    all_down: bool


def limit_failures(
    members: Sequence[int], down: frozenset[int], failed_before: frozenset[int], cap_percent: int
) -> Removals:
    """Return which of the `down` members may be failed when at most `cap_percent` of `members` may.

    Those that were failed before stay failed; then members are taken in their order until the cap is reached. At
    least one may always fail: a cap that rounds to nobody would make health useless in small pools. When all
    are down nothing is withheld: what happens then is the pool's `on_all_failed`.
    """
    present = frozenset(members)
    down = down & present
    if present and down == present:
        return Removals(down, frozenset(), all_down=True)
    allowed = max(1, len(members) * cap_percent // 100)
    failed = [member for member in members if member in down and member in failed_before]
    for member in members:
        if len(failed) >= allowed:
            break
        if member in down and member not in failed_before:
            failed.append(member)
    return Removals(frozenset(failed), down - frozenset(failed), all_down=False)
