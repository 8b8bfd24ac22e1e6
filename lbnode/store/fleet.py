"""The fleet's memory, typed: `FleetView` out, records in. Over any `lbnode.store.tree.Tree`.

What only the leader may write (epochs, current, ids) is written so that a node which has lost the leadership
without knowing it changes nothing: epochs are created, never replaced, and the rest is compare-and-set
against what this node has seen. Losing that race raises NotLeaderError.

A store whose identity is not the one that this daemon has seen before, or that has none any more, is refused:
views and writes raise ForeignFleetError until an operator decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from uuid import UUID

from lbnode.model.codec import encode
from lbnode.model.epoch import Epoch
from lbnode.model.fleet import DesiredFleet, Intents
from lbnode.model.flows import FlowQuestion, FlowReport, HeldChanges
from lbnode.model.ids import BackendName, EpochNumber, NodeName, PoolName
from lbnode.model.members import AgentLive, AgentMember, BackendMember, FleetIdentity, NodeLive, NodeMember
from lbnode.model.view import FleetView, IdLedger
from lbnode.store import records
from lbnode.store.tree import (
    Campaign,
    ConflictError,
    ExistsError,
    MissingError,
    Session,
    StoreError,
    Tree,
)


class NotLeaderError(StoreError):
    """Somebody else writes what only the leader writes: this node leads no more."""


class ForeignFleetError(StoreError):
    """The store does not hold the fleet that this daemon belongs to."""


def refusal(expected: UUID | None, found: FleetIdentity | None, in_step: bool) -> str | None:
    """Return why a daemon of the fleet `expected` must not use a store that holds `found`; None if it may.

    A daemon that has never seen a fleet takes what it finds. `in_step`: the store has been read whole at
    least once; an absent identity means nothing before that.
    """
    if expected is None or (found is None and not in_step):
        return None
    if found is None:
        return (
            f"holds no fleet, and this daemon belongs to {expected}: the store was wiped, or is the wrong "
            "one. Bring back its data, or delete the copy in this daemon's state directory to start anew"
        )
    if found.uuid != expected:
        return (
            f"holds fleet {found.uuid} ({found.name}), and this daemon belongs to {expected}: check the "
            "store's address, or delete the copy in this daemon's state directory to join that fleet"
        )
    return None


class FleetStore:
    """Typed access to one fleet's records. All methods belong to the event loop that called `start`.

    `expected` is the fleet that this daemon has on disk; None takes the first one seen. `known` is what else it has
    there: it counts where the store's own records cannot be read.
    """

    def __init__(self, tree: Tree, expected: UUID | None = None, known: FleetView | None = None) -> None:
        self._tree = tree
        self._expected = expected
        self._reader = records.Reader()
        if known is not None:
            self._reader.remember(known)
        self._in_step = asyncio.Event()
        self._on_session: Callable[[Session], None] | None = None

    @property
    def session(self) -> Session:
        """What may be assumed of the store now."""
        return self._tree.session

    @property
    def problem(self) -> str:
        """What others did to the store, or could have done; empty if nothing."""
        return self._tree.problem

    @property
    def address(self) -> str:
        """Where the store is, for people."""
        return self._tree.address

    async def start(
        self, on_change: Callable[[], None], on_session: Callable[[Session], None] | None = None
    ) -> None:
        """Begin to connect; returns soon, store or no store. `on_change`: time to look at `view` again."""
        self._on_session = on_session
        await self._tree.start(on_change, self._session_changed)

    async def close(self) -> None:
        """End the session, and with it what this process announced and its candidacy."""
        await self._tree.close()

    async def wait_in_step(self, timeout_s: float) -> bool:
        """Wait until the store has been read whole once; return whether that happened within `timeout_s`."""
        try:
            await asyncio.wait_for(self._in_step.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    def _session_changed(self, session: Session) -> None:
        if session is Session.CONNECTED:
            self._in_step.set()
        if self._on_session is not None:
            self._on_session(session)

    # -- reading

    def view(self) -> FleetView:
        """Return what the mirror holds now; cheap, because only new records are decoded.

        While the session is not CONNECTED it is what was last seen, with `connected` False. Raises
        ForeignFleetError.
        """
        connected = self._tree.session is Session.CONNECTED
        if connected:
            self._in_step.set()
        view = self._reader.view(self._tree.snapshot(), self._tree.leader, connected)
        self._check_known()
        if view.identity is not None and self._expected is None:
            self._expected = view.identity.uuid
        return view

    async def catch_up(self) -> bool:
        """Have in the next view what members said last; returns soon, and whether all of it is there."""
        return await self._tree.catch_up()

    def _check_fleet(self, found: FleetIdentity | None) -> None:
        reason = refusal(self._expected, found, self._in_step.is_set())
        if reason:
            raise ForeignFleetError(f"store {self.address}: {reason}")

    # -- what anybody may write

    async def create_identity(self, identity: FleetIdentity) -> None:
        """Found the fleet. Raises ExistsError: somebody was quicker, take theirs from the view."""
        self._check_fleet(identity)
        await self._tree.create(records.IDENTITY, encode(identity))

    async def write_desired(self, desired: DesiredFleet, version: int) -> int:
        """Replace what the operator wants if it still has `version` (-1: none yet). Raises ConflictError."""
        return await self._replace(records.DESIRED, encode(desired), version)

    async def write_intents(self, intents: Intents, version: int) -> int:
        """Replace operators' intents if they still have `version` (-1: none yet). Raises ConflictError."""
        return await self._replace(records.INTENTS, encode(intents), version)

    async def put_node(self, member: NodeMember) -> None:
        """Make or renew a node's membership."""
        await self._put(records.node_path(member.name), encode(member))

    async def remove_node(self, name: NodeName) -> None:
        """End a node's membership; nothing happens if it has none."""
        await self._remove(records.node_path(name))

    async def put_agent(self, member: AgentMember) -> None:
        """Make or renew an agent's registration."""
        await self._put(records.agent_path(member.name), encode(member))

    async def remove_agent(self, name: BackendName) -> None:
        """End an agent's registration; nothing happens if it has none."""
        await self._remove(records.agent_path(name))

    async def announce_live_node(self, live: NodeLive) -> None:
        """Say that this node is connected, until this process ends; made again after a lost session."""
        self._check_known()
        await self._tree.announce(records.live_node_path(live.name), encode(live))

    async def announce_live_agent(self, live: AgentLive) -> None:
        """Say that this agent is connected, until this process ends; made again after a lost session."""
        self._check_known()
        await self._tree.announce(records.live_agent_path(live.name), encode(live))

    async def announce_report(self, report: FlowReport) -> None:
        """Answer the leader's question; ends with this process."""
        await self._tree.announce(records.report_path(report.pool, report.backend), encode(report))

    async def withdraw_report(self, pool: PoolName, backend: BackendName) -> None:
        """Take an answer back."""
        await self._tree.withdraw(records.report_path(pool, backend))

    # -- what only the leader may write

    def campaign(
        self, name: NodeName, on_elected: Callable[[], None], on_lost: Callable[[], None]
    ) -> Campaign:
        """Stand for leadership until withdrawn. See `Tree.campaign`."""
        return self._tree.campaign(name, on_elected, on_lost)

    async def put_backend(self, member: BackendMember) -> None:
        """Make or renew a backend's membership, with its id."""
        await self._put(records.backend_path(member.name), encode(member))

    async def remove_backend(self, name: BackendName) -> None:
        """End a backend's membership; nothing happens if it has none."""
        await self._remove(records.backend_path(name))

    async def put_ids(self, ledger: IdLedger) -> None:
        """Replace the ledger of ids unless somebody else changed it since. Raises NotLeaderError."""
        await self._lead(records.IDS, encode(ledger))

    async def create_epoch(self, epoch: Epoch) -> None:
        """Offer an epoch. Raises NotLeaderError if there is one of that number."""
        path = records.epoch_path(epoch.pool, epoch.number)
        self._check_known()
        try:
            await self._tree.create(path, encode(epoch))
        except ExistsError as error:
            raise NotLeaderError(f"{error}: another node leads") from error

    async def restore_epoch(self, epoch: Epoch) -> None:
        """Put an epoch in the place of a record that cannot be read."""
        await self._put(records.epoch_path(epoch.pool, epoch.number), encode(epoch))

    async def set_current(self, pool: PoolName, number: EpochNumber) -> None:
        """Make an offered epoch the current one. Raises NotLeaderError if somebody else changed it."""
        await self._lead(records.current_path(pool), encode(number))

    async def remove_current(self, pool: PoolName) -> None:
        """Let a pool have no current epoch: the pool is gone."""
        await self._remove(records.current_path(pool))

    async def delete_epochs(self, pool: PoolName, numbers: Iterable[EpochNumber]) -> None:
        """Delete epochs that nobody needs any more; those that are gone already do not matter."""
        for number in sorted(numbers):
            await self._remove(records.epoch_path(pool, number))

    async def ask(self, question: FlowQuestion) -> None:
        """Ask a pool's agents for their flows."""
        await self._put(records.question_path(question.pool), encode(question))

    async def forget_pool(self, pool: PoolName) -> None:
        """Take away what was asked and held in a pool that is gone."""
        await self._remove(records.question_path(pool))
        await self._remove(records.held_path(pool))

    async def put_held(self, held: HeldChanges) -> None:
        """Tell everybody what is held in a pool, or (empty) that nothing is."""
        await self._put(records.held_path(held.pool), encode(held))

    # -- how

    async def _lead(self, path: str, value: bytes) -> None:
        known = self._tree.get(path)
        try:
            await self._replace(path, value, known.version if known else -1)
        except ConflictError as error:
            raise NotLeaderError(f"{error}: another node leads") from error

    async def _replace(self, path: str, value: bytes, version: int) -> int:
        self._check_known()
        try:
            if version >= 0:
                return await self._tree.write(path, value, version)
            await self._tree.create(path, value)
        except (ExistsError, MissingError) as error:
            raise ConflictError(f"{error}: read it again") from error
        return 0

    async def _put(self, path: str, value: bytes) -> None:
        self._check_known()
        await self._tree.put(path, value)

    async def _remove(self, path: str) -> None:
        self._check_known()
        try:
            await self._tree.delete(path)
        except MissingError:
            pass

    def _check_known(self) -> None:
        """Refuse to write into another fleet's store."""
        entry = self._tree.get(records.IDENTITY)
        self._check_fleet(records.read_identity(entry.value) if entry else None)
