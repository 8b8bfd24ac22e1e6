"""Whose flows a change waits for, as the messages of both services say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lbnode.api.v1 import status_pb2 as pb
from lbnode.model.flows import HeldChange
from lbnode.model.ids import BackendName


def pack_waits(waits_for: Mapping[BackendName, int | None]) -> list[pb.WaitingFor]:
    """Return a message for each backend; one that cannot tell has no flows in it."""
    return [pb.WaitingFor(backend=name, flows=flows) for name, flows in waits_for.items()]


def unpack_waits(messages: Iterable[pb.WaitingFor]) -> dict[BackendName, int | None]:
    """Return backend → flows that are waited for."""
    return {BackendName(one.backend): one.flows if one.HasField("flows") else None for one in messages}


def pack_held(held: HeldChange) -> pb.HeldChange:
    return pb.HeldChange(
        what=held.what, waits_for=pack_waits(held.waits_for), since=held.since, until=held.until
    )


def unpack_held(message: pb.HeldChange) -> HeldChange:
    return HeldChange(message.what, unpack_waits(message.waits_for), message.since, message.until)
