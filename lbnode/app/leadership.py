"""A node's part in leading the fleet: stand for election, and while elected carry out the leader's decisions."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from uuid import uuid4

import structlog

from lbnode.core.epochs import CURRENT_KEY
from lbnode.core.leader import Decision, Leader
from lbnode.core.writes import (
    AskForFlows,
    ForgetAgent,
    ForgetEpoch,
    FoundFleet,
    MakeCurrent,
    OfferEpoch,
    PutBackend,
    PutHeld,
    PutIds,
    RemoveBackend,
    RestoreEpoch,
    RetirePool,
    Write,
)
from lbnode.model.ids import NodeName, PoolName
from lbnode.model.members import FleetIdentity
from lbnode.model.tunnel import describe
from lbnode.model.view import FleetView
from lbnode.store.fleet import FleetStore, NotLeaderError
from lbnode.store.tree import Campaign, ExistsError, StoreError, UnavailableError

log = structlog.get_logger()

SECRET_BYTES = 32


class Leadership:
    """Stands for election from `start` on. `step` does nothing unless this node leads."""

    def __init__(self, store: FleetStore, node: NodeName, fleet: str, on_change: Callable[[], None]) -> None:
        self._store = store
        self._node = node
        self._fleet = fleet
        self._on_change = on_change
        self._campaign: Campaign | None = None
        self._leader = Leader()
        self._is_new = True
        self.alarms: tuple[str, ...] = ()

    @property
    def leading(self) -> bool:
        """Whether this node is the leader now."""
        return self._campaign is not None and self._campaign.leading

    def start(self) -> None:
        """Stand for election."""
        self._campaign = self._store.campaign(self._node, self._elected, self._lost)

    async def stop(self) -> None:
        """Give up the leadership or the candidacy."""
        if self._campaign is None:
            return
        try:
            await self._campaign.withdraw()
        except StoreError as error:
            log.warning("leadership not withdrawn", error=str(error))

    async def step(self, view: FleetView, now: float) -> float | None:
        """Do what the fleet needs of its leader; return when to be called again even without a change.

        A view that is not the store's (lost, foreign, restored from an old backup) is not acted on.
        """
        if not self.leading or not view.connected:
            self.alarms = ()
            return None
        if self._is_new:
            self._is_new = False
            await self._store.catch_up()
            return now
        decision = self._leader.handle(view, now, time.time())
        self._tell(decision)
        try:
            for command in decision.commands:
                await self._write(command, view)
        except NotLeaderError as error:
            log.warning("another node leads", error=str(error))
            self._leader = Leader()
        except UnavailableError as error:
            log.warning("store out of reach while leading", error=str(error))
        return decision.wake_at

    def _elected(self) -> None:
        log.info("elected leader", node=self._node)
        self._leader = Leader()
        self._is_new = True
        self._on_change()

    def _lost(self) -> None:
        log.info("leader no more", node=self._node)
        self._on_change()

    def _tell(self, decision: Decision) -> None:
        for alarm in set(decision.alarms) - set(self.alarms):
            log.warning("alarm", what=alarm)
        self.alarms = decision.alarms

    async def _write(self, command: Write, view: FleetView) -> None:
        match command:
            case FoundFleet():
                await self._found()
            case PutIds(ledger):
                await self._store.put_ids(ledger)
            case PutBackend(member):
                await self._store.put_backend(member)
                log.info(
                    "backend",
                    name=member.name,
                    id=member.id,
                    address=describe(member.addresses),
                    agent=member.agent,
                )
            case RemoveBackend(name):
                await self._store.remove_backend(name)
                await self._store.remove_agent(name)
                log.info("backend removed", name=name)
            case ForgetAgent(name):
                await self._store.remove_agent(name)
                log.info("registration ended: its machine is gone", name=name)
            case OfferEpoch(epoch):
                await self._store.create_epoch(epoch)
                log.info("epoch offered", pool=epoch.pool, epoch=epoch.number, digest=epoch.digest)
            case RestoreEpoch(epoch):
                await self._store.restore_epoch(epoch)
                log.warning("epoch restored", pool=epoch.pool, epoch=epoch.number, digest=epoch.digest)
            case MakeCurrent(pool, number, laggards):
                await self._store.set_current(pool, number)
                log.info("epoch current", pool=pool, epoch=number, without=laggards)
            case ForgetEpoch(pool, number):
                await self._store.delete_epochs(pool, [number])
            case AskForFlows(question):
                await self._store.ask(question)
            case PutHeld(held):
                await self._store.put_held(held)
            case RetirePool(pool):
                await self._retire(pool, view)

    async def _found(self) -> None:
        identity = FleetIdentity(uuid4(), self._fleet, {CURRENT_KEY: secrets.token_hex(SECRET_BYTES)})
        try:
            await self._store.create_identity(identity)
        except ExistsError:
            return
        log.info("fleet founded", fleet=self._fleet, uuid=str(identity.uuid))

    async def _retire(self, pool: PoolName, view: FleetView) -> None:
        await self._store.remove_current(pool)
        await self._store.delete_epochs(pool, view.epochs.get(pool, {}))
        await self._store.forget_pool(pool)
        log.info("pool retired", pool=pool)
