from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from ipaddress import IPv4Network, IPv6Network, ip_address
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbnode.api.v1 import control_pb2, status_pb2
from lbnode.model.explanation import Explanation, FlowQuestion
from lbnode.model.forecast import Forecast
from lbnode.model.ids import BackendName, NodeName, PoolName
from lbnode.model.requests import (
    AddBackend,
    DrainBackend,
    DrainNode,
    Outcome,
    RemoveBackend,
    RemoveNode,
    ReplaceBackend,
    UndrainBackend,
    UndrainNode,
    WeighBackend,
)
from lbnode.model.status import FleetStatus
from lbnode.model.traffic import Count, Traffic
from lbnode.model.vip import PortRange, vip_address
from lbnode.rpc import wire_control, wire_enums
from lbnode.rpc.errors import WireError
from lbnode.rpc.wire_explanation import (
    pack_explanation,
    pack_question,
    unpack_explanation,
    unpack_question,
)
from lbnode.rpc.wire_forecast import pack_forecast, unpack_forecast
from lbnode.rpc.wire_status import pack_status, unpack_status
from lbnode.rpc.wire_traffic import pack_traffic, unpack_traffic

TCP = status_pb2.PROTOCOL_TCP
WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
NUMBERS = st.integers(1, 65535)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: WORDS,
    int: NUMBERS,
    float: st.floats(0, 1e9),
    UUID: st.uuids(),
    PortRange: st.tuples(NUMBERS, NUMBERS)
    .filter(lambda ends: ends[0] < ends[1])
    .map(lambda ends: PortRange(*ends)),
    IPv4Network: st.from_type(IPv4Network).map(vip_address),
    IPv6Network: st.from_type(IPv6Network).map(vip_address),
    dict[str, str]: st.dictionaries(WORDS, WORDS, max_size=2),
    **dict.fromkeys(
        (Mapping[str, Count], Mapping[PoolName, Count], Mapping[BackendName, Count]),
        st.dictionaries(WORDS, st.builds(Count, NUMBERS, NUMBERS), max_size=3),
    ),
    Mapping[BackendName, int | None]: st.dictionaries(WORDS, st.none() | st.integers(0, 9), max_size=2),
}


def values(kind: type) -> st.SearchStrategy[Any]:
    """Any value of a model type, with every field set to something that 0 or "" cannot be mistaken for."""
    hints = get_type_hints(kind)
    return st.builds(kind, **{one.name: field_values(hints[one.name]) for one in fields(kind)})


def field_values(hint: Any) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in PLAIN:
        return PLAIN[hint]
    if origin in (Union, UnionType):
        return st.one_of([st.none() if one is type(None) else field_values(one) for one in arguments])
    if origin is tuple:
        return st.lists(field_values(arguments[0]), max_size=2).map(tuple)
    if hasattr(hint, "__dataclass_fields__"):
        return values(hint)
    plain = getattr(hint, "__supertype__", hint)
    return PLAIN[plain] if plain in PLAIN else st.from_type(plain)


@given(values(FleetStatus))
def test_a_status_survives_the_wire(status: FleetStatus) -> None:
    sent = pack_status(status).SerializeToString()
    assert unpack_status(status_pb2.GetStatusResponse.FromString(sent)) == status


@given(values(Explanation))
def test_an_explanation_survives_the_wire(explanation: Explanation) -> None:
    sent = pack_explanation(explanation).SerializeToString()
    assert unpack_explanation(status_pb2.ExplainResponse.FromString(sent)) == explanation


@given(values(Traffic))
def test_traffic_survives_the_wire(traffic: Traffic) -> None:
    sent = pack_traffic(traffic).SerializeToString()
    assert unpack_traffic(status_pb2.GetTrafficResponse.FromString(sent)) == traffic


@given(values(FlowQuestion))
def test_a_question_survives_the_wire(question: FlowQuestion) -> None:
    assert unpack_question(pack_question(question)) == question


