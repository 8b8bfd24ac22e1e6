"""The node's flow table in Python (design.md §6): for flows that the second chance does not cover. No eviction."""

from __future__ import annotations

from dataclasses import dataclass, field

from lbnode.model.fleet import Protocol

FlowKey = tuple[bytes, bytes, bytes, int]
"""Source, destination, ports (none for UDP of a pool that hashes the source alone), protocol."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A bucket as one flow sees it: ids of whom it goes to and of whom to ask after that; 0 = none."""

    owner: int
    first: int
    second: int

    def turned(self, backend: int) -> Listed:
        """Return the same list with `backend`, one of its members, in front and the owner last."""
        if backend == self.owner:
            return self
        others = [each for each in (self.first, self.second) if each not in (0, backend)]
        first, second, *_ = [*others, self.owner, 0]
        return Listed(backend, first, second)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Of one packet: what decides whether the flow table has a word in it."""

    protocol: int
    is_syn: bool
    owner_has_agent: bool
    is_whole: bool
    """The second chance reaches everybody on the list: all but the last have the agent."""
    changed: bool
    """The bucket has alternates, and its pool a flow table."""
    recorded: bool
    """The bucket is about to change owner."""
    failed: frozenset[int]


@dataclass(slots=True)
class FlowModel:
    """Flows and their backends."""

    flows: dict[FlowKey, int] = field(default_factory=dict)
    new_flows: dict[FlowKey, int] = field(default_factory=dict)

    def follow(self, flow: FlowKey, listed: Listed, around: Circumstances) -> tuple[Listed, tuple[str, ...]]:
        """Return the bucket as the flow sees it, and which of the `flow_…` counters count."""
        if around.protocol == Protocol.UDP:
            found, notes = self._follow_udp(flow, listed, around)
        elif around.is_whole or not around.changed:
            return listed, ()
        elif around.is_syn:
            return self._open(flow, listed)
        else:
            found, notes = self._follow_tcp(flow, listed, around.owner_has_agent)
        return found, (*notes, "flow_kept") if found.owner != listed.owner else notes

    def _follow_udp(
        self, flow: FlowKey, listed: Listed, around: Circumstances
    ) -> tuple[Listed, tuple[str, ...]]:
        fit = {listed.owner} | ({listed.first, listed.second} - around.failed)
        known = self.flows.get(flow, 0)
        if known and known in fit:
            return listed.turned(known), ()
        if not around.recorded:
            return listed, ()
        self.flows[flow] = listed.owner
        return listed, ("flow_recorded",)

    def _follow_tcp(
        self, flow: FlowKey, listed: Listed, owner_has_agent: bool
    ) -> tuple[Listed, tuple[str, ...]]:
        members = {listed.owner, listed.first, listed.second} - {0}
        known = self.flows.get(flow, 0)
        if known in members:
            return listed.turned(known), ()
        opened = self.new_flows.get(flow, 0)
        if owner_has_agent and opened not in members:
            return listed, ()
        self.flows[flow] = opened if opened in members else listed.first
        return listed.turned(self.flows[flow]), ("flow_recorded",)

    def _open(self, flow: FlowKey, listed: Listed) -> tuple[Listed, tuple[str, ...]]:
        self.flows.pop(flow, None)
        self.new_flows[flow] = listed.owner
        return listed, ("flow_opened",)
