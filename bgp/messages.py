"""The lines between daemon, relay and ExaBGP, as values.

Daemon and relay exchange JSON, one object a line. The daemon sends `{"serial": n, "routes": […]}`, always the
whole set; the relay answers each connection with a greeting and from then on with its state whenever that
changes. ExaBGP's own lines (API acknowledgements and JSON events) are read by `parse_exabgp`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, TypeVar

from bgp.errors import BgpError, MessageError
from bgp.reasons import explain
from bgp.routes import Community, Route, RouteSet

_T = TypeVar("_T")

PROTOCOL = 1
"""The form of the lines between daemon and relay: part of the mark, so that no daemon adopts a relay of
another form.
"""
UP = "up"
NOT_YET = "down: no session yet"


@dataclass(frozen=True, slots=True)
class Desired:
    """The whole set that shall be announced. `serial` grows with each, so that an answer names its
    question.
    """

    serial: int
    routes: RouteSet


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a relay says first: the process id of its ExaBGP, and the mark of the configuration that it
    runs with.
    """

    exabgp_pid: int
    mark: str


@dataclass(frozen=True, slots=True)
class RelayState:
    """All that the relay knows.

    `announced` is what ExaBGP has acknowledged; `pending` counts commands that it has not answered yet;
    `refused` says why a prefix of the last set is not announced; `serial` names the last set that was
    received (0: none); `neighbors` maps a router's address to "up" or "down: why".
    """

    serial: int = 0
    announced: RouteSet = field(default_factory=RouteSet)
    pending: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)
    neighbors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """ExaBGP's acknowledgement of the oldest unanswered command."""

    done: bool


@dataclass(frozen=True, slots=True)
class NeighborEvent:
    """A session came up or went down."""

    address: str
    state: str


@dataclass(frozen=True, slots=True)
class Ending:
    """ExaBGP is shutting down."""


def encode_desired(desired: Desired) -> bytes:
    """Return the daemon's line for a set."""
    return _line({"serial": desired.serial, "routes": _routes_to_json(desired.routes)})


def decode_desired(line: bytes) -> Desired:
    """Return the set in a daemon's line. Raises MessageError."""
    fields = _object(line)
    return Desired(_get(fields, "serial", int), _routes_from_json(_get(fields, "routes", list)))


def encode_greeting(greeting: Greeting) -> bytes:
    """Return the relay's first line."""
    return _line({"exabgp": greeting.exabgp_pid, "mark": greeting.mark})


def decode_greeting(line: bytes) -> Greeting:
    """Return the greeting in a relay's first line. Raises MessageError."""
    fields = _object(line)
    return Greeting(_get(fields, "exabgp", int), _get(fields, "mark", str))


def encode_state(state: RelayState) -> bytes:
    """Return the relay's line for its state."""
    return _line(
        {
            "serial": state.serial,
            "announced": _routes_to_json(state.announced),
            "pending": state.pending,
            "refused": dict(state.refused),
            "neighbors": dict(state.neighbors),
        }
    )


def decode_state(line: bytes) -> RelayState:
    """Return the state in a relay's line. Raises MessageError."""
    fields = _object(line)
    return RelayState(
        serial=_get(fields, "serial", int),
        announced=_routes_from_json(_get(fields, "announced", list)),
        pending=_get(fields, "pending", int),
        refused=_get(fields, "refused", dict),
        neighbors=_get(fields, "neighbors", dict),
    )


def parse_exabgp(line: bytes) -> Answer | NeighborEvent | Ending | None:
    """Return what a line of ExaBGP means, or None if it means nothing here (as the event of a TCP
    connection).
    """
    text = line.strip()
    if text in (b"done", b"error"):
        return Answer(text == b"done")
    if not text.startswith(b"{"):
        return None
    event = _object(text)
    if event.get("notification") == "shutdown":
        return Ending()
    if event.get("type") != "state":
        return None
    try:
        neighbor = event["neighbor"]
        address, state = neighbor["address"]["peer"], neighbor["state"]
    except (KeyError, TypeError) as error:
        raise MessageError(f"state event of exabgp: no {error}: is this ExaBGP 5?") from error
    if state == "up":
        return NeighborEvent(str(address), UP)
    if state == "down":
        return NeighborEvent(str(address), f"down: {explain(neighbor.get('reason', ''))}")
    return None


def _routes_to_json(routes: RouteSet) -> list[dict[str, Any]]:
    return [
        {
            "prefix": str(route.prefix),
            "communities": [str(community) for community in sorted(route.communities)],
        }
        for route in routes
    ]


def _routes_from_json(items: list[Any]) -> RouteSet:
    try:
        return RouteSet.of(
            Route(
                ip_network(item["prefix"]), frozenset(Community.parse(text) for text in item["communities"])
            )
            for item in items
        )
    except (BgpError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MessageError(f"routes: {error}") from error


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def _object(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise MessageError(f"line {line[:80]!r}: {error}") from error
    if not isinstance(fields, dict):
        raise MessageError(f"line {line[:80]!r}: not a JSON object")
    return fields


def _get(fields: dict[str, Any], name: str, kind: type[_T]) -> _T:
    value = fields.get(name)
    if not isinstance(value, kind):
        raise MessageError(f"{name}: {value!r} is not of type {kind.__name__}")
    return value
