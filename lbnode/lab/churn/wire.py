"""What clients ask of the drill's servers, and the bytes that come back. Pure: values in, bytes out.

Requests and answers are the frames of `lbnode.lab.echo`; the first byte of a request's payload is its verb:

    ECHO   bytes                                     →  the same bytes
    TAKE   bytes (an upload, as many as you like)    →  their BLAKE2b digest
    SEND   count:u32 size:u32 interval_ms:u32        →  `count` answers of `size` bytes, one an interval

The answers to SEND are numbered upwards from the request's number. Their bytes are a function of flow and
number, so the client knows each of them before it comes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b, shake_128

from lbnode.lab.echo import EchoError

SENDING = struct.Struct("!III")
DIGEST_BYTES = 16
MAX_ANSWER = 1 << 15
_BLOCK = shake_128(b"evenkeel drill").digest(1 << 16)


class Verb(IntEnum):
    """What a request asks for."""

    ECHO = 1
    TAKE = 2
    SEND = 3


@dataclass(frozen=True, slots=True)
class Sending:
    """A download: `count` answers of `size` bytes each, `interval_s` apart."""

    count: int
    size: int
    interval_s: float

    def pack(self) -> bytes:
        """Return the arguments of SEND."""
        return SENDING.pack(self.count, self.size, round(self.interval_s * 1000))

    @classmethod
    def unpack(cls, data: bytes) -> Sending:
        """Return the download that the arguments of SEND describe. Raises EchoError."""
        if len(data) != SENDING.size:
            raise EchoError(f"SEND: {len(data)} bytes of arguments, not {SENDING.size}")
        count, size, interval_ms = SENDING.unpack(data)
        if size > MAX_ANSWER:
            raise EchoError(f"SEND: answers of {size} bytes: at most {MAX_ANSWER}")
        return cls(count, size, interval_ms / 1000)


def ask(verb: Verb, data: bytes) -> bytes:
    """Return a request's payload."""
    return bytes([verb]) + data


def read_verb(payload: bytes) -> tuple[Verb, bytes]:
    """Return what a request asks for, and its data. Raises EchoError."""
    try:
        return Verb(payload[0]), payload[1:]
    except (IndexError, ValueError):
        raise EchoError(f"request: no verb in {payload[:1]!r}") from None


def content(flow: int, number: int, size: int) -> bytes:
    """Return the `size` (at most MAX_ANSWER) bytes of a download that answer `number` of `flow` consists of."""
    start = (flow * 7919 + number * 104729) % (len(_BLOCK) - MAX_ANSWER)
    return _BLOCK[start : start + size]


def digest(data: bytes) -> bytes:
    """Return what TAKE answers."""
    return blake2b(data, digest_size=DIGEST_BYTES).digest()
