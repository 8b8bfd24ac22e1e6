"""What a backend's machine needs beside the programs."""

from __future__ import annotations

from collections.abc import Iterator

from lbnode.doctor.facts import ServiceFacts, ServingFacts, SysctlFacts
from lbnode.doctor.findings import Examination, Finding, Grade

LOOSE = "2"
"""As rp_filter: drops only what comes from nowhere, which clients with a default route do not."""

REASONS = {
    "rp_filter": "the kernel drops what comes out of the tunnel: its sender lives behind another interface",
    "arp_ignore": "this machine answers ARP for the VIPs on lo: the router sends to it past the nodes",
    "arp_announce": "this machine asks neighbours in the VIP's name: they send to it past the nodes",
}


def check_sysctls(facts: SysctlFacts) -> Examination:
    """Whether the kernel lets through what the tunnel brings, and keeps quiet about the VIPs."""
    findings = tuple(
        Finding(
            Grade.WARNING if value == LOOSE else Grade.FAILURE,
            name.replace("/", "."),
            f"is {value}, and must be {wanted}",
            REASONS.get(name.rpartition("/")[2], "the agent needs it so"),
            f"sysctl -w {name}={wanted}",
        )
        for name, (value, wanted) in sorted(facts.settings.items())
        if value != wanted
    )
    return Examination("sysctls", f"those of {facts.interface} are as the agent wants them", findings)


def check_serving(facts: ServingFacts) -> Examination:
    """Whether what comes out of the tunnel finds its address and somebody who listens."""
    good = ", ".join(each.vip for each in facts.services) or "no VIP yet"
    found = (*_tunnel(facts), *(finding for each in facts.services for finding in _service(each)))
    return Examination("services", f"serves {good}", found)


def _tunnel(facts: ServingFacts) -> Iterator[Finding]:
    again = "systemctl restart lbbackend"
    if facts.xdp == "detached":
        what, why = "nothing takes packets out of the tunnels", "whatever nodes send here is lost"
        yield Finding(Grade.FAILURE, facts.interface, what, why, again)
    elif not facts.clamp:
        what = "the MSS clamp is not on its way out"
        why = "clients send segments that do not fit into a tunnel: uploads are slow or hang"
        yield Finding(Grade.FAILURE, facts.interface, what, why, again)


def _service(facts: ServiceFacts) -> Iterator[Finding]:
    subject = f"VIP {facts.vip} (pool {facts.pool})"
    if not facts.on_lo:
        what, why = (
            "its address is not on lo",
            "the kernel drops packets for an address that it does not have",
        )
        yield Finding(Grade.FAILURE, subject, what, why, "systemctl restart lbbackend")
    if facts.listening is False:
        why = "new connections are refused here, and flows of others are not passed on (second chance)"
        mend = "start the service; it must listen on the VIP or on all addresses, in this network namespace"
        yield Finding(Grade.FAILURE, subject, "nobody listens", why, mend)
