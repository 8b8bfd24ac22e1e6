"""What Python reads and writes in the backend's maps is what the object says it is."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

import numpy as np
import pytest

from lbnode.dataplane.backend import CLAMP_OBJECT, DECAP_OBJECT, clamped_mss
from lbnode.dataplane.backend_layout import (
    BackendLayout,
    MemberKind,
    outcome_names,
    pack_kind,
    pack_sender,
    unpack_sender,
)
from lbnode.dataplane.btf import Btf
from lbnode.dataplane.layout import Layout
from lbnode.dataplane.libbpf import BpfObject
from lbnode.dataplane.node import OBJECT as NODE_OBJECT
from lbnode.model.intake import Intake
from lbnode.model.outcomes import AGENT_OUTCOMES


@pytest.fixture(scope="module")
def btf() -> Iterator[Btf]:
    with BpfObject.open(DECAP_OBJECT) as decap:
        yield decap.btf


def test_all_programs_mean_the_same_by_the_structures_they_share(btf: Btf) -> None:
    shared = Layout.of(btf)
    for path in (NODE_OBJECT, CLAMP_OBJECT):
        with BpfObject.open(path) as other:
            assert Layout.of(other.btf) == shared


def test_the_agents_own_structure_has_no_holes(btf: Btf) -> None:
    agent = BackendLayout.of(btf).agent
    assert agent.names == ("self", "intake", "is_heard", "near")
    assert agent.itemsize == btf.struct_size("agent")


def test_kinds_of_members_and_intakes_have_the_values_of_the_object(btf: Btf) -> None:
    named = {f"MEMBER_{kind.name}": kind.value for kind in MemberKind}
    assert btf.enum("member_kind") == named
    assert pack_kind(MemberKind.BACKEND) == b"\x02\0\0\0"
    assert btf.enum("intake") == {f"INTAKE_{each.name}": each.value for each in Intake}


def test_outcomes_stand_in_the_order_deliver_forward_drop(btf: Btf) -> None:
    kinds = [name.split("_")[0] for name in outcome_names(btf)]
    order = ["untouched", "delivered", "forwarded", "drop", "extra", "skipped", "put", "fragment"]
    assert kinds == sorted(kinds, key=order.index)


def test_every_outcome_is_explained(btf: Btf) -> None:
    assert list(AGENT_OUTCOMES) == list(outcome_names(btf))


def test_the_layout_has_a_digest_that_names_its_pins(btf: Btf) -> None:
    assert len(BackendLayout.of(btf).digest) == 8
    assert BackendLayout.of(btf).digest == BackendLayout.of(btf).digest


def test_a_packed_member_is_struct_sender(btf: Btf) -> None:
    shape = btf.dtype("sender")
    for address in (IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1"), IPv6Address("::192.0.2.1")):
        packed = pack_sender(address)
        sender = np.frombuffer(packed, dtype=shape)[0]
        assert sender["address"]["word"].tobytes() == address.packed.rjust(16, b"\0")
        assert sender["family"] == address.version
        assert unpack_sender(packed) == address


def test_the_mss_fits_the_tunnel_as_the_design_says() -> None:
    assert clamped_mss(1500) == (1432, 1412)
