"""The drill's protocol: requests that say who asks, answers that say who answers. Pure: bytes in, bytes out.

    request   length:u32  flow:u32  number:u32  payload
    answer    length:u32  flow:u32  number:u32  name length:u8  name  payload

`length` counts what follows it; all numbers are big-endian. An answer repeats the request's payload byte by
byte, so a flow that reached another server, or bytes of another flow, cannot go unseen.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lbnode.lab.errors import LabError

HEADER = struct.Struct("!III")
LENGTH = struct.Struct("!I")
MAX_FRAME = 1 << 20


class EchoError(LabError):
    """Bytes that are no frame of the protocol."""


@dataclass(frozen=True, slots=True)
class Request:
    """The `number`th question of a flow."""

    flow: int
    number: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What `server` answers to the `number`th question of a flow."""

    flow: int
    number: int
    server: str
    payload: bytes


def pack_request(request: Request) -> bytes:
    """Return the request as a frame."""
    return _frame(request.flow, request.number, request.payload)


def pack_answer(answer: Answer) -> bytes:
    """Return the answer as a frame."""
    name = answer.server.encode()
    return _frame(answer.flow, answer.number, bytes([len(name)]) + name + answer.payload)


def unpack_request(body: bytes) -> Request:
    """Return the request in a frame's body (what follows the length)."""
    return Request(*_numbers(body), body[8:])


def unpack_answer(body: bytes) -> Answer:
    """Return the answer in a frame's body. Raises EchoError when the name does not fit."""
    flow, number = _numbers(body)
    end = 9 + (body[8] if len(body) > 8 else 0)
    if len(body) < end or len(body) < 9:
        raise EchoError(f"frame of flow {flow}: no room for the server's name")
    return Answer(flow, number, body[9:end].decode(errors="replace"), body[end:])


class Frames:
    """Cuts a stream of bytes into the bodies of frames."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream; return the bodies completed by them.

        Raises EchoError for a length that no frame has.
        """
        self._buffer += data
        bodies = []
        while len(self._buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer)
            if not 8 <= length <= MAX_FRAME:
                raise EchoError(f"frame of {length} bytes: must be 8 to {MAX_FRAME}")
            end = LENGTH.size + length
            if len(self._buffer) < end:
                break
            bodies.append(bytes(self._buffer[LENGTH.size : end]))
            del self._buffer[:end]
        return bodies


def _frame(flow: int, number: int, rest: bytes) -> bytes:
    return HEADER.pack(8 + len(rest), flow, number) + rest


def _numbers(body: bytes) -> tuple[int, int]:
    flow, number = struct.unpack_from("!II", body)
    return flow, number
