"""What carries the traffic itself: the daemon, its tables, its routers, and a packet sent all the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lbnode.doctor.facts import DaemonFacts, Outcome, ProbeFacts, RouterFacts, TableFacts
from lbnode.doctor.findings import Examination, Finding, Grade

UP = "up"


def check_daemon(facts: DaemonFacts) -> Examination:
    """Whether the daemon runs and is content."""
    return Examination(
        "daemon", f"{facts.service} runs as process {facts.pid}, connected", tuple(_daemon(facts))
    )


def _daemon(facts: DaemonFacts) -> Iterator[Finding]:
    if facts.pid is None:
        why = "what is in the kernel goes on, but follows no change and no failure"
        what = f"does not run, and cannot: {facts.cannot_start}" if facts.cannot_start else "does not run"
        mend = f"systemctl start {facts.service}"
        yield Finding(Grade.FAILURE, facts.service, what, why, mend)
    elif facts.words.silent:
        why = "it hangs, or is overloaded: this machine follows no change and no failure"
        mend = (
            f"kill -USR1 {facts.pid} (journalctl -u {facts.service} shows where it stands); "
            f"systemctl restart {facts.service} loses no packet"
        )
        yield Finding(Grade.FAILURE, facts.service, facts.words.silent, why, mend)
    elif not facts.words.connected:
        why = "the fleet takes it for gone, and this machine follows no change"
        mend = f"journalctl -u {facts.service}; see `store`"
        yield Finding(Grade.FAILURE, facts.service, "is not connected to the fleet", why, mend)
    for alarm in facts.words.alarms:
        mend = f"journalctl -u {facts.service}"
        yield Finding(
            Grade.FAILURE, facts.service, f"says: {alarm}", "its own alarms cost traffic or safety", mend
        )


def check_tables(facts: Sequence[TableFacts]) -> Examination:
    """Whether the kernel goes by the fleet's tables, byte by byte."""
    good = ", ".join(f"{each.pool} {each.fleet[0]} ({each.fleet[1][:8]})" for each in facts) or "no pools yet"
    return Examination("tables", good, tuple(finding for each in facts for finding in _table(each)))


def _table(facts: TableFacts) -> Iterator[Finding]:
    if facts.kernel == facts.fleet:
        return
    epoch, digest = facts.fleet
    if facts.kernel is None:
        what = f"is not in the kernel; the fleet goes by epoch {epoch}"
    elif facts.kernel[0] != epoch:
        what = f"is at epoch {facts.kernel[0]}; the fleet goes by {epoch}"
    else:
        what = f"differs: digest {facts.kernel[1][:8]}, the fleet's is {digest[:8]}"
    yield Finding(
        Grade.FAILURE,
        f"table of pool {facts.pool}",
        what,
        "a flow goes to one backend or another, depending on which node the router chooses",
        f"journalctl -u {facts.service}; lbctl status names those that run another release",
    )


def check_routers(facts: Sequence[RouterFacts]) -> Examination:
    """Whether every BGP session is up, and if not, how far it gets."""
    good = ", ".join(f"{each.address} up" for each in facts) or "this node announces nothing by BGP"
    return Examination("routers", good, tuple(finding for each in facts for finding in _router(each)))


def _router(facts: RouterFacts) -> Iterator[Finding]:
    if facts.session == UP:
        return
    what, mend = _how_far(facts)
    subject = f"router {facts.address}"
    what = f"the session is {facts.session or 'unknown: the daemon says nothing'}; {what}"
    yield Finding(Grade.FAILURE, subject, what, "it sends this node no traffic", mend)


def _how_far(facts: RouterFacts) -> tuple[str, str]:
    neighbor = f"neighbor {facts.local_address} as {facts.local_as}"
    if not facts.contact:
        remedy = f"it must know `{neighbor}`, and be AS {facts.peer_as} itself; passwords and TTL security must agree"
        return "its port 179 takes connections, so the two do not agree on BGP", remedy
    if facts.has_password:
        what = f"port 179: {facts.contact}, which is what a wrong TCP MD5 password looks like too"
        return what, f"compare md5_password_file with the router's; it must know `{neighbor}`"
    return f"port 179: {facts.contact}", f"configure `{neighbor}` there, and let TCP port 179 through"


def check_probes(facts: Sequence[ProbeFacts]) -> Examination:
    """Whether a new connection through each VIP gets to each backend, and is answered."""
    good = (
        f"{len(facts)} ways through VIPs to backends, each answered"
        if facts
        else "no TCP VIP with a backend yet"
    )
    return Examination("probes", good, tuple(finding for each in facts for finding in _probe(each)))


_LOST = "connections that this backend gets do not come about"


def _probe(facts: ProbeFacts) -> Iterator[Finding]:
    subject = f"VIP {facts.vip} to backend {facts.backend}"
    there = f"on {facts.backend}: sudo lbctl doctor"
    match facts.outcome:
        case Outcome.SILENT:
            what = "a SYN through the tunnel is not answered"
            mend = f"{there} (does lbbackend run? does a firewall let GRE, IP protocol 47, through?)"
            yield Finding(Grade.FAILURE, subject, what, _LOST, mend)
        case Outcome.REFUSED:
            what, mend = "refused: nothing listens there", f"on {facts.backend}: start the service on the VIP"
            yield Finding(Grade.FAILURE, subject, what, _LOST, mend)
        case Outcome.NOT_SENT:
            what = "this node's program does not forward a SYN for it"
            yield Finding(Grade.FAILURE, subject, what, _LOST, "lbctl status; see `tables` and `paths` here")
        case Outcome.NO_BUCKET:
            what = "no flow that was tried goes to it"
            yield Finding(Grade.UNCHECKED, subject, what, "its share of the pool is very small", "")
        case Outcome.NO_ADDRESS:
            what = "this node has no address of that family to be answered at"
            mend = "give the interface one, or try from a client"
            yield Finding(
                Grade.UNCHECKED, subject, what, "the way of such packets is not known to work", mend
            )
    if not facts.is_finished:
        yield Finding(
            Grade.WARNING,
            subject,
            "the answer came with a checksum that was left to hardware (tx offload)",
            "if clients' packets come so too, their uploads fail: XDP forwards the unfinished checksum",
            "ethtool -K PORT tx off, on the ports of this host that lead to nodes",
        )
