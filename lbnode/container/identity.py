"""Who a container is in its fleet: what the daemon's settings say unless a variable says otherwise. Pure.

Decides name, interface, addresses and routers from what the engine gave the container, so that a hundred containers of
one service need no line of their own. Everything else (store, AS numbers, pools) is the operator's, in `EVENKEEL_…`
variables, which overrule what is decided here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address
from typing import Any

from lbnode.container.errors import ContainerError

NEARLY = 0.9
"""As `lbnode.settings.source` judges the daemons' own variables, whose libraries process 1 does without."""
VARIABLES = tuple(
    f"EVENKEEL_{name}"
    for name in ("ROUTER", "ROUTER_AS", "BGP_PASSWORD_FILE", "FLEET_FILE", "FLEET_DIR", "SERVICE_PORT")
)
"""Those that containers have besides their daemon's settings."""


class Kind(Enum):
    """What the container is; the value is the word on the command line."""

    NODE = "node"
    BACKEND = "backend"

    @property
    def daemon(self) -> str:
        """The daemon's command."""
        return "lbnode" if self is Kind.NODE else "lbbackend"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the engine gave the container: its host name, its own address towards `routers`, and where that is."""

    hostname: str
    interface: str
    address: IPv4Address
    routers: tuple[IPv4Address, ...]


def check_names(environment: Mapping[str, str]) -> None:
    """Refuse variables whose names are nearly those of `VARIABLES`: they would do nothing, silently. Raises
    ContainerError.
    """
    for name in sorted(environment.keys() - set(VARIABLES)):
        for close in difflib.get_close_matches(name, VARIABLES, n=1, cutoff=NEARLY):
            raise ContainerError(f"environment: {name}: no such variable; did you mean {close}?")


def router_names(environment: Mapping[str, str]) -> list[str]:
    """Return the names or addresses of the fleet's routers. Raises ContainerError when none is given."""
    names = [name.strip() for name in environment.get("EVENKEEL_ROUTER", "").split(",") if name.strip()]
    if not names:
        raise ContainerError(
            "EVENKEEL_ROUTER: missing; set it to the router's name or address, several with commas between"
        )
    return names


def settings(kind: Kind, around: Surroundings, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that the container's daemon starts from. Raises ContainerError."""
    common = {
        "name": around.hostname,
        "interface": around.interface,
        "address": str(around.address),
        "leave_on_stop": True,
        # The far end of a container's cable is the engine's: native XDP would send into the void there.
        "xdp_mode": "generic",
    }
    if kind is Kind.BACKEND:
        return common
    return {**common, "metrics": {}, "bgp": _bgp(around.address, around.routers, environment)}


def _bgp(
    address: IPv4Address, routers: Sequence[IPv4Address], environment: Mapping[str, str]
) -> dict[str, Any]:
    number = environment.get("EVENKEEL_ROUTER_AS", "")
    if not number.isascii() or not number.isdecimal():
        found = f"found {number!r}" if number else "missing"
        raise ContainerError(f"EVENKEEL_ROUTER_AS: {found}; set it to the routers' AS number, such as 65000")
    common: dict[str, Any] = {"peer_as": int(number)}
    if password := environment.get("EVENKEEL_BGP_PASSWORD_FILE"):
        common["md5_password_file"] = password
    return {
        "router_id": str(address),
        "local_address": str(address),
        "neighbors": [{"address": str(router), **common} for router in routers],
    }
