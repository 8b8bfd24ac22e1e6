"""Changes that admission never holds: a bucket meets at most three backends in all of them. Pure.

The first backend's weight goes up and down again; the others are drained in turn, and each is undrained before
anything else happens. So a bucket's owners are its home, its home while the first one weighs more, and who takes over
from its home: an owner and two alternates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import yaml

from lbnode.lab.errors import LabError
from lbnode.model.epoch import BackendState
from lbnode.model.ids import BackendName, PoolName
from lbnode.model.requests import DrainBackend, Outcome, UndrainBackend
from lbnode.rpc.client import FleetClient

ACTIVE, DRAINING = BackendState.ACTIVE, BackendState.DRAINING
LEAST_BACKENDS = 3
"""One whose weight changes, one to drain, and one that goes on."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What is asked of the fleet, how, and by what the epoch that carries it out is known.

    `backend` is then in `state`; `weight` is then its weight, None for any.
    """

    what: str
    backend: str
    state: BackendState
    weight: int | None
    order: Callable[[FleetClient], Outcome]


def turns(fleet_yaml: str, pool: str, count: int) -> Iterator[Turn]:
    """Yield `count` changes of a pool, which `fleet_yaml` describes as it is now. Raises LabError."""
    fleet = yaml.safe_load(fleet_yaml)
    members = _members(fleet, pool)
    if len(members) < LEAST_BACKENDS:
        raise LabError(f"drill changes: pool {pool} has {len(members)} backends, it needs {LEAST_BACKENDS}")
    return islice(_endless(fleet, PoolName(pool)), count)


def _endless(fleet: dict[str, Any], pool: PoolName) -> Iterator[Turn]:
    first, *others = _members(fleet, pool)
    weight = first.get("weight", 1)
    for other in cycle(others):
        yield _weigh(fleet, pool, weight + 1)
        yield _weigh(fleet, pool, weight)
        yield _drain(BackendName(other["name"]), pool)
        yield _undrain(BackendName(other["name"]), pool)


def _weigh(fleet: dict[str, Any], pool: PoolName, weight: int) -> Turn:
    """Change a weight as most operators do: by applying the whole fleet.yaml."""
    changed = deepcopy(fleet)
    member = _members(changed, pool)[0]
    member["weight"] = weight
    text = yaml.safe_dump(changed, sort_keys=False)
    name = member["name"]
    return Turn(f"apply: {name} weighs {weight}", name, ACTIVE, weight, lambda client: client.apply(text))


def _drain(name: BackendName, pool: PoolName) -> Turn:
    request = DrainBackend(name, pool)
    return Turn(f"drain {name}", name, DRAINING, None, lambda client: client.drain_backend(request))


def _undrain(name: BackendName, pool: PoolName) -> Turn:
    request = UndrainBackend(name, pool)
    return Turn(f"undrain {name}", name, ACTIVE, None, lambda client: client.undrain_backend(request))


def _members(fleet: dict[str, Any], pool: str) -> list[dict[str, Any]]:
    """The members of a pool; one that is written as a bare name becomes a member with that name."""
    found = next(each for each in fleet["pools"] if each["name"] == pool)
    found["backends"] = [{"name": one} if isinstance(one, str) else one for one in found["backends"]]
    members: list[dict[str, Any]] = found["backends"]
    return members
