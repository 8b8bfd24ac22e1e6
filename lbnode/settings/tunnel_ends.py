"""Where a machine's tunnels end, as its own settings say it: one address, or one of each family."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Annotated

from pydantic import PlainValidator
from pydantic_settings import NoDecode

from lbnode.core.rules import check_addresses
from lbnode.model.ids import IPAddress
from lbnode.model.tunnel import Addresses, in_order
from lbnode.settings.reader import ADDRESSES, takes


@takes(ADDRESSES)
def read_tunnel_ends(value: object) -> Addresses:
    """Return the addresses in an address, a list of at most one of each family, or the JSON of such a list."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _read_json(value)
    texts = value if isinstance(value, list | tuple) else [value]
    if not texts:
        raise ValueError("give an address, or one of each family")
    addresses = in_order(_read_address(text) for text in texts)
    problem = check_addresses(addresses)
    if problem is not None:
        raise ValueError(problem)
    return addresses


def _read_json(text: str) -> object:
    """A variable of the environment has lists as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError('write a list as JSON: ["10.0.0.1", "2001:db8::1"]') from None


def _read_address(text: object) -> IPAddress:
    try:
        return ip_address(str(text))
    except ValueError:
        raise ValueError("not an IP address") from None


TunnelEnds = Annotated[Addresses, NoDecode, PlainValidator(read_tunnel_ends)]
