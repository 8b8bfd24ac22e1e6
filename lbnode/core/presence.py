"""How a node stands towards its traffic: starting, up, draining, drained; and since when.

Decides the phase from what is announced and from whether packets still arrive. Does not decide what is announced
(`lbnode.core.announce`): it only keeps the times that this decision asks for.
"""

from __future__ import annotations

from dataclasses import dataclass

from lbnode.core.announce import AGENTS_S, IDLE_S, SHUTDOWN_S, STEADY_S, Phase
from lbnode.core.leader import earliest


@dataclass(slots=True)
class Presence:
    """Times of the monotonic clock, in seconds; `now` is when the daemon started."""

    now: float
    phase: Phase = Phase.STARTING
    _draining_at: float | None = None
    _stopping_at: float | None = None
    _deaf_at: float | None = None
    _barred: bool = False
    _steady_at: float = 0.0
    _packets: int = -1
    _quiet_at: float = 0.0

    def observe(
        self, now: float, drained: bool, serving: bool, packets: int, stopping: bool = False
    ) -> Phase:
        """Take in what is so at `now` and return the phase.

        `serving`: clients are sent here, by an announcement or because this node announces nothing by design;
        `packets` is a counter that grows with traffic.
        """
        if packets != self._packets:
            self._packets = packets
            self._quiet_at = now
        if stopping and self._stopping_at is None:
            self._stopping_at = now
        if not drained:
            self._draining_at = None
            self.phase = Phase.UP if serving or self.phase is Phase.UP else Phase.STARTING
        else:
            if self._draining_at is None:
                self._draining_at = now
            quiet = not serving and now - self._quiet_at >= IDLE_S
            self.phase = Phase.DRAINED if quiet else Phase.DRAINING
        return self.phase

    def draining_s(self, now: float) -> float | None:
        """Return how long the node has been draining; None if it is not."""
        return None if self._draining_at is None else now - self._draining_at

    def stopping_s(self, now: float) -> float:
        """Return how long the node has been stopping; 0 if it is not."""
        return 0.0 if self._stopping_at is None else now - self._stopping_at

    def waited_s(self, now: float, deaf: bool) -> float:
        """Return how long some connected agent has not accepted this node's GRE; `deaf`: one does not now."""
        if not deaf:
            self._deaf_at = None
            return 0.0
        if self._deaf_at is None:
            self._deaf_at = now
        return now - self._deaf_at

    def obstacle(self, now: float, seen: str) -> str:
        """Return why no packets are to be asked for; `seen`: what keeps them from coming in now, if anything.

        One that was never seen counts as none: a daemon that starts goes on with what an earlier one announced.
        """
        if self._barred and not seen:
            self._steady_at = now + STEADY_S
        self._barred = bool(seen)
        if not seen and now < self._steady_at:
            return f"waits until packets could come in for {STEADY_S:g} s again"
        return seen

    def wake_at(self, now: float) -> float | None:
        """Return when something here changes by time alone."""
        times = [
            None if self._draining_at is None else self._draining_at + SHUTDOWN_S,
            None if self._deaf_at is None else self._deaf_at + AGENTS_S,
            self._steady_at,
        ]
        later: float | None = None
        for time in times:
            if time is not None and time > now:
                later = earliest(later, time)
        return later
