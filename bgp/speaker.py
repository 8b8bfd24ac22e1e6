"""The daemon's side: the only owner of the ExaBGP process and of the connection to its relay.

It starts ExaBGP or adopts the one that an earlier daemon left, hands over whole desired sets, and starts
ExaBGP again when it has died. It does not decide what is announced, and it does not die with a router: one
that is out of reach is a state ("down: why") and a line in the log, never an error.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bgp.config import SpeakerSettings
from bgp.errors import BgpError, MessageError, SpeakerError
from bgp.installation import Installation
from bgp.link import Link
from bgp.messages import NOT_YET, UP, Desired, RelayState
from bgp.process import Identity, Process, recall, remember
from bgp.routes import Route, RouteSet

ADOPT_S = 30.0
LAUNCH_S = 10.0
"""How long ExaBGP may take to start its relay."""
ANSWER_S = 3.0
"""How long a running ExaBGP may take to answer the daemon that wants to adopt it."""
FIRST_BACKOFF_S = 0.25
MOST_BACKOFF_S = 30.0
STEADY_S = 60.0
"""After an ExaBGP that lived this long, the back-off begins anew."""
SILENT_S = 5.0
"""A router that has no session after this long is named in the log."""
STOP_S = 3.0
"""How long `stop` waits for the withdrawal to be acknowledged."""

_log = logging.getLogger(__name__)


class Speaker:
    """What this node announces, and how its routers are.

    `run_dir` belongs to this instance alone and holds ExaBGP's files; `on_change` is called in the loop
    whenever `announced` or `neighbors` has changed. One `start`, then any number of `set_routes`, then `stop`
    (withdraws) or `leave` (keeps everything announced for the next daemon, for at most `adopt_s`).
    """

    def __init__(
        self,
        settings: SpeakerSettings,
        run_dir: Path,
        *,
        adopt_s: float = ADOPT_S,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._addresses = [str(neighbor.address) for neighbor in settings.neighbors]
        self._installation = Installation(settings, run_dir, adopt_s)
        self._on_change = on_change
        self._state = self._nothing(NOT_YET)
        self._wanted: Desired | None = None
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._process: Process | None = None
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._backoff_s = FIRST_BACKOFF_S

    @property
    def announced(self) -> RouteSet:
        """What ExaBGP has acknowledged: nothing while it does not run."""
        return self._state.announced

    @property
    def neighbors(self) -> Mapping[str, str]:
        """Router's address → "up", or "down: why"."""
        return self._state.neighbors

    @property
    def refused(self) -> Mapping[str, str]:
        """Prefix of the last set → why it is not announced."""
        return self._state.refused

    @property
    def exabgp_pid(self) -> int | None:
        """The process id of ExaBGP, or None while it does not run."""
        return None if self._process is None else self._process.pid

    def check(self) -> None:
        """Raise SettingsError for a password that cannot be read or used, before anything is started."""
        self._installation.mark()

    async def start(self) -> None:
        """Adopt the running ExaBGP, if there is one with this configuration, or start one.

        Until the first `set_routes` an adopted one keeps what it announces. Raises SpeakerError if ExaBGP
        cannot run, SettingsError if a password file cannot be used.
        """
        self._installation.prepare()
        await self._open()
        self._task = asyncio.create_task(self._supervise(), name="bgp speaker")

    async def set_routes(self, routes: Iterable[Route]) -> None:
        """Announce `routes` and nothing else; return when ExaBGP has acknowledged all of it.

        If ExaBGP dies meanwhile, this waits for the next one. A later call takes the place of an earlier one,
        which then returns with the later. Routes that cannot be announced are in `refused`. Raises
        SpeakerError if the speaker is stopped first.
        """
        serial = 1 if self._wanted is None else self._wanted.serial + 1
        self._wanted = Desired(serial, RouteSet.of(routes))
        if self._link is not None:
            self._link.send(self._wanted)
        acknowledged = asyncio.get_running_loop().create_future()
        self._waiting[acknowledged] = serial
        try:
            await acknowledged
        finally:
            self._waiting.pop(acknowledged, None)

    async def stop(self) -> None:
        """Withdraw everything, wait for the acknowledgement (at most `STOP_S`), and end ExaBGP."""
        if self._link is not None:
            try:
                await asyncio.wait_for(self.set_routes(()), STOP_S)
            except TimeoutError:
                _log.warning("stop exabgp: the withdrawal was not acknowledged in %g s", STOP_S)
        await self._stop_supervising()
        await self._end_process()
        self._installation.forget()
        self._take(self._nothing("down: stopped"))

    async def leave(self) -> None:
        """Let go of ExaBGP and leave it running: the next daemon adopts it."""
        await self._stop_supervising()
        if self._process is not None:
            self._process.release()
            self._process = None

    # Keeping ExaBGP running.

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            since = loop.time()
            silence = loop.call_later(SILENT_S, self._name_silent_routers)
            try:
                await self._follow()
            finally:
                silence.cancel()
            await self._mourn()
            if loop.time() - since >= STEADY_S:
                self._backoff_s = FIRST_BACKOFF_S
            await self._reopen()

    async def _follow(self) -> None:
        """Take what the relay says until the connection ends."""
        assert self._link is not None
        try:
            async for state in self._link.states():
                self._take(state)
        except MessageError as error:
            _log.error("listen to the relay of exabgp: %s", error)
        self._close_link()

    async def _mourn(self) -> None:
        """Say what has ended: ExaBGP, or its relay alone (which ExaBGP then starts again)."""
        assert self._process is not None
        pid = self._process.pid
        if not await self._process.ended(1.0):
            _log.error("the relay of exabgp (pid %d) is gone: connecting again", pid)
            return
        how = await self._end_process()
        self._take(self._nothing("down: exabgp is not running"))
        words = self._installation.last_words()
        _log.error("exabgp (pid %d) %s: starting it again. Its last words: %s", pid, how, words)

    async def _reopen(self) -> None:
        while self._link is None:
            await asyncio.sleep(self._backoff_s)
            self._backoff_s = min(self._backoff_s * 2, MOST_BACKOFF_S)
            try:
                await self._open()
            except BgpError as error:
                _log.error("%s: trying again in %g s", error, self._backoff_s)

    async def _open(self) -> None:
        """Be connected to the relay of a running ExaBGP with our configuration."""
        if self._process is None:
            self._process = await self._find()
        if self._process is not None and not await self._adopt():
            await self._end_process()
        if self._process is None:
            await self._launch()
        assert self._link is not None
        self._take(self._link.state)
        if self._wanted is not None:
            self._link.send(self._wanted)

    async def _find(self) -> Process | None:
        """Return the ExaBGP that runs from our files: by its pid file or, should nobody have come to write
        one, by what its relay says.
        """
        found = recall(self._installation.pid_file)
        if found is not None:
            return found
        link = await Link.open(self._installation.socket)
        if link is None:
            return None
        link.close()
        identity = Identity.of(link.greeting.exabgp_pid)
        return None if identity is None else Process.hold(identity)

    async def _adopt(self) -> bool:
        """Connect to a running ExaBGP; False if it does not answer or runs with another configuration."""
        assert self._process is not None
        pid = self._process.pid
        try:
            self._link = await self._connect(self._process, ANSWER_S)
        except SpeakerError as error:
            _log.warning("adopt exabgp (pid %d): %s; starting another", pid, error)
            return False
        if self._link.greeting.mark != self._installation.mark():
            self._close_link()
            _log.info("exabgp (pid %d) runs with another configuration: starting another", pid)
            return False
        remember(self._installation.pid_file, self._process.identity)
        _log.info("adopted exabgp (pid %d)", pid)
        return True

    async def _launch(self) -> None:
        self._installation.write()
        self._process = self._installation.spawn()
        try:
            remember(self._installation.pid_file, self._process.identity)
            self._link = await self._connect(self._process, LAUNCH_S)
        except SpeakerError:
            await self._end_process()
            raise
        _log.info("started exabgp (pid %d)", self._process.pid)

    async def _connect(self, process: Process, patience_s: float) -> Link:
        link = await Link.await_greeting(self._installation.socket, process, patience_s)
        if link is None:
            why = f"no answer in {patience_s:g} s" if process.alive() else "it ended"
            raise SpeakerError(f"start exabgp: {why}: {self._installation.last_words()}")
        return link

    async def _end_process(self) -> str:
        """End ExaBGP if it still runs; return how it ended."""
        if self._process is None:
            return "was not running"
        process, self._process = self._process, None
        try:
            await process.terminate()
        finally:
            how = process.release()
        return how

    async def _stop_supervising(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._close_link()
        for acknowledged in self._waiting:
            if not acknowledged.done():
                acknowledged.set_exception(SpeakerError("set routes: the speaker was stopped first"))

    def _close_link(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    # What is known.

    def _nothing(self, why: str) -> RelayState:
        return RelayState(neighbors=dict.fromkeys(self._addresses, why))

    def _take(self, state: RelayState) -> None:
        before, self._state = self._state, state
        for acknowledged, serial in self._waiting.items():
            if state.pending == 0 and state.serial >= serial and not acknowledged.done():
                acknowledged.set_result(None)
        for address, now in state.neighbors.items():
            self._log_change(address, before.neighbors.get(address, NOT_YET), now)
        for prefix, why in state.refused.items():
            if before.refused.get(prefix) != why:
                _log.error("announce %s: %s", prefix, why)
        if (before.announced, before.neighbors) != (state.announced, state.neighbors):
            self._call_back()

    def _call_back(self) -> None:
        if self._on_change is not None:
            self._on_change()

    def _log_change(self, address: str, before: str, now: str) -> None:
        if now == UP != before:
            _log.info("router %s: session is up", address)
        elif before == UP != now:
            _log.warning("router %s: session is %s: trying on", address, now)

    def _name_silent_routers(self) -> None:
        for address, state in self._state.neighbors.items():
            if state != UP:
                _log.warning(
                    "router %s: %s after %g s: check that it answers on TCP port 179 from here, expects this "
                    "address and AS, and has the same password and TTL security; trying on",
                    address,
                    state,
                    SILENT_S,
                )
