"""The drill's changes are such that nothing holds them, and each is undone."""

from __future__ import annotations

import pytest
import yaml

from lbnode.lab.changes.sequence import Turn, turns
from lbnode.lab.errors import LabError
from lbnode.model.epoch import BackendState
from ring.admission import pushed_out
from ring.slots import Slot

BACKENDS = [f"b{number}" for number in range(1, 9)]
SIZE, SEED = 4099, 7


def fleet(backends: list[str]) -> str:
    """The fleet as a node exports it."""
    return yaml.safe_dump({"fleet": "demo", "pools": [{"name": "web", "backends": backends}], "vips": []})


def after(turn: Turn, slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
    """The pool's slots once a turn was carried out."""
    number = BACKENDS.index(turn.backend)
    before = slots[number]
    weight = before.weight if turn.weight is None else turn.weight
    changed = Slot(number, weight, before.backend, turn.state is BackendState.ACTIVE)
    return (*slots[:number], changed, *slots[number + 1 :])


def test_no_change_pushes_an_earlier_owner_out_of_any_bucket() -> None:
    slots = tuple(Slot(number, 1, number + 1, True) for number in range(len(BACKENDS)))
    history = [slots]
    for turn in turns(fleet(BACKENDS), "web", 40):
        slots = after(turn, slots)
        assert slots != history[-1]
        assert pushed_out(SIZE, SEED, history, slots, range(1, 9)) == {}
        history.append(slots)


def test_every_backend_but_the_first_is_drained_and_put_back() -> None:
    seen = [(turn.backend, turn.state) for turn in turns(fleet(BACKENDS), "web", 28)]

    for name in BACKENDS[1:]:
        drained = seen.index((name, BackendState.DRAINING))
        assert seen[drained + 1] == (name, BackendState.ACTIVE)
    assert (BACKENDS[0], BackendState.DRAINING) not in seen


def test_a_pool_that_is_too_small_is_refused() -> None:
    with pytest.raises(LabError, match="has 2 backends, it needs 3"):
        next(turns(fleet(BACKENDS[:2]), "web", 1))
