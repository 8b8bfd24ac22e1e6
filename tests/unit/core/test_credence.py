"""A node on its own that lost its links must not take its backends for dead."""

from __future__ import annotations

from lbnode.core.credence import PATIENCE_S, Credence, Verdicts
from lbnode.model.ids import BackendName, PoolName

WEB = PoolName("web")


def verdicts(**up: bool) -> Verdicts:
    return {WEB: {BackendName(name): is_up for name, is_up in up.items()}}


def test_a_backend_that_fails_among_others_is_believed_to_have_failed() -> None:
    credence = Credence()
    assert credence.weigh(verdicts(b1=True, b2=True), 0.0) == verdicts(b1=True, b2=True)
    assert credence.weigh(verdicts(b1=True, b2=False), 1.0) == verdicts(b1=True, b2=False)


def test_that_nobody_is_up_counts_for_such_a_node_cannot_serve() -> None:
    assert Credence().weigh(verdicts(b1=False, b2=False), 0.0) == verdicts(b1=False, b2=False)


def test_while_backends_come_back_one_by_one_none_is_believed_to_be_down() -> None:
    credence = Credence()
    credence.weigh(verdicts(b1=False, b2=False), 0.0)
    assert credence.weigh(verdicts(b1=True, b2=False), 9.0) == {}
    assert credence.weigh(verdicts(b1=True, b2=False), 9.0 + PATIENCE_S / 2) == {}
    assert credence.weigh(verdicts(b1=True, b2=True), 10.0) == verdicts(b1=True, b2=True)
    assert credence.weigh(verdicts(b1=True, b2=False), 11.0) == verdicts(b1=True, b2=False)


def test_a_backend_that_does_not_come_back_with_the_others_is_down_after_a_while() -> None:
    credence = Credence()
    credence.weigh(verdicts(b1=False, b2=False), 0.0)
    credence.weigh(verdicts(b1=True, b2=False), 9.0)
    assert credence.weigh(verdicts(b1=True, b2=False), 9.0 + PATIENCE_S) == verdicts(b1=True, b2=False)


def test_links_that_are_lost_again_begin_it_anew() -> None:
    credence = Credence()
    credence.weigh(verdicts(b1=False, b2=False), 0.0)
    credence.weigh(verdicts(b1=True, b2=False), 9.0)
    assert credence.weigh(verdicts(b1=False, b2=False), 10.0) == verdicts(b1=False, b2=False)
    assert credence.weigh(verdicts(b1=True, b2=False), 9.0 + PATIENCE_S) == {}


def test_a_node_that_probes_nobody_has_lost_nobody() -> None:
    assert Credence().weigh({}, 0.0) == {}
