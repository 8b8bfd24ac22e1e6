"""The entries of fleet.yaml: which keys there are and what each value may be.

Every reader returns the checked value or raises ValueError with a text that names value and remedy; pydantic
finds unknown and missing keys, and all errors of an entry at once.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import ip_address, ip_interface
from math import isfinite
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from lbnode.core.rules import NAME, NAME_LENGTH, check_address, check_addresses, check_name, check_weight
from lbnode.model.fleet import (
    DEFAULT_AFFINITY_WINDOW_S,
    DEFAULT_TABLE_SIZE,
    DEFAULT_UDP_IDLE_S,
    MAX_SLOTS,
    MAX_WEIGHT,
    HashAlgorithm,
    HashMode,
    Join,
    OnAllFailed,
    TableKind,
)
from lbnode.model.ids import IPAddress
from lbnode.model.tunnel import Addresses, TunnelFamily, in_order
from lbnode.quic import UNROUTABLE
from lbnode.settings.fleet_errors import show
from lbnode.settings.reader import ADDRESS, ADDRESSES, Reader, takes
from ring.errors import RingError
from ring.maglev import check_size

Word = TypeVar("Word", bound=Enum)

MAX_SECONDS = 3600.0
MIN_SECONDS = 0.05
MIN_WINDOW_S = 1.0
MAX_WINDOW_S = 7 * 86400.0
MAX_UDP_IDLE_S = 3600.0
OFF = ("off", "none", False)
"""YAML reads a bare `off` as false."""


@takes({"type": "string", "pattern": f"^{NAME.pattern}$", "maxLength": NAME_LENGTH})
def read_name(value: object) -> str:
    """Return a name; YAML turns some words (yes, on, 1.5) into something else, which quotes prevent."""
    if not isinstance(value, str):
        raise ValueError(
            _not_text(
                value, "a name; use letters and digits, in quotes if YAML takes them for something else"
            )
        )
    problem = check_name(value)
    if problem is not None:
        raise ValueError(f"{show(value)} {problem}")
    return value


@takes(ADDRESS)
def read_address(value: object) -> IPAddress:
    """Return an address that a VIP or a tunnel end may have."""
    if not isinstance(value, str):
        raise ValueError(_not_text(value, "an IP address; write it like 192.0.2.10"))
    try:
        address = ip_address(value)
    except ValueError:
        raise ValueError(_no_address(value)) from None
    problem = check_address(address)
    if problem is not None:
        raise ValueError(f"{value} {problem}")
    return address


@takes(ADDRESSES)
def read_addresses(value: object) -> Addresses:
    """Return where a machine takes GRE: an address, or a list of at most one of each family."""
    if not isinstance(value, list):
        return (read_address(value),)
    if not value:
        raise ValueError("is an empty list; give an address, or one of each family")
    addresses = in_order(read_address(one) for one in value)
    problem = check_addresses(addresses)
    if problem is not None:
        raise ValueError(problem)
    return addresses


@takes({"type": "integer", "minimum": 1, "maximum": MAX_WEIGHT})
def read_weight(value: object) -> int:
    """Return a weight, 1..65535."""
    weight = _whole(value, "1..65535")
    problem = check_weight(weight)
    if problem is not None:
        raise ValueError(f"{weight} {problem}")
    return weight


@takes({"type": "integer", "minimum": 2, "maximum": (1 << 24) - 1})
def read_table_size(value: object) -> int:
    """Return a prime that a table may have as its size."""
    size = _whole(value, f"a prime such as {DEFAULT_TABLE_SIZE}")
    try:
        check_size(size)
    except RingError:
        raise ValueError(f"{size} is not a prime below 2^24; use {_next_prime(size)}") from None
    return size


def whole(low: int, high: int) -> Reader[int]:
    """Return a reader of whole numbers from `low` to `high`."""

    @takes({"type": "integer", "minimum": low, "maximum": high})
    def read(value: object) -> int:
        number = _whole(value, f"{low}..{high}")
        if not low <= number <= high:
            raise ValueError(f"{number} is out of range; use {low}..{high}")
        return number

    return read


def seconds(low: float, high: float, remark: str = "") -> Reader[float]:
    """Return a reader of times from `low` to `high` seconds; `remark` ends the message about others."""
    bounds = f"use {low:.6g}..{high:.6g}"

    @takes({"type": "number", "minimum": low, "maximum": high})
    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise ValueError(_not_text(value, f"a number of seconds; {bounds}"))
        if not low <= value <= high:
            raise ValueError(f"{value:g} is out of range; {bounds} seconds{remark}")
        return float(value)

    return read


@takes({"type": "boolean"})
def read_switch(value: object) -> bool:
    """Return whether something is on."""
    if not isinstance(value, bool):
        raise ValueError(_not_text(value, "a yes or no; use true or false"))
    return value


def word(words: dict[str, Word]) -> Reader[Word]:
    """Return a reader of one of `words`."""

    @takes({"enum": list(words)})
    def read(value: object) -> Word:
        if not isinstance(value, str) or value.lower() not in words:
            raise ValueError(f"{show(value)} is not known; use {' or '.join(words)}")
        return words[value.lower()]

    return read


def words(kind: type[Word]) -> Any:
    """Return the validator of a word that is one of `kind`."""
    return PlainValidator(word({member.value: member for member in kind}))


def _whole(value: object, use: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(_not_text(value, f"a whole number; use {use}"))
    return value


def _not_text(value: object, wanted: str) -> str:
    return f"is empty; {wanted.partition('; ')[2]}" if value is None else f"{show(value)} is not {wanted}"


def _no_address(value: str) -> str:
    try:
        return f"{show(value)} is a network; write one address of it, like {ip_interface(value).ip}"
    except ValueError:
        return f"{show(value)} is not an IP address; write it like 192.0.2.10"


def _next_prime(size: int) -> int:
    candidate = min(max(size, 2), (1 << 24) - 256)
    while True:
        try:
            check_size(candidate)
        except RingError:
            candidate += 1
        else:
            return candidate


def _member(value: object) -> object:
    """A member that is nothing but a backend's name may be written as that name."""
    return {"name": value} if isinstance(value, str) else value


