"""The enums of `lbnode.model` and their numbers on the wire, and the small values that messages share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import Generic, TypeVar

from lbnode.api.v1 import control_pb2, status_pb2
from lbnode.model import epoch, fleet, members, requests, status, tunnel
from lbnode.model.ids import EpochNumber, IPAddress
from lbnode.model.vip import VipAddress, vip_address
from lbnode.rpc.errors import WireError

Value = TypeVar("Value", bound=Enum)
Number = TypeVar("Number", bound=int)


class EnumPairs(Generic[Value, Number]):
    """A one-to-one table between an enum of the model and one of the wire."""

    def __init__(self, name: str, numbers: Mapping[Value, Number]) -> None:
        self._name = name
        self._numbers = numbers
        self._values = {number: value for value, number in numbers.items()}

    def pack(self, value: Value) -> Number:
        """Return the number of `value` on the wire."""
        return self._numbers[value]

    def unpack(self, number: Number) -> Value:
        """Return the value with this number; WireError for one that this release does not know."""
        try:
            return self._values[number]
        except KeyError:
            raise WireError(f"{self._name}: {number} is not known to this release") from None

    def unpack_optional(self, number: Number) -> Value | None:
        """As `unpack`, with 0 (unspecified) for None."""
        return None if number == 0 else self.unpack(number)


PROTOCOLS = EnumPairs(
    "protocol",
    {fleet.Protocol.TCP: status_pb2.PROTOCOL_TCP, fleet.Protocol.UDP: status_pb2.PROTOCOL_UDP},
)
VIEWS = EnumPairs(
    "view",
    {members.View.FLEET: status_pb2.VIEW_FLEET, members.View.LOCAL: status_pb2.VIEW_LOCAL},
)
SEVERITIES = EnumPairs(
    "severity",
    {
        status.Severity.ALARM: status_pb2.SEVERITY_ALARM,
        status.Severity.WARNING: status_pb2.SEVERITY_WARNING,
    },
)
BACKEND_STATES = EnumPairs(
    "state",
    {
        epoch.BackendState.ACTIVE: status_pb2.BACKEND_STATE_ACTIVE,
        epoch.BackendState.DRAINING: status_pb2.BACKEND_STATE_DRAINING,
        epoch.BackendState.FAILED: status_pb2.BACKEND_STATE_FAILED,
    },
)
AGENT_STATES = EnumPairs(
    "agent",
    {
        status.AgentState.CONNECTED: status_pb2.AGENT_STATE_CONNECTED,
        status.AgentState.SILENT: status_pb2.AGENT_STATE_SILENT,
        status.AgentState.NONE: status_pb2.AGENT_STATE_NONE,
        status.AgentState.UNKNOWN: status_pb2.AGENT_STATE_UNKNOWN,
    },
)
HASH_MODES = EnumPairs(
    "hash_mode",
    {fleet.HashMode.FLOW: status_pb2.HASH_MODE_FLOW, fleet.HashMode.SOURCE: status_pb2.HASH_MODE_SOURCE},
)
HASH_ALGORITHMS = EnumPairs(
    "hash_algorithm",
    {
        fleet.HashAlgorithm.MULTIPLY: status_pb2.HASH_ALGORITHM_MULTIPLY,
        fleet.HashAlgorithm.SIPHASH: status_pb2.HASH_ALGORITHM_SIPHASH,
    },
)
WRONG_PORTS = EnumPairs(
    "wrong_port",
    {fleet.WrongPort.DROP: status_pb2.WRONG_PORT_DROP, fleet.WrongPort.PASS: status_pb2.WRONG_PORT_PASS},
)
TUNNEL_FAMILIES = EnumPairs(
    "tunnel",
    {
        tunnel.TunnelFamily.IPV4: status_pb2.TUNNEL_FAMILY_IPV4,
        tunnel.TunnelFamily.IPV6: status_pb2.TUNNEL_FAMILY_IPV6,
    },
)
CHANGES = EnumPairs(
    "change",
    {
        requests.Change.ADDED: control_pb2.CHANGE_ADDED,
        requests.Change.REMOVED: control_pb2.CHANGE_REMOVED,
        requests.Change.CHANGED: control_pb2.CHANGE_CHANGED,
    },
)


def unpack_address(name: str, text: str) -> IPAddress:
    """Return the address in `text`; WireError, naming the field, when there is none."""
    try:
        return ip_address(text)
    except ValueError:
        raise WireError(f"{name}: {text!r} is not an IP address") from None


def unpack_addresses(name: str, texts: Iterable[str]) -> tuple[IPAddress, ...]:
    """Return the addresses in `texts`, in order."""
    return tuple(unpack_address(name, text) for text in texts)


def unpack_vip_address(name: str, text: str) -> VipAddress:
    """Return the address or prefix in `text`; WireError, naming the field, when there is none."""
    try:
        return vip_address(ip_network(text))
    except ValueError:
        raise WireError(f"{name}: {text!r} is no IP address and no prefix") from None


def unpack_port(name: str, number: int) -> int:
    """Return the port; WireError, naming the field, when it is out of 0..65535."""
    if not 0 <= number <= 65535:
        raise WireError(f"{name}: {number} is out of range; use 0..65535")
    return number


def unpack_epoch(number: int) -> EpochNumber | None:
    """Return the epoch's number; 0 is none."""
    return EpochNumber(number) if number else None
