"""The way to each backend: a route, a neighbour, and room for what a client sends inside a tunnel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lbnode.doctor.facts import PathFacts
from lbnode.doctor.findings import Examination, Finding, Grade

FULL = 1500
"""Bytes of the packets that clients send over ordinary links."""
NAMED = 4
"""So many backends are named where all of them have the same finding."""


def check_paths(facts: Sequence[PathFacts]) -> Examination:
    """Whether packets get to every backend, and how large they may be."""
    findings = (finding for each in facts for finding in _findings(each))
    return Examination("paths", _summary(facts), (*findings, *_narrow(facts)))


def _summary(facts: Sequence[PathFacts]) -> str:
    if not facts:
        return "no other backend to reach"
    least = min((each.measured_mtu or 0 for each in facts), default=0)
    return f"all {len(facts)} addresses of backends answer, with packets of at least {least} bytes"


def _findings(facts: PathFacts) -> Iterator[Finding]:
    subject = f"backend {facts.backend} ({facts.address})"
    if not facts.interface:
        why = "packets for it are dropped (no next hop)"
        mend = f"ip route add {facts.address} via GATEWAY, or correct its address in fleet.yaml"
        yield Finding(Grade.FAILURE, subject, "there is no route to it", why, mend)
    elif not facts.has_neighbour:
        what = f"{facts.neighbour} on {facts.interface} does not tell its Ethernet address"
        mend = f"ip neigh show dev {facts.interface}; is that machine up, and on this segment?"
        yield Finding(Grade.FAILURE, subject, what, "packets for it are dropped (no next hop)", mend)
    elif facts.measured_mtu is None:
        what = "does not answer echo requests: what its path carries cannot be measured"
        mend = f"ping {facts.address}; let ICMP through"
        yield Finding(Grade.UNCHECKED, subject, what, "a path that is too narrow loses large packets", mend)
    elif facts.measured_mtu < facts.expected_mtu:
        measured, expected = facts.measured_mtu, facts.expected_mtu
        yield Finding(
            Grade.FAILURE,
            subject,
            f"packets of more than {measured} bytes do not arrive, although {facts.interface} takes {expected}",
            "downloads work, but large requests and uploads hang: nobody is told that they are too long",
            f"raise the MTU on the way to {expected}, or: "
            f"ip route replace {_route(facts)} mtu {measured} (and path_mtu: {measured} in lbbackend.yaml)",
        )


def _narrow(facts: Sequence[PathFacts]) -> Iterator[Finding]:
    """One finding for all whose paths are known to carry as little: most fleets have links of one size."""
    sizes = sorted({(each.measured_mtu or 0, each.overhead) for each in facts if _is_narrow(each)})
    for size, overhead in sizes:
        those = [each for each in facts if (each.measured_mtu, each.overhead) == (size, overhead)]
        yield Finding(
            Grade.WARNING,
            _backends([f"{each.backend} ({each.address})" for each in those if _is_narrow(each)]),
            f"the path carries {size} bytes: {size - overhead} inside the tunnel, and clients send up to {FULL}",
            "agents make clients send less (MSS clamp); who does not keep to it is told to by ICMP, which costs a "
            "round trip",
            f"set an MTU of {FULL + overhead} or more (1600, say) on every link between nodes and backends",
        )


def _is_narrow(facts: PathFacts) -> bool:
    """Whether a full packet has no room, and everybody on the way knows."""
    measured = facts.measured_mtu
    return (
        facts.has_neighbour
        and measured is not None
        and facts.expected_mtu <= measured < FULL + facts.overhead
    )


def _backends(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"backend{'s' if len(names) > 1 else ''} {', '.join(names[:NAMED])}{more}"


def _route(facts: PathFacts) -> str:
    via = f" via {facts.neighbour}" if facts.neighbour != facts.address else ""
    return f"{facts.address}{via} dev {facts.interface}"
