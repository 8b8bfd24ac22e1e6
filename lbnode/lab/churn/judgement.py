"""Which flows broke, and which of those were named as victims of a failed backend before. Pure.

A victim is no break if it was told in time: by a reset or the end of its connection, within a second of the moment
when no kernel gave its backend any bucket any more, and of its next segment after that. A segment that was
already under way is sent again by TCP, after at most as long as it has been waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lbnode.lab.churn.evidence import Place, Span, free_of, owned_by, places_of, present_at
from lbnode.lab.churn.flow import Ended, Outcome
from lbnode.lab.churn.sightings import OTHER_TABLE, Sightings

TOLD_WITHIN_S = 1.0
TOLD = frozenset({Outcome.RESET, Outcome.CLOSED})
OPENING_S = 15.0
"""A flow that could not be opened may have tried this long."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A backend's server was killed at `at`; `named` are the flows that it had answered before."""

    backend: str
    at: float
    named: frozenset[int]


@dataclass(frozen=True, slots=True)
class FailedBackend:
    """A backend that the drill failed at `at`: `left_at` is when no kernel gave it any bucket any more."""

    name: str
    id: int
    at: float
    left_at: float
    named: frozenset[int]


@dataclass(frozen=True, slots=True)
class Broken:
    """A flow that broke although its backend, as far as the drill is concerned, lived. `places`: what the nodes'
    tables said of its bucket meanwhile.
    """

    flow: Ended
    bucket: int
    why: str
    places: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """`victims` were named and told in time; `refused` asked a failing backend for a new connection."""

    broken: tuple[Broken, ...]
    victims: int
    refused: int


def find_failed(
    failures: Iterable[Failure],
    id_of: Callable[[str], int],
    silences: Collection[Span],
    sightings: Sightings,
) -> list[FailedBackend]:
    """Return the backends that failed. Nodes that forwarded nothing just then, by their `silences`, do not count."""
    found = []
    for failure in failures:
        backend, nodes = id_of(failure.backend), present_at(failure.at, silences, sightings)
        left_at = free_of(backend, failure.at, nodes, sightings)
        found.append(
            FailedBackend(failure.backend, backend, failure.at, left_at or float("inf"), failure.named)
        )
    return found


def judge(
    ended: Sequence[Ended], buckets: Mapping[int, int], failed: Sequence[FailedBackend], sightings: Sightings
) -> Judgement:
    """Sort out the flows that did not end whole; `buckets` is port → bucket."""
    broken: list[Broken] = []
    victims = refused = 0
    for flow in ended:
        if flow.outcome is Outcome.WHOLE:
            continue
        bucket = buckets[flow.port]
        cause = next((each for each in failed if flow.number in each.named), None)
        if cause is not None and flow.outcome in TOLD and flow.ended_at <= _latest(flow, cause):
            victims += 1
        elif cause is None and any(_met(flow, bucket, each, sightings) for each in failed):
            refused += 1
        else:
            why = (
                flow.outcome if cause is None else f"{flow.outcome}: victim of {cause.name}, not told in time"
            )
            places = places_of(bucket, flow.opened_at, flow.ended_at, sightings)
            broken.append(Broken(flow, bucket, why, tuple(places)))
    return Judgement(tuple(broken), victims, refused)


def has_outlived(broken: Broken, holder: int, window_s: float) -> bool:
    """True when the flow broke more than a window after the last node had taken its bucket from its backend `holder`:
    nobody promises such a flow anything. One that nobody ever answered has no backend.
    """
    if not broken.flow.server:
        return False
    owning: set[str] = set()
    lost_at = None
    for place in broken.places:
        if place.backends[:1] == (holder,):
            owning.add(place.node)
        else:
            owning.discard(place.node)
        lost_at = None if owning else place.at if lost_at is None else lost_at
    return lost_at is not None and broken.flow.ended_at >= lost_at + window_s


def is_unlisted(broken: Broken, holder: int) -> bool:
    """True when a node's local view had given the flow to its backend `holder`, and no epoch of the fleet has that
    backend in the bucket's list: docs/affinity.md says that such a flow does not outlive the local view.
    """
    is_local = any(place.epoch > OTHER_TABLE and place.backends[:1] == (holder,) for place in broken.places)
    is_listed = any(place.epoch < OTHER_TABLE and holder in place.backends for place in broken.places)
    return is_local and not is_listed


def _latest(flow: Ended, cause: FailedBackend) -> float:
    """By when the victim must have been told; one that had nothing to send may be told at any time."""
    if flow.asked_at == 0.0:
        return float("inf")
    return max(flow.asked_at, 2 * cause.left_at - flow.asked_at) + TOLD_WITHIN_S


def _met(flow: Ended, bucket: int, failed: FailedBackend, sightings: Sightings) -> bool:
    """True when a flow was opened to a backend that had failed, before the fleet knew it."""
    if not failed.at - OPENING_S <= flow.opened_at <= failed.left_at + TOLD_WITHIN_S:
        return False
    if flow.server:
        return flow.server == failed.name and flow.opened_at >= failed.at - TOLD_WITHIN_S
    since, until = max(flow.opened_at, failed.at), failed.left_at
    return flow.ended_at >= failed.at and owned_by(bucket, failed.id, since - TOLD_WITHIN_S, until, sightings)
