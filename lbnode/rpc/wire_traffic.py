"""`lbnode.model.traffic` as messages of the Status service, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lbnode.api.v1 import status_pb2 as pb
from lbnode.model.ids import NodeName
from lbnode.model.traffic import Count, Traffic


def pack_traffic(traffic: Traffic) -> pb.GetTrafficResponse:
    """Return the message that says `traffic`."""
    return pb.GetTrafficResponse(
        node=traffic.node,
        outcomes=_pack(traffic.outcomes),
        vips=_pack(traffic.vips),
        pools=_pack(traffic.pools),
        backends=_pack(traffic.backends),
    )


def unpack_traffic(message: pb.GetTrafficResponse) -> Traffic:
    """Return the traffic that `message` says."""
    return Traffic(
        node=NodeName(message.node),
        outcomes=_unpack(message.outcomes),
        vips=_unpack(message.vips),
        pools=_unpack(message.pools),
        backends=_unpack(message.backends),
    )


def _pack(counts: Mapping[Any, Count]) -> Iterable[pb.Count]:
    return (pb.Count(name=name, packets=count.packets, bytes=count.bytes) for name, count in counts.items())


def _unpack(messages: Iterable[pb.Count]) -> dict[Any, Count]:
    return {message.name: Count(message.packets, message.bytes) for message in messages}
