from __future__ import annotations

import json
import re
from ipaddress import ip_address

import pytest

from bgp.errors import MessageError
from bgp.messages import (
    Answer,
    Desired,
    Ending,
    Greeting,
    NeighborEvent,
    RelayState,
    decode_desired,
    decode_greeting,
    decode_state,
    encode_desired,
    encode_greeting,
    encode_state,
    parse_exabgp,
)
from bgp.reasons import explain
from bgp.routes import GRACEFUL_SHUTDOWN, Route, RouteSet

ROUTES = RouteSet.of(
    [Route.to(ip_address("192.0.2.1"), [GRACEFUL_SHUTDOWN]), Route.to(ip_address("2001:db8::1"))]
)


def state_event(state: str, reason: str | None = None) -> bytes:
    """What ExaBGP 5.0 writes for the `neighbor-changes` of its API."""
    neighbor = {
        "address": {"local": "10.0.1.11", "peer": "10.0.1.1"},
        "asn": {"local": 65001, "peer": 65000},
        "state": state,
    }
    if reason is not None:
        neighbor["reason"] = reason
    return json.dumps({"exabgp": "5.0.0", "type": "state", "neighbor": neighbor}).encode() + b"\n"


def test_what_is_encoded_is_one_line_and_decodes_to_itself() -> None:
    desired = Desired(7, ROUTES)
    greeting = Greeting(4711, "abc")
    state = RelayState(7, ROUTES, 2, {"192.0.2.9/32": "why"}, {"10.0.1.1": "up"})
    lines = [encode_desired(desired), encode_greeting(greeting), encode_state(state)]
    assert [line.count(b"\n") for line in lines] == [1, 1, 1]
    assert decode_desired(lines[0]) == desired
    assert decode_greeting(lines[1]) == greeting
    assert decode_state(lines[2]) == state


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "line"),
        (b"[]", "not a JSON object"),
        (b"{}", "serial: None"),
        (b'{"serial": "1", "routes": []}', "serial: '1'"),
        (b'{"serial": 1}', "routes: None"),
        (b'{"serial": 1, "routes": [7]}', "routes: "),
        (
            b'{"serial": 1, "routes": [{"prefix": "192.0.2.1/33", "communities": []}]}',
            "routes: .*192.0.2.1/33",
        ),
        (
            b'{"serial": 1, "routes": [{"prefix": "192.0.2.1/32", "communities": ["x"]}]}',
            "routes: community 'x'",
        ),
        (b'{"serial": 1, "routes": [{"prefix": "192.0.2.1/32"}]}', "routes: 'communities'"),
    ],
)
def test_a_line_of_another_form_is_refused_by_name(line: bytes, message: str) -> None:
    with pytest.raises(MessageError, match=message):
        decode_desired(line)


def test_exabgps_acknowledgements_are_read() -> None:
    assert parse_exabgp(b"done\n") == Answer(True)
    assert parse_exabgp(b"error\n") == Answer(False)


def test_exabgps_events_are_read() -> None:
    assert parse_exabgp(state_event("up")) == NeighborEvent("10.0.1.1", "up")
    down = parse_exabgp(state_event("down", "notification received (6,2)"))
    assert down == NeighborEvent("10.0.1.1", "down: the router says: shut down by its operator (6/2)")
    assert parse_exabgp(b'{"type": "notification", "notification": "shutdown"}') == Ending()


@pytest.mark.parametrize(
    "line", [b"\n", b"shutdown in progress\n", state_event("connected"), b'{"type": "keepalive"}']
)
def test_what_exabgp_says_besides_means_nothing(line: bytes) -> None:
    assert parse_exabgp(line) is None


@pytest.mark.parametrize(
    "line", [b"{", b'{"type": "state"}', b'{"type": "state", "neighbor": {"address": 1}}']
)
def test_an_event_of_another_form_is_refused(line: bytes) -> None:
    with pytest.raises(MessageError):
        parse_exabgp(line)


@pytest.mark.parametrize(
    ("said", "explained"),
    [
        ("closing connection", "TCP port 179"),
        ("notification sent (4,0)", "this node says: hold time over.*4/0"),
        ("notification received (2,2)", "the router says: .*local_as and peer_as"),
        ("notification received (6,99)", "session ceased"),
        ("notification received (77,1)", "unknown error"),
        ("something new", "something new"),
        ("", "no reason given"),
    ],
)
def test_the_reason_of_an_end_says_what_to_look_at(said: str, explained: str) -> None:
    assert re.search(explained, explain(said))
