"""A SYN through each VIP to each backend, by the node's real program and tables, and the answer to it.

For each backend a flow is looked for whose bucket it owns: the program in the kernel is asked, with its own tables. The
frame that it makes is then sent, to this node's own address as the client, and the backend answers it directly.
What the answer opened is taken back.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from lbnode.dataplane.rehearsal import Forwarded, Rehearsal
from lbnode.doctor.facts import Outcome, ProbeFacts
from lbnode.model.ids import IPAddress
from lbnode.netdev import Netlink
from lbnode.netdev.next_hops import route_to
from lbnode.probe.handshake import Answer, Opening, read_answer

ETHERTYPE_ALL = 3
TRIES = 4000
"""Flows that are tried for one VIP until every backend has one."""
PATIENCE_S = 0.5
ROUNDS = 2
RECEIVE_BYTES = 1 << 16
PORTS = range(32768, 61000)


@dataclass(frozen=True, slots=True)
class Door:
    """A TCP VIP, and the backends that its new flows go to: address of a tunnel's end → name."""

    address: IPAddress
    port: int
    pool: str
    backends: dict[IPAddress, str]

    def __str__(self) -> str:
        address = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{address}:{self.port}"


@dataclass(slots=True)
class _Try:
    """One flow under way."""

    door: Door
    backend: str
    opening: Opening
    forwarded: Forwarded
    answer: Answer | None = None


@dataclass(slots=True)
class _Sent:
    """All flows under way, and what was found out without sending anything."""

    tries: list[_Try] = field(default_factory=list)
    facts: list[ProbeFacts] = field(default_factory=list)


async def probes(
    netlink: Netlink, rehearsal: Rehearsal, doors: Iterable[Door], sources: Sequence[IPAddress]
) -> Sequence[ProbeFacts]:
    """Try every VIP's way to every backend; `sources` are this node's own addresses. Raises PermissionError."""
    sent = _Sent()
    for door in doors:
        _find_flows(rehearsal, door, sources, sent)
    with _packet_socket() as wire:
        for _ in range(ROUNDS):
            await _send(netlink, wire, [each for each in sent.tries if each.answer is None])
            await _hear(wire, sent.tries)
        await _take_back(netlink, wire, rehearsal, sent.tries)
    return [*sent.facts, *(_fact(each) for each in sent.tries)]


def _find_flows(rehearsal: Rehearsal, door: Door, sources: Sequence[IPAddress], sent: _Sent) -> None:
    """Find a flow for each of the door's backends, by asking the program."""
    own = [source for source in sources if source.version == door.address.version]
    missing, outcome = set(door.backends.values()), Outcome.NO_BUCKET
    if own:
        for opening in _openings(own[0], door):
            forwarded = rehearsal.send(opening.syn())
            if forwarded is None:
                outcome = Outcome.NOT_SENT
                break
            backend = door.backends.get(forwarded.to)
            if backend in missing:
                missing.remove(backend)
                sent.tries.append(_Try(door, backend, opening, forwarded))
            if not missing:
                break
    else:
        outcome = Outcome.NO_ADDRESS
    sent.facts += [ProbeFacts(str(door), door.pool, name, outcome) for name in sorted(missing)]


def _openings(source: IPAddress, door: Door) -> Iterator[Opening]:
    for port in random.sample(PORTS, TRIES):
        yield Opening(source, port, door.address, door.port, random.getrandbits(32))


@contextlib.contextmanager
def _packet_socket() -> Iterator[socket.socket]:
    """A socket for whole frames out, and for whole frames of every interface in."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_PACKET, kind, socket.htons(ETHERTYPE_ALL)) as opened:
        yield opened


async def _send(netlink: Netlink, wire: socket.socket, tries: Iterable[_Try]) -> None:
    for each in tries:
        await _put(netlink, wire, each.forwarded)


async def _put(netlink: Netlink, wire: socket.socket, forwarded: Forwarded) -> None:
    """Send a frame by the interface that leads to the backend."""
    hop = await route_to(netlink, forwarded.to)
    if hop is not None:
        with contextlib.suppress(OSError):  # the interface is down: nothing will be answered
            wire.sendto(forwarded.frame, (socket.if_indextoname(hop.ifindex), 0))


async def _hear(wire: socket.socket, tries: Sequence[_Try]) -> None:
    """Read what comes until everything is answered, or nobody answers any more."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while any(each.answer is None for each in tries):
                _match(await loop.sock_recv(wire, RECEIVE_BYTES), tries)


def _match(frame: bytes, tries: Iterable[_Try]) -> None:
    answer = read_answer(frame[14:])
    if answer is None:
        return
    for each in tries:
        if each.answer is None and answer.answers(each.opening):
            each.answer = answer


async def _take_back(
    netlink: Netlink, wire: socket.socket, rehearsal: Rehearsal, tries: Iterable[_Try]
) -> None:
    """Reset what was accepted, so that no server keeps a half-open connection for it."""
    for each in tries:
        if each.answer is not None and each.answer.accepts:
            forwarded = rehearsal.send(each.opening.reset())
            if forwarded is not None:
                await _put(netlink, wire, forwarded)


def _fact(each: _Try) -> ProbeFacts:
    answer = each.answer
    if answer is None:
        return ProbeFacts(str(each.door), each.door.pool, each.backend, Outcome.SILENT)
    outcome = Outcome.ACCEPTED if answer.accepts else Outcome.REFUSED
    return ProbeFacts(str(each.door), each.door.pool, each.backend, outcome, answer.is_finished)
