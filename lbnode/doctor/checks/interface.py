"""The interface that carries the traffic: how XDP hangs on it, and what drivers do to packets by themselves."""

from __future__ import annotations

from collections.abc import Iterator

from lbnode.doctor.facts import InterfaceFacts
from lbnode.doctor.findings import Examination, Finding, Grade

SINGLE_BUFFER_MTU = 3498
"""The largest MTU at which every driver with XDP takes a program that wants each frame in one page."""
SLOW = "generic XDP costs several times as much for each packet"


def check_interface(facts: InterfaceFacts) -> Examination:
    """Whether the interface is there and up, and how the program hangs on it."""
    if not facts.present:
        finding = Finding(
            Grade.FAILURE,
            facts.name,
            "no such interface in this network namespace",
            f"{facts.service} cannot start",
            f"`ip link` lists what there is; set `interface` in {facts.service}.yaml",
        )
        return Examination("interface", "", (finding,))
    mode = f"{facts.mode} XDP" if facts.mode else "no program on it yet"
    good = f"{facts.name} ({facts.driver or 'no driver name'}, MTU {facts.mtu}): {mode}"
    return Examination("interface", good, (*_state(facts), *_mode(facts), *_veth(facts), *_offloads(facts)))


def _state(facts: InterfaceFacts) -> Iterator[Finding]:
    if not facts.up:
        mend = f"ip link set {facts.name} up"
        yield Finding(Grade.FAILURE, facts.name, "is down", "no packet comes in or goes out", mend)
    elif not facts.running:
        mend = "look at its cable and at the port it leads to, which may be down"
        yield Finding(Grade.FAILURE, facts.name, "has no carrier", "no packet comes in or goes out", mend)


def _mode(facts: InterfaceFacts) -> Iterator[Finding]:
    """Generic although it could be native, or as it must be."""
    if facts.mode != "generic" or facts.wanted == "generic":
        return
    what, mend = _why_generic(facts)
    yield Finding(Grade.WARNING, facts.name, f"XDP is generic, not native: {what}", SLOW, mend)


def _why_generic(facts: InterfaceFacts) -> tuple[str, str]:
    """The likeliest reason, and what removes it."""
    again = f"systemctl stop {facts.service} && {facts.service} unload && systemctl start {facts.service}"
    if facts.lro:
        return "the driver merges packets (LRO)", f"ethtool -K {facts.name} lro off && {again}"
    if facts.native_possible is False:
        return f"the driver ({facts.driver}) has no native XDP", "use a network card whose driver has it"
    if facts.mtu > SINGLE_BUFFER_MTU:
        what = f"MTU {facts.mtu} does not fit into one page"
        return what, f"ip link set {facts.name} mtu {SINGLE_BUFFER_MTU} && {again}"
    if facts.is_veth and facts.peer is not None and facts.peer.mtu > SINGLE_BUFFER_MTU:
        words = f"ip link set {facts.peer.name} mtu {SINGLE_BUFFER_MTU}"
        return (
            f"its peer's MTU {facts.peer.mtu} does not fit into one page",
            f"{facts.peer.command(words)} && {again}",
        )
    return facts.reason or "the driver refused it", f"{again} tries native again"


def _veth(facts: InterfaceFacts) -> Iterator[Finding]:
    """A veth's other end takes what XDP sends back only with a program of its own."""
    if not facts.is_veth or facts.mode != "native":
        return
    subject = f"the other end of {facts.name}"
    why = "the kernel drops every frame that XDP sends back through a veth whose other end has no XDP program"
    peer = facts.peer
    if peer is not None and not peer.has_xdp:
        words = f"ip link set {peer.name} xdpdrv obj pass.bpf.o sec xdp"
        mend = f"{peer.command(words)} (pass.bpf.o: lbnode/bpf/build), or xdp_mode: generic"
        yield Finding(Grade.FAILURE, subject, f"{peer.name} has no XDP program", why, mend)
    elif peer is None and facts.lost_on_the_way_back:
        what = f"{facts.lost_on_the_way_back} frames were not taken (xdp_tx_errors)"
        yield Finding(Grade.FAILURE, subject, what, why, "put one there, or use xdp_mode: generic")
    elif peer is None:
        what = "is in a network namespace that cannot be seen from here"
        mend = "look there: `ip link` must show an XDP program on it; else use xdp_mode: generic"
        yield Finding(Grade.UNCHECKED, subject, what, why, mend)


def _offloads(facts: InterfaceFacts) -> Iterator[Finding]:
    """A sender on the same machine leaves TCP checksums to be finished by a card that never comes."""
    if facts.lro:
        what, why = "merges received packets (LRO)", "merged packets are too long for a tunnel and are lost"
        yield Finding(Grade.FAILURE, facts.name, what, why, f"ethtool -K {facts.name} lro off")
    peer = facts.peer
    if facts.faces_clients and facts.mode and peer is not None and peer.tx_checksum:
        yield Finding(
            Grade.FAILURE,
            f"the other end of {facts.name}",
            f"{peer.name} leaves checksums to hardware that a veth does not have (tx offload)",
            "XDP forwards such packets with the unfinished checksum: backends drop them, and nothing connects",
            peer.command(f"ethtool -K {peer.name} tx off"),
        )
