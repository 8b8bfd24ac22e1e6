"""The fleet's memory and the time: what daemons agree by."""

from __future__ import annotations

from collections.abc import Iterator

from lbnode.doctor.facts import ClockFacts, HostFacts, StoreFacts
from lbnode.doctor.findings import Examination, Finding, Grade

TOLERABLE_S = 1.0
"""Clocks differ by less in any network with NTP; certificates and the 24 h rule of ids forgive more."""


def check_store(facts: StoreFacts) -> Examination:
    """Whether the store answers, and with all of its servers."""
    good = f"{facts.address}: {facts.records} records in step"
    if facts.hosts:
        good += "; " + ", ".join(f"{each.host} {each.mode or 'answers'}" for each in facts.hosts)
    return Examination("store", good, (*_session(facts), *_hosts(facts)))


def _session(facts: StoreFacts) -> Iterator[Finding]:
    if facts.trouble:
        yield Finding(
            Grade.FAILURE,
            facts.address,
            facts.trouble,
            "forwarding goes on by the last epochs, but no change and no failure reaches this machine",
            "start ZooKeeper (systemctl start zookeeper), correct `store` in the settings, or open its port",
        )


def _hosts(facts: StoreFacts) -> Iterator[Finding]:
    """A server that is down costs the ensemble its spare, even while the others serve."""
    lost = [host for host in facts.hosts if host.trouble]
    grade = Grade.FAILURE if facts.trouble else Grade.WARNING
    for host in lost:
        yield Finding(grade, f"ZooKeeper server {host.host}", host.trouble, _why(facts, lost), _mend(host))


def _why(facts: StoreFacts, lost: list[HostFacts]) -> str:
    left = len(facts.hosts) - len(lost)
    return f"{left} of {len(facts.hosts)} servers answer here; the ensemble needs more than half of them"


def _mend(host: HostFacts) -> str:
    return f"on {host.host.rpartition(':')[0]}: systemctl restart zookeeper; is its port open?"


def check_clock(facts: ClockFacts) -> Examination:
    """Whether this machine's clock is that of the fleet."""
    if facts.ahead_s is None:
        good = "kept by the kernel's time service"
    else:
        good = f"{abs(facts.ahead_s) * 1000:.0f} ms from that of {facts.reference}"
    return Examination("clock", good, tuple(_clock(facts)))


def _clock(facts: ClockFacts) -> Iterator[Finding]:
    why = "certificates count as not yet valid or expired, and times in logs and status cannot be compared"
    mend = "timedatectl set-ntp true, or: systemctl enable --now chrony"
    if facts.ahead_s is not None and abs(facts.ahead_s) - facts.doubt_s > TOLERABLE_S:
        word = "ahead of" if facts.ahead_s > 0 else "behind"
        what = f"is {abs(facts.ahead_s):.1f} s {word} that of {facts.reference}"
        yield Finding(Grade.FAILURE, "this machine's clock", what, why, mend)
    elif not facts.is_synchronised and facts.ahead_s is None:
        what = "is kept by no time service, and there is nothing to compare it with"
        yield Finding(Grade.WARNING, "this machine's clock", what, why, mend)
