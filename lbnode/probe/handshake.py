"""The first packet of a TCP handshake and the answer to it (RFC 9293), as bytes from the IP header on."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address

from lbnode.model.ids import IPAddress
from lbnode.probe.echo import checksum

SYN, RST, ACK = 0x02, 0x04, 0x10
IPV4_HEADER, IPV6_HEADER, TCP_HEADER = 20, 40, 20
TTL = 64
WINDOW = 64240
TCP = struct.Struct("!HHIIBBHHH")


@dataclass(frozen=True, slots=True)
class Opening:
    """A connection that is asked for: from whom, to what, and the sequence number of the SYN."""

    source: IPAddress
    source_port: int
    destination: IPAddress
    destination_port: int
    sequence: int

    def syn(self) -> bytes:
        """Return the packet that asks for the connection."""
        return self._packet(self.sequence, SYN)

    def reset(self) -> bytes:
        """Return the packet that takes the question back."""
        return self._packet(self.sequence + 1 & 0xFFFFFFFF, RST)

    def _packet(self, sequence: int, flags: int) -> bytes:
        bare = self._segment(sequence, flags, 0)
        segment = self._segment(
            sequence, flags, checksum(_pseudo(self.source, self.destination, bare) + bare)
        )
        return _header(self.source, self.destination, len(segment)) + segment

    def _segment(self, sequence: int, flags: int, check: int) -> bytes:
        ports = (self.source_port, self.destination_port)
        return TCP.pack(*ports, sequence, 0, TCP_HEADER // 4 << 4, flags, WINDOW, check, 0)


@dataclass(frozen=True, slots=True)
class Answer:
    """A TCP packet that came. `opening_of`: whose it can be the answer to: (source, port) of it, then of its receiver.

    `is_finished`: its checksum is right, and not left to hardware.
    """

    source: IPAddress
    source_port: int
    destination: IPAddress
    destination_port: int
    acknowledged: int
    flags: int
    is_finished: bool

    def answers(self, opening: Opening) -> bool:
        """Whether this is what `opening` waits for: acceptance or refusal."""
        there = (self.source, self.source_port) == (opening.destination, opening.destination_port)
        here = (self.destination, self.destination_port) == (opening.source, opening.source_port)
        return there and here and self.acknowledged == (opening.sequence + 1 & 0xFFFFFFFF)

    @property
    def accepts(self) -> bool:
        """True for SYN-ACK, False for a reset."""
        return self.flags & (SYN | RST) == SYN


def read_answer(packet: bytes) -> Answer | None:
    """Return the TCP packet in `packet`, from the IP header on; None if it is none, or not whole."""
    version = packet[0] >> 4 if packet else 0
    at = (packet[0] & 15) * 4 if version == 4 else IPV6_HEADER
    if len(packet) < at + TCP_HEADER or version not in (4, 6):
        return None
    if packet[9 if version == 4 else 6] != socket.IPPROTO_TCP:
        return None
    addresses = packet[12:20] if version == 4 else packet[8:40]
    half = len(addresses) // 2
    source, destination = ip_address(addresses[:half]), ip_address(addresses[half:])
    end = int.from_bytes(packet[2:4]) if version == 4 else at + int.from_bytes(packet[4:6])
    segment = packet[at:end]
    ports, acknowledged, flags = TCP.unpack_from(segment)[:2], *TCP.unpack_from(segment)[3:6:2]
    is_finished = checksum(_pseudo(source, destination, segment) + segment) == 0
    return Answer(source, ports[0], destination, ports[1], acknowledged, flags, is_finished)


def _pseudo(source: IPAddress, destination: IPAddress, segment: bytes) -> bytes:
    """What the checksum covers besides the segment (RFC 9293, RFC 8200)."""
    tail = struct.pack("!HH" if source.version == 4 else "!II", socket.IPPROTO_TCP, len(segment))
    return source.packed + destination.packed + tail


def _header(source: IPAddress, destination: IPAddress, length: int) -> bytes:
    if source.version == 6:
        fixed = struct.pack("!IHBB", 6 << 28, length, socket.IPPROTO_TCP, TTL)
        return fixed + source.packed + destination.packed
    fields = (0x45, 0, IPV4_HEADER + length, 0, 0x4000, TTL, socket.IPPROTO_TCP)
    bare = struct.pack("!BBHHHBBH", *fields, 0) + source.packed + destination.packed
    return struct.pack("!BBHHHBBH", *fields, checksum(bare)) + source.packed + destination.packed