def _quic(value: object, read: ValidatorFunctionWrapHandler) -> Any:
    if value is None:
        raise ValueError("is empty; write: {config_id: 0}, or leave it out")
    return None if value in OFF else read(value)


def _health(value: object, read: ValidatorFunctionWrapHandler) -> Any:
    if value is None:
        raise ValueError(
            "is empty; leave it out for a TCP connect to the port of the pool's VIP, or write: off"
        )
    return None if value in OFF else read(value)


Name = Annotated[str, PlainValidator(read_name)]
Address = Annotated[IPAddress, PlainValidator(read_address)]
TunnelEnds = Annotated[Addresses, PlainValidator(read_addresses)]
Port = Annotated[int, PlainValidator(whole(1, 65535))]
Seconds = Annotated[float, PlainValidator(seconds(MIN_SECONDS, MAX_SECONDS))]
Window = Annotated[
    float,
    PlainValidator(
        seconds(
            MIN_WINDOW_S,
            MAX_WINDOW_S,
            f": about the life of your longest flows (default {DEFAULT_AFFINITY_WINDOW_S:g}); without a window "
            "every change would break flows",
        )
    ),
]
UdpIdle = Annotated[float, PlainValidator(seconds(MIN_SECONDS, MAX_UDP_IDLE_S))]
Times = Annotated[int, PlainValidator(whole(1, 100))]


class Entry(BaseModel):
    """Base of all entries: a key that is not listed is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BackendEntry(Entry):
    name: Name
    address: TunnelEnds
    agent: Annotated[bool, PlainValidator(read_switch)] = True


class MemberEntry(Entry):
    name: Name
    weight: Annotated[int, PlainValidator(read_weight)] = 1
    slot: Annotated[int | None, PlainValidator(whole(0, MAX_SLOTS - 1))] = None


class HealthEntry(Entry):
    port: Port
    interval_s: Seconds = 1.0
    timeout_s: Seconds = 1.0
    rise: Times = 2
    fall: Times = 3


class QuicEntry(Entry):
    config_id: Annotated[int, PlainValidator(whole(0, UNROUTABLE - 1))] = 0


class PoolEntry(Entry):
    name: Name
    backends: list[Annotated[MemberEntry, BeforeValidator(_member)]] = []
    join: Annotated[Join, words(Join)] = Join.LISTED
    table_size: Annotated[int, PlainValidator(read_table_size)] = DEFAULT_TABLE_SIZE
    hash: Annotated[HashMode, words(HashMode)] = HashMode.FLOW
    hash_algorithm: Annotated[HashAlgorithm, words(HashAlgorithm)] = HashAlgorithm.MULTIPLY
    health: Annotated[HealthEntry | None, WrapValidator(_health)] = None
    health_cap_percent: Annotated[int, PlainValidator(whole(0, 100))] = 50
    on_all_failed: Annotated[OnAllFailed, words(OnAllFailed)] = OnAllFailed.WITHDRAW
    affinity_window_s: Window = DEFAULT_AFFINITY_WINDOW_S
    flow_table: Annotated[bool, PlainValidator(read_switch)] = False
    udp_idle_s: UdpIdle = DEFAULT_UDP_IDLE_S
    table: Annotated[TableKind, words(TableKind)] = TableKind.HOME
    tunnel: Annotated[TunnelFamily, words(TunnelFamily)] = TunnelFamily.IPV4
    quic: Annotated[QuicEntry | None, WrapValidator(_quic)] = None