@given(values(Outcome))
def test_an_outcome_survives_the_wire(outcome: Outcome) -> None:
    assert wire_control.unpack_outcome(wire_control.pack_outcome(outcome)) == outcome


@given(values(Forecast))
def test_a_forecast_survives_the_wire(forecast: Forecast) -> None:
    sent = pack_forecast(forecast).SerializeToString()
    assert unpack_forecast(control_pb2.PlanResponse.FromString(sent)) == forecast


B1, N1, WEB = BackendName("b1"), NodeName("n1"), PoolName("web")


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("drain_node", DrainNode(N1)),
        ("drain_node", DrainNode(N1, force=True)),
        ("undrain_node", UndrainNode(N1)),
        ("remove_node", RemoveNode(N1, force=True)),
        ("add_backend", AddBackend(B1, WEB)),
        ("add_backend", AddBackend(B1, WEB, (ip_address("10.0.0.1"),), 7)),
        ("add_backend", AddBackend(B1, WEB, force=True)),
        ("add_backend", AddBackend(B1, WEB, (ip_address("10.0.0.1"),), agent=False)),
        ("weigh_backend", WeighBackend(B1, 9)),
        ("weigh_backend", WeighBackend(B1, 9, WEB, force=True)),
        ("replace_backend", ReplaceBackend(B1, BackendName("b9"))),
        (
            "replace_backend",
            ReplaceBackend(B1, BackendName("b9"), (ip_address("10.0.0.9"),), WEB, force=True),
        ),
        ("replace_backend", ReplaceBackend(B1, BackendName("b9"), (ip_address("10.0.0.9"),), agent=False)),
        ("drain_backend", DrainBackend(B1)),
        ("drain_backend", DrainBackend(B1, WEB, force=True)),
        ("undrain_backend", UndrainBackend(B1, WEB)),
        ("undrain_backend", UndrainBackend(B1, force=True)),
        ("remove_backend", RemoveBackend(B1, WEB, force=True)),
    ],
)
def test_a_verb_survives_the_wire(name: str, request_: object) -> None:
    pack, unpack = getattr(wire_control, f"pack_{name}"), getattr(wire_control, f"unpack_{name}")
    assert unpack(pack(request_)) == request_


def test_every_enum_of_the_model_has_a_number() -> None:
    pairs = [one for one in vars(wire_enums).values() if isinstance(one, wire_enums.EnumPairs)]
    assert len(pairs) == 10
    for one in pairs:
        known: set[Enum] = set(one._numbers)
        (kind,) = {type(value) for value in known}
        assert known == set(kind)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (
            status_pb2.ExplainRequest(source="x", vip="192.0.2.1", protocol=TCP),
            "source: 'x' is not an IP address",
        ),
        (status_pb2.ExplainRequest(source="10.0.0.1", protocol=TCP), "vip: '' is not an IP address"),
        (status_pb2.ExplainRequest(source="10.0.0.1", vip="192.0.2.1"), "protocol: 0 is not known"),
        (
            status_pb2.ExplainRequest(source="10.0.0.1", vip="192.0.2.1", vip_port=70000, protocol=TCP),
            "vip_port: 70000 is out of range",
        ),
    ],
)
def test_a_question_that_makes_no_sense_names_its_field(
    message: status_pb2.ExplainRequest, words: str
) -> None:
    with pytest.raises(WireError, match=words):
        unpack_question(message)


def test_a_status_from_a_newer_release_is_refused_not_misread() -> None:
    with pytest.raises(WireError, match="view: 9 is not known to this release"):
        unpack_status(status_pb2.GetStatusResponse(view=9))  # type: ignore[arg-type]
    with pytest.raises(WireError, match="uuid: 'x' is not a UUID"):
        unpack_status(status_pb2.GetStatusResponse(view=status_pb2.VIEW_FLEET, uuid="x"))


def test_a_weight_that_is_left_out_is_one() -> None:
    assert wire_control.unpack_add_backend(control_pb2.AddBackendRequest(name="b1", pool="web")).weight == 1
