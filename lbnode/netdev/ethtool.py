"""What a driver says of its device, by the ethtool ioctl (linux/ethtool.h): its name, offloads, counters.

Blocking, but only for the kernel's own answer. The device is looked up in the namespace of the calling thread.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
from dataclasses import dataclass

from lbnode.netdev.errors import NetdevError

SIOCETHTOOL = 0x8946
GET_DRIVER, GET_TX_CHECKSUM, GET_FLAGS, GET_GRO = 0x03, 0x16, 0x25, 0x2B
GET_STRINGS, GET_STATS, GET_STRING_SETS = 0x1B, 0x1D, 0x37
FLAG_LRO = 1 << 15
STATS_SET = 1
NAME_BYTES = 32
UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL)


@dataclass(frozen=True, slots=True)
class Offloads:
    """What a device does to packets by itself. `tx_checksum`: senders leave checksums to be finished later."""

    driver: str
    tx_checksum: bool
    gro: bool
    lro: bool


def offloads(name: str) -> Offloads:
    """Return what the device `name` does by itself; raises NetdevError."""
    with _control() as control:
        return Offloads(
            driver=_driver(control, name),
            tx_checksum=bool(_value(control, name, GET_TX_CHECKSUM)),
            gro=bool(_value(control, name, GET_GRO)),
            lro=bool(_value(control, name, GET_FLAGS) & FLAG_LRO),
        )


def statistics(name: str) -> dict[str, int]:
    """Return the driver's own counters by name, none for a driver that has none; raises NetdevError."""
    with _control() as control:
        count = _count_of_statistics(control, name)
        strings = _ask(control, name, struct.pack("=III", GET_STRINGS, STATS_SET, count), count * NAME_BYTES)
        values = _ask(control, name, struct.pack("=II", GET_STATS, count), count * 8)
    names = [strings[12 + at * NAME_BYTES :][:NAME_BYTES].split(b"\0")[0].decode() for at in range(count)]
    return dict(zip(names, struct.unpack_from(f"={count}Q", values, 8), strict=True))


def _control() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def _driver(control: socket.socket, name: str) -> str:
    answer = _ask(control, name, struct.pack("=I", GET_DRIVER), 192)
    return answer[4:36].split(b"\0")[0].decode()


def _count_of_statistics(control: socket.socket, name: str) -> int:
    """The number of the driver's counters (ETHTOOL_GSSET_INFO)."""
    answer = _ask(control, name, struct.pack("=IIQ", GET_STRING_SETS, 0, 1 << STATS_SET), 4)
    _, _, mask, count = struct.unpack_from("=IIQI", answer)
    return int(count) if mask else 0


def _value(control: socket.socket, name: str, command: int) -> int:
    """Return a struct ethtool_value, 0 where the driver does not know the question."""
    return int(struct.unpack_from("=II", _ask(control, name, struct.pack("=I", command), 4))[1])


def _ask(control: socket.socket, name: str, question: bytes, room: int) -> bytes:
    """Send `question`, with `room` bytes behind it for the answer, and return both as the kernel left them."""
    buffer = ctypes.create_string_buffer(question + bytes(room), len(question) + room)
    request = struct.pack("16sP16x", name.encode(), ctypes.addressof(buffer))
    try:
        fcntl.ioctl(control, SIOCETHTOOL, request)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise NetdevError(f"ethtool {name}: {os.strerror(error.errno or 0)}") from error
    return buffer.raw
