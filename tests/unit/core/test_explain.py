from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Unpack

import pytest

from lbnode.core.explain import explain
from lbnode.core.history import build_table, earlier_epochs
from lbnode.model.epoch import BackendState, Epoch
from lbnode.model.explanation import Explanation, FlowQuestion
from lbnode.model.fleet import HashAlgorithm, HashMode, Protocol
from lbnode.model.ids import PoolName
from lbnode.model.members import FleetIdentity
from lbnode.model.requests import Refusal, RefusalKind
from lbnode.model.view import FleetView
from lbnode.model.vip import ANY_PORT
from ring.bucket import Flow, bucket_of, derive_keys

from .fleets import FLEET, SIZE, VIP, WEB, PoolChanges, current, drain, fleet, settle, view_of

SOURCE = ip_address("198.51.100.7")


def at_rest(*names: str, **changes: Unpack[PoolChanges]) -> FleetView:
    return settle(view_of(fleet(*(names or ("b1", "b2", "b3")), **changes)))


def asked(port: int = 40000, vip_port: int = 80, protocol: Protocol = Protocol.TCP) -> FlowQuestion:
    return FlowQuestion(SOURCE, port, VIP, vip_port, protocol)


def answer(view: FleetView, question: FlowQuestion, epoch: Epoch | None = None) -> Explanation:
    found = explain(view, {WEB: epoch or current(view)}, question)
    assert isinstance(found, Explanation), found
    return found


@pytest.mark.parametrize("mode", list(HashMode))
@pytest.mark.parametrize("algorithm", list(HashAlgorithm))
def test_the_explanation_is_what_the_table_and_the_hash_say(mode: HashMode, algorithm: HashAlgorithm) -> None:
    view = at_rest(hash_mode=mode, hash_algorithm=algorithm)
    epoch = current(view)
    table = build_table(epoch)
    keys = derive_keys(bytes.fromhex("11" * 32), epoch.seed)
    for port in range(1, 2000, 37):
        found = answer(view, asked(port))
        flow = Flow.between(SOURCE, port, VIP, 80, 6)
        assert found.bucket == bucket_of(keys, algorithm.value, mode.value, flow, SIZE)
        assert found.owner is not None
        assert found.owner.id == table.owners[found.bucket]
        assert [holder.id for holder in found.alternates] == [
            backend for backend in (table.first[found.bucket], table.second[found.bucket]) if backend
        ]


def test_an_active_home_is_the_owner() -> None:
    found = answer(at_rest(), asked())
    assert found.home == found.owner
    assert found.home_state is BackendState.ACTIVE
    assert (found.epoch, found.stamp, found.key) == (1, 1, None)


def test_a_draining_home_gives_its_new_flows_to_the_failover_owner() -> None:
    before = at_rest()
    home = answer(before, asked()).home
    assert home is not None
    after = settle(drain(before, home.name))
    found = answer(after, asked())
    assert (found.home, found.home_state) == (home, BackendState.DRAINING)
    assert found.owner is not None
    assert found.owner != home
    assert found.epoch == 2


def test_alternates_are_those_of_the_table_with_its_history() -> None:
    view = at_rest()
    for names in (("b1",), ("b2",), ("b2", "b3"), ()):
        view = settle(drain(view, *names))
    epoch = current(view)
    table = build_table(epoch, earlier_epochs(view.epochs[WEB], epoch))
    lengths = set()
    for port in range(1, 4000, 17):
        found = answer(view, asked(port))
        expected = [backend for backend in (table.first[found.bucket], table.second[found.bucket]) if backend]
        assert [holder.id for holder in found.alternates] == expected
        lengths.add(len(expected))
    assert len(lengths) > 1


def test_an_epoch_of_the_window_that_is_missing_is_named() -> None:
    view = settle(drain(at_rest(), "b1"))
    newest = current(view)
    view = replace(view, epochs={WEB: {newest.number: newest}})
    assert "needs epoch 1, which is not in the store" in refusal(view, asked(), {WEB: newest}).reason


def test_an_empty_home_slot_is_nobodys() -> None:
    before = at_rest()
    home = answer(before, asked()).home
    assert home is not None
    others = sorted({"b1", "b2", "b3"} - {home.name})
    after = settle(replace(before, desired=fleet(*others)))
    found = answer(after, asked())
    assert (found.home, found.home_state) == (None, None)


def test_a_pool_in_which_nobody_serves_has_no_owner() -> None:
    view = settle(drain(at_rest(), "b1", "b2", "b3"))
    assert answer(view, asked()).owner is None


def test_the_epoch_of_this_nodes_kernel_counts_not_the_fleets() -> None:
    old = at_rest()
    home = answer(old, asked()).home
    assert home is not None
    new = settle(drain(old, home.name))
    assert answer(new, asked(), epoch=current(old)).owner == home


def refusal(view: FleetView, question: FlowQuestion, in_use: dict[PoolName, Epoch]) -> Refusal:
    found = explain(view, in_use, question)
    assert isinstance(found, Refusal)
    return found


def test_what_is_no_vip_is_named_with_those_that_are() -> None:
    view = at_rest()
    for question in (asked(vip_port=81), asked(protocol=Protocol.UDP)):
        refused = refusal(view, question, {WEB: current(view)})
        assert refused.kind is RefusalKind.UNKNOWN
        assert refused.remedy == "known: 192.0.2.10:80/tcp"
    assert refusal(FleetView(), asked(), {}).remedy == "there are none yet"


def test_without_a_table_or_its_key_there_is_nothing_to_explain() -> None:
    view = at_rest()
    assert "no table" in refusal(view, asked(), {}).reason
    keyless = replace(view, identity=FleetIdentity(FLEET, "demo", {}))
    assert "key 1" in refusal(keyless, asked(), {WEB: current(view)}).reason


def test_a_flow_is_explained_by_the_vip_that_goes_first() -> None:
    view = at_rest("b1")
    assert view.desired is not None
    whole = replace(view.desired.vips[0], address=ip_network("192.0.2.0/24"), port=ANY_PORT)
    view = replace(view, desired=replace(view.desired, vips=(whole, *view.desired.vips)))
    assert answer(view, asked()).vip == f"{VIP}:80/tcp"
    assert answer(view, asked(vip_port=81)).vip == "192.0.2.0/24:any/tcp"
