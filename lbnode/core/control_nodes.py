"""Operators' verbs on nodes: drain, undrain, remove."""

from __future__ import annotations

from dataclasses import replace

from lbnode.core.plan import Decision, Plan, refuse_unknown
from lbnode.model.ids import NodeName
from lbnode.model.requests import (
    Change,
    Difference,
    DrainNode,
    Refusal,
    RefusalKind,
    RemoveNode,
    UndrainNode,
)
from lbnode.model.view import FleetView


def drain_node(view: FleetView, request: DrainNode) -> Decision:
    """Drain a node, unless it is the last one that carries traffic."""
    name = request.node
    if name not in _known(view):
        return refuse_unknown("node", name, _known(view))
    if name in view.intents.drained_nodes:
        return Plan(view.desired_version, view.intents_version)
    others = [node for node in view.live_nodes if node != name and node not in view.intents.drained_nodes]
    if not others and name in view.live_nodes and not request.force:
        return Refusal(
            RefusalKind.STATE,
            f"{name} is the last connected node that is not drained: nobody would carry the traffic",
            "bring up or undrain another node first, or repeat with --force",
        )
    difference = Difference(Change.CHANGED, f"node {name}", "serving → drained")
    return _plan(view, (*view.intents.drained_nodes, name), difference)


def undrain_node(view: FleetView, request: UndrainNode) -> Decision:
    """Let a drained node announce again."""
    name = request.node
    if name not in _known(view):
        return refuse_unknown("node", name, _known(view))
    if name not in view.intents.drained_nodes:
        return Plan(view.desired_version, view.intents_version)
    difference = Difference(Change.CHANGED, f"node {name}", "drained → serving")
    return _plan(view, _without(view, name), difference)


def remove_node(view: FleetView, request: RemoveNode) -> Decision:
    """End a node's membership; a connected one would only register again."""
    name = request.node
    if name not in _known(view):
        return refuse_unknown("node", name, _known(view))
    if name in view.live_nodes and not request.force:
        return Refusal(
            RefusalKind.STATE,
            f"{name} is connected: backends would drop what it sends",
            f"first: lbctl node drain {name}, then stop lbnode there; or repeat with --force",
        )
    plan = _plan(view, _without(view, name), Difference(Change.REMOVED, f"node {name}"))
    return replace(plan, removed_node=name)


def _known(view: FleetView) -> set[NodeName]:
    return {*view.nodes, *view.live_nodes}


def _without(view: FleetView, name: NodeName) -> tuple[NodeName, ...]:
    return tuple(node for node in view.intents.drained_nodes if node != name)


def _plan(view: FleetView, drained: tuple[NodeName, ...], difference: Difference) -> Plan:
    intents = replace(view.intents, drained_nodes=drained)
    return Plan(
        view.desired_version,
        view.intents_version,
        intents=None if intents == view.intents else intents,
        differences=(difference,),
    )
