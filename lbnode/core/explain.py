"""Where a flow goes and why, step by step, by the functions that tables are built with (`ring`).

Decides nothing new: it repeats for one bucket what `lbnode.core.history.build_table` did for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from lbnode.core.history import MissingEpochError, earlier_epochs, explain_bucket, ring_slots
from lbnode.model.epoch import BackendState, Epoch
from lbnode.model.explanation import Explanation, FlowQuestion, Holder
from lbnode.model.fleet import Vip
from lbnode.model.ids import BackendId, BackendName, PoolName, SlotNumber
from lbnode.model.members import BackendMember
from lbnode.model.requests import Refusal, RefusalKind
from lbnode.model.tunnel import TunnelFamily, tunnel_end
from lbnode.model.view import FleetView
from lbnode.model.vip import VipKey, choose
from ring import bucket


def explain(
    view: FleetView, in_use: Mapping[PoolName, Epoch], question: FlowQuestion
) -> Explanation | Refusal:
    """Return what happens to the flow of `question` on a node whose kernel uses the epochs `in_use`."""
    vip = _find_vip(view, question)
    if isinstance(vip, Refusal):
        return vip
    epoch = in_use.get(vip.pool)
    if epoch is None or not ring_slots(epoch):
        return Refusal(
            RefusalKind.STATE,
            f"this node knows of no table that carries pool {vip.pool}",
            "see what it waits for: lbctl status",
        )
    secret = view.identity.keys.get(epoch.key_id) if view.identity is not None else None
    if secret is None:
        return Refusal(
            RefusalKind.STATE,
            f"key {epoch.key_id} of pool {vip.pool} is not known here",
            "lbctl status says why",
        )
    try:
        earlier = earlier_epochs(view.epochs.get(vip.pool, {}), epoch)
    except MissingEpochError as error:
        return Refusal(RefusalKind.STATE, str(error), "lbctl status says what is wrong with the store")
    return _explain(view, vip, epoch, earlier, _bucket(bytes.fromhex(secret), epoch, question))


def _bucket(secret: bytes, epoch: Epoch, question: FlowQuestion) -> int:
    keys = bucket.derive_keys(secret, epoch.seed)
    flow = bucket.Flow.between(
        question.source, question.source_port, question.vip, question.vip_port, question.protocol
    )
    mode, algorithm = epoch.hash_mode.value, epoch.hash_algorithm.value
    return bucket.bucket_of(keys, algorithm, mode, flow, epoch.table_size)


def _explain(view: FleetView, vip: Vip, epoch: Epoch, earlier: tuple[Epoch, ...], number: int) -> Explanation:
    found = explain_bucket(number, epoch, earlier)
    members = {member.id: member for member in view.backends.values()}
    return Explanation(
        vip=str(vip.key),
        pool=epoch.pool,
        epoch=epoch.number,
        hash_mode=epoch.hash_mode,
        hash_algorithm=epoch.hash_algorithm,
        table_size=epoch.table_size,
        bucket=number,
        home_slot=SlotNumber(found.home),
        home=_holder(members, found.home_backend, epoch.tunnel),
        home_state=_state(epoch, found.home) if found.home_backend else None,
        owner=_holder(members, found.owner, epoch.tunnel),
        alternates=tuple(_named(members, backend, epoch.tunnel) for backend in found.alternates),
        key=_key(members, found.owner, found.alternates),
        stamp=epoch.stamp,
    )


def _find_vip(view: FleetView, question: FlowQuestion) -> Vip | Refusal:
    vips = {vip.key: vip for vip in (view.desired.vips if view.desired is not None else ())}
    found = choose(vips, question.vip, question.protocol, question.vip_port)
    if found is not None:
        return vips[found]
    asked = VipKey(question.vip, question.protocol, question.vip_port)
    same_address = [str(key) for key in vips if question.vip in key.network]
    known = ", ".join(same_address or [str(key) for key in vips][:8])
    return Refusal(
        RefusalKind.UNKNOWN, f"no VIP {asked}", f"known: {known}" if known else "there are none yet"
    )


def _state(epoch: Epoch, number: int) -> BackendState | None:
    return next((slot.state for slot in epoch.slots if slot.number == number), None)


def _holder(members: Mapping[BackendId, BackendMember], backend: int, tunnel: TunnelFamily) -> Holder | None:
    return _named(members, backend, tunnel) if backend else None


def _named(members: Mapping[BackendId, BackendMember], backend: int, tunnel: TunnelFamily) -> Holder:
    """A backend and where its packets go."""
    member = members.get(BackendId(backend))
    if member is None:
        return Holder(backend, BackendName(""), None)
    return Holder(backend, member.name, tunnel_end(member.addresses, tunnel))


def _key(members: Mapping[BackendId, BackendMember], owner: int, alternates: tuple[int, ...]) -> int | None:
    """The GRE key (design.md §4): alternates, towards a backend that has the agent to read it."""
    member = members.get(BackendId(owner))
    if not alternates or member is None or not member.agent:
        return None
    first, second = (*alternates, 0)[:2]
    return first << 16 | second
