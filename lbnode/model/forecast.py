"""What a change would do to the flows of a fleet, before it is made: the answer of `lbctl plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lbnode.model.ids import BackendName, PoolName
from lbnode.model.requests import Difference


@dataclass(frozen=True, slots=True)
class Share:
    """How many buckets of a pool a backend owns before and after, and how many of them it gains and loses."""

    backend: BackendName
    before: int
    after: int
    gained: int
    lost: int


@dataclass(frozen=True, slots=True)
class Broken:
    """Flows that would break: `flows` on `backend` (None: not counted), and `why`."""

    backend: BackendName
    flows: int | None
    why: str


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A change that would wait, as "drain b3", and for how many flows on whom (None: not known)."""

    what: str
    waits_for: Mapping[BackendName, int | None]


@dataclass(frozen=True, slots=True)
class PoolForecast:
    """What happens to one pool: `moved` of its `table_size` buckets get another owner.

    `second_chances`: live flows that will reach their backend by way of another one; None when no agent was asked
    since the last change. `broken` break in any case, `broken_by_force` only with `--force`, which does not wait
    for what is `held`.
    """

    pool: PoolName
    table_size: int
    moved: int
    shares: tuple[Share, ...]
    second_chances: int | None
    held: tuple[HeldBack, ...] = ()
    broken: tuple[Broken, ...] = ()
    broken_by_force: tuple[Broken, ...] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """What applying a fleet would do. `version` is that of the desired fleet that it would change."""

    version: int
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]
    pools: tuple[PoolForecast, ...]
