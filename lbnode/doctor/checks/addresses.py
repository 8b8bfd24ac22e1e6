"""Addresses in the settings that the machine does not have: copied from another machine's, or gone since."""

from __future__ import annotations

from lbnode.doctor.facts import AddressFacts
from lbnode.doctor.findings import Examination, Finding, Grade

COSTS = {
    ("lbbackend", "address"): (Grade.FAILURE, "nothing that nodes send to it arrives here"),
    ("lbnode", "address"): (
        Grade.WARNING,
        "tunnels leave from it all the same, but what routers on the way say of them, and answers to probes, do not "
        "come here",
    ),
    ("lbnode", "bgp.local_address"): (
        Grade.FAILURE,
        "no session can be opened from it: routers send this node no traffic",
    ),
}
"""Daemon and setting → how bad it is that the address is not here, and why."""


def check_addresses(facts: AddressFacts) -> Examination:
    """Whether this machine has the addresses that its settings name."""
    findings = tuple(
        Finding(
            *(grade, f"{setting} {address}", "is on no interface of this machine", why),
            f"`ip addr` lists what there is; correct {setting} in {facts.service}.yaml",
        )
        for setting, address in facts.wanted
        if address not in facts.own
        for grade, why in (COSTS[facts.service, setting],)
    )
    good = ", ".join(sorted({str(address) for _, address in facts.wanted}))
    return Examination("addresses", f"this machine has {good}", findings)
