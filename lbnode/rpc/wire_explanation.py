"""`lbnode.model.explanation` as messages of the Status service, and back."""

from __future__ import annotations

from lbnode.api.v1 import status_pb2 as pb
from lbnode.model.explanation import Explanation, FlowQuestion, Holder
from lbnode.model.ids import BackendName, EpochNumber, PoolName, SlotNumber
from lbnode.rpc.wire_enums import (
    BACKEND_STATES,
    HASH_ALGORITHMS,
    HASH_MODES,
    PROTOCOLS,
    unpack_address,
    unpack_port,
)


def pack_question(question: FlowQuestion) -> pb.ExplainRequest:
    """Return the message that asks `question`."""
    return pb.ExplainRequest(
        source=str(question.source),
        source_port=question.source_port,
        vip=str(question.vip),
        vip_port=question.vip_port,
        protocol=PROTOCOLS.pack(question.protocol),
    )


def unpack_question(message: pb.ExplainRequest) -> FlowQuestion:
    """Return the question that `message` asks; WireError when a field holds no valid value."""
    return FlowQuestion(
        source=unpack_address("source", message.source),
        source_port=unpack_port("source_port", message.source_port),
        vip=unpack_address("vip", message.vip),
        vip_port=unpack_port("vip_port", message.vip_port),
        protocol=PROTOCOLS.unpack(message.protocol),
    )


def pack_explanation(explanation: Explanation) -> pb.ExplainResponse:
    """Return the message that says `explanation`."""
    state = explanation.home_state
    return pb.ExplainResponse(
        vip=explanation.vip,
        pool=explanation.pool,
        epoch=explanation.epoch,
        hash_mode=HASH_MODES.pack(explanation.hash_mode),
        hash_algorithm=HASH_ALGORITHMS.pack(explanation.hash_algorithm),
        table_size=explanation.table_size,
        bucket=explanation.bucket,
        home_slot=explanation.home_slot,
        home=_pack_holder(explanation.home) if explanation.home else None,
        home_state=BACKEND_STATES.pack(state) if state else pb.BACKEND_STATE_UNSPECIFIED,
        owner=_pack_holder(explanation.owner) if explanation.owner else None,
        alternates=[_pack_holder(holder) for holder in explanation.alternates],
        key=explanation.key,
        stamp=explanation.stamp,
    )


def unpack_explanation(message: pb.ExplainResponse) -> Explanation:
    """Return the explanation that `message` says; WireError for a message that says none."""
    return Explanation(
        vip=message.vip,
        pool=PoolName(message.pool),
        epoch=EpochNumber(message.epoch),
        hash_mode=HASH_MODES.unpack(message.hash_mode),
        hash_algorithm=HASH_ALGORITHMS.unpack(message.hash_algorithm),
        table_size=message.table_size,
        bucket=message.bucket,
        home_slot=SlotNumber(message.home_slot),
        home=_unpack_holder(message.home) if message.HasField("home") else None,
        home_state=BACKEND_STATES.unpack_optional(message.home_state),
        owner=_unpack_holder(message.owner) if message.HasField("owner") else None,
        alternates=tuple(_unpack_holder(holder) for holder in message.alternates),
        key=message.key if message.HasField("key") else None,
        stamp=message.stamp,
    )


def _pack_holder(holder: Holder) -> pb.Holder:
    return pb.Holder(id=holder.id, name=holder.name, address=str(holder.address or ""))


def _unpack_holder(message: pb.Holder) -> Holder:
    address = unpack_address("holder", message.address) if message.address else None
    return Holder(message.id, BackendName(message.name), address)
